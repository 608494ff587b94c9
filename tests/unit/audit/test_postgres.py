"""The PostgreSQL of the store: how it is spoken to, what is refused, and what is said about it."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text

from fakes.postgres import OWNER, PASSWORD, PostgresServer
from fakes.records import a_decision, a_record
from portcullis.audit.database import migrate
from portcullis.audit.postgres import OLDEST, require_version
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.store import RecordRefused
from portcullis.audit.tables import KEY_CHARS, SCHEMA
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio

QUICK = Limits(append_seconds=0.2, store_seconds=0.5)


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


async def refused(url: str, *, read_only: bool = False) -> str:
    """Why a store does not open."""
    records = SqlRecords(url=url, read_only=read_only)
    with pytest.raises((ConfigError, RecordsError)) as raised:
        await records.start()
    await records.aclose()
    assert PASSWORD not in raised.value.message
    return f"{type(raised.value).__name__}: {raised.value.message}"


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
        "portcullis", "UTC", "on", "500ms", "100ms", "500ms", "read committed", "off",
    ]  # fmt: skip
    assert await records.read(ask) == [
        "portcullis", "UTC", "on", "3500ms", "100ms", "3500ms", "repeatable read", "on",
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


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_another_encoding(postgres: PostgresServer, encoding: str) -> None:
    with postgres.database(migrated=False, more=f"ENCODING '{encoding}' LOCALE 'C'") as name:
        told = await refused(postgres.url(name))
    assert told.startswith(
        f"ConfigError: the audit store {name} at 127.0.0.1:{postgres.port} has the encoding {encoding}"
    )
    assert "create the database with ENCODING 'UTF8'" in told


@pytest.mark.parametrize(("version", "good"), [(90624, False), (130022, False), (140000, True), (180004, True)])
def test_an_old_server(version: int, good: bool) -> None:
    """There is no old one to be asked here: the number is what psycopg tells (180004 for 18.4)."""
    if good:
        require_version(version, "audit at db")
    else:
        with pytest.raises(ConfigError, match=f"is on PostgreSQL {version // 10_000}; {OLDEST} is the oldest"):
            require_version(version, "audit at db")


async def test_a_standby_is_read_but_not_written(postgres: PostgresServer, postgres_url: str) -> None:
    records = SqlRecords(url=postgres_url)
    await records.start()
    await records.append(a_record())
    await records.aclose()
    postgres.stop()
    (postgres.folder / "data" / "standby.signal").touch()
    postgres.start()
    try:
        told = await refused(postgres.url(postgres_url.rpartition("/")[2]))
        assert "is a standby: audit.database must name the primary" in told
        async with open_records(postgres_url) as reading:
            assert await count(reading) == 1
    finally:
        postgres.execute("SELECT pg_promote()")


async def test_a_server_that_becomes_a_standby_while_in_use(postgres: PostgresServer, name: str) -> None:
    """As a switch-over does: the name leads to the old primary for a while."""
    records = SqlRecords(url=postgres.url(name), limits=QUICK)
    await records.start()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
    with pytest.raises(RecordsError):
        await records.append(a_record())
    with pytest.raises(RecordsError, match=r"is read-only .*must name the primary"):
        await records.append(a_record())
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await records.append(a_record())
    assert await count(records) == 1
    await records.aclose()


async def test_missing_rights(postgres: PostgresServer, name: str) -> None:
    """What docs/operators.md grants a reader lets it read, and no more."""
    user = f"reader_{name}"
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    url = postgres.url(name, user=user)
    try:
        told = await refused(url, read_only=True)
        assert "permission denied" in told
        assert "the user must own the tables" in told
        postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}", database=name)
        async with open_records(url) as reading:
            assert await count(reading) == 0
        told = await refused(url)
        assert f"the user {user} may not write bundles, chains, " in told
        assert "docs/operators.md" in told
    finally:
        postgres.drop(name)
        postgres.execute(f"DROP ROLE {user}")


async def test_no_right_to_make_tables(postgres: PostgresServer) -> None:
    with postgres.database(migrated=False) as name:
        postgres.execute(f"ALTER DATABASE {name} OWNER TO postgres")
        told = await refused(postgres.url(name))
    assert "permission denied for schema public" in told
    assert "the user must own the tables, or the database" in told


async def test_a_schema_of_ones_own(postgres: PostgresServer) -> None:
    with postgres.database(migrated=False) as name:
        postgres.execute(f"ALTER DATABASE {name} SET search_path = gate")
        assert "search_path names no schema that is there" in await refused(postgres.url(name))
        postgres.execute(f"CREATE SCHEMA gate AUTHORIZATION {OWNER}", database=name)
        records = SqlRecords(url=postgres.url(name))
        await records.start()
        await records.append(a_record())
        await records.aclose()
        assert postgres.execute("SELECT count(*) FROM gate.decisions", database=name) == [(1,)]


@pytest.mark.parametrize("tables", [["customers"], ["customers", "alembic_version"]])
async def test_another_programs_database_is_left_alone(postgres: PostgresServer, tables: list[str]) -> None:
    with postgres.database(migrated=False) as name:
        for table in tables:
            postgres.execute(f"CREATE TABLE {table} (version_num text)", database=name)
            postgres.execute(f"INSERT INTO {table} VALUES ('ae1027a6acf')", database=name)
        assert "customers" in (told := await refused(postgres.url(name)))
        assert told.startswith("ConfigError: ")
        asked = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert postgres.execute(asked, database=name) == [(len(tables),)]


async def test_a_newer_schema(postgres: PostgresServer, name: str) -> None:
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=name)
    for read_only in (False, True):
        told = await refused(postgres.url(name), read_only=read_only)
        assert told.startswith("ConfigError: ")
        assert f"newer version of Portcullis (its schema is 9999, this version writes {SCHEMA})" in told


async def test_a_command_migrates_nothing(postgres: PostgresServer) -> None:
    with postgres.database(migrated=False) as name:
        assert "`portcullis serve` brings it up to date" in await refused(postgres.url(name), read_only=True)
        assert postgres.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", database=name) == []


@pytest.mark.parametrize(
    ("code", "what"), [(100_000, "out of range"), (object(), "no value of a row")], ids=["large", "odd"]
)
async def test_a_record_that_the_server_never_takes_is_no_outage(records: SqlRecords, code: object, what: str) -> None:
    bad = a_record(a_decision("bad"))
    object.__setattr__(bad.decision, "code", code)
    with pytest.raises(RecordRefused, match=what):
        await records.append(bad)
    await records.append(a_record())
    assert await count(records) == 1


async def test_values_of_a_record_are_in_no_error(records: SqlRecords) -> None:
    """PostgreSQL adds them as DETAIL, SQLAlchemy as parameters."""
    bad = a_record(a_decision("secret-id"), username="secret-user")
    object.__setattr__(bad.decision, "code", None)
    with pytest.raises(RecordRefused) as raised:
        await records.append(bad)
    assert "secret" not in raised.value.message


# -- passwords ---------------------------------------------------------------------------------------------------


async def test_a_password_is_read_anew_for_each_connection(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    user, file = f"writer_{name}", tmp_path / "pass word"
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first' IN ROLE {OWNER}")
    file.write_text("first\n")
    url = postgres.url(name, user=user, password="", query=f"passwordFile={quote(str(file))}")
    records = SqlRecords(url=url, limits=QUICK)
    try:
        await records.start()
        postgres.execute(f"ALTER ROLE {user} PASSWORD 'second'")
        await records.append(a_record())
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user)
        for _ in range(2):  # the first finds its connection dead, the next is let in no more
            with pytest.raises(RecordsError) as raised:
                await records.append(a_record())
        assert "password authentication failed" in raised.value.message
        file.write_text("second")
        await records.append(a_record())
        assert await count(records) == 2
    finally:
        await records.aclose()
        postgres.drop(name)
        postgres.execute(f"DROP ROLE {user}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read .*: No such file"),
        (b"", "holds no password"),
        (b"\n", "holds no password"),
        (b"a" * 5000, "holds no password of 1 to 4096 bytes"),
        (b"a\0b", "holds no password"),
        (b"\xff", "is not UTF-8"),
    ],
)
async def test_a_file_that_holds_no_password(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    records = SqlRecords(url=postgres.url(postgres_url.rpartition("/")[2], password="", query=f"passwordFile={file}"))
    with pytest.raises(RecordsError, match=f"audit.passwordFile: .*{told}"):
        await records.start()
    await records.aclose()


@pytest.mark.parametrize("password", ["wrong", ""])
async def test_a_wrong_password(postgres: PostgresServer, password: str) -> None:
    told = await refused(postgres.url("postgres", password=password))
    assert told.startswith("RecordsError: ")
    assert "password" in told


@pytest.mark.parametrize("method", ["password", "md5", "trust"])
async def test_a_password_is_told_to_nobody_who_asks_for_it_plainly(
    postgres: PostgresServer, postgres_url: str, method: str
) -> None:
    """``password`` and ``md5`` are what somebody in between would ask for, without TLS that would know them."""
    rules = postgres.folder / "data" / "pg_hba.conf"
    kept = rules.read_text()
    rules.write_text(f"host all {OWNER} 127.0.0.1/32 {method}\n{kept}")
    postgres.reload()
    try:
        if method == "password":
            assert "authentication method requirement" in await refused(postgres_url)
        else:  # where the server keeps a SCRAM secret, md5 means SCRAM
            records = SqlRecords(url=postgres_url)
            await records.start()
            await records.aclose()
    finally:
        rules.write_text(kept)
        postgres.reload()


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


async def test_a_statement_has_its_time(records: SqlRecords) -> None:
    """limits.store_seconds; the server itself ends it, and the next statement goes on."""
    began = time.monotonic()
    with pytest.raises(RecordsError, match=r"statement timeout \(limits.storeSeconds\)|timeout expired"):
        await records.change(lambda connection: connection.execute(text("SELECT pg_sleep(30)")))
    assert time.monotonic() - began < 5
    await records.append(a_record())


async def test_a_reader_has_its_time(postgres_url: str) -> None:
    limits = Limits(read_seconds=0.2, store_seconds=0.3)
    records = SqlRecords(url=postgres_url, limits=limits)
    await records.start()
    began = time.monotonic()
    with pytest.raises(RecordsError, match="timeout"):
        await records.read(lambda connection: connection.execute(text("SELECT pg_sleep(30)")))
    assert time.monotonic() - began < 5
    assert await count(records) == 0
    await records.aclose()


async def test_a_dead_connection_costs_a_reader_nothing(postgres: PostgresServer, records: SqlRecords) -> None:
    await records.append(a_record())
    for _ in range(3):
        await asyncio.gather(*(count(records) for _ in range(4)))
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portcullis'")
        assert await count(records) == 1


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
