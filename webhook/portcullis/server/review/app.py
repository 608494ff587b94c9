"""The application of the audit pages."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from portcullis.errors import RecordsError
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.review import decisions
from portcullis.server.review.assets import answer_of_asset
from portcullis.server.review.parts import ReviewParts
from portcullis.server.review.problems import PageProblem, problem_page
from portcullis.server.review.reader import LOOPBACK

log = structlog.get_logger(__name__)

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
)


def create_review_app(parts: ReviewParts) -> FastAPI:
    """The ASGI application of the pages and their JSON."""
    app = FastAPI(title="Portcullis audit", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    app.add_middleware(_Headers)
    app.add_middleware(_LoopbackReader)
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

    @app.get("/", include_in_schema=False)
    async def overview() -> Response:
        return RedirectResponse("/decisions", 307)

    app.include_router(decisions.router)
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
    log.error("a page failed", path=request.url.path[:200], exc_info=error)
    answer = problem_page(
        request,
        PageProblem(
            500,
            "This page failed",
            "A fault in Portcullis itself. The record is not touched by it.",
            "The log of the webhook has the fault; report it. `portcullis audit show` reads the same record.",
        ),
    )
    # Starlette answers a fault outside of all middleware.
    answer.headers.update(SECURITY_HEADERS)
    return answer


class _Headers:
    """Puts the security headers on every answer that does not say otherwise."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in self._headers if one[0] not in there)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _LoopbackReader:
    """Who reaches a loopback port reads all."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {}).setdefault("reader", LOOPBACK)
        await self._app(scope, receive, send)
