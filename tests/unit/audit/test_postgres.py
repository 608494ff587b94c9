"""The PostgreSQL of the store: how it is spoken to, for how long it is waited for, and how it is begun."""

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import Connection, text

from fakes.postgres import PostgresServer
from fakes.records import a_record
from portcullis.audit.database import migrate
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.tables import KEY_CHARS
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio

QUICK = Limits(append_seconds=0.2, store_seconds=5)
"""Quick where a lock is waited for; patient with a busy machine."""


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    """A database with our tables, to be changed."""
    with postgres.database() as name:
        yield name


@pytest.fixture
async def records(postgres_url: str) -> AsyncIterator[SqlRecords]:
    records = SqlRecords(url=postgres_url, limits=QUICK)
    await records.start()
    yield records
    await records.aclose()


async def count(records: SqlRecords) -> int:
    return len(await records.search(RecordFilter(limit=1000)))


# -- sessions ----------------------------------------------------------------------------------------------------

SETTINGS = (
    "application_name",
    "TimeZone",
    "synchronous_commit",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_isolation",
    "transaction_read_only",
)


async def test_every_commit_reaches_the_disk_and_nothing_waits_for_ever(records: SqlRecords) -> None:
    """Asked of the sessions themselves."""

    def ask(connection: object) -> list[str]:
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in SETTINGS]  # type: ignore[attr-defined]

    assert await records.change(ask) == [
        "portcullis", "UTC", "on", "5s", "100ms", "5s", "read committed", "off",
    ]  # fmt: skip
    assert await records.read(ask) == [
        "portcullis", "UTC", "on", "8s", "100ms", "8s", "repeatable read", "on",
    ]  # fmt: skip


