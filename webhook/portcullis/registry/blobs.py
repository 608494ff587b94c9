"""Blobs as streams: hashed as they come, and gone on with where a connection breaks."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from aiohttp import ClientResponse

from portcullis.errors import Malformed, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Digest
from portcullis.registry.bodies import read_pieces
from portcullis.registry.digests import Checksum
from portcullis.registry.faults import Passing, shown
from portcullis.registry.transport import Call, Transport

PIECE_BYTES: Final = 64 * 1024
"""What a piece has at least, but for the last: handing on costs the same for a small one."""


async def stream_blob(
    transport: Transport, call: Call, digest: Digest, *, limit: int, named: str, limits: Limits
) -> AsyncGenerator[bytes, None]:
    """The blob that ``call`` reads, in pieces of 64 KiB and more; its digest is checked at the end.

    A connection that breaks or stalls (``stall_seconds``) is followed by a request for the rest (RFC 9110, section
    14.2), as long as the registry takes it: at most ``registry_attempts`` requests and ``download_seconds`` in all.
    What came before stays hashed, so that bytes of another blob would show at the end.

    Args:
        limit: bytes; ``named`` says in messages which limit that is.

    Raises:
        TooLarge: the blob is longer.
        DigestMismatch: at the end: it is another one.
        RegistryError: what else goes wrong.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + limits.download_seconds
    checksum = Checksum(digest)
    received = 0
    held: list[bytes] = []
    holding = 0
    for attempt in itertools.count(1):
        rest = {"Range": f"bytes={received}-"} if received else {}
        try:
            async with transport.attempt(replace(call, headers={**call.headers, **rest})) as response:
                if received:
                    _require_rest(response, received, call.what)
                async for piece in read_pieces(response, limit - received, call.what, named):
                    checksum.update(piece)
                    received += len(piece)
                    held.append(piece)
                    holding += len(piece)
                    if holding >= PIECE_BYTES:
                        yield held[0] if len(held) == 1 else b"".join(held)
                        held.clear()
                        holding = 0
                    if loop.time() > until:
                        raise _too_slow(call, limits)
            break
        except Passing as fault:
            await transport.retries.wait(_broken(fault, call), attempt, until)
    if held:
        yield b"".join(held)
    checksum.check(call.what)


def _require_rest(response: ClientResponse, received: int, what: str) -> None:
    where = shown(response.url)
    if response.status != 206:
        raise Unreachable(f"the connection to {where} broke while {what} was read, and it does not send the rest alone")
    if not response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
        raise Malformed(f"{where} sends another part of {what} than was asked for")


def _broken(fault: Passing, call: Call) -> Passing:
    """A body that ended early is an outage here: there was a good beginning of it."""
    if isinstance(fault.error, Malformed):
        return Passing(
            Unreachable(f"the connection to {call.repository.registry} broke while {call.what} was read"), fault.wait
        )
    return fault


def _too_slow(call: Call, limits: Limits) -> Unreachable:
    return Unreachable(
        f"{call.repository.registry} did not deliver {call.what} within the limit downloadSeconds of "
        f"{limits.download_seconds:g}"
    )
