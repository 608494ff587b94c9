"""Real processes: killed at any moment, and with a full disk. What was answered is kept."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path

import pytest

from fakes.records import SystemClock
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.writer import AuditLog, Health
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.ports import Records

pytestmark = pytest.mark.anyio

ROUNDS = 15


@asynccontextmanager
async def recorder(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("recorder.py")),
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def all_of(records: Records) -> Sequence[AuditRecord]:
    """Every record, oldest first."""
    found: list[AuditRecord] = []
    before: int | None = None
    while page := await records.search(RecordFilter(limit=DEFAULT_LIMITS.search_rows, before=before)):
        found += page
        before = page[-1].sequence
    return found[::-1]


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().strip()
    assert line, "the recorder has ended"
    return line


async def test_killed_at_any_moment_no_answered_record_is_lost(tmp_path: Path) -> None:
    """Every second process finds the database locked, so that it is killed while it journals; the one after it is
    killed while or after it replays."""
    database, journal = tmp_path / "audit.db", tmp_path / "journal"
    first = SqlRecords(url=f"sqlite:///{database}")
    await first.start()
    await first.aclose()
    chance = random.Random(20260301)
    answered: list[str] = []

    async with recorder("kill", str(database), str(journal)) as process:
        assert process.stdin is not None
        for number in range(ROUNDS):
            locked = number % 2 == 1
            with closing(sqlite3.connect(database, isolation_level=None)) if locked else nullcontext() as other:
                if other is not None:
                    other.execute("BEGIN EXCLUSIVE")
                process.stdin.write(f"r{number}\n".encode())
                child = int((await line_of(process)).removeprefix("child "))
                answered += [await line_of(process) for _ in range(chance.randrange(1, 150))]
                await asyncio.sleep(chance.random() / 500)
                os.kill(child, signal.SIGKILL)
                while (line := await line_of(process)) != "dead":
                    answered.append(line)

    log = AuditLog(
        store=SqlRecords(url=f"sqlite:///{database}"),
        journal=Journal(path=journal),
        limits=DEFAULT_LIMITS,
        clock=SystemClock(),
    )
    await log.start()
    async with asyncio.timeout(30):
        while log.health is not Health.OK:
            await asyncio.sleep(0.01)
    kept = [record.decision.id for record in await all_of(log)]
    await log.aclose()

    assert len(answered) > ROUNDS
    assert set(answered) <= set(kept)
    assert len(kept) == len(set(kept))
    assert kept == sorted(kept, key=_place), "in the order in which they were appended"


def _place(decision_id: str) -> tuple[int, int]:
    process, number = decision_id[1:].split("-")
    return int(process), int(number)


async def test_through_a_full_disk_and_out_again(tmp_path: Path) -> None:
    database, journal = tmp_path / "audit.db", tmp_path / "journal"
    async with recorder("full", str(database), str(journal)) as process:
        outcome = json.loads(await line_of(process))
    assert process.returncode == 0

    async with open_records(f"sqlite:///{database}") as records:
        found = [record.decision.id for record in await all_of(records)]
    assert outcome["lost"], "the disk was not full"
    assert Health.JOURNALING in outcome["seen"]
    assert Health.UNAVAILABLE in outcome["seen"]
    assert outcome["seen"][-1] == Health.OK
    assert [decision_id for decision_id in found if decision_id not in outcome["lost"]] == outcome["kept"]
    assert journal.stat().st_size == 0
