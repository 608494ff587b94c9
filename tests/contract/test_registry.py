"""What every Registry does alike: the fake in memory, HTTP over two independent registries, the cache."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest

from fakes.registry import AMD64, ARM64, INDEX, MANIFEST, MemoryRegistry, image_config, sha256
from portcullis.cli.demo.registry import serve_registry
from portcullis.errors import NotFound, TooLarge
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Descriptor,
    Digest,
    HistoryEntry,
    ImageConfig,
    ImageReference,
    Platform,
    Repository,
    ResolvedImage,
)
from portcullis.ports import Registry
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher
from portcullis.server.clock import SystemClock

pytestmark = pytest.mark.anyio

NOBODY = Access()
LIMITS = Limits(referrers=3)
WANTED = (AMD64, ARM64)
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SARIF = "application/sarif+json"


@dataclass
class Target:
    """A registry under test: what is published in ``memory`` is pushed to where ``registry`` reads."""

    registry: Registry
    host: str
    memory: MemoryRegistry
    pusher: Pusher | None = None
    carrier: CarrierKind = CarrierKind.REFERRER

    def repository(self, path: str) -> Repository:
        return Repository(self.host, path)

    def reference(self, path: str, tag: str | None = "1", digest: Digest | None = None) -> ImageReference:
        return ImageReference(self.repository(path), tag, digest)

    async def publish(
        self, path: str, tag: str = "1", *, user: str = "10001", configs: Mapping[Platform, ImageConfig] | None = None
    ) -> ResolvedImage:
        image = self.memory.add_image(f"{self.host}/{path}", tag, user=user, configs=configs)
        if self.pusher is not None:
            place = self.repository(path)
            for content in self.memory.blobs_of(place):
                await self.pusher.blob(place, content)
            for manifest in self.memory.manifests_of(place):
                await self.pusher.manifest(place, manifest.digest, manifest.media_type, manifest.content)
            top = await self.memory.manifest(place, image.digest, NOBODY)
            await self.pusher.manifest(place, tag, top.media_type, top.content)
        return image

    async def attach(self, image: ResolvedImage, artifact_type: str, content: bytes) -> Descriptor:
        if self.pusher is None:
            return self.memory.add_referrer(image, artifact_type, artifact_type, content)
        place = image.reference.repository
        manifest = await self.memory.manifest(place, image.digest, NOBODY)
        return await self.pusher.attach(
            place,
            Descriptor(manifest.media_type, manifest.digest, len(manifest.content)),
            artifact_type=artifact_type,
            layer_media_type=artifact_type,
            content=content,
            annotations={},
        )


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Target]:
    memory = MemoryRegistry(limits=LIMITS)
    yield Target(memory, "registry.example", memory)


@contextlib.asynccontextmanager
async def cached() -> AsyncIterator[Target]:
    memory = MemoryRegistry(limits=LIMITS)
    keychain = StaticKeychain(credentials={})
    registry = CachingRegistry(registry=memory, keychain=keychain, clock=SystemClock(), limits=LIMITS)
    try:
        yield Target(registry, "registry.example", memory)
    finally:
        await registry.aclose()


@contextlib.asynccontextmanager
async def over_http(host: str, carrier: CarrierKind = CarrierKind.REFERRER) -> AsyncIterator[Target]:
    hosts = HostRules(insecure=frozenset({host}), private=frozenset({host}))
    keychain = StaticKeychain(credentials={})
    registry = HttpRegistry(keychain=keychain, hosts=hosts, platforms=WANTED, limits=LIMITS)
    pusher = Pusher(keychain=keychain, hosts=hosts, limits=LIMITS)
    try:
        yield Target(registry, host, MemoryRegistry(), pusher, carrier)
    finally:
        await registry.aclose()
        await pusher.aclose()


@contextlib.asynccontextmanager
async def loopback() -> AsyncIterator[Target]:
    async with serve_registry() as host, over_http(host) as target:
        yield target


@contextlib.asynccontextmanager
async def loopback_without_referrers() -> AsyncIterator[Target]:
    async with serve_registry(referrers_api=False) as host, over_http(host, CarrierKind.FALLBACK_TAG) as target:
        yield target


@contextlib.asynccontextmanager
async def crane() -> AsyncIterator[Target]:
    """The registry of go-containerregistry, which knows nothing of this project; this command of it has no Referrers
    API."""
    program = shutil.which("crane")
    assert program, "crane is not on PATH: run the tests through `make test`, or run `make tools` and add its folders"
    process = await asyncio.create_subprocess_exec(
        program,
        "registry",
        "serve",
        "--address",
        "127.0.0.1:0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        port = re.search(rb"serving on port (\d+)", await process.stdout.readline())
        assert port is not None
        drain = asyncio.create_task(process.stdout.read())
        host = f"127.0.0.1:{int(port.group(1))}"
        async with over_http(host, CarrierKind.FALLBACK_TAG) as target:
            yield target
    finally:
        process.terminate()
        await process.wait()
    await drain


TARGETS = {
    "memory": in_memory,
    "cache": cached,
    "loopback": loopback,
    "loopback without referrers": loopback_without_referrers,
    "crane": crane,
}


@pytest.fixture(params=TARGETS)
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    async with TARGETS[request.param]() as opened:
        yield opened


async def test_resolves_a_tag_to_its_digest_and_configuration(target: Target) -> None:
    config = image_config(
        "1000:1000",
        cmd=("--serve",),
        working_dir="/srv",
        env_names=("PATH", "TOKEN"),
        exposed_ports=("8080/tcp",),
        volumes=("/data",),
        labels={"org.opencontainers.image.source": "https://example.com"},
        healthcheck=("CMD", "/bin/true"),
        history=(HistoryEntry("COPY . /app", False), HistoryEntry("USER 1000:1000", True)),
    )
    published = await target.publish("acme/web", configs={AMD64: config})
    image = await target.registry.resolve(target.reference("acme/web"), NOBODY)
    assert image == published
    (platform,) = image.platforms
    assert platform.config == config
    assert (image.is_index, image.media_type, platform.platform) == (False, MANIFEST, AMD64)
    assert [layer.size for layer in platform.layers] == [5]


async def test_a_digest_wins_over_the_tag_beside_it(target: Target) -> None:
    old = await target.publish("acme/web", user="0")
    new = await target.publish("acme/web", user="10001")
    reference = target.reference("acme/web", "1", old.digest)
    image = await target.registry.resolve(reference, NOBODY)
    assert (image.digest, image.reference) == (old.digest, reference)
    assert image.platforms[0].config.user == "0"
    assert old.digest != new.digest


async def test_resolves_an_index_to_the_wanted_platforms(target: Target) -> None:
    configs = {
        Platform("linux", "s390x"): image_config("1"),
        ARM64: image_config("0"),
        AMD64: image_config("2"),
    }
    published = await target.publish("acme/multi", configs=configs)
    image = await target.registry.resolve(target.reference("acme/multi"), NOBODY)
    assert image == published
    assert (image.is_index, image.media_type) == (True, INDEX)
    assert [(one.platform, one.config.user) for one in image.platforms] == [(AMD64, "2"), (ARM64, "0")]


async def test_a_single_image_is_judged_whatever_its_platform_is(target: Target) -> None:
    windows = Platform("windows", "amd64")
    await target.publish("acme/win", configs={windows: image_config("ContainerUser")})
    image = await target.registry.resolve(target.reference("acme/win"), NOBODY)
    assert [one.platform for one in image.platforms] == [windows]


async def test_an_index_without_a_wanted_platform_is_not_found(target: Target) -> None:
    configs = {Platform("linux", "s390x"): image_config("1"), Platform("linux", "ppc64le"): image_config("1")}
    await target.publish("acme/mainframe", configs=configs)
    with pytest.raises(NotFound):
        await target.registry.resolve(target.reference("acme/mainframe"), NOBODY)


@pytest.mark.parametrize(
    ("path", "tag", "digest"),
    [("acme/web", "9", None), ("acme/none", "1", None), ("acme/web", None, sha256(b"nothing has this"))],
)
async def test_what_is_missing_is_not_found(target: Target, path: str, tag: str | None, digest: Digest | None) -> None:
    await target.publish("acme/web")
    with pytest.raises(NotFound):
        await target.registry.resolve(target.reference(path, tag, digest), NOBODY)


async def test_a_moved_tag_is_another_image_under_another_repository(target: Target) -> None:
    """The same tag in two repositories is two images; nothing is shared by tag alone."""
    one = await target.publish("acme/one", user="1")
    two = await target.publish("acme/two", user="2")
    assert (await target.registry.resolve(target.reference("acme/one"), NOBODY)).digest == one.digest
    assert (await target.registry.resolve(target.reference("acme/two"), NOBODY)).digest == two.digest


async def test_a_manifest_comes_byte_for_byte(target: Target) -> None:
    image = await target.publish("acme/web")
    place = target.repository("acme/web")
    manifest = await target.registry.manifest(place, image.digest, NOBODY)
    assert (sha256(manifest.content), manifest.digest, manifest.media_type) == (image.digest, image.digest, MANIFEST)
    with pytest.raises(NotFound):
        await target.registry.manifest(place, sha256(b"nothing has this"), NOBODY)


async def test_a_blob_comes_whole_or_not_at_all(target: Target) -> None:
    image = await target.publish("acme/web")
    place, layer = target.repository("acme/web"), image.platforms[0].layers[0]

    async def read(digest: Digest, limit: int) -> bytes:
        return b"".join([piece async for piece in target.registry.blob(place, digest, limit, NOBODY)])

    assert await read(layer.digest, 5) == b"layer"
    with pytest.raises(TooLarge):
        await read(layer.digest, 4)
    with pytest.raises(NotFound):
        await read(sha256(b"nothing has this"), 100)


async def test_an_image_without_referrers_has_none(target: Target) -> None:
    image = await target.publish("acme/web")
    assert await target.registry.referrers(image, None, NOBODY) == (target.carrier, ())


async def test_referrers_of_one_image_are_found_and_filtered(target: Target) -> None:
    image, other = await target.publish("acme/web"), await target.publish("acme/web", "2", user="0")
    bundle = await target.attach(image, BUNDLE, b"a bundle")
    sarif = await target.attach(image, SARIF, b"a report")
    await target.attach(other, BUNDLE, b"of another image")
    kind, found = await target.registry.referrers(image, None, NOBODY)
    assert kind is target.carrier
    assert {one.digest for one in found} == {bundle.digest, sarif.digest}
    assert {one.artifact_type for one in found} == {BUNDLE, SARIF}
    _, filtered = await target.registry.referrers(image, BUNDLE, NOBODY)
    assert [one.digest for one in filtered] == [bundle.digest]
    manifest = await target.registry.manifest(target.repository("acme/web"), bundle.digest, NOBODY)
    assert image.digest.encode() in manifest.content


async def test_more_referrers_than_the_limit_are_refused(target: Target) -> None:
    image = await target.publish("acme/web")
    for number in range(LIMITS.referrers):
        await target.attach(image, BUNDLE, b"%d" % number)
    _, found = await target.registry.referrers(image, None, NOBODY)
    assert len(found) == LIMITS.referrers
    other = await target.publish("acme/more")
    for number in range(LIMITS.referrers + 1):
        await target.attach(other, BUNDLE, b"%d" % number)
    with pytest.raises(TooLarge):
        await target.registry.referrers(other, None, NOBODY)
