"""The SQLite file of the audit store: opened durably and privately, brought to our schema, watched while in use.

Everything here blocks and belongs in a worker thread.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, InterfaceError, SQLAlchemyError

from portcullis.audit.files import identity, open_private
from portcullis.audit.store import RecordRefused
from portcullis.errors import ConfigError, RecordsError
from portcullis.text import clean

MIGRATIONS = Path(__file__).parent / "migrations"

WAL_BYTES = 64 * 1024 * 1024
"""What a write-ahead log that a long reader let grow is cut back to."""

READERS = 2
"""Threads that search, each with its connection."""

_migrating = threading.Lock()
"""Alembic keeps its context in a module; two databases of one process must take turns."""

log = logging.getLogger(__name__)


def database_path(url: str) -> Path:
    """The file of a ``sqlite:///…`` URL.

    Raises:
        ConfigError: any other URL; its text is not repeated, for it may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("audit.database is not a URL; write sqlite:////absolute/path/to/audit.db") from None
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        scheme = clean(parsed.drivername, 40)
        raise ConfigError(f"audit.database: {scheme!r} is not supported by this version; write sqlite:////path")
    if parsed.host or parsed.query or not parsed.database or parsed.database.startswith((":memory:", "file:")):
        raise ConfigError("audit.database must name a file and nothing else: sqlite:////absolute/path/to/audit.db")
    return Path(parsed.database)


