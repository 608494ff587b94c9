"""The JSON API: the facts of the audit pages for programs, under ``/api/v1``.

It is an application of its own inside that of the pages: its errors are problems (RFC 9457), and its OpenAPI document
knows nothing of pages. Every answer is of what the reader may see; what they may not see is not there.
"""

import re
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount

from portcullis import __version__
from portcullis.errors import CursorInvalid, RecordsError
from portcullis.model.record import AuditRecord, Span
from portcullis.server.review.apianswers import (
    image_json,
    image_whole,
    json_answer,
    overview_json,
    policies_json,
    policy_json,
    record_whole,
    records_json,
)
from portcullis.server.review.apiasking import ABSENT, Absent, Parts, Readers, Unfit, once_each, searchable
from portcullis.server.review.apimodels import (
    ImageList,
    ImageWhole,
    PolicyList,
    PolicyWhole,
    ProblemDetails,
    RecordList,
    RecordWhole,
)
from portcullis.server.review.apiproblems import MEDIA_TYPE, problem
from portcullis.server.review.apiqueries import (
    DAYS,
    DecisionParameters,
    ImageParameters,
    NoParameters,
    OneDecisionParameters,
    SpanParameters,
)
from portcullis.server.review.apirunning import add_running
from portcullis.server.review.apirunninganswers import running_now_json
from portcullis.server.review.apirunningmodels import Overview
from portcullis.server.review.parts import ReviewParts
from portcullis.server.review.reader import Reader
from portcullis.server.review.runningstate import running_now
from portcullis.text import clean

PREFIX = "/api/v1"
DOCUMENT_ROWS = 1000
"""What reading a document is reckoned as."""
TOP_POLICIES = 10
_SHOWN = 200
_FAULTS = 20

log = structlog.get_logger(__name__)


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "description": text, "content": {MEDIA_TYPE: {}}}
    for status, text in {
        400: "The request cannot be read.",
        401: "Nobody vouches for the reader.",
        403: "The reader may see nothing, or the request comes from another site's page.",
        421: "The Host header is none of the pages'.",
        422: "A parameter is unknown, given twice, or has no value that it may have.",
        503: "The log or the API server does not answer, or too many are reading.",
    }.items()
}


def add_api(app: FastAPI) -> None:
    """Puts the API into the application of the pages."""
    mount = Mount(PREFIX, app=create_api(app.state.parts))
    # Without it a path with a line break would be no path of the API, and be answered by a page.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    app.router.routes.append(mount)


