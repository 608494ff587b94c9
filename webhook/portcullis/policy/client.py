"""The one place that speaks to OPA, through opa-python-client.

The client (3.0.0) knows no unix sockets, sends bodies only as Python objects and repeats answers of 500, among
which are the conflicts of a policy. So this adapter gives it a session of its own, over a unix socket or to an
address, sends our bytes through the client's own ``_request``, and sets ``retries=0``. The client raises aiohttp's
errors: they end here. No proxy of the environment is used, and no redirect followed: whoever gets the question learns
the document, and is believed.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from opa_client import AsyncOpaClient

from portcullis.errors import EngineMalformed, EngineUnavailable

_WORDS_BYTES = 64 * 1024
"""An answer that holds nothing but a few words."""

CONNECTIONS = 64
"""To one OPA. More requests wait here instead of thrashing there."""

PROBE = b'{"input":{"evaluate":[],"now_ns":0,"parameters":{},"document":{}}}'
"""Asks for nothing: the answer holds the revision."""


@dataclass(frozen=True, slots=True)
class Reply:
    """OPA's answer with its HTTP status."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an OPA listens: on ``socket``, or at ``base`` (``https://host:port``). ``tls`` is for https, ``headers``
    are asked for anew with each request, because tokens are renewed."""

    socket: Path | None = None
    base: str = "http://opa:80"
    tls: ssl.SSLContext | None = None
    headers: Callable[[], Mapping[str, str]] = dict


class _Client(AsyncOpaClient):  # type: ignore[misc]  # the library has no types
    """The client with a session of ours. ``host`` and ``port`` of the library's own are not used."""

    def __init__(self, destination: Destination) -> None:
        super().__init__(host="opa", port=80, retries=0)
        self._destination = destination
        self.root_url = f"{destination.base}/v1"

    async def _init_session(self) -> None:
        where = self._destination
        self._connector: aiohttp.BaseConnector = (
            aiohttp.UnixConnector(path=str(where.socket), limit=CONNECTIONS)
            if where.socket is not None
            else aiohttp.TCPConnector(ssl=where.tls or True, limit=CONNECTIONS)
        )
        # No time limit here: whoever asks has a deadline, and cancels.
        self._session = aiohttp.ClientSession(
            connector=self._connector, timeout=aiohttp.ClientTimeout(total=None), trust_env=False
        )

    async def exchange(self, method: str, path: str, body: bytes | None, limit: int) -> Reply | None:
        """The reply, or None where its body exceeds ``limit``."""
        headers = self._destination.headers()
        request = self._request(method, f"{self.root_url}/{path}", data=body, headers=headers, allow_redirects=False)
        async with request as response:
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > limit:
                    response.close()
                    return None
            return Reply(response.status, bytes(content))


class OpaClient:
    """Typed face of the adapter. Every method raises EngineError only, and may be cancelled: OPA then stops
    evaluating."""

    def __init__(self, destination: Destination) -> None:
        self._client = _Client(destination)

    async def start(self) -> None:
        """Opens the session; OPA need not be there yet."""
        await self._client.__aenter__()

    async def aclose(self) -> None:
        await self._client.close_connection()

    async def healthy(self) -> bool:
        """Whether OPA answers and has its bundle."""
        return bool(await self._client.check_health({"bundles": True}))

    async def query(self, path: str, body: bytes, limit: int) -> Reply | None:
        """POST to the Data API with strict builtin errors (a failing builtin is an error and not undefined).

        Args:
            path: of the rule, a constant of ours.
            body: ``{"input": …}`` as JSON.
            limit: bytes of the answer; None is returned where it is longer.

        Raises:
            EngineUnavailable: OPA is not there.
        """
        return await self._exchange("POST", f"data/{path}?strict-builtin-errors=true", body, limit)

    async def write(self, path: str, content: bytes, *, patch: bool = False) -> None:
        """PUT to the Data API, or PATCH (RFC 6902) of what is there.

        Args:
            path: of the data, a constant of ours.

        Raises:
            EngineUnavailable: OPA is not there.
            EngineMalformed: it does not take that.
        """
        reply = await self._exchange("PATCH" if patch else "PUT", f"data/{path}", content, _WORDS_BYTES)
        if reply is None or reply.status != 204:
            raise EngineMalformed(f"OPA does not take data at {path} ({reply.status if reply else 'a long answer'})")

    async def trace(self, path: str, body: bytes, limit: int) -> Reply | None:
        """As :meth:`query`, with every step of the evaluation as a line of text that says file and row.

        Raises:
            EngineUnavailable: OPA is not there.
        """
        options = "strict-builtin-errors=true&explain=full&pretty=true"
        return await self._exchange("POST", f"data/{path}?{options}", body, limit)

    async def modules(self, limit: int) -> list[dict[str, Any]]:
        """The compiled modules: {"id", "raw", "ast"}, references resolved and local variables renamed.

        Raises:
            EngineUnavailable: OPA is not there.
            EngineMalformed: the answer exceeds ``limit`` or is not what OPA documents.
        """
        reply = await self._exchange("GET", "policies", None, limit)
        if reply is None:
            raise EngineMalformed(f"the compiled policies exceed the limit policyTreeBytes ({limit})")
        try:
            result: list[dict[str, Any]] = msgspec.json.decode(reply.body, type=_Modules).result
        except (msgspec.MsgspecError, RecursionError) as error:
            raise EngineMalformed("OPA's list of policies has an unknown shape") from error
        return result

    async def exchange(self, method: str, path: str, body: bytes | None, limit: int) -> Reply | None:
        """Any call of OPA's API: ``path`` is what follows ``/v1/``, made of constants of ours and of hex digits. None
        where the answer exceeds ``limit``.

        Raises:
            EngineUnavailable: OPA is not there.
        """
        return await self._exchange(method, path, body, limit)

    async def revisions(self, path: str, limit: int) -> frozenset[str]:
        """What OPA says it answers from: the revisions of its bundles and that in the answer itself.

        Raises:
            EngineUnavailable: OPA is not there.
            EngineMalformed: it does not say.
        """
        reply = await self._exchange("POST", f"data/{path}?provenance=true", PROBE, limit)
        try:
            proof = msgspec.json.decode(reply.body if reply else b"", type=_Proof)
        except msgspec.MsgspecError as error:
            raise EngineMalformed("OPA does not say from which bundle it answers") from error
        return frozenset({proof.result.revision, *(bundle.revision for bundle in proof.provenance.bundles.values())})

    async def _exchange(self, method: str, path: str, body: bytes | None, limit: int) -> Reply | None:
        try:
            reply: Reply | None = await self._client.exchange(method, path, body, limit)
        except (aiohttp.ClientError, OSError, AttributeError, RuntimeError) as error:
            # AttributeError and RuntimeError: the session was closed by a switch or a shutdown meanwhile.
            raise EngineUnavailable(f"OPA is not there ({type(error).__name__})") from error
        return reply


class _Modules(msgspec.Struct):
    result: list[dict[str, Any]]


class _Bundle(msgspec.Struct):
    revision: str = ""


class _Provenance(msgspec.Struct):
    bundles: dict[str, _Bundle]


class _Answer(msgspec.Struct):
    revision: str


class _Proof(msgspec.Struct):
    result: _Answer
    provenance: _Provenance
