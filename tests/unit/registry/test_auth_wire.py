"""Tokens of docker configs over real HTTP: the whole client, a registry, and a token endpoint by POST."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import image_routes
from fakes.registry import AMD64
from portcullis.errors import Denied, Malformed, RegistryError, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, IdentityToken, ImageReference, RegistryCredential, RegistryToken, Repository
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain

pytestmark = pytest.mark.anyio

MANIFEST_PATH = "/v2/acme/web/manifests/1"


def guard(server: FaultyServer, token: str) -> None:
    """Every route of the image demands that token."""
    for path, answer in image_routes().items():
        assert isinstance(answer, Answer)

        def route(asked: Asked, answer: Answer = answer) -> Answer:
            if asked.headers.get("authorization") == f"Bearer {token}":
                return answer
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token",service="r"'})

        server.routes[path] = route


async def resolve(server: FaultyServer, credential: RegistryCredential) -> str:
    names = frozenset({server.host})
    registry = HttpRegistry(
        keychain=StaticKeychain(credentials={f"{server.host}/acme": credential}),
        hosts=HostRules((), names, names),
        platforms=(AMD64,),
        limits=Limits(token_bytes=1000),
    )
    try:
        return (await registry.resolve(ImageReference(Repository(server.host, "acme/web"), "1", None), Access())).digest
    finally:
        await registry.aclose()


def oauth() -> Callable[[Asked], Answer]:
    """The endpoint of https://distribution.github.io/distribution/spec/auth/oauth/: exactly that form."""

    def route(asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode(), strict_parsing=True).items()}
        wanted = {
            "grant_type": "refresh_token",
            "service": "r",
            "client_id": "portcullis",
            "scope": "repository:acme/web:pull",
            "refresh_token": "re&fresh =",
        }
        if asked.method != "POST" or form != wanted or asked.query:
            return Answer(400, body=b'{"error":"invalid_request"}')
        if asked.headers["content-type"] != "application/x-www-form-urlencoded" or "authorization" in asked.headers:
            return Answer(400)
        return Answer(body=json.dumps({"access_token": "t0ken", "expires_in": 60, "scope": form["scope"]}).encode())

    return route


async def test_an_identity_token_by_post() -> None:
    async with serve_faulty() as server:
        guard(server, "t0ken")
        server.routes["/token"] = oauth()
        assert await resolve(server, IdentityToken("re&fresh ="))
        assert server.authorizations(MANIFEST_PATH) == [None, "Bearer t0ken"]


async def test_a_registry_token_as_it_is() -> None:
    async with serve_faulty() as server:
        guard(server, "access")
        assert await resolve(server, RegistryToken("access"))
        assert server.authorizations(MANIFEST_PATH) == [None, "Bearer access"]
        assert "/token" not in server.paths()


async def test_a_registry_token_that_is_refused() -> None:
    async with serve_faulty() as server:
        guard(server, "another")
        with pytest.raises(Denied):
            await resolve(server, RegistryToken("access"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(400, body=b'{"error":"invalid_grant"}'), Denied),
        (Answer(405), Denied),
        (Answer(500), Unreachable),
        (Answer(307, {"Location": "/other"}), Malformed),
        (Answer(body=b"garbage"), Malformed),
        (Answer(body=b"{}"), Malformed),
    ],
)
async def test_a_refresh_token_that_is_not_taken(answer: Answer, error: type[RegistryError]) -> None:
    async with serve_faulty({"/other": oauth()}) as server:
        guard(server, "t0ken")
        server.routes["/token"] = answer
        with pytest.raises(RegistryError) as caught:
            await resolve(server, IdentityToken("re&fresh ="))
        assert type(caught.value) is error
        assert "fresh" not in caught.value.message
        assert "/other" not in server.paths()
