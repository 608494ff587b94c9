"""The whole log, page by page, with the judged inputs: for what looks at many decisions and keeps few."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from portcullis.audit import codec
from portcullis.audit.searching import search
from portcullis.audit.sql import SqlRecords, inflate
from portcullis.audit.tables import decisions, inputs
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.text import clean

PAGE_ROWS = 200
PAGE_BYTES = 32 * 1024 * 1024
"""Inputs of one page, inflated; one input may be as large."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that is no record any more."""

    sequence: int
    why: str


@dataclass(frozen=True, slots=True)
class _Page:
    records: tuple[AuditRecord | Damaged, ...]
    last: bool


async def pages(
    store: SqlRecords, query: RecordFilter, most: int, limits: Limits
) -> AsyncIterator[tuple[AuditRecord | Damaged, ...]]:
    """The newest ``most`` records that meet ``query``, newest first, each with its document. The next page is read and
    inflated while the caller works.

    Raises:
        RecordsError: the store is down.
    """
    left, before = most, query.before
    waiting = asyncio.ensure_future(_read(store, replace(query, before=before, limit=min(PAGE_ROWS, left)), limits))
    try:
        while True:
            found = await waiting
            left -= len(found.records)
            if found.records:
                last = found.records[-1]
                before = last.sequence
            ends = found.last or left <= 0 or not found.records
            if not ends:
                following = replace(query, before=before, limit=min(PAGE_ROWS, left))
                waiting = asyncio.ensure_future(_read(store, following, limits))
            if found.records:
                yield found.records
            if ends:
                return
    finally:
        waiting.cancel()


async def count(store: SqlRecords, query: RecordFilter, most: int) -> int:
    """How many records :func:`pages` will give, unless more come meanwhile.

    Raises:
        RecordsError: the store is down.
    """
    wanted = replace(query, limit=most)
    return await store.read(lambda connection: len(search(connection, wanted, until=math.inf).sequences))


async def _read(store: SqlRecords, query: RecordFilter, limits: Limits) -> _Page:
    """At most ``query.limit`` records; fewer, where their inputs are large."""
    statement = (
        select(decisions.c.sequence, decisions.c.body, decisions.c.input_hash, inputs.c.content)
        .join_from(decisions, inputs, isouter=True)
        .order_by(decisions.c.sequence.desc())
    )

    def read(connection: Connection) -> _Page:
        found = search(connection, query, until=math.inf)
        wanted = statement.where(decisions.c.sequence.in_(found.sequences))
        records: list[AuditRecord | Damaged] = []
        size = 0
        with connection.execute(wanted.execution_options(yield_per=PAGE_ROWS // 8)) as rows:
            for row in rows:
                if size >= PAGE_BYTES:
                    return _Page(tuple(records), last=False)
                record = whole(row, limits)
                records.append(record)
                size += len(record.decision.document) if isinstance(record, AuditRecord) else 0
        return _Page(tuple(records), last=found.next is None)

    return await store.read(read)


def whole(row: Any, limits: Limits) -> AuditRecord | Damaged:
    """The record of a row (sequence, body, input_hash, content) with its document, if that is the one that was
    judged."""
    try:
        document = b"" if row.content is None else inflate(row.content, limits.document_bytes)
        if codec.input_hash(document) != (row.input_hash or ""):
            return Damaged(row.sequence, "its input is not the one that was judged")
        return codec.decode_body(row.body, document=document, sequence=row.sequence)
    except codec.CodecError as error:
        return Damaged(row.sequence, clean(str(error), 300))
