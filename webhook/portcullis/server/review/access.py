"""Who may read the audit pages: the guard that stands before all of them, the JSON API included.

1. The method is one that reads or sends a form, the name is one of ours (accessorigin.py).
2. Static files hold nothing of the log: they are given to everybody.
3. A proxy's headers count with its secret only (accessproxy.py).
4. The request comes from a page of ours, or is a link that is followed (accessorigin.py).
5. The reader is known: by the proxy, by a session or token (accesslogin.py), or because the port is on loopback.
6. What the reader may see is known (accessrights.py), and is something.
7. A form was on a page of ours that this reader was given (csrf.py).
8. So many requests are answered at once, and no more: the webhook has the same process. A reader who asks and then
   takes nothing is given up.

What is not known is no permission: each step that fails ends in an answer that shows nothing.
"""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.subject import Subject
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.review.accesslogin import COMMAND, LOGIN, LOGOUT, Login, login_address, next_of
from portcullis.server.review.accessorigin import Origins
from portcullis.server.review.accessproxy import Proxy
from portcullis.server.review.accessrights import GROUP, RESOURCE, VERB, Rights
from portcullis.server.review.apiproblems import problem_of
from portcullis.server.review.counting import PageAnswers
from portcullis.server.review.csrf import FIELD, Csrf
from portcullis.server.review.forms import read_form, replayed
from portcullis.server.review.headers import STATIC, with_headers
from portcullis.server.review.problems import PageProblem, problem_page
from portcullis.server.review.reader import LOOPBACK, NOBODY, How, Reader
from portcullis.server.review.refusals import Refusal, cluster_silent, unknown_reader
from portcullis.server.review.rendering import asks_for_part, render
from portcullis.text import clean

API = "/api/"
_METHODS = ("GET", "HEAD", "POST")
_SHOWN = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """By what readers are known. With neither ``proxy`` nor ``login`` whoever reaches the port reads everything, which
    the configuration allows on loopback only. ``rights`` is there unless nobody's have to be asked for."""

    origins: Origins
    csrf: Csrf
    limits: Limits
    proxy: Proxy | None = None
    login: Login | None = None
    rights: Rights | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A reader, and what the codes of forms are bound to."""

    reader: Reader
    bound: str


def guard(app: FastAPI, access: Access, answers: PageAnswers | None = None) -> "Guard":
    """The application with the guard before it, for the server."""
    return Guard(app, access, answers or PageAnswers())


class Patient:
    """``send`` that waits so many seconds for a reader to take each piece, and then ends the answer."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self.given_up = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Raises ClientDisconnect when it gives up."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            self.given_up = True
            raise ClientDisconnect from None


