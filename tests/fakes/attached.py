"""What builders and signers put beside images in a MemoryRegistry, otherwise than as a referrer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fakes.registry import EMPTY, INDEX, MANIFEST, MemoryRegistry, image_config
from portcullis.model.image import Descriptor, Digest, ImageReference, Platform, Repository, ResolvedImage

IN_TOTO = "application/vnd.in-toto+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def layer(
    registry: MemoryRegistry,
    place: Repository,
    content: bytes,
    media_type: str,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The descriptor of a blob that is put there."""
    digest = registry._put_blob(place, content)
    document = {"mediaType": media_type, "digest": digest, "size": len(content)}
    return document | ({"annotations": dict(annotations)} if annotations else {})


def tag_attached(
    registry: MemoryRegistry, place: Repository, subject: Digest, ending: str, layers: Sequence[Mapping[str, Any]]
) -> Digest:
    """What cosign up to 2 writes: an image without a subject under a tag made of the digest."""
    config = layer(registry, place, b"{}", CONFIG)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers)}
    return registry.add_tag(place, f"sha256-{subject.hex}.{ending}", MANIFEST, json.dumps(document).encode())


def refer(registry: MemoryRegistry, place: Repository, subject: Digest, document: object) -> Digest:
    """Lists a manifest, whatever it is, among the referrers of a digest."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    manifest = registry._put_manifest(place, MANIFEST, content)
    listed = Descriptor(MANIFEST, manifest.digest, len(content), EMPTY)
    registry._referrers.setdefault((place, subject), []).append(listed)
    return manifest.digest


def attach_to(
    registry: MemoryRegistry,
    place: Repository,
    subject: Digest,
    content: bytes,
    media_type: str,
    *,
    artifact_type: str | None = None,
) -> Digest:
    """Attaches one layer to a digest, which need not be an image's. The digest of its manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type or media_type,
        "layers": [layer(registry, place, content, media_type)],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 2},
    }
    return refer(registry, place, subject, document)


def add_built_image(
    registry: MemoryRegistry,
    name: str,
    platforms: Sequence[Platform],
    statements: Callable[[Digest], Sequence[bytes]],
    *,
    tag: str = "built",
    with_subject: bool = False,
    media_type: str = IN_TOTO,
) -> ResolvedImage:
    """An index as BuildKit makes one: beside each platform a manifest with what the builder says of it.

    Args:
        statements: the builder's statements about the platform of that digest.
        with_subject: as newer builders write these manifests.
    """
    host, _, path = name.partition("/")
    place = Repository(host, path)
    children, found = [], []
    for number, platform in enumerate(platforms):
        image = registry.add_image(name, f"{tag}-{number}", configs={platform: image_config(str(number))})
        (child,) = image.platforms
        found.append(child)
        plain = {**registry._listed(place, child.digest), "platform": spelt(platform)}
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layer(registry, place, b"{}", CONFIG),
            "layers": [layer(registry, place, content, media_type) for content in statements(child.digest)],
        }
        if with_subject:
            document["subject"] = registry._listed(place, child.digest)
            document["artifactType"] = "application/vnd.docker.attestation.manifest.v1+json"
        manifest = registry._put_manifest(place, MANIFEST, json.dumps(document).encode())
        if with_subject:
            listed = Descriptor(MANIFEST, manifest.digest, len(manifest.content), str(document["artifactType"]))
            registry._referrers.setdefault((place, child.digest), []).append(listed)
        noted = {
            **registry._listed(place, manifest.digest),
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": child.digest,
            },
        }
        children += [plain, noted]
    return add_index_of(registry, place, tag, children, replace(image, platforms=tuple(found)))


def add_index_of(
    registry: MemoryRegistry,
    place: Repository,
    tag: str,
    children: Sequence[Mapping[str, Any]],
    image: ResolvedImage,
) -> ResolvedImage:
    """An index of any children, which resolves to the platforms of ``image``."""
    content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}).encode()
    digest = registry.add_tag(place, tag, INDEX, content)
    made = ResolvedImage(ImageReference(place, tag, None), digest, INDEX, True, image.platforms)
    registry._images[f"{place}:{tag}"] = registry._images[f"{place}@{digest}"] = made
    return made


def spelt(platform: Platform) -> dict[str, str]:
    return {"os": platform.os, "architecture": platform.architecture}
