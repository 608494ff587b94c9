"""The SQLite file of the store: durable, private, and safe against what happens to files."""

import asyncio
import logging
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from fakes.records import a_decision, a_record
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio

QUICK = Limits(append_seconds=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.db"


def at(path: Path, limits: Limits = QUICK) -> SqlRecords:
    return SqlRecords(url=f"sqlite:///{quote(str(path))}", limits=limits)


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqlRecords]:
    records = at(path)
    await records.start()
    yield records
    await records.aclose()


async def test_every_commit_reaches_the_disk(records: SqlRecords) -> None:
    """Asked of the writing connection itself, for these settings are a connection's and not the file's."""
    connection = records._database.writer()
    pragmas = {
        name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    }
    connection.rollback()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 50
    connection.rollback()


async def test_files_and_directory_are_private(path: Path, records: SqlRecords) -> None:
    await records.append(a_record())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["audit.db", "audit.db-wal", "audit.db-shm"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_an_odd_file_name_is_a_file_name(tmp_path: Path) -> None:
    path = tmp_path / "a #b%20c & d?e=f" / "audit.db"
    records = at(path)
    await records.start()
    await records.append(a_record())
    await records.aclose()
    assert path.is_file()


async def test_a_locked_database_is_an_error_and_heals(path: Path, records: SqlRecords) -> None:
    await records.append(a_record())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordsError, match="locked"):
            await records.append(a_record())
        assert len(await records.search(RecordFilter())) == 1, "reading goes on"
        other.execute("ROLLBACK")
    await records.append(a_record())
    assert len(await records.search(RecordFilter())) == 2


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_removed_while_in_use_is_noticed_at_once(
    path: Path, records: SqlRecords, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    """SQLite goes on writing into the removed file and reports success."""
    await records.append(a_record())
    for file in path.parent.iterdir():
        file.unlink()
    if replaced:
        path.touch()
    record = a_record()
    with pytest.raises(RecordsError, match="removed or replaced"):
        await records.append(record)
    with caplog.at_level(logging.ERROR):
        await records.append(record)
    assert ("is gone" in caplog.text) is not replaced
    assert [found.uid for found in await records.search(RecordFilter())] == [record.uid]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


async def test_a_write_ahead_log_removed_while_in_use_is_noticed(path: Path, records: SqlRecords) -> None:
    await records.append(a_record())
    path.with_name("audit.db-wal").unlink()
    record = a_record()
    with pytest.raises(RecordsError, match="removed or replaced"):
        await records.append(record)
    await records.append(record)
    assert record.uid in [found.uid for found in await records.search(RecordFilter())]


async def filled(path: Path, count: int = 300) -> None:
    records = at(path)
    await records.start()
    await records.append_many([a_record(a_decision(images=[("web", "sha256:aa")])) for _ in range(count)])
    await records.aclose()


async def test_a_half_written_file_is_noticed_before_it_is_used(path: Path) -> None:
    await filled(path)
    os.truncate(path, path.stat().st_size // 2)
    records = at(path)
    with pytest.raises(RecordsError, match="cut off"):
        await records.start()
    with pytest.raises(RecordsError, match="cut off"):
        await records.append(a_record())
    await records.aclose()


@pytest.mark.parametrize("length", [16, 31, 99])
async def test_a_file_that_ends_in_its_header_is_noticed(path: Path, length: int) -> None:
    await filled(path, 1)
    os.truncate(path, length)
    records = at(path)
    with pytest.raises((ConfigError, RecordsError), match=r"not a SQLite database|cut off"):
        await records.start()
    await records.aclose()
    assert path.stat().st_size == length


async def test_a_damaged_file_is_an_error_of_the_store(path: Path) -> None:
    await filled(path)
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    records = at(path)
    with pytest.raises(RecordsError):
        await records.start()
    await records.aclose()


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    records = at(path)
    await records.start()
    await records.append(a_record())
    await records.aclose()


@pytest.mark.parametrize("content", [b"#!/bin/sh\n" * 100, b"PK\x03\x04" + bytes(5000)])
async def test_a_file_of_another_kind_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    records = at(path)
    with pytest.raises(ConfigError, match="not a SQLite database"):
        await records.start()
    await records.aclose()
    assert path.read_bytes() == content


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    records = at(path)
    with pytest.raises(ConfigError, match="customers"):
        await records.start()
    await records.aclose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    records = at(tmp_path / "file" / "audit.db")
    with pytest.raises(RecordsError, match="cannot open"):
        await records.start()
    await records.aclose()


async def test_stores_of_one_file_may_start_at_once(path: Path) -> None:
    """Processes, as the workers of a server would: making the file, WAL and tables is a race."""
    program = (
        "import asyncio, sys\n"
        "from portcullis.audit.sql import SqlRecords\n"
        "from portcullis.limits import Limits\n"
        "from fakes.records import a_record\n"
        "async def main():\n"
        "    records = SqlRecords(url=sys.argv[1], limits=Limits(append_seconds=30))\n"
        "    sys.stdin.read()\n"
        "    await records.start()\n"
        "    await records.append(a_record())\n"
        "    await records.aclose()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, f"sqlite:///{path}", env=environment, stdin=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [await process.wait() for process in processes] == [0, 0, 0]
    async with open_records(f"sqlite:///{path}") as records:
        assert len(await records.search(RecordFilter())) == 3


# -- for reading commands ----------------------------------------------------------------------------------------


async def test_a_command_makes_nothing(path: Path) -> None:
    with pytest.raises(RecordsError, match="no audit store"):
        async with open_records(f"sqlite:///{path}"):
            pytest.fail("opened")
    assert not path.parent.exists()


async def test_a_command_migrates_nothing(path: Path) -> None:
    path.parent.mkdir()
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(ConfigError, match="portcullis serve"):
        async with open_records(f"sqlite:///{path}"):
            pytest.fail("opened")
    assert path.stat().st_size == 0
