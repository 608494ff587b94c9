"""Calls an ASGI application as a server would, piece by piece, and records the answer."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answered:
    """``status`` is 0 where the application answered nothing."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def response(self) -> Any:
        """The AdmissionResponse of an AdmissionReview."""
        assert self.status == 200, self.body
        return self.json["response"]


async def hanging(*pieces: bytes) -> AsyncIterator[bytes]:
    """Gives the pieces and then nothing more, for ever."""
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


async def call(
    app: Any,
    path: str = "/validate",
    body: Iterable[bytes] | AsyncIterable[bytes] = (),
    *,
    method: str = "POST",
    query: bytes = b"",
    headers: Mapping[str, str] | None = None,
    gone: bool = False,
) -> Answered:
    """One request. ``gone``: the client closes the connection after the pieces instead of ending the body."""
    answered = Answered()
    pieces = aiter(body) if isinstance(body, AsyncIterable) else aiter(_each(body))
    ended = False

    async def receive() -> dict[str, Any]:
        nonlocal ended
        if ended:
            await asyncio.Event().wait()  # nothing more comes from a client that waits for its answer
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            ended = not gone
            return {"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not answered.status, "two answers"
            answered.status = message["status"]
            answered.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answered.body += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "https",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8443),
    }
    await app(scope, receive, send)
    return answered


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
