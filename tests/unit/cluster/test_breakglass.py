"""What an object BreakGlass grants, and the watch over them by the real client on a server on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from fakes.apiserver import ApiServer, api_server
from fakes.patience import PATIENCE_SECONDS
from portcullis.cluster.breakglass import BREAK_GLASSES, STALE_SECONDS, Invalid, WatchedGrants, grant_of
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.grant import (
    IMAGE_CHARS,
    MOST_DIGESTS,
    MOST_IMAGES,
    MOST_POLICIES,
    POLICY_CHARS,
    REASON_CHARS,
    Grant,
)
from portcullis.times import rfc3339

pytestmark = pytest.mark.anyio

DEFINITION = Path(__file__).parents[3] / "charts/portcullis/templates/customresourcedefinition.yaml"
NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
METADATA = {"namespace": "shop", "name": "down", "uid": "u-1", "creationTimestamp": "2026-11-27T17:00:00Z"}
SPEC: Mapping[str, Any] = {
    "policies": ["image-user", "k8srequiredlabels.Owner", "*"],
    "images": ["registry.example/acme/**"],
    "digests": [DIGEST],
    "coversProblems": True,
    "reason": "payments must go out",
    "expires": "2026-11-27T19:00:00+01:00",
}


def break_glass(**spec: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "spec": {**SPEC, **spec}}


def test_what_it_says() -> None:
    assert grant_of(break_glass()) == Grant(
        namespace="shop",
        name="down",
        uid="u-1",
        policies=("image-user", "k8srequiredlabels.Owner", "*"),
        images=("registry.example/acme/**",),
        digests=(DIGEST,),
        covers_problems=True,
        reason="payments must go out",
        created=datetime(2026, 11, 27, 17, tzinfo=UTC),
        expires=datetime(2026, 11, 27, 18, tzinfo=UTC),
    )


def test_what_may_be_left_out() -> None:
    spec = {key: SPEC[key] for key in ("policies", "reason", "expires")}
    grant = grant_of({"metadata": METADATA, "spec": spec})
    assert isinstance(grant, Grant)
    assert (grant.images, grant.digests, grant.covers_problems, grant.for_images) == ((), (), False, False)


def test_one_that_is_still_to_be_made_is_created_now() -> None:
    unmade = {"metadata": {"namespace": "shop", "generateName": "down-"}, "spec": dict(SPEC)}
    grant = grant_of(unmade, now=NOW - timedelta(hours=2))
    assert isinstance(grant, Grant)
    assert (grant.created, grant.name, grant.uid) == (NOW - timedelta(hours=2), "", "")
    assert isinstance(grant_of(unmade), Invalid)


def test_the_longest_is_a_day_to_the_second() -> None:
    assert isinstance(grant_of(break_glass(expires="2026-11-28T17:00:00Z")), Grant)
    assert grant_of(break_glass(expires="2026-11-28T17:00:00.000001Z")) == Invalid(
        "spec.expires: more than 24 hours after the creation of the grant"
    )


WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "metadata: an object is expected"),
    "no spec": ({"metadata": METADATA}, "spec: an object is expected"),
    "no metadata": ({"spec": dict(SPEC)}, "metadata: an object is expected"),
    "no creation": (
        {**break_glass(), "metadata": {**METADATA, "creationTimestamp": None}},
        "metadata.creationTimestamp: a time",
    ),
    "no namespace": ({**break_glass(), "metadata": {**METADATA, "namespace": ""}}, "metadata.namespace: a text"),
    "a name that is no text": ({**break_glass(), "metadata": {**METADATA, "name": 1}}, "metadata.name: a text"),
    "being deleted": (
        {**break_glass(), "metadata": {**METADATA, "deletionTimestamp": "2026-11-27T17:30:00Z"}},
        "it is being deleted",
    ),
    "a field of a later version": (break_glass(kinds=["Pod"]), "spec.kinds: there is no such field"),
    "no policies": (break_glass(policies=[]), "spec.policies: names of policies are expected"),
    "policies that are no list": (break_glass(policies="*"), "spec.policies: a list of texts"),
    "a policy that is no text": (break_glass(policies=[1]), "spec.policies: a list of texts"),
    "a policy that is no name": (break_glass(policies=["a b"]), 'spec.policies: "a b" is no name'),
    "too many policies": (break_glass(policies=["a"] * (MOST_POLICIES + 1)), "spec.policies: 65 entries; 64 at most"),
    "too many images": (break_glass(images=["**"] * (MOST_IMAGES + 1)), "spec.images: 65 entries; 64 at most"),
    "too many digests": (break_glass(digests=[DIGEST] * (MOST_DIGESTS + 1)), "spec.digests: 65 entries; 64 at most"),
    "half of a segment": (break_glass(images=["registry.example/acme*"]), "spec.images: the image pattern"),
    "a pattern with a tag": (break_glass(images=["registry.example/acme/web:1"]), "spec.images: the image pattern"),
    "a long pattern": (break_glass(images=["registry.example/" + "a" * 600]), "spec.images: a pattern has more"),
    "a digest in capitals": (break_glass(digests=["sha256:" + "A" * 64]), 'spec.digests: "sha256:AAA'),
    "a flag that is a text": (break_glass(coversProblems="true"), "spec.coversProblems: true or false"),
    "no reason": (break_glass(reason=None), "spec.reason: a text of 10 to 500"),
    "a short reason": (break_glass(reason="  because    "), "spec.reason: a text of 10 to 500"),
    "a long reason": (break_glass(reason="a" * 501), "spec.reason: a text of 10 to 500"),
    "no end": (break_glass(expires=None), "spec.expires: a time"),
    "an end without a zone": (break_glass(expires="2026-11-27T18:00:00"), "spec.expires: a time"),
    "the zero time of Go": (break_glass(expires="0001-01-01T00:00:00Z"), "spec.expires: a time"),
    "an end before its beginning": (break_glass(expires="2026-11-27T17:00:00Z"), "spec.expires: not after"),
}


@pytest.mark.parametrize(("found", "why"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_grants_nothing_and_says_where(found: Any, why: str) -> None:
    read = grant_of(found)
    assert isinstance(read, Invalid)
    assert read.why.startswith(why)
    assert len(read.why) < 400


def test_the_definition_of_the_chart_has_the_same_bounds() -> None:
    lines = DEFINITION.read_text(encoding="utf-8").splitlines()
    tree = yaml.safe_load("\n".join(line for line in lines if "{{" not in line))
    spec = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields = spec["properties"]
    assert set(fields) == set(SPEC)
    assert spec["required"] == ["policies", "reason", "expires"]
    bounds = {name: (one.get("maxItems"), one.get("items", {}).get("maxLength")) for name, one in fields.items()}
    assert bounds["policies"] == (MOST_POLICIES, POLICY_CHARS)
    assert bounds["images"] == (MOST_IMAGES, IMAGE_CHARS)
    assert bounds["digests"][0] == MOST_DIGESTS
    assert (fields["reason"]["minLength"], fields["reason"]["maxLength"]) == REASON_CHARS


class Now:
    """A clock in the test's hands."""

    def __init__(self) -> None:
        self.instant = NOW

    def __call__(self) -> datetime:
        return self.instant


