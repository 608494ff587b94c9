"""What runs, in the JSON API."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import Response

from portcullis.errors import CursorInvalid
from portcullis.model.running import Condition, FindingFilter
from portcullis.server.review.apianswers import json_answer
from portcullis.server.review.apiasking import ABSENT, Absent, Parts, Readers, Unfit, searchable
from portcullis.server.review.apiqueries import Flag, NoParameters, Parameters, Rows, Text
from portcullis.server.review.apirunninganswers import running_json, workload_json
from portcullis.server.review.apirunningmodels import RunningList, RunningWhole
from portcullis.server.review.running import results_of
from portcullis.server.review.runningstate import rounds_of
from portcullis.server.review.runningwords import NO_NAMESPACE

ROWS_EACH = 100
"""Rows that a result is reckoned as."""


class RunningParameters(Parameters):
    """Conditions that all hold."""

    condition: Condition | None = None
    namespace: Text | None = None
    kind: Text | None = None
    """Of the owner, such as Deployment."""
    name: Text | None = None
    policy: Text | None = None
    """That is violated, covered or could not be evaluated."""
    image: Text | None = None
    """A digest, or how the reference begins."""
    moved: Flag = False
    """Only where a tag has moved."""
    break_glass: Flag = False
    """Only what was let in by a grant, or stands by one."""
    after: Text | None = None
    """``next`` of the page before."""
    limit: Rows = 50

    def filter(self) -> FindingFilter:
        return FindingFilter(
            condition=self.condition,
            namespace=self.namespace or "",
            kind=self.kind or "",
            name=self.name or "",
            policy=self.policy or "",
            image=self.image or "",
            moved=self.moved,
            break_glass=self.break_glass,
        )


def add_running(api: FastAPI) -> None:
    """Adds the routes."""

    @api.get("/running", response_model=RunningList, operation_id="listRunning")
    async def running(parameters: Annotated[RunningParameters, Query()], reader: Readers, parts: Parts) -> Response:
        """How what runs stands by the last round, the worst first."""
        if parameters.limit > parts.limits.search_rows:
            raise Unfit("limit", f"it must not be above limits.searchRows ({parts.limits.search_rows})")
        query, visible = parameters.filter(), reader.visible
        try:
            page = await parts.findings.results(
                visible=visible, query=query, after=parameters.after or "", limit=parameters.limit
            )
        except CursorInvalid as error:
            raise Unfit("after", error.message, reason=error.reason) from None
        rounds, totals = await rounds_of(parts), await parts.findings.totals(visible, query)
        return await json_answer(
            lambda: running_json(rounds, totals, page, whole=visible is None), rows=len(page.results)
        )

    @api.get(
        "/running/{namespace}/{kind}/{name}",
        response_model=RunningWhole,
        responses=ABSENT,
        operation_id="getRunning",
    )
    async def workload(
        namespace: str,
        kind: str,
        name: str,
        _: Annotated[NoParameters, Query()],
        reader: Readers,
        parts: Parts,
    ) -> Response:
        """One workload, with all groups of its pods; ``-`` for what is in no namespace."""
        if not all(map(searchable, (namespace, kind, name))):
            raise Absent("workload")
        place = "" if namespace == NO_NAMESPACE else namespace
        results, _more = await results_of(parts.findings, place, kind, name, reader.visible)
        if not results:
            raise Absent("workload")
        rounds = await rounds_of(parts)
        return await json_answer(
            lambda: workload_json(rounds, results, whole=reader.visible is None), rows=ROWS_EACH * len(results)
        )
