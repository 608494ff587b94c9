"""Chains as they lie in the store, page by page, with all that is kept beside their records.

Each page is a read of its own: a long one would keep SQLite from emptying its write-ahead log, and PostgreSQL from
clearing up, while a server writes beside.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, func, or_, select

from portcullis.audit.recomputed import COLUMNS, IMAGES, VIOLATIONS, Values
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import bundles, chains, checkpoints, decisions, hours, images, inputs, reasons, violations

PAGE_ROWS = 500
PAGE_BYTES = 16 * 1024 * 1024
"""Bodies and compressed inputs of one page."""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of ``chains``. ``pruned`` is the position up to which records are gone, ``start`` the hash there."""

    number: int
    id: str
    replica: str
    started_at: datetime
    version: str
    genesis: str
    hash: bytes
    pruned: int
    start: bytes


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A row of ``checkpoints``."""

    number: int
    position: int
    made_at: datetime
    body: bytes
    signature: bytes
    key: str


@dataclass(slots=True)
class Kept:
    """A record as it is kept. ``values`` are those of COLUMNS, ``content`` the compressed input."""

    sequence: int
    position: int
    hash: bytes
    body: bytes
    content: bytes | None
    values: Values
    images: list[Values] = field(default_factory=list)
    violations: list[Values] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class ChainReader:
    """Reads an audit log. Every method raises RecordsError where the store is down."""

    def __init__(self, store: SqlRecords) -> None:
        self._store = store

    async def chains(self) -> Sequence[ChainRow]:
        """All of them, the oldest first."""
        return await self._store.read(
            lambda connection: [_chain(row) for row in connection.execute(select(chains).order_by(chains.c.number))]
        )

    async def chain(self, number: int) -> ChainRow | None:
        def read(connection: Connection) -> ChainRow | None:
            row = connection.execute(select(chains).where(chains.c.number == number)).one_or_none()
            return None if row is None else _chain(row)

        return await self._store.read(read)

    async def last(self, chain: int) -> int:
        """The position of the newest record that is there, 0 where none is."""
        statement = select(func.max(decisions.c.position)).where(decisions.c.chain == chain)
        return await self._store.read(lambda connection: int(connection.execute(statement).scalar_one() or 0))

    async def checkpoints(self, chain: int) -> Sequence[CheckpointRow]:
        """In the order in which they were made."""
        statement = select(checkpoints).where(checkpoints.c.chain == chain).order_by(checkpoints.c.number)
        return await self._store.read(
            lambda connection: [
                CheckpointRow(
                    row.number, row.position, row.made_at, _bytes(row.body), bytes(row.signature or b""), row.key
                )
                for row in connection.execute(statement)
            ]
        )

    async def page(self, chain: int, after: int, until: int) -> Sequence[Kept]:
        """The next records behind the position ``after``, up to ``until``; none where there are none."""
        return await self._store.read(lambda connection: _page(connection, chain, after, until))

    async def hours(self, chain: int) -> Mapping[int, tuple[int, int]]:
        """Between which sequences the decisions of an hour lie, by its start in seconds since 1970."""
        statement = select(hours.c.start, hours.c.first_sequence, hours.c.last_sequence).where(hours.c.chain == chain)
        return await self._store.read(
            lambda connection: {row[0]: (row[1], row[2]) for row in connection.execute(statement)}
        )

    async def misplaced(self, chain: int, pruned: int) -> str | None:
        """A decision of the chain that stands at no position, or where the records have been removed."""
        statement = (
            select(decisions.c.id)
            .where(
                decisions.c.chain == chain,
                or_(decisions.c.position.is_(None), decisions.c.position <= pruned),
            )
            .limit(1)
        )
        return await self._store.read(lambda connection: connection.execute(statement).scalar_one_or_none())

    async def unchained(self) -> tuple[int, int]:
        """How many records stand in no chain, and the last sequence of one."""
        statement = select(func.count(), func.max(decisions.c.sequence)).where(decisions.c.chain.is_(None))

        def read(connection: Connection) -> tuple[int, int]:
            count, last = connection.execute(statement).one()
            return count, last or 0

        return await self._store.read(read)

    async def numbers(self) -> Sequence[int]:
        """The numbers of chains that records or checkpoints stand in."""

        def read(connection: Connection) -> Sequence[int]:
            found: set[int] = set()
            for table in (decisions, checkpoints):
                last: int | None = None
                while True:  # along the index, from one number to the next
                    following = select(func.min(table.c.chain))
                    if last is not None:
                        following = following.where(table.c.chain > last)
                    last = connection.execute(following).scalar_one()
                    if last is None:
                        break
                    found.add(last)
            return sorted(found)

        return await self._store.read(read)

    async def bundles(self) -> Sequence[tuple[str, str]]:
        """Revision and kind of what records refer to."""
        statement = select(bundles.c.revision, bundles.c.kind).order_by(bundles.c.revision)
        return await self._store.read(
            lambda connection: [(row.revision, row.kind) for row in connection.execute(statement)]
        )

    async def bundle(self, revision: str) -> bytes | None:
        return await self._store.bundles.get(revision)


def _page(connection: Connection, chain: int, after: int, until: int) -> Sequence[Kept]:
    statement = (
        select(
            decisions.c.sequence,
            decisions.c.position,
            decisions.c.hash,
            decisions.c.body,
            inputs.c.content,
            *(decisions.c[name] for name in COLUMNS),
        )
        .join_from(decisions, inputs, decisions.c.input_hash == inputs.c.hash, isouter=True)
        .where(decisions.c.chain == chain, decisions.c.position > after, decisions.c.position <= until)
        .order_by(decisions.c.position)
        .limit(PAGE_ROWS)
    )
    found: dict[int, Kept] = {}
    size = 0
    with connection.execute(statement.execution_options(yield_per=50)) as rows:
        for row in rows:
            body = _bytes(row[3])
            found[row[0]] = Kept(row[0], row[1], row[2] or b"", body, row[4], tuple(row[5:]))
            size += len(body) + len(row[4] or b"")
            if size >= PAGE_BYTES:
                break
    page = list(found.values())
    if page:
        span = (chain, after, page[-1].position)
        for sequence, rows_of in _beside(connection, images, IMAGES, "position", span).items():
            found[sequence].images = rows_of
        for sequence, rows_of in _beside(connection, violations, VIOLATIONS, "position", span).items():
            found[sequence].violations = rows_of
        for sequence, rows_of in _beside(connection, reasons, ("reason",), "reason", span).items():
            found[sequence].reasons = sorted(row[0] for row in rows_of)
    return page


def _beside(
    connection: Connection, table: Table, names: Sequence[str], order: str, span: tuple[int, int, int]
) -> Mapping[int, list[Values]]:
    """Rows of another table by the sequence of their decision, for those of a span of positions."""
    chain, after, through = span
    statement = (
        select(table.c.decision, *(table.c[name] for name in names))
        .join_from(decisions, table, table.c.decision == decisions.c.sequence)
        .where(decisions.c.chain == chain, decisions.c.position > after, decisions.c.position <= through)
        .order_by(table.c.decision, table.c[order])
    )
    found: defaultdict[int, list[Values]] = defaultdict(list)
    for row in connection.execute(statement).all():
        found[row[0]].append(tuple(row[1:]))
    return found


def _chain(row: Any) -> ChainRow:
    pruned = int(row.pruned_position)
    start = (row.pruned_hash or b"") if pruned else row.hash
    return ChainRow(
        row.number, row.id, row.replica, row.started_at, row.version, row.genesis, row.hash, pruned, bytes(start)
    )


def _bytes(text: str) -> bytes:
    """Bodies are ASCII; what is not was tampered with, and is compared all the same."""
    return text.encode("utf-8", "surrogatepass")
