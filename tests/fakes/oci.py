"""An image as a registry serves it: routes for the faulty server, each of which a test may spoil."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fakes.faulty import Answer, Route
from fakes.registry import (
    AMD64,
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    MemoryRegistry,
    config_document,
    image_config,
    sha256,
)
from portcullis.model.image import Descriptor, Digest, Platform, Repository

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def config_bytes(user: str = "10001", platform: Platform = AMD64) -> bytes:
    return config_document(image_config(user), platform)


def manifest_bytes(config: bytes, /, **changes: Any) -> bytes:
    """A manifest of that configuration and one layer; a change to None takes the field away."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, b"layer")],
    }
    return json.dumps({key: value for key, value in (document | changes).items() if value is not None}).encode()


def index_bytes(children: Sequence[Mapping[str, Any]], /, **changes: Any) -> bytes:
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    return json.dumps({key: value for key, value in (document | changes).items() if value is not None}).encode()


def descriptor(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


def listed(manifest: bytes, platform: Platform | None = None, media_type: str = MANIFEST) -> dict[str, Any]:
    """How an index lists a manifest, or another index."""
    if platform is None:
        return descriptor(media_type, manifest)
    named = {"os": platform.os, "architecture": platform.architecture}
    named |= {"variant": platform.variant} if platform.variant else {}
    return descriptor(media_type, manifest, platform=named)


def manifest_answer(content: bytes, media_type: str = MANIFEST, **headers: str) -> Answer:
    return Answer(200, {"Content-Type": media_type, **headers}, content)


def image_routes(name: str = "acme/web", tag: str = "1", user: str = "10001") -> dict[str, Route]:
    """A good single-platform image, by tag and by digest."""
    config = config_bytes(user)
    manifest = manifest_bytes(config)
    answer = manifest_answer(manifest, **{"Docker-Content-Digest": sha256(manifest)})
    return {
        f"/v2/{name}/manifests/{tag}": answer,
        f"/v2/{name}/manifests/{sha256(manifest)}": answer,
        f"/v2/{name}/blobs/{sha256(config)}": Answer(body=config),
    }


def blob_route(name: str, content: bytes) -> dict[str, Route]:
    return {f"/v2/{name}/blobs/{sha256(content)}": Answer(body=content)}


def manifest_route(name: str, reference: str | Digest, content: bytes, media_type: str = MANIFEST) -> dict[str, Route]:
    return {f"/v2/{name}/manifests/{reference}": manifest_answer(content, media_type)}


def stored_routes(memory: MemoryRegistry, place: Repository) -> dict[str, Route]:
    """Everything that is in a repository: manifests by digest and tag, blobs, and lists of referrers."""
    base = f"/v2/{place.path}"
    routes: dict[str, Route] = {}
    for manifest in memory.manifests_of(place):
        routes[f"{base}/manifests/{manifest.digest}"] = manifest_answer(manifest.content, manifest.media_type)
    for (where, tag), digest in memory._tags.items():
        if where == place:
            routes[f"{base}/manifests/{tag}"] = routes[f"{base}/manifests/{digest}"]
    for content in memory.blobs_of(place):
        routes |= blob_route(place.path, content)
    for (where, subject), found in memory._referrers.items():
        if where == place:
            routes[f"{base}/referrers/{subject}"] = referrers_answer(found)
    return routes


def referrers_answer(found: Sequence[Descriptor], **headers: str) -> Answer:
    """One page of the Referrers API (distribution-spec, "Listing Referrers")."""
    listed = [
        {
            "mediaType": one.media_type,
            "digest": one.digest,
            "size": one.size,
            "artifactType": one.artifact_type,
            "annotations": dict(one.annotations),
        }
        for one in found
    ]
    return manifest_answer(index_bytes(listed), INDEX, **headers)
