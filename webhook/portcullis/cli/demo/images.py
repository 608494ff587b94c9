"""Container images made from nothing: real layers (tar and gzip), configurations, manifests and indexes.

The same arguments give the same bytes, so an image's digest depends on what is in it alone.
Sources: OCI image specification 1.1, layer.md, config.md, manifest.md, image-index.md.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from portcullis.model.image import Digest, Platform
from portcullis.times import rfc3339

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

AMD64: Final = Platform("linux", "amd64")
ARM64: Final = Platform("linux", "arm64")


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with their digest and media type."""

    media_type: str
    content: bytes = field(repr=False)

    @property
    def digest(self) -> Digest:
        return _sha256(self.content)

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True, slots=True)
class Layer:
    """``diff_id`` is the digest of the uncompressed tar; ``created_by`` its line of the history."""

    blob: Blob
    diff_id: Digest
    created_by: str


@dataclass(frozen=True, slots=True)
class Image:
    """What is pushed: ``blobs`` first, then ``manifests`` in order; the last one is what a tag names.

    ``image_ids`` are the digests of the configurations by platform: scanners call them the image's id.
    """

    blobs: tuple[Blob, ...]
    manifests: tuple[Blob, ...]
    image_ids: Mapping[Platform, Digest]

    @property
    def root(self) -> Blob:
        return self.manifests[-1]

    @property
    def digest(self) -> Digest:
        return self.root.digest


@dataclass(frozen=True, slots=True)
class File:
    """An entry of a layer: a symlink where ``link`` is set, else a directory where ``content`` is None."""

    path: str
    content: bytes | None
    mode: int = 0o644
    uid: int = 0
    link: str = ""


def layer(files: Sequence[File], created_by: str) -> Layer:
    """Packs the files, in their order, into a gzip-compressed tar without times or names of this machine."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.mode, entry.uid, entry.gid = file.mode, file.uid, file.uid
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(entry)
            elif file.content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(file.content)
                archive.addfile(entry, io.BytesIO(file.content))
    tar = packed.getvalue()
    return Layer(Blob(LAYER, gzip.compress(tar, mtime=0)), _sha256(tar), created_by)


def image(
    layers: Sequence[Layer],
    *,
    platform: Platform,
    user: str,
    created: datetime,
    entrypoint: Sequence[str],
    labels: Mapping[str, str],
) -> Image:
    """A single-platform image. ``user`` is the USER of its Dockerfile, "" for none."""
    moment = rfc3339(created)
    history: list[dict[str, Any]] = [{"created": moment, "created_by": one.created_by} for one in layers]
    if user:
        history.append({"created": moment, "created_by": f"USER {user}", "empty_layer": True})
    history.append({"created": moment, "created_by": f"ENTRYPOINT {json.dumps(list(entrypoint))}", "empty_layer": True})
    config: dict[str, Any] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": moment,
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Entrypoint": list(entrypoint),
            "ExposedPorts": {"8080/tcp": {}},
            "WorkingDir": "/app",
            "Labels": dict(labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": history,
    }
    if user:
        config["config"]["User"] = user
    config_blob = _json_blob(CONFIG, config)
    manifest = _json_blob(
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob.descriptor(),
            "layers": [one.blob.descriptor() for one in layers],
        },
    )
    return Image((*(one.blob for one in layers), config_blob), (manifest,), {platform: config_blob.digest})


def index(images: Sequence[tuple[Platform, Image]]) -> Image:
    """A multi-platform image of single-platform ones."""
    children = [
        {**one.root.descriptor(), "platform": {"os": platform.os, "architecture": platform.architecture}}
        for platform, one in images
    ]
    root = _json_blob(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    blobs = dict.fromkeys(blob for _, one in images for blob in one.blobs)
    manifests = tuple(manifest for _, one in images for manifest in one.manifests)
    return Image(
        tuple(blobs),
        (*manifests, root),
        {platform: digest for _, one in images for platform, digest in one.image_ids.items()},
    )


def base_layer() -> Layer:
    """The few files that a small distribution has, so that scanners and the eye find what they expect."""
    release = 'ID=portcullis-demo\nNAME="Portcullis demo"\nVERSION_ID="1.0"\nPRETTY_NAME="Portcullis demo 1.0"\n'
    accounts = "root:x:0:0:root:/root:/sbin/nologin\napp:x:10001:10001:app:/app:/sbin/nologin\n"
    group = "root:x:0:\napp:x:10001:\n"
    files = [
        File("etc", None, 0o755),
        File("etc/os-release", release.encode()),
        File("etc/passwd", accounts.encode()),
        File("etc/group", group.encode()),
        File("etc/ssl", None, 0o755),
        File("etc/ssl/certs", None, 0o755),
        File("etc/ssl/certs/ca-certificates.crt", b""),
        File("tmp", None, 0o1777),
        File("usr", None, 0o755),
        File("usr/bin", None, 0o755),
        File("usr/bin/env", program("env"), 0o755),
    ]
    return layer(files, "ADD rootfs.tar / # buildkit")


def app_layer(name: str, version: str) -> Layer:
    """A program, its settings and its licence under /app, which belong to root: who runs them cannot change them."""
    files = [
        File("app", None, 0o755),
        File(f"app/{name}", program(f"{name} {version}"), 0o755),
        File("app/config.json", json.dumps({"name": name, "listen": ":8080"}).encode()),
        File("app/LICENSE", b"SPDX-License-Identifier: Apache-2.0\n"),
    ]
    return layer(files, f"COPY build/{name} /app/ # buildkit")


def program(text: str) -> bytes:
    """Bytes that begin as a 64-bit ELF file does; nobody runs them."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + text.encode() + bytes(4096)


def _json_blob(media_type: str, document: Mapping[str, Any]) -> Blob:
    return Blob(media_type, json.dumps(document, separators=(",", ":")).encode())


def _sha256(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
