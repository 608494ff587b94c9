"""What a tag names that need not be an image: remembered like a list of referrers, and its absence too."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes.clock import StandingClock
from fakes.disk import image, layout_files, write_files
from fakes.faulty import Answer, serve_faulty
from fakes.registry import AMD64, MANIFEST, MemoryRegistry, sha256
from portcullis.errors import Denied, DigestMismatch, Malformed, NotFound, RegistryError, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, Digest, Repository
from portcullis.model.stale import stale_since
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.files import Folder
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.layout import OciLayout
from portcullis.registry.mirrors import Mirror, MirroringRegistry, Mirrors

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
TAG = f"sha256-{'ab' * 32}.att"
CALL = f"tagged {TAG}"
OPEN, RED = Access(), Access("red")
LIMITS = Limits(tag_seconds=30, missing_failure_seconds=5)


class ByNamespace:
    async def credential(self, repository: Repository, access: Access) -> Credential | Anonymous:
        return Credential(access.namespace, "secret") if access.namespace else Anonymous()


@dataclass
class House:
    cache: CachingRegistry
    memory: MemoryRegistry
    clock: StandingClock

    async def digest(self, access: Access = OPEN) -> Digest | None:
        """What the tag names; None where it is not there."""
        try:
            return (await self.cache.tagged(PLACE, TAG, access)).digest
        except NotFound:
            return None


@contextlib.asynccontextmanager
async def house(stale_seconds: float = 0) -> AsyncIterator[House]:
    memory, clock = MemoryRegistry(), StandingClock()
    cache = CachingRegistry(
        registry=memory, keychain=ByNamespace(), clock=clock, limits=LIMITS, stale_seconds=stale_seconds
    )
    try:
        yield House(cache, memory, clock)
    finally:
        await cache.aclose()


async def test_a_tag_that_is_not_there_is_asked_for_once_in_its_time() -> None:
    async with house() as at:
        for _ in range(2):
            assert await at.digest() is None
            at.clock.seconds += 29  # longer than a failure is remembered
        assert at.memory.calls == [CALL]
        digest = at.memory.add_tag(PLACE, TAG, MANIFEST, b"{}")
        at.clock.seconds -= 29
        assert await at.digest() is None
        at.clock.seconds += 2
        assert await at.digest() == digest
        assert at.memory.calls == [CALL] * 2
        assert at.cache.state().flights.failed == 0


async def test_one_that_moves_is_believed_for_its_time() -> None:
    async with house() as at:
        old = at.memory.add_tag(PLACE, TAG, MANIFEST, b"{}")
        assert await at.digest() == old
        new = at.memory.add_tag(PLACE, TAG, MANIFEST, b"{ }")
        at.clock.seconds += 29
        assert await at.digest() == old
        at.clock.seconds += 2
        assert await at.digest() == new
        assert at.cache.state().caches["tagged"].entries == 1


async def test_no_credential_sees_what_another_one_was_told() -> None:
    async with house() as at:
        assert await at.digest(RED) is None
        digest = at.memory.add_tag(PLACE, TAG, MANIFEST, b"{}")
        assert (await at.digest(OPEN), await at.digest(RED)) == (digest, None)


@pytest.mark.parametrize("there", [True, False])
async def test_an_outage_is_bridged_and_shown(there: bool) -> None:
    async with house(stale_seconds=600) as at:
        digest = at.memory.add_tag(PLACE, TAG, MANIFEST, b"{}") if there else None
        assert await at.digest() == digest
        confirmed = at.clock.now()
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 31
        if there:
            found = await at.cache.tagged(PLACE, TAG, OPEN)
            assert (found.digest, found.content, stale_since(found)) == (digest, b"{}", confirmed)
        else:
            with pytest.raises(NotFound) as raised:
                await at.cache.tagged(PLACE, TAG, OPEN)
            assert raised.value.stale_since == confirmed
        assert at.cache.state().stale_tags == 1
        at.clock.seconds += 600
        with pytest.raises(Unreachable):
            await at.cache.tagged(PLACE, TAG, OPEN)


async def test_without_the_setting_nothing_stale_is_used() -> None:
    async with house() as at:
        assert await at.digest() is None
        at.memory.fail("registry.example", Unreachable("down"))
        at.clock.seconds += 31
        with pytest.raises(Unreachable):
            await at.digest()


@pytest.mark.parametrize("verdict", [Denied("no"), Malformed("odd"), Unreachable("down")], ids=lambda one: one.reason)
async def test_what_is_no_absence_is_an_error(verdict: RegistryError) -> None:
    async with house() as at:
        at.memory.fail("registry.example", verdict)
        with pytest.raises(type(verdict)):
            await at.digest()


def mirrored(origin: MemoryRegistry, mirror: MemoryRegistry, *, tags: bool = True) -> MirroringRegistry:
    return MirroringRegistry(
        origin=origin,
        mirror=mirror,
        mirrors=Mirrors({PLACE.registry: [Mirror("mirror.example", tags)]}),
        hosts=HostRules(),
        limits=LIMITS,
    )


async def test_a_mirror_without_the_tag_says_nothing() -> None:
    origin, mirror = MemoryRegistry(), MemoryRegistry()
    digest = origin.add_tag(PLACE, TAG, MANIFEST, b"{}")
    assert (await mirrored(origin, mirror).tagged(PLACE, TAG, OPEN)).digest == digest
    assert (mirror.calls, origin.calls) == ([CALL], [CALL])


async def test_a_mirror_that_is_not_asked_for_tags_is_not_asked() -> None:
    origin, mirror = MemoryRegistry(), MemoryRegistry()
    mirror.add_tag(Repository("mirror.example", "acme/web"), TAG, MANIFEST, b"{}")
    with pytest.raises(NotFound):
        await mirrored(origin, mirror, tags=False).tagged(PLACE, TAG, OPEN)
    assert mirror.calls == []


async def test_one_name_for_two_manifests_in_a_layout_names_neither(tmp_path: Path) -> None:
    one, two = image("1"), image("2")
    write_files(tmp_path, layout_files((one.listed(TAG), two.listed(TAG)), (one, two)))
    layout = OciLayout(files=Folder(tmp_path), repository=PLACE, platforms=(AMD64,), limits=LIMITS)
    with pytest.raises(Malformed, match="calls 2 manifests sha256-abab"):
        await layout.tagged(PLACE, TAG, OPEN)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404), NotFound),
        (Answer(403), Denied),
        (Answer(500), Unreachable),
        (Answer(200, {"Docker-Content-Digest": sha256(b"other")}, b"{}"), DigestMismatch),
    ],
)
async def test_over_http_only_404_is_an_absence(answer: Answer, error: type[RegistryError]) -> None:
    async with serve_faulty({f"/v2/acme/web/manifests/{TAG}": answer}) as server:
        hosts = HostRules(insecure=frozenset({server.host}), private=frozenset({server.host}))
        limits = Limits(registry_attempts=1)
        registry = HttpRegistry(keychain=StaticKeychain(credentials={}), hosts=hosts, platforms=(AMD64,), limits=limits)
        try:
            with pytest.raises(error):
                await registry.tagged(Repository(server.host, "acme/web"), TAG, OPEN)
        finally:
            await registry.aclose()
