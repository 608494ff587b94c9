"""What was found, and how much of it there may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from portcullis.errors import TooLarge
from portcullis.evidence.refusal import EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Descriptor, Digest, Repository, ResolvedImage


@dataclass(frozen=True, slots=True)
class Place:
    """Where attestations of ``subject`` are looked for."""

    repository: Repository
    subject: Digest


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is attached.

    Args:
        manifest: what lists it.
        layer: where its content is; None where ``fault`` says why there is nothing to read.
        report: the media type of a report that is attached as it is; "" for everything else.
        sealed_by: the digest whose signature covers it, where it is not signed by itself; None where it is.
    """

    kind: CarrierKind
    place: Place
    manifest: Digest
    layer: Descriptor | None = None
    fault: EvidenceError | None = None
    report: str = ""
    sealed_by: Digest | None = None

    @property
    def digest(self) -> Digest:
        return self.manifest if self.layer is None else self.layer.digest


@dataclass(frozen=True, slots=True)
class Discovered:
    """All that was found, in a fixed order. ``seals`` are what may sign the manifests of reports, by their digest;
    ``stale_since`` is set where a list could not be confirmed now."""

    found: tuple[Found, ...]
    seals: Mapping[Digest, tuple[Found, ...]]
    stale_since: datetime | None


class Bounds:
    """How much may be attached to one image. Each check raises TooLarge, which fails the gathering: what was left out
    might be the part that says no.

    Args:
        limits: ``attestation_places``, ``referrers``, ``attestation_bytes``, ``attestations_bytes``.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def check_places(self, count: int, image: ResolvedImage) -> None:
        limit = self._limits.attestation_places
        if count > limit:
            raise TooLarge(
                f"attestations of {shown(image.reference)} would have to be looked for at {count} places; the limit "
                f"attestationPlaces is {limit}"
            )

    def check_count(self, count: int, place: Place) -> None:
        limit = self._limits.referrers
        if count > limit:
            raise TooLarge(
                f"{count} attestations are attached to {place.subject} of {shown(place.repository)}; the limit "
                f"referrers is {limit}"
            )

    def check_counts(self, found: Iterable[Found], image: ResolvedImage) -> None:
        """All carriers of one subject, in all repositories."""
        counts: dict[Digest, int] = {}
        for one in found:
            counts[one.place.subject] = counts.get(one.place.subject, 0) + 1
        for subject, count in counts.items():
            self.check_count(count, Place(image.reference.repository, subject))

    def check_bytes(self, found: Iterable[Found], image: ResolvedImage) -> None:
        total = 0
        for one in found:
            size = 0 if one.layer is None else one.layer.size
            total += size
            if size > self._limits.attestation_bytes:
                raise TooLarge(
                    f"the attestation {one.digest} of {shown(image.reference)} has {size} bytes; the limit "
                    f"attestationBytes is {self._limits.attestation_bytes}"
                )
        if total > self._limits.attestations_bytes:
            raise TooLarge(
                f"the attestations of {shown(image.reference)} have {total} bytes; the limit attestationsBytes is "
                f"{self._limits.attestations_bytes}"
            )
