"""The Registry over HTTP: manifests, configurations, blobs and referrers, every byte of them hashed.

Source: OCI distribution specification 1.1 (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).

The proof of what ``resolve`` returns, in numbers that the code repeats:

1. The manifest is asked for by digest or, without one, by tag. Its digest is computed from the bytes that came.
2. A digest that was asked for must be that one. A digest that the registry names for a tag must be, too.
3. What the bytes say they are is what they were sent as, and can be read in one way only.
4. Children of an index and configurations are asked for by the digests that 1 to 3 have proven, and hash to them.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiohttp import ClientResponse
from yarl import URL

from portcullis.errors import Malformed, NotFound, TooLarge, Unreachable
from portcullis.limits import Limits
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
from portcullis.ports import Keychain
from portcullis.registry.configs import read_config
from portcullis.registry.digests import Checksum, check_digest, digest_of, read_digest
from portcullis.registry.hosts import HostRules, same_origin
from portcullis.registry.manifests import (
    ACCEPTED,
    EMPTY,
    OCI_INDEX,
    ImageIndex,
    ImageManifest,
    read_descriptors,
    read_index,
    read_manifest,
)
from portcullis.registry.platforms import candidates
from portcullis.registry.transport import Call, Transport, read_body, read_pieces
from portcullis.tasks import aside, together
from portcullis.text import clean

_NO_API: Final = frozenset({404, 405})
"""How registries of distribution 1.0 answer the Referrers API."""


class HttpRegistry:
    """A Registry (ports.py) for every host that the rules allow.

    Args:
        keychain: credentials by repository and access.
        hosts: which hosts may be asked, and how.
        platforms: those that are judged of an index; a single image is judged whatever its platform.
        limits: ``manifest_bytes``, ``config_bytes``, ``index_children``, ``image_layers``, ``token_bytes``,
            ``redirects``, ``referrers``, ``referrers_pages``, ``json_depth``, ``connect_seconds``,
            ``flight_seconds``, ``registry_connections_per_host``.
    """

    def __init__(
        self, *, keychain: Keychain, hosts: HostRules, platforms: tuple[Platform, ...], limits: Limits
    ) -> None:
        self._transport = Transport(keychain=keychain, hosts=hosts, limits=limits)
        self._platforms = platforms
        self._limits = limits

    async def start(self) -> None:
        """Opens the pools of connections; the first request does it otherwise."""
        await self._transport.start()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says. ``flight_seconds`` bound the whole."""
        try:
            async with asyncio.timeout(self._limits.flight_seconds):
                return await self._resolve(reference, access)
        except TimeoutError as error:
            raise Unreachable(
                f"{reference.repository.registry} did not deliver {_shown(reference)} within the limit "
                f"flightSeconds of {self._limits.flight_seconds:g}"
            ) from error

    async def _resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        repository, what = reference.repository, _shown(reference)
        if reference.digest is not None:
            manifest = await self.manifest(repository, reference.digest, access)
        else:
            manifest = await self._tagged(repository, reference.tag or "latest", access)
        found = await aside(len(manifest.content), lambda: read_manifest(manifest, self._limits, what))  # 3
        if isinstance(found, ImageIndex):
            platforms = await self._children(repository, found, what, access)
        else:
            platforms = (await self._image(repository, manifest.digest, found, None, access),)
        return ResolvedImage(
            reference, manifest.digest, found.media_type, isinstance(found, ImageIndex), tuple(platforms)
        )

    async def _children(
        self, repository: Repository, index: ImageIndex, what: str, access: Access
    ) -> Sequence[PlatformImage]:
        chosen = candidates(index.children, self._platforms, what)
        return await together(chosen, lambda child: self._child(repository, child, access))

    async def _child(self, repository: Repository, child: Descriptor, access: Access) -> PlatformImage:
        what = f"{clean(str(repository), 300)}@{child.digest}"
        manifest = await self.manifest(repository, child.digest, access)  # 4
        _check_size(manifest.content, child, what)
        if manifest.media_type and manifest.media_type != child.media_type:
            raise Malformed(f"{what} is listed as {clean(repr(child.media_type), 100)} and was sent as another type")
        typed = Manifest(child.media_type, child.digest, manifest.content)
        found = await aside(len(typed.content), lambda: read_manifest(typed, self._limits, what))  # 3
        if isinstance(found, ImageIndex):
            raise Malformed(f"{what} is an index in an index")
        return await self._image(repository, child.digest, found, child.platform, access)

    async def _image(
        self, repository: Repository, digest: Digest, manifest: ImageManifest, platform: Platform | None, access: Access
    ) -> PlatformImage:
        said, config = await self._config(repository, manifest.config, access)
        return PlatformImage(platform or said, digest, manifest.config.digest, config, manifest.layers)

    async def _config(
        self, repository: Repository, descriptor: Descriptor, access: Access
    ) -> tuple[Platform, ImageConfig]:
        what = f"the configuration {descriptor.digest} of {clean(str(repository), 300)}"
        limit = self._limits.config_bytes
        if descriptor.size > limit:
            raise TooLarge(f"{what} has {descriptor.size} bytes; the limit configBytes is {limit}")
        content = bytearray()
        async for piece in self._blob(
            repository, descriptor.digest, limit, access, what, f"the limit configBytes of {limit}"
        ):
            content += piece
        _check_size(content, descriptor, what)  # 4: the iterator has ended, so the digest holds
        return await aside(len(content), lambda: read_config(bytes(content), self._limits, what))

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says; ``media_type`` is the Content-Type, and nothing of the content was read."""
        found = await self._get(repository, digest, f"{clean(str(repository), 300)}@{digest}", access)
        check_digest(found.content, digest, f"{clean(str(repository), 300)}@{digest}")  # 1, 2
        return Manifest(found.media_type, digest, found.content)

    async def _tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """2: the header is optional, but one that differs shows that somebody between lies or is mistaken."""
        what = f"{clean(str(repository), 300)}:{clean(tag, 128)}"
        found = await self._get(repository, tag, what, access)
        if found.digest:
            check_digest(found.content, read_digest(found.digest, what), what)
        return Manifest(found.media_type, digest_of(found.content), found.content)

    async def _get(self, repository: Repository, reference: str, what: str, access: Access) -> Manifest:
        """A manifest with the digest that the registry's header names, unchecked."""
        call = Call(
            repository=repository,
            access=access,
            path=f"manifests/{reference}",
            what=what,
            headers={"Accept": ACCEPTED},
        )
        limit = self._limits.manifest_bytes
        async with self._transport.send(call) as response:
            content = await read_body(response, limit, what, f"the limit manifestBytes of {limit}")
            return Manifest(_content_type(response), Digest(response.headers.get("Docker-Content-Digest", "")), content)

    def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says; ``flight_seconds`` bound the whole."""
        what = f"the blob {digest} of {clean(str(repository), 300)}"
        return self._blob(repository, digest, limit, access, what, f"the {limit} that are read")

    async def _blob(
        self, repository: Repository, digest: Digest, limit: int, access: Access, what: str, named: str
    ) -> AsyncIterator[bytes]:
        checksum = Checksum(digest)
        call = Call(repository=repository, access=access, path=f"blobs/{digest}", what=what)
        async with self._transport.send(call) as response:
            async for piece in read_pieces(response, limit, what, named):
                checksum.update(piece)
                yield piece
        checksum.check(what)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says, in the registry's order.

        The registry is not asked to filter: cosign lists its bundles with the empty media type as their artifact
        type, and a filter would hide them. Those entries are kept whatever is asked for. An empty answer of the
        API is followed by a look at the fall-back tag, because some registries have the API and do not fill it.
        """
        repository = image.reference.repository
        try:
            async with asyncio.timeout(self._limits.flight_seconds):
                listed = await self._listed(repository, image.digest, access)
                kind = CarrierKind.REFERRER if listed is not None else CarrierKind.FALLBACK_TAG
                if not listed:
                    tagged = await self._fallback(repository, image.digest, access)
                    kind = CarrierKind.FALLBACK_TAG if tagged else kind
                    listed = tagged
        except TimeoutError as error:
            raise Unreachable(
                f"{repository.registry} did not deliver the referrers of {image.digest} in time"
            ) from error
        return kind, tuple(
            found for found in listed if artifact_type is None or found.artifact_type in {artifact_type, EMPTY}
        )

    async def _listed(self, repository: Repository, digest: Digest, access: Access) -> Sequence[Descriptor] | None:
        """All pages of the Referrers API; None where there is no such API."""
        what = f"the referrers of {clean(str(repository), 300)}@{digest}"
        found: list[Descriptor] = []
        following: URL | None = None
        for _ in range(self._limits.referrers_pages):
            call = Call(
                repository=repository,
                access=access,
                path=f"referrers/{digest}",
                what=what,
                url=following,
                headers={"Accept": OCI_INDEX},
                expected=_NO_API,
            )
            async with self._transport.send(call) as response:
                if response.status in _NO_API and following is not None:
                    raise Malformed(f"{what} continue at a page that is not there")
                if response.status in _NO_API:
                    return None
                limit = self._limits.manifest_bytes
                content = await read_body(response, limit, what, f"the limit manifestBytes of {limit}")
                if _content_type(response) != OCI_INDEX:
                    raise Malformed(f"{what} came as {clean(repr(_content_type(response)), 100)}, not as an OCI index")
                found += await aside(len(content), functools.partial(read_descriptors, content, self._limits, what))
                self._check_count(len(found), what)
                following = _next_page(response, what)
            if following is None:
                return found
        raise TooLarge(f"{what} have more pages than the limit referrersPages of {self._limits.referrers_pages}")

    async def _fallback(self, repository: Repository, digest: Digest, access: Access) -> Sequence[Descriptor]:
        """The index under the fall-back tag; empty where there is none."""
        tag = fallback_tag(digest)
        try:
            manifest = await self._tagged(repository, tag, access)
        except NotFound:
            return ()
        what = f"the referrers in {clean(str(repository), 300)}:{tag}"
        index = await aside(len(manifest.content), lambda: read_index(manifest, self._limits, what))
        children = index.children
        self._check_count(len(children), what)
        return children

    def _check_count(self, count: int, what: str) -> None:
        if count > self._limits.referrers:
            raise TooLarge(f"{what} are {count} or more; the limit referrers is {self._limits.referrers}")


def fallback_tag(digest: Digest) -> str:
    """Where referrers are listed in registries without the Referrers API.

    Source: distribution-spec, "Referrers Tag Schema": the algorithm cut to 32 and the hex to 64 characters.
    """
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def _next_page(response: ClientResponse, what: str) -> URL | None:
    """The next page (RFC 8288), on the same host only: nobody may send the credential elsewhere."""
    try:
        link = response.links.get("next")
        following = None if link is None else URL(str(link["url"]), encoded=True)
    except (ValueError, KeyError) as error:
        raise Malformed(f"{what} continue at no address") from error
    if following is not None and (not same_origin(following, response.url) or following.user is not None):
        raise Malformed(f"{what} continue on another host, {clean(following.raw_host or '', 100)}")
    return following


def _check_size(content: bytes | bytearray, descriptor: Descriptor, what: str) -> None:
    """Runtimes refuse content of another size than its descriptor's, so it is none that could run."""
    if len(content) != descriptor.size:
        raise Malformed(f"{what} has {len(content)} bytes, and is listed with {descriptor.size}")


def _content_type(response: ClientResponse) -> str:
    """The media type without parameters, "" without the header."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _shown(reference: ImageReference) -> str:
    return clean(str(reference), 400)
