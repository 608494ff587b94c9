"""The look into images as a whole: real layers, real processes, a registry and a store in the test's hands."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from fakes import samples
from portcullis.cli.demo.extras import EXTRAS
from portcullis.cli.demo.images import File, Layer, app_layer, base_layer, layer
from portcullis.errors import (
    DigestMismatch,
    InspectionBusy,
    InspectionError,
    LayerMalformed,
    LayerUnsupported,
    RecordsError,
    RegistryError,
    TooLarge,
    Unreachable,
)
from portcullis.inspection.catalogue import load_catalogue
from portcullis.inspection.inspector import LayerInspector
from portcullis.inspection.pool import WorkerPool
from portcullis.inspection.wire import Setup
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import Contents, FindingClass
from portcullis.model.image import Access, Descriptor, Digest, Repository, ResolvedImage
from portcullis.ports import Facts

pytestmark = pytest.mark.anyio

SHOP, PAYMENTS = Access(namespace="shop"), Access(namespace="payments")


@dataclass
class Shelf:
    """The part of a Registry that is asked: blobs. Counts, fails, and holds back as the test says."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    asked: Counter[Digest] = field(default_factory=Counter)
    errors: dict[Digest, RegistryError] = field(default_factory=dict)
    hanging: Digest | None = None
    """Never comes to its end."""
    held: asyncio.Event | None = None
    """Set by the test to let bodies go on after their first half."""

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        self.asked[digest] += 1
        content = self.blobs[digest]
        half = len(content) // 2
        yield content[:half]
        if self.held is not None:
            await self.held.wait()
        if digest == self.hanging:
            await asyncio.Event().wait()
        if digest in self.errors:
            raise self.errors[digest]
        yield content[half:]


@dataclass
class Store:
    """A Facts in a dictionary, or one that is down."""

    kept: dict[str, bytes] = field(default_factory=dict)
    down: bool = False

    async def get(self, key: str) -> bytes | None:
        if self.down:
            raise RecordsError("the store is down")
        return self.kept.get(key)

    async def put(self, key: str, content: bytes) -> None:
        if self.down:
            raise RecordsError("the store is down")
        self.kept.setdefault(key, content)


@dataclass
class Bench:
    shelf: Shelf = field(default_factory=Shelf)
    store: Store = field(default_factory=Store)
    limits: Limits = DEFAULT_LIMITS
    workers: int = 2
    strangers: Facts | None = None

    def image(self, *layers: Layer, user: str = "10001", wrong: Digest | None = None) -> ResolvedImage:
        """An image of these layers; ``wrong`` takes the place of the last diffID."""
        for one in layers:
            self.shelf.blobs[one.blob.digest] = one.blob.content
        diff_ids = [one.diff_id for one in layers]
        if wrong is not None:
            diff_ids[-1] = wrong
        descriptors = [Descriptor(one.blob.media_type, one.blob.digest, len(one.blob.content)) for one in layers]
        config = replace(samples.config(user), diff_ids=tuple(diff_ids), history=())
        platform = replace(
            samples.platform_image(image_config=config),
            layers=tuple(descriptors),
            digest=samples.digest([*diff_ids, user]),
        )
        return samples.resolved(samples.reference(), platform)

    @asynccontextmanager
    async def inspector(self) -> AsyncIterator[LayerInspector]:
        async def identify(repository: Repository, access: Access) -> str:
            return access.namespace

        made = LayerInspector(
            registry=self.shelf,  # type: ignore[arg-type]  # blobs are all that is asked for
            facts=self.store,
            strangers=self.strangers,
            pool=WorkerPool(workers=self.workers, setup=Setup(limits=self.limits, catalogues=())),
            catalogue=load_catalogue(()),
            identify=identify,
            limits=self.limits,
        )
        try:
            yield made
        finally:
            await made.aclose()

    async def look(self, image: ResolvedImage, access: Access = SHOP) -> Contents:
        async with self.inspector() as inspector:
            (found,) = await inspector.inspect(image, access)
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


def paths(contents: Contents, of: FindingClass) -> Sequence[str]:
    return sorted(finding.path for finding in contents.findings.get(of, ()))


