"""Tokens and credentials over real HTTP: who is asked for one, who gets one, and who never does."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import image_routes
from fakes.registry import AMD64
from portcullis.errors import Denied, Malformed, NotAllowed, RegistryError, Throttled, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Credential, ImageReference, Repository
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
CI = Credential("ci", "correct-horse")
BASIC = "Basic " + base64.b64encode(b"ci:correct-horse").decode()
MANIFEST_PATH = "/v2/acme/web/manifests/1"


def token(value: str = "t0ken", **more: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": value, **more}).encode())


def challenge(realm: str, more: str = ',service="registry",scope="repository:acme/web:pull,push,delete"') -> Answer:
    return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"{more}'})


def guard(server: FaultyServer, demand: Answer, accepted: Callable[[str], bool]) -> None:
    """Every route of the image demands authorization."""
    for path, answer in image_routes().items():
        assert isinstance(answer, Answer)

        def route(asked: Asked, answer: Answer = answer) -> Answer:
            return answer if accepted(asked.headers.get("authorization", "")) else demand

        server.routes[path] = route


@dataclass
class Client:
    registry: HttpRegistry
    host: str

    async def resolve(self, access: Access = NOBODY) -> str:
        reference = ImageReference(Repository(self.host, "acme/web"), "1", None)
        return (await self.registry.resolve(reference, access)).digest

    async def failure(self) -> RegistryError:
        with pytest.raises(RegistryError) as caught:
            await self.resolve()
        assert CI.password not in caught.value.message
        assert BASIC not in caught.value.message
        return caught.value


@contextlib.asynccontextmanager
async def client(
    *servers: FaultyServer, credential: Credential | None = None, rules: HostRules | None = None, host: str = ""
) -> AsyncIterator[Client]:
    """Of the first server; all of them are private and without TLS."""
    names = frozenset(name for server in servers for name in (server.host, server.name))
    host = host or servers[0].host
    registry = HttpRegistry(
        keychain=StaticKeychain(credentials={host: credential} if credential else {}),
        hosts=rules or HostRules((), names, names),
        platforms=(AMD64,),
        limits=Limits(flight_seconds=5.0, token_bytes=1000),
    )
    try:
        yield Client(registry, host)
    finally:
        await registry.aclose()


async def test_an_open_registry_never_sees_the_credential() -> None:
    async with serve_faulty(image_routes()) as server, client(server, credential=CI) as registry:
        await registry.resolve()
        assert server.authorizations(MANIFEST_PATH) == [None]


async def test_basic_is_asked_for_once_and_then_kept() -> None:
    async with serve_faulty() as server, client(server, credential=CI) as registry:
        guard(server, Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}), lambda sent: sent == BASIC)
        await registry.resolve()
        await registry.resolve()
        assert server.authorizations(MANIFEST_PATH) == [None, BASIC, BASIC]


@pytest.mark.parametrize("credential", [None, CI])
async def test_a_token_for_the_needed_scope_and_no_more(credential: Credential | None) -> None:
    async with serve_faulty() as server, client(server, credential=credential) as registry:
        guard(server, challenge(f"http://{server.host}/token?account=x"), lambda sent: sent == "Bearer t0ken")
        server.routes["/token"] = token()
        await registry.resolve()
        await registry.resolve()
        (asked,) = [asked for asked in server.asked if asked.path == "/token"]
        assert asked.query == "account=x&scope=repository:acme/web:pull&service=registry"
        assert asked.headers.get("authorization") == (BASIC if credential else None)
        assert server.authorizations(MANIFEST_PATH) == [None, "Bearer t0ken", "Bearer t0ken"]


async def test_an_access_token_by_its_other_name() -> None:
    async with serve_faulty() as server, client(server) as registry:
        guard(server, challenge(f"http://{server.host}/token", ""), lambda sent: sent == "Bearer other")
        server.routes["/token"] = Answer(body=b'{"access_token":"other","expires_in":300,"issued_at":"now"}')
        await registry.resolve()


async def test_a_token_that_is_refused_later_is_renewed_once() -> None:
    async with serve_faulty() as server, client(server) as registry:
        valid = ["one"]
        guard(server, challenge(f"http://{server.host}/token"), lambda sent: sent == f"Bearer {valid[0]}")
        server.routes["/token"] = lambda _: token(valid[0])
        await registry.resolve()
        valid[0] = "two"
        await registry.resolve()
        assert server.authorizations(MANIFEST_PATH) == [None, "Bearer one", "Bearer one", "Bearer two"]


async def test_a_token_that_is_never_accepted_ends_in_denied() -> None:
    async with serve_faulty() as server, client(server, credential=CI) as registry:
        guard(server, challenge(f"http://{server.host}/token"), lambda sent: False)
        server.routes["/token"] = token()
        assert type(await registry.failure()) is Denied
        assert len(server.authorizations(MANIFEST_PATH)) == 2


async def test_tokens_are_kept_by_credential() -> None:
    """Two tenants of one registry: neither is served with the token of the other."""

    class ByNamespace:
        async def credential(self, repository: Repository, access: Access) -> Credential:
            return Credential(access.namespace, "secret")

    async with serve_faulty() as server:
        names = frozenset({server.host})
        registry = HttpRegistry(
            keychain=ByNamespace(), hosts=HostRules((), names, names), platforms=(AMD64,), limits=Limits()
        )
        guard(server, challenge(f"http://{server.host}/token"), lambda sent: sent.startswith("Bearer"))
        server.routes["/token"] = lambda asked: token(asked.headers["authorization"].removeprefix("Basic "))
        reader = Client(registry, server.host)
        for namespace in ("red", "blue", "red"):
            await reader.resolve(Access(namespace))
        await registry.aclose()
        red, blue = (f"Bearer {base64.b64encode(name + b':secret').decode()}" for name in (b"red", b"blue"))
        assert server.authorizations(MANIFEST_PATH) == [None, red, None, blue, red]


async def test_a_token_endpoint_on_a_foreign_host_gets_no_credential() -> None:
    """localhost is no part of 127.0.0.1; it is asked, but as nobody."""
    async with serve_faulty() as server, serve_faulty({"/token": token()}) as foreign:
        async with client(server, foreign, credential=CI) as registry:
            guard(server, challenge(f"http://{foreign.name}/token"), lambda sent: sent == "Bearer t0ken")
            await registry.resolve()
        assert foreign.authorizations("/token") == [None]


async def test_a_token_endpoint_at_a_private_address_is_not_asked() -> None:
    async with serve_faulty() as server, serve_faulty({"/token": token()}) as inner:
        hosts = frozenset({server.host})
        async with client(server, rules=HostRules((), hosts, hosts), credential=CI) as registry:
            guard(server, challenge(f"http://{inner.name}/token"), lambda sent: False)
            assert type(await registry.failure()) is NotAllowed
        assert inner.connections == 0


async def test_redirects_of_a_token_endpoint_are_not_followed() -> None:
    async with serve_faulty() as server, client(server, credential=CI) as registry:
        guard(server, challenge(f"http://{server.host}/token"), lambda sent: False)
        server.routes["/token"] = Answer(302, {"Location": f"http://{server.host}/other"})
        server.routes["/other"] = token()
        assert type(await registry.failure()) is Malformed
        assert "/other" not in server.paths()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), Denied),
        (Answer(403), Denied),
        (Answer(404), Denied),
        (Answer(429), Throttled),
        (Answer(500), Unreachable),
        (Answer(body=b"not json"), Malformed),
        (Answer(body=b"{}"), Malformed),
        (Answer(body=b'{"token":7}'), Malformed),
        (Answer(body=b'{"token":"a\\r\\nX-Evil: 1"}'), Malformed),
        (Answer(body=b'{"token":"ok","expires_in":"soon"}'), Malformed),
        (Answer(body=b"[" * 500), Malformed),
        (Answer(body=b'{"token":' + b"[" * 50 + b"]" * 50 + b"}"), TooLarge),
        (Answer(body=b" " * 2000), TooLarge),
        (Answer(body=b" " * 100, endless=True), TooLarge),
    ],
)
async def test_token_endpoints_that_fail(answer: Answer, error: type[RegistryError]) -> None:
    async with serve_faulty() as server, client(server, credential=CI) as registry:
        guard(server, challenge(f"http://{server.host}/token"), lambda sent: False)
        server.routes["/token"] = answer
        assert type(await registry.failure()) is error


@pytest.mark.parametrize(
    "realm", ["", "/token", "ftp://auth.example/", "https://ci:pw@auth.example/", "https://[", "//x"]
)
async def test_realms_that_are_no_address(realm: str) -> None:
    async with serve_faulty() as server, client(server, credential=CI) as registry:
        guard(server, challenge(realm), lambda sent: False)
        assert type(await registry.failure()) is Malformed
