"""All records that meet a filter, in pieces: any number of them in constant memory."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from portcullis.audit import codec
from portcullis.audit.pages import PAGE_BYTES, Damaged, whole
from portcullis.audit.searching import Found, Walk, bodies, search
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import decisions, inputs
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.text import clean

ROWS = 500
ROWS_WITH_INPUTS = 100
"""Of one piece. An input has about 10 kB, 32 MiB at most."""
SECONDS = 1.0
"""How long a piece is searched for before it is given out with what it has: whoever waits wants to hear of it."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One record, or what is left of it, and the hash of its judged input."""

    record: AuditRecord | Damaged
    input_hash: str

    @property
    def sequence(self) -> int:
        return self.record.sequence

    @property
    def is_record(self) -> bool:
        return isinstance(self.record, AuditRecord)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records, newest first. ``next`` is where the search goes on (a ``before``), None behind the last piece."""

    records: tuple[Streamed, ...]
    next: int | None


async def extent(store: SqlRecords, query: RecordFilter) -> tuple[int, int]:
    """Sequences between which all lies that meets the query: from the first on, below the second.

    Raises:
        RecordsError: the store is down.
    """
    return await store.read(lambda connection: Walk(connection, query, above=0, until=math.inf).bounds, patient=True)


async def stream(store: SqlRecords, query: RecordFilter, limits: Limits, *, documents: bool) -> AsyncIterator[Piece]:
    """All that meets the query, newest first; the next piece is read while the caller works on this one.

    Raises:
        RecordsError: the store is down.
    """
    rows = ROWS_WITH_INPUTS if documents else ROWS

    async def read(before: int | None) -> Piece:
        wanted = replace(query, before=before, limit=rows)
        return await store.read(
            lambda connection: _piece(connection, wanted, limits, documents=documents), patient=True
        )

    waiting = asyncio.ensure_future(read(query.before))
    try:
        while True:
            piece = await waiting
            if piece.next is not None:
                waiting = asyncio.ensure_future(read(piece.next))
            yield piece
            if piece.next is None:
                return
    finally:
        waiting.cancel()


def _piece(connection: Connection, query: RecordFilter, limits: Limits, *, documents: bool) -> Piece:
    found = search(connection, query, until=math.inf, pause=time.monotonic() + SECONDS)
    if documents:
        return _with_inputs(connection, found, limits)
    rows = bodies(connection, found.sequences)
    return Piece(tuple(Streamed(_bare(row), row.input_hash or "") for row in rows), found.next)


def _with_inputs(connection: Connection, found: Found, limits: Limits) -> Piece:
    """Fewer records, where their inputs are large."""
    statement = (
        select(decisions.c.sequence, decisions.c.body, decisions.c.input_hash, inputs.c.content)
        .join_from(decisions, inputs, isouter=True)
        .where(decisions.c.sequence.in_(found.sequences))
        .order_by(decisions.c.sequence.desc())
    )
    streamed: list[Streamed] = []
    size = 0
    if found.sequences:
        with connection.execute(statement.execution_options(yield_per=10)) as rows:
            for row in rows:
                if size >= PAGE_BYTES:
                    return Piece(tuple(streamed), streamed[-1].sequence)
                record = whole(row, limits)
                streamed.append(Streamed(record, row.input_hash or ""))
                size += len(record.decision.document) if isinstance(record, AuditRecord) else 0
    return Piece(tuple(streamed), found.next)


def _bare(row: Any) -> AuditRecord | Damaged:
    try:
        return codec.decode_body(row.body, sequence=row.sequence)
    except codec.CodecError as error:
        return Damaged(row.sequence, clean(str(error), 300))
