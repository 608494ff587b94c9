"""The pages of what runs: how every workload stands by the last round, and why."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from portcullis.errors import CursorInvalid
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord, RecordFilter, Visible
from portcullis.model.running import Condition, FindingFilter, FindingPage, Rejudged
from portcullis.ports import Findings
from portcullis.server.review.decisionview import Counting, counting_of
from portcullis.server.review.parts import ReviewParts, parts_of
from portcullis.server.review.policytitles import titles_of
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import reader_of
from portcullis.server.review.rendering import address, environment, render
from portcullis.server.review.runningsearch import FIELDS, PATH, RunningSearch, read_running_search
from portcullis.server.review.runningstate import rounds_of
from portcullis.server.review.runningwords import (
    NO_NAMESPACE,
    WORDS,
    condition_words,
    owner_address,
    owner_words,
    running_sentence,
    running_whys,
)

PAGE_ROWS: Final = 50
FIRST_FIELDS: Final = ("condition", "namespace", "policy", "image")
"""Filters that are always in sight; the others stand behind a disclosure."""
TOP_POLICIES: Final = 12
SHOWN_GROUPS: Final = 12
"""Of pods of one workload: while one version takes the place of another there are two or three."""
SHOWN_DECISIONS: Final = 5

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def running_page(request: Request) -> Response:
    """What runs, the worst first."""
    parts, visible = parts_of(request), reader_of(request).visible
    search = read_running_search(request.query_params.multi_items())
    if search.empty and not search.faults and not search.after:
        return RedirectResponse(search.address, 303)
    if search.faults:
        return _page(request, search, 400)
    page = await _results(parts.findings, search, visible)
    query = replace(search.query, condition=None)
    return _page(
        request,
        search,
        page=page,
        rounds=await rounds_of(parts),
        totals=await parts.findings.totals(visible, query),
        policies=() if search.values or search.after else (await parts.findings.policies(visible))[:TOP_POLICIES],
    )


def _page(request: Request, search: RunningSearch, status: int = 200, **found: object) -> Response:
    values = {"page": FindingPage(()), "rounds": None, "totals": {}, "policies": (), **found}
    more = [name for name in FIELDS if name not in FIRST_FIELDS]
    return render(
        request,
        "running.html.j2",
        status,
        area=PATH,
        search=search,
        fields=FIELDS,
        first=FIRST_FIELDS,
        more=more,
        opened=any(name in search.values or name in search.faults for name in more),
        conditions=tuple(Condition),
        whole=reader_of(request).visible is None,
        **values,
    )


async def _results(findings: Findings, search: RunningSearch, visible: Visible) -> FindingPage:
    try:
        return await findings.results(visible=visible, query=search.query, after=search.after, limit=PAGE_ROWS)
    except CursorInvalid as error:
        raise PageProblem(
            400, "That page cannot be read", f"{error.message}.", "Begin with the first page of what runs."
        ) from None


@dataclass(frozen=True, slots=True)
class Group:
    """Pods of a workload that are judged as one. ``grant`` is the one by which they stand, or were let in, where it is
    known."""

    result: Rejudged
    counting: Counting
    sentence: str
    grant: Grant | None


@router.get(f"{PATH}/{{namespace}}/{{kind}}/{{name}}")
async def workload_page(request: Request, namespace: str, kind: str, name: str) -> Response:
    """One workload, with all groups of its pods."""
    parts, visible = parts_of(request), reader_of(request).visible
    place = "" if namespace == NO_NAMESPACE else namespace
    results, more = await results_of(parts.findings, place, kind, name, visible)
    rounds = await rounds_of(parts)
    if not results:
        raise PageProblem(
            404,
            "No such workload runs",
            f"No workload {namespace}/{kind}/{name} that you may see runs, by the last round.",
            "It may be gone, or new since then. Begin with all that runs; the decisions tell what was admitted.",
        )
    newest = RecordFilter(namespace=place, kind=kind, name=name, visible=visible, dry_run=False, limit=SHOWN_DECISIONS)
    return render(
        request,
        "running_workload.html.j2",
        area=PATH,
        rounds=rounds,
        owner=results[0].owner,
        worst=results[0],
        groups=[await _group(parts, one) for one in results],
        more=more,
        decisions=(await parts.ledger.page(newest)).records,
        emergencies=await _emergencies(parts, results, visible),
        every_decision=address("/decisions", namespace=place, kind=kind, name=name),
    )


async def results_of(
    findings: Findings, namespace: str, kind: str, name: str, visible: Visible
) -> tuple[Sequence[Rejudged], bool]:
    """The groups of a workload, the worst first, and whether there are more than are shown."""
    query = FindingFilter(namespace=namespace, kind=kind, name=name)
    page = await findings.results(visible=visible, query=query, limit=SHOWN_GROUPS)
    return [one for one in page.results if one.owner.namespace == namespace], bool(page.next)


async def _group(parts: ReviewParts, result: Rejudged) -> Group:
    counting = await asyncio.to_thread(counting_of, result.decision, await titles_of(parts, result.decision))
    known = (*result.decision.grants, *parts.grants())
    grant = next((one for one in known if one.id == result.break_glass), None)
    return Group(result, counting, running_sentence(result), grant)


async def _emergencies(parts: ReviewParts, results: Sequence[Rejudged], visible: Visible) -> Sequence[AuditRecord]:
    """The newest decisions by the grant that let the workload in."""
    grant = next((one.break_glass for one in results if one.break_glass), "")
    if not grant:
        return ()
    query = RecordFilter(
        exception=grant, namespace=results[0].owner.namespace, visible=visible, dry_run=False, limit=SHOWN_DECISIONS
    )
    return (await parts.ledger.page(query)).records


environment().filters.update(
    condition=condition_words,
    running_whys=running_whys,
    owner=owner_words,
    owner_address=owner_address,
)
environment().globals.update(condition_table=WORDS)