@pytest.mark.parametrize(("configured", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
async def test_a_weaker_synchronous_commit_is_overruled(
    postgres: PostgresServer, name: str, configured: str, used: str
) -> None:
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = {configured}")
    records = SqlRecords(url=postgres.url(name))
    await records.start()
    asked = text("SHOW synchronous_commit")
    assert await records.change(lambda connection: connection.execute(asked).scalar_one()) == used
    await records.aclose()


async def test_a_server_without_fsync_is_warned_of_once(
    postgres: PostgresServer, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for durable in (False, True):
        caplog.clear()
        records = SqlRecords(url=postgres_url)
        if durable:
            with postgres.durable():
                await records.start()
        else:
            await records.start()
            records._database.close_writer()
        await records.append(a_record())
        await records.aclose()
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warned) == (0 if durable else 1), warned
        assert all("fsync=off" in message for message in warned)


async def test_three_connections_are_all_it_takes(postgres: PostgresServer, records: SqlRecords) -> None:
    await asyncio.gather(*(records.append(a_record()) for _ in range(10)), *(count(records) for _ in range(10)))
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis'"
    assert postgres.execute(asked) == [(3,)]


async def test_a_reader_sees_one_moment(records: SqlRecords) -> None:
    asked = text("SELECT count(*) FROM decisions")
    loop = asyncio.get_running_loop()

    def read(connection: object) -> tuple[int, int]:
        before = connection.execute(asked).scalar_one()  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe(records.append(a_record()), loop).result()
        return before, connection.execute(asked).scalar_one()  # type: ignore[attr-defined]

    assert await records.read(read) == (0, 0)
    assert await count(records) == 1


async def test_texts_that_are_searched_by_ranges_are_in_the_order_of_bytes(
    postgres: PostgresServer, postgres_url: str
) -> None:
    """In another order ``web:`` ≤ text < ``web;`` would find other texts, or not all."""
    rows = postgres.execute(
        "SELECT attrelid::regclass || '.' || attname, collname "
        "FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation "
        "WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) "
        f"AND atttypmod = {KEY_CHARS + 4}",
        database=postgres_url.rpartition("/")[2],
    )
    assert len(rows) > 20
    assert [row for row in rows if row[1] != "C"] == []


# -- time --------------------------------------------------------------------------------------------------------


async def test_a_lock_of_another_is_not_waited_for(postgres: PostgresServer, name: str) -> None:
    records = SqlRecords(url=postgres.url(name), limits=QUICK)
    await records.start()
    with closing(psycopg.connect(postgres.url(name))) as other:
        other.execute("LOCK TABLE decisions IN EXCLUSIVE MODE")
        with pytest.raises(RecordsError, match=r"lock timeout \(limits.appendSeconds\)"):
            await records.append(a_record())
        assert await count(records) == 0, "reading goes on"
        other.rollback()
    await records.append(a_record())
    await records.aclose()


async def test_a_statement_has_its_time(postgres_url: str) -> None:
    """limits.store_seconds; the server itself ends it, and the next statement goes on."""
    records = SqlRecords(url=postgres_url, limits=Limits(store_seconds=1))
    await records.start()
    began = time.monotonic()
    with pytest.raises(RecordsError, match=r"statement timeout \(limits.storeSeconds\)|timeout expired"):
        await records.change(lambda connection: connection.execute(text("SELECT pg_sleep(30)")))
    assert time.monotonic() - began < 10
    await records.append(a_record())
    await records.aclose()


async def test_a_reader_has_its_time(postgres_url: str) -> None:
    limits = Limits(read_seconds=0.2, store_seconds=1)
    records = SqlRecords(url=postgres_url, limits=limits)
    await records.start()
    began = time.monotonic()
    with pytest.raises(RecordsError, match="timeout"):
        await records.read(lambda connection: connection.execute(text("SELECT pg_sleep(30)")))
    assert time.monotonic() - began < 10
    asked = text("SELECT 1 FROM pg_sleep(2)")
    assert await records.read(lambda connection: connection.execute(asked).scalar_one(), patient=True) == 1
    asked = text("SHOW statement_timeout")
    assert await records.read(lambda connection: connection.execute(asked).scalar_one()) == "1200ms", "as before"
    await records.aclose()


async def test_a_dead_connection_costs_a_reader_nothing(postgres: PostgresServer, records: SqlRecords) -> None:
    await records.append(a_record())
    for _ in range(3):
        await asyncio.gather(*(count(records) for _ in range(4)))
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portcullis'")
        assert await count(records) == 1


async def test_a_cursor_of_a_lost_connection_is_closed(postgres: PostgresServer, records: SqlRecords) -> None:
    """Warnings are errors here, and psycopg warns of a cursor at the server that nobody closed."""

    def lost(connection: Connection) -> None:
        ours = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        postgres.execute(f"SELECT pg_terminate_backend({ours})")
        connection.execute(text("SELECT 1").execution_options(yield_per=1))

    with pytest.raises(RecordsError):
        await records.read(lost)
    gc.collect()


# -- starts ------------------------------------------------------------------------------------------------------


async def test_replicas_may_start_at_once(postgres: PostgresServer) -> None:
    """On an empty database, in processes: making the tables is a race."""
    program = (
        "import asyncio, sys\n"
        "from portcullis.audit.sql import SqlRecords\n"
        "from portcullis.limits import Limits\n"
        "from fakes.records import a_record\n"
        "async def main():\n"
        "    records = SqlRecords(url=sys.argv[1], limits=Limits(append_seconds=30, store_seconds=30))\n"
        "    sys.stdin.read()\n"
        "    await records.start()\n"
        "    await records.append(a_record())\n"
        "    await records.aclose()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with postgres.database(migrated=False) as name:
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, postgres.url(name), env=environment, stdin=asyncio.subprocess.PIPE
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        assert [await process.wait() for process in processes] == [0, 0]
        async with open_records(postgres.url(name)) as records:
            assert await count(records) == 2


async def test_a_start_waits_for_another_that_migrates_but_not_for_ever(postgres: PostgresServer) -> None:
    with postgres.database(migrated=False) as name, closing(psycopg.connect(postgres.url(name))) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [0x706F72746375])
        records = SqlRecords(url=postgres.url(name))
        connection = records._database._engine.connect()  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="lock timeout"):
            migrate(connection, name, patience=0.2)
        connection.close()
        starting = asyncio.create_task(records.start())
        await asyncio.sleep(0.3)
        assert not starting.done()
        other.rollback()
        await starting
        await records.append(a_record())
        await records.aclose()
