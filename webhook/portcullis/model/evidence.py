"""Evidence: what was signed about an image, verified or rejected with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from portcullis.model.image import Digest, Platform
from portcullis.model.json import JSONObject


class CarrierKind(StrEnum):
    """Where an attestation was found."""

    REFERRER = "referrer"
    FALLBACK_TAG = "fallback-tag"


@dataclass(frozen=True, slots=True)
class Carrier:
    """One found attestation, not yet believed. ``content`` is the blob: a DSSE envelope or a Sigstore bundle,
    told apart by ``media_type``; ``digest`` its digest; ``subject`` the image it was found at."""

    kind: CarrierKind
    media_type: str
    digest: Digest
    subject: Digest
    content: bytes = field(repr=False)


class PredicateClass(StrEnum):
    """What a predicate type is about; trust rules speak of these."""

    VULNERABILITY = "vulnerability"
    LINT = "lint"
    SBOM = "sbom"
    VEX = "vex"
    PROVENANCE = "provenance"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Signer:
    """A configured signer by its name in ``trust.signers``. ``kind`` is ``key`` or ``keyless``."""

    name: str
    kind: str
    issuer: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement whose signature and subject were verified."""

    predicate_type: str
    predicate: JSONObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    statement: Statement
    signers: tuple[Signer, ...]
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """``reason`` is a stable code of docs/reasons.md, ``message`` one sentence."""

    reason: str
    message: str
    predicate_type: str = ""
    signer: Signer | None = None


@dataclass(frozen=True, slots=True)
class Attestation:
    """A found attestation with its verdict. ``signer`` is set where a signature of a configured key holds,
    even if the attestation is rejected for another reason."""

    verified: bool
    reason: str
    message: str
    predicate_type: str
    predicate_class: PredicateClass
    signer: Signer | None
    carrier: CarrierKind
    digest: Digest
    subject: Digest
    platform: Platform | None
    signed_at: datetime | None


class Severity(StrEnum):
    """The canonical severities; a scanner's own words are mapped onto them."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEGLIGIBLE = "negligible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One finding. ``fixed`` is the version that mends it, "" where there is none; ``state`` the scanner's
    word for it (fixed, affected, will_not_fix …); ``vex`` "" without a VEX statement."""

    id: str
    aliases: tuple[str, ...]
    package: str
    purl: str
    installed: str
    fixed: str
    severity: Severity
    score: float | None
    state: str
    vex: str = ""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """Every scanner's report in one form.

    ``scanned_at`` is the oldest of the wrapper's and the report's own times, None where neither says;
    ``complete`` is False where the report shows that it left findings out or looked at nothing;
    ``suppressed`` counts findings the report itself marks as ignored.
    """

    scanner: str
    scanner_version: str
    db_built_at: datetime | None
    scanned_at: datetime | None
    target_digests: tuple[Digest, ...]
    target_image_id: str
    platform: Platform | None
    suppressed: int
    complete: bool
    incomplete_because: str
    vulnerabilities: tuple[Vulnerability, ...]

    def counts(self) -> Mapping[str, int]:
        """Number of findings per severity, and ``fixable``."""
        counts = dict.fromkeys((str(severity) for severity in Severity), 0)
        for finding in self.vulnerabilities:
            counts[finding.severity] += 1
        counts["fixable"] = sum(1 for finding in self.vulnerabilities if finding.fixed)
        return counts


@dataclass(frozen=True, slots=True)
class AttestedScan:
    """A report together with the verified attestation that carried it."""

    report: ScanReport
    attestation: Attestation


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found for one image; an empty one means that nothing is attached, which is a fact."""

    attestations: tuple[Attestation, ...] = ()
    scans: tuple[AttestedScan, ...] = ()
    stale_since: datetime | None = None
    """When the registry listed the attestations, where it could not be asked now; None where it could."""