class Guard:
    """An ASGI application around that of the pages."""

    def __init__(self, app: FastAPI, access: Access, answers: PageAnswers) -> None:
        self._app = app
        self._access = access
        self._answers = answers
        self.answering = 0
        """Requests that pages or the API are answering now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the server speaks nothing else"
        sending = with_headers(self._answers.counted(send, scope["path"]), scope["path"])
        state = scope.setdefault("state", {})
        state["reader"], state["csrf"] = NOBODY, ""
        scope["app"] = self._app  # for the pages that are rendered here
        request = Request(scope, receive)
        try:
            answer = await self._guarded(request, sending)
        except Refusal as refusal:
            answer = self._refused(request, refusal)
        if answer is not None:
            await answer(scope, receive, sending)

    async def _guarded(self, request: Request, send: Send) -> Response | None:
        """The answer, None where the application has given it. Raises Refusal."""
        scope, access = request.scope, self._access
        headers, path, method = scope["headers"], scope["path"], scope["method"]
        if method not in _METHODS:
            raise _wrong_method(", ".join(_METHODS))
        host = access.origins.check_host(headers)
        if path.startswith(STATIC):
            await self._app(_as_get(scope), request.receive, send)
            return None
        vouched = access.proxy.subject(headers) if access.proxy is not None and access.proxy.speaks(headers) else None
        scheme = access.origins.check_source(method, headers, host, proxied=vouched is not None)
        if access.login is not None and path in (LOGIN, LOGOUT):
            return await self._in_or_out(request, access.login, scheme)
        known = await self._known(request, vouched)
        scope["state"]["reader"] = known.reader
        scope["state"]["csrf"] = access.csrf.code(known.bound)
        if known.reader.visible is not None and not known.reader.visible:
            raise _nothing_to_see(known.reader)
        receive = request.receive
        if method == "POST":
            body, fields = await read_form(scope, receive, access.limits)
            self._check_form(fields.get(FIELD, ""), known.bound)
            receive = replayed(body, receive)
        await self._answered(scope, receive, send)
        return None

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.answering >= self._access.limits.page_requests:
            raise Refusal(
                503,
                reason="pages-busy",
                title="Too many are reading",
                sentence="More requests than limits.pageRequests are being answered.",
                advice="Try again in a moment.",
                headers={"retry-after": "1"},
            )
        patient = Patient(send, self._access.limits.page_stall_seconds)
        self.answering += 1
        try:
            await self._app(_as_get(scope), receive, patient)
        except ClientDisconnect:
            if not patient.given_up:
                raise
            log.warning("a reader takes nothing", path=clean(scope["path"], _SHOWN))
        finally:
            self.answering -= 1

    # -- who reads -----------------------------------------------------------------------------------------------------

    async def _known(self, request: Request, vouched: Subject | None) -> _Known:
        proxy, login = self._access.proxy, self._access.login
        if proxy is None and login is None:
            return _Known(LOOPBACK, "loopback")
        if vouched is not None:
            return _Known(await self._reader(vouched, "proxy"), f"proxy\0{vouched.username}")
        if login is None:
            raise unknown_reader(
                "These pages are read through a proxy that knows you, and this request did not come from it.",
                "Open the address of the proxy.",
            )
        if "authorization" in request.headers and request.url.path.startswith(API):
            return _Known(await self._reader(await login.bearer(request), "token"), "program")
        session = login.session(request)
        if session is None:
            raise unknown_reader("You are not logged in, or your session is over.", "Log in.")
        return _Known(await self._reader(await login.subject(session), "token"), f"session\0{session.id}")

    async def _reader(self, subject: Subject, how: How) -> Reader:
        if self._access.proxy is not None and how == "proxy" and self._access.proxy.sees_all:
            return Reader(subject.username, how, None)
        assert self._access.rights is not None
        try:
            return Reader(subject.username, how, await self._access.rights.visible(subject))
        except ClusterError as error:
            log.warning("what a reader may see is not known", problem=error.message)
            raise cluster_silent(error.message) from None

    def _check_form(self, code: str, bound: str) -> None:
        if not self._access.csrf.holds(code, bound):
            raise Refusal(
                403,
                reason="form-foreign",
                title="That form is not from a page that you were given",
                sentence="Its code is missing, too old, or somebody else's.",
                advice="Open the page again and send the form from there.",
            )

    # -- in and out ----------------------------------------------------------------------------------------------------

    async def _in_or_out(self, request: Request, login: Login, scheme: str) -> Response:
        if request.url.path == LOGOUT:
            return await self._log_out(request, login)
        target = next_of(request.query_params.get("next", "/"))
        if request.method != "POST":
            if login.session(request) is not None:
                return RedirectResponse(target, 303)
            return self._form(request, login, target, secure=False)
        _, fields = await read_form(request.scope, request.receive, self._access.limits)
        cookie = login.form_cookie(request)
        target = next_of(fields.get("next", "/"))
        try:
            self._check_form(fields.get(FIELD, "") if cookie else "", f"login\0{cookie}")
            header = await login.log_in(request, fields.get("token", "").strip(), secure=scheme == "https")
        except Refusal as refusal:
            if refusal.status != 401:
                raise
            return self._form(request, login, target, secure=scheme == "https", refusal=refusal)
        return RedirectResponse(target, 303, headers={"set-cookie": header})

    def _form(
        self, request: Request, login: Login, target: str, *, secure: bool, refusal: Refusal | None = None
    ) -> Response:
        """The page of the form, with a code that only this browser can send."""
        value, header = login.new_form_cookie(secure=secure)
        request.state.csrf = self._access.csrf.code(f"login\0{value}")
        status = refusal.status if refusal is not None else 200
        answer = render(request, "login.html.j2", status, target=target, refusal=refusal, command=COMMAND)
        answer.headers["set-cookie"] = header
        return answer

    async def _log_out(self, request: Request, login: Login) -> Response:
        if request.method != "POST":
            raise _wrong_method("POST")
        session = login.session(request)
        _, fields = await read_form(request.scope, request.receive, self._access.limits)
        if session is not None:
            self._check_form(fields.get(FIELD, ""), f"session\0{session.id}")
        answer = RedirectResponse(LOGIN, 303)
        for header in login.log_out(session):
            answer.headers.append("set-cookie", header)
        return answer

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _refused(self, request: Request, refusal: Refusal) -> Response:
        path, part = request.url.path, asks_for_part(request)
        if path.startswith(API):
            return problem_of(refusal)
        if refusal.status == 401 and self._access.login is not None:
            if request.method == "GET" and not part:
                return RedirectResponse(login_address(path, request.scope["query_string"]), 303)
            # htmx loads the whole page again, which leads to the login.
            refusal.headers = {**refusal.headers, "hx-refresh": "true"}
        problem = PageProblem(refusal.status, refusal.title, refusal.sentence, refusal.advice)
        return problem_page(request, problem, refusal.headers)


def _as_get(scope: Scope) -> Scope:
    """HEAD is answered as GET (RFC 9110, section 9.3.2); the server leaves the content out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _wrong_method(allowed: str) -> Refusal:
    return Refusal(
        405,
        reason="method-not-allowed",
        title="That cannot be done here",
        sentence=f"This address answers {allowed}.",
        advice="Begin with the decisions.",
        headers={"allow": allowed},
    )


def _nothing_to_see(reader: Reader) -> Refusal:
    return Refusal(
        403,
        reason="reader-without-namespaces",
        title="There is nothing that you may read",
        sentence=f"{reader.name} may {VERB} {RESOURCE}.{GROUP} in no namespace.",
        advice=(
            "Whoever looks after a namespace can bind you to a ClusterRole that lets it, such as the chart's "
            "portcullis-audit-reader: kubectl create rolebinding audit-readers --clusterrole portcullis-audit-reader "
            "--user YOU --namespace NAMESPACE"
        ),
    )
