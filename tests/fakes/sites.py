"""A guarded application of the audit pages, and forms as browsers send them."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from starlette.routing import Mount

from fakes.clock import StandingClock
from fakes.readers import HOST, Exchange, MemoryReviews, send
from fakes.review import review_parts
from portcullis.limits import Limits
from portcullis.model.subject import Subject
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.access import Guard, guard
from portcullis.server.review.accessopening import access_of
from portcullis.server.review.app import create_review_app
from portcullis.server.review.counting import PageAnswers
from portcullis.server.review.csrf import csrf_of
from portcullis.server.review.reader import reader_of

SECRET = "a-secret-of-the-proxy"
LIMITS = {"login_seconds": 0.01}
VIEWER = Subject("system:serviceaccount:ci:viewer", "uid-1", ("system:serviceaccounts",))


@cache
def pages_app() -> FastAPI:
    """Made once, because that takes long: each Site brings its own parts."""
    app = create_review_app(review_parts(None))
    app.add_api_route("/who", _who, methods=["GET", "POST"], response_model=None)
    app.add_api_route("/api/who", _who, methods=["GET"], response_model=None)
    return app


async def _who(request: Request) -> Response:
    reader = reader_of(request)
    request.app.state.site.seen.append(await request.body())
    visible = "all" if reader.visible is None else ",".join(sorted(reader.visible))
    return Response(f"{reader.how} {reader.name} {visible} {csrf_of(request)}")


class Site:
    """The guarded application with one page of its own, ``/who``, which tells the reader and takes a form. The newest
    one counts."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Mapping[str, Any] | None = None,
        parts: Mapping[str, Any] | None = None,
        **section: Any,
    ) -> None:
        self.clock = StandingClock()
        self.reviews = MemoryReviews()
        self.namespaces: Callable[[], tuple[str, ...]] = lambda: ("shop", "bank")
        self.secret_file = folder / "secret"
        self.secret_file.write_text(f"{SECRET}\n")
        if "proxy" in section:
            section["proxy"] = {"secretFile": str(self.secret_file), **section["proxy"]}
        pages = PagesSection.model_validate_json(json.dumps(section))
        self.limits = Limits(**{**LIMITS, **(limits or {})})
        access = access_of(
            pages,
            reviews=self.reviews if pages.reviewed else None,
            namespaces=self._names,
            clock=self.clock,
            limits=self.limits,
        )
        app = pages_app()
        given = review_parts(**{"ledger": None, "clock": self.clock, "limits": self.limits, **(parts or {})})
        for one in (app, *(route.app for route in app.routes if isinstance(route, Mount))):
            one.state.parts = given
        app.state.site = self
        self.answers = PageAnswers()
        self.app: Guard = guard(app, access, self.answers)
        self.seen: list[bytes] = []

    def _names(self) -> tuple[str, ...]:
        return self.namespaces()

    async def who(self, **how: Any) -> Exchange:
        return await send(self.app, "/who", **how)

    async def log_in(self, token: str, *, origin: str = f"http://{HOST}", **how: Any) -> Exchange:
        form = await send(self.app, "/login?next=/who")
        fields = {"csrf": code_in(form), "next": "/who", "token": token}
        headers = {"cookie": cookie_of(form), "origin": origin, **FORM}
        return await send(self.app, "/login", method="POST", headers=headers, body=encoded(fields), **how)


FORM = {"content-type": "application/x-www-form-urlencoded"}


def encoded(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields).encode()


def code_in(exchange: Exchange) -> str:
    found = re.search(r'name="csrf" value="([^"]*)"', exchange.body.decode())
    assert found is not None, exchange.body
    return unescape(found[1])


def cookie_of(exchange: Exchange) -> str:
    return "; ".join(f"{name}={value}" for name, value in exchange.cookies.items())


def proxied(user: str = "jane", groups: str | None = "team", secret: str = SECRET) -> dict[str, str]:
    headers = {"x-portcullis-proxy-secret": secret, "x-forwarded-user": user}
    return headers | ({"x-forwarded-groups": groups} if groups is not None else {})
