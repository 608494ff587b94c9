"""What was signed about an image, read out of the documents that decisions were made by.

Attestations are those of the newest document that has any: they come and go, and what counted last is of interest.
Scans are told over time: each scan of any of the documents once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from portcullis.model.evidence import Severity
from portcullis.server.review.imagefacts import Seen
from portcullis.server.review.loose import Tree, flag, moment, rows, text, texts, tree, trees, whole

SHOWN: Final = 200
"""Attestations, and documents of one kind."""
SHOWN_VULNERABILITIES: Final = 50
SHOWN_LINT: Final = 50
SHOWN_MATERIALS: Final = 30

_SEVERITIES: Final = tuple(str(severity) for severity in Severity)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class SignerFacts:
    name: str
    kind: str
    identity: str
    issuer: str


@dataclass(frozen=True, slots=True)
class AttestationFacts:
    """``reason`` and ``message`` say why it was rejected; "" for one that is verified."""

    verified: bool
    reason: str
    message: str
    predicate_type: str
    predicate_class: str
    signer: SignerFacts | None
    carrier: str
    digest: str
    platform: str
    signed_at: datetime | None
    logged: bool | None
    repository: str


@dataclass(frozen=True, slots=True)
class VulnerabilityFacts:
    """``vex`` is the status that a VEX statement gives it, "" without one, and ``vex_signer`` who signed that."""

    id: str
    package: str
    installed: str
    fixed: str
    severity: str
    exploited: bool
    vex: str
    vex_signer: str


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """One scan. ``counts`` are by severity, the gravest first, None where the document does not say; ``seen`` is the
    newest decision that it counted for."""

    seen: Seen
    scanner: str
    version: str
    scanned_at: datetime | None
    database_at: datetime | None
    platform: str
    signer: SignerFacts | None
    complete: bool | None
    incomplete_because: str
    newer_seen: datetime | None
    suppressed: int | None
    counts: tuple[tuple[str, int | None], ...]
    fixable: int | None
    set_aside: int | None
    vulnerabilities: tuple[VulnerabilityFacts, ...]
    more: int


@dataclass(frozen=True, slots=True)
class LintFinding:
    rule: str
    level: str
    line: int | None
    message: str


@dataclass(frozen=True, slots=True)
class LintFacts:
    tool: str
    version: str
    linted_at: datetime | None
    signer: SignerFacts | None
    counts: tuple[tuple[str, int], ...]
    findings: tuple[LintFinding, ...]
    more: int


@dataclass(frozen=True, slots=True)
class SbomFacts:
    format: str
    created_at: datetime | None
    tools: tuple[str, ...]
    platform: str
    signer: SignerFacts | None
    components: int | None


@dataclass(frozen=True, slots=True)
class ProvenanceFacts:
    builder: str
    build_type: str
    source: str
    source_ref: str
    source_digest: str
    entry_point: str
    invocation: str
    finished_at: datetime | None
    signer: SignerFacts | None
    materials: tuple[tuple[str, str], ...]
    more: int


@dataclass(frozen=True, slots=True)
class VexFacts:
    id: str
    author: str
    format: str
    issued_at: datetime | None
    expires_at: datetime | None
    expired: bool
    statements: int | None
    applied: int | None
    signer: SignerFacts | None


@dataclass(frozen=True, slots=True)
class EvaluationFacts:
    tool: str
    policy: str
    passed: bool | None
    action: str
    evaluated_at: datetime | None
    platform: str
    signer: SignerFacts | None


@dataclass(frozen=True, slots=True)
class EvidenceFacts:
    """``seen`` is the decision that attestations and documents were recorded for, None where there never were any."""

    seen: Seen | None
    attestations: tuple[AttestationFacts, ...]
    scans: tuple[ScanFacts, ...]
    lint: tuple[LintFacts, ...]
    sboms: tuple[SbomFacts, ...]
    provenance: tuple[ProvenanceFacts, ...]
    vex: tuple[VexFacts, ...]
    evaluations: tuple[EvaluationFacts, ...]

    @property
    def rejected(self) -> tuple[AttestationFacts, ...]:
        return tuple(one for one in self.attestations if not one.verified)


def evidence_facts(seen: Sequence[Seen]) -> EvidenceFacts:
    """Args:
    seen: the documents' parts about the image, the newest first.
    """
    newest = next((one for one in seen if rows(one.image.get("attestations"))), None)
    image: Tree = newest.image if newest is not None else {}
    attestations = _each(image, "attestations", _attestation)
    return EvidenceFacts(
        seen=newest,
        # What was rejected first: it is what somebody has to do something about.
        attestations=tuple(sorted(attestations, key=lambda one: (one.verified, one.predicate_class))),
        scans=_scans(seen),
        lint=_each(image, "lint", _lint),
        sboms=_each(image, "sboms", _sbom),
        provenance=_each(image, "provenance", _provenance),
        vex=_each(image, "vex", _vex),
        evaluations=_each(image, "evaluations", _evaluation),
    )


def _each(image: Tree, name: str, read: Callable[[Tree], Made]) -> tuple[Made, ...]:
    return tuple(read(one) for one in trees(image.get(name), SHOWN))


def _signer(value: object) -> SignerFacts | None:
    found = tree(value)
    if not found:
        return None
    return SignerFacts(
        name=text(found.get("name")),
        kind=text(found.get("kind")),
        identity=text(found.get("identity")),
        issuer=text(found.get("issuer")),
    )


def _attestation(one: Tree) -> AttestationFacts:
    return AttestationFacts(
        verified=one.get("verified") is True,
        reason=text(one.get("reason")),
        message=text(one.get("message")),
        predicate_type=text(one.get("predicateType")),
        predicate_class=text(one.get("predicateClass")),
        signer=_signer(one.get("signer")),
        carrier=text(one.get("carrier")),
        digest=text(one.get("digest")),
        platform=text(one.get("platform")),
        signed_at=moment(one.get("signedAt")),
        logged=flag(one.get("logged")),
        repository=text(one.get("repository")),
    )


# -- scans ----------------------------------------------------------------------------------------------------


def _scans(seen: Sequence[Seen]) -> tuple[ScanFacts, ...]:
    """Each once, the newest scan first. It is told apart by its attestation, and where a document names none, by what
    it says of itself."""
    found: dict[tuple[object, ...], ScanFacts] = {}
    for one in seen:
        for scan in trees(one.image.get("scans"), SHOWN):
            scanner = tree(scan.get("scanner"))
            name = (
                text(scan.get("attestation")),
                text(scanner.get("name")),
                text(scan.get("scannedAt")),
                text(scan.get("platform")),
            )
            if name not in found and len(found) < SHOWN:
                found[name] = _scan(one, scan, scanner)
    return tuple(sorted(found.values(), key=lambda scan: scan.scanned_at or _LONG_AGO, reverse=True))


def _scan(seen: Seen, scan: Tree, scanner: Tree) -> ScanFacts:
    counts = tree(scan.get("counts"))
    listed = [_vulnerability(one) for one in trees(scan.get("vulnerabilities"))]
    listed.sort(key=_gravity)
    return ScanFacts(
        seen=seen,
        scanner=text(scanner.get("name")),
        version=text(scanner.get("version")),
        scanned_at=moment(scan.get("scannedAt")),
        database_at=moment(scanner.get("dbBuiltAt")),
        platform=text(scan.get("platform")),
        signer=_signer(scan.get("signer")),
        complete=flag(scan.get("complete")),
        incomplete_because=text(scan.get("incompleteBecause")),
        newer_seen=moment(scan.get("newerSeen")),
        suppressed=whole(scan.get("suppressed")),
        counts=tuple((severity, whole(counts.get(severity))) for severity in _SEVERITIES),
        fixable=whole(counts.get("fixable")),
        set_aside=whole(counts.get("setAside")),
        vulnerabilities=tuple(listed[:SHOWN_VULNERABILITIES]),
        more=max(len(rows(scan.get("vulnerabilities"))) - SHOWN_VULNERABILITIES, 0),
    )


def _vulnerability(one: Tree) -> VulnerabilityFacts:
    mark = tree(one.get("vex"))
    severity = text(one.get("severity"))
    return VulnerabilityFacts(
        id=text(one.get("id")),
        package=text(one.get("package")),
        installed=text(one.get("installed")),
        fixed=text(one.get("fixed")),
        severity=severity if severity in _SEVERITIES else str(Severity.UNKNOWN),
        exploited=one.get("exploited") is True,
        vex=text(mark.get("status")),
        vex_signer=text(tree(mark.get("signer")).get("name")),
    )


def _gravity(one: VulnerabilityFacts) -> tuple[bool, int, bool, str]:
    return not one.exploited, _SEVERITIES.index(one.severity), not one.fixed, one.id


# -- what else is signed --------------------------------------------------------------------------------------


def _lint(one: Tree) -> LintFacts:
    tool, findings = tree(one.get("tool")), one.get("findings")
    return LintFacts(
        tool=text(tool.get("name")),
        version=text(tool.get("version")),
        linted_at=moment(one.get("lintedAt")),
        signer=_signer(one.get("signer")),
        counts=tuple(_counts(tree(one.get("counts")))),
        findings=tuple(
            LintFinding(
                rule=text(finding.get("rule")),
                level=text(finding.get("level")),
                line=whole(finding.get("line")) or None,
                message=text(finding.get("message")),
            )
            for finding in trees(findings, SHOWN_LINT)
        ),
        more=max(len(rows(findings)) - SHOWN_LINT, 0),
    )


def _counts(counts: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    for name, value in counts.items():
        if count := whole(value):
            yield text(name), count


def _sbom(one: Tree) -> SbomFacts:
    return SbomFacts(
        format=f"{text(one.get('format'))} {text(one.get('specVersion'))}".strip(),
        created_at=moment(one.get("createdAt")),
        tools=texts(one.get("tools"), 10),
        platform=text(one.get("platform")),
        signer=_signer(one.get("signer")),
        components=whole(one.get("componentCount")),
    )


def _provenance(one: Tree) -> ProvenanceFacts:
    materials = one.get("materials")
    return ProvenanceFacts(
        builder=text(one.get("builder")),
        build_type=text(one.get("buildType")),
        source=text(one.get("source")),
        source_ref=text(one.get("sourceRef")),
        source_digest=text(one.get("sourceDigest")),
        entry_point=text(one.get("entryPoint")),
        invocation=text(one.get("invocation")),
        finished_at=moment(one.get("finishedAt")) or moment(one.get("startedAt")),
        signer=_signer(one.get("signer")),
        materials=tuple(
            (text(material.get("uri")), text(material.get("digest"))) for material in trees(materials, SHOWN_MATERIALS)
        ),
        more=max(len(rows(materials)) - SHOWN_MATERIALS, 0),
    )


def _vex(one: Tree) -> VexFacts:
    return VexFacts(
        id=text(one.get("id")),
        author=text(one.get("author")),
        format=text(one.get("format")),
        issued_at=moment(one.get("issuedAt")),
        expires_at=moment(one.get("expiresAt")),
        expired=one.get("expired") is True,
        statements=whole(one.get("statements")),
        applied=whole(one.get("applied")),
        signer=_signer(one.get("signer")),
    )


def _evaluation(one: Tree) -> EvaluationFacts:
    return EvaluationFacts(
        tool=text(one.get("tool")),
        policy=text(one.get("policy")),
        passed=flag(one.get("passed")),
        action=text(one.get("action")),
        evaluated_at=moment(one.get("evaluatedAt")),
        platform=text(one.get("platform")),
        signer=_signer(one.get("signer")),
    )
