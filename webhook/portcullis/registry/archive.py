"""Archives that ``docker save`` and its like write, as a Registry.

There are two forms, and many archives are both at once:

* An OCI image layout in a tar (image-spec image-layout.md): Docker from 25, ``podman save --format oci-archive``,
  BuildKit, skopeo. It is read wherever it is there, since it keeps the digests under which an image was pulled or will
  be pushed, and what is attached to it.
* ``manifest.json`` (https://github.com/moby/moby/blob/v24.0.7/image/spec/spec.md, "Combined Image JSON + Filesystem
  Changeset Format"): a list of images, each with its configuration, its names, and its layers. It has no manifests, so
  one is made for each image (saved.py).

Archives of Docker before 1.10 (``repositories`` alone) are not read.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from portcullis.errors import Malformed
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
from portcullis.registry.files import Files
from portcullis.registry.layout import OciLayout
from portcullis.registry.listing import INDEX, MARKER
from portcullis.registry.saved import LIST, make_layout
from portcullis.registry.tarfiles import open_tar
from portcullis.text import clean


class DockerArchive:
    """A Registry (ports.py) of one repository: an archive. It is opened when the first question comes.

    Args:
        path: the tar, which may be compressed with gzip.
        repository: the name under which it is asked for; any other is not found.
        platforms, limits: as OciLayout has them; and ``archive_entries``, ``archive_plain_bytes``.
    """

    def __init__(self, *, path: Path, repository: Repository, platforms: tuple[Platform, ...], limits: Limits) -> None:
        self._path = path
        self._repository = repository
        self._platforms = platforms
        self._limits = limits
        self._layout: OciLayout | None = None
        self._opening = asyncio.Lock()

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says. A reference with neither tag nor digest names the only image of the archive; a tag is the
        name that the image was saved under (``acme/web:1``)."""
        return await (await self._opened()).resolve(reference, access)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says; only an archive that is an image layout may have any."""
        return await (await self._opened()).referrers(image, artifact_type, access)

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says."""
        return await (await self._opened()).manifest(repository, digest, access)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """As the port says."""
        return await (await self._opened()).tagged(repository, tag, access)

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says."""
        async for piece in (await self._opened()).blob(repository, digest, limit, access):
            yield piece

    async def _opened(self) -> OciLayout:
        async with self._opening:
            if self._layout is None:
                files = await asyncio.to_thread(open_archive, self._path, self._limits)
                self._layout = OciLayout(
                    files=files, repository=self._repository, platforms=self._platforms, limits=self._limits
                )
            return self._layout


def open_archive(path: Path, limits: Limits) -> Files:
    """The files of an archive, laid out as an image layout. Blocks.

    Raises:
        RegistryError: it cannot be read, or is no archive of images.
    """
    files = open_tar(path, clean(str(path), 300), limits)
    if MARKER in files.regions and INDEX in files.regions:
        return files
    if LIST in files.regions:
        return make_layout(files, limits)
    raise Malformed(f"{files.place} has neither {MARKER} nor {LIST}: it is no archive of images that is read")
