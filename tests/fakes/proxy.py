"""A forward proxy on loopback: CONNECT for hosts with TLS, whole addresses for the others."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from fakes.listening import listening


@dataclass
class ForwardProxy:
    """``asked`` are the request lines it got, ``authorizations`` what came with them. ``ways`` maps ``host:port`` to a
    port of loopback, as only the proxy knows it; for others it answers 502. ``demands`` is the Proxy-Authorization that
    it wants, "" for none."""

    port: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    demands: str = ""
    asked: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines if one)
                }
                self.asked.append(line)
                self.authorizations.append(headers.get("proxy-authorization", ""))
                if not await self._serve(line, head, reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve(self, line: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on with another request."""
        if self.demands and self.authorizations[-1] != self.demands:
            return _refuse(writer, b"407 Proxy Authentication Required")
        method, target, _ = line.split(" ")
        host = target if method == "CONNECT" else target.split("/")[2]
        if host not in self.ways:
            return _refuse(writer, b"502 Bad Gateway")
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.ways[host])
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _tunnel(reader, writer, upstream_reader, upstream)
                return False
            upstream.write(head.replace(target.encode(), b"/" + target.split("/", 3)[3].encode(), 1))
            await _one_answer(upstream_reader, writer)
            return True
        finally:
            upstream.close()


@contextlib.asynccontextmanager
async def serve_proxy(ways: Mapping[str, int] | None = None, *, demands: str = "") -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy(ways=dict(ways or {}), demands=demands)
    async with listening(proxy.talk) as proxy.port:
        yield proxy


def _refuse(writer: asyncio.StreamWriter, status: bytes) -> bool:
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    return True


async def _one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    assert length is not None
    writer.write(head + await reader.readexactly(int(length[1])))
    await writer.drain()


async def _tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream: asyncio.StreamWriter,
) -> None:
    """Until one of the two sides is done."""
    pipes = [asyncio.create_task(_pipe(reader, upstream)), asyncio.create_task(_pipe(upstream_reader, writer))]
    await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
    for pipe in pipes:
        pipe.cancel()
    await asyncio.gather(*pipes, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
