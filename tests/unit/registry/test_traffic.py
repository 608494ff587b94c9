"""Requests to registries are counted under names of the configuration, and under no other."""

import asyncio

import pytest

from fakes.faulty import Answer, serve_faulty
from fakes.oci import image_routes
from fakes.registry import AMD64
from portcullis.errors import (
    CredentialUnavailable,
    Denied,
    DigestMismatch,
    Malformed,
    NotAllowed,
    NotFound,
    RegistryError,
    Throttled,
    TooLarge,
    Unreachable,
)
from portcullis.limits import Limits
from portcullis.model.image import Access, ImageReference, Repository
from portcullis.registry.faults import Passing
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.traffic import HOSTS, OTHER, OUTCOMES, Traffic, outcome_of

pytestmark = pytest.mark.anyio

NAMES = [
    ("docker.io", "docker.io"),
    ("index.docker.io", "docker.io"),
    ("registry.example", "registry.example"),
    ("REGISTRY.example:443", "registry.example"),
    ("registry.example:5000", "registry.example:5000"),
    ("one.example:5000", "one.example"),
    ("five.example:5000", "five.example:5000"),
    ("five.example", OTHER),
    ("made-up.example", OTHER),
    ("registry.example.evil", OTHER),
    ("", OTHER),
]


@pytest.mark.parametrize(("registry", "name"), NAMES)
def test_a_host_is_counted_under_the_entry_that_covers_it(registry: str, name: str) -> None:
    entries = ["docker.io", "registry.example", "registry.example:5000", "one.example", "five.example:5000"]
    assert Traffic(entries).name(registry) == name


def test_whoever_writes_pods_adds_no_series() -> None:
    traffic = Traffic([f"listed-{number}.example" for number in range(HOSTS + 10)])
    for number in range(HOSTS + 10):
        for registry in (f"listed-{number}.example", f"made-up-{number}.example"):
            with traffic.request(registry) as begun:
                begun()
    assert len(traffic.requests) == len(traffic.seconds) == HOSTS + 1
    assert traffic.requests[OTHER, "ok"] == HOSTS + 20


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Throttled("m"), "throttled"),
        (Passing(Throttled("m")), "throttled"),
        (Unreachable("m"), "unreachable"),
        (Denied("m"), "denied"),
        (NotFound("m"), "not-found"),
        (Malformed("m"), "malformed"),
        (DigestMismatch("m"), "malformed"),
        (TooLarge("m"), "too-large"),
        (NotAllowed("m"), "not-allowed"),
        (CredentialUnavailable("m"), "no-credential"),
        (RegistryError("m"), "failed"),
        (ValueError("m"), "failed"),
        (asyncio.CancelledError(), "stopped"),
        (GeneratorExit(), "stopped"),
    ],
)
def test_outcomes(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome
    assert outcome in OUTCOMES


async def test_every_attempt_of_the_client_is_counted() -> None:
    async with serve_faulty() as server:
        server.routes |= image_routes()
        traffic = Traffic([server.host])
        names = frozenset({server.host, server.name})
        registry = HttpRegistry(
            keychain=StaticKeychain(credentials={}),
            hosts=HostRules((), names, names),
            platforms=(AMD64,),
            limits=Limits(flight_seconds=5.0, backoff_seconds=0.001, registry_attempts=2),
            traffic=traffic,
        )
        try:
            web = Repository(server.host, "acme/web")
            await registry.resolve(ImageReference(web, "1", None), Access())
            with pytest.raises(NotFound):
                await registry.resolve(ImageReference(web, "2", None), Access())
            server.routes["/v2/acme/web/manifests/3"] = Answer(429, {})
            with pytest.raises(Throttled):
                await registry.resolve(ImageReference(web, "3", None), Access())
            closed = Repository("127.0.0.1:1", "acme/web")
            with pytest.raises(NotAllowed):
                await registry.resolve(ImageReference(closed, "1", None), Access())
        finally:
            await registry.aclose()
    ok = traffic.requests.pop((server.host, "ok"))
    assert ok >= 2  # the manifest and what it names
    assert traffic.requests == {
        (server.host, "not-found"): 1,
        (server.host, "throttled"): 2,
        (OTHER, "not-allowed"): 1,
    }
    assert {host: one.count for host, one in traffic.seconds.items()} == {server.host: ok}
