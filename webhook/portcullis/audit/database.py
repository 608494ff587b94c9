"""What the files and servers that hold the audit store have in common: how they are opened and brought to our schema.

Everything here blocks and belongs in a worker thread.
"""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text

from portcullis.audit.databaseurl import SqliteAddress, read_address
from portcullis.audit.tables import SCHEMA, decisions
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.text import clean

MIGRATIONS = Path(__file__).parent / "migrations"

READERS = 2
"""Threads that search, each with its connection."""

_VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32)))

_ADVISORY_LOCK = 0x706F72746375
"""Of those who migrate a PostgreSQL database; any number that no other program in it uses."""

_migrating = threading.Lock()
"""Alembic keeps its context in a module; two databases of one process must take turns."""


class Database(Protocol):
    """One store: its writing connection and its readers. Raises only ConfigError and RecordsError, but for what is
    raised inside ``refusing`` and ``bounded``, which belong in ``wrapped``."""

    readers: Engine | None
    """For searches; stays usable while writing fails. None until it is open."""

    @property
    def name(self) -> str:
        """For people; without a password."""
        ...

    def open(self, *, patience: float = 0.0) -> None:
        """Makes tables where they are missing and brings older ones to our schema.

        Args:
            patience: seconds to wait for another process that does the same.

        Raises:
            ConfigError: it can never be used as configured: another program's, a newer version's.
            RecordsError: it cannot be opened now, or is damaged.
        """
        ...

    def writer(self) -> Connection:
        """The one connection that writes, outside of a transaction; it is opened (again) where need be."""
        ...

    def check_still_there(self) -> None:
        """To be called after every commit.

        Raises:
            RecordsError: what was committed is lost all the same.
        """
        ...

    def close_writer(self) -> None:
        """Closes the writing connection; the next write opens it anew."""
        ...

    def close(self) -> None:
        """Closes everything."""
        ...

    def wrapped(self, doing: str) -> AbstractContextManager[None]:
        """Turns what SQLAlchemy, the driver and the system raise into RecordsError."""
        ...

    def refusing(self) -> AbstractContextManager[None]:
        """Around statements that insert: tells a record that cannot be kept (RecordRefused) from a store that is
        down."""
        ...

    def give_time(self, connection: Connection, seconds: float) -> None:
        """Lets statements take that long until the end of the connection's transaction, which is begun by this."""
        ...

    def bounded(self, connection: Connection, seconds: float | None) -> AbstractContextManager[None]:
        """Around statements: a server that does not answer within that time has its connection closed; None waits for
        as long as it lives. A file needs no such thing."""
        ...


def database_of(url: str, limits: Limits, *, read_only: bool) -> Database:
    """The store that ``url`` names, not open yet.

    Raises:
        ConfigError: it names none.
    """
    address = read_address(url)
    # Each kind is imported where it is used: psycopg takes a tenth of a second, of every command.
    if isinstance(address, SqliteAddress):
        from portcullis.audit.sqlite import SqliteDatabase

        return SqliteDatabase(path=address.path, busy_seconds=limits.append_seconds / 2, read_only=read_only)
    from portcullis.audit.postgres import PostgresDatabase

    return PostgresDatabase(address=address, limits=limits, read_only=read_only)


def reading_seconds(limits: Limits) -> float:
    """After which a reader's connection is given up: it has stopped asking long before."""
    return limits.read_seconds + limits.store_seconds


# -- the schema --------------------------------------------------------------------------------------------------
# Alembic is imported only to migrate: a database of our schema, the usual case, is opened without it (a quarter of a
# second less for every command that reads the log).


def schema_revision(connection: Connection, name: str, folder: Path = MIGRATIONS) -> str | None:
    """The schema of the database, None for an empty one.

    Raises:
        ConfigError: it is of a newer version of Portcullis, or another program's.
    """
    tables = inspect(connection).get_table_names()
    ours = _VERSIONS.name in tables and decisions.name in tables
    revision = connection.execute(select(_VERSIONS.c.version_num)).scalar_one_or_none() if ours else None
    if tables and revision is None:
        raise ConfigError(f"{name} holds other tables than Portcullis's ({clean(', '.join(tables), 80)})")
    if revision is None:
        return None
    if revision != SCHEMA and revision not in known_revisions(folder):
        raise ConfigError(
            f"the audit store {name} was written by a newer version of Portcullis (its schema is "
            f"{clean(revision, 40)}, this version writes {SCHEMA}); run that version or use another database"
        )
    return str(revision)


def require_schema(revision: str | None, name: str) -> None:
    """
    Raises:
        ConfigError: it is not ours, for a command that only reads and so does not migrate.
    """
    if revision != SCHEMA:
        raise ConfigError(
            f"the audit store {name} has the schema {revision or 'none'}, this version reads "
            f"{SCHEMA}; `portcullis serve` brings it up to date when it starts"
        )


def known_revisions(folder: Path = MIGRATIONS) -> list[str]:
    """All schemas that the migrations in ``folder`` know, the newest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]


def migrate(connection: Connection, name: str, folder: Path = MIGRATIONS, *, patience: float = 10.0) -> None:
    """Brings the database to the newest schema of ``folder``, all or nothing.

    Args:
        connection: outside of any transaction.
        patience: seconds to wait for others who migrate or write; SQLite's connection has its own.
    """
    # Imported before the lock is taken, which others wait for.
    from alembic import command
    from alembic.config import Config

    newest = known_revisions(folder)[0]
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _migrating, connection.begin():
        if connection.dialect.name == "postgresql":
            _lock(connection, patience)
        if schema_revision(connection, name, folder) != newest:  # nobody was quicker
            command.upgrade(config, "head")


def _lock(connection: Connection, patience: float) -> None:
    """Until the end of the transaction, whose statements take the time that they take: an index over millions of rows.
    SQLite's BEGIN IMMEDIATE does as much."""
    for setting, value in (
        ("lock_timeout", int(patience * 1000)),
        ("statement_timeout", 0),
        ("idle_in_transaction_session_timeout", 0),
    ):
        connection.execute(text("SELECT set_config(:setting, :value, true)"), {"setting": setting, "value": str(value)})
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})


def sentence(name: str, doing: str, error: BaseException) -> str:
    """What went wrong, without statement and parameters, which SQLAlchemy's own text repeats, and without the values
    that PostgreSQL adds."""
    cause = getattr(error, "orig", None) or error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return f"the audit store {name}: {doing}: {clean(primary or str(cause), 200)}"
