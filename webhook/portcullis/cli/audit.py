"""``portcullis audit``: what was decided, when, for whom and why."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from portcullis.cli import auditfilters as by
from portcullis.cli.auditexport import export
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
    from portcullis.model.record import AuditRecord, ChainPlace, RecordFilter, RecordPage

SHORTEST_PREFIX = 6
PREFIXED = 10
"""Ids that are looked at for a shortened one."""

_ID = re.compile(r"[0-9a-f-]{6,36}")
_WHOLE = 36

audit = typer.Typer(help="Read the audit log.", no_args_is_help=True, pretty_exceptions_enable=False)
audit.command("export")(export)


@audit.command("list")
@reported
def list_records(
    config: ConfigOption = None,
    namespace: by.Namespace = "",
    kind: by.Kind = "",
    name: by.Name = "",
    user: by.User = "",
    image: by.Image = "",
    digest: by.Digest = "",
    policy: by.Policy = "",
    mode: by.Mode = None,
    exception: by.Exempted = "",
    verdict: by.Verdict = None,
    reason: by.Reason = "",
    because: by.Because = None,
    caller: by.Caller = None,
    text: by.Words = "",
    dry_run: by.DryRun = None,
    since: by.Since = "",
    until: by.Until = "",
    before: by.Before = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Records at most.")] = 50,
    utc: by.Utc = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """List decisions, the newest first. All conditions must hold."""
    query = by.query_of(
        since=since,
        until=until,
        zone=by.zone_of(utc=utc),
        namespace=namespace,
        kind=kind,
        name=name,
        username=user,
        image=image,
        digest=digest,
        policy=policy,
        mode=mode,
        exception=exception,
        verdict=verdict,
        reason=reason,
        because=because,
        caller=caller,
        text=text,
        dry_run=dry_run,
        before=before,
        limit=limit,
    )
    _print_list(asyncio.run(_page(config, query)), output, utc=utc)


@audit.command("show")
@reported
def show(
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision's id, or how it begins.")],
    config: ConfigOption = None,
    previous: Annotated[
        bool, typer.Option("--previous", help="And what the decision before it on the same workload said otherwise.")
    ] = False,
    utc: by.Utc = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show one decision: who asked for what, what was answered and why. JSON includes the judged input."""
    from portcullis.cli.records import previous_view, record_view
    from portcullis.server.recordjson import record_json

    record, place, before = asyncio.run(_everything(config, decision, previous=previous))
    if output is Format.JSON:
        tree: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": "AuditRecord",
            "record": record_json(record, document=True),
            "chain": _place_json(place),
        }
        if previous:
            tree["previous"] = None if before is None else record_json(before, document=True)
        print_json(tree)
        return
    zone = by.zone_of(utc=utc)
    stdout().print(record_view(record, place=place, zone=zone))
    if previous:
        stdout().print(previous_view(record, before, zone=zone))


def _print_list(page: "RecordPage", output: Format, *, utc: bool) -> None:
    from portcullis.cli.records import records_table
    from portcullis.server.recordjson import record_json
    from portcullis.times import rfc3339

    if output is Format.JSON:
        items = [record_json(record, document=False) for record in page.records]
        searched_to = None if page.searched_to is None else rfc3339(page.searched_to)
        further = {"next": page.next, "searchedTo": searched_to, "damaged": list(page.damaged)}
        print_json({"apiVersion": API_VERSION, "kind": "AuditRecordList", "items": items, **further})
        return
    console = stdout()
    if page.records:
        console.print(records_table(page.records, console.width, by.zone_of(utc=utc)))
    for words in _further(page):
        stderr().print(Text(words, style="dim"))


def _further(page: "RecordPage") -> list[str]:
    """What the reader must know beside the records."""
    from portcullis.times import rfc3339

    words = [f"record {sequence} is damaged and cannot be shown" for sequence in page.damaged]
    if page.searched_to is not None:
        reached = rfc3339(page.searched_to, "seconds")
        words.append(f"the time for a search is over at decisions of {reached}; --before {page.next} goes on")
    elif page.next is not None:
        words.append(f"the newest {len(page.records)} are shown; --before {page.next} shows those behind them")
    elif not page.records and not page.damaged:
        words.append("no decision matches")
    return words


def _place_json(place: "ChainPlace | None") -> dict[str, Any] | None:
    if place is None:
        return None
    return {"id": place.chain, "replica": place.replica, "position": place.position, "hash": place.hash}


async def _page(config: Path | None, query: "RecordFilter") -> "RecordPage":
    from portcullis.audit.ledger import SqlLedger

    log, limits = by.open_log(config)
    async with log as records:
        return await SqlLedger(records=records, limits=limits).page(query)


async def _everything(
    config: Path | None, decision: str, *, previous: bool
) -> "tuple[AuditRecord, ChainPlace | None, AuditRecord | None]":
    """The record, its place in its chain, and the record before it where that is wanted."""
    from portcullis.audit.ledger import SqlLedger

    _require_id(decision)
    log, limits = by.open_log(config)
    async with log as records:
        record = await _get(records, decision)
        ledger = SqlLedger(records=records, limits=limits)
        before = await ledger.previous(record) if previous else None
        return record, await ledger.place(record.sequence), before


async def get_record(config: Path | None, decision: str) -> "AuditRecord":
    """The record of a decision, with its judged input.

    Raises:
        ConfigError: there is none of that id, or the id is none.
    """
    _require_id(decision)
    log, _ = by.open_log(config)
    async with log as records:
        return await _get(records, decision)


async def get_recorded_policies(config: Path | None, revision: str) -> bytes | None:
    """The policy set that was recorded under the revision; None where there is none."""
    log, _ = by.open_log(config)
    async with log as records:
        return await records.bundles.get(revision)


def _require_id(decision: str) -> None:
    """Before anything is opened."""
    if not _ID.fullmatch(decision):
        raise ConfigError(f"an id of a decision is 36 hexadecimal digits and dashes, or its first {SHORTEST_PREFIX}")


async def _get(records: "SqlRecords", decision: str) -> "AuditRecord":
    whole = decision if len(decision) == _WHOLE else await _complete(records, decision)
    record = await records.get(whole)
    if record is None:
        raise ConfigError(f"there is no decision {decision} in the audit log")
    return record


async def _complete(records: "SqlRecords", prefix: str) -> str:
    """The one id that begins with ``prefix``."""
    found = await records.complete(prefix, PREFIXED)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"no decision in the audit log begins with {prefix}")
    several = f"{len(found)} decisions begin" if len(found) < PREFIXED else f"{PREFIXED} decisions and more begin"
    raise ConfigError(f"{several} with {prefix}: give more of the id\n" + "\n".join(found))
