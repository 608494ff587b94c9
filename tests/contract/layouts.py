"""OCI layouts and archives as targets of the contract suite of the Registry port.

What a registry is pushed to, :class:`LayoutPusher` writes into one folder for each repository; and the registries here
read it from there, or from a tar of it.
"""

import contextlib
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fakes.disk import MARKER, REF_NAME
from fakes.registry import AMD64, ARM64, EMPTY, INDEX, MANIFEST, sha256
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Descriptor, Digest, ImageReference, Manifest, Repository, ResolvedImage
from portcullis.ports import Registry
from portcullis.registry.archive import DockerArchive
from portcullis.registry.files import Folder
from portcullis.registry.layout import OciLayout

HOST = "oci-layout"
WANTED = (AMD64, ARM64)


class LayoutPusher:
    """Writes as portcullis.registry.push.Pusher pushes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def blob(self, repository: Repository, content: bytes) -> Digest:
        digest = sha256(content)
        self._write(repository, f"blobs/sha256/{digest.hex}", content)
        return digest

    async def manifest(self, repository: Repository, reference: str, media_type: str, content: bytes) -> Digest:
        """``reference`` is a tag, which then names it, or its digest, which lists it nowhere."""
        digest = await self.blob(repository, content)
        if ":" not in reference:
            entry = {"mediaType": media_type, "digest": digest, "size": len(content)}
            named = {REF_NAME: reference}
            entries = [one for one in self._entries(repository) if one.get("annotations") != named]
            self._list(repository, [*entries, entry | {"annotations": named}])
        return digest

    async def attach(
        self,
        repository: Repository,
        subject: Descriptor,
        *,
        artifact_type: str,
        layer_media_type: str,
        content: bytes,
        annotations: Mapping[str, str],
    ) -> Descriptor:
        empty, layer = await self.blob(repository, b"{}"), await self.blob(repository, content)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": layer_media_type, "digest": layer, "size": len(content)}],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
            "annotations": dict(annotations),
        }
        made = json.dumps(document).encode()
        digest = await self.blob(repository, made)
        entry = {"mediaType": MANIFEST, "digest": digest, "size": len(made), "artifactType": artifact_type}
        self._list(repository, [*self._entries(repository), entry])
        return Descriptor(MANIFEST, digest, len(made), artifact_type, None, dict(annotations))

    def _entries(self, place: Repository) -> list[dict[str, Any]]:
        path = self._root / place.path / "index.json"
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"] if path.exists() else []
        return entries

    def _list(self, place: Repository, entries: Sequence[Mapping[str, Any]]) -> None:
        self._write(place, "oci-layout", MARKER)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        self._write(place, "index.json", json.dumps(index).encode())

    def _write(self, place: Repository, name: str, content: bytes) -> None:
        path = self._root / place.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class Opened:
    """A Registry of many repositories, each of which is opened anew for each question."""

    def __init__(self, open_one: Callable[[Repository], Registry]) -> None:
        self._open = open_one

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        return await self._open(reference.repository).resolve(reference, access)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        return await self._open(image.reference.repository).referrers(image, artifact_type, access)

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        return await self._open(repository).manifest(repository, digest, access)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        return await self._open(repository).tagged(repository, tag, access)

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        async for piece in self._open(repository).blob(repository, digest, limit, access):
            yield piece


@contextlib.asynccontextmanager
async def layouts(root: Path, limits: Limits) -> AsyncIterator[tuple[Registry, LayoutPusher]]:
    """Folders under ``root``, and what writes them."""

    def open_one(repository: Repository) -> Registry:
        files = Folder(root / repository.path)
        return OciLayout(files=files, repository=repository, platforms=WANTED, limits=limits)

    yield Opened(open_one), LayoutPusher(root)


@contextlib.asynccontextmanager
async def archives(root: Path, limits: Limits) -> AsyncIterator[tuple[Registry, LayoutPusher]]:
    """The same, each folder read from a tar of it."""

    def open_one(repository: Repository) -> Registry:
        path = root / f"{repository.path.replace('/', '-')}.tar"
        folder = root / repository.path
        if folder.exists():
            with tarfile.open(path, "w") as archive:
                archive.add(folder, arcname=".")
        return DockerArchive(path=path, repository=repository, platforms=WANTED, limits=limits)

    yield Opened(open_one), LayoutPusher(root)
