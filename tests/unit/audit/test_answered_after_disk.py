"""The order of things: a record is on the disk before `append` returns, whichever of store and journal takes it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fakes.records import SystemClock, a_decision, a_record
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords
from portcullis.audit.writer import AuditLog, Health
from portcullis.limits import Limits

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=0.1)


async def test_the_journal_is_synced_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real fsync, listened to: what it had written through when each append returned."""
    synced: dict[tuple[int, int], int] = {}
    really = os.fsync

    def fsync(descriptor: int) -> None:
        before = os.fstat(descriptor)
        really(descriptor)
        synced[before.st_dev, before.st_ino] = before.st_size

    monkeypatch.setattr(os, "fsync", fsync)
    database, path = tmp_path / "audit.db", tmp_path / "journal"
    log = AuditLog(
        store=SqlRecords(url=f"sqlite:///{database}", limits=LIMITS),
        journal=Journal(path=path, limits=LIMITS),
        limits=LIMITS,
        clock=SystemClock(),
    )
    await log.start()
    await log.append(a_record(a_decision("d-first")))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        sizes = []
        for number in range(5):
            await log.append(a_record(a_decision(f"d-{number}")))
            file = path.stat()
            assert f"d-{number}".encode() in path.read_bytes()
            assert synced[file.st_dev, file.st_ino] == file.st_size > 0
            sizes.append(file.st_size)
        assert log.health is Health.JOURNALING
        assert sizes == sorted(set(sizes))
        other.execute("ROLLBACK")
    await log.aclose()
