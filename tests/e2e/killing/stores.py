"""The store under the server, as others see it: how many records it has, and a lock that keeps the server out."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Protocol

import psycopg

from fakes.postgres import PostgresServer


class Lock(Protocol):
    def release(self) -> None:
        """Lets the server in again."""
        ...


class Store(Protocol):
    """``url`` is what ``audit.database`` says."""

    @property
    def url(self) -> str: ...

    def kept(self) -> int:
        """How many records there are just now, asked without any of our code; 0 where there are no tables yet."""
        ...

    def locked(self) -> AbstractContextManager[Lock]:
        """Nobody else can write records meanwhile, and everybody can read them."""
        ...


class SqliteStore:
    def __init__(self, database: Path) -> None:
        self._database = database

    @property
    def url(self) -> str:
        return f"sqlite:///{self._database}"

    def kept(self) -> int:
        if not self._database.exists():
            return 0
        with (
            contextlib.suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection,
        ):
            return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])
        return 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[Lock]:
        with closing(sqlite3.connect(self._database, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield _SqliteLock(connection)


class _SqliteLock:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def release(self) -> None:
        self._connection.execute("ROLLBACK")


class PostgresStore:
    """A database of a server that goes on while the gate is killed. Its commits are on disk."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server = server
        self._database = database

    @property
    def url(self) -> str:
        return self._server.url(self._database)

    def kept(self) -> int:
        ((count,),) = self._server.execute("SELECT count(*) FROM decisions", database=self._database)
        return int(count)

    @contextlib.contextmanager
    def locked(self) -> Iterator[Lock]:
        with closing(psycopg.connect(self.url)) as connection:
            connection.execute("LOCK TABLE decisions IN EXCLUSIVE MODE")
            yield _PostgresLock(connection)


class _PostgresLock:
    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection

    def release(self) -> None:
        self._connection.rollback()
