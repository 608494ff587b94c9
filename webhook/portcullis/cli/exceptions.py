"""``portcullis exceptions``: what is let through for a while, by whom, and how much that was lately."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.output import API_VERSION, ConfigOption, Format, FormatOption, print_json, reported, stderr, stdout
from portcullis.text import clean
from portcullis.times import rfc3339

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from portcullis.audit.sql import SqlRecords
    from portcullis.server.scoping import ExceptionSection
    from portcullis.server.settings import Settings

COUNTED = 1000
"""Decisions of one exception that are counted; more are shown as ``1000+``."""

exceptions = typer.Typer(help="Exceptions from policies.", no_args_is_help=True, pretty_exceptions_enable=False)


@exceptions.callback()
def group() -> None:
    """Keeps ``list`` a word of its own while it is the only one."""


@dataclass(frozen=True, slots=True)
class _Use:
    """How often an exception let something through; ``decisions`` is None where no audit log is configured."""

    decisions: int | None
    more: bool = False
    last: datetime | None = None


@exceptions.command("list")
@reported
def list_exceptions(
    config: ConfigOption = None,
    since: Annotated[str, typer.Option("--since", help="What they let through: 7d, 12h, 30m, or RFC 3339.")] = "7d",
    output: FormatOption = Format.TABLE,
) -> None:
    """List exceptions with owner, expiry and what they let through lately. Those that ended are marked."""
    from portcullis.cli.moments import parse_moment
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    now = datetime.now(UTC)
    uses = asyncio.run(_uses(settings, parse_moment(since, now)))
    if output is Format.JSON:
        items = [_json(one, uses[one.id], now) for one in settings.exceptions]
        print_json({"apiVersion": API_VERSION, "kind": "ExceptionList", "items": items})
    elif settings.exceptions:
        stdout().print(_table(settings, uses, now, since))
    else:
        stderr().print("there are no exceptions")


async def _uses(settings: "Settings", since: datetime) -> dict[str, _Use]:
    if not settings.audit.database:
        return {one.id: _Use(None) for one in settings.exceptions}
    from portcullis.audit.sql import open_records

    async with open_records(settings.audit.database, settings.bounds()) as records:
        return {one.id: await _use(records, one.id, since) for one in settings.exceptions}


async def _use(records: "SqlRecords", exception: str, since: datetime) -> _Use:
    from portcullis.model.record import RecordFilter

    counted, before, last = 0, None, None
    while counted < COUNTED:
        page = await records.search(RecordFilter(since=since, exception=exception, before=before, limit=100))
        if not page:
            return _Use(counted, last=last)
        last = last or page[0].decision.decided_at
        counted += len(page)
        before = page[-1].sequence
    return _Use(COUNTED, more=True, last=last)


def _match(section: "ExceptionSection") -> dict[str, Any]:
    tree: dict[str, Any] = section.match.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return tree


def _json(section: "ExceptionSection", use: _Use, now: datetime) -> dict[str, Any]:
    return {
        "id": section.id,
        "policies": list(section.policies),
        "match": _match(section),
        "reason": section.reason,
        "owner": section.owner,
        "expires": rfc3339(section.moment),
        "active": now < section.moment,
        "decisions": use.decisions,
        "moreDecisions": use.more,
        "lastUsed": rfc3339(use.last) if use.last is not None else None,
    }


def _table(settings: "Settings", uses: dict[str, _Use], now: datetime, since: str) -> "Table":
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column("Exception", overflow="fold", ratio=2)
    table.add_column("From, and for what", overflow="fold", ratio=4)
    table.add_column("Why, and whose", overflow="fold", ratio=4)
    table.add_column("Until (UTC)", width=16)
    table.add_column(f"Used ({clean(since, 20)})", justify="right", ratio=1)
    for one in settings.exceptions:
        active = now < one.moment
        places = "\n".join(f"{key}: {_shown(value)}" for key, value in _match(one).items())
        table.add_row(
            Text(one.id, style="bold" if active else "dim strike"),
            Text(", ".join(one.policies)).append(f"\n{places}", "dim"),
            Text(clean(one.reason, 500)).append(f"\n{clean(one.owner, 253)}", "dim"),
            _until(one.moment, now),
            _used(uses[one.id]),
        )
    return table


def _shown(value: object) -> str:
    return clean(", ".join(value) if isinstance(value, list) else str(value), 500)


def _until(moment: datetime, now: datetime) -> "Text":
    from rich.text import Text

    days = (moment - now).days
    left = "ended" if moment <= now else f"{days} day{'s' if days != 1 else ''} left"
    style = "dim" if moment <= now else "yellow" if days < 7 else "dim"
    return Text(f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}").append(f"\n{left}", style)


def _used(use: _Use) -> str:
    if use.decisions is None:
        return "?"
    return f"{use.decisions}+" if use.more else str(use.decisions)
