"""Bounds of the HTTP protocol over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.lifecycle import bound, running, server

pytestmark = pytest.mark.anyio

ASK = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[int]:
    with bound("127.0.0.1", 0) as listener:
        async with running(server(echo, None, drain_seconds=1, limits=limits), listener):
            yield listener.getsockname()[1]


async def exchange(port: int, *pieces: bytes) -> bytes:
    """What comes back until the server closes; at most three seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await asyncio.wait_for(reader.read(), 3)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_share_a_connection() -> None:
    async with served() as port:
        answered = await exchange(port, ASK, ASK, ASK.replace(b"Host", b"Connection: close\r\nHost"))
    assert answered.count(b"HTTP/1.1 200") == 3
    assert b"server:" not in answered.lower()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 40_000 + b"\r\n\r\n"],
        [b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"],
        [b"GET / HTTP/1.1\r\nA: ", *[b"b" * 10_000] * 200],
        [b"GET /", *[b"b" * 10_000] * 200],
        [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", *[b"b" * 10_000] * 200],
    ],
    ids=["long url", "long header", "many headers", "endless header", "endless url", "endless trailer"],
)
async def test_an_endless_head_is_cut_off(pieces: list[bytes]) -> None:
    async with served() as port:
        answered = await exchange(port, *pieces)
        assert not answered.startswith(b"HTTP/1.1 2")
        assert (await exchange(port, ASK.replace(b"Host", b"Connection: close\r\nHost"))).endswith(b"abc")


async def test_the_limit_of_a_head() -> None:
    ask = ASK.replace(b"Host", b"Connection: close\r\nA: " + b"b" * 1000 + b"\r\nHost")
    async with served(Limits(head_bytes=2000)) as port:
        assert (await exchange(port, ask)).startswith(b"HTTP/1.1 200")
    async with served(Limits(head_bytes=1000)) as port:
        assert not (await exchange(port, ask)).startswith(b"HTTP/1.1 2")


async def test_a_large_body_is_no_head() -> None:
    body = b"x" * 1_000_000
    async with served() as port:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        answered = await exchange(port, head + body)
    assert answered.endswith(body)


@pytest.mark.parametrize("start", [b"", b"\r\n\r\n", b"GET / HT"], ids=["nothing", "empty lines", "half a head"])
async def test_a_connection_that_never_asks_is_closed(start: bytes) -> None:
    async with served(Limits(head_seconds=0.2, keep_alive_seconds=0.2)) as port:
        assert await exchange(port, start) == b""


async def test_connections_are_counted() -> None:
    async with served(Limits(connections=1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        assert (await reader.readuntil(b"abc")).startswith(b"HTTP/1.1 200")
        assert await exchange(port, ASK) == b""
        writer.write(ASK)
        assert (await reader.readuntil(b"abc")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_what_is_no_http_is_answered_and_closed() -> None:
    async with served() as port:
        assert (await exchange(port, b"\x16\x03\x01\x02\x00")).startswith(b"HTTP/1.1 400")


async def test_an_address_that_is_taken_says_so() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="cannot be listened on"),
        bound("127.0.0.1", taken.getsockname()[1]),
    ):
        pass
