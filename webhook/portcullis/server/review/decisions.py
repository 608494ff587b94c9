"""The list of decisions, its live news and its export."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from portcullis.model.record import AuditRecord, RecordPage
from portcullis.server.review.decisionsearch import FIELDS, PATH, Search, read_search
from portcullis.server.review.decisionwords import marks, outcome, requester, whys, workload
from portcullis.server.review.parts import parts_of
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import reader_of
from portcullis.server.review.rendering import environment, render

FIRST_FIELDS = ("text", "within", "verdict", "namespace", "policy")
"""Filters that are always in sight; the others stand behind a disclosure."""
NEWS_MOST = 1000
"""The ledger counts no further."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Day:
    """The decisions of one day on a page. ``word`` is "Today", "Yesterday" or ""."""

    day: date
    word: str
    records: tuple[AuditRecord, ...]


def search_of(request: Request) -> Search:
    """What the address of the request asks for."""
    parts = parts_of(request)
    return read_search(
        request.query_params.multi_items(),
        visible=reader_of(request).visible,
        now=parts.clock.now(),
        limits=parts.limits,
    )


def sound(search: Search) -> Search:
    """The same search.

    Raises:
        PageProblem: it has faults.
    """
    if search.faults:
        faults = "; ".join(
            f"{FIELDS[name].label if name in FIELDS else name}: {why}" for name, why in search.faults.items()
        )
        raise PageProblem(400, "That cannot be looked for", f"{faults}.", "Correct the filter, or begin anew.")
    return search


@router.get(PATH)
async def decisions(request: Request) -> Response:
    parts, search = parts_of(request), search_of(request)
    if search.empty and not search.faults and search.before is None:
        return RedirectResponse(search.address, 303)
    if search.faults:
        return _page(request, search, RecordPage(()), 400)
    page = await parts.ledger.page(search.query)
    extent = None if page.records else await parts.ledger.extent(search.query.visible)
    return _page(request, search, page, extent=extent)


def _page(request: Request, search: Search, page: RecordPage, status: int = 200, extent: object = None) -> Response:
    newest = page.records[0].sequence if page.records else None
    through = search.through if search.through is not None else newest
    more = [name for name in FIELDS if name not in FIRST_FIELDS]
    return render(
        request,
        "decisions.html.j2",
        status,
        area=PATH,
        search=search,
        fields=FIELDS,
        first=FIRST_FIELDS,
        more=more,
        opened=any(name in search.values or name in search.faults for name in more),
        page=page,
        days=_days(page.records, parts_of(request).clock.now().date()),
        extent=extent,
        newest=newest or 0,
        through=through,
        older=search.older(page.next, through) if page.next is not None else "",
    )


@router.get(f"{PATH}/news")
async def news(request: Request) -> Response:
    """How many decisions came after those of a page that htmx keeps in sight; nothing, where it says so already."""
    search = read_search(
        request.query_params.multi_items(),
        visible=reader_of(request).visible,
        now=parts_of(request).clock.now(),
        limits=parts_of(request).limits,
        also=("known",),
    )
    count = await parts_of(request).ledger.newer(sound(search).query, search.after)
    known = request.query_params.get("known", "0")
    if str(count) == known:
        return Response(status_code=204)
    return render(request, "decisions_news.html.j2", search=search, count=count, most=NEWS_MOST)


def _days(records: Sequence[AuditRecord], today: date) -> list[Day]:
    """By day in UTC, in the order of the page. Where a clock went backwards, a day comes twice."""
    words = {today: "Today", today - timedelta(days=1): "Yesterday"}
    days: list[Day] = []
    for record in records:
        day = record.decision.decided_at.date()
        if days and days[-1].day == day:
            days[-1] = Day(day, days[-1].word, (*days[-1].records, record))
        else:
            days.append(Day(day, words.get(day, ""), (record,)))
    return days


environment().filters.update(outcome=outcome, whys=whys, marks=marks, workload=workload, requester=requester)
