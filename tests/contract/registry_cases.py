"""The registries that tests/contract/test_registry.py runs over: the fake, caches and mirrors, the client over HTTP
against independent registries, and images on disk."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from contract import layouts
from fakes.registry import AMD64, ARM64, MemoryRegistry
from portcullis.cli.demo.registry import serve_registry
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Descriptor,
    Digest,
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
from portcullis.registry.mirrors import Mirror, MirroringRegistry, Mirrors
from portcullis.registry.push import Pusher
from portcullis.server.clock import SystemClock

NOBODY = Access()
LIMITS = Limits(referrers=3)
WANTED = (AMD64, ARM64)
DISTRIBUTION = """
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {inmemory: {}}
http: {addr: "127.0.0.1:0"}
"""


class Publisher(Protocol):
    """Puts into a registry what it is then read from; :class:`portcullis.registry.push.Pusher` is one."""

    async def blob(self, repository: Repository, content: bytes) -> Digest: ...

    async def manifest(self, repository: Repository, reference: str, media_type: str, content: bytes) -> Digest: ...

    async def attach(
        self,
        repository: Repository,
        subject: Descriptor,
        *,
        artifact_type: str,
        layer_media_type: str,
        content: bytes,
        annotations: Mapping[str, str],
    ) -> Descriptor: ...


@dataclass
class Target:
    """A registry under test: what is published in ``memory`` is put to where ``registry`` reads.

    ``host`` is what references name; ``copies`` are other hosts that have the same. ``says_types``: its list of
    referrers has their artifactType, and not the type of the empty configuration in its place.
    """

    registry: Registry
    host: str
    memory: MemoryRegistry
    publisher: Publisher | None = None
    carrier: CarrierKind = CarrierKind.REFERRER
    copies: tuple[str, ...] = ()
    says_types: bool = True

    def repository(self, path: str) -> Repository:
        return Repository(self.host, path)

    def reference(self, path: str, tag: str | None = "1", digest: Digest | None = None) -> ImageReference:
        return ImageReference(self.repository(path), tag, digest)

    async def publish(
        self, path: str, tag: str = "1", *, user: str = "10001", configs: Mapping[Platform, ImageConfig] | None = None
    ) -> ResolvedImage:
        """What resolve() must give for the tag."""
        image = self.memory.add_image(f"{self.host}/{path}", tag, user=user, configs=configs)
        await self._put(image)
        return image

    async def publish_index(self, images: Sequence[ResolvedImage], tag: str) -> ResolvedImage:
        """An index of images that are published; what resolve() must give for the tag."""
        index = self.memory.add_index(images, tag)
        await self._put(index)
        return index

    async def _put(self, image: ResolvedImage) -> None:
        if self.publisher is None:
            return
        place = image.reference.repository
        top = await self.memory.manifest(place, image.digest, NOBODY)
        assert image.reference.tag is not None
        for there in self._places(place):
            for content in self.memory.blobs_of(place):
                await self.publisher.blob(there, content)
            for manifest in self.memory.manifests_of(place):
                await self.publisher.manifest(there, manifest.digest, manifest.media_type, manifest.content)
            await self.publisher.manifest(there, image.reference.tag, top.media_type, top.content)

    async def tag(self, path: str, tag: str, media_type: str, content: bytes) -> Digest:
        """Puts a manifest under a tag; it need not be an image."""
        place = self.repository(path)
        digest = self.memory.add_tag(place, tag, media_type, content)
        if self.publisher is not None:
            for there in self._places(place):
                await self.publisher.manifest(there, tag, media_type, content)
        return digest

    async def attach(self, image: ResolvedImage, artifact_type: str, content: bytes) -> Descriptor:
        if self.publisher is None:
            return self.memory.add_referrer(image, artifact_type, artifact_type, content)
        place = image.reference.repository
        manifest = await self.memory.manifest(place, image.digest, NOBODY)
        attached = [
            await self.publisher.attach(
                there,
                Descriptor(manifest.media_type, manifest.digest, len(manifest.content)),
                artifact_type=artifact_type,
                layer_media_type=artifact_type,
                content=content,
                annotations={},
            )
            for there in self._places(place)
        ]
        return attached[0]

    def _places(self, place: Repository) -> Sequence[Repository]:
        return [Repository(host, place.path) for host in (place.registry, *self.copies)]


@contextlib.asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[Target]:
    memory = MemoryRegistry(limits=LIMITS)
    yield Target(memory, "registry.example", memory)


@contextlib.asynccontextmanager
async def cached(_: Path) -> AsyncIterator[Target]:
    memory = MemoryRegistry(limits=LIMITS)
    keychain = StaticKeychain(credentials={})
    registry = CachingRegistry(registry=memory, keychain=keychain, clock=SystemClock(), limits=LIMITS)
    try:
        yield Target(registry, "registry.example", memory)
    finally:
        await registry.aclose()


@contextlib.asynccontextmanager
async def over_http(host: str, carrier: CarrierKind = CarrierKind.REFERRER) -> AsyncIterator[Target]:
    """The client, and a registry that listens at ``host``."""
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
async def loopback(_: Path) -> AsyncIterator[Target]:
    async with serve_registry() as host, over_http(host) as target:
        yield target


@contextlib.asynccontextmanager
async def loopback_without_referrers(_: Path) -> AsyncIterator[Target]:
    async with serve_registry(referrers_api=False) as host, over_http(host, CarrierKind.FALLBACK_TAG) as target:
        yield target


@contextlib.asynccontextmanager
async def mirrored(*, empty: bool) -> AsyncIterator[Target]:
    """A registry with a mirror of it, which has the same images, or none."""
    async with serve_registry() as origin, serve_registry() as mirror:
        hosts = frozenset({origin, mirror})
        rules = HostRules(insecure=hosts, private=hosts)
        http = HttpRegistry(keychain=StaticKeychain(credentials={}), hosts=rules, platforms=WANTED, limits=LIMITS)
        pusher = Pusher(keychain=StaticKeychain(credentials={}), hosts=rules, limits=LIMITS)
        registry = MirroringRegistry(
            origin=http,
            mirror=http.for_mirrors(),
            mirrors=Mirrors({origin: [Mirror(mirror)]}),
            hosts=rules,
            limits=LIMITS,
        )
        try:
            yield Target(registry, origin, MemoryRegistry(), pusher, copies=() if empty else (mirror,))
        finally:
            await http.aclose()
            await pusher.aclose()


@contextlib.asynccontextmanager
async def mirror(_: Path) -> AsyncIterator[Target]:
    async with mirrored(empty=False) as target:
        yield target


@contextlib.asynccontextmanager
async def mirror_that_is_empty(_: Path) -> AsyncIterator[Target]:
    async with mirrored(empty=True) as target:
        yield target


@contextlib.asynccontextmanager
async def program(command: Sequence[str], ready: bytes) -> AsyncIterator[str]:
    """A registry of others, started; yields its host. ``ready`` finds its port in what it writes."""
    path = shutil.which(command[0])
    assert path, (
        f"{command[0]} is not on PATH: run the tests through `make test`, or run `make tools` and add its folders"
    )
    process = await asyncio.create_subprocess_exec(
        path, *command[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        written = b""
        while (port := re.search(ready, written)) is None:
            line = await process.stdout.readline()
            assert line, f"{command[0]} ended: {written!r}"
            written += line
        drain = asyncio.create_task(process.stdout.read())
        yield f"127.0.0.1:{int(port.group(1))}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if drain is not None:
            await drain


@contextlib.asynccontextmanager
async def crane(_: Path) -> AsyncIterator[Target]:
    """The registry of go-containerregistry, which knows nothing of this project; this command of it has no Referrers
    API."""
    command = ("crane", "registry", "serve", "--address", "127.0.0.1:0")
    async with program(command, rb"serving on port (\d+)") as host, over_http(host, CarrierKind.FALLBACK_TAG) as target:
        yield target


@contextlib.asynccontextmanager
async def distribution(folder: Path) -> AsyncIterator[Target]:
    """The registry of the distribution project, which Debian packages as docker-registry; it has no Referrers API."""
    configuration = folder / "registry.yml"
    configuration.write_text(DISTRIBUTION)
    command = ("registry", "serve", str(configuration))
    ready = rb"listening on 127\.0\.0\.1:(\d+)"
    async with program(command, ready) as host, over_http(host, CarrierKind.FALLBACK_TAG) as target:
        yield target


@contextlib.asynccontextmanager
async def with_referrers(_: Path) -> AsyncIterator[Target]:
    """The registry of go-containerregistry with its Referrers API."""
    async with program(("referrers-registry",), rb"serving on port (\d+)") as host, over_http(host) as target:
        yield replace(target, says_types=False)


@contextlib.asynccontextmanager
async def layout(folder: Path) -> AsyncIterator[Target]:
    async with layouts.layouts(folder, LIMITS) as (registry, publisher):
        yield Target(registry, layouts.HOST, MemoryRegistry(), publisher)


@contextlib.asynccontextmanager
async def archive(folder: Path) -> AsyncIterator[Target]:
    async with layouts.archives(folder, LIMITS) as (registry, publisher):
        yield Target(registry, layouts.HOST, MemoryRegistry(), publisher)


Opening = Callable[[Path], AbstractAsyncContextManager[Target]]

TARGETS: Mapping[str, Opening] = {
    "memory": in_memory,
    "cache": cached,
    "loopback": loopback,
    "loopback without referrers": loopback_without_referrers,
    "mirror": mirror,
    "mirror that is empty": mirror_that_is_empty,
    "crane": crane,
    "distribution": distribution,
    "with referrers": with_referrers,
    "layout": layout,
    "archive": archive,
}
