"""All decisions that a search finds, as a file: streamed page by page, so that any number takes little memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import StreamingResponse

from portcullis.audit.exporting import (
    EXPORT_COLUMNS,
    csv_line,
    damaged_line,
    damaged_row,
    export_line,
    export_row,
)
from portcullis.errors import RecordsError
from portcullis.model.record import AuditRecord, RecordFilter, RecordPage
from portcullis.ports import Ledger
from portcullis.server.review.decisions import search_of, sound
from portcullis.server.review.decisionsearch import PATH
from portcullis.server.review.parts import parts_of

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)

DAMAGED = "the record is no record any more"

Lines = Callable[[RecordPage], bytes]


@router.get(f"{PATH}/export.csv")
async def as_csv(request: Request) -> StreamingResponse:
    """A table for spreadsheets."""
    return await _file(request, "csv", "text/csv; charset=utf-8; header=present", _csv, _csv_head())


@router.get(f"{PATH}/export.jsonl")
async def as_json_lines(request: Request) -> StreamingResponse:
    """One JSON object in each line."""
    return await _file(request, "jsonl", "application/jsonl; charset=utf-8", _json_lines, b"")


async def _file(request: Request, ending: str, media_type: str, lines: Lines, head: bytes) -> StreamingResponse:
    """The first page is read before the answer begins: a log that does not answer is a page that says so."""
    parts, search = parts_of(request), sound(search_of(request))
    before = search.through + 1 if search.through is not None else None
    query = replace(search.query, before=before, limit=parts.limits.search_rows)
    first = await parts.ledger.page(query)
    headers = {
        "content-disposition": f'attachment; filename="{_name(parts.clock.now(), ending)}"',
        "cache-control": "no-store",
    }
    content = _content(parts.ledger, query, first, lines, head)
    return StreamingResponse(content, media_type=media_type, headers=headers)


async def _content(
    ledger: Ledger, query: RecordFilter, page: RecordPage, lines: Lines, head: bytes
) -> AsyncIterator[bytes]:
    """Where the log fails on the way, the answer is broken off, which every client notices: it is not a shorter
    file."""
    if head:
        yield head
    try:
        while True:
            if page.records or page.damaged:
                yield await asyncio.to_thread(lines, page)
            if page.next is None:
                return
            page = await ledger.page(replace(query, before=page.next))
    except RecordsError as error:
        log.warning("an export was broken off", problem=error.message)
        raise


def _csv_head() -> bytes:
    return csv_line(EXPORT_COLUMNS).encode()


def _csv(page: RecordPage) -> bytes:
    rows = (damaged_row(one, DAMAGED) if isinstance(one, int) else export_row(one) for one in _in_order(page))
    return "".join(csv_line(row) for row in rows).encode()


def _json_lines(page: RecordPage) -> bytes:
    return b"".join(damaged_line(one, DAMAGED) if isinstance(one, int) else export_line(one) for one in _in_order(page))


def _in_order(page: RecordPage) -> Sequence[AuditRecord | int]:
    """Records, and in their places the sequences of damaged ones, the newest first."""
    both: list[AuditRecord | int] = [*page.records, *page.damaged]
    return sorted(both, key=lambda one: one if isinstance(one, int) else one.sequence, reverse=True)


def _name(now: datetime, ending: str) -> str:
    return f"portcullis-decisions-{now:%Y%m%dT%H%M%SZ}.{ending}"
