"""Figures of `portcullis replay`: past decisions judged again, from a log made of real ones.

    python tests/bench/replay.py [--decisions N] [--log portcullis.yaml]

The decisions are those of `portcullis demo`, each many times over, every time at another instant: OPA and the store see
as many different inputs.
"""

import argparse
import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from portcullis.audit.pages import pages
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.policy.bundle import builtin_policies
from portcullis.server.replay import Progress, replay
from portcullis.server.settings import Settings, load_settings
from portcullis.server.tally import Tally
from portcullis.times import rfc3339

APPENDED = 500


async def recorded(database: str) -> list[AuditRecord]:
    """All records of a log, with their inputs."""
    found: list[AuditRecord] = []
    async with open_records(database) as store:
        async for page in pages(store, RecordFilter(), 10_000, DEFAULT_LIMITS):
            found += [record for record in page if isinstance(record, AuditRecord)]
    return found


def again(record: AuditRecord, number: int) -> AuditRecord:
    """The same decision at another instant."""
    decision = record.decision
    moment = decision.decided_at - timedelta(milliseconds=number)
    document = decision.document.replace(_now(decision.decided_at), _now(moment), 1)
    made = replace(decision, id=str(uuid.uuid4()), decided_at=moment, document=document)
    return replace(record, decision=made, sequence=0)


def _now(moment: object) -> bytes:
    return json.dumps(rfc3339(moment, "microseconds")).encode()  # type: ignore[arg-type]


async def fill(settings: Settings, target: Path, decisions: int) -> int:
    """Writes a log of so many decisions to ``target``; the bytes of their inputs."""
    sources = await recorded(settings.audit.database)
    store = SqlRecords(url=f"sqlite:///{target}")
    await store.start()
    size = 0
    try:
        for start in range(0, decisions, APPENDED):
            made = [
                again(sources[number % len(sources)], number)
                for number in range(start, min(decisions, start + APPENDED))
            ]
            size += sum(len(record.decision.document) for record in made)
            await store.append_many(made)
    finally:
        await store.aclose()
    _copy_bundles(Path(settings.audit.database.removeprefix("sqlite:///")), target)
    return size


def _copy_bundles(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        new.executemany("INSERT OR IGNORE INTO bundles VALUES (?, ?, ?)", old.execute("SELECT * FROM bundles"))
    old.close()
    new.close()


async def measured(config: Path, decisions: int, console: Console, changed: str = "image-user") -> dict[str, Progress]:
    """The self-check, a draft that brings a mode from warn to deny, and one that changes a policy; over a log made of
    that of ``config``."""
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as text:
        target = Path(text) / "audit.db"
        began = time.monotonic()
        size = await fill(load_settings(config, {}), target, decisions)
        console.print(
            f"[dim]replay: {decisions:,} decisions made in {time.monotonic() - began:.0f} s, "
            f"{size / decisions / 1024:.1f} KiB each, {target.stat().st_size / 2**20:.0f} MiB stored"
        )
        settings = with_database(load_settings(config, {}), target)
        modes = with_modes(settings, {"sbom-required": "deny"})
        policy = with_other_policy(settings, Path(text) / "policies", changed)
        taken: dict[str, Progress] = {}
        for name, chosen, own in (("modes", modes, False), ("policy", policy, False), ("itself", settings, True)):
            tally, took, _ = await replay(chosen, RecordFilter(), decisions, recorded=own, say=lambda now: None)
            console.print(
                f"[dim]replay: {name}: {took.rate:,.0f} a second, {took.seconds:.1f} s; {_words(tally)}; load "
                f"{os.getloadavg()[0]:.1f}"
            )
            if tally.records != decisions or (own and (tally.flipped or tally.otherwise or tally.inexact)):
                raise SystemExit(f"bench: {_words(tally)} of {decisions} decisions judged by their own policies")
            taken[name] = took
    return taken


def with_database(settings: Settings, database: Path) -> Settings:
    audit = settings.audit.model_copy(update={"database": f"sqlite:///{database}", "journal": None})
    return settings._changed(audit=audit)


def with_other_policy(settings: Settings, folder: Path, policy: str) -> Settings:
    """The library in a folder of its own, where that one policy says something more."""
    shutil.copytree(builtin_policies(), folder, ignore=shutil.ignore_patterns("profiles", "testdata"))
    path = folder / policy / "policy.rego"
    path.write_text(f'{path.read_text("utf-8")}\naudit contains "measured" if input.workload.kind == "None"\n')
    return settings._changed(policies=settings.policies.model_copy(update={"builtin": False, "folders": (folder,)}))


def with_modes(settings: Settings, modes: dict[str, str]) -> Settings:
    from portcullis.model.ruling import Mode

    changed = {**settings.policies.modes, **{name: Mode(mode) for name, mode in modes.items()}}
    return settings._changed(policies=settings.policies.model_copy(update={"modes": changed}))


def _words(tally: Tally) -> str:
    left_out = sum(one.count for one in tally.inexact.values())
    return (
        f"{tally.flipped:,} flipped, {tally.otherwise:,} otherwise, {left_out:,} inexact; rulings: "
        f"{tally.evaluated:,} evaluated, {tally.taken_over:,} taken over"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description="figures of portcullis replay on this machine")
    arguments.add_argument("--decisions", type=int, default=100_000)
    arguments.add_argument("--log", type=Path, required=True, help="configuration whose log is multiplied")
    chosen = arguments.parse_args()
    asyncio.run(measured(chosen.log, chosen.decisions, Console(stderr=True)))


if __name__ == "__main__":
    main()