def app() -> Sequence[Layer]:
    return base_layer(), app_layer("web", "1.4")


async def test_what_is_in_an_image(bench: Bench) -> None:
    base, program = app()
    found = await bench.look(bench.image(base, *EXTRAS["shell"](), program))
    assert "/bin/busybox" in paths(found, FindingClass.SHELLS)
    assert paths(found, FindingClass.PACKAGE_MANAGERS) == ["/sbin/apk"]
    assert (found.os.id, found.os.distroless) == ("portcullis-demo", False)
    assert [layer.digest for layer in found.layers] == [
        base.blob.digest,
        *(extra.blob.digest for extra in EXTRAS["shell"]()),
        program.blob.digest,
    ]


async def test_a_clean_image_has_no_findings(bench: Bench) -> None:
    found = await bench.look(bench.image(*app()))
    assert {str(name): paths(found, name) for name in FindingClass if found.findings.get(name)} == {}
    assert found.os.distroless is True


async def test_a_key_that_was_deleted_is_found(bench: Bench) -> None:
    found = await bench.look(bench.image(base_layer(), *EXTRAS["deleted-key"]()))
    (secret,) = found.findings[FindingClass.SECRETS]
    assert (secret.path, secret.deleted, secret.layer_index) == ("/root/deploy.pem", True, 1)


@pytest.mark.parametrize(("extra", "uid"), [("", 10001), ("other-passwd", 0)])
async def test_a_named_user_is_looked_up_in_what_the_layers_leave(bench: Bench, extra: str, uid: int) -> None:
    layers = EXTRAS[extra]() if extra else ()
    found = await bench.look(bench.image(base_layer(), *layers, user="app"))
    assert found.user is not None
    assert (found.user.uid, found.user.root) == (uid, uid == 0)


async def test_a_passwd_behind_a_link_is_read_in_a_second_look(bench: Bench) -> None:
    moved = layer(
        [
            File("srv", None, 0o755),
            File("srv/users", b"root:x:0:0::/:\napp:x:0:0::/:\n"),
            File("etc", None, 0o755),
            File("etc/passwd", None, 0o777, link="/srv/users"),
        ],
        "RUN mv /etc/passwd /srv/users",
    )
    found = await bench.look(bench.image(base_layer(), moved, user="app"))
    assert found.user is not None
    assert (found.user.uid, found.user.root) == (0, True)
    assert bench.shelf.asked[moved.blob.digest] == 2


# -- shared and kept ---------------------------------------------------------------------------------------------


async def test_many_at_once_cost_one_fetch_of_each_layer(bench: Bench) -> None:
    image = bench.image(*app())
    async with bench.inspector() as inspector:
        found = await asyncio.gather(*(inspector.inspect(image, SHOP) for _ in range(100)))
    assert len({id(one) for (one,) in found}) == 1 or all(one == found[0] for one in found)
    assert set(bench.shelf.asked.values()) == {1}


async def test_layers_are_shared_by_images(bench: Bench) -> None:
    base, program = app()
    await bench.look(bench.image(base, program))
    await bench.look(bench.image(base, *EXTRAS["toolchain"](), program))
    assert bench.shelf.asked[base.blob.digest] == 1


async def test_what_was_found_survives_a_restart(bench: Bench) -> None:
    image = bench.image(*app())
    first = await bench.look(image)
    bench.shelf.blobs.clear()
    assert await bench.look(image) == first


async def test_without_a_store_the_work_is_done_again(bench: Bench) -> None:
    bench.store.down = True
    image = bench.image(*app())
    assert await bench.look(image) == await bench.look(image)
    assert set(bench.shelf.asked.values()) == {2}


async def test_damaged_facts_are_made_anew(bench: Bench) -> None:
    image = bench.image(*app())
    first = await bench.look(image)
    bench.store.kept = {key: b"damaged" for key in bench.store.kept if key.startswith("contents/")}
    assert await bench.look(image) == first


