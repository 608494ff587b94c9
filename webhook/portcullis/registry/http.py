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
from dataclasses import dataclass
from typing import Final

from yarl import URL

from portcullis.errors import Malformed, NotFound, TooLarge, Unreachable
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
from portcullis.ports import Keychain
from portcullis.registry.blobs import stream_blob
from portcullis.registry.digests import check_digest, digest_of, read_digest
from portcullis.registry.hosts import HostRules
from portcullis.registry.known import KnownContent, SharedContent
from portcullis.registry.manifests import ACCEPTED, EMPTY, OCI_INDEX, read_descriptors, read_index
from portcullis.registry.resolving import Content, assemble
from portcullis.registry.traffic import Traffic
from portcullis.registry.transport import Answered, Call, Transport
from portcullis.tasks import aside
from portcullis.text import clean

_NO_API: Final = frozenset({404, 405})
"""How registries of distribution 1.0 answer the Referrers API."""


class HttpReader:
    """A Registry (ports.py) over a transport that somebody else closes.

    Args:
        mirror: the hosts that are asked stand in the operator's list of mirrors, and not in a reference: what the list
            of allowed registries says of references is not asked of them.
        known: manifests and configurations that images share; without it all of each image is fetched.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        platforms: Sequence[Platform],
        limits: Limits,
        mirror: bool = False,
        known: KnownContent | None = None,
    ) -> None:
        self._transport = transport
        self._platforms = platforms
        self._limits = limits
        self._mirror = mirror
        self._known = known

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
        repository = reference.repository
        content = self._content(repository, access)
        if reference.digest is not None:
            manifest = await content.manifest(reference.digest)
        else:
            manifest = await self.tagged(repository, reference.tag or "latest", access)
        return await assemble(  # 3, 4
            reference,
            manifest,
            content,
            platforms=self._platforms,
            limits=self._limits,
            what=_shown(reference),
        )

    def _content(self, repository: Repository, access: Access) -> Content:
        content = _Content(self, repository, access)
        if self._known is None:
            return content
        # What a mirror's name allows must not answer for the same name in a reference.
        return SharedContent(content, self._known, repository, access, apart="mirror" if self._mirror else "")

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says; ``media_type`` is the Content-Type, and nothing of the content was read."""
        found = await self._get(repository, digest, f"{clean(str(repository), 300)}@{digest}", access)
        check_digest(found.content, digest, f"{clean(str(repository), 300)}@{digest}")  # 1, 2
        return Manifest(found.media_type, digest, found.content)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """As the port says; ``media_type`` is the Content-Type. 2: the header with the digest is optional, but one that
        differs shows that somebody between lies or is mistaken."""
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
            mirror=self._mirror,
        )
        limit = self._limits.manifest_bytes
        answer = await self._transport.fetch(call, limit, f"the limit manifestBytes of {limit}")
        return Manifest(_content_type(answer), Digest(answer.headers.get("Docker-Content-Digest", "")), answer.content)

    def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says, in pieces of 64 KiB and more. A layer may take long: ``stall_seconds`` without a byte end
        it, and ``download_seconds`` in all; of ``flight_seconds`` nothing is asked here."""
        call = Call(
            repository=repository,
            access=access,
            path=f"blobs/{digest}",
            what=f"the blob {digest} of {clean(str(repository), 300)}",
            mirror=self._mirror,
            stream=True,
        )
        named = f"the {limit} that are read"
        return stream_blob(self._transport, call, digest, limit=limit, named=named, limits=self._limits)

    async def small_blob(
        self, repository: Repository, digest: Digest, access: Access, *, limit: int, named: str
    ) -> bytes:
        """A whole blob, its digest checked; ``flight_seconds`` bound it, and it is asked for again where that helps.

        Args:
            named: says in messages which limit ``limit`` is.
        """
        what = f"the blob {digest} of {clean(str(repository), 300)}"
        call = Call(repository=repository, access=access, path=f"blobs/{digest}", what=what, mirror=self._mirror)
        content = (await self._transport.fetch(call, limit, named)).content
        await aside(len(content), lambda: check_digest(content, digest, what))
        return content

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
                mirror=self._mirror,
                paged=True,
            )
            limit = self._limits.manifest_bytes
            answer = await self._transport.fetch(call, limit, f"the limit manifestBytes of {limit}")
            if answer.status in _NO_API and following is not None:
                raise Malformed(f"{what} continue at a page that is not there")
            if answer.status in _NO_API:
                return None
            content = answer.content
            if _content_type(answer) != OCI_INDEX:
                raise Malformed(f"{what} came as {clean(repr(_content_type(answer)), 100)}, not as an OCI index")
            found += await aside(len(content), functools.partial(read_descriptors, content, self._limits, what))
            self._check_count(len(found), what)
            following = answer.next
            if following is None:
                return found
        raise TooLarge(f"{what} have more pages than the limit referrersPages of {self._limits.referrers_pages}")

    async def _fallback(self, repository: Repository, digest: Digest, access: Access) -> Sequence[Descriptor]:
        """The index under the fall-back tag; empty where there is none."""
        tag = fallback_tag(digest)
        try:
            manifest = await self.tagged(repository, tag, access)
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


class HttpRegistry(HttpReader):
    """A Registry (ports.py) for every host that the rules allow.

    Args:
        keychain: credentials by repository and access.
        hosts: which hosts may be asked, and how.
        platforms: those that are judged of an index, read anew for each; a single image is judged whatever it is for.
        limits: those of the section "registries", and ``json_depth``.
        known: as for :class:`HttpReader`; ``aclose`` of it is for others.
        traffic: counts what is asked.

    Raises:
        ConfigError: a file of certificate authorities cannot be used.
    """

    def __init__(
        self,
        *,
        keychain: Keychain,
        hosts: HostRules,
        platforms: Sequence[Platform],
        limits: Limits,
        known: KnownContent | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        transport = Transport(keychain=keychain, hosts=hosts, limits=limits, traffic=traffic)
        super().__init__(transport=transport, platforms=platforms, limits=limits, known=known)

    def for_mirrors(self) -> HttpReader:
        """A reader of mirrors over the same connections; it lives as long as this."""
        return HttpReader(
            transport=self._transport, platforms=self._platforms, limits=self._limits, mirror=True, known=self._known
        )

    async def start(self) -> None:
        """Opens the pools of connections; the first request does it otherwise."""
        await self._transport.start()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()


@dataclass(frozen=True, slots=True)
class _Content:
    """One repository, as ``assemble`` reads it."""

    registry: HttpReader
    repository: Repository
    access: Access

    async def manifest(self, digest: Digest) -> Manifest:
        return await self.registry.manifest(self.repository, digest, self.access)

    async def small_blob(self, digest: Digest, limit: int, named: str) -> bytes:
        return await self.registry.small_blob(self.repository, digest, self.access, limit=limit, named=named)

    async def present(self, children: Sequence[Descriptor]) -> Sequence[Descriptor]:
        return children


def fallback_tag(digest: Digest) -> str:
    """Where referrers are listed in registries without the Referrers API.

    Source: distribution-spec, "Referrers Tag Schema": the algorithm cut to 32 and the hex to 64 characters.
    """
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def _content_type(answer: Answered) -> str:
    """The media type without parameters, "" without the header."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _shown(reference: ImageReference) -> str:
    return clean(str(reference), 400)
