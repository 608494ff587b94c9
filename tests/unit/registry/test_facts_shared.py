"""What a real registry on loopback is asked for, whoever and however many want it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.registry import AMD64, ARM64, MemoryRegistry, image_config
from portcullis.cli.demo.registry import create_registry, serve_loopback
from portcullis.errors import NotAllowed
from portcullis.limits import Limits
from portcullis.model.image import Access, Credential, Descriptor, ImageReference, Manifest, Repository, ResolvedImage
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.known import KnownContent
from portcullis.registry.push import Pusher

pytestmark = pytest.mark.anyio

LIMITS = Limits(tag_seconds=30)
PODS = [Access(f"namespace-{number % 10}", f"account-{number}") for number in range(100)]


class Counted:
    """A registry that counts what it is asked for, by method and what follows the repository's name."""

    def __init__(self) -> None:
        self._registry = create_registry()
        self.asked: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix("/v2/acme/web/")
        self.asked[f"{scope['method']} {path}"] += 1
        await self._registry(scope, receive, send)


@dataclass
class House:
    cache: CachingRegistry
    counted: Counted
    clock: StandingClock
    image: ResolvedImage
    attached: Descriptor

    def reference(self, tag: str) -> ImageReference:
        return ImageReference(self.image.reference.repository, tag, None)

    @property
    def content(self) -> dict[str, int]:
        """One request for each manifest and configuration of the image's platforms."""
        found = [f"GET manifests/{child.digest}" for child in self.image.platforms]
        return dict.fromkeys([*found, *(f"GET blobs/{child.config_digest}" for child in self.image.platforms)], 1)


@contextlib.asynccontextmanager
async def house(tags: tuple[str, ...] = ("1",), limits: Limits = LIMITS) -> AsyncIterator[House]:
    """An index for two platforms with something attached to it, pushed to a registry under each of ``tags``."""
    counted, clock, memory = Counted(), StandingClock(), MemoryRegistry()
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(serve_loopback(counted))
        place = Repository(host, "acme/web")
        configs = {AMD64: image_config("1"), ARM64: image_config("2")}
        image = memory.add_image(str(place), tags[0], configs=configs)
        keychain = StaticKeychain(credentials={host: Credential("gate", "secret")})
        hosts = HostRules(insecure=frozenset({host}), private=frozenset({host}))
        pusher = Pusher(keychain=keychain, hosts=hosts, limits=LIMITS)
        stack.push_async_callback(pusher.aclose)
        for content in memory.blobs_of(place):
            await pusher.blob(place, content)
        for manifest in memory.manifests_of(place):
            await pusher.manifest(place, manifest.digest, manifest.media_type, manifest.content)
        top = await memory.manifest(place, image.digest, Access())
        for tag in tags:
            await pusher.manifest(place, tag, top.media_type, top.content)
        attached = await pusher.attach(
            place,
            Descriptor(top.media_type, top.digest, len(top.content)),
            artifact_type="a/b",
            layer_media_type="a/b",
            content=b"signed",
            annotations={},
        )
        known = KnownContent(keychain=keychain, clock=clock, limits=limits)
        http = HttpRegistry(keychain=keychain, hosts=hosts, platforms=(AMD64, ARM64), limits=limits, known=known)
        stack.push_async_callback(http.aclose)
        cache = CachingRegistry(registry=http, keychain=keychain, clock=clock, limits=limits, known=known)
        stack.push_async_callback(cache.aclose)
        counted.asked.clear()
        yield House(cache, counted, clock, image, attached)


async def everything(at: House, access: Access) -> None:
    """What a decision about one pod asks of the registry."""
    image = await at.cache.resolve(at.reference("1"), access)
    assert image.platforms == at.image.platforms
    _, found = await at.cache.referrers(image, None, access)
    place = image.reference.repository
    for descriptor in found:
        await at.cache.manifest(place, descriptor.digest, access)
    layer = image.platforms[0].layers[0]
    assert [piece async for piece in at.cache.blob(place, layer.digest, layer.size, access)]


async def test_a_hundred_pods_of_a_new_image_cost_what_one_costs() -> None:
    async with house() as one, house() as many:
        await everything(one, PODS[0])
        await asyncio.gather(*(everything(many, access) for access in PODS))
        assert many.counted.asked == one.counted.asked
        assert many.counted.asked == {
            "GET manifests/1": 1,
            **many.content,
            f"GET referrers/{many.image.digest}": 1,
            f"GET manifests/{many.attached.digest}": 1,
            f"GET blobs/{many.image.platforms[0].layers[0].digest}": 1,
        }


async def test_tags_of_one_image_share_all_but_their_own_manifest() -> None:
    """At once, and one after the other."""
    tags = ("1", "1.4", "latest")
    async with house((*tags, "later")) as at:
        found = await asyncio.gather(*(at.cache.resolve(at.reference(tag), PODS[0]) for tag in tags))
        found.append(await at.cache.resolve(at.reference("later"), PODS[0]))
        assert [image.reference.tag for image in found] == [*tags, "later"]
        assert {image.digest for image in found} == {at.image.digest}
        assert at.counted.asked == {**{f"GET manifests/{tag}": 1 for tag in (*tags, "later")}, **at.content}


async def test_a_tag_that_is_asked_again_costs_one_request() -> None:
    async with house() as at:
        await at.cache.resolve(at.reference("1"), PODS[0])
        at.counted.asked.clear()
        at.clock.seconds += 31
        assert (await at.cache.resolve(at.reference("1"), PODS[0])).platforms == at.image.platforms
        assert at.counted.asked == {"GET manifests/1": 1}


async def test_a_digest_shares_with_its_tag() -> None:
    async with house() as at:
        place = at.image.reference.repository
        child = at.image.platforms[0]
        await at.cache.resolve(at.reference("1"), PODS[0])
        at.counted.asked.clear()
        alone = await at.cache.resolve(ImageReference(place, None, child.digest), PODS[1])
        assert alone.platforms[0].config == child.config
        assert at.counted.asked == {}


async def test_the_parts_of_an_image_need_no_places_of_their_own() -> None:
    async with house(limits=Limits(flights=1, flights_per_host=1)) as at:
        assert (await at.cache.resolve(at.reference("1"), PODS[0])).platforms == at.image.platforms


async def test_what_was_asked_of_a_mirror_is_kept_apart() -> None:
    """A name that only the list of mirrors allows must not be answered where a reference names it."""
    keychain = StaticKeychain(credentials={})
    known = KnownContent(keychain=keychain, clock=StandingClock(), limits=LIMITS)
    place = Repository("mirror.example", "acme/web")
    memory = MemoryRegistry()
    image = memory.add_image(str(place), "1")
    manifest = await memory.manifest(place, image.digest, Access())

    async def given() -> Manifest:
        return manifest

    async def refused() -> Manifest:
        raise NotAllowed("mirror.example is not listed")

    assert await known.manifest(place, image.digest, Access(), given, apart="mirror") == manifest
    assert await known.manifest(place, image.digest, Access(), refused, apart="mirror") == manifest
    with pytest.raises(NotAllowed):
        await known.manifest(place, image.digest, Access(), refused)
