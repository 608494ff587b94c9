"""Rows into an audit store by the hundred thousand: without indexes, which are made in the end, and without care for
the disk. For figures only."""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import Connection

from portcullis.audit.chain import Head, Writer, open_chain
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import metadata

FILLED = ("decisions", "images", "violations", "reasons", "tallies", "policy_tallies", "image_uses", "hours")


class Bulk(Protocol):
    heads: Sequence[Head]

    def decision(self, values: dict[str, Any]) -> tuple[Any, ...]: ...

    def insert_inputs(self, inputs: Mapping[str, bytes]) -> None: ...

    def insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None: ...

    def finish(self, records: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None: ...


async def bulk_of(url: str, chains: int) -> Bulk:
    """The store, made and with chains begun by the program itself, ready to be filled."""
    store = SqlRecords(url=url)
    await store.start()
    heads = await store.change(lambda connection: [_begin(connection, number) for number in range(chains)])
    await store.aclose()
    return SqliteBulk(url.removeprefix("sqlite:///"), heads)


def _begin(connection: Connection, number: int) -> Head:
    chain = f"00000000-0000-4000-8000-{number:012}"
    return open_chain(connection, Writer(chain, f"portcullis-{number}", "0.1.0", datetime(2026, 10, 1, tzinfo=UTC)))


class SqliteBulk:
    def __init__(self, path: str, heads: Sequence[Head]) -> None:
        self.heads = heads
        self._columns = {name: [column.name for column in metadata.tables[name].columns] for name in FILLED}
        self._decision = itemgetter(*self._columns["decisions"])
        database = self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-400000"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        marks = ",".join("?" * len(FILLED))
        self._indexes = database.execute(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({marks})",
            FILLED,
        ).fetchall()
        for name, _ in self._indexes:
            database.execute(f"DROP INDEX {name}")

    def decision(self, values: dict[str, Any]) -> tuple[Any, ...]:
        values["decided_at"] = values["decided_at"].isoformat(" ", "microseconds")[:26]
        return self._decision(values)

    def insert_inputs(self, inputs: Mapping[str, bytes]) -> None:
        rows = [(digest, zlib.compress(document)) for digest, document in inputs.items()]
        self._database.executemany("INSERT INTO inputs (hash, content) VALUES (?, ?)", rows)

    def insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        names = ["rowid", "text"] if table == "texts" else self._columns[table]
        statement = f"INSERT INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")

    def finish(self, records: int) -> None:
        for _, statement in self._indexes:
            self._database.execute(statement)
        self._database.execute("PRAGMA journal_mode=WAL").fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self._database.close()
