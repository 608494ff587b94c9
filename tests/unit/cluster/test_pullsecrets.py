"""Pull secrets and service accounts: watched where they are listed, asked for by name where the watch is late, bounded,
and nothing of a namespace that is not listed. RBAC itself is tried on a real API server in tests/e2e."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server, watched
from portcullis.cluster.pullsecrets import LEGACY_TYPE, TYPE, PullSecretPlace, WatchedPullSecrets, watches_needed
from portcullis.errors import CredentialUnavailable
from portcullis.limits import Limits
from portcullis.model.image import NoPullSecret
from portcullis.registry.dockerconfig import parse_docker_config

pytestmark = pytest.mark.anyio

SECRETS = "/api/v1/namespaces/shop/secrets"
ACCOUNTS = "/api/v1/namespaces/shop/serviceaccounts"
SHOP = [PullSecretPlace("shop")]
NAMED = [PullSecretPlace("shop", ("pull", "other"))]
LOGIN = b'{"auths": {"registry.example": {"username": "ci", "password": "s3cret"}}}'
LATER = b'{"auths": {"registry.example": {"username": "ci", "password": "later"}}}'


def put(server: ApiServer, name: str, content: bytes | None = LOGIN, kind: str = TYPE, namespace: str = "shop") -> None:
    key = ".dockercfg" if kind == LEGACY_TYPE else ".dockerconfigjson"
    data = {key: base64.b64encode(content).decode()} if content is not None else {}
    path = f"/api/v1/namespaces/{namespace}/secrets"
    server.put(path, name, kind="Secret", type=kind, data={**data, "more": base64.b64encode(b"x" * 5000).decode()})


def account(server: ApiServer, name: str, *secrets: Any) -> None:
    named = {"imagePullSecrets": [{"name": secret} for secret in secrets]} if secrets else {}
    server.put(ACCOUNTS, name, kind="ServiceAccount", **named)


@asynccontextmanager
async def reading(
    client: Any,
    places: Sequence[PullSecretPlace] = SHOP,
    limits: Limits = Limits(),  # noqa: B008
    *,
    running: bool = True,
    **more: Any,
) -> AsyncIterator[WatchedPullSecrets]:
    secrets = WatchedPullSecrets(client=client, places=places, limits=limits, seconds=2, **more)
    tasks = [asyncio.create_task(watch.run()) for watch in secrets.watches if running]
    try:
        if running:
            await until(lambda: all(w.synced.is_set() or w.problem != "not listed yet" for w in secrets.watches))
        yield secrets
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def why(secrets: WatchedPullSecrets, name: str) -> str:
    found = await secrets.secret("shop", name)
    assert isinstance(found, NoPullSecret), found
    assert "s3cret" not in found.why
    return found.why


async def test_every_docker_config_of_a_listed_namespace_and_nothing_else_of_it() -> None:
    async with api_server() as (server, client):
        put(server, "pull")
        put(server, "other", kind="Opaque")
        put(server, "pull", LATER, namespace="bank")
        async with reading(client) as secrets:
            assert await secrets.secret("shop", "pull") == LOGIN
            assert secrets.asked == 0
            (watch, _) = secrets.watches
            assert list(watch.objects) == [("shop", "pull")]
            assert watch.bytes < 250  # the docker config alone
            assert {request.query.get("fieldSelector") for request in server.asked if "secrets" in request.path} == {
                f"type={TYPE}"
            }
            assert secrets.unread("shop") == ""
            said = secrets.unread("bank")
            assert "namespace bank" in said
            assert "pullSecrets in the values of the chart (cluster.pullSecrets in portcullis.yaml)" in said
            assert not any("bank" in request.path for request in server.asked)


async def test_named_secrets_are_watched_one_by_one() -> None:
    async with api_server() as (server, client):
        put(server, "pull")
        put(server, "hidden")
        async with reading(client, NAMED) as secrets:
            assert await secrets.secret("shop", "pull") == LOGIN
            asked = [request for request in server.asked if request.path.startswith(SECRETS)]
            assert {request.query["fieldSelector"] for request in asked} == {
                "metadata.name=pull",
                "metadata.name=other",
            }
            assert "lists others of the namespace shop" in await why(secrets, "hidden")
            assert await why(secrets, "other") == 'there is no Secret "other" in the namespace shop'
            assert not any("hidden" in request.path for request in server.asked)
            await until(lambda: len(server.watches) == 3)
            put(server, "other", LATER)
            await until(lambda: sum(len(watch.objects) for watch in secrets.watches) == 2)
            assert await secrets.secret("shop", "other") == LATER  # what was remembered of it is forgotten


async def test_a_rotated_and_a_deleted_secret_count_no_longer_as_soon_as_the_watch_says_so() -> None:
    async with api_server() as (server, client):
        put(server, "pull")
        async with reading(client) as secrets:
            await until(lambda: len(server.watches) == 2)
            assert await secrets.secret("shop", "pull") == LOGIN
            put(server, "pull", LATER)
            await until(
                lambda: secrets.watches[0].objects["shop", "pull"]["config"] == base64.b64encode(LATER).decode()
            )
            assert await secrets.secret("shop", "pull") == LATER
            server.remove(SECRETS, "pull")
            await until(lambda: not secrets.watches[0].objects)
            assert "there is no Secret" in await why(secrets, "pull")


async def test_one_of_just_now_is_asked_for_by_name_once_and_believed_for_a_moment() -> None:
    async with api_server() as (server, client):
        put(server, "pull")
        async with reading(client, running=False) as secrets:
            found = await asyncio.gather(*[secrets.secret("shop", "pull") for _ in range(30)])
            assert set(found) == {LOGIN}
            assert secrets.asked <= 8  # as many as are asked for at once
            asked = secrets.asked
            for _ in range(20):
                await why(secrets, "made-up")
            assert secrets.asked == asked + 1
        async with reading(client, limits=Limits(lookup_seconds=0.05), running=False) as secrets:
            assert "there is no Secret" in await why(secrets, "new")
            put(server, "new")
            await asyncio.sleep(0.1)
            assert await secrets.secret("shop", "new") == LOGIN


NO_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "opaque": ({"kind": "Opaque"}, "is of type Opaque, and not of kubernetes.io/dockerconfigjson"),
    "empty": ({"content": None}, "has no entry .dockerconfigjson"),
    "old and empty": ({"content": None, "kind": LEGACY_TYPE}, "has no entry .dockercfg"),
    "large": ({"content": LOGIN + b" " * 1000}, "has more bytes than the limit dockerConfigBytes of 1000"),
    "hostile type": ({"kind": "a\u202eb\n" + "x" * 300}, "is of type a"),
}


@pytest.mark.parametrize(("secret", "said"), NO_CONFIGS.values(), ids=NO_CONFIGS)
async def test_a_secret_that_is_no_docker_config_says_so_and_nothing_of_what_it_holds(
    secret: dict[str, Any], said: str
) -> None:
    async with api_server() as (server, client):
        put(server, "pull", **secret)
        async with reading(client, limits=Limits(docker_config_bytes=1000)) as secrets:
            found = await why(secrets, "pull")
            assert found.startswith(f'the Secret "pull" {said}')
            assert len(found) < 300
            assert found.isprintable()


async def test_what_is_no_base64() -> None:
    async with api_server() as (server, client):
        server.put(SECRETS, "pull", kind="Secret", type=TYPE, data={".dockerconfigjson": "s3cret!"})
        async with reading(client) as secrets:
            assert await why(secrets, "pull") == 'the Secret "pull" holds no base64'


async def test_the_older_type_is_read_by_name() -> None:
    async with api_server() as (server, client):
        put(server, "pull", json.dumps(json.loads(LOGIN)["auths"]).encode(), LEGACY_TYPE)
        for places in (SHOP, NAMED):
            async with reading(client, places) as secrets:
                content = await secrets.secret("shop", "pull")
                assert isinstance(content, bytes)
                assert parse_docker_config(content, Limits()) == parse_docker_config(LOGIN, Limits())


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "UPPER", "a" * 300, "x\n"])
async def test_names_that_are_none_are_never_asked_for(name: str) -> None:
    async with api_server() as (server, client), reading(client) as secrets:
        asked = len(server.asked)
        assert "there is no Secret" in await why(secrets, name)
        assert await secrets.of_service_account("shop", name) == ()
        assert not any(watched(request) is False for request in server.asked[asked:])


async def test_a_role_that_is_missing_is_said_and_is_no_outage() -> None:
    async with api_server() as (server, client):
        put(server, "pull")
        server.forbidden = lambda _: True
        async with reading(client) as secrets:
            assert "the gate may not read the Secret" in await why(secrets, "pull")
            assert "403" in secrets.watches[0].problem
            assert await secrets.of_service_account("shop", "robot") == ()


async def test_what_was_not_heard_of_for_long_is_asked_for_anew() -> None:
    """So long, at most, a deleted one counts."""
    async with api_server() as (server, client):
        put(server, "pull")
        account(server, "robot", "pull")
        async with reading(client, stale_seconds=0.0) as secrets:
            assert await secrets.secret("shop", "pull") == LOGIN
            assert await secrets.of_service_account("shop", "robot") == ("pull",)
            assert secrets.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(text="x"),
        lambda: web.json_response({"kind": "Pod"}),
        lambda: web.json_response([]),
    ],
)
async def test_an_api_server_that_fails_is_an_outage_and_never_no_secret(answer: Callable[[], web.Response]) -> None:
    async with api_server() as (server, client), reading(client) as secrets:
        await until(lambda: len(server.watches) == 2)
        server.faults += [lambda _: answer(), lambda _: answer()]
        with pytest.raises(CredentialUnavailable, match=r'the pull secret "pull" of the namespace shop cannot be'):
            await secrets.secret("shop", "pull")
        with pytest.raises(CredentialUnavailable, match=r'the service account "robot" of the namespace shop cannot'):
            await secrets.of_service_account("shop", "robot")


async def test_service_accounts_name_their_pull_secrets() -> None:
    async with api_server() as (server, client):
        account(server, "robot", "one", "two", 3, "")
        account(server, "default")
        server.put(ACCOUNTS, "odd", kind="ServiceAccount", imagePullSecrets=["x", None, {"name": "three"}])
        async with reading(client) as secrets:
            assert await secrets.of_service_account("shop", "robot") == ("one", "two")
            assert await secrets.of_service_account("shop", "odd") == ("three",)
            assert await secrets.of_service_account("shop", "default") == ()
            assert await secrets.of_service_account("shop", "gone") == ()
            watch = secrets.watches[-1]
            assert sorted(name for _, name in watch.objects) == ["odd", "robot"]  # of the others nothing is kept
            await until(lambda: len(server.watches) == 2)
            account(server, "default", "late")
            await until(lambda: len(watch.objects) == 3)
            assert await secrets.of_service_account("shop", "default") == ("late",)
            account(server, "robot")
            await until(lambda: len(watch.objects) == 2)
            assert await secrets.of_service_account("shop", "robot") == ()


async def test_over_a_bound_each_is_asked_for_and_other_namespaces_are_none_the_worse() -> None:
    limits = Limits(watched_pull_secrets=2, watched_service_accounts=2)
    async with api_server() as (server, client):
        for number in range(3):
            put(server, f"pull{number}")
            account(server, f"robot{number}", "pull0")
        put(server, "pull", LATER, namespace="bank")
        async with reading(client, [*SHOP, PullSecretPlace("bank")], limits) as secrets:
            assert [watch.over for watch in secrets.watches] == [True, True, False, False]
            problems = " ".join(watch.problem for watch in secrets.watches)
            assert "limit watchedPullSecrets (2)" in problems
            assert "limit watchedServiceAccounts (2)" in problems
            assert await secrets.secret("shop", "pull2") == LOGIN
            assert await secrets.of_service_account("shop", "robot2") == ("pull0",)
            assert secrets.asked == 2
            assert await secrets.secret("bank", "pull") == LATER
            assert secrets.asked == 2


async def test_bytes_are_bounded_in_what_is_watched_and_in_what_is_remembered() -> None:
    limits = Limits(watched_pull_secret_bytes=2000, watched_service_account_bytes=100)
    async with api_server() as (server, client):
        for number in range(30):
            put(server, f"pull{number}", LOGIN + b" " * 300)
            account(server, f"robot{number}", "pull0")
        async with reading(client, limits=limits) as secrets:
            problems = " ".join(watch.problem for watch in secrets.watches)
            assert "limit watchedPullSecretBytes (2000)" in problems
            assert "limit watchedServiceAccountBytes (100)" in problems
            for number in range(30):
                assert await secrets.secret("shop", f"pull{number}") == LOGIN + b" " * 300
            lookups = secrets._namespaces["shop"]._lookups
            assert 0 < lookups._used <= 2000
            assert lookups._used == sum(kept.size for kept in lookups._remembered.values())
            assert secrets.asked == 30


def test_watches_are_counted() -> None:
    assert watches_needed([]) == 0
    assert watches_needed([*SHOP, *NAMED]) == 2 + 3