async def test_who_gives_up_leaves_the_work_to_go_on(bench: Bench) -> None:
    bench.shelf.held = asyncio.Event()
    image = bench.image(*app())
    async with bench.inspector() as inspector:
        waiter = asyncio.create_task(inspector.inspect(image, SHOP))
        while not bench.shelf.asked:
            await asyncio.sleep(0.01)
        assert inspector.remaining_seconds(image) > 0
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert inspector.under_way == 1
        bench.shelf.held.set()
        (found,) = await inspector.inspect(image, SHOP)
        assert inspector.under_way == 0
    assert found.files > 0
    assert set(bench.shelf.asked.values()) == {1}


async def test_a_fetch_of_one_credential_is_not_waited_for_by_another(bench: Bench) -> None:
    """One may be denied what the other may have."""
    base, program = app()
    image = bench.image(base, program)
    bench.shelf.held = asyncio.Event()
    async with bench.inspector() as inspector:
        ours = asyncio.create_task(inspector.inspect(image, SHOP))
        theirs = asyncio.create_task(inspector.inspect(image, PAYMENTS))
        while bench.shelf.asked[base.blob.digest] < 1:
            await asyncio.sleep(0.01)
        bench.shelf.held.set()
        assert await ours == await theirs
    assert bench.shelf.asked[base.blob.digest] == 2


# -- what goes wrong ---------------------------------------------------------------------------------------------


async def test_a_registry_that_fails_in_the_middle(bench: Bench) -> None:
    base, program = app()
    image = bench.image(base, program)
    async with bench.inspector() as inspector:
        bench.shelf.errors[program.blob.digest] = Unreachable("the connection broke")
        with pytest.raises(Unreachable, match="the connection broke"):
            await inspector.inspect(image, SHOP)
        bench.shelf.errors.clear()
        (found,) = await inspector.inspect(image, SHOP)
    assert found.files > 0


async def test_a_wrong_diff_id(bench: Bench) -> None:
    image = bench.image(*app(), wrong=samples.digest("other"))
    with pytest.raises(DigestMismatch):
        await bench.look(image)


async def test_a_layer_that_is_no_gzip(bench: Bench) -> None:
    base, program = app()
    image = bench.image(base, program)
    bench.shelf.blobs[program.blob.digest] = b"\x1f\x8b\x08\x00" + b"no gzip" * 200
    async with bench.inspector() as inspector:
        with pytest.raises((LayerMalformed, DigestMismatch)):
            await inspector.inspect(image, SHOP)
        with pytest.raises((LayerMalformed, DigestMismatch)):  # remembered: nothing is fetched for it
            await inspector.inspect(image, SHOP)
    assert bench.shelf.asked[program.blob.digest] == 1


async def test_a_foreign_layer_is_refused_before_anything_is_fetched(bench: Bench) -> None:
    image = bench.image(*app())
    (platform,) = image.platforms
    foreign = replace(platform.layers[0], media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    image = samples.resolved(samples.reference(), replace(platform, layers=(foreign, *platform.layers[1:])))
    with pytest.raises(LayerUnsupported, match="foreign"):
        await bench.look(image)
    assert not bench.shelf.asked


async def test_more_layers_than_diff_ids(bench: Bench) -> None:
    (platform,) = bench.image(*app()).platforms
    odd = replace(platform, config=replace(platform.config, diff_ids=()))
    with pytest.raises(LayerMalformed, match="2 layers"):
        await bench.look(samples.resolved(samples.reference(), odd))


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (replace(DEFAULT_LIMITS, layer_bytes=100), "layerBytes"),
        (replace(DEFAULT_LIMITS, image_layer_bytes=100), "imageLayerBytes"),
    ],
)
async def test_what_can_never_fit_is_too_large_at_once(bench: Bench, limits: Limits, name: str) -> None:
    bench.limits = limits
    with pytest.raises(TooLarge, match=name):
        await bench.look(bench.image(*app()))
    assert not bench.shelf.asked


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (replace(DEFAULT_LIMITS, inspections=1), "inspections"),
        (replace(DEFAULT_LIMITS, inspected_bytes=100), "inspectedBytes"),
    ],
)
async def test_more_than_may_be_under_way_has_to_come_again(bench: Bench, limits: Limits, name: str) -> None:
    bench.limits = limits
    bench.shelf.held = asyncio.Event()
    base, program = app()
    one, other = bench.image(base, program), bench.image(base, *EXTRAS["shell"]())
    async with bench.inspector() as inspector:
        first = asyncio.create_task(inspector.inspect(one, SHOP))
        while not bench.shelf.asked:
            await asyncio.sleep(0.01)
        with pytest.raises(InspectionBusy, match=name):
            await inspector.inspect(other, SHOP)
        bench.shelf.held.set()
        await first
        await inspector.inspect(other, SHOP)


