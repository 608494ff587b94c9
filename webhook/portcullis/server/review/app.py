"""The application of the audit pages. Whoever serves it puts the guard of access.py before it: without one there is no
reader, and no page."""

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from portcullis.errors import RecordsError
from portcullis.server.review import decisionpage, decisions, decisionsexport, images, overview, policies, running
from portcullis.server.review.api import add_api
from portcullis.server.review.assets import answer_of_asset
from portcullis.server.review.parts import ReviewParts
from portcullis.server.review.problems import PageProblem, problem_page

log = structlog.get_logger(__name__)


def create_review_app(parts: ReviewParts) -> FastAPI:
    """The ASGI application of the pages and their JSON."""
    app = FastAPI(title="Portcullis audit", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    app.add_exception_handler(PageProblem, _stated)
    app.add_exception_handler(RecordsError, _log_is_down)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _by_status)
    app.add_exception_handler(Exception, _fault)

    @app.get("/static/{digest}/{name}", include_in_schema=False)
    async def static(digest: str, name: str) -> Response:
        found = answer_of_asset(digest, name)
        if found is None:
            raise HTTPException(404)
        return found

    for area in (overview, running, decisionsexport, decisions, decisionpage, images, policies):
        app.include_router(area.router)
    add_api(app)
    return app


async def _stated(request: Request, error: Exception) -> Response:
    assert isinstance(error, PageProblem)
    return problem_page(request, error)


async def _log_is_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecordsError)
    log.warning("the audit log does not answer a reader", path=request.url.path[:200], problem=error.message)
    return problem_page(
        request,
        PageProblem(
            503,
            "The audit log does not answer",
            error.message,
            "Try again in a moment. Decisions go on meanwhile and are kept in the journal; "
            "GET /readyz?verbose on the health port says how the log is.",
        ),
    )


async def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()[:3])
    return problem_page(request, PageProblem(400, "That address cannot be read", faults, "Correct the address."))


async def _by_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        problem = PageProblem(
            404, "There is nothing here", f"No page has the address {request.url.path}.", "Begin with the decisions."
        )
    else:
        problem = PageProblem(error.status_code, "That cannot be done", str(error.detail), "Begin with the decisions.")
    return problem_page(request, problem, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    if not isinstance(error, ClientDisconnect):  # the guard says who takes nothing
        log.error("a page failed", path=request.url.path[:200], exc_info=error)
    return problem_page(
        request,
        PageProblem(
            500,
            "This page failed",
            "A fault in Portcullis itself. The record is not touched by it.",
            "The log of the webhook has the fault; report it. `portcullis audit show` reads the same record.",
        ),
    )
