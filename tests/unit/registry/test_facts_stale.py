"""The grace for stale facts: when it counts, when it never does, and that it is shown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry
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
from portcullis.model.image import Access, Descriptor, ImageReference, Manifest, Repository, ResolvedImage
from portcullis.model.stale import StaleDescriptors, stale_since
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.keychain import StaticKeychain

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
TAGGED = ImageReference(PLACE, "1", None)
OPEN = Access()
LIMITS = Limits(tag_seconds=30, failure_seconds=5)


@dataclass
class Hanging(MemoryRegistry):
    """Answers only while it is ``up``."""

    up: asyncio.Event = field(default_factory=asyncio.Event)

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        await self.up.wait()
        return await super().resolve(reference, access)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        await self.up.wait()
        return await super().referrers(image, artifact_type, access)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        await self.up.wait()
        return await super().tagged(repository, tag, access)


@dataclass
class House:
    cache: CachingRegistry
    memory: Hanging
    clock: StandingClock
    image: ResolvedImage
    listed: Descriptor
    confirmed: datetime

    async def ask(self) -> tuple[ResolvedImage, CarrierKind, Sequence[Descriptor]]:
        image = await self.cache.resolve(TAGGED, OPEN)
        return image, *await self.cache.referrers(self.image, None, OPEN)

    async def is_stale(self) -> bool:
        """Asks, and looks whether both facts are shown as stale, or both not, and are what they were."""
        image, kind, found = await self.ask()
        assert (image.digest, image.platforms, image.reference) == (self.image.digest, self.image.platforms, TAGGED)
        assert (kind, list(found)) == (CarrierKind.REFERRER, [self.listed])
        assert image.stale_since == stale_since(found)
        assert image.stale_since in {None, self.confirmed}
        return image.stale_since is not None


@contextlib.asynccontextmanager
async def house(stale_seconds: float = 600, limits: Limits = LIMITS) -> AsyncIterator[House]:
    """A cache that has asked a registry for the tag and its list once."""
    memory, clock = Hanging(), StandingClock()
    cache = CachingRegistry(
        registry=memory,
        keychain=StaticKeychain(credentials={}),
        clock=clock,
        limits=limits,
        stale_seconds=stale_seconds,
    )
    image = memory.add_image("registry.example/acme/web", "1")
    listed = memory.add_referrer(image, "a/b", "a/b", b"x")
    memory.up.set()
    try:
        at = House(cache, memory, clock, image, listed, clock.now())
        assert not await at.is_stale()
        yield at
    finally:
        await cache.aclose()


OUTAGES = [Unreachable("down"), Throttled("slowly"), Throttled("slowly", retry_after=60)]
VERDICTS = [Denied("not you"), NotFound("gone"), Malformed("nonsense"), DigestMismatch("lies"), TooLarge("much")]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: error.reason)
async def test_an_outage_is_bridged_and_shown(outage: RegistryError) -> None:
    async with house() as at:
        at.memory.fail("registry.example", outage)
        at.clock.seconds += 29
        assert not await at.is_stale()
        for passed in (2, 1, 500):  # first failure, remembered failure, failure again
            at.clock.seconds += passed
            assert await at.is_stale()
        assert (at.cache.state().stale_tags, at.cache.state().stale_lists) == (3, 3)


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: error.reason)
async def test_without_the_setting_nothing_stale_is_used(outage: RegistryError) -> None:
    async with house(stale_seconds=0) as at:
        at.memory.fail("registry.example", outage)
        at.clock.seconds += 31
        with pytest.raises(type(outage)):
            await at.cache.resolve(TAGGED, OPEN)
        with pytest.raises(type(outage)):
            await at.cache.referrers(at.image, None, OPEN)


async def test_the_grace_ends() -> None:
    async with house() as at:
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 599
        assert await at.is_stale()
        at.clock.seconds += 2
        with pytest.raises(Unreachable, match="down"):
            await at.cache.resolve(TAGGED, OPEN)
        with pytest.raises(Unreachable, match="down"):
            await at.cache.referrers(at.image, None, OPEN)


async def test_the_registry_is_believed_again_when_it_is_back() -> None:
    async with house() as at:
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 31
        assert await at.is_stale()
        at.memory.fail("registry.example", None)
        at.clock.seconds += 6
        assert not await at.is_stale()


@pytest.mark.parametrize(
    "verdict", [*VERDICTS, NotAllowed("not listed"), CredentialUnavailable("no file")], ids=lambda error: error.reason
)
async def test_what_is_no_outage_is_not_bridged(verdict: RegistryError) -> None:
    async with house() as at:
        at.memory.fail("registry.example", verdict)
        at.clock.seconds += 31
        with pytest.raises(type(verdict)):
            await at.cache.resolve(TAGGED, OPEN)
        with pytest.raises(type(verdict)):
            await at.cache.referrers(at.image, None, OPEN)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda error: error.reason)
async def test_a_verdict_forgets_what_was_known_before(verdict: RegistryError) -> None:
    """An outage after it does not bring the old facts back."""
    async with house() as at:
        at.clock.seconds += 31
        at.memory.fail("registry.example", verdict)
        for _ in range(2):
            with pytest.raises(RegistryError):
                await at.cache.resolve(TAGGED, OPEN)
            with pytest.raises(RegistryError):
                await at.cache.referrers(at.image, None, OPEN)
            at.memory.fail("registry.example", Unreachable("down"))
            at.clock.seconds += 60
        with pytest.raises(Unreachable):
            await at.cache.resolve(TAGGED, OPEN)
        with pytest.raises(Unreachable):
            await at.cache.referrers(at.image, None, OPEN)


async def test_a_registry_that_hangs_is_not_waited_for_long() -> None:
    """The fetch goes on, and what it brings is used."""
    async with house(limits=Limits(stale_wait_seconds=0.02)) as at:
        at.memory.up.clear()
        at.clock.seconds += 31
        assert await at.is_stale()
        assert at.cache.state().under_way == 2
        at.memory.up.set()
        assert not await at.is_stale()
        assert at.memory.calls.count(f"resolve {TAGGED}") == 2


async def test_a_registry_that_hangs_is_waited_for_where_nothing_is_known() -> None:
    async with house(limits=Limits(stale_wait_seconds=0.02)) as at:
        other = at.memory.add_image("registry.example/acme/web", "2")
        at.memory.up.clear()
        asked = asyncio.create_task(at.cache.resolve(ImageReference(PLACE, "2", None), OPEN))
        done, _ = await asyncio.wait({asked}, timeout=0.1)
        assert not done
        at.memory.up.set()
        assert (await asked).digest == other.digest


async def test_an_overload_of_the_gate_is_no_outage_of_the_registry() -> None:
    async with house(limits=Limits(flights_per_host=1)) as at:
        at.clock.seconds += 31
        at.memory.up.clear()
        slow = asyncio.create_task(at.cache.resolve(ImageReference(PLACE, "2", None), OPEN))
        while at.cache.state().under_way == 0:
            await asyncio.sleep(0)
        with pytest.raises(Unreachable, match="flightsPerHost"):
            await at.cache.resolve(TAGGED, OPEN)
        at.memory.up.set()
        with pytest.raises(NotFound):
            await slow
        assert not await at.is_stale()


async def test_a_digest_needs_no_grace() -> None:
    async with house() as at:
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 10_000
        image = await at.cache.resolve(ImageReference(PLACE, "1", at.image.digest), OPEN)
        assert (image.digest, image.stale_since) == (at.image.digest, None)


async def test_an_image_that_is_no_longer_known_cannot_be_stale() -> None:
    """A tag's digest alone is not enough to judge."""
    async with house(limits=Limits(fact_cache_bytes=10_000)) as at:
        for number in range(20):
            at.memory.add_image("registry.example/acme/web", f"other{number}", user=str(number))
            await at.cache.resolve(ImageReference(PLACE, f"other{number}", None), OPEN)
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 31
        with pytest.raises(Unreachable):
            await at.cache.resolve(TAGGED, OPEN)


def test_a_stale_list_is_a_sequence_like_any_other() -> None:
    made = [Descriptor("a/b", IMAGE.digest, size) for size in range(3)]
    stale = StaleDescriptors(made, datetime(2026, 11, 1, tzinfo=UTC))
    assert (len(stale), list(stale), stale[1], stale[1:]) == (3, made, made[1], made[1:])
    assert (stale_since(stale), stale_since(made)) == (datetime(2026, 11, 1, tzinfo=UTC), None)


IMAGE = MemoryRegistry().add_image("registry.example/acme/web", "1")
