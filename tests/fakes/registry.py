"""A Registry in memory, for tests of what stands above it. It passes tests/contract/test_registry.py."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from portcullis.errors import NotFound, RegistryError, TooLarge
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Descriptor,
    Digest,
    ImageConfig,
    ImageReference,
    Manifest,
    Platform,
    PlatformImage,
    Repository,
    ResolvedImage,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def sha256(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def image_config(user: str = "", **fields: object) -> ImageConfig:
    """An ImageConfig with sensible fields; any of them by keyword."""
    values: dict[str, object] = {
        "user": user,
        "created": datetime(2026, 11, 1, tzinfo=UTC),
        "entrypoint": ("/app/server",),
        "cmd": (),
        "working_dir": "/",
        "env_names": ("PATH",),
        "exposed_ports": (),
        "volumes": (),
        "labels": {},
        "healthcheck": (),
        "history": (),
    }
    return ImageConfig(**(values | fields))  # type: ignore[arg-type]


def config_document(config: ImageConfig, platform: Platform) -> bytes:
    """``config`` as the JSON of image-spec config.md."""
    settings: dict[str, object] = {
        "User": config.user,
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "WorkingDir": config.working_dir,
        "Env": [f"{name}=secret" for name in config.env_names],
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Volumes": {volume: {} for volume in config.volumes},
        "Labels": dict(config.labels),
    }
    if config.healthcheck:
        settings["Healthcheck"] = {"Test": list(config.healthcheck)}
    document: dict[str, object] = {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": one.created_by, "empty_layer": one.empty_layer} for one in config.history],
    }
    if platform.variant:
        document["variant"] = platform.variant
    if config.created is not None:
        document["created"] = config.created.isoformat()
    return json.dumps(document).encode()


@dataclass
class MemoryRegistry:
    """``calls`` counts what was asked, by the name of the method and its reference or digest."""

    limits: Limits = DEFAULT_LIMITS
    platforms: tuple[Platform, ...] = (AMD64, ARM64)
    carrier: CarrierKind = CarrierKind.REFERRER
    calls: list[str] = field(default_factory=list)
    _images: dict[str, ResolvedImage] = field(default_factory=dict)
    _manifests: dict[tuple[Repository, Digest], Manifest] = field(default_factory=dict)
    _tags: dict[tuple[Repository, str], Digest] = field(default_factory=dict)
    _blobs: dict[tuple[Repository, Digest], bytes] = field(default_factory=dict)
    _referrers: dict[tuple[Repository, Digest], list[Descriptor]] = field(default_factory=dict)
    _failures: dict[str, RegistryError] = field(default_factory=dict)

    def add_image(
        self,
        repository: str,
        tag: str = "latest",
        *,
        user: str = "10001",
        configs: Mapping[Platform, ImageConfig] | None = None,
        layers: Sequence[bytes] = (b"layer",),
    ) -> ResolvedImage:
        """Puts an image under ``repository`` (``registry.example/acme/web``) and ``tag``; returns what resolve()
        gives for the tag. ``configs`` with more than one platform makes an index; with none, linux/amd64 that
        runs as ``user``."""
        host, _, path = repository.partition("/")
        place = Repository(host, path)
        children = [
            self._add_platform(place, platform, config, layers)
            for platform, config in (configs or {AMD64: image_config(user)}).items()
        ]
        if len(children) == 1:
            manifest = self._manifests[place, children[0].digest]
            found = tuple(children)
        else:
            listed = [
                {**self._listed(place, child.digest), "platform": _platform_document(child.platform)}
                for child in children
            ]
            content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
            manifest = self._put_manifest(place, INDEX, content)
            found = tuple(child for wanted in self.platforms for child in children if child.platform == wanted)
        reference = ImageReference(place, tag, None)
        is_index = manifest.media_type == INDEX
        image = ResolvedImage(reference, manifest.digest, manifest.media_type, is_index, found)
        for child in children:
            self._images[f"{place}@{child.digest}"] = ResolvedImage(reference, child.digest, MANIFEST, False, (child,))
        self._images[f"{place}:{tag}"] = self._images[f"{place}@{manifest.digest}"] = image
        self._tags[place, tag] = manifest.digest
        return image

    def add_index(self, images: Sequence[ResolvedImage], tag: str) -> ResolvedImage:
        """Puts an index of images that are there already, which may be indexes, under ``tag`` of their repository."""
        place = images[0].reference.repository
        listed = [self._listed(place, image.digest) for image in images]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
        manifest = self._put_manifest(place, INDEX, content)
        platforms = [platform for image in images for platform in image.platforms]
        found = tuple(one for wanted in self.platforms for one in platforms if one.platform == wanted)
        image = ResolvedImage(ImageReference(place, tag, None), manifest.digest, INDEX, True, found)
        self._tags[place, tag] = manifest.digest
        self._images[f"{place}:{tag}"] = self._images[f"{place}@{manifest.digest}"] = image
        return image

    def add_referrer(
        self,
        subject: ResolvedImage,
        artifact_type: str,
        layer_media_type: str,
        content: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Attaches ``content`` to the image, as one layer of a manifest whose subject it is."""
        place = subject.reference.repository
        empty, layer = self._put_blob(place, b"{}"), self._put_blob(place, content)
        subject_size = len(self._manifests[place, subject.digest].content)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": layer_media_type, "digest": layer, "size": len(content)}],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject_size},
            "annotations": dict(annotations or {}),
        }
        manifest = self._put_manifest(place, MANIFEST, json.dumps(document).encode())
        descriptor = Descriptor(
            MANIFEST, manifest.digest, len(manifest.content), artifact_type, None, dict(annotations or {})
        )
        self._referrers.setdefault((place, subject.digest), []).append(descriptor)
        return descriptor

    def add_tag(self, repository: Repository, tag: str, media_type: str, content: bytes) -> Digest:
        """Puts a manifest, be it what it may, under a tag."""
        digest = self._put_manifest(repository, media_type, content).digest
        self._tags[repository, tag] = digest
        return digest

    def fail(self, reference_text: str, error: RegistryError | None) -> None:
        """Whatever is asked of that reference, repository or digest raises ``error`` from now on; None ends it.

        Args:
            reference_text: ``registry.example/acme/web:1``, ``registry.example/acme/web``,
                ``registry.example`` or ``sha256:…``.
        """
        if error is None:
            self._failures.pop(reference_text, None)
        else:
            self._failures[reference_text] = error

    def blobs_of(self, repository: Repository) -> Sequence[bytes]:
        """What add_image and add_referrer made, for pushing it elsewhere."""
        return [content for (place, _), content in self._blobs.items() if place == repository]

    def manifests_of(self, repository: Repository) -> Sequence[Manifest]:
        """Likewise, children before their index."""
        return [manifest for (place, _), manifest in self._manifests.items() if place == repository]

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        self.calls.append(f"resolve {reference}")
        place = reference.repository
        self._raise(str(reference), f"{place}:{reference.tag}", *_names(place))
        key = f"{place}@{reference.digest}" if reference.digest else f"{place}:{reference.tag}"
        image = self._images.get(key)
        if image is None:
            raise NotFound(f"{place.registry} has no {place.path}")
        if not image.platforms:
            raise NotFound(f"{reference} has none of the platforms {', '.join(map(str, self.platforms))}")
        return ResolvedImage(reference, image.digest, image.media_type, image.is_index, image.platforms)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        self.calls.append(f"referrers {image.digest}")
        place = image.reference.repository
        self._raise(f"{place}@{image.digest}", image.digest, *_names(place))
        found = self._referrers.get((place, image.digest), [])
        if len(found) > self.limits.referrers:
            raise TooLarge(f"{len(found)} referrers; the limit referrers is {self.limits.referrers}")
        # Entries with the empty type are kept: cosign writes it where the true one belongs.
        return self.carrier, tuple(
            one for one in found if artifact_type is None or one.artifact_type in {artifact_type, EMPTY}
        )

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        self.calls.append(f"manifest {digest}")
        self._raise(f"{repository}@{digest}", digest, *_names(repository))
        found = self._manifests.get((repository, digest))
        if found is None:
            raise NotFound(f"{repository.registry} has no manifest {digest} in {repository.path}")
        return found

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        self.calls.append(f"tagged {tag}")
        self._raise(f"{repository}:{tag}", *_names(repository))
        digest = self._tags.get((repository, tag))
        if digest is None:
            raise NotFound(f"{repository.registry} has no {repository.path}:{tag}")
        return self._manifests[repository, digest]

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        self.calls.append(f"blob {digest}")
        self._raise(f"{repository}@{digest}", digest, *_names(repository))
        content = self._blobs.get((repository, digest))
        if content is None:
            raise NotFound(f"{repository.registry} has no blob {digest} in {repository.path}")
        if len(content) > limit:
            raise TooLarge(f"the blob {digest} has more than {limit} bytes")
        half = len(content) // 2
        for piece in (content[:half], content[half:]):
            yield piece

    def _raise(self, *names: str) -> None:
        for name in names:
            if name in self._failures:
                raise self._failures[name]

    def _add_platform(
        self, place: Repository, platform: Platform, config: ImageConfig, layers: Sequence[bytes]
    ) -> PlatformImage:
        document = config_document(config, platform)
        config_digest = self._put_blob(place, document)
        described = tuple(Descriptor(LAYER, self._put_blob(place, content), len(content)) for content in layers)
        content = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": config_digest, "size": len(document)},
                "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in described],
            }
        ).encode()
        manifest = self._put_manifest(place, MANIFEST, content)
        return PlatformImage(platform, manifest.digest, config_digest, config, described)

    def _listed(self, place: Repository, digest: Digest) -> dict[str, object]:
        manifest = self._manifests[place, digest]
        return {"mediaType": manifest.media_type, "digest": digest, "size": len(manifest.content)}

    def _put_manifest(self, place: Repository, media_type: str, content: bytes) -> Manifest:
        manifest = Manifest(media_type, sha256(content), content)
        self._manifests[place, manifest.digest] = manifest
        return manifest

    def _put_blob(self, place: Repository, content: bytes) -> Digest:
        digest = sha256(content)
        self._blobs[place, digest] = content
        return digest


def _names(place: Repository) -> tuple[str, str]:
    return str(place), place.registry


def _platform_document(platform: Platform) -> dict[str, str]:
    document = {"os": platform.os, "architecture": platform.architecture}
    return document | ({"variant": platform.variant} if platform.variant else {})
