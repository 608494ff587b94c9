"""What may sit between a client and a PostgreSQL server: TLS, and a network that loses things at the worst moment."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fakes.listening import listening

_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
"""https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest"""


@dataclass
class Between:
    """Forwards to the server at ``server``, a port of loopback.

    ``losing`` is what the next COMMIT suffers: ``"answer"``, it reaches the server and the connection is cut before the
    answer is back; ``"silence"``, the same and nothing is cut, only silent for ever; ``"commit"``, the connection is
    cut before it reaches the server. ``closed`` lets nobody in.
    """

    server: int
    tls: ssl.SSLContext | None = None
    port: int = 0
    losing: str = ""
    lost: list[str] = field(default_factory=list)
    closed: bool = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.close()
            return
        if self.tls is not None:
            if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                writer.close()
                return
            writer.write(b"S")
            await writer.drain()
            try:
                await writer.start_tls(self.tls)
            except (ConnectionError, ssl.SSLError):  # the client does not like our certificate
                return
        there, back = await asyncio.open_connection("127.0.0.1", self.server)
        try:
            asking = asyncio.ensure_future(self._ask(reader, back))
            answering = asyncio.ensure_future(_pump(there, writer))
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and asking.exception() is None and asking.result() == "silence":
                answering.cancel()
                await asyncio.Event().wait()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            asking.cancel()
            answering.cancel()
            back.close()
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while content := await reader.read(64 * 1024):
            losing = self.losing if b"COMMIT" in content else ""
            if losing:
                self.losing = ""
                self.lost.append(losing)
            if losing != "commit":
                writer.write(content)
                await writer.drain()
            if losing:
                return losing
        return ""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(64 * 1024):
        writer.write(content)
        await writer.drain()


@contextlib.asynccontextmanager
async def between(server: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Between]:
    """Something in between, until the end of the block."""
    one = Between(server, tls)
    async with listening(one.talk) as one.port:
        yield one
