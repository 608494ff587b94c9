"""Rows into an audit store by the hundred thousand: without indexes, which are made in the end, and without care for
the disk. For figures only."""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import Connection

from portcullis.audit.chain import Head, OwnChain
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import metadata
from portcullis.limits import DEFAULT_LIMITS

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
    store = SqlRecords(url=url, limits=replace(DEFAULT_LIMITS, store_seconds=60.0))
    await store.start()
    heads = await store.change(lambda connection: [_begin(connection, number) for number in range(chains)])
    await store.aclose()
    return SqliteBulk(url.removeprefix("sqlite:///"), heads) if url.startswith("sqlite") else PostgresBulk(url, heads)


def _begin(connection: Connection, number: int) -> Head:
    return OwnChain(replica=f"portcullis-{number}", version="0.1.0").head(connection)


COLUMNS = {name: [column.name for column in metadata.tables[name].columns] for name in FILLED}


class SqliteBulk:
    def __init__(self, path: str, heads: Sequence[Head]) -> None:
        self.heads = heads
        self._decision = itemgetter(*COLUMNS["decisions"])
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
        names = ["rowid", "text"] if table == "texts" else COLUMNS[table]
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


class PostgresBulk:
    """COPY, with the indexes and keys that refer to other tables left out until the end."""

    def __init__(self, url: str, heads: Sequence[Head]) -> None:
        import psycopg

        self.heads = heads
        self._decision = itemgetter(*COLUMNS["decisions"])
        self._connection = psycopg.connect(url, autocommit=True)
        found = self._connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s) "
            "AND indexname LIKE 'ix_%%'",
            ([*FILLED, "texts"],),
        ).fetchall()
        self._indexes = [definition for _, definition in found]
        for name, _ in found:
            self._execute(f"DROP INDEX {name}")
        self._keys = self._connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s)",
            ([*FILLED, "texts"],),
        ).fetchall()
        for table, name, _ in self._keys:
            self._execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        self._execute("SET synchronous_commit = off")

    def decision(self, values: dict[str, Any]) -> tuple[Any, ...]:
        return self._decision(values)

    def insert_inputs(self, inputs: Mapping[str, bytes]) -> None:
        rows = ((digest, zlib.compress(document)) for digest, document in inputs.items())
        self._copy("inputs", ["hash", "content"], rows)

    def insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        if table == "texts":
            self._copy(table, ["rowid", "words"], ((sequence, _vector(words)) for sequence, words in rows))
        else:
            self._copy(table, COLUMNS[table], rows)

    def finish(self, records: int) -> None:
        for table, name, definition in self._keys:
            self._execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for definition in self._indexes:
            self._execute(definition)
        self._execute("SELECT setval(pg_get_serial_sequence('decisions', 'sequence'), %s)", records)
        self._execute("VACUUM (ANALYZE)")

    def _copy(self, table: str, names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"COPY {table} ({', '.join(names)}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[arg-type]
            for row in rows:
                copy.write_row(row)

    def _execute(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values or None)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self._connection.close()


def _vector(words: str) -> str:
    """As a tsvector is written; our words need no more than quotes."""
    return " ".join(f"'{word}'" for word in words.split(" "))
