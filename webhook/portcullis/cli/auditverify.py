"""``portcullis audit verify``: proves the audit log, or names the first record of each chain that is not as it was."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    EXIT_FAILED,
    EXIT_REFUSED,
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
    from portcullis.audit.verification import ChainResult, Finding, Verification

SHOWN = 20
"""Chains and findings in the table; JSON has all."""
SAY_SECONDS = 0.2


@reported
def verify_log(
    config: ConfigOption = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            "--key", metavar="PUBLIC.pem", help="Checks signatures of checkpoints; repeat it after a rotation."
        ),
    ] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoints",
            metavar="FILE",
            help="What was published elsewhere: the webhook's log, or the ConfigMap as YAML or JSON.",
        ),
    ] = None,
    lost: Annotated[
        list[str] | None,
        typer.Option("--lost", metavar="CHAIN", help="A chain that is known to lack its end, after a restored backup."),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Prove the audit log: exit 0 proven, 1 tampered with, 2 not verified. Beside a running server or without one."""
    found = asyncio.run(_verify(config, key or [], checkpoints or [], lost or []))
    if output is Format.JSON:
        print_json(verification_json(found))
    else:
        stdout().print(_view(found))
    if found.findings:
        raise typer.Exit(EXIT_REFUSED)
    if found.doubts:
        raise typer.Exit(EXIT_FAILED)


async def _verify(
    config: Path | None, keys: Sequence[Path], files: Sequence[Path], lost: Sequence[str]
) -> "Verification":
    from portcullis.audit.chainreading import ChainReader
    from portcullis.audit.checkpointproof import Keys
    from portcullis.audit.published import read_published
    from portcullis.audit.sql import open_records
    from portcullis.audit.verifying import Verifier
    from portcullis.server.checkpointkeys import public_keys
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if not settings.audit.database:
        raise ConfigError("no audit log is configured\nname the webhook's configuration: --config portcullis.yaml")
    known = Keys(public_keys(keys))
    published = [one for file in files for one in read_published(file)]
    async with open_records(settings.audit.database, settings.bounds()) as records:
        with progress("verifying") as say:
            told = 0.0

            def tell(done: int, of: int) -> None:
                nonlocal told
                if time.monotonic() - told >= SAY_SECONDS:
                    told = time.monotonic()
                    say(f"{done:,} of {of:,} records")

            return await Verifier(
                ChainReader(records),
                keys=known,
                published=published,
                lost=lost,
                bundle_holds=_bundle_holds,
                progress=tell,
            ).run()


def _bundle_holds(kind: str, revision: str, content: bytes) -> bool | None:
    """A configuration's revision is the hash of what is kept. That of a policy set covers things of the version that
    made it, so another version cannot tell."""
    from hashlib import sha256

    from portcullis.policy.bundle import revision_of
    from portcullis.server.compose import CONFIGURATION_KIND, POLICIES_KIND, read_bundle

    if kind == CONFIGURATION_KIND:
        return f"sha256:{sha256(content).hexdigest()}" == revision
    if kind != POLICIES_KIND:
        return None
    try:
        bundle = read_bundle(revision, content)
    except ConfigError:
        return False
    same = revision_of(bundle.sources, bundle.parameters, bundle.constraints, bundle.left_out) == revision
    return True if same else None


def verification_json(found: "Verification") -> dict[str, Any]:
    """The document of ``-o json``."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditVerification",
        "verdict": found.verdict.value,
        "records": found.records,
        "unchained": found.unchained,
        "published": found.published,
        "findings": [_finding_json(one) for one in found.findings],
        "doubts": list(found.doubts),
        "notes": list(found.notes),
        "chains": [_chain_json(one) for one in found.chains],
    }


def _finding_json(one: "Finding") -> dict[str, Any]:
    from portcullis.times import rfc3339

    return {
        "what": one.what.value,
        "chain": one.chain,
        "replica": one.replica,
        "position": one.position,
        "decision": one.decision,
        "decidedAt": None if one.at is None else rfc3339(one.at),
        "message": one.message,
    }


def _chain_json(one: "ChainResult") -> dict[str, Any]:
    from portcullis.times import rfc3339

    return {
        "chain": one.chain,
        "replica": one.replica,
        "startedAt": rfc3339(one.started_at),
        "whole": one.whole,
        "first": one.first,
        "last": one.last,
        "hash": one.hash,
        "checkpoints": one.checkpoints,
        "signedThrough": one.signed if one.signed >= 0 else None,
    }


def _view(found: "Verification") -> RenderableType:
    from portcullis.audit.verification import Verdict
    from portcullis.cli.words import plural

    title, style, words = {
        Verdict.PROVEN: ("✓ proven", "bold green", "every record that is there is as it was written"),
        Verdict.TAMPERED: ("✗ tampered with", "bold red", "what is named below is not as it was written"),
        Verdict.UNVERIFIED: ("? not verified", "bold yellow", "nothing wrong was found, but not all could be checked"),
    }[found.verdict]
    count = f"{plural(found.records, 'record')} in {plural(len(found.chains), 'chain')}"
    parts: list[RenderableType] = [Text.assemble((title, style), f"  {count}: {words}")]
    parts += [_finding_text(one) for one in found.findings[:SHOWN]]
    if len(found.findings) > SHOWN:
        parts.append(Text(f"… and {len(found.findings) - SHOWN} more; -o json has all", "dim"))
    chains = [one for one in found.chains if one.records or one.checkpoints]
    if chains:
        parts += [Text(""), _chains_table(chains[-SHOWN:])]
    if len(chains) > SHOWN:
        parts.append(Text(f"the newest {SHOWN} of {len(chains)} chains; -o json has all", "dim"))
    parts += [Text(f"? {doubt}", "yellow") for doubt in found.doubts]
    parts += [Text(f"· {note}", "dim") for note in found.notes]
    return Group(*parts)


def _finding_text(one: "Finding") -> Text:
    from portcullis.text import clean
    from portcullis.times import rfc3339

    where = f"chain {one.chain} of {clean(one.replica, 80)}, position {one.position}" if one.chain else ""
    text = Text.assemble((f"{one.what.value:<10} ", "red"), clean(one.message, 400))
    if where:
        text.append(f"\n           {where}", "dim")
    if one.decision:
        text.append(f"\n           decision {clean(one.decision, 80)}", "dim")
    if one.at is not None:
        text.append(f", {rfc3339(one.at, 'seconds')}", "dim")
    return text


def _chains_table(chains: Sequence["ChainResult"]) -> Table:
    from portcullis.text import clean

    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column("", width=1)
    table.add_column("Chain", no_wrap=True, width=8)
    table.add_column("Replica", ratio=2, overflow="fold")
    table.add_column("Started (UTC)", no_wrap=True, width=19)
    table.add_column("Records", justify="right", ratio=2)
    table.add_column("Signed through", justify="right", ratio=1)
    for one in chains:
        span = f"{one.first:,}-{one.last:,}" if one.records else "none"
        table.add_row(
            Text("✓", "green") if one.whole else Text("✗", "red"),
            one.chain[:8],
            clean(one.replica, 80),
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            span,
            f"{one.signed:,}" if one.signed >= 0 else "-",
        )
    return table