async def test_half_of_what_may_be_under_way_is_kept_for_other_namespaces(bench: Bench) -> None:
    bench.limits = replace(DEFAULT_LIMITS, inspections=2)
    bench.shelf.held = asyncio.Event()
    base, program = app()
    one, other = bench.image(base, program), bench.image(base, *EXTRAS["shell"]())
    async with bench.inspector() as inspector:
        first = asyncio.create_task(inspector.inspect(one, SHOP))
        while not bench.shelf.asked:
            await asyncio.sleep(0.01)
        with pytest.raises(InspectionBusy, match="inspections"):
            await inspector.inspect(other, SHOP)
        second = asyncio.create_task(inspector.inspect(other, PAYMENTS))
        bench.shelf.held.set()
        await asyncio.gather(first, second)


async def test_a_registry_that_hangs_does_not_hold_up_the_others(bench: Bench) -> None:
    """The one process that works at full speed waits for bytes; the next layer is read beside it."""
    bench.workers = 1
    bench.limits = replace(DEFAULT_LIMITS, worker_turn_seconds=0.05)
    base, program = app()
    slow, quick = bench.image(base), bench.image(program)
    bench.shelf.hanging = base.blob.digest
    async with bench.inspector() as inspector:
        hanging = asyncio.create_task(inspector.inspect(slow, SHOP))
        while not bench.shelf.asked:
            await asyncio.sleep(0.01)
        (found,) = await inspector.inspect(quick, PAYMENTS)
        assert found.files > 0
        assert not hanging.done()


async def test_a_look_that_takes_too_long_is_given_up(bench: Bench) -> None:
    bench.limits = replace(DEFAULT_LIMITS, inspection_seconds=0.3)
    bench.shelf.held = asyncio.Event()
    async with bench.inspector() as inspector:
        with pytest.raises(InspectionError, match="inspectionSeconds"):
            await inspector.inspect(bench.image(*app()), SHOP)
        assert inspector.under_way == 0


async def test_failures_are_forgotten_in_time(bench: Bench) -> None:
    bench.limits = replace(DEFAULT_LIMITS, inspection_failure_seconds=0.000_001)
    image = bench.image(*app(), wrong=samples.digest("other"))
    async with bench.inspector() as inspector:
        for _ in range(2):
            with pytest.raises(DigestMismatch):
                await inspector.inspect(image, SHOP)
    assert max(bench.shelf.asked.values()) == 2


async def test_a_process_without_room_fails_and_the_next_one_works(bench: Bench) -> None:
    bench.limits = replace(DEFAULT_LIMITS, worker_bytes=1)
    image = bench.image(*app())
    with pytest.raises(InspectionError):
        await bench.look(image)
    bench.limits = DEFAULT_LIMITS
    assert (await bench.look(image)).files > 0


async def test_an_answer_that_is_too_long_is_not_read(bench: Bench) -> None:
    bench.limits = replace(DEFAULT_LIMITS, worker_answer_bytes=10)
    with pytest.raises(InspectionError, match="ended"):
        await bench.look(bench.image(*app()))


async def test_an_index_is_looked_into_platform_by_platform(bench: Bench) -> None:
    base, program = app()
    (one,) = bench.image(base, program).platforms
    (other,) = bench.image(base, *EXTRAS["toolchain"]()).platforms
    image = samples.resolved(samples.reference(), one, replace(other, platform=samples.ARM64))
    async with bench.inspector() as inspector:
        first, second = await inspector.inspect(image, SHOP)
    assert not first.findings.get(FindingClass.BUILD_TOOLS)
    assert "/usr/bin/gcc" in paths(second, FindingClass.BUILD_TOOLS)
