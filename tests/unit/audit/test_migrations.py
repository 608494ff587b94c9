"""The tables and their history."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from fakes.oldlog import insert_old
from fakes.postgres import PostgresServer, sqlalchemy_url
from fakes.records import a_decision, a_record
from portcullis.audit.database import MIGRATIONS, known_revisions, migrate, schema_revision
from portcullis.audit.searching import search
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.tables import SCHEMA, metadata
from portcullis.errors import ConfigError
from portcullis.model.decision import Verdict
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio

LATER = '''"""A later version's change."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("later", sa.String(64), nullable=False, server_default="none"))
    {fault}
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    """A database of each kind, without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{path}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.database(migrated=False) as name:
        yield postgres.url(name)


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url(url))
    yield engine
    engine.dispose()


def later_version(folder: Path, fault: str = "") -> Path:
    """The migrations as a later version of Portcullis would have them."""
    later = folder / "migrations"
    shutil.copytree(MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "r9999_later.py").write_text(LATER.format(newest=SCHEMA, fault=fault))
    return later


def no_full_text(name: str | None, kind: str, _parents: object) -> bool:
    """FTS5's tables are not among those of SQLAlchemy."""
    return kind != "table" or not (name or "").startswith("texts")


async def fill(url: str) -> list[str]:
    store = SqlRecords(url=url)
    await store.start()
    records = [a_record(a_decision(images=[("web", "sha256:aa")], denied=["image-user"])) for _ in range(50)]
    await store.append_many(records)
    await store.aclose()
    return [record.decision.id for record in reversed(records)]


def test_the_migrations_make_the_tables_that_the_code_uses(database: Engine) -> None:
    with database.connect() as connection:
        migrate(connection, "audit")
        context = MigrationContext.configure(connection, opts={"include_name": no_full_text})
        assert compare_metadata(context, metadata) == []
        made = inspect(connection)
        for table in metadata.sorted_tables:
            found = {index["name"] for index in made.get_indexes(table.name) if "duplicates_constraint" not in index}
            assert found == {index.name for index in table.indexes}


def test_the_schema_that_the_code_names_is_the_newest_migration() -> None:
    assert known_revisions()[0] == SCHEMA


def test_sequences_are_never_given_twice(path: Path, engine: Engine) -> None:
    with engine.connect() as connection:
        migrate(connection, str(path))
        definition = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'decisions'")).scalar_one()
    assert "AUTOINCREMENT" in definition


async def test_a_second_start_changes_nothing(url: str) -> None:
    first = await fill(url)
    second = await fill(url)
    async with open_records(url) as records:
        found = await records.search(RecordFilter(limit=1000))
    assert [record.decision.id for record in found] == second + first


@pytest.mark.parametrize("schema", ["0001", "0002", "0003", "0004"])
async def test_records_of_older_schemas_are_found_and_counted_as_new_ones(
    path: Path, engine: Engine, tmp_path: Path, schema: str
) -> None:
    """What the migration derives from old records is what this version writes with new ones."""
    records = [
        a_record(a_decision(images=[("web", "sha256:aa"), ("db", "")], denied=["image-user"])),
        a_record(a_decision(images=[("web:2", "sha256:aa")], undecided=["scan-required"], verdict=Verdict.REFUSED)),
        a_record(a_decision(denied=["image-user"]), dry_run=True),
    ]
    folder = tmp_path / "older"
    newer = [f"r{number:04}_*" for number in range(int(schema) + 1, 10)]
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__", *newer))
    with engine.connect() as connection:
        migrate(connection, str(path), folder)
        with connection.begin():
            insert_old(connection, *records)
    new = SqlRecords(url=f"sqlite:///{tmp_path}/new.db")
    await new.start()
    await new.append_many(records)
    old = SqlRecords(url=f"sqlite:///{path}")
    await old.start()
    for derived in DERIVED:
        assert await old.read(rows_of(derived)) == await new.read(rows_of(derived)) != []
    await old.aclose()
    await new.aclose()


DERIVED = (
    "SELECT decision, reason FROM reasons ORDER BY 1, 2",
    "SELECT width, start, namespace, verdict, code, because, dry_run, count FROM tallies ORDER BY 1, 2, 3, 4, 5, 6, 7",
    "SELECT width, start, namespace, policy, mode, outcome, count FROM policy_tallies ORDER BY 1, 2, 3, 4, 5, 6",
    "SELECT digest, namespace, written, last_sequence, decisions, refused FROM image_uses ORDER BY 1, 2",
    "SELECT start, first_sequence, last_sequence FROM hours ORDER BY 1",
    "SELECT decision, written, repository FROM images ORDER BY 1, 2",
    'SELECT rowid FROM texts WHERE texts MATCH \'"registry" AND "unreachable"\'',
    'SELECT rowid FROM texts WHERE texts MATCH \'"image" AND "root"\' ORDER BY 1',
)


def rows_of(statement: str) -> Callable[[Connection], list[tuple[Any, ...]]]:
    return lambda connection: [tuple(row) for row in connection.exec_driver_sql(statement)]


async def test_a_later_migration_runs_on_a_filled_database(url: str, database: Engine, tmp_path: Path) -> None:
    await fill(url)
    folder = later_version(tmp_path)
    with database.connect() as connection:
        migrate(connection, "audit", folder)
    with database.connect() as connection:
        assert schema_revision(connection, "audit", folder) == "9999"
        assert connection.execute(text("SELECT count(*) FROM decisions WHERE later = 'none'")).scalar_one() == 50
        assert len(search(connection, RecordFilter(image="web", limit=5), until=math.inf).sequences) == 5


async def test_a_migration_that_fails_leaves_nothing_behind(url: str, database: Engine, tmp_path: Path) -> None:
    await fill(url)
    folder = later_version(tmp_path, fault='raise RuntimeError("half way")')
    store = SqlRecords(url=url)
    await store.start()

    connection = store._database.writer()
    with pytest.raises(RuntimeError, match="half way"), store._database.bounded(connection, 60):
        migrate(connection, "audit", folder)
    await store.append(a_record())
    await store.aclose()
    with database.connect() as reading:
        assert schema_revision(reading, "audit") == SCHEMA
        assert "later" not in {column["name"] for column in inspect(reading).get_columns("decisions")}


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    url: str, database: Engine, tmp_path: Path
) -> None:
    await fill(url)
    with database.connect() as connection:
        migrate(connection, "audit", later_version(tmp_path))
    store = SqlRecords(url=url)
    with pytest.raises(ConfigError, match=r"newer version of Portcullis.*9999"):
        await store.start()
    await store.aclose()
    with pytest.raises(ConfigError, match=r"newer version of Portcullis.*9999"):
        async with open_records(url):
            pytest.fail("opened")
