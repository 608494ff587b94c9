"""From a manifest to a ResolvedImage, wherever manifests and configurations are read from.

The proof of what ``resolve`` returns is in the numbers of http.py; its steps 3 and 4 are here: what the bytes say
they are is what they were listed as, can be read in one way only, and children and configurations are asked for by
the digests that their parents name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from portcullis.errors import Malformed, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import (
    Descriptor,
    Digest,
    ImageConfig,
    ImageReference,
    Manifest,
    Platform,
    PlatformImage,
    ResolvedImage,
)
from portcullis.registry.configs import read_config
from portcullis.registry.manifests import INDEXES, ImageIndex, ImageManifest, read_manifest
from portcullis.registry.platforms import candidates, may_lead
from portcullis.tasks import aside, together
from portcullis.text import clean


class Content(Protocol):
    """Where one repository's content comes from. Raises only RegistryError; what it returns has the digest that it
    was asked for."""

    async def manifest(self, digest: Digest) -> Manifest:
        """``media_type`` is what the content was sent or listed as, "" where nothing says."""
        ...

    async def small_blob(self, digest: Digest, limit: int, named: str) -> bytes:
        """A whole blob. Raises TooLarge past ``limit`` bytes, in the words of ``named``."""
        ...

    async def present(self, children: Sequence[Descriptor]) -> Sequence[Descriptor]:
        """Those children of an index that can be had at all. A registry has all that it lists; a folder may not
        (image-spec image-layout.md, "Blobs")."""
        ...


async def assemble(
    reference: ImageReference,
    manifest: Manifest,
    content: Content,
    *,
    platforms: Sequence[Platform],
    limits: Limits,
    what: str,
) -> ResolvedImage:
    """What ``manifest`` describes, down to the configuration of each platform that is judged.

    Args:
        manifest: what ``reference`` names, its digest checked.
        platforms: those that are judged of an index; a single image is judged whatever its platform.
        limits: ``index_children``, ``index_depth``, ``index_manifests``, ``image_layers``, ``config_bytes``,
            ``json_depth``.
        what: names the image in messages.

    Raises:
        RegistryError: of ``content``, or because what came is malformed, too large, or has no wanted platform.
    """
    found = await aside(len(manifest.content), lambda: read_manifest(manifest, limits, what))
    maker = _Assembly(content, limits, what)
    if isinstance(found, ImageIndex):
        children = await maker.leaves(found, platforms)
        chosen = await content.present(candidates(children, platforms, what))
        images = tuple(await together(chosen, maker.child))
    else:
        images = (await maker.image(manifest.digest, found, None),)
    return ResolvedImage(reference, manifest.digest, found.media_type, isinstance(found, ImageIndex), images)


class _Assembly:
    def __init__(self, content: Content, limits: Limits, what: str) -> None:
        self._content = content
        self._limits = limits
        self._what = what

    async def leaves(self, index: ImageIndex, wanted: Sequence[Platform]) -> Sequence[Descriptor]:
        """The manifests of an index and of the indexes in it, in their order.

        Runtimes follow an index in an index where its platform fits or is not named, and take its platform for that
        of what is in it (containerd's images.Manifest). So a manifest without a platform gets that of the nearest
        index around it that names one, and is judged wherever a node could come to it.
        """
        entries, depth = list(index.children), 1
        while nested := [one for one in entries if one.media_type in INDEXES and may_lead(one.platform, wanted)]:
            depth += 1
            if depth > self._limits.index_depth:
                raise TooLarge(
                    f"{self._what} nests indexes deeper than the limit indexDepth of {self._limits.index_depth}"
                )
            distinct = {one.digest: one for one in await self._content.present(nested)}
            read = dict(zip(distinct, await together(tuple(distinct.values()), self._index), strict=True))
            count = sum(len(read[one.digest]) if one.digest in read else 1 for one in entries)
            if count > self._limits.index_manifests:
                raise TooLarge(
                    f"{self._what} lists {count} manifests in nested indexes; the limit indexManifests is "
                    f"{self._limits.index_manifests}"
                )
            entries = [child for one in entries for child in _within(one, read)]
        return [one for one in entries if one.media_type not in INDEXES]

    async def _index(self, child: Descriptor) -> Sequence[Descriptor]:
        found = await self._listed(child)
        if not isinstance(found, ImageIndex):
            raise Malformed(f"{child.digest} of {self._what} is listed as an index, and is none")
        return found.children

    async def child(self, child: Descriptor) -> PlatformImage:
        found = await self._listed(child)
        if isinstance(found, ImageIndex):
            raise Malformed(f"{child.digest} of {self._what} is listed as an image, and is an index")
        return await self.image(child.digest, found, child.platform)

    async def _listed(self, child: Descriptor) -> ImageManifest | ImageIndex:
        """What ``child`` lists: of its digest, of its size, and of its type whatever anybody else says."""
        what = f"the manifest {child.digest} of {self._what}"
        manifest = await self._content.manifest(child.digest)
        check_size(len(manifest.content), child, what)
        if manifest.media_type and manifest.media_type != child.media_type:
            raise Malformed(f"{what} is listed as {clean(repr(child.media_type), 100)} and was sent as another type")
        typed = Manifest(child.media_type, child.digest, manifest.content)
        return await aside(len(typed.content), lambda: read_manifest(typed, self._limits, what))

    async def image(self, digest: Digest, manifest: ImageManifest, platform: Platform | None) -> PlatformImage:
        said, config = await self._config(manifest.config)
        return PlatformImage(platform or said, digest, manifest.config.digest, config, manifest.layers)

    async def _config(self, descriptor: Descriptor) -> tuple[Platform, ImageConfig]:
        what = f"the configuration {descriptor.digest} of {self._what}"
        limit = self._limits.config_bytes
        if descriptor.size > limit:
            raise TooLarge(f"{what} has {descriptor.size} bytes; the limit configBytes is {limit}")
        content = await self._content.small_blob(descriptor.digest, limit, f"the limit configBytes of {limit}")
        check_size(len(content), descriptor, what)
        return await aside(len(content), lambda: read_config(content, self._limits, what))


def _within(entry: Descriptor, read: Mapping[Digest, Sequence[Descriptor]]) -> Sequence[Descriptor]:
    """What stands in place of an entry: the children of an index that was read; nothing for one that was not, since no
    node comes to it; else itself."""
    if entry.digest in read:
        return [replace(child, platform=child.platform or entry.platform) for child in read[entry.digest]]
    return () if entry.media_type in INDEXES else (entry,)


def check_size(size: int, descriptor: Descriptor, what: str) -> None:
    """Runtimes refuse content of another size than its descriptor's, so it is none that could run."""
    if size != descriptor.size:
        raise Malformed(f"{what} has {size} bytes, and is listed with {descriptor.size}")