class Database:
    """One SQLite file, its writing connection and its readers.

    SQLite in WAL mode with ``synchronous=FULL``: a commit is on disk when it returns, and readers do not wait for
    the writer (https://www.sqlite.org/pragma.html#pragma_synchronous, https://www.sqlite.org/wal.html).

    Args:
        path: the file; made where it is missing, unless ``read_only``.
        busy_seconds: how long SQLite waits for a lock that another process holds (a backup, say).
        read_only: never writes, makes or migrates anything.
    """

    def __init__(self, *, path: Path, busy_seconds: float, read_only: bool = False) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._read_only = read_only
        self._wal = path.with_name(path.name + "-wal")
        self._files: tuple[tuple[int, int] | None, ...] = ()
        self._engine: Engine | None = None
        self._writer: Connection | None = None
        self.readers: Engine | None = None
        """For searches; stays usable while writing fails."""

    def open(self) -> None:
        """Makes file and tables where they are missing and brings older tables to our schema.

        Raises:
            ConfigError: the file is no SQLite database, another program's, or of a newer version of Portcullis.
            RecordsError: it cannot be opened now, or is damaged.
        """
        with wrapped(self.path, "cannot open"):
            if self._read_only:
                self._open_for_reading()
            else:
                self._open_for_writing()

    def writer(self) -> Connection:
        """The one connection that writes; the file is opened (again) where need be."""
        if self._writer is None:
            self.open()
        if self._writer is None:
            raise RecordsError(f"the audit store {self.path} is open for reading only")
        return self._writer

    def check_still_there(self) -> None:
        """To be called after every commit: one into a file that was removed or replaced is lost, although SQLite,
        which keeps the old file open, reports none of it.

        Raises:
            RecordsError: the name leads to another file now, or to none.
        """
        if self._files != (identity(self.path), identity(self._wal)):
            raise RecordsError(f"the audit store {self.path} was removed or replaced while in use")

    def close_writer(self) -> None:
        """Closes the writing connection; the next write opens the file anew."""
        writer, self._writer = self._writer, None
        engine, self._engine = self._engine, None
        if writer is not None:
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
                writer.close()
        if engine is not None:
            engine.dispose()

    def close(self) -> None:
        """Closes everything."""
        self.close_writer()
        readers, self.readers = self.readers, None
        if readers is not None:
            readers.dispose()

    def _open_for_writing(self) -> None:
        self.close_writer()
        if self._files and not self.path.exists():
            log.error("the audit store %s is gone with all its records; a new one is made", self.path)
        os.close(open_private(self.path))
        check_whole(self.path)
        # BEGIN IMMEDIATE takes the lock at once: a transaction that begins by reading may fail later, without waiting.
        self._engine = self._new_engine("BEGIN IMMEDIATE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
        with self._engine.connect() as connection:
            revision = schema_revision(connection, self.path)
        if revision != newest_revision():
            with self._engine.begin() as connection:
                migrate(connection, self.path)
        self._writer = self._engine.connect()
        files = (identity(self.path), identity(self._wal))
        if self.readers is None or files != self._files:
            if self.readers is not None:
                self.readers.dispose()
            self.readers = self._new_engine("BEGIN", "PRAGMA query_only=ON")
        self._files = files

    def _open_for_reading(self) -> None:
        if not self.path.exists():
            raise RecordsError(f"there is no audit store at {self.path}")
        check_whole(self.path)
        self.readers = self._new_engine("BEGIN", "PRAGMA query_only=ON")
        with self.readers.connect() as connection:
            revision = schema_revision(connection, self.path)
        if revision != newest_revision():
            raise ConfigError(
                f"the audit store {self.path} has the schema {revision or 'none'}, this version reads "
                f"{newest_revision()}; `portcullis serve` brings it up to date when it starts"
            )

    def _new_engine(self, begin: str, *pragmas: str) -> Engine:
        """An engine whose connections never make a file (SQLite would make it for all to read)."""
        engine = create_engine(
            URL.create(
                "sqlite+pysqlite",
                database=f"file:{quote(str(self.path.absolute()))}",
                query={"mode": "rw", "uri": "true"},
            ),
            pool_size=READERS,
            max_overflow=0,
            connect_args={"timeout": self._busy_seconds, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver begins transactions too late; BEGIN is ours, below
            for pragma in (*pragmas, "PRAGMA foreign_keys=ON", "PRAGMA trusted_schema=OFF"):
                answer = connection.execute(pragma).fetchone()
                if answer is not None and pragma.endswith("=WAL") and answer[0] != "wal":
                    raise RecordsError(f"the file system of {self.path} cannot carry a SQLite database in WAL mode")
            connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


# -- the schema --------------------------------------------------------------------------------------------------


def newest_revision(folder: Path = MIGRATIONS) -> str:
    """The schema that this version writes."""
    return ScriptDirectory(str(folder)).get_current_head() or ""


def schema_revision(connection: Connection, path: Path, folder: Path = MIGRATIONS) -> str | None:
    """The schema of the database, None for an empty one.

    Raises:
        ConfigError: it is of a newer version of Portcullis, or another program's.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        if tables := inspect(connection).get_table_names():
            raise ConfigError(f"{path} holds other tables than Portcullis's ({clean(', '.join(tables), 80)})")
        return None
    known = [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]
    if revision not in known:
        raise ConfigError(
            f"the audit store {path} was written by a newer version of Portcullis (its schema is "
            f"{clean(revision, 40)}, this version knows up to {known[0]}); run that version or use another file"
        )
    return revision


def migrate(connection: Connection, path: Path, folder: Path = MIGRATIONS) -> None:
    """Brings the database to our schema, inside the transaction of ``connection``.

    The schema is read again under the lock: another process may have been quicker.
    """
    schema_revision(connection, path, folder)
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _migrating:
        command.upgrade(config, "head")


# -- faults ------------------------------------------------------------------------------------------------------

_HEADER = b"SQLite format 3\0"


def check_whole(path: Path) -> None:
    """Finds a file that was cut off: SQLite would notice only when it reads what is missing.

    The header has the page size at offset 16 and the number of pages at offset 28
    (https://www.sqlite.org/fileformat2.html#the_database_header). While a write-ahead log is there, the file may
    rightly be shorter: SQLite completes it from there.

    Raises:
        ConfigError: no SQLite database.
        RecordsError: shorter than its header says.
    """
    with path.open("rb") as file:
        header = file.read(32)
        size = os.fstat(file.fileno()).st_size
    if not header:
        return
    if not _HEADER.startswith(header[:16]):
        raise ConfigError(f"audit.database: {path} is not a SQLite database")
    wal = path.with_name(path.name + "-wal")
    if len(header) == 32 and wal.exists() and wal.stat().st_size:
        return
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    expected = (65536 if page == 1 else page) * pages
    if len(header) < 32 or size < expected:
        raise RecordsError(
            f"the audit store {path} is cut off: {size} bytes instead of {expected}. Restore it from a backup, or "
            "move it away to begin a new one"
        )


@contextlib.contextmanager
def wrapped(path: Path, doing: str) -> Iterator[None]:
    """Turns what SQLAlchemy, SQLite and the file system raise into RecordsError."""
    try:
        yield
    except (RecordsError, ConfigError):
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
        raise RecordsError(_sentence(path, doing, error)) from error


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Around statements that insert: tells a record that cannot be kept from a store that is down."""
    try:
        yield
    except (IntegrityError, DataError, InterfaceError, ValueError, TypeError, OverflowError) as error:
        raise RecordRefused(_sentence(path, "a record is refused", error)) from error


def _sentence(path: Path, doing: str, error: BaseException) -> str:
    """Without statement and parameters, which SQLAlchemy's own text repeats."""
    cause = getattr(error, "orig", None) or error
    return f"the audit store {path}: {doing}: {clean(str(cause), 200)}"
