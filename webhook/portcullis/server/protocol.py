"""uvicorn's HTTP/1.1 protocol with what it lacks: bounds of a request's head in bytes and time, and of connections;
and the certificate that a client showed, which handlers find in the scope of each request."""

import asyncio
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.server.clientcertificates import PEER, PeerCertificate, peer_certificate


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that crosses a bound. A request whose head was read is never cut off here: the handler
    has a deadline of its own for the body."""

    limits: ClassVar[Limits] = DEFAULT_LIMITS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._silent_bytes = 0
        self._in_head = False
        self._got_body = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._peer: PeerCertificate | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = peer_certificate(transport.get_extra_info("ssl_object"))
        if len(self.connections) > self.limits.connections:
            transport.close()
            return
        # uvicorn arms this only after the first answer; a connection that never asks would stay for ever.
        self._arm_keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._got_body = False
        super().data_received(data)
        # httptools joins the pieces of one header itself, and tells of it only when it has ended.
        self._silent_bytes = 0 if self._got_body else self._silent_bytes + len(data)
        idle = self.cycle is None or self.cycle.response_complete
        if self._silent_bytes > self.limits.head_bytes and not (idle and not self._in_head):
            self.transport.close()
        elif idle and not self._in_head and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # Bytes that begin no request (empty lines) have disarmed it.
            self._arm_keep_alive()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._peer is not None:
            self.scope[PEER] = self._peer  # type: ignore[typeddict-unknown-key]
        self._head_bytes, self._silent_bytes, self._in_head = 0, 0, True
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._too_slow)

    def on_body(self, body: bytes) -> None:
        self._got_body = True
        super().on_body(body)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._in_head:  # trailers of a chunked body are no headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._end_head()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            # Leaves httptools as a parser error, which uvicorn answers 400 and closes.
            raise ValueError("the head of the request is too long")

    def _arm_keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.limits.keep_alive_seconds, self.timeout_keep_alive_handler
        )

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """The protocol with these limits: uvicorn makes one object of the class per connection."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