def create_api(parts: ReviewParts) -> FastAPI:
    """The API over the same parts as the pages."""
    api = FastAPI(
        title="Portcullis audit log",
        version=__version__,
        summary="What was decided, when, for whom and why. All of it is read-only.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        dependencies=[Depends(once_each)],
        responses=_PROBLEMS,
        servers=[{"url": PREFIX}],
        root_path_in_servers=False,
        redirect_slashes=False,
    )
    api.state.parts = parts
    api.add_exception_handler(RequestValidationError, _unreadable)
    api.add_exception_handler(Unfit, _unfit)
    api.add_exception_handler(Absent, _absent)
    api.add_exception_handler(RecordsError, _log_is_down)
    api.add_exception_handler(HTTPException, _by_status)
    api.add_exception_handler(Exception, _fault)
    _add_decisions(api)
    _add_images(api)
    _add_policies(api)
    add_running(api)
    documented = api.openapi
    api.openapi = lambda: _with_problems(documented())  # type: ignore[method-assign]
    return api


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI writes every answer down as application/json as well; problems have their own type alone."""
    for path in document["paths"].values():
        for answer in path["get"]["responses"].values():
            content = answer["content"]
            if MEDIA_TYPE in content and "application/json" in content:
                content[MEDIA_TYPE] = content.pop("application/json")
    return document


# -- routes ------------------------------------------------------------------------------------------------------------


def _add_decisions(api: FastAPI) -> None:
    @api.get("/decisions", response_model=RecordList, operation_id="listDecisions")
    async def decisions(parameters: Annotated[DecisionParameters, Query()], reader: Readers, parts: Parts) -> Response:
        """Decisions, the newest first."""
        if parameters.limit > parts.limits.search_rows:
            raise Unfit("limit", f"it must not be above limits.searchRows ({parts.limits.search_rows})")
        page = await parts.ledger.page(parameters.filter(reader.visible))
        return await json_answer(lambda: records_json(page), rows=len(page.records))

    @api.get("/decisions/{id}", response_model=RecordWhole, responses=ABSENT, operation_id="getDecision")
    async def decision(
        id: str,  # noqa: A002 - the name of the parameter in the path
        parameters: Annotated[OneDecisionParameters, Query()],
        reader: Readers,
        parts: Parts,
    ) -> Response:
        """One decision."""
        record = await _record(id, reader, parts)
        return await record_whole(record, await parts.ledger.place(record.sequence), document=parameters.input)

    @api.get("/decisions/{id}/previous", response_model=RecordWhole, responses=ABSENT, operation_id="getPrevious")
    async def previous(
        id: str,  # noqa: A002
        parameters: Annotated[OneDecisionParameters, Query()],
        reader: Readers,
        parts: Parts,
    ) -> Response:
        """The decision before it on the same kind, namespace and name."""
        record = await parts.ledger.previous(await _record(id, reader, parts), reader.visible)
        if record is None:
            raise Absent("previous decision")
        return await record_whole(record, await parts.ledger.place(record.sequence), document=parameters.input)


def _add_images(api: FastAPI) -> None:
    @api.get("/images", response_model=ImageList, operation_id="listImages")
    async def images(parameters: Annotated[ImageParameters, Query()], reader: Readers, parts: Parts) -> Response:
        """Images, the last seen first."""
        if parameters.limit > parts.limits.search_rows:
            raise Unfit("limit", f"it must not be above limits.searchRows ({parts.limits.search_rows})")
        try:
            page = await parts.ledger.images(
                reader.visible,
                written=parameters.written or "",
                after=parameters.after or "",
                limit=parameters.limit,
            )
        except CursorInvalid as error:
            raise Unfit("after", error.message, reason=error.reason) from None
        items = [image_json(image) for image in page.images]
        tree = {"apiVersion": "portcullis.dev/v1", "kind": "AuditImageList", "items": items, "next": page.next or None}
        return await json_answer(lambda: tree)

    @api.get("/images/{digest}", response_model=ImageWhole, responses=ABSENT, operation_id="getImage")
    async def image(
        digest: str,
        _: Annotated[NoParameters, Query()],
        reader: Readers,
        parts: Parts,
    ) -> Response:
        """One image, and where it was asked for lately."""
        found = await parts.ledger.image(digest, reader.visible) if searchable(digest) else None
        if found is None:
            raise Absent("image")
        workloads = await parts.ledger.workloads(digest, reader.visible)
        records = await parts.ledger.documents(digest, reader.visible)
        return await json_answer(lambda: image_whole(found, workloads, records), rows=DOCUMENT_ROWS * len(records))


def _add_policies(api: FastAPI) -> None:
    @api.get("/policies", response_model=PolicyList, operation_id="listPolicies")
    async def policies(parameters: Annotated[SpanParameters, Query()], reader: Readers, parts: Parts) -> Response:
        """Policies, and what they did."""
        span = _span(parameters, parts)
        tallies = await parts.ledger.policies(span, reader.visible)
        compiled = parts.current().compiled
        return await json_answer(lambda: policies_json(compiled, span, tallies))

    @api.get("/policies/{name}", response_model=PolicyWhole, responses=ABSENT, operation_id="getPolicy")
    async def policy(
        name: str, parameters: Annotated[SpanParameters, Query()], reader: Readers, parts: Parts
    ) -> Response:
        """One policy, and what it did when and where."""
        span, ledger, visible = _span(parameters, parts), parts.ledger, reader.visible
        if not searchable(name):
            raise Absent("policy")
        info = next((known for known in parts.current().compiled.policies if known.name == name), None)
        tallies = [tally for tally in await ledger.policies(span, visible) if tally.policy == name]
        if info is None and not tallies:
            raise Absent("policy")
        buckets = await ledger.policy(name, span, visible)
        namespaces = await ledger.policy_namespaces(name, span, visible)
        images = await ledger.policy_images(name, span, visible)
        return await json_answer(
            lambda: policy_json(name, info, span, tallies, buckets=buckets, namespaces=namespaces, images=images)
        )

    @api.get("/overview", response_model=Overview, operation_id="getOverview")
    async def overview(parameters: Annotated[SpanParameters, Query()], reader: Readers, parts: Parts) -> Response:
        """What happened in the time."""
        span, ledger, visible = _span(parameters, parts), parts.ledger, reader.visible
        extent = await ledger.extent(visible)
        buckets = await ledger.verdicts(span, visible)
        tallies = await ledger.policies(span, visible)
        namespaces = await ledger.namespaces(span, visible)
        running = await running_now(parts, visible)
        return await json_answer(
            lambda: {
                **overview_json(span, extent, buckets, tallies[:TOP_POLICIES], namespaces),
                **running_now_json(running, whole=visible is None),
            }
        )


async def _record(decision_id: str, reader: Reader, parts: ReviewParts) -> AuditRecord:
    record = await parts.ledger.get(decision_id, reader.visible) if searchable(decision_id) else None
    if record is None:
        raise Absent("decision")
    return record


def _span(parameters: SpanParameters, parts: ReviewParts) -> Span:
    try:
        return parameters.span(parts.clock.now(), min(DAYS, parts.limits.span_days))
    except ValueError as error:
        raise Unfit("since", str(error)) from None


# -- errors ------------------------------------------------------------------------------------------------------------


async def _unreadable(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {
            "parameter": clean(".".join(str(part) for part in fault["loc"][1:]), _SHOWN),
            "message": "there is no such parameter"
            if fault["type"] == "extra_forbidden"
            else clean(str(fault["msg"]).removeprefix("Value error, "), _SHOWN),
        }
        for fault in error.errors()[:_FAULTS]
    ]
    detail = "; ".join(f"{fault['parameter']}: {fault['message']}" for fault in faults)
    return problem(422, reason="query-invalid", detail=detail, errors=faults)


async def _unfit(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unfit)
    fault = {"parameter": clean(error.parameter, _SHOWN), "message": clean(error.message, _SHOWN)}
    detail = f"{fault['parameter']}: {fault['message']}"
    return problem(422, reason=error.reason, detail=detail, errors=[fault])


async def _absent(_: Request, error: Exception) -> Response:
    assert isinstance(error, Absent)
    return problem(404, reason="not-found", detail=f"there is no such {error.what}, or you may not see it")


async def _log_is_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecordsError)
    log.warning("the audit log does not answer a reader", path=request.url.path[:_SHOWN], problem=error.message)
    return problem(503, reason=error.reason, detail=error.message, headers={"retry-after": "5"})


async def _by_status(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "request-malformed")
    return problem(error.status_code, reason=reason, detail=str(error.detail), headers=error.headers or {})


async def _fault(request: Request, error: Exception) -> Response:
    log.error("the API failed", path=request.url.path[:_SHOWN], exc_info=error)
    return problem(500, reason="internal-error", detail="a fault in Portcullis itself; the log of the gate has it")
