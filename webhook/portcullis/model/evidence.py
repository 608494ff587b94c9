"""Evidence: what was signed about an image, verified or rejected with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from portcullis.model.image import Digest, Platform


class CarrierKind(StrEnum):
    """Where an attestation was found."""

    REFERRER = "referrer"
    FALLBACK_TAG = "fallback-tag"
    COSIGN_TAG = "cosign-tag"
    """cosign's own tags, ``sha256-<hex>.att`` and ``.sig``."""
    INDEX = "index"
    """A manifest in the image's own index, where BuildKit puts what it says about a build. Not signed by itself."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """One found attestation, not yet believed.

    ``content`` is the blob: a DSSE envelope, a Sigstore bundle, a simple-signing payload, a Notation signature;
    told apart by ``media_type``. ``digest`` is its digest, ``subject`` the image it was found at. ``annotations`` are
    those of its layer, where cosign keeps signature, certificate and log entry of its old formats: nobody signed
    them as such.
    """

    kind: CarrierKind
    media_type: str
    digest: Digest
    subject: Digest
    content: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)


class PredicateClass(StrEnum):
    """What a predicate type is about; trust rules speak of these."""

    VULNERABILITY = "vulnerability"
    LINT = "lint"
    SBOM = "sbom"
    VEX = "vex"
    PROVENANCE = "provenance"
    SIGNATURE = "signature"
    """That an image was signed, and nothing more."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Signer:
    """A configured signer by its name in ``trust.signers``. ``kind`` is ``key``, ``keyless`` or ``notation``.
    ``issuer`` and ``identity`` are what the certificate says, "" for keys."""

    name: str
    kind: str
    issuer: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was said about the subject, its signature and subject verified.

    ``predicate`` is the JSON text of the predicate as signed, ``b"{}"`` where it is unset: readers parse it into the
    types that they need, once. ``predicate_type`` is the in-toto type; for what is no in-toto statement the media type
    of the thing that was signed.
    """

    predicate_type: str
    predicate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """``signers`` are all configured ones whose signature holds. ``signed_at`` is a time that can be trusted (of a
    transparency log or a time-stamp authority), None without one. ``logged`` says whether an entry of a transparency
    log was proven. ``payload`` is the sha256 of what was signed: several attestations with the same one say the same,
    and their signers add up."""

    statement: Statement
    signers: tuple[Signer, ...]
    signed_at: datetime | None = None
    logged: bool = False
    payload: str = ""


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
    logged: bool = False
    repository: str = ""
    """``registry/repository`` where it was found, "" for that of the image."""


class Severity(StrEnum):
    """The canonical severities; a scanner's own words are mapped onto them."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEGLIGIBLE = "negligible"
    UNKNOWN = "unknown"


class VexStatus(StrEnum):
    """What a VEX statement says of a product (OpenVEX specification, "Status Labels")."""

    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"


@dataclass(frozen=True, slots=True)
class VexMark:
    """What a verified VEX statement says of one finding. From ``expires_at`` on it no longer counts."""

    status: VexStatus
    justification: str
    impact: str
    signer: Signer
    attestation: Digest
    issued_at: datetime | None
    expires_at: datetime | None


