"""Sockets, servers and signals of the running program."""

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.server.protocol import bounded_protocol


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would end the process its own way."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def server(app: Any, tls: ssl.SSLContext | None, *, drain_seconds: int, limits: Limits) -> Server:
    """A server of HTTP/1.1 and nothing else, over TLS where a context is given."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(limits),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(limits.keep_alive_seconds)),
        timeout_graceful_shutdown=drain_seconds,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    return Server(config)


@asynccontextmanager
async def running(server: Server, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serves until the end of the block, then lets requests in flight finish."""
    task = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            raise ConfigError("a port was opened and closed again at once")
        yield task
    finally:
        ready.cancel()
        server.should_exit = True
        await task


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def bound(address: str, port: int) -> Iterator[socket.socket]:
    """A socket that has the address already and does not listen yet.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"the address {address!r} cannot be used: {error.strerror}") from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and address == "::":
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(where)
        except OSError as error:
            raise ConfigError(f"{address}, port {port}, cannot be listened on: {error.strerror}") from None
        yield listener


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def on_hangup(action: Callable[[], object]) -> None:
    """Has the event loop call ``action`` on SIGHUP, by which log rotation says that it has moved a file."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, action)


def on_stop_signal(action: Callable[[signal.Signals], object]) -> None:
    """Has the event loop call ``action`` on SIGTERM and SIGINT; replaces what was set before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, action, number)