@asynccontextmanager
async def watching(
    client: Any, now: Callable[[], datetime], limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[WatchedGrants]:
    grants = WatchedGrants(client=client, limits=limits, now=now)
    task = asyncio.create_task(grants.watch.run())
    try:
        yield grants
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def put(server: ApiServer, name: str, namespace: str = "shop", *, hours: float = 2, **spec: Any) -> None:
    """A grant that ends in so many hours."""
    metadata = {"namespace": namespace, "creationTimestamp": rfc3339(NOW - timedelta(minutes=5))}
    ends = rfc3339(NOW + timedelta(hours=hours))
    server.put(BREAK_GLASSES.path, name, metadata=metadata, spec={**SPEC, "expires": ends, **spec})


def names(grants: WatchedGrants, namespace: str = "shop") -> list[str]:
    return [grant.name for grant in grants.of(namespace)]


async def test_they_come_go_and_end() -> None:
    now = Now()
    async with api_server() as (server, client):
        put(server, "b")
        put(server, "a", hours=1)
        put(server, "ended", hours=-0.01)
        put(server, "wrong", reason="no")
        async with watching(client, now) as grants:
            assert (names(grants), grants.problem) == ([], "not listed yet")
            await until(lambda: server.watches)
            assert (names(grants), names(grants, "other"), grants.problem) == (["a", "b"], [], "")
            assert grants.invalid == {("shop", "wrong"): "spec.reason: a text of 10 to 500 characters is expected"}
            assert [key[1] for key in grants.watch.objects] == ["a", "b", "wrong"]
            put(server, "c", namespace="other")
            await until(lambda: names(grants, "other") == ["c"])
            assert [grant.id for grant in grants.all()] == [
                "break-glass:other/c",
                "break-glass:shop/a",
                "break-glass:shop/b",
            ]
            now.instant = NOW + timedelta(hours=1)
            assert names(grants) == ["b"]
            server.remove(BREAK_GLASSES.path, "b")
            server.remove(BREAK_GLASSES.path, "wrong")
            await until(lambda: not grants.of("shop") and not grants.invalid)


async def test_one_that_is_being_deleted_is_revoked() -> None:
    async with api_server() as (server, client):
        put(server, "a")
        async with watching(client, Now()) as grants:
            await until(lambda: names(grants) == ["a"])
            await until(lambda: server.watches)
            found = server.objects[BREAK_GLASSES.path]["a"]
            metadata = {**found["metadata"], "deletionTimestamp": rfc3339(NOW), "finalizers": ["example.test/wait"]}
            server.put(BREAK_GLASSES.path, "a", metadata=metadata, spec=found["spec"])
            await until(lambda: not grants.of("shop"))
            assert grants.invalid["shop", "a"] == "it is being deleted, which revokes it"


async def test_after_silence_none_counts_until_the_api_server_is_heard_of_again() -> None:
    async with api_server() as (server, client):
        put(server, "a")
        async with watching(client, Now()) as grants:
            await until(lambda: names(grants) == ["a"])
            await until(lambda: server.watches)
            grants.watch._seen_at = time.monotonic() - STALE_SECONDS
            assert (grants.of("shop"), grants.all()) == ((), [])
            assert grants.problem == "the API server was not heard of for 120 seconds"
            server.bookmark(BREAK_GLASSES.path)
            await until(lambda: names(grants) == ["a"])


async def test_over_the_bound_of_a_namespace_none_of_it_counts() -> None:
    now = Now()
    async with api_server() as (server, client):
        for number in range(3):
            put(server, f"many-{number}", namespace="busy", hours=1 + number)
        put(server, "a")
        limits = replace(DEFAULT_LIMITS, grants_per_namespace=2)
        async with watching(client, now, limits) as grants:
            await until(lambda: server.watches)
            assert (names(grants, "busy"), names(grants), grants.crowded()) == ([], ["a"], ["busy"])
            now.instant = NOW + timedelta(hours=1)
            assert (names(grants, "busy"), grants.crowded()) == (["many-1", "many-2"], [])


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (replace(DEFAULT_LIMITS, watched_grants=1), "exceed the limit watchedGrants (1)"),
        (replace(DEFAULT_LIMITS, watched_grant_bytes=600), "exceed the limit watchedGrantBytes (600)"),
    ],
    ids=["objects", "bytes"],
)
async def test_over_the_bounds_of_all_none_counts(limits: Limits, says: str) -> None:
    async with api_server() as (server, client):
        put(server, "a")
        async with watching(client, Now(), limits) as grants:
            await until(lambda: names(grants) == ["a"])
            await until(lambda: server.watches)
            put(server, "b")
            await until(lambda: grants.problem)
            assert says in grants.problem
            assert grants.all() == []


async def test_where_the_cluster_has_no_such_kind_none_counts_and_it_is_said() -> None:
    async with api_server() as (server, client):
        server.faults = [lambda _: web.json_response({"kind": "Status", "code": 404}, status=404)] * 100
        async with watching(client, Now()) as grants:
            await until(lambda: "404" in grants.problem)
            assert grants.of("shop") == ()


async def test_they_are_asked_for_in_all_namespaces() -> None:
    async with api_server() as (server, client):
        async with watching(client, Now()) as grants:
            await asyncio.wait_for(grants.watch.synced.wait(), PATIENCE_SECONDS)
        assert {request.path for request in server.asked} == {"/apis/portcullis.dev/v1/breakglasses"}
