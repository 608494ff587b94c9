"""The PostgreSQL of the store: what is refused, and what is said about it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fakes.postgres import OWNER, PASSWORD, PostgresServer
from fakes.records import a_decision, a_record
from portcullis.audit.postgres import OLDEST, require_version
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.store import RecordRefused
from portcullis.audit.tables import SCHEMA
from portcullis.errors import ConfigError, RecordsError
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


async def refused(url: str, *, read_only: bool = False) -> str:
    """Why a store does not open."""
    records = SqlRecords(url=url, limits=QUICK, read_only=read_only)
    with pytest.raises((ConfigError, RecordsError)) as raised:
        await records.start()
    await records.aclose()
    assert PASSWORD not in raised.value.message
    return f"{type(raised.value).__name__}: {raised.value.message}"


async def count(records: SqlRecords) -> int:
    return len(await records.search(RecordFilter(limit=1000)))


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
    """What docs/operators-audit-log.md grants a reader lets it read, and no more."""
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
        assert "docs/operators-audit-log.md" in told
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
