"""Images on disk: layouts and archives, written from what tests have in memory."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.oci import descriptor
from fakes.registry import AMD64, CONFIG, EMPTY, INDEX, LAYER, MANIFEST, config_document, image_config, sha256
from portcullis.model.image import Descriptor, Digest, Platform

REF_NAME = "org.opencontainers.image.ref.name"
MARKER = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Image:
    """A manifest with all that it leads to: ``blobs`` by their digests, itself included."""

    media_type: str
    content: bytes
    blobs: Mapping[Digest, bytes]

    @property
    def digest(self) -> Digest:
        return sha256(self.content)

    def listed(self, name: str = "", **more: Any) -> dict[str, Any]:
        """How an index lists it."""
        entry = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content), **more}
        return entry | ({"annotations": {REF_NAME: name}} if name else {})


def image(user: str = "10001", *, platform: Platform = AMD64, layers: Sequence[bytes] = (b"layer",)) -> Image:
    """A single image."""
    return manifest_of(config_document(image_config(user), platform), layers)


def manifest_of(config: bytes, layers: Sequence[bytes] = (b"layer",), **changes: Any) -> Image:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, layer) for layer in layers],
    } | changes
    return _image(MANIFEST, document, (config, *layers))


def index_of(children: Iterable[Mapping[str, Any]], images: Iterable[Image]) -> Image:
    blobs = [blob for one in images for blob in one.blobs.values()]
    return _image(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}, blobs)


def attached_to(subject: Image, content: bytes, artifact_type: str = "application/example") -> Image:
    """An artifact that refers to ``subject``."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(artifact_type, content)],
        "subject": descriptor(subject.media_type, subject.content),
    }
    return _image(MANIFEST, document, (b"{}", content))


def platform_of(platform: Platform) -> dict[str, Any]:
    return {"platform": {"os": platform.os, "architecture": platform.architecture}}


def layout_files(entries: Iterable[Mapping[str, Any]], images: Iterable[Image], **changes: Any) -> dict[str, bytes]:
    """The files of a layout by their names."""
    blobs = {f"blobs/sha256/{digest.hex}": content for one in images for digest, content in one.blobs.items()}
    index = {"schemaVersion": 2, "manifests": list(entries)} | changes
    return {"oci-layout": MARKER, "index.json": json.dumps(index).encode(), **blobs}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tar_of(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar with these files, and symbolic links to what follows each name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()


def compressed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def saved_config(layers: Sequence[bytes], user: str = "10001") -> bytes:
    """A configuration with the diffIDs of plain layers."""
    document = json.loads(config_document(image_config(user), AMD64))
    document["rootfs"]["diff_ids"] = [sha256(layer) for layer in layers]
    return json.dumps(document).encode()


def saved_files(layers: Sequence[bytes] = (b"one", b"two"), *tags: str, user: str = "10001") -> dict[str, bytes]:
    """What ``docker save`` writes of one image: the configuration, the layers, manifest.json."""
    config = saved_config(layers, user)
    name = f"{sha256(config).hex}.json"
    names = [f"{sha256(layer).hex}/layer.tar" for layer in layers]
    listed = [{"Config": name, "RepoTags": list(tags) or None, "Layers": names}]
    files = {name: config} | dict(zip(names, layers, strict=True))
    return files | {"manifest.json": json.dumps(listed).encode()}


def referred(found: Image, artifact_type: str = "application/example") -> Descriptor:
    """How a Registry lists what :func:`attached_to` made."""
    return Descriptor(found.media_type, found.digest, len(found.content), artifact_type)


def _image(media_type: str, document: Mapping[str, Any], blobs: Iterable[bytes]) -> Image:
    content = json.dumps(document).encode()
    return Image(media_type, content, {sha256(blob): blob for blob in (*blobs, content)})
