"""Finds what is attached to an image, wherever it lies.

An image has one or more subjects: its own digest and, where that is of an index, the digest of each platform that is
judged. Of each subject, in the image's repository and in those that the operator names beside it, are looked for:

* its referrers, from the Referrers API or the fall-back tag;
* cosign's tags ``sha256-<hex>.att`` and ``.sig`` (cosign up to 2). Their manifests have no subject: what they hold is
  bound to the image by what is signed in it, and by that alone;
* what BuildKit puts into the index itself (https://docs.docker.com/build/metadata/attestations/attestation-storage/).

What carries a signature is for the verifier. A bare statement, and a report that is attached as it is, carry none; they
are bound by digest to a manifest, and count as evidence where that manifest is signed, or the index that lists it. So
the signatures of such a manifest are looked for too, one level deep.

Which of these carriers count at all, the operator says: whoever strips the signature of a new format must not get one
of an old format believed.

What cannot be fetched fails the whole: the missing part may be the one that says no. So does too much: every bound is
checked by what manifests say, before the content is fetched, and no more than they say is read afterwards.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from portcullis.errors import ConfigError, Malformed, NotFound, RegistryError, TooLarge
from portcullis.evidence.artifact import (
    Artifact,
    is_statement,
    plain,
    read_artifact,
    read_children,
    signed_form,
)
from portcullis.evidence.found import Bounds, Discovered, Found, Place
from portcullis.evidence.kept import Kept
from portcullis.evidence.refusal import (
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNSUPPORTED,
    EvidenceError,
    shown,
)
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Descriptor, Digest, Manifest, Repository, ResolvedImage
from portcullis.model.imagepattern import ImagePattern, parse_pattern
from portcullis.model.stale import stale_since
from portcullis.ports import Registry
from portcullis.tasks import aside, together

ALL_CARRIERS = frozenset(CarrierKind)

_WIDTH = 4
"""Manifests of one place at once."""
_PLACES = 4
"""Places at once; each asks for up to three lists."""
_MANIFESTS_SHARE = 8
"""Of the room for verdicts, a part for what the manifests say: they are small."""
_TAGS = ("att", "sig")
_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION_MANIFEST = "attestation-manifest"
_INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)


@dataclass(frozen=True, slots=True)
class AttestationSource:
    """Another repository (``registry/repository``) where attestations of the matching ``images`` lie (patterns as in
    images.py)."""

    images: tuple[str, ...]
    repository: str


@dataclass(frozen=True, slots=True)
class _Part:
    found: Sequence[Found] = ()
    stale_since: datetime | None = None


class Discoverer:
    """Finds attestations.

    Args:
        registry: is asked with the access of each call, and remembers by itself.
        limits: ``attestation_places``, ``referrers``, ``attestation_bytes``, ``attestations_bytes``, ``index_depth``,
            ``index_manifests``, ``json_depth``, ``json_values``, ``known_verdicts``, ``known_verdict_bytes``.
        carriers: which count.
        repositories: where else they lie.
        is_report: whether something of that media type is a report that is attached as it is.

    Raises:
        ConfigError: a pattern of ``repositories`` is malformed, or a repository is none.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        limits: Limits,
        carriers: Collection[CarrierKind],
        repositories: Sequence[AttestationSource],
        is_report: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._bounds = Bounds(limits)
        self._carriers = frozenset(carriers)
        self._sources = tuple(_source(one) for one in repositories)
        self._is_report = is_report
        # What manifests say, which never changes, so that they are not parsed for each decision.
        room = limits.known_verdict_bytes // _MANIFESTS_SHARE
        self._artifacts: Kept[tuple[Digest, str], Artifact] = Kept(entries=limits.known_verdicts, room=room)
        self._indexes: Kept[Digest, Sequence[Descriptor]] = Kept(entries=limits.known_verdicts, room=room)

    async def find(self, image: ResolvedImage, access: Access) -> Discovered:
        """All that is attached to the image and its platforms, none of it fetched yet.

        Raises:
            RegistryError: something could not be asked for, or there is more of it than the limits allow (TooLarge).
        """
        places = self._places(image)
        self._bounds.check_places(len(places), image)
        looked = await together(places, lambda place: self._look(image, place, access), at_once=_PLACES)
        inside = await self._in_index(image, access)
        listed = {one.manifest for one in inside}
        # Newer builders give these manifests a subject, so that a registry lists them as referrers, too.
        found = [one for part in looked for one in part.found if one.manifest not in listed]
        found += inside
        self._bounds.check_counts(found, image)
        seals, unconfirmed = await self._seals(image, found, len(places), access)
        self._bounds.check_bytes([*found, *(one for group in seals.values() for one in group)], image)
        return Discovered(tuple(found), seals, _oldest([unconfirmed, *(part.stale_since for part in looked)]))

    async def read(self, found: Found, access: Access) -> bytes:
        """The content of what has a layer, no more than its manifest says.

        Raises:
            RegistryError: it cannot be had, is longer (TooLarge), or does not have its digest.
        """
        assert found.layer is not None
        layer, pieces = found.layer, list[bytes]()
        try:
            async for piece in self._registry.blob(found.place.repository, layer.digest, layer.size, access):
                pieces.append(piece)
        except NotFound as error:
            raise _dangling(found.place, layer.digest, error) from error
        return b"".join(pieces)

    # -- where -----------------------------------------------------------------------------------------------

    def _places(self, image: ResolvedImage) -> Sequence[Place]:
        own = image.reference.repository
        repositories = [own, *(other for patterns, other in self._sources if _covers(patterns, own))]
        subjects = [image.digest, *(platform.digest for platform in image.platforms)]
        return [
            Place(repository, subject)
            for subject in dict.fromkeys(subjects)
            for repository in dict.fromkeys(repositories)
        ]

    async def _look(self, image: ResolvedImage, place: Place, access: Access) -> _Part:
        """Everything at one place."""
        asked: list[Callable[[], Awaitable[_Part]]] = [lambda: self._referrers(image, place, access)]
        # Only sha256 leaves room for cosign's endings in the 128 characters of a tag, and cosign knows no other.
        if CarrierKind.COSIGN_TAG in self._carriers and place.subject.algorithm == "sha256":
            asked += [lambda ending=ending: self._tagged(place, ending, access) for ending in _TAGS]  # type: ignore[misc]
        parts = await together(asked, lambda ask: ask())
        found = [one for part in parts for one in part.found]
        return _Part(found, _oldest(part.stale_since for part in parts))

    async def _referrers(self, image: ResolvedImage, place: Place, access: Access) -> _Part:
        if self._carriers.isdisjoint({CarrierKind.REFERRER, CarrierKind.FALLBACK_TAG}):
            return _Part()
        there = replace(image, digest=place.subject, reference=replace(image.reference, repository=place.repository))
        kind, descriptors = await self._registry.referrers(there, None, access)
        if kind not in self._carriers:
            return _Part()
        self._bounds.check_count(len(descriptors), place)
        groups = await together(
            descriptors, lambda descriptor: self._referrer(kind, place, descriptor, access), at_once=_WIDTH
        )
        return _Part([one for group in groups for one in group], stale_since(descriptors))

    async def _referrer(
        self, kind: CarrierKind, place: Place, descriptor: Descriptor, access: Access
    ) -> Sequence[Found]:
        artifact = await self._artifact(
            await self._manifest(place, descriptor.digest, access), descriptor.artifact_type
        )
        if artifact.fault is None and artifact.subject != place.subject:
            return [_faulty(kind, place, artifact, _OTHER_SUBJECT)]
        return self._layers(kind, place, artifact, sealed_by=artifact.digest, reports=True)

    async def _tagged(self, place: Place, ending: str, access: Access) -> _Part:
        """What cosign (up to 2) writes: each layer is an attestation or a signature of its own."""
        tag = f"{place.subject.algorithm}-{place.subject.hex}.{ending}"
        try:
            manifest = await self._registry.tagged(place.repository, tag, access)
        except NotFound as error:
            return _Part((), error.stale_since)
        artifact = await self._artifact(manifest)
        found = self._layers(CarrierKind.COSIGN_TAG, place, artifact, sealed_by=None, reports=False)
        return _Part(found, stale_since(manifest))

    async def _in_index(self, image: ResolvedImage, access: Access) -> Sequence[Found]:
        """Attestation manifests of BuildKit in the image's index, or in one that it lists, for judged platforms."""
        if not image.is_index or CarrierKind.INDEX not in self._carriers:
            return []
        place = Place(image.reference.repository, image.digest)
        judged = {platform.digest for platform in image.platforms}
        listed = [
            (Place(place.repository, subject), child)
            for child in await self._children(place, access)
            if child.annotations.get(_REFERENCE_TYPE) == _ATTESTATION_MANIFEST
            and (subject := _digest_in(child, judged)) is not None
        ]
        groups = await together(
            listed, lambda one: self._attested(image.digest, one[0], one[1], access), at_once=_WIDTH
        )
        return [one for group in groups for one in group]

    async def _children(self, place: Place, access: Access) -> Sequence[Descriptor]:
        """Every manifest in the index; the bounds are those by which it was resolved."""
        found: list[Descriptor] = []
        level = [place.subject]
        for _ in range(self._limits.index_depth):
            following: list[Digest] = []
            for digest in level:
                manifest = await self._manifest(place, digest, access)
                children = await self._listed(manifest, place)
                found += children
                following += [child.digest for child in children if child.media_type in _INDEXES]
                if len(found) > self._limits.index_manifests:
                    raise TooLarge(
                        f"the index {place.subject} of {shown(place.repository)} has {len(found)} or more manifests; "
                        f"the limit indexManifests is {self._limits.index_manifests}"
                    )
            level = following
        return found

    async def _listed(self, manifest: Manifest, place: Place) -> Sequence[Descriptor]:
        known = self._indexes.get(manifest.digest)
        if known is not None:
            return known
        size = len(manifest.content)
        try:
            children = await aside(size, lambda: read_children(manifest, self._limits))
        except EvidenceError as error:
            raise Malformed(f"the index {manifest.digest} of {shown(place.repository)}: {error.message}") from None
        self._indexes.put(manifest.digest, children, size)
        return children

    async def _attested(self, index: Digest, place: Place, child: Descriptor, access: Access) -> Sequence[Found]:
        artifact = await self._artifact(await self._manifest(place, child.digest, access))
        if artifact.subject not in {None, place.subject}:
            return [_faulty(CarrierKind.INDEX, place, artifact, _OTHER_SUBJECT)]
        return self._layers(CarrierKind.INDEX, place, artifact, sealed_by=index, reports=False)

    async def _seals(
        self, image: ResolvedImage, found: Sequence[Found], places: int, access: Access
    ) -> tuple[Mapping[Digest, tuple[Found, ...]], datetime | None]:
        """What may sign the manifests of what is not signed by itself."""
        wanted = dict.fromkeys(
            Place(one.place.repository, one.manifest) for one in found if one.sealed_by == one.manifest
        )
        self._bounds.check_places(places + len(wanted), image)
        parts = await together(list(wanted), lambda place: self._look(image, place, access), at_once=_PLACES)
        seals: dict[Digest, tuple[Found, ...]] = {}
        for place, part in zip(wanted, parts, strict=True):
            signatures = [one for one in part.found if one.layer is not None and one.sealed_by is None]
            self._bounds.check_count(len(part.found), place)
            seals[place.subject] = (*seals.get(place.subject, ()), *signatures)
        return seals, _oldest(part.stale_since for part in parts)

    # -- what --------------------------------------------------------------------------------------------------

    def _layers(
        self, kind: CarrierKind, place: Place, artifact: Artifact, *, sealed_by: Digest | None, reports: bool
    ) -> Sequence[Found]:
        """The layers that can be read; never nothing.

        Args:
            sealed_by: whose signature covers those that have none of their own.
            reports: whether reports count that are attached as they are.
        """
        if artifact.fault is not None:
            return [_faulty(kind, place, artifact, artifact.fault)]
        found: list[Found] = []
        for layer in artifact.layers:
            report = self._report(artifact.kind, layer.media_type) if reports else ""
            if signed_form(layer.media_type):
                found.append(Found(kind, place, artifact.digest, layer))
            elif is_statement(layer.media_type) or report:
                found.append(Found(kind, place, artifact.digest, layer, report=report, sealed_by=sealed_by))
        if found:
            return found
        unread = f"{shown(artifact.kind)} is no kind of attestation that is read"
        return [_faulty(kind, place, artifact, EvidenceError(unread, ATTESTATION_UNSUPPORTED))]

    def _report(self, artifact_kind: str, media_type: str) -> str:
        """By the layer's own type or, where that says nothing ("application/json"), by that of the whole."""
        candidates = (plain(media_type), plain(artifact_kind))
        return next((one for one in candidates if not is_statement(one) and self._is_report(one)), "")

    async def _artifact(self, manifest: Manifest, listed_as: str = "") -> Artifact:
        known = self._artifacts.get((manifest.digest, listed_as))
        if known is None:
            size = len(manifest.content)
            known = await aside(size, lambda: read_artifact(manifest, listed_as, self._limits))
            self._artifacts.put((manifest.digest, listed_as), known, size)
        return known

    async def _manifest(self, place: Place, digest: Digest, access: Access) -> Manifest:
        try:
            return await self._registry.manifest(place.repository, digest, access)
        except NotFound as error:
            raise _dangling(place, digest, error) from error


