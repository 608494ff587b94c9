"""``portcullis audit``: what was decided, when, for whom and why."""

import asyncio
import os
import re
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    reported,
    stderr,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from portcullis.audit.sql import SqlRecords
    from portcullis.model.record import AuditRecord, RecordFilter

SHORTEST_PREFIX = 6
PREFIX_PAGES = 100
PREFIX_ROWS = 100
"""Pages of records that are looked through for a shortened id."""

_ID = re.compile(r"[0-9a-f-]{6,36}")
_WHOLE = 36

audit = typer.Typer(help="Read the audit log.", no_args_is_help=True, pretty_exceptions_enable=False)


class VerdictOption(StrEnum):
    ADMITTED = "admitted"
    REFUSED = "refused"
    UNDECIDED = "undecided"


@audit.command("list")
@reported
def list_records(
    config: ConfigOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Such as Deployment.")] = "",
    name: Annotated[str, typer.Option("--name")] = "",
    user: Annotated[str, typer.Option("--user", help="Who asked.")] = "",
    image: Annotated[str, typer.Option("--image", help="As written in the object.")] = "",
    digest: Annotated[str, typer.Option("--digest", help="That the image stood for.")] = "",
    policy: Annotated[str, typer.Option("--policy", help="That was violated or not evaluated.")] = "",
    exception: Annotated[str, typer.Option("--exception", help="That covers a violation.")] = "",
    verdict: Annotated[VerdictOption | None, typer.Option("--verdict")] = None,
    since: Annotated[str, typer.Option("--since", help="7d, 12h, 30m, or RFC 3339.")] = "",
    until: Annotated[str, typer.Option("--until", help="The same.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Records at most.")] = 50,
    output: FormatOption = Format.TABLE,
) -> None:
    """List decisions, the newest first. All conditions must hold."""
    from datetime import UTC, datetime

    from portcullis.cli.moments import parse_moment
    from portcullis.model.record import RecordFilter

    now = datetime.now(UTC)
    query = RecordFilter(
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        namespace=namespace,
        kind=kind,
        name=name,
        username=user,
        image=image,
        digest=digest,
        policy=policy,
        exception=exception,
        verdict=verdict.value if verdict is not None else "",
        limit=limit,
    )
    records = asyncio.run(_search(config, query))
    _print_list(records, limit, output)


@audit.command("show")
@reported
def show(
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision's id, or how it begins.")],
    config: ConfigOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show one decision: who asked for what, what was answered and why. JSON includes the judged input."""
    from portcullis.cli.records import record_view
    from portcullis.server.recordjson import record_json

    record = asyncio.run(get_record(config, decision))
    if output is Format.JSON:
        tree = record_json(record, document=True)
        print_json({"apiVersion": API_VERSION, "kind": "AuditRecord", "record": tree})
    else:
        stdout().print(record_view(record))


def _print_list(records: "list[AuditRecord]", limit: int, output: Format) -> None:
    from portcullis.cli.records import records_table
    from portcullis.server.recordjson import record_json

    if output is Format.JSON:
        items = [record_json(record, document=False) for record in records]
        print_json({"apiVersion": API_VERSION, "kind": "AuditRecordList", "items": items})
        return
    if not records:
        stderr().print(Text("no decision matches"))
        return
    console = stdout()
    console.print(records_table(records, console.width))
    if len(records) == limit:
        stderr().print(Text(f"the newest {limit} are shown; --limit shows more", style="dim"))


def _open(config: Path | None) -> "AbstractAsyncContextManager[SqlRecords]":
    from portcullis.audit.sql import open_records
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if not settings.audit.database:
        raise ConfigError("no audit log is configured\nname the webhook's configuration: --config portcullis.yaml")
    return open_records(settings.audit.database, settings.bounds())


async def _search(config: Path | None, query: "RecordFilter") -> "list[AuditRecord]":
    async with _open(config) as records:
        return list(await records.search(query))


async def get_record(config: Path | None, decision: str) -> "AuditRecord":
    """The record of a decision, with its judged input.

    Raises:
        ConfigError: there is none of that id, or the id is none.
    """
    if not _ID.fullmatch(decision):
        raise ConfigError(f"an id of a decision is 36 hexadecimal digits and dashes, or its first {SHORTEST_PREFIX}")
    async with _open(config) as records:
        whole = decision if len(decision) == _WHOLE else await _complete(records, decision)
        record = await records.get(whole)
    if record is None:
        raise ConfigError(f"there is no decision {decision} in the audit log")
    return record


async def get_recorded_policies(config: Path | None, revision: str) -> bytes | None:
    """The policy set that was recorded under the revision; None where there is none."""
    async with _open(config) as records:
        return await records.bundles.get(revision)


async def _complete(records: "SqlRecords", prefix: str) -> str:
    """The one id that begins with ``prefix`` among the newest records."""
    from portcullis.model.record import RecordFilter

    found: dict[str, None] = {}
    before: int | None = None
    seen = 0
    for _ in range(PREFIX_PAGES):
        page = await records.search(RecordFilter(before=before, limit=PREFIX_ROWS))
        seen += len(page)
        ids = (record.decision.id for record in page)
        found.update(dict.fromkeys(one for one in ids if one.startswith(prefix)))
        if len(page) < PREFIX_ROWS:
            break
        before = page[-1].sequence
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise ConfigError(f"none of the newest {seen} decisions begins with {prefix}: give the whole id")
    raise ConfigError(f"{len(found)} decisions begin with {prefix}: give more of the id")
