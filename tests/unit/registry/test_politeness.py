"""How a registry is treated that is busy, broken or slow, and that another one does not notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from fakes.faulty import Answer, FaultyServer, Route, in_turn, serve_faulty
from fakes.oci import blob_route, config_bytes, image_routes, index_bytes, listed, manifest_answer, manifest_bytes
from fakes.registry import AMD64, INDEX, MANIFEST, sha256
from portcullis.errors import Malformed, Throttled, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Credential, Repository
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher
from unit.registry.clients import Client, client

pytestmark = pytest.mark.anyio

MANIFEST_PATH = "/v2/acme/web/manifests/1"
GOOD = manifest_bytes(config_bytes())
BUSY = Answer(429, {"Retry-After": "3600"})


def spoilt(*first: Answer, path: str = MANIFEST_PATH) -> dict[str, Route]:
    """The routes of a good image; ``path`` gives other answers first."""
    routes = image_routes()
    good = routes[path]
    assert isinstance(good, Answer)
    return routes | {path: in_turn(*first, good)}


@pytest.mark.parametrize(
    "fault",
    [
        Answer(502),
        Answer(503),
        Answer(504),
        Answer(429),
        Answer(503, {"Retry-After": "0"}),
        Answer(429, {"Retry-After": "0"}),
        Answer(429, {"Retry-After": "Tue, 24 Nov 2015 12:00:00 GMT"}),
        Answer(200, {"Content-Type": MANIFEST}, GOOD[:20], declared=len(GOOD)),
        Answer(200, {"Content-Type": MANIFEST}, GOOD[:20], declared=len(GOOD), reset=True),
    ],
)
@pytest.mark.parametrize("path", [MANIFEST_PATH, f"/v2/acme/web/blobs/{sha256(config_bytes())}"])
async def test_what_may_pass_is_asked_for_again(fault: Answer, path: str) -> None:
    async with serve_faulty(spoilt(fault, fault, path=path)) as server, client(server) as asking:
        assert (await asking.resolve()).digest == sha256(GOOD)
        assert server.paths().count(path) == 3


@pytest.mark.parametrize("fault", [Answer(500), Answer(501), Answer(404), Answer(403), Answer(400)])
async def test_what_does_not_pass_is_not(fault: Answer) -> None:
    async with serve_faulty(spoilt(fault)) as server, client(server) as asking:
        await asking.failure()
        assert server.paths() == [MANIFEST_PATH]


@pytest.mark.parametrize(("attempts", "count"), [(1, 1), (3, 3)])
async def test_only_so_often(attempts: int, count: int) -> None:
    async with serve_faulty({MANIFEST_PATH: Answer(503)}) as server:
        async with client(server, registry_attempts=attempts) as asking:
            assert type(await asking.failure()) is Unreachable
        assert server.paths() == [MANIFEST_PATH] * count


async def test_a_token_endpoint_gets_its_attempts_too() -> None:
    async with serve_faulty() as server, client(server) as asking:
        demand = Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})
        for path, answer in image_routes().items():
            server.routes[path] = _guarded(answer, demand)
        server.routes["/token"] = in_turn(Answer(503), Answer(429), Answer(body=b'{"token":"t"}'))
        await asking.resolve()
        assert server.paths().count("/token") == 3


def _guarded(answer: Route, demand: Answer) -> Route:
    assert isinstance(answer, Answer)
    return lambda asked: answer if asked.headers.get("authorization") else demand


async def test_a_write_is_sent_once() -> None:
    async with serve_faulty({"/v2/acme/web/manifests/1": Answer(503)}) as server:
        names = frozenset({server.host})
        keychain = StaticKeychain(credentials={})
        push = Pusher(keychain=keychain, hosts=HostRules((), names, names), limits=Limits(backoff_seconds=0.001))
        with pytest.raises(Unreachable):
            await push.manifest(Repository(server.host, "acme/web"), "1", MANIFEST, GOOD)
        await push.aclose()
        assert [asked.method for asked in server.asked] == ["PUT"]


async def test_who_asks_to_be_left_alone_is() -> None:
    """By every request, until the time is over; nothing is waited for meanwhile."""
    async with serve_faulty({**image_routes(), MANIFEST_PATH: BUSY}) as server, client(server) as asking:
        first, second = await asking.failure(), await asking.failure()
        assert (type(first), type(second)) == (Throttled, Throttled)
        assert "HTTP 429" in first.message
        assert "left alone" in second.message
        with pytest.raises(Throttled):
            await asking.blob(sha256(config_bytes()))
        assert server.paths() == [MANIFEST_PATH]


async def test_a_token_endpoint_that_asks_for_it_is_left_alone() -> None:
    async with serve_faulty() as server, client(server) as asking:
        demand = Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})
        server.routes |= {MANIFEST_PATH: demand, "/token": BUSY}
        assert type(await asking.failure()) is Throttled
        assert type(await asking.failure()) is Throttled
        assert server.paths() == [MANIFEST_PATH, "/token"]


async def test_others_are_not_left_alone_with_it() -> None:
    """Registries count by account: another one may go on, and another host anyway."""

    class ByNamespace:
        async def credential(self, repository: Repository, access: Access) -> Credential:
            return Credential(access.namespace, "secret")

    async with serve_faulty({**image_routes(), MANIFEST_PATH: BUSY}) as server, serve_faulty(image_routes()) as other:
        names = frozenset({server.host, other.host})
        registry = HttpRegistry(
            keychain=ByNamespace(), hosts=HostRules((), names, names), platforms=(AMD64,), limits=Limits()
        )
        red, blue = Access("red"), Access("blue")
        reference = Client(registry, server.host).reference()
        with pytest.raises(Throttled):
            await registry.resolve(reference, red)
        server.routes |= image_routes()
        await registry.resolve(reference, blue)
        await registry.resolve(Client(registry, other.host).reference(), red)
        with pytest.raises(Throttled):
            await registry.resolve(reference, red)
        await registry.aclose()


async def test_a_request_that_waits_for_its_place_heeds_the_pause() -> None:
    """It was queued before the registry asked to be left alone."""
    children = [manifest_bytes(config_bytes(str(number))) for number in range(6)]
    routes: dict[str, Route] = {f"/v2/acme/web/manifests/{sha256(child)}": BUSY for child in children}
    routes[MANIFEST_PATH] = manifest_answer(index_bytes([listed(child, AMD64) for child in children]), INDEX)
    async with serve_faulty(routes) as server, client(server, registry_connections_per_host=1) as asking:
        assert type(await asking.failure()) is Throttled
        assert len(server.asked) == 2


async def test_only_so_many_requests_are_in_flight_to_one_host() -> None:
    children = [manifest_bytes(config_bytes(str(number))) for number in range(12)]
    routes = image_routes()
    for number, child in enumerate(children):
        routes |= {f"/v2/acme/web/manifests/{sha256(child)}": manifest_answer(child)}
        routes |= blob_route("acme/web", config_bytes(str(number)))
    routes[MANIFEST_PATH] = manifest_answer(index_bytes([listed(child, AMD64) for child in children]), INDEX)
    async with serve_faulty(routes) as server, client(server, registry_connections_per_host=3) as asking:
        image = await asking.resolve()
        assert [one.config.user for one in image.platforms] == [str(number) for number in range(12)]
        assert server.connections <= 3


@contextlib.asynccontextmanager
async def hanging(server: FaultyServer, asking: Client, count: int, wanted: int) -> AsyncIterator[None]:
    """While ``count`` requests wait for an answer of ``server``, ``wanted`` of which it has got."""
    tasks = [asyncio.create_task(asking.resolve()) for _ in range(count)]
    try:
        while len(server.asked) < wanted:
            await asyncio.sleep(0)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_host_that_never_answers_keeps_no_other_waiting() -> None:
    async with serve_faulty({MANIFEST_PATH: Answer(silent=True)}) as slow, serve_faulty(image_routes()) as quick:
        names = frozenset({slow.host, quick.host})
        rules = HostRules((), names, names)
        async with (
            client(slow, rules=rules, registry_connections_per_host=2) as asking,
            hanging(slow, asking, count=200, wanted=2),
        ):
            assert (await Client(asking.registry, quick.host).resolve()).digest == sha256(GOOD)
            assert len(slow.asked) == 2


async def test_layers_leave_room_for_manifests() -> None:
    """Half of the places at most are taken by blobs that are streamed."""
    layer = b"x" * 100
    path = f"/v2/acme/web/blobs/{sha256(layer)}"
    stalled = Answer(200, {}, layer[:10], declared=len(layer), stalls=True)
    async with (
        serve_faulty({**image_routes(), path: stalled}) as server,
        client(server, registry_connections_per_host=4) as asking,
    ):
        reading = [asyncio.create_task(asking.blob(sha256(layer))) for _ in range(10)]
        while server.paths().count(path) < 2:
            await asyncio.sleep(0)
        assert (await asking.resolve()).digest == sha256(GOOD)
        assert server.paths().count(path) == 2
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def test_a_body_that_always_ends_early_is_malformed_in_the_end() -> None:
    async with serve_faulty({MANIFEST_PATH: Answer(200, {}, GOOD[:20], declared=len(GOOD))}) as server:
        async with client(server) as asking:
            assert type(await asking.failure()) is Malformed
        assert len(server.asked) == 3
