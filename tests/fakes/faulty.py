"""An HTTP/1.1 server that does what a registry must not: to the byte, and it writes down what it was asked."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from fakes.listening import listening


@dataclass(frozen=True)
class Asked:
    """One request. Names of ``headers`` are in lower case; ``path`` is without its query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent.

    ``declared`` is the Content-Length where it lies; ``endless`` repeats the body for ever; ``silent`` sends
    nothing at all, and ``stalls`` nothing more after the body; ``drip`` sends the body in pieces of so many bytes, each
    of which can be read before the next is there, and ``pause`` seconds pass between them; ``hang_up`` closes the
    connection afterwards without having said so; ``reset`` does so rudely, before the answer is whole.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    declared: int | None = None
    endless: bool = False
    silent: bool = False
    stalls: bool = False
    drip: int = 0
    pause: float = 0.0
    hang_up: bool = False
    reset: bool = False


Route = Answer | Callable[[Asked], Answer]


def in_turn(*answers: Answer) -> Route:
    """A route that gives one answer after the other, and the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


NOT_FOUND = Answer(404, body=b"nothing here")


@dataclass
class FaultyServer:
    """Listens on 127.0.0.1; ``host`` and ``name`` are two names of it. What has no route gets
    ``default``, 404."""

    port: int = 0
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    default: Route = NOT_FOUND

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def authorizations(self, path: str) -> list[str | None]:
        return [asked.headers.get("authorization") for asked in self.asked if asked.path == path]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                route = self.routes.get(asked.path, self.default)
                answer = route(asked) if callable(route) else route
                await _write(writer, answer, head=asked.method == "HEAD")
                if answer.reset:
                    writer.transport.abort()
                    break
                if answer.hang_up or answer.endless or answer.declared is not None:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serve_faulty(
    routes: Mapping[str, Route] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FaultyServer]:
    """A server with these routes, which may be changed while it runs."""
    server = FaultyServer(routes=dict(routes or {}))
    async with listening(server.talk, tls=tls) as server.port:
        yield server


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Asked(method, path, query, headers, body)


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, head: bool) -> None:
    if answer.silent:
        await asyncio.Event().wait()
    headers = dict(answer.headers)
    if answer.endless:
        headers.setdefault("Transfer-Encoding", "chunked")
    elif not any(name.lower() in {"content-length", "transfer-encoding"} for name in headers):
        headers["Content-Length"] = str(len(answer.body) if answer.declared is None else answer.declared)
    lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    if not head:
        piece = answer.body
        while answer.endless:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        step = answer.drip or max(len(piece), 1)
        for start in range(0, len(piece), step):
            writer.write(piece[start : start + step])
            for _ in range(3 if answer.drip else 0):
                await asyncio.sleep(answer.pause / 3)
    await writer.drain()
    if answer.stalls:
        await asyncio.Event().wait()
