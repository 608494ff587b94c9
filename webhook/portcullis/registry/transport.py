"""HTTP to registries: connections, redirects, authentication, and every fault as a RegistryError.

What is never done: proxies of the environment, cookies, automatic redirects and decompression. Each of them
would act behind the back of the checks here.
"""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from yarl import URL

from portcullis import __version__
from portcullis.errors import Denied, Malformed, NotAllowed, NotFound, Throttled, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Repository
from portcullis.ports import Keychain
from portcullis.registry.addresses import AddressRefused, public_socket
from portcullis.registry.auth import Authenticator, Grant
from portcullis.registry.hosts import HostRules, same_origin
from portcullis.registry.keychain import fingerprint
from portcullis.text import clean

_CONNECTIONS: Final = 1024
"""To all registries together; the limit per host is what keeps one from taking all."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API of a repository's registry.

    ``path`` follows ``/v2/<name>/``; ``url`` replaces it where the registry itself named one on its own host.
    ``what`` names the thing in messages. ``expected`` are statuses beside 2xx that are no error to the caller.
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


class Transport:
    """Sends calls. Raises only RegistryError.

    Two pools of connections: one whose sockets refuse addresses that are not public, and one for the hosts that
    the operator listed as private.
    """

    def __init__(self, *, keychain: Keychain, hosts: HostRules, limits: Limits) -> None:
        self._keychain = keychain
        self._hosts = hosts
        self._limits = limits
        self._auth = Authenticator(hosts=hosts, fetch=self._fetch_token)
        self._public: aiohttp.ClientSession | None = None
        self._private: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens the pools; a second call does nothing."""
        if self._public is None or self._private is None:
            self._public = self._session(guarded=True)
            self._private = self._session(guarded=False)

    async def aclose(self) -> None:
        """Closes every connection."""
        for session in (self._public, self._private):
            if session is not None:
                await session.close()
        self._public = self._private = None

    @contextlib.asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to ``call``, its status 2xx or expected, its body not yet read.

        Errors of reading the body inside the context become RegistryErrors as well.
        """
        registry = call.repository.registry
        self._hosts.require_allowed(registry)
        try:
            origin = self._hosts.origin(registry)
        except ValueError as error:
            raise NotAllowed(f"{clean(repr(registry), 100)} is no host of a registry") from error
        credential = await self._keychain.credential(call.repository, call.access)
        grant = Grant(registry, f"repository:{call.repository.path}:{call.actions}", fingerprint(credential))
        authorization = self._auth.known(grant)
        for last in (False, True):
            async with self._follow(call, origin, authorization) as response:
                if last or response.status != 401 or not same_origin(response.url, origin):
                    self._check(call, response, anonymous=isinstance(credential, Anonymous))
                    yield response
                    return
                fields = response.headers.getall("WWW-Authenticate", [])
            authorization = await self._auth.answer(grant, origin, authorization, fields, credential)

    @contextlib.asynccontextmanager
    async def _follow(
        self, call: Call, origin: URL, authorization: str | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends the call, and follows redirects of a read by hand: each hop is checked anew, and Authorization is
        left behind for good where a hop changes scheme, host or port."""
        url = call.url or origin.joinpath("v2", *call.repository.path.split("/"), *call.path.split("/"), encoded=True)
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        for _ in range(self._limits.redirects + 1):
            async with self._request(call.method, url, headers, call.body, call.what) as response:
                if call.method not in {"GET", "HEAD"} or response.status not in _REDIRECTS:
                    yield response
                    return
                target = self._target(url, response, call)
            if not same_origin(url, target):
                headers.pop("Authorization", None)
            url = target
        raise TooLarge(f"{call.what} is redirected more often than the limit redirects of {self._limits.redirects}")

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, what: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to one host, whatever it answers."""
        await self.start()
        session = self._private if self._hosts.may_be_private(url) else self._public
        assert session is not None
        where = _shown(url)
        plain = {"Accept-Encoding": "identity", **headers}
        with _translated(where, what):
            async with session.request(method, url, headers=plain, data=body, allow_redirects=False) as response:
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise Malformed(f"{where} sends {what} compressed, which was not asked for")
                yield response

    def _target(self, url: URL, response: aiohttp.ClientResponse, call: Call) -> URL:
        location = response.headers.get("Location", "")
        try:
            target = url.join(URL(location, encoded=True)).with_fragment(None)
            usable = bool(location) and target.scheme in {"http", "https"} and bool(target.raw_host)
            usable = usable and target.user is None and target.port is not None
        except ValueError:
            usable = False
        where = _shown(url)
        if not usable:
            raise Malformed(f"{where} redirects {call.what} to no address")
        if target.scheme == "http" and not self._hosts.is_insecure(target):
            raise NotAllowed(
                f"{where} redirects {call.what} to {clean(target.raw_host or '', 100)} without TLS, "
                "which is not configured as insecure"
            )
        return target

    def _check(self, call: Call, response: aiohttp.ClientResponse, *, anonymous: bool) -> None:
        status = response.status
        if 200 <= status < 300 or status in call.expected:
            return
        where = _shown(response.url)
        if status in {401, 403, 451}:
            # Docker Hub and others answer 401 for what does not exist, too.
            reason = ": it does not exist there, or needs a credential, and none is configured" if anonymous else ""
            raise Denied(f"{where} denies access to {call.what} (HTTP {status}){reason}")
        if status in {404, 410}:
            raise NotFound(f"{where} does not have {call.what}")
        if status == 429:
            raise Throttled(f"{where} takes no more requests now (HTTP 429), asked for {call.what}")
        if status >= 500 or status == 408:
            raise Unreachable(f"{where} failed with HTTP {status}, asked for {call.what}")
        raise Malformed(f"{where} answered HTTP {status}, asked for {call.what}")

    async def _fetch_token(self, url: URL, headers: Mapping[str, str]) -> bytes:
        """Redirects of a token endpoint are not followed: nobody needs them, and they could carry a credential."""
        where = _shown(url)
        asked = {"Accept": "application/json", **headers}
        async with self._request("GET", url, asked, None, "a token") as response:
            if response.status == 429:
                raise Throttled(f"{where} gives no more tokens now (HTTP 429)")
            if response.status >= 500:
                raise Unreachable(f"{where} failed with HTTP {response.status}, asked for a token")
            if 400 <= response.status < 500:
                raise Denied(f"{where} refuses a token (HTTP {response.status})")
            if response.status != 200:
                raise Malformed(f"{where} answered HTTP {response.status}, asked for a token")
            limit = self._limits.token_bytes
            return await read_body(response, limit, f"the token from {where}", f"the limit tokenBytes of {limit}")

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        limits = self._limits
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            limit_per_host=limits.registry_connections_per_host,
            socket_factory=public_socket if guarded else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=limits.flight_seconds, sock_connect=limits.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"portcullis/{__version__}"},
            auto_decompress=False,
            trust_env=False,
        )


async def read_pieces(response: aiohttp.ClientResponse, limit: int, what: str, named: str) -> AsyncIterator[bytes]:
    """The body as it comes.

    Args:
        limit: bytes; ``named`` says in the message which limit that is.

    Raises:
        TooLarge: the body is longer, or says so beforehand.
    """
    if (response.content_length or 0) > limit:
        raise TooLarge(f"{what} has {response.content_length} bytes, more than {named}")
    total = 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > limit:
            raise TooLarge(f"{what} has more bytes than {named}")
        yield piece


async def read_body(response: aiohttp.ClientResponse, limit: int, what: str, named: str) -> bytes:
    """The whole body, bounded as in :func:`read_pieces`."""
    body = bytearray()
    async for piece in read_pieces(response, limit, what, named):
        body += piece
    return bytes(body)


@contextlib.contextmanager
def _translated(where: str, what: str) -> Iterator[None]:
    """Every error of aiohttp as a RegistryError that names the host and what was asked for."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreachable(
            f"{where} has a certificate that is not trusted: {_brief(error.certificate_error)}"
        ) from error
    except aiohttp.ClientSSLError as error:
        raise Unreachable(f"{where} cannot be spoken to over TLS: {_brief(error.os_error)}") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise Unreachable(f"the name {where} cannot be resolved: {_brief(error.os_error)}") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, AddressRefused):
            raise NotAllowed(
                f"{where} has the address {error.os_error.address}, which is not public, and the host is not "
                "configured as private (registries.hosts)"
            ) from error
        raise Unreachable(f"no connection to {where}: {_brief(error.os_error)}") from error
    except aiohttp.ClientPayloadError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, aiohttp.ClientError):
            raise Unreachable(f"the connection to {where} broke while {what} was read") from error
        raise Malformed(f"{where} ended {what} early, or sent it garbled") from error
    except (aiohttp.InvalidURL, UnicodeError) as error:  # a label of more than 63 characters, say
        raise NotAllowed(f"{where} is no host that can be asked for {what}") from error
    except TimeoutError as error:
        raise Unreachable(f"{where} did not answer in time, asked for {what}") from error
    except (aiohttp.ClientConnectionError, ConnectionError, ssl.SSLError) as error:
        raise Unreachable(f"{where} broke the connection, asked for {what}") from error
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError) as error:
        raise Malformed(f"{where} answered what is no HTTP, asked for {what}") from error


def _brief(error: object) -> str:
    """What went wrong, without numbers and places in the source that mean nothing to who reads a refusal."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean(error.verify_message or str(error), 160)
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        known = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        return clean(known or str(error), 160)
    return clean(str(error), 160)


def _shown(url: URL) -> str:
    """Host and port of a URL. Never more of it: the query of a redirect may hold a signature that grants access."""
    return clean(url.host_port_subcomponent or "", 100)
