"""``portcullis audit prune``: removes the oldest records, so that what is left can still be proven."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from portcullis.audit.pruning import Pruned, Pruner

EVERY = 1000
"""Records between two words of progress."""


@reported
def prune_log(
    config: ConfigOption = None,
    before: Annotated[
        str, typer.Option("--before", metavar="TIME", help="What is older goes: 90d, 12h, 30m ago, or RFC 3339.")
    ] = "",
    keep: Annotated[
        float | None,
        typer.Option("--keep-gibibytes", min=0.001, help="The oldest go until the log takes no more than that."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Remove the oldest records; `audit verify` proves the rest. Beside a running server or without one.

    A checkpoint says how far before anything is removed; it is signed with audit.checkpoints.keyFile. Only beginnings
    of chains go.
    """
    if bool(before) == (keep is not None):
        raise ConfigError("say what goes: either --before 90d or --keep-gibibytes 10")
    pruned = asyncio.run(_prune(config, before, keep, dry_run))
    if output is Format.JSON:
        print_json(_json(pruned, dry_run))
    else:
        stdout().print(_text(pruned, dry_run))


async def _prune(config: Path | None, before: str, keep: float | None, dry_run: bool) -> "Pruned | None":
    from portcullis.audit.pruning import Pruner
    from portcullis.audit.sql import SqlRecords, open_records
    from portcullis.server.checkpointkeys import signer_of
    from portcullis.server.clock import SystemClock
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if not settings.audit.database:
        raise ConfigError("no audit log is configured\nname the webhook's configuration: --config portcullis.yaml")
    url, limits = settings.audit.database, settings.bounds()
    signer = signer_of(settings.audit.checkpoints.key_file)
    async with open_records(url, limits):
        pass  # it is there, and of this version: this command makes no log and migrates none
    store = SqlRecords(url=url, limits=limits)
    await store.start()
    try:
        with progress("pruning") as say:

            def tell(records: int) -> None:
                if records % EVERY < EVERY // 10:
                    say(f"{records:,} records removed")

            pruner = Pruner(store, signer=signer, clock=SystemClock(), progress=tell)
            return await _with(pruner, before, keep, dry_run)
    finally:
        await store.aclose()


async def _with(pruner: "Pruner", before: str, keep: float | None, dry_run: bool) -> "Pruned | None":
    from datetime import UTC, datetime

    from portcullis.cli.moments import parse_moment
    from portcullis.server.keepsections import GIBIBYTE

    if keep is None:
        moment = parse_moment(before, datetime.now(UTC))
        return await (pruner.plan(moment) if dry_run else pruner.prune(moment))
    most = round(keep * GIBIBYTE)
    if not dry_run:
        return await pruner.prune_to(most)
    cutoff = await pruner.cutoff(most)
    return None if cutoff is None else await pruner.plan(cutoff)


def _json(pruned: "Pruned | None", dry_run: bool) -> dict[str, Any]:
    from portcullis.times import rfc3339

    return {
        "apiVersion": API_VERSION,
        "kind": "AuditPrune",
        "dryRun": dry_run,
        "before": None if pruned is None else rfc3339(pruned.before),
        "records": 0 if pruned is None else pruned.records,
        "inputs": 0 if pruned is None else pruned.inputs,
        "bundles": 0 if pruned is None else pruned.bundles,
        "bytes": None if pruned is None else pruned.bytes,
        "chains": []
        if pruned is None
        else [
            {"chain": one.id, "replica": one.replica, "first": one.begins, "through": one.through.position}
            for one in pruned.targets
        ],
        "checkpoints": [] if pruned is None else [one.tree() for one in pruned.checkpoints],
    }


def _text(pruned: "Pruned | None", dry_run: bool) -> Text:
    from portcullis.text import clean
    from portcullis.times import rfc3339

    if pruned is None:
        return Text("the log takes no more than that: nothing goes")
    verb = "would go" if dry_run else "are removed"
    text = Text(f"{pruned.records:,} records from before {rfc3339(pruned.before, 'seconds')} {verb}")
    for one in pruned.targets:
        name = f"chain {one.id[:8]} of {clean(one.replica, 80)}" if one.id else "records from before there were chains"
        text.append(f"\n  {name}: {one.begins:,}-{one.through.position:,}", "dim")
    if not dry_run and pruned.records:
        text.append(f"\nwith {pruned.inputs:,} judged inputs and {pruned.bundles:,} policy sets and configurations")
    if pruned.bytes is not None:
        text.append(f"\nthe log takes {pruned.bytes:,} bytes now")
    return text
