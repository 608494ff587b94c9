"""``portcullis exceptions``: what is let through for a while, by whom, and how much that was lately: exceptions of the
configuration, and grants of an emergency in the cluster."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.clusters import ContextOption, KubeconfigOption
from portcullis.cli.output import API_VERSION, ConfigOption, Format, FormatOption, print_json, reported, stderr, stdout
from portcullis.text import clean
from portcullis.times import rfc3339

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from portcullis.audit.sql import SqlRecords
    from portcullis.cli.grantview import Listed
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


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is. ``uses`` and ``makers`` are by id; ``makers`` of grants that the audit log knows."""

    exceptions: "Sequence[ExceptionSection]"
    grants: "Sequence[Listed]" = ()
    uses: dict[str, _Use] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)


@exceptions.command("list")
@reported
def list_exceptions(
    config: ConfigOption = None,
    since: Annotated[str, typer.Option("--since", help="What they let through: 7d, 12h, 30m, or RFC 3339.")] = "7d",
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    output: FormatOption = Format.TABLE,
) -> None:
    """List exceptions with owner, expiry and what they let through lately. Those that ended are marked.

    So are grants of an emergency (BreakGlass objects), where the configuration lets them count (cluster.breakGlass), or
    --kubeconfig or --context names a cluster.
    """
    from portcullis.cli.moments import parse_moment
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    now = datetime.now(UTC)
    asked = settings.cluster.break_glass or kubeconfig is not None or bool(context)
    cluster = (kubeconfig, context) if asked else None
    found = asyncio.run(_find(settings, parse_moment(since, now), cluster))
    if output is Format.JSON:
        from portcullis.cli.grantview import listed_json

        items = [_json(one, found.uses[one.id], now) for one in found.exceptions]
        grants = [
            {**listed_json(one, now), "madeBy": found.makers.get(one.id, ""), **_use_json(found.uses[one.id])}
            for one in found.grants
        ]
        print_json({"apiVersion": API_VERSION, "kind": "ExceptionList", "items": items, "grants": grants})
        return
    if found.exceptions:
        stdout().print(_table(found, now, since))
    if found.grants:
        stdout().print(_grant_table(found, now, since))
    if not found.exceptions and not found.grants:
        stderr().print("there are no exceptions" + (" and no grants" if asked else ""))


async def _find(settings: "Settings", since: datetime, cluster: "tuple[Path | None, str] | None") -> _Found:
    grants: list[Listed] = []
    if cluster is not None:
        from portcullis.cli.grantview import listed_grants

        grants = await listed_grants(*cluster, "", everywhere=True)
    ids = [*(one.id for one in settings.exceptions), *(one.id for one in grants)]
    if not settings.audit.database:
        return _Found(settings.exceptions, grants, {one: _Use(None) for one in ids})
    from portcullis.audit.sql import open_records

    async with open_records(settings.audit.database, settings.bounds()) as records:
        uses = {one: await _use(records, one, since) for one in ids}
        return _Found(settings.exceptions, grants, uses, {one.id: await _maker(records, one) for one in grants})


async def _maker(records: "SqlRecords", listed: "Listed") -> str:
    """Who made the grant; "" where the log does not have it."""
    from portcullis.model.decision import Verdict
    from portcullis.model.record import RecordFilter

    asked = RecordFilter(kind="BreakGlass", namespace=listed.namespace, name=listed.name, dry_run=False)
    page = await records.search(asked)
    made = (one for one in page if one.operation == "CREATE" and one.decision.verdict is Verdict.ADMITTED)
    return next((one.username for one in made), "")


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
        **_use_json(use),
    }


def _use_json(use: _Use) -> dict[str, Any]:
    return {
        "decisions": use.decisions,
        "moreDecisions": use.more,
        "lastUsed": rfc3339(use.last) if use.last is not None else None,
    }


def _empty_table(what: str, since: str) -> "Table":
    from rich.box import HORIZONTALS
    from rich.table import Table

    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column(what, overflow="fold", ratio=2)
    table.add_column("From, and for what", overflow="fold", ratio=4)
    table.add_column("Why, and whose", overflow="fold", ratio=4)
    table.add_column("Until (UTC)", width=18)
    table.add_column(f"Used ({clean(since, 20)})", justify="right", ratio=1)
    return table


def _grant_table(found: _Found, now: datetime, since: str) -> "Table":
    from rich.text import Text

    from portcullis.cli.grantview import until_of, what_of, why_of

    table = _empty_table("Break-glass", since)
    for one in found.grants:
        maker = clean(found.makers.get(one.id, ""), 253)
        table.add_row(
            Text(f"{clean(one.namespace, 63)}/{clean(one.name, 253)}", style=_style(active=one.active(now))),
            what_of(one),
            Text(why_of(one)).append(f"\n{maker}" if maker else "", "dim"),
            until_of(one, now),
            _used(found.uses[one.id]),
        )
    return table


def _style(*, active: bool) -> str:
    return "bold" if active else "dim strike"


def _table(found: _Found, now: datetime, since: str) -> "Table":
    from rich.text import Text

    table = _empty_table("Exception", since)
    for one in found.exceptions:
        active = now < one.moment
        places = "\n".join(f"{key}: {_shown(value)}" for key, value in _match(one).items())
        table.add_row(
            Text(one.id, style=_style(active=active)),
            Text(", ".join(one.policies)).append(f"\n{places}", "dim"),
            Text(clean(one.reason, 500)).append(f"\n{clean(one.owner, 253)}", "dim"),
            _until(one.moment, now),
            _used(found.uses[one.id]),
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
