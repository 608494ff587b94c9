"""The SQLite file of the audit store: opened durably and privately, brought to our schema, watched while in use.

Everything here blocks and belongs in a worker thread.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, SQLAlchemyError

from portcullis.audit.database import READERS, migrate, require_schema, schema_revision, sentence
from portcullis.audit.files import identity, open_private
from portcullis.audit.store import RecordRefused
from portcullis.audit.tables import SCHEMA
from portcullis.errors import ConfigError, PortcullisError, RecordsError

WAL_BYTES = 64 * 1024 * 1024
"""What a write-ahead log that a long reader let grow is cut back to."""

CHECKPOINT_PAGES = 8000
"""Pages of 4 KiB in the write-ahead log after which a commit moves them into the database: at SQLite's own 1,000 every
third commit of 64 records would, and wait for the disk once more."""

CACHE_KIB = 16 * 1024
"""Pages of the database that each connection keeps: the ends of all indexes, which every record is written to."""

log = logging.getLogger(__name__)


class SqliteDatabase:
    """One SQLite file: a Database.

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

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def open(self, *, patience: float = 0.0) -> None:
        """As Database says; the file is made, too.

        Raises:
            ConfigError: the file is no SQLite database, another program's, or of a newer version of Portcullis.
            RecordsError: it cannot be opened now, or is damaged.
        """
        until = time.monotonic() + patience
        while True:
            try:
                with self.wrapped("cannot open"):
                    return self._open_for_reading() if self._read_only else self._open_for_writing()
            except PortcullisError as error:
                self.close_writer()  # a connection to a file that is not known to be ours must not be written to
                if _code(error.__cause__) != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
            time.sleep(0.05)

    def writer(self) -> Connection:
        """As Database says."""
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
        if self._files != self._identities():
            raise RecordsError(f"the audit store {self.path} was removed or replaced while in use")

    def close_writer(self) -> None:
        """As Database says."""
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
        self._close_readers()

    @contextlib.contextmanager
    def wrapped(self, doing: str) -> Iterator[None]:
        """As Database says."""
        try:
            yield
        except (RecordsError, ConfigError):
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
            if _code(error) == sqlite3.SQLITE_NOTADB:
                raise ConfigError(f"audit.database: {self.path} is not a SQLite database (any more)") from error
            advice = ""
            if _code(error) == sqlite3.SQLITE_CORRUPT:
                advice = " (damaged or cut off: restore it from a backup, or move it away to begin a new one)"
            raise RecordsError(sentence(self.name, doing, error) + advice) from error

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """As Database says."""
        try:
            yield
        except (IntegrityError, DataError, InterfaceError, ValueError, TypeError, OverflowError) as error:
            raise RecordRefused(sentence(self.name, "a record is refused", error)) from error

    def give_time(self, connection: Connection, seconds: float) -> None:
        """They have all the time they need."""

    def bounded(self, connection: Connection, seconds: float | None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing: ``busy_seconds`` bound the wait for a lock, and a disk that hangs cannot be left alone."""
        return contextlib.nullcontext()

    def _open_for_writing(self) -> None:
        self.close_writer()
        if self._files != self._identities():
            # Before a new connection: one that shares memory with those to the old file would mix the two up.
            self._close_readers()
        if not self.path.exists():
            if self._files:
                log.error("the audit store %s is gone with all its records; a new one is made", self.path)
            # Never for a file that is there: closing it would drop the locks that SQLite holds on it in this process
            # (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
            os.close(open_private(self.path))
        # BEGIN IMMEDIATE takes the lock at once: a transaction that begins by reading may fail later, without waiting.
        self._engine = self._new_engine("BEGIN IMMEDIATE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
        self._writer = self._engine.connect()
        if self.readers is None:
            self.readers = self._reading_engine()
        if self._revision() != SCHEMA:
            migrate(self._writer, self.name)
        self._files = self._identities()

    def _open_for_reading(self) -> None:
        if not self.path.exists():
            raise RecordsError(f"there is no audit store at {self.path}")
        self._close_readers()
        self.readers = self._reading_engine()
        require_schema(self._revision(), self.name)

    def _reading_engine(self) -> Engine:
        return self._new_engine("BEGIN", "PRAGMA query_only=ON")

    def _close_readers(self) -> None:
        readers, self.readers = self.readers, None
        if readers is not None:
            readers.dispose()

    def _revision(self) -> str | None:
        """The schema, read without a lock, which another process may hold for long."""
        assert self.readers is not None
        with self.readers.connect() as connection:
            return schema_revision(connection, self.name)

    def _identities(self) -> tuple[tuple[int, int] | None, ...]:
        return identity(self.path), identity(self._wal)

    def _new_engine(self, begin: str, *pragmas: str) -> Engine:
        """An engine whose connections never make a file (SQLite would make it for all to read)."""
        engine = create_engine(
            URL.create(
                "sqlite+pysqlite",
                database=f"file:{quote(str(self.path.absolute()))}",
                query={"mode": "rw", "uri": "true"},
            ),
            hide_parameters=True,
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
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code (https://www.sqlite.org/rescode.html); 0 where it is not SQLite's error."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0