@dataclass(slots=True)
class Vulnerability:
    """One finding. Its fields are the keys of the policy input, so that ten thousand of them are written without a
    step between; for the same reason it is not frozen, which would double the time to make one. Nobody changes one.

    Args:
        id: as the scanner calls it.
        aliases: other names of the same: the CVE of a GHSA and the other way round.
        fixed: the version that mends it, "" where there is none; several are joined by ", ".
        score: the CVSS base score.
        state: the scanner's word for it (fixed, affected, will_not_fix ...).
        path: where the package lies in the image, "" where not said.
        exploited: whether it is exploited in the wild, by the report's own data; None where that says nothing.
        epss: probability of exploitation within 30 days, 0 to 1 (https://www.first.org/epss/).
        available: when the fix was published.
        vex: what a VEX statement says of it.
    """

    id: str
    aliases: tuple[str, ...] = ()
    package: str = ""
    purl: str = ""
    installed: str = ""
    fixed: str = ""
    severity: Severity = Severity.UNKNOWN
    score: float | None = None
    state: str = ""
    path: str = ""
    exploited: bool | None = None
    epss: float | None = None
    available: datetime | None = None
    vex: VexMark | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that the report itself leaves out, and by what rule: an ignore file, a VEX document it was given."""

    id: str
    package: str
    why: str


@dataclass(frozen=True, slots=True)
class ScannedSystem:
    """The operating system that a scanner saw. ``end_of_life`` is None where the report does not say."""

    family: str
    version: str
    end_of_life: bool | None


@dataclass(frozen=True, slots=True)
class ScanReport:
    """Every scanner's report in one form.

    Args:
        scanner: lower-case name: trivy, grype, anchore, clair, docker-scout; of others the name that it gives itself.
        format: which form it was read from, such as "trivy-json".
        scanned_at: the oldest of the wrapper's and the report's own times, None where neither says.
        target_digests: digests of the image (index or platform manifest) that the report says it is about.
        target_image_id: digest of the image's configuration, "" where not said.
        suppressed: number of findings that the report itself marks as ignored; ``suppressions`` the first of them.
        filters: settings that the report shows and that leave findings out, such as "only-fixed".
        complete: False where the report shows that it left findings out or looked at nothing.
        packages: how many packages the scanner saw; None where the report does not say.
    """

    scanner: str
    scanner_version: str = ""
    db_built_at: datetime | None = None
    scanned_at: datetime | None = None
    target_digests: tuple[Digest, ...] = ()
    target_image_id: str = ""
    platform: Platform | None = None
    suppressed: int = 0
    complete: bool = True
    incomplete_because: str = ""
    vulnerabilities: tuple[Vulnerability, ...] = ()
    format: str = ""
    suppressions: tuple[Suppression, ...] = ()
    filters: tuple[str, ...] = ()
    system: ScannedSystem | None = None
    packages: int | None = None

    def counts(self) -> Mapping[str, int]:
        """Number of findings per severity, and ``fixable``."""
        counts = dict.fromkeys((str(severity) for severity in Severity), 0)
        for finding in self.vulnerabilities:
            counts[finding.severity] += 1
        counts["fixable"] = sum(1 for finding in self.vulnerabilities if finding.fixed)
        return counts


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an evaluation: ``action`` is go, warn or stop."""

    gate: str
    trigger: str
    action: str
    message: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A scanner's own verdict by a policy of its own (Anchore). ``action`` is go, warn or stop."""

    tool: str
    policy: str
    passed: bool
    action: str
    evaluated_at: datetime | None
    target_digests: tuple[Digest, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class LintFinding:
    """``level`` is error, warning, info or style."""

    rule: str
    level: str
    file: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class LintReport:
    """What a linter says of the Dockerfile. ``complete`` is False where it could not read the file, or has
    suppressed findings that it counts in ``suppressed``; ``dockerfile`` is the sha256 of what was linted, "" where
    not said."""

    tool: str
    tool_version: str
    linted_at: datetime | None
    findings: tuple[LintFinding, ...]
    suppressed: int = 0
    complete: bool = True
    incomplete_because: str = ""
    dockerfile: str = ""


@dataclass(slots=True)
class Component:
    """One component of an SBOM; fields as in the policy input (see :class:`Vulnerability`)."""

    name: str
    version: str = ""
    purl: str = ""
    type: str = ""
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sbom:
    """``format`` is cyclonedx or spdx, ``tools`` who made it. ``components`` are all, nested ones too, without the
    image itself."""

    format: str
    spec_version: str
    created_at: datetime | None
    tools: tuple[str, ...]
    target_digests: tuple[Digest, ...]
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What went into a build: ``digest`` is ``algorithm:hex``, "" where not said."""

    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """SLSA provenance. ``source`` is the repository that was built, with ``source_ref`` and ``source_digest`` (of the
    commit); "" where it does not say. ``complete`` says whether the builder claims that materials are complete."""

    version: str
    build_type: str
    builder: str
    source: str
    source_ref: str
    source_digest: str
    entry_point: str
    invocation: str
    started_at: datetime | None
    finished_at: datetime | None
    materials: tuple[Material, ...]
    complete: bool | None = None


@dataclass(frozen=True, slots=True)
class VexProduct:
    """What a VEX statement is about. An empty one is the subject of the attestation itself.

    Args:
        purl: package URL, as written, of an image (pkg:oci/...) or of a package in it; "" without one.
        digests: ``algorithm:hex`` of the product, where it is named so.
        identifier: what else names it.
        subcomponents: purls or names of packages in the product to which alone the statement applies; empty for all.
    """

    purl: str = ""
    digests: tuple[str, ...] = ()
    identifier: str = ""
    subcomponents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VexStatement:
    """``vulnerabilities`` are the name and the aliases of one vulnerability. No products: the attestation's subject."""

    vulnerabilities: tuple[str, ...]
    status: VexStatus
    justification: str
    impact: str
    products: tuple[VexProduct, ...]
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class VexDocument:
    """``format`` is openvex, cyclonedx or csaf; ``issued_at`` the newest time that the document gives itself."""

    format: str
    id: str
    author: str
    version: str
    issued_at: datetime | None
    statements: tuple[VexStatement, ...]


ReadFact = ScanReport | Evaluation | LintReport | Sbom | Provenance | VexDocument
"""What a report, or the predicate of an attestation, is read into."""


@dataclass(frozen=True, slots=True)
class AttestedScan:
    """A report together with the verified attestation that carried it.

    ``newer_seen`` is the time of a newer scan by the same scanner that was seen once and is gone now, None without
    one; ``mark_known`` says whether that could be looked up.
    """

    report: ScanReport
    attestation: Attestation
    newer_seen: datetime | None = None
    mark_known: bool = False


Fact = TypeVar("Fact", Evaluation, LintReport, Sbom, Provenance)


@dataclass(frozen=True, slots=True)
class Attested(Generic[Fact]):
    """What a verified attestation says, with it."""

    fact: Fact
    attestation: Attestation


@dataclass(frozen=True, slots=True)
class AttestedVex:
    """``applied`` counts the findings that it says something of; from ``expires_at`` on it no longer counts."""

    fact: VexDocument
    attestation: Attestation
    expires_at: datetime | None = None
    applied: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found for one image; an empty one means that nothing is attached, which is a fact."""

    attestations: tuple[Attestation, ...] = ()
    scans: tuple[AttestedScan, ...] = ()
    evaluations: tuple[Attested[Evaluation], ...] = ()
    lint: tuple[Attested[LintReport], ...] = ()
    sboms: tuple[Attested[Sbom], ...] = ()
    provenance: tuple[Attested[Provenance], ...] = ()
    vex: tuple[AttestedVex, ...] = ()
    stale_since: datetime | None = None
    """When the registry listed the attestations, where it could not be asked now; None where it could."""
