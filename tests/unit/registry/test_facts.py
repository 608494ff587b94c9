"""The cache: what is asked once, what is asked again, and what one tenant never sees of another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.registry import AMD64, ARM64, MemoryRegistry, image_config, sha256
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
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Anonymous,
    Credential,
    Descriptor,
    Digest,
    ImageReference,
    Manifest,
    Repository,
    ResolvedImage,
)
from portcullis.registry.facts import CachingRegistry

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
TAGGED = ImageReference(PLACE, "1", None)
RED, BLUE, OPEN = Access("red"), Access("blue"), Access("")
LIMITS = Limits(tag_seconds=30, failure_seconds=5)


class ByNamespace:
    """A Keychain: a credential per namespace, none for ""; "scarlet" has the same one as "red"."""

    async def credential(self, repository: Repository, access: Access) -> Credential | Anonymous:
        name = {"scarlet": "red"}.get(access.namespace, access.namespace)
        return Credential(name, "secret") if name else Anonymous()


@dataclass
class Held:
    """A Registry whose answers wait until they are let go. ``asked`` are those that have begun."""

    memory: MemoryRegistry
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Access] = field(default_factory=list)
    cancelled: int = 0

    async def _wait(self, access: Access) -> None:
        self.asked.append(access)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        await self._wait(access)
        return await self.memory.resolve(reference, access)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        await self._wait(access)
        return await self.memory.referrers(image, artifact_type, access)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        await self._wait(access)
        return await self.memory.tagged(repository, tag, access)

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        await self._wait(access)
        return await self.memory.manifest(repository, digest, access)

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        await self._wait(access)
        async for piece in self.memory.blob(repository, digest, limit, access):
            yield piece


@dataclass
class House:
    cache: CachingRegistry
    memory: MemoryRegistry
    clock: StandingClock
    held: Held

    async def blob(self, digest: Digest, limit: int = 1000, access: Access = OPEN) -> bytes:
        return b"".join([piece async for piece in self.cache.blob(PLACE, digest, limit, access)])


@contextlib.asynccontextmanager
async def house(limits: Limits = LIMITS, *, held: bool = False) -> AsyncIterator[House]:
    memory, clock = MemoryRegistry(), StandingClock()
    holder = Held(memory)
    registry = holder if held else memory
    cache = CachingRegistry(registry=registry, keychain=ByNamespace(), clock=clock, limits=limits)
    try:
        yield House(cache, memory, clock, holder)
    finally:
        await cache.aclose()


async def begun(held: Held, count: int = 1) -> None:
    while len(held.asked) < count:
        await asyncio.sleep(0)


async def test_a_tag_is_believed_for_its_time_and_then_asked_again() -> None:
    async with house() as at:
        first = at.memory.add_image("registry.example/acme/web", "1", user="1")
        assert await at.cache.resolve(TAGGED, OPEN) == first
        second = at.memory.add_image("registry.example/acme/web", "1", user="2")
        at.clock.seconds += 29
        assert await at.cache.resolve(TAGGED, OPEN) == first
        at.clock.seconds += 2
        assert await at.cache.resolve(TAGGED, OPEN) == second
        assert at.memory.calls == [f"resolve {TAGGED}"] * 2


async def test_a_digest_is_asked_for_once() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        for written in (ImageReference(PLACE, None, image.digest), ImageReference(PLACE, "other", image.digest)):
            assert (await at.cache.resolve(written, OPEN)).reference == written
            at.clock.seconds += 10_000
        assert len(at.memory.calls) == 1


async def test_a_tag_that_was_resolved_makes_its_digest_known() -> None:
    async with house() as at:
        image = at.memory.add_image(
            "registry.example/acme/web", "1", configs={AMD64: image_config(), ARM64: image_config()}
        )
        await at.cache.resolve(TAGGED, OPEN)
        pinned = ImageReference(PLACE, "1", image.digest)
        assert (await at.cache.resolve(pinned, OPEN)).platforms == image.platforms
        assert len(at.memory.calls) == 1


async def test_manifests_and_blobs_are_fetched_once() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        layer = image.platforms[0].layers[0].digest
        for _ in range(2):
            assert (await at.cache.manifest(PLACE, image.digest, OPEN)).digest == image.digest
            assert await at.blob(layer) == b"layer"
            at.clock.seconds += 10_000
        assert len(at.memory.calls) == 2


async def test_a_list_of_referrers_is_believed_for_its_time() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        assert await at.cache.referrers(image, None, OPEN) == (CarrierKind.REFERRER, ())
        added = at.memory.add_referrer(image, "a/b", "a/b", b"x")
        assert await at.cache.referrers(image, None, OPEN) == (CarrierKind.REFERRER, ())
        assert await at.cache.referrers(image, "a/b", OPEN) == (CarrierKind.REFERRER, (added,))
        at.clock.seconds += 31
        assert await at.cache.referrers(image, None, OPEN) == (CarrierKind.REFERRER, (added,))


FAILURES = Limits(
    failure_seconds=5,
    missing_failure_seconds=10,
    denied_failure_seconds=20,
    throttled_failure_seconds=30,
    malformed_failure_seconds=40,
    throttle_seconds=50,
)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unreachable("as it was"), 5),
        (CredentialUnavailable("as it was"), 5),
        (NotFound("as it was"), 10),
        (Denied("as it was"), 20),
        (Throttled("as it was"), 30),
        (Throttled("as it was", retry_after=7), 7),
        (Throttled("as it was", retry_after=3600), 50),
        (Malformed("as it was"), 40),
        (DigestMismatch("as it was"), 40),
        (TooLarge("as it was"), 40),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RegistryError) else str(value),
)
async def test_a_failure_is_remembered_by_its_class(error: RegistryError, seconds: float) -> None:
    async with house(FAILURES) as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        at.memory.fail("registry.example", error)
        for passed in (0, 1, seconds - 1.5):
            at.clock.seconds += passed
            with pytest.raises(RegistryError) as caught:
                await at.cache.resolve(TAGGED, OPEN)
            assert (type(caught.value), caught.value.message) == (type(error), "as it was")
            assert caught.value is not error
        assert len(at.memory.calls) == 1
        at.memory.fail("registry.example", None)
        at.clock.seconds += 1
        assert await at.cache.resolve(TAGGED, OPEN) == image


async def test_a_remembered_throttling_says_how_long_is_left() -> None:
    async with house() as at:
        at.memory.fail("registry.example", Throttled("slowly", retry_after=60))
        left = []
        for _ in range(2):
            with pytest.raises(Throttled) as caught:
                await at.cache.resolve(TAGGED, OPEN)
            left.append(caught.value.retry_after)
            at.clock.seconds += 20
        assert left == [60, 40]


async def test_what_the_operators_list_forbids_is_decided_anew() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        at.memory.fail("registry.example", NotAllowed("not listed"))
        with pytest.raises(NotAllowed):
            await at.cache.resolve(TAGGED, OPEN)
        at.memory.fail("registry.example", None)
        assert await at.cache.resolve(TAGGED, OPEN) == image


async def test_nothing_passes_from_one_credential_to_another() -> None:
    """Facts, tags, lists and failures; equal credentials share."""
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        layer = image.platforms[0].layers[0].digest

        async def ask(access: Access) -> None:
            await at.cache.resolve(TAGGED, access)
            await at.cache.resolve(ImageReference(PLACE, None, image.digest), access)
            await at.cache.manifest(PLACE, image.digest, access)
            await at.cache.referrers(image, None, access)
            await at.blob(layer, access=access)

        await ask(RED)
        calls = len(at.memory.calls)
        await ask(Access("scarlet"))
        assert len(at.memory.calls) == calls
        for access in (BLUE, OPEN):
            await ask(access)
        assert len(at.memory.calls) == 3 * calls


async def test_a_denial_is_not_served_to_another_tenant() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        at.memory.fail("registry.example", Denied("not you"))
        with pytest.raises(Denied):
            await at.cache.resolve(TAGGED, RED)
        at.memory.fail("registry.example", None)
        assert await at.cache.resolve(TAGGED, BLUE) == image
        with pytest.raises(Denied):
            await at.cache.resolve(TAGGED, RED)


async def test_private_facts_need_an_access_of_ones_own() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        pinned = ImageReference(PLACE, None, image.digest)
        await at.cache.resolve(pinned, RED)
        at.memory.fail("registry.example", Denied("not you"))
        with pytest.raises(Denied):
            await at.cache.resolve(pinned, BLUE)
        assert (await at.cache.resolve(pinned, RED)).digest == image.digest


async def test_a_repository_is_part_of_every_key() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        await at.cache.resolve(TAGGED, OPEN)
        await at.cache.manifest(PLACE, image.digest, OPEN)
        other = Repository("registry.example", "acme/other")
        with pytest.raises(NotFound):
            await at.cache.resolve(ImageReference(other, "1", image.digest), OPEN)
        with pytest.raises(NotFound):
            await at.cache.manifest(other, image.digest, OPEN)


Ask = Callable[[House, Access], Coroutine[Any, Any, Any]]
IMAGE = MemoryRegistry().add_image("registry.example/acme/web", "1")
LAYER = IMAGE.platforms[0].layers[0].digest
ASKS: dict[str, Ask] = {
    "resolve": lambda at, access: at.cache.resolve(TAGGED, access),
    "referrers": lambda at, access: at.cache.referrers(IMAGE, None, access),
    "manifest": lambda at, access: at.cache.manifest(PLACE, IMAGE.digest, access),
    "blob": lambda at, access: at.blob(LAYER, 1000, access),
}


@pytest.fixture(params=ASKS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return ASKS[request.param]


async def test_one_flight_for_all_who_ask_alike(ask: Ask) -> None:
    async with house(held=True) as at:
        at.memory.add_image("registry.example/acme/web", "1")
        waiting = [asyncio.create_task(ask(at, access)) for access in (RED, RED, Access("scarlet"), BLUE)]
        await begun(at.held, 2)
        at.held.go.set()
        await asyncio.gather(*waiting)
        assert sorted(access.namespace for access in at.held.asked) == ["blue", "red"]


async def test_a_flight_outlives_those_who_wait(ask: Ask) -> None:
    async with house(held=True) as at:
        at.memory.add_image("registry.example/acme/web", "1")
        waiting = asyncio.create_task(ask(at, RED))
        await begun(at.held)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        at.held.go.set()
        await ask(at, RED)
        assert (len(at.held.asked), at.held.cancelled) == (1, 0)


async def test_one_who_gives_up_does_not_disturb_the_others(ask: Ask) -> None:
    async with house(held=True) as at:
        at.memory.add_image("registry.example/acme/web", "1")
        hasty, patient = (asyncio.create_task(ask(at, RED)) for _ in range(2))
        await begun(at.held)
        await asyncio.sleep(0)
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        at.held.go.set()
        assert await patient is not None
        assert len(at.held.asked) == 1


async def test_a_failure_reaches_all_who_wait(ask: Ask) -> None:
    async with house(held=True) as at:
        at.memory.fail("registry.example", Unreachable("down"))
        waiting = [asyncio.create_task(ask(at, RED)) for _ in range(2)]
        await begun(at.held)
        at.held.go.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["down", "down"]
        assert outcomes[0] is not outcomes[1]


async def test_a_flight_has_its_own_end(ask: Ask) -> None:
    async with house(Limits(flight_seconds=0.05), held=True) as at:
        with pytest.raises(Unreachable, match="flightSeconds"):
            await ask(at, RED)
        assert at.held.cancelled == 1


async def test_closing_ends_every_flight(ask: Ask) -> None:
    async with house(held=True) as at:
        waiting = asyncio.create_task(ask(at, RED))
        await begun(at.held)
        await at.cache.aclose()
        with pytest.raises(Unreachable, match="shut-down"):
            await waiting
        assert at.held.cancelled == 1


async def test_flights_are_counted(ask: Ask) -> None:
    async with house(Limits(flights=2), held=True) as at:
        waiting = [asyncio.create_task(ask(at, Access(name))) for name in ("one", "two")]
        await begun(at.held, 2)
        with pytest.raises(Unreachable, match="as many as may be"):
            await ask(at, Access("three"))
        at.memory.add_image("registry.example/acme/web", "1")
        at.held.go.set()
        await asyncio.gather(*waiting)
        await ask(at, Access("three"))


async def test_one_registry_does_not_take_all_flights() -> None:
    async with house(Limits(flights=6, flights_per_host=2), held=True) as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        slow = [ImageReference(Repository("slow.example", f"acme/{number}"), "1", None) for number in range(3)]
        waiting = [asyncio.create_task(at.cache.resolve(reference, OPEN)) for reference in slow[:2]]
        await begun(at.held, 2)
        with pytest.raises(Unreachable, match=r"from slow\.example"):
            await at.cache.resolve(slow[2], OPEN)
        other = asyncio.create_task(at.cache.resolve(TAGGED, OPEN))
        await begun(at.held, 3)
        at.held.go.set()
        assert (await other).digest == image.digest
        await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(NotFound):  # there is room again
            await at.cache.resolve(slow[2], OPEN)


async def test_the_bytes_of_facts_are_bounded() -> None:
    async with house(Limits(fact_cache_bytes=8000)) as at:
        image = at.memory.add_image(
            "registry.example/acme/web", "1", layers=[bytes([number]) * 1000 for number in range(20)]
        )
        layers = [layer.digest for layer in image.platforms[0].layers]
        for layer in layers:
            await at.blob(layer)
        at.memory.calls.clear()
        await at.blob(layers[-1])
        assert at.memory.calls == []
        await at.blob(layers[0])
        assert at.memory.calls == [f"blob {layers[0]}"]


async def test_what_is_used_stays_longest() -> None:
    async with house(Limits(fact_cache_bytes=8000)) as at:
        image = at.memory.add_image(
            "registry.example/acme/web", "1", layers=[bytes([number]) * 1000 for number in range(20)]
        )
        first, *others = [layer.digest for layer in image.platforms[0].layers]
        for layer in others:
            await at.blob(first)
            await at.blob(layer)
        assert at.memory.calls.count(f"blob {first}") == 1


async def test_a_fact_that_is_too_large_is_not_kept_and_still_answered() -> None:
    async with house(Limits(fact_cache_bytes=800)) as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        for _ in range(2):
            assert await at.cache.resolve(ImageReference(PLACE, None, image.digest), OPEN) is not None
        assert len(at.memory.calls) == 2


async def test_a_blob_that_may_be_too_large_is_passed_through() -> None:
    async with house(Limits(fact_cache_bytes=4000)) as at:
        at.memory.add_image("registry.example/acme/web", "1")
        for _ in range(2):
            assert await at.blob(sha256(b"layer"), 1001) == b"layer"
        assert len(at.memory.calls) == 2


async def test_the_limit_of_one_reader_is_not_that_of_another() -> None:
    async with house() as at:
        at.memory.add_image("registry.example/acme/web", "1")
        with pytest.raises(TooLarge):
            await at.blob(sha256(b"layer"), 4)
        assert await at.blob(sha256(b"layer"), 5) == b"layer"
        with pytest.raises(TooLarge):
            await at.blob(sha256(b"layer"), 4)


async def test_tags_and_failures_are_counted() -> None:
    async with house(Limits(remembered_entries=10)) as at:
        for number in range(30):
            with pytest.raises(NotFound):
                await at.cache.resolve(ImageReference(PLACE, str(number), None), OPEN)
        at.memory.calls.clear()
        for number in (29, 20, 0):
            with pytest.raises(NotFound):
                await at.cache.resolve(ImageReference(PLACE, str(number), None), OPEN)
        assert at.memory.calls == [f"resolve {PLACE}:0"]


async def test_the_bytes_of_failures_are_bounded() -> None:
    """A failure takes a little more than half a kilobyte; one may take a quarter of the room."""
    async with house(Limits(remembered_bytes=6000)) as at:
        for number in range(30):
            with pytest.raises(NotFound):
                await at.cache.resolve(ImageReference(PLACE, str(number), None), OPEN)
        failures = at.cache.state().caches["failures"]
        assert 3000 < failures.bytes <= 6000
        assert failures.entries == 30 - failures.counters.evictions
        at.memory.calls.clear()
        for number in (29, 0):
            with pytest.raises(NotFound):
                await at.cache.resolve(ImageReference(PLACE, str(number), None), OPEN)
        assert at.memory.calls == [f"resolve {PLACE}:0"]


async def test_the_bytes_of_lists_are_bounded() -> None:
    """A list that is too large is answered and not kept."""
    async with house(Limits(remembered_bytes=10_000)) as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        at.memory.add_referrer(image, "a/b", "a/b", b"x", annotations={"note": "x" * 3000})
        for _ in range(2):
            assert len((await at.cache.referrers(image, None, OPEN))[1]) == 1
        lists = at.cache.state().caches["referrers"]
        assert (lists.bytes, lists.entries, lists.counters.too_large) == (0, 0, 2)
        assert at.memory.calls == [f"referrers {image.digest}"] * 2


async def test_what_happens_is_counted() -> None:
    async with house(held=True) as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        waiting = [asyncio.create_task(at.cache.resolve(TAGGED, OPEN)) for _ in range(3)]
        await begun(at.held)
        await asyncio.sleep(0)
        assert at.cache.state().under_way == 1
        at.held.go.set()
        await asyncio.gather(*waiting)
        await at.cache.resolve(TAGGED, OPEN)
        at.memory.fail(str(PLACE), NotFound("gone"))
        for _ in range(2):
            with pytest.raises(NotFound):
                await at.cache.referrers(image, None, OPEN)
        state = at.cache.state()
        assert (state.flights.started, state.flights.joined, state.flights.failed, state.under_way) == (2, 2, 1, 0)
        tags, content, failures = (state.caches[name] for name in ("tags", "content", "failures"))
        assert (tags.counters.hits, tags.counters.misses, tags.entries) == (1, 3, 1)
        assert (content.counters.hits, content.entries) == (1, 1)
        assert (failures.counters.hits, failures.entries) == (1, 1)
        assert all(cache.bytes > 0 for cache in (tags, content, failures))
        assert (state.stale_tags, state.stale_lists) == (0, 0)


async def test_images_are_resolved_anew_where_other_platforms_are_judged() -> None:
    async with house() as at:
        image = at.memory.add_image("registry.example/acme/web", "1")
        pinned = ImageReference(PLACE, None, image.digest)
        await at.cache.resolve(pinned, OPEN)
        await at.cache.manifest(PLACE, image.digest, OPEN)
        asked = len(at.memory.calls)
        before = at.cache.state().caches["content"]
        at.cache.forget_images()
        after = at.cache.state().caches["content"]
        assert (after.entries, after.bytes < before.bytes) == (before.entries - 1, True)
        await at.cache.resolve(pinned, OPEN)
        await at.cache.manifest(PLACE, image.digest, OPEN)
        assert at.memory.calls[asked:] == [f"resolve {pinned}"]
