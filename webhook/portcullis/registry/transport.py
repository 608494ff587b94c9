"""Calls to the API of registries: authentication, redirects, attempts, and every fault as a RegistryError."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

from aiohttp import ClientResponse
from multidict import CIMultiDictProxy
from yarl import URL

from portcullis.errors import Denied, Malformed, NotAllowed, NotFound, RegistryError, Throttled, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Repository
from portcullis.ports import Keychain
from portcullis.registry.auth import Authenticator, Grant
from portcullis.registry.bodies import read_body
from portcullis.registry.connections import Ask, Connections
from portcullis.registry.faults import Passing, shown
from portcullis.registry.hosts import HostRules, same_origin
from portcullis.registry.keychain import ANONYMOUS, fingerprint
from portcullis.registry.retries import Retries, retry_after
from portcullis.registry.traffic import Traffic
from portcullis.spans import span
from portcullis.text import clean

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READS: Final = frozenset({"GET", "HEAD"})
_PASSING: Final = frozenset({502, 503, 504})
"""What is between here and the registry, or the registry itself, says that it may be over soon (RFC 9110, 15.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API of a repository's registry.

    ``path`` follows ``/v2/<name>/``; ``url`` replaces it where the registry itself named one on its own host.
    ``what`` names the thing in messages. ``expected`` are statuses beside 2xx that are no error to the caller.
    ``mirror``: the operator's configuration named the host, and not a reference, so that the list of registries that
    references may name says nothing about it. ``stream``: the answer is a blob that is streamed. ``paged``: it may go
    on at another address.
    """

    repository: Repository
    access: Access
    path: str
    what: str
    method: str = "GET"
    url: URL | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    actions: str = "pull"
    expected: frozenset[int] = field(default_factory=frozenset)
    mirror: bool = False
    stream: bool = False
    paged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer with its whole body. ``next`` is where a paged one goes on."""

    status: int
    headers: CIMultiDictProxy[str]
    next: URL | None
    content: bytes = field(repr=False)


class Transport:
    """Sends calls.

    Args:
        limits: ``redirects``, ``token_bytes``, ``flight_seconds``, and those of :class:`Connections` and
            :class:`Retries`.
        traffic: counts what is asked; by default for nobody.

    Raises:
        ConfigError: a file of authorities cannot be used.
    """

    def __init__(self, *, keychain: Keychain, hosts: HostRules, limits: Limits, traffic: Traffic | None = None) -> None:
        self._keychain = keychain
        self._hosts = hosts
        self._limits = limits
        self._connections = Connections(hosts=hosts, limits=limits)
        self._auth = Authenticator(hosts=hosts, fetch=self._fetch_token, post=self._post_token)
        self.retries = Retries(limits=limits)
        self._traffic = traffic or Traffic()

    async def start(self) -> None:
        """Opens the pools; a second call does nothing."""
        await self._connections.start()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._connections.aclose()

    async def fetch(self, call: Call, limit: int, named: str) -> Answered:
        """The whole answer to a read, of at most ``limit`` bytes. What may pass is tried again, within
        ``flight_seconds``.

        Args:
            named: says in messages which limit ``limit`` is.

        Raises:
            RegistryError: whatever goes wrong.
        """
        seconds = self._limits.flight_seconds
        try:
            async with asyncio.timeout(seconds) as flight:
                until = flight.when() or 0.0
                return await self.retries.persist(lambda: self._read(call, limit, named), until)
        except TimeoutError as error:
            raise Unreachable(
                f"{call.repository.registry} did not deliver {call.what} within the limit flightSeconds of {seconds:g}"
            ) from error

    @contextlib.asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[ClientResponse]:
        """The answer to ``call``, asked for once, its status 2xx or expected, its body not yet read.

        Raises:
            RegistryError: whatever goes wrong; errors of reading the body inside the context become one as well.
        """
        try:
            async with self.attempt(call) as response:
                yield response
        except Passing as fault:
            raise fault.error from fault

    @contextlib.asynccontextmanager
    async def attempt(self, call: Call) -> AsyncIterator[ClientResponse]:
        """As :meth:`send`; raises Passing as well, for who tries again."""
        registry = call.repository.registry
        with (
            self._traffic.request(registry) as begun,
            span("registry-request", host=clean(registry, 260), method=call.method) as one,
        ):
            async with self._attempt(call) as response:
                begun()
                one.set(status=response.status)
                yield response

    @contextlib.asynccontextmanager
    async def _attempt(self, call: Call) -> AsyncIterator[ClientResponse]:
        registry = call.repository.registry
        if not call.mirror:
            self._hosts.require_allowed(registry)
        try:
            origin = self._hosts.origin(registry)
        except ValueError as error:
            raise NotAllowed(f"{clean(repr(registry), 100)} is no host of a registry") from error
        credential = await self._keychain.credential(call.repository, call.access)
        grant = Grant(registry, f"repository:{call.repository.path}:{call.actions}", fingerprint(credential))
        authorization = self._auth.known(grant)
        for last in (False, True):
            async with self._follow(call, origin, authorization, grant.fingerprint) as response:
                if last or response.status != 401 or not same_origin(response.url, origin):
                    self._check(call, response, anonymous=isinstance(credential, Anonymous))
                    yield response
                    return
                fields = response.headers.getall("WWW-Authenticate", [])
            authorization = await self._auth.answer(grant, origin, authorization, fields, credential)

    async def _read(self, call: Call, limit: int, named: str) -> Answered:
        async with self.attempt(call) as response:
            return Answered(
                status=response.status,
                headers=response.headers,
                next=_next_page(response, call.what) if call.paged and response.ok else None,
                content=await read_body(response, limit, call.what, named),
            )

    @contextlib.asynccontextmanager
    async def _follow(
        self, call: Call, origin: URL, authorization: str | None, who: str
    ) -> AsyncIterator[ClientResponse]:
        """Sends the call, and follows redirects of a read by hand: each hop is checked anew, and Authorization is
        left behind for good where a hop changes scheme, host or port."""
        url = call.url or origin.joinpath("v2", *call.repository.path.split("/"), *call.path.split("/"), encoded=True)
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        for _ in range(self._limits.redirects + 1):
            ask = Ask(
                method=call.method,
                url=url,
                what=call.what,
                who=who,
                headers=headers,
                body=call.body,
                stream=call.stream,
                total=None if call.method in _READS else self._limits.flight_seconds,
            )
            async with self._connections.request(ask) as response:
                if call.method not in _READS or response.status not in _REDIRECTS:
                    yield response
                    return
                target = self._target(url, response, call)
            if not same_origin(url, target):
                headers.pop("Authorization", None)
            url = target
        raise TooLarge(f"{call.what} is redirected more often than the limit redirects of {self._limits.redirects}")

    def _target(self, url: URL, response: ClientResponse, call: Call) -> URL:
        location = response.headers.get("Location", "")
        try:
            target = url.join(URL(location, encoded=True)).with_fragment(None)
            usable = bool(location) and target.scheme in {"http", "https"} and bool(target.raw_host)
            usable = usable and target.user is None and target.port is not None
        except ValueError:
            usable = False
        where = shown(url)
        if not usable:
            raise Malformed(f"{where} redirects {call.what} to no address")
        if target.scheme == "http" and not self._hosts.is_insecure(target):
            raise NotAllowed(
                f"{where} redirects {call.what} to {clean(target.raw_host or '', 100)} without TLS, "
                "which is not configured as insecure"
            )
        return target

    def _check(self, call: Call, response: ClientResponse, *, anonymous: bool) -> None:
        status = response.status
        if 200 <= status < 300 or status in call.expected:
            return
        where = shown(response.url)
        if status in {401, 403, 451}:
            # Docker Hub and others answer 401 for what does not exist, too.
            reason = ": it does not exist there, or needs a credential, and none is configured" if anonymous else ""
            raise Denied(f"{where} denies access to {call.what} (HTTP {status}){reason}")
        if status in {404, 410}:
            raise NotFound(f"{where} does not have {call.what}")
        if status == 429:
            raise _throttled(response, f"{where} takes no more requests now (HTTP 429), asked for {call.what}")
        if status >= 500 or status == 408:
            raise _failed(response, f"{where} failed with HTTP {status}, asked for {call.what}")
        if status == 407:
            raise Unreachable(f"the proxy wants another credential (HTTP 407), asked for {call.what} of {where}")
        raise Malformed(f"{where} answered HTTP {status}, asked for {call.what}")

    async def _fetch_token(self, url: URL, headers: Mapping[str, str]) -> bytes:
        return await self._token(Ask(method="GET", url=url, what="a token", who=_who(headers), headers=headers))

    async def _post_token(self, url: URL, form: Mapping[str, str]) -> bytes:
        """Not tried again: who repeats a POST may spend what is good for once."""
        body = urlencode(form).encode()
        who = hashlib.sha256(body).hexdigest()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return await self._token(Ask(method="POST", url=url, what="a token", who=who, headers=headers, body=body))
        except Passing as fault:
            raise fault.error from fault

    async def _token(self, ask: Ask) -> bytes:
        """Redirects of a token endpoint are not followed: nobody needs them, and they could carry a credential."""
        where = shown(ask.url)
        headers = {"Accept": "application/json", **ask.headers}
        async with self._connections.request(
            replace(ask, headers=headers, total=self._limits.flight_seconds)
        ) as response:
            if response.status == 429:
                raise _throttled(response, f"{where} gives no more tokens now (HTTP 429)")
            if response.status >= 500:
                raise _failed(response, f"{where} failed with HTTP {response.status}, asked for a token")
            if 400 <= response.status < 500:
                raise Denied(f"{where} refuses a token (HTTP {response.status})")
            if response.status != 200:
                raise Malformed(f"{where} answered HTTP {response.status}, asked for a token")
            limit = self._limits.token_bytes
            return await read_body(response, limit, f"the token from {where}", f"the limit tokenBytes of {limit}")


def _throttled(response: ClientResponse, message: str) -> Passing:
    wait = retry_after(response.headers.get("Retry-After", ""))
    return Passing(Throttled(message, retry_after=wait), wait)


def _failed(response: ClientResponse, message: str) -> Passing | RegistryError:
    error = Unreachable(message)
    if response.status not in _PASSING:
        return error
    return Passing(error, retry_after(response.headers.get("Retry-After", "")))


def _next_page(response: ClientResponse, what: str) -> URL | None:
    """The next page (RFC 8288), on the same host only: nobody may send the credential elsewhere."""
    try:
        link = response.links.get("next")
        following = None if link is None else URL(str(link["url"]), encoded=True)
    except (ValueError, KeyError) as error:
        raise Malformed(f"{what} continue at no address") from error
    if following is not None and (not same_origin(following, response.url) or following.user is not None):
        raise Malformed(f"{what} continue on another host, {clean(following.raw_host or '', 100)}")
    return following


def _who(headers: Mapping[str, str]) -> str:
    authorization = headers.get("Authorization", "")
    return hashlib.sha256(authorization.encode()).hexdigest() if authorization else ANONYMOUS