_OTHER_SUBJECT = EvidenceError("the manifest that carries it refers to another image", ATTESTATION_SUBJECT_MISMATCH)


def _faulty(kind: CarrierKind, place: Place, artifact: Artifact, fault: EvidenceError) -> Found:
    return Found(kind, place, artifact.digest, fault=fault)


def _source(source: AttestationSource) -> tuple[tuple[ImagePattern, ...], Repository]:
    registry, _, path = source.repository.partition("/")
    if not registry or not path:
        raise ConfigError(f"the repository for attestations {shown(source.repository)} is not registry/repository")
    return tuple(parse_pattern(text) for text in source.images), Repository(registry, path)


def _covers(patterns: Sequence[ImagePattern], repository: Repository) -> bool:
    return any(pattern.matches(repository) for pattern in patterns)


def _digest_in(child: Descriptor, judged: Collection[Digest]) -> Digest | None:
    """Which of the judged platforms an attestation manifest is about."""
    named = child.annotations.get(_REFERENCE_DIGEST, "")
    return next((digest for digest in judged if digest == named), None)


def _oldest(instants: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


def _dangling(place: Place, digest: Digest, error: RegistryError) -> Malformed:
    """The registry listed it and does not have it; "image not found" would send people to look for the image."""
    return Malformed(
        f"the registry lists {digest} as attached to {place.subject} of {shown(place.repository)} but does not have "
        f"it: {error.message}"
    )
