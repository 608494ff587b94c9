"""What an OCI image layout holds: its index, and every manifest that the index leads to.

Source: OCI image specification 1.1, image-layout.md. A layout need not have all that it lists ("Blobs"); what it
lacks is passed over here, and missed only by whoever asks for it.
"""

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portcullis.errors import Malformed, NotFound, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import Descriptor, Digest, Manifest
from portcullis.registry.digests import check_digest, read_digest
from portcullis.registry.documents import Fields, parse_object
from portcullis.registry.files import Files, whole
from portcullis.registry.manifests import INDEXES, MANIFESTS, read_descriptors, read_index
from portcullis.tasks import aside
from portcullis.text import clean

MARKER: Final = "oci-layout"
INDEX: Final = "index.json"
VERSION: Final = "1.0.0"
REF_NAME: Final = "org.opencontainers.image.ref.name"
"""What an entry of index.json is called (image-spec annotations.md)."""
FULL_NAME: Final = "io.containerd.image.name"
"""The whole name, which containerd and ``docker save`` write beside a ref.name that is the tag alone."""

_HUB: Final = ("", "docker.io/", "docker.io/library/")
"""How the whole name of what people call ``alpine:3.23`` may begin."""
_MARKER_BYTES: Final = 4096
"""``oci-layout`` has 30 bytes."""
_ATTACHED: Final = re.compile(r"sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{64})(?:\.[a-z]{1,8})?")
"""Tags of what is attached to another image: distribution-spec, "Referrers Tag Schema", and those of cosign."""
_SHOWN: Final = 10
_MARKER_FIELDS: Final = frozenset({"imageLayoutVersion"})
_MANIFEST_FIELDS: Final = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"}
)
_DESCRIPTOR_FIELDS: Final = frozenset(
    {"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"}
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A manifest that the layout lists and has. ``descriptor`` says what the manifest itself says of its type and
    annotations, as the Referrers API does; ``subject`` is the image that it refers to, None where it refers to none."""

    descriptor: Descriptor
    subject: Digest | None


class Listing:
    """Reads a layout, its index once.

    Args:
        limits: ``manifest_bytes``, ``layout_manifests``, ``index_children``, ``json_depth``.
    """

    def __init__(self, files: Files, limits: Limits) -> None:
        self._files = files
        self._limits = limits
        self._entries: tuple[Descriptor, ...] | None = None
        self._listed: Mapping[Digest, Listed] | None = None

    async def entries(self) -> tuple[Descriptor, ...]:
        """The entries of index.json.

        Raises:
            RegistryError: it is no layout, or lists more than the limits allow.
        """
        if self._entries is None:
            place, limit = self._files.place, self._limits.manifest_bytes
            marker = await whole(self._files, MARKER, _MARKER_BYTES, f"the {_MARKER_BYTES} that it may have")
            _check_marker(marker, f"{place}/{MARKER}")
            content = await whole(self._files, INDEX, limit, f"the limit manifestBytes of {limit}")
            what = f"{place}/{INDEX}"
            entries = await aside(len(content), lambda: read_descriptors(content, self._limits, what))
            self._check_count(len(entries))
            self._entries = entries
        return self._entries

    async def listed(self) -> Mapping[Digest, Listed]:
        """Every manifest that index.json leads to, at any depth, and that is there; each is read once.

        Raises:
            RegistryError: one of them cannot be read: it may be the one that says no.
        """
        if self._listed is None:
            found: dict[Digest, Listed] = {}
            seen: set[Digest] = set()
            level = _once(await self.entries(), seen)
            while level:
                seen |= level.keys()
                self._check_count(len(seen))
                following: list[Descriptor] = []
                for descriptor in level.values():
                    manifest = await self._there(descriptor)
                    if manifest is not None:
                        found[descriptor.digest] = await self._look(descriptor, manifest)
                        following += await self._children(manifest)
                level = _once(following, seen)
            self._listed = found
        return self._listed

    async def named(self, name: str | None) -> Digest:
        """The digest of the image that index.json calls ``name``; of the only image for None.

        Raises:
            NotFound: there is none, or, for None, more than one.
            Malformed: several images have the name.
        """
        entries = await self.entries()
        place = self._files.place
        if name is None:
            images = await self._images(entries)
            if len(images) != 1:
                problem = f"has {len(images)} images, and none was named" if images else "has no image"
                raise NotFound(f"{place} {problem}{_known(entries, images)}")
            return next(iter(images))
        found = {entry.digest for entry in entries if _is_called(entry, name)}
        if not found:
            images = await self._images(entries)
            raise NotFound(f"{place} has no image {clean(name, 128)}{_known(entries, images)}")
        if len(found) > 1:
            raise Malformed(f"{place} calls {len(found)} images {clean(name, 128)}; name one by its digest")
        return found.pop()

    async def tagged(self, tag: str) -> Digest:
        """The digest of what index.json has under just this name, an image or not.

        Raises:
            NotFound: there is none.
            Malformed: several manifests have the name.
        """
        found = {entry.digest for entry in await self.entries() if entry.annotations.get(REF_NAME) == tag}
        if not found:
            raise NotFound(f"{self._files.place} has nothing that is tagged {clean(tag, 128)}")
        if len(found) > 1:
            raise Malformed(f"{self._files.place} calls {len(found)} manifests {clean(tag, 128)}")
        return found.pop()

    async def read(self, digest: Digest) -> bytes:
        """A manifest; its bytes have the digest. Raises RegistryError."""
        limit = self._limits.manifest_bytes
        name = blob_name(digest)
        content = await whole(self._files, name, limit, f"the limit manifestBytes of {limit}")
        await aside(len(content), lambda: check_digest(content, digest, f"{self._files.place}/{name}"))
        return content

    async def has(self, digest: Digest) -> bool:
        """Whether the layout has a blob. Raises RegistryError other than NotFound."""
        try:
            opened = await asyncio.to_thread(self._files.open, blob_name(digest))
        except NotFound:
            return False
        opened.close()
        return True

    async def _there(self, descriptor: Descriptor) -> Manifest | None:
        """None for what is no manifest (image-layout.md has unknown types ignored) or is not there."""
        if descriptor.media_type not in MANIFESTS | INDEXES:
            return None
        try:
            return Manifest(descriptor.media_type, descriptor.digest, await self.read(descriptor.digest))
        except NotFound:
            return None

    async def _look(self, descriptor: Descriptor, manifest: Manifest) -> Listed:
        what = f"the manifest {descriptor.digest} in {self._files.place}"
        return await aside(len(manifest.content), lambda: _read_listed(manifest, self._limits, what))

    async def _children(self, manifest: Manifest) -> Sequence[Descriptor]:
        if manifest.media_type not in INDEXES:
            return ()
        what = f"the index {manifest.digest} in {self._files.place}"
        index = await aside(len(manifest.content), lambda: read_index(manifest, self._limits, what))
        return index.children

    async def _images(self, entries: Sequence[Descriptor]) -> Collection[Digest]:
        """The entries that stand for themselves. What is attached to another image shows by its name and, where that
        leaves more than one, by its subject; not by an artifactType, which crane gives to images as well."""
        found = {one.digest for one in entries if not any(map(_ATTACHED.fullmatch, _names(one)))}
        if len(found) > 1:
            listed = await self.listed()
            found -= {digest for digest in found if digest in listed and listed[digest].subject is not None}
        return found

    def _check_count(self, count: int) -> None:
        limit = self._limits.layout_manifests
        if count > limit:
            raise TooLarge(f"{self._files.place} lists {count} or more manifests; the limit layoutManifests is {limit}")


def blob_name(digest: Digest) -> str:
    """Where a blob lies in a layout.

    Raises:
        Malformed: it is no digest: what is made of it must not lead out of the folder.
    """
    checked = read_digest(digest, "the request")
    return f"blobs/{checked.algorithm}/{checked.hex}"


def _check_marker(content: bytes, what: str) -> None:
    document = Fields.of(parse_object(content, depth=4, what=what), what, _MARKER_FIELDS)
    version = document.text("imageLayoutVersion")
    if version != VERSION:
        raise Malformed(f"{what} has the imageLayoutVersion {clean(repr(version), 40)}; {VERSION} is read")


def _once(descriptors: Iterable[Descriptor], seen: Collection[Digest]) -> dict[Digest, Descriptor]:
    return {one.digest: one for one in descriptors if one.digest not in seen}


def _read_listed(manifest: Manifest, limits: Limits, what: str) -> Listed:
    """Type and annotations as the Referrers API says them (distribution-spec, "Listing Referrers"): without an
    artifactType, the media type of the configuration."""
    document = Fields.of(parse_object(manifest.content, depth=limits.json_depth, what=what), what, _MANIFEST_FIELDS)
    subject = document.object("subject", _DESCRIPTOR_FIELDS)
    kind = document.text("artifactType") or document.object("config", _DESCRIPTOR_FIELDS).text("mediaType")
    return Listed(
        descriptor=Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest,
            size=len(manifest.content),
            artifact_type=kind,
            annotations=document.text_mapping("annotations"),
        ),
        subject=read_digest(subject.text("digest"), f"the subject of {what}") if document.has("subject") else None,
    )


def _names(entry: Descriptor) -> list[str]:
    return [entry.annotations[key] for key in (FULL_NAME, REF_NAME) if entry.annotations.get(key)]


def _is_called(entry: Descriptor, name: str) -> bool:
    return any(f"{start}{name}" in _names(entry) for start in _HUB)


def _known(entries: Sequence[Descriptor], images: Collection[Digest]) -> str:
    """What could have been asked for: by name, else by digest."""
    known = [next(iter(_names(one)), f"@{one.digest}") for one in entries if one.digest in images]
    shown = ", ".join(clean(name, 128) for name in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f": it has {shown}{more}" if shown else ""
