"""Log in with a token of Kubernetes, and out again.

1. The form that brings the token was given to this browser: its code is bound to a cookie by chance.
2. The API server says whose the token is, and that it was made for our audience.
3. Every refusal says the same, at the same time after the request; few are made in a minute.
4. The session lasts no longer than the token, nor than the operator allows; nothing but the browser keeps it.
"""

import asyncio
import base64
import binascii
import json
import re
import secrets
from collections import OrderedDict
from urllib.parse import quote

import structlog
from starlette.requests import HTTPConnection

from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.subject import Subject
from portcullis.ports import Clock
from portcullis.server.pagesections import TokensSection
from portcullis.server.review.accessattempts import Attempts
from portcullis.server.review.accessrights import AUDIENCE, Rights
from portcullis.server.review.refusals import Refusal, cluster_silent, unknown_reader
from portcullis.server.review.sessions import TOKEN_BYTES, Sealer, Session, new_session
from portcullis.text import clean

LOGIN = "/login"
LOGOUT = "/logout"
COMMAND = f"kubectl create token NAME --namespace NAMESPACE --audience {AUDIENCE} --duration 8h"
"""How somebody gets a token, as the page of the form shows it."""

_SESSION = "portcullis-session"
_FORM = "portcullis-login"
_HOST_PREFIX = "__Host-"
_ENDED = 10_000
"""Sessions that were ended and would not be over yet."""
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NAME_CHARS = 200

log = structlog.get_logger(__name__)


class Login:
    """Args:
    secure: whether the pages are served by TLS: cookies then never leave it.
    """

    def __init__(
        self,
        section: TokensSection,
        *,
        rights: Rights,
        sealer: Sealer,
        secure: bool,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._seconds = section.session_hours * 3600
        self._rights = rights
        self._sealer = sealer
        self._secure = secure
        self._clock = clock
        self._limits = limits
        self._attempts = Attempts(clock=clock, limits=limits)
        self._ended: OrderedDict[str, int] = OrderedDict()

    # -- the session ---------------------------------------------------------------------------------------------------

    def session(self, request: HTTPConnection) -> Session | None:
        """The session that the request brings; None without one that counts."""
        now = self._clock.now().timestamp()
        cookies = request.cookies
        names = (_HOST_PREFIX + _SESSION,) if self._secure else (_HOST_PREFIX + _SESSION, _SESSION)
        sealed = next((cookies[name] for name in names if name in cookies), "")
        session = self._sealer.open(sealed, now) if sealed else None
        return None if session is None or session.id in self._ended else session

    async def subject(self, session: Session) -> Subject:
        """Who has the session, as the API server says of its token now.

        Raises:
            Refusal: the token was revoked, or the API server does not say.
        """
        try:
            found = await self._rights.subject(session.token)
        except ClusterError as error:
            log.warning("a reader's token is not reviewed", problem=error.message)
            raise cluster_silent(error.message) from None
        if found is None:
            raise unknown_reader("Your token does not count any more, so your session is over.", "Log in anew.")
        return found

    async def bearer(self, request: HTTPConnection) -> Subject:
        """Who has the token in the Authorization header, for programs.

        Raises:
            Refusal: nobody, or the API server does not say; or too many such tokens were tried.
        """
        scheme, _, token = request.headers["authorization"].partition(" ")
        if len(request.headers.getlist("authorization")) != 1 or scheme.lower() != "bearer":
            raise unknown_reader("The Authorization header is no bearer token.", f"Send one of: {COMMAND}")
        return await self._reviewed(request, token.strip())

    # -- in and out ----------------------------------------------------------------------------------------------------

    def form_cookie(self, request: HTTPConnection) -> str:
        """What the code of the login form is bound to; "" where the browser has no such cookie."""
        return self._cookie(request, _FORM)

    def new_form_cookie(self, *, secure: bool) -> tuple[str, str]:
        """A value by chance, and the header that sets it."""
        value = secrets.token_urlsafe(24)
        return value, self._set(_FORM, value, secure=secure, seconds=3600)

    async def log_in(self, request: HTTPConnection, token: str, *, secure: bool) -> str:
        """The header that sets the session's cookie.

        Args:
            secure: whether the browser came by TLS, whoever ended it.

        Raises:
            Refusal: 2 or 3 does not hold.
        """
        subject = await self._reviewed(request, token)
        now = self._clock.now().timestamp()
        ends_at = min(now + self._seconds, expiry_of(token) or now + self._seconds)
        session = new_session(token, int(ends_at))
        log.info("reader logged in", reader=clean(subject.username, _NAME_CHARS), session=session.id[:8])
        return self._set(_SESSION, self._sealer.seal(session), secure=secure, seconds=max(0, int(ends_at - now)))

    def log_out(self, session: Session | None) -> tuple[str, ...]:
        """The headers that take the cookies away; the session counts no more at this replica, whoever kept it."""
        if session is not None:
            self._ended[session.id] = session.ends_at
            while len(self._ended) > _ENDED:
                self._ended.popitem(last=False)
            log.info("reader logged out", session=session.id[:8])
        names = (_SESSION, _HOST_PREFIX + _SESSION)
        return tuple(
            f"{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{'; Secure' if name.startswith('__') else ''}"
            for name in names
        )

    async def _reviewed(self, request: HTTPConnection, token: str) -> Subject:
        """Raises Refusal, ``limits.login_seconds`` after the beginning, unless the token is somebody's."""
        begun = self._clock.monotonic()
        address = request.client.host if request.client is not None else ""
        if not self._attempts.begin(address):
            raise Refusal(
                429,
                reason="login-throttled",
                title="Too many attempts",
                sentence="Too many tokens were tried that are none.",
                advice="Wait a minute.",
                headers={"retry-after": "60"},
            )
        found = None
        if len(token) <= TOKEN_BYTES and _TOKEN.fullmatch(token):
            try:
                found = await self._rights.subject(token)
            except ClusterError as error:
                self._attempts.succeeded(address)
                log.warning("a token is not reviewed", problem=error.message)
                raise cluster_silent(error.message) from None
        if found is not None:
            self._attempts.succeeded(address)
            return found
        log.warning("login refused", address=clean(address, 60))
        await asyncio.sleep(max(0.0, begun + self._limits.login_seconds - self._clock.monotonic()))
        raise unknown_reader(
            f"That is no token that the API server accepts for the audience {AUDIENCE}.", f"Make one: {COMMAND}"
        )

    def _cookie(self, request: HTTPConnection, name: str) -> str:
        return request.cookies.get(_HOST_PREFIX + name) or ("" if self._secure else request.cookies.get(name, ""))

    def _set(self, name: str, value: str, *, secure: bool, seconds: int) -> str:
        prefix, flag = (_HOST_PREFIX, "; Secure") if secure or self._secure else ("", "")
        return f"{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flag}"


def expiry_of(token: str) -> int | None:
    """When a token ends that is a JWT, as it says itself; None for any other. Only for tokens that were reviewed."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return int(expiry) if isinstance(expiry, int | float) and 0 < expiry < 1 << 40 else None


def next_of(text: str) -> str:
    """Where to go after the login: a path of ours and nothing else."""
    ours = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isascii() and text.isprintable()
    return text if ours and "\\" not in text and not text.startswith((LOGIN, LOGOUT)) else "/"


def login_address(path: str, query: bytes) -> str:
    """The login's, from which one comes back."""
    asked = f"{quote(path)}?{query.decode('latin-1')}" if query else quote(path)
    return f"{LOGIN}?next={quote(asked, safe='')}" if next_of(asked) != "/" else LOGIN
