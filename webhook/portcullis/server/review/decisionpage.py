"""The page of one decision, its raw record, and what it would be now."""

import asyncio
import re
from dataclasses import dataclass, replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from portcullis.audit import codec
from portcullis.errors import PortcullisError, RecordsError
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord, ChainPlace, Visible
from portcullis.ports import Ledger
from portcullis.rejudging import Inexact
from portcullis.server.review.decisiondiff import Difference, difference
from portcullis.server.review.decisionsearch import PATH
from portcullis.server.review.decisionview import view_of
from portcullis.server.review.decisionwords import CALLERS, OPERATIONS, PLACES, sentence
from portcullis.server.review.parts import parts_of
from portcullis.server.review.policytitles import titles_of
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import reader_of
from portcullis.server.review.rendering import address, asks_for_part, environment, render

router = APIRouter(include_in_schema=False)

_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


async def record_of(request: Request, decision_id: str) -> AuditRecord:
    """The record with its document, as far as the reader may see it.

    Raises:
        PageProblem: 404, also where it is there and the reader may not see it; 503 where it cannot be read.
    """
    record = None
    if _ID.fullmatch(decision_id):
        try:
            record = await parts_of(request).ledger.get(decision_id, reader_of(request).visible)
        except RecordsError as error:
            raise PageProblem(
                503,
                "This decision cannot be read",
                error.message,
                "Try again in a moment. Where the record itself is damaged, `portcullis audit verify` names the first "
                "one that is not as it was written.",
            ) from error
    if record is None:
        raise PageProblem(
            404,
            "There is no such decision",
            f"The audit log has no decision {decision_id} that you may see.",
            "Look at the id again; what is older than the log's retention is gone.",
        )
    return record


@router.get(f"{PATH}/{{decision_id}}")
async def decision(request: Request, decision_id: str) -> Response:
    parts = parts_of(request)
    record = await record_of(request, decision_id)
    around = await _around(parts.ledger, record, reader_of(request).visible)
    view = await asyncio.to_thread(view_of, record, await titles_of(parts, record.decision))
    return render(
        request,
        "decision.html.j2",
        area=PATH,
        record=record,
        view=view,
        around=around,
        sentence=sentence(record),
        same_workload=_same_workload(record),
        current=parts.current(),
    )


@dataclass(frozen=True, slots=True)
class _Around:
    """What the log has beside the record. ``trouble`` says why it does not tell; the record is shown all the same."""

    place: ChainPlace | None = None
    previous: AuditRecord | None = None
    change: Difference | None = None
    trouble: str = ""


async def _around(ledger: Ledger, record: AuditRecord, visible: Visible) -> _Around:
    place = None
    try:
        place = await ledger.place(record.sequence)
        previous = await ledger.previous(record, visible)
    except RecordsError as error:
        return _Around(place=place, trouble=error.message)
    change = difference(previous.decision, record.decision) if previous is not None else None
    return _Around(place, previous, change)


@router.post(f"{PATH}/{{decision_id}}/again")
async def again(request: Request, decision_id: str) -> Response:
    """The decision under what stands now: a part where htmx asks, else a page. Nothing is recorded."""
    record = await record_of(request, decision_id)
    found: Decision | Inexact | None = None
    trouble = ""
    try:
        found = await parts_of(request).judge_again(record)
    except PortcullisError as error:
        trouble = error.message
    return render(
        request,
        "decision_again_part.html.j2" if asks_for_part(request) else "decision_again.html.j2",
        503 if trouble else 200,
        area=PATH,
        record=record,
        inexact=found if isinstance(found, Inexact) else None,
        trouble=trouble,
        change=difference(record.decision, found, images=False) if isinstance(found, Decision) else None,
        now_is=sentence(_as_judged(record, found)) if isinstance(found, Decision) else "",
        current=parts_of(request).current(),
    )


@router.get(f"{PATH}/{{decision_id}}/record.json")
async def record_file(request: Request, decision_id: str) -> Response:
    record = await record_of(request, decision_id)
    return _file(codec.encode_body(record), f"decision-{record.decision.id}.json")


@router.get(f"{PATH}/{{decision_id}}/input.json")
async def input_file(request: Request, decision_id: str) -> Response:
    record = await record_of(request, decision_id)
    if not record.decision.document:
        raise PageProblem(
            404, "No input was recorded", f"Decision {decision_id} has no judged input.", "Its page says why."
        )
    return _file(record.decision.document, f"input-{record.decision.id}.json")


def _file(content: bytes, name: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    headers = {"content-disposition": disposition, "cache-control": "no-store"}
    return Response(content, media_type="application/json", headers=headers)


def _same_workload(record: AuditRecord) -> str:
    """The address of all decisions on it; "" where it has no name."""
    if not record.name:
        return ""
    return address(PATH, namespace=record.namespace, name=record.name, kind=record.kind)


def _as_judged(record: AuditRecord, decision: Decision) -> AuditRecord:
    return replace(record, decision=decision)


environment().globals.update(callers=CALLERS, operations=OPERATIONS, places=PLACES)
