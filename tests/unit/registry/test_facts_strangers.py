"""What is asked for on nobody's behalf: nothing is shared with others, and little may be under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry
from portcullis.errors import Denied, NotFound, Unreachable
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Access, Anonymous, Credential, Digest, ImageReference, Repository, ResolvedImage
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.flights import Flights
from portcullis.registry.keychain import FirstKeychain, StaticKeychain

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
TAGGED = ImageReference(PLACE, "1", None)
STRANGER, SHOP = Access(stranger=True), Access("shop")
KEYCHAIN = FirstKeychain(keychains=[StaticKeychain(credentials={"registry.example": Credential("gate", "secret")})])


class Private:
    """A registry that shows its image to who has the credential, and says how often it was asked."""

    def __init__(self) -> None:
        self.memory = MemoryRegistry()
        self.image = self.memory.add_image(str(PLACE), "1")
        self.denied = 0

    async def _allow(self, access: Access) -> None:
        if isinstance(await KEYCHAIN.credential(PLACE, access), Anonymous):
            self.denied += 1
            raise Denied("not you")

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        await self._allow(access)
        return await self.memory.resolve(reference, access)

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        await self._allow(access)
        async for piece in self.memory.blob(repository, digest, limit, access):
            yield piece

    def __getattr__(self, name: str) -> object:
        async def allowed(*arguments: object) -> object:
            access = arguments[-1]
            assert isinstance(access, Access)
            await self._allow(access)
            return await getattr(self.memory, name)(*arguments)

        return allowed


@contextlib.asynccontextmanager
async def cached(private: Private) -> AsyncIterator[CachingRegistry]:
    cache = CachingRegistry(registry=private, keychain=KEYCHAIN, clock=StandingClock(), limits=DEFAULT_LIMITS)  # type: ignore[arg-type]
    try:
        yield cache
    finally:
        await cache.aclose()


@pytest.mark.parametrize("access", [STRANGER, replace(STRANGER, namespace="shop", pull_secrets=("regcred",))])
async def test_no_credential_is_for_a_stranger(access: Access) -> None:
    assert await KEYCHAIN.credential(PLACE, SHOP) == Credential("gate", "secret")
    assert isinstance(await KEYCHAIN.credential(PLACE, access), Anonymous)


async def test_a_private_image_that_others_have_fetched_gives_him_nothing() -> None:
    """Its tag, its digest, its manifest, its blobs, what is attached to it: all is known, and none of it is his."""
    private = Private()
    image, pinned = private.image, ImageReference(PLACE, None, private.image.digest)
    async with cached(private) as cache:

        async def ask(what: int, access: Access) -> object:
            match what:
                case 0:
                    return await cache.resolve(TAGGED, access)
                case 1:
                    return await cache.resolve(pinned, access)
                case 2:
                    return await cache.manifest(PLACE, image.digest, access)
                case 3:
                    return await cache.referrers(image, None, access)
                case 4:
                    return await cache.tagged(PLACE, "1", access)
                case _:
                    config = image.platforms[0].config_digest
                    return b"".join([piece async for piece in cache.blob(PLACE, config, 100_000, access)])

        for what in range(6):
            assert await ask(what, SHOP)
            with pytest.raises(Denied):
                await ask(what, STRANGER)
            assert await ask(what, SHOP), "nor is his denial theirs"
        assert private.denied == 6


async def test_nor_does_he_learn_what_others_without_a_credential_have_fetched() -> None:
    """How quickly an answer comes would tell him which public images run here."""
    memory = MemoryRegistry()
    memory.add_image(str(PLACE), "1")
    keychain = StaticKeychain(credentials={})
    cache = CachingRegistry(registry=memory, keychain=keychain, clock=StandingClock(), limits=DEFAULT_LIMITS)
    await cache.resolve(TAGGED, SHOP)
    calls = len(memory.calls)
    await cache.resolve(TAGGED, STRANGER)
    assert len(memory.calls) == 2 * calls
    await cache.resolve(TAGGED, STRANGER)
    await cache.resolve(TAGGED, SHOP)
    assert len(memory.calls) == 2 * calls
    await cache.aclose()


# -- little may be under way -----------------------------------------------------------------------------------------


async def never() -> None:
    await asyncio.Event().wait()


async def nothing() -> None:
    raise NotFound("there is no such image")


@pytest.mark.parametrize("limits", [Limits(flights=4), Limits(flights_per_host=4)])
async def test_strangers_have_half_of_the_places(limits: Limits) -> None:
    flights = Flights(clock=StandingClock(), limits=limits)

    def begin(number: int, *, stranger: bool) -> "asyncio.Task[None]":
        return asyncio.create_task(flights.fly((number,), "slow.example", never, stranger=stranger))

    waiting = [begin(number, stranger=True) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unreachable, match="as many as may be"):
        await begin(2, stranger=True)
    waiting += [begin(number, stranger=False) for number in (3, 4)]
    await asyncio.sleep(0)
    assert flights.under_way == 4
    await flights.aclose()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_strangers_begin_few_fetches_a_minute() -> None:
    """Registries count by address: others must find something left."""
    clock = StandingClock()
    flights = Flights(clock=clock, limits=Limits(stranger_fetches=3))
    for number in range(3):
        with pytest.raises(NotFound):
            await flights.fly((number,), "hub.example", nothing, stranger=True)
    with pytest.raises(Unreachable, match="the limit strangerFetches"):
        await flights.fly((3,), "hub.example", nothing, stranger=True)
    with pytest.raises(NotFound):
        await flights.fly((4,), "hub.example", nothing)
    with pytest.raises(NotFound):
        await flights.fly((5,), "hub.example", nothing, stranger=True, part=True)  # counted already
    clock.seconds += 60
    with pytest.raises(NotFound):
        await flights.fly((6,), "hub.example", nothing, stranger=True)


async def test_what_a_stranger_began_ends_soon() -> None:
    flights = Flights(clock=StandingClock(), limits=Limits(flight_seconds=30, stranger_seconds=0.05))
    other = asyncio.create_task(flights.fly((1,), "slow.example", never))
    with pytest.raises(Unreachable, match=r"the limit strangerSeconds of 0\.05"):
        await flights.fly((2,), "slow.example", never, stranger=True)
    assert flights.under_way == 1
    await flights.aclose()
    await asyncio.gather(other, return_exceptions=True)
