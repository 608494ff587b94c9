"""OCI image layouts on disk, as a Registry.

The proof of what ``resolve`` returns is that of http.py, read for files:

1. No name is taken from the image: a blob is opened by the hex digits of a digest whose form was checked, and no
   symbolic link below the folder is followed (files.py).
2. Every manifest, configuration and blob is hashed as it is read, and has the digest that it was asked for by.
3. What the bytes say they are is what they are listed as, and can be read in one way only (resolving.py).
4. Children and configurations are asked for by the digests that 2 and 3 have proven (resolving.py).

What differs from a registry: one folder is one repository; a tag is whatever ``index.json`` calls an image; and the
platforms of an index that the layout lists but does not have are left out, as image-layout.md ("Blobs") lets them be.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from portcullis.errors import NotFound, TooLarge
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Descriptor,
    Digest,
    ImageReference,
    Manifest,
    Platform,
    Repository,
    ResolvedImage,
)
from portcullis.registry.digests import Checksum, check_digest
from portcullis.registry.files import Files, pieces, whole
from portcullis.registry.listing import Listing, blob_name
from portcullis.registry.manifests import EMPTY, INDEXES
from portcullis.registry.resolving import assemble, check_size
from portcullis.tasks import aside
from portcullis.text import clean

_SHOWN: Final = 10


class OciLayout:
    """A Registry (ports.py) of one repository: an image layout.

    On whose behalf it is read plays no part, and nothing is asked of a network. What the folder lists is read once; of
    one that changes meanwhile, what does not have its digest is refused.

    Args:
        files: the folder, or what is laid out like one.
        repository: the name under which it is asked for; any other is not found.
        platforms: those that are judged of an index; a single image is judged whatever its platform.
        limits: ``manifest_bytes``, ``config_bytes``, ``layout_manifests``, ``referrers``, ``index_children``,
            ``image_layers``, ``json_depth``.
    """

    def __init__(
        self, *, files: Files, repository: Repository, platforms: tuple[Platform, ...], limits: Limits
    ) -> None:
        self._files = files
        self._listing = Listing(files, limits)
        self._repository = repository
        self._platforms = platforms
        self._limits = limits

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says. A reference with neither tag nor digest names the only image of the layout."""
        self._check(reference.repository)
        await self._listing.entries()  # what is no layout gets that word, and not that a blob is missing
        digest = reference.digest or await self._listing.named(reference.tag)
        manifest = await self.manifest(reference.repository, digest, access)
        return await assemble(
            reference,
            manifest,
            _Content(self._files, self._listing),
            platforms=self._platforms,
            limits=self._limits,
            what=f"{digest} in {self._files.place}",
        )

    async def referrers(
        self,
        image: ResolvedImage,
        artifact_type: str | None,
        access: Access,  # noqa: ARG002
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says: whatever the layout lists, at any depth, and whose ``subject`` is the image. That takes in
        what is listed under a fall-back tag."""
        self._check(image.reference.repository)
        found = [one.descriptor for one in (await self._listing.listed()).values() if one.subject == image.digest]
        if len(found) > self._limits.referrers:
            raise TooLarge(
                f"{len(found)} manifests in {self._files.place} refer to {image.digest}; the limit referrers is "
                f"{self._limits.referrers}"
            )
        # Those with the empty type stay, for the reason that http.py gives.
        return CarrierKind.REFERRER, tuple(
            one for one in found if artifact_type is None or one.artifact_type in {artifact_type, EMPTY}
        )

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:  # noqa: ARG002
        """As the port says; ``media_type`` is what the layout lists it as, "" where it does not list it."""
        self._check(repository)
        content = await self._listing.read(digest)  # 2
        for entry in await self._listing.entries():
            if entry.digest == digest:
                check_size(len(content), entry, f"{digest} in {self._files.place}")  # 3
                return Manifest(entry.media_type, digest, content)
        below = (await self._listing.listed()).get(digest)
        return Manifest(below.descriptor.media_type if below else "", digest, content)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """As the port says: a tag is the ``org.opencontainers.image.ref.name`` of an entry of index.json."""
        self._check(repository)
        return await self.manifest(repository, await self._listing.tagged(tag), access)

    async def blob(
        self,
        repository: Repository,
        digest: Digest,
        limit: int,
        access: Access,  # noqa: ARG002
    ) -> AsyncIterator[bytes]:
        """As the port says."""
        self._check(repository)
        checksum = Checksum(digest)
        name = blob_name(digest)  # 1
        async with aclosing(pieces(self._files, name, limit, f"the {limit} that are read")) as reading:
            async for piece in reading:
                await asyncio.to_thread(checksum.update, piece)
                yield piece
        checksum.check(f"{self._files.place}/{name}")  # 2

    def _check(self, repository: Repository) -> None:
        if repository != self._repository:
            raise NotFound(f"{self._files.place} is not {clean(str(repository), 300)}")


class _Content:
    """The layout as resolving.py reads it."""

    def __init__(self, files: Files, listing: Listing) -> None:
        self._files = files
        self._listing = listing

    async def manifest(self, digest: Digest) -> Manifest:
        return Manifest("", digest, await self._listing.read(digest))  # 2

    async def small_blob(self, digest: Digest, limit: int, named: str) -> bytes:
        name = blob_name(digest)  # 1
        content = await whole(self._files, name, limit, named)
        await aside(len(content), lambda: check_digest(content, digest, f"{self._files.place}/{name}"))  # 2
        return content

    async def present(self, children: Sequence[Descriptor]) -> Sequence[Descriptor]:
        found = [child for child in children if await self._listing.has(child.digest)]
        if not found and not any(child.media_type in INDEXES for child in children):
            lacking = ", ".join(str(child.platform or child.digest) for child in children[:_SHOWN])
            raise NotFound(f"{self._files.place} lists images for {clean(lacking, 300)}, and has none of them")
        return found
