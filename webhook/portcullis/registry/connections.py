"""Connections to registries: one request to one host, its address, certificate, proxy, pace and time watched over.

What is never done: cookies, automatic redirects and decompression, proxies that nobody configured. Each of them would
act behind the back of the checks here.

The address of a host is checked when the socket is made (addresses.py), for whatever is asked: a registry, a mirror,
the target of a redirect, a token endpoint. Behind a proxy the proxy connects, so only the name can be checked
(:meth:`HostRules.proxy`).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from portcullis import __version__
from portcullis.errors import Malformed
from portcullis.limits import Limits
from portcullis.registry.addresses import public_socket
from portcullis.registry.faults import shown, translated
from portcullis.registry.hosts import HostRules
from portcullis.registry.places import Places
from portcullis.registry.proxy import Proxy
from portcullis.registry.retries import Pauses, retry_after
from portcullis.registry.tls import Authorities

_CONNECTIONS: Final = 1024
"""To all registries together; what keeps one from taking all are the places per host."""
_BUFFER_BYTES: Final = 256 * 1024
"""Read ahead of a body: as much as the event loop takes from a socket at once, so that pieces of a layer are large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to one host.

    Args:
        what: names the thing in messages.
        who: fingerprint of the credential; a host that is to be left alone is so for the one who asked too often.
        stream: the body is a blob of any size, so that only a stall ends it.
        total: seconds for all of it, body included; None where the caller bounds them.
    """

    method: str
    url: URL
    what: str
    who: str
    headers: Mapping[str, str]
    body: bytes | None = None
    stream: bool = False
    total: float | None = None


class Connections:
    """Two pools: one whose sockets refuse addresses that are not public, and one for the hosts that the operator
    listed as private, and for proxies.

    Args:
        limits: ``connect_seconds``, ``answer_seconds``, ``stall_seconds``, ``registry_connections_per_host``,
            ``ca_file_bytes``, and those of :class:`Pauses`.

    Raises:
        ConfigError: a file of authorities cannot be used.
    """

    def __init__(self, *, hosts: HostRules, limits: Limits) -> None:
        self._hosts = hosts
        self._limits = limits
        self._authorities = Authorities(ca_files=hosts.ca_files, limit=limits.ca_file_bytes)
        self._places = Places(count=limits.registry_connections_per_host)
        self._pauses = Pauses(limits=limits)
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
    async def request(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever its status, its body not yet read; errors of reading it inside the context are
        translated as well. Waits for a place at the host, and for the end of a pause that the host asked for.

        Raises:
            RegistryError: what went wrong.
            Passing: what went wrong may be over at the next attempt.
        """
        host = shown(ask.url)
        proxy = self._hosts.proxy(ask.url)
        while True:
            await self._pauses.over(host, ask.who)
            async with self._places.take(host, stream=ask.stream):
                if self._pauses.remaining(host, ask.who):  # begun while a place was waited for
                    continue
                async with self._sent(ask, host, proxy) as response:
                    self._heed(response, host, ask.who)
                    yield response
                return

    @contextlib.asynccontextmanager
    async def _sent(self, ask: Ask, host: str, proxy: Proxy | None) -> AsyncIterator[aiohttp.ClientResponse]:
        await self.start()
        direct = proxy is None and not self._hosts.may_be_private(ask.url)
        session = self._public if direct else self._private
        assert session is not None
        limits = self._limits
        seconds = limits.stall_seconds if ask.stream else limits.answer_seconds
        answer = f"the limit {'stallSeconds' if ask.stream else 'answerSeconds'} of {seconds:g}"
        connect = f"the limit connectSeconds of {limits.connect_seconds:g}"
        via = "" if proxy is None else shown(proxy.url)
        credential = {"Proxy-Authorization": proxy.authorization} if proxy is not None and proxy.authorization else {}
        headers = {"Accept-Encoding": "identity", **ask.headers}
        with translated(host, ask.what, proxy=via, connect=connect, answer=answer, stream=ask.stream):
            async with session.request(
                ask.method,
                ask.url,
                # To a host without TLS the proxy is given the request itself, and so its credential with it.
                headers=headers | (credential if ask.url.scheme == "http" else {}),
                data=ask.body,
                allow_redirects=False,
                ssl=self._authorities.of(ask.url),
                proxy=None if proxy is None else proxy.url,
                proxy_headers=credential or None,
                timeout=aiohttp.ClientTimeout(total=ask.total, sock_connect=limits.connect_seconds, sock_read=seconds),
            ) as response:
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise Malformed(f"{host} sends {ask.what} compressed, which was not asked for")
                yield response

    def _heed(self, response: aiohttp.ClientResponse, host: str, who: str) -> None:
        asked = retry_after(response.headers.get("Retry-After", "")) if response.status == 429 else None
        if asked:
            self._pauses.begin(host, who, asked)

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS, limit_per_host=0, socket_factory=public_socket if guarded else None
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"portcullis/{__version__}"},
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_BUFFER_BYTES,
        )
