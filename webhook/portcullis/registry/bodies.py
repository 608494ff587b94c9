"""Bodies of answers, bounded."""

from collections.abc import AsyncIterator

from aiohttp import ClientResponse

from portcullis.errors import TooLarge


async def read_pieces(response: ClientResponse, limit: int, what: str, named: str) -> AsyncIterator[bytes]:
    """The body as it comes.

    Args:
        limit: bytes; ``named`` says in the message which limit that is.

    Raises:
        TooLarge: the body is longer, or says so beforehand.
    """
    if (response.content_length or 0) > limit:
        raise TooLarge(f"{what} has {response.content_length} bytes, more than {named}")
    total = 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > limit:
            raise TooLarge(f"{what} has more bytes than {named}")
        yield piece


async def read_body(response: ClientResponse, limit: int, what: str, named: str) -> bytes:
    """The whole body, bounded as in :func:`read_pieces`."""
    body = bytearray()
    async for piece in read_pieces(response, limit, what, named):
        body += piece
    return bytes(body)
