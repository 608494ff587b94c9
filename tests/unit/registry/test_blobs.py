"""Blobs as streams: large pieces, and a connection that breaks in the midst."""

import re

import pytest

from fakes.faulty import Answer, Asked, Route, serve_faulty
from fakes.registry import sha256
from portcullis.errors import Denied, DigestMismatch, Malformed, NotFound, RegistryError, TooLarge, Unreachable
from portcullis.registry.blobs import PIECE_BYTES
from unit.registry.clients import client

pytestmark = pytest.mark.anyio

LAYER = bytes(number % 251 for number in range(400_000))
PATH = f"/v2/acme/web/blobs/{sha256(LAYER)}"


def breaking(*cuts: int, ranges: bool = True, reset: bool = False, content: bytes = LAYER) -> Route:
    """A blob whose connection breaks after each of ``cuts`` bytes of a body, in turn, and then no more."""
    left = list(cuts)

    def route(asked: Asked) -> Answer:
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        start = int(wanted[1]) if wanted and ranges else 0
        body = content[start:]
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        status = 206 if start else 200
        if not left:
            return Answer(status, headers, body)
        return Answer(status, headers, body[: left.pop(0)], declared=len(body), reset=reset)

    return route


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cuts", [(100_000,), (1, 1), (200_000, 150_000), (0,), (0, 399_999)])
async def test_a_broken_connection_is_gone_on_with(cuts: tuple[int, ...], reset: bool) -> None:
    async with serve_faulty({PATH: breaking(*cuts, reset=reset)}) as server, client(server) as asking:
        assert b"".join(await asking.blob(sha256(LAYER))) == LAYER
        assert len(server.asked) == len(cuts) + 1
        if not reset:  # what is on its way when a connection is reset may be lost
            begun = [asked.headers.get("range") for asked in server.asked]
            places = [sum(cuts[: number + 1]) for number in range(len(cuts))]
            assert begun == [None, *(f"bytes={place}-" if place else None for place in places)]


async def test_only_so_often() -> None:
    async with serve_faulty({PATH: breaking(*[1000] * 9)}) as server, client(server, registry_attempts=4) as asking:
        with pytest.raises(Unreachable, match="broke while the blob"):
            await asking.blob(sha256(LAYER))
        assert len(server.asked) == 4


async def test_a_registry_that_cannot_send_the_rest() -> None:
    async with serve_faulty({PATH: breaking(1000, ranges=False)}) as server, client(server) as asking:
        with pytest.raises(Unreachable, match="does not send the rest"):
            await asking.blob(sha256(LAYER))
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (Answer(206, {"Content-Range": "bytes 0-999/400000"}, LAYER[:1000]), Malformed),  # another part
        (Answer(206, {}, LAYER[1000:]), Malformed),  # no word which part
        (Answer(206, {"Content-Range": "bytes 1000-399999/400000"}, bytes(399_000)), DigestMismatch),
        (Answer(206, {"Content-Range": "bytes 1000-399999/400000"}, LAYER[1000:] + b"x"), TooLarge),
        (Answer(416), Malformed),
        (Answer(404), NotFound),
        (Answer(403), Denied),
        (Answer(500), Unreachable),
    ],
)
async def test_a_rest_that_is_none(rest: Answer, error: type[RegistryError]) -> None:
    """What came first stays hashed and counted, so that no other bytes pass for the rest."""
    first = Answer(200, {}, LAYER[:1000], declared=len(LAYER))
    async with (
        serve_faulty({PATH: lambda asked: rest if "range" in asked.headers else first}) as server,
        client(server) as asking,
    ):
        with pytest.raises(RegistryError) as caught:
            await asking.blob(sha256(LAYER), limit=len(LAYER))
    assert type(caught.value) is error


async def test_a_stall_is_gone_on_with() -> None:
    stalled = Answer(200, {}, LAYER[:1000], declared=len(LAYER), stalls=True)
    good = breaking()
    assert callable(good)
    async with (
        serve_faulty({PATH: lambda asked: good(asked) if "range" in asked.headers else stalled}) as server,
        client(server, stall_seconds=0.2) as asking,
    ):
        assert b"".join(await asking.blob(sha256(LAYER))) == LAYER


async def test_a_stall_that_does_not_end() -> None:
    async with serve_faulty({PATH: Answer(silent=True)}) as server:
        async with client(server, stall_seconds=0.05, answer_seconds=60.0) as asking:
            with pytest.raises(Unreachable, match="in time, within the limit stallSeconds"):
                await asking.blob(sha256(LAYER))
        assert len(server.asked) == 3


async def test_a_layer_takes_the_time_it_needs() -> None:
    """No total bounds it but downloadSeconds: not the time for a document's answer, nor the flight's."""
    async with (
        serve_faulty({PATH: breaking(1000)}) as server,
        client(server, flight_seconds=1e-6, answer_seconds=1e-6) as asking,
    ):
        assert b"".join(await asking.blob(sha256(LAYER))) == LAYER


async def test_a_download_that_goes_on_for_too_long() -> None:
    async with (
        serve_faulty({PATH: Answer(200, {}, b"x" * 1000, endless=True)}) as server,
        client(server, download_seconds=1e-6) as asking,
    ):
        with pytest.raises(Unreachable, match="downloadSeconds"):
            await asking.blob(sha256(LAYER))


async def test_pieces_are_large() -> None:
    """However small the network makes them."""
    async with serve_faulty({PATH: Answer(body=LAYER, drip=7000)}) as server, client(server) as asking:
        pieces = await asking.blob(sha256(LAYER))
    assert b"".join(pieces) == LAYER
    assert len(pieces) > 1
    assert all(len(piece) >= PIECE_BYTES for piece in pieces[:-1])


async def test_an_empty_blob() -> None:
    path = f"/v2/acme/web/blobs/{sha256(b'')}"
    async with serve_faulty({path: Answer()}) as server, client(server) as asking:
        assert await asking.blob(sha256(b"")) == []
