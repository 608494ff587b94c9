"""What tests of the gatherer share: attestations over plain documents, and a reader of these.

A predicate is ``{"vulnerability": [{...}], "sbom": [...]}``: of each class the facts that it holds, so that what the
gatherer does is seen apart from what readers of real formats do. ``"broken": {class: reason}`` is a part that cannot be
read.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry
from portcullis.evidence.discover import ALL_CARRIERS, AttestationSource
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import SignerKey
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import (
    Attestation,
    AttestedScan,
    AttestedVex,
    CarrierKind,
    Evaluation,
    Evidence,
    LintReport,
    PredicateClass,
    Provenance,
    ReadFact,
    Sbom,
    ScanReport,
    Statement,
    VexDocument,
    VexStatement,
    VexStatus,
    Vulnerability,
)
from portcullis.model.image import Access, Digest, Platform, ResolvedImage
from portcullis.ports import Clock, Marks, Registry
from vectors import attestations as made

NAME = "registry.example/acme/web"
ACCESS = Access(namespace="shop")
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NOW = StandingClock().now()
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
BILL = "https://cyclonedx.org/bom/v1.6"
PROVENANCE = "https://slsa.dev/provenance/v1"
SARIF = "application/sarif+json"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
LINT = "https://portcullis.dev/attestation/lint/v1"


def ago(**parts: float) -> str:
    return (NOW - timedelta(**parts)).isoformat()


def when(text: object) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None


def _scan(said: Mapping[str, Any]) -> ScanReport | Evaluation:
    targets = tuple(Digest(text) for text in said.get("digests", ()))
    if "passed" in said:
        return Evaluation("anchore", "p", said["passed"], "stop", when(said.get("at")), targets, ())
    platform = said.get("platform")
    return ScanReport(
        scanner=said.get("scanner", "trivy"),
        scanned_at=when(said.get("at", ago(hours=1))),
        target_digests=targets,
        target_image_id=said.get("image", ""),
        platform=None if platform is None else Platform(*platform.split("/")),
        format=said.get("format", "sarif"),
        vulnerabilities=tuple(Vulnerability(id=name) for name in said.get("ids", ())),
    )


def _sbom(said: Mapping[str, Any]) -> Sbom:
    return Sbom(
        "cyclonedx", "1.6", when(said.get("at")), (), tuple(Digest(text) for text in said.get("digests", ())), ()
    )


def _lint(said: Mapping[str, Any]) -> LintReport:
    return LintReport(said.get("tool", "hadolint"), "", when(said.get("at")), ())


def _provenance(said: Mapping[str, Any]) -> Provenance:
    return Provenance("v1", "", said.get("builder", ""), "", "", "", "", "", None, None, ())


def _vex(said: Mapping[str, Any]) -> VexDocument:
    statements = tuple(
        VexStatement(("CVE-2026-0001",), VexStatus.AFFECTED, "", "", (), when(at)) for at in said.get("statements", ())
    )
    return VexDocument("openvex", said.get("id", ""), "", "", when(said.get("at")), statements)


_MAKERS: Mapping[PredicateClass, Callable[[Mapping[str, Any]], ReadFact]] = {
    PredicateClass.VULNERABILITY: _scan,
    PredicateClass.SBOM: _sbom,
    PredicateClass.LINT: _lint,
    PredicateClass.PROVENANCE: _provenance,
    PredicateClass.VEX: _vex,
}


@dataclass
class Reading:
    """A reader of such documents; ``read`` are the classes that it was asked for."""

    read: list[PredicateClass] = field(default_factory=list)

    def __call__(self, statement: Statement, about: PredicateClass, limits: Limits) -> tuple[ReadFact, ...]:
        self.read.append(about)
        document = json.loads(statement.predicate)
        if str(about) in document.get("broken", {}):
            raise EvidenceError(f"the part {about} is broken", document["broken"][str(about)])
        return tuple(_MAKERS[about](one) for one in document.get(str(about), ()))


def untouched(
    scans: Sequence[AttestedScan], documents: Sequence[AttestedVex], image: ResolvedImage
) -> tuple[tuple[AttestedScan, ...], tuple[AttestedVex, ...]]:
    """VEX that is applied to nothing, and says so."""
    return tuple(scans), tuple(replace(one, applied=7) for one in documents)


def trust(*accepts: Accept, images: str = "registry.example/acme/**", **predicates: PredicateClass) -> Trust:
    """Signers "ci", "release" and "team"; without ``accepts``, "ci" may speak of scans and lint, "release" of bills,
    provenance, VEX and signatures."""
    rules = accepts or (
        Accept((PredicateClass.VULNERABILITY, PredicateClass.LINT), ("ci",)),
        Accept(
            (PredicateClass.SBOM, PredicateClass.PROVENANCE, PredicateClass.VEX, PredicateClass.SIGNATURE),
            ("release",),
        ),
    )
    signers = [
        SignerKey("ci", made.pem(made.CI)),
        SignerKey("release", made.pem(made.RELEASE)),
        SignerKey("team", made.pem(TEAM)),
    ]
    return Trust(signers=signers, rules=[TrustRule((images,), rules)])


TEAM = ec.generate_private_key(ec.SECP256R1())


def gatherer(
    registry: Registry,
    *,
    trusted: Trust | None = None,
    limits: Limits = DEFAULT_LIMITS,
    marks: Marks | None = None,
    clock: Clock | None = None,
    carriers: Collection[CarrierKind] = ALL_CARRIERS,
    repositories: Sequence[AttestationSource] = (),
    read: Reading | None = None,
) -> EvidenceGatherer:
    trusted = trusted or trust()
    return EvidenceGatherer(
        registry=registry,
        verifier=AttestationVerifier(trust=trusted, limits=limits),
        trust=trusted,
        marks=marks,
        clock=clock or StandingClock(),
        limits=limits,
        carriers=carriers,
        repositories=repositories,
        read=read or Reading(),
        apply=untouched,
    )


async def gather(registry: Registry, image: ResolvedImage, **settings: Any) -> Evidence:
    return await gatherer(registry, **settings).gather(image, ACCESS)


def statement(subject: Digest, predicate: object = None, kind: str = made.VULN) -> bytes:
    """A statement about ``subject``, unsigned; by default a scan."""
    about = [{"name": NAME, "digest": {subject.algorithm: subject.hex}}]
    said = {"vulnerability": [{}]} if predicate is None else predicate
    return made.compact(made.statement(subject=about, predicate=said, predicate_type=kind))


def signed(subject: Digest, predicate: object = None, kind: str = made.VULN, key: Any = None) -> bytes:
    """A bundle with that statement, signed by "ci" or by ``key``."""
    key = key or made.CI
    return made.compact(made.bundle(made.envelope(statement(subject, predicate, kind), key), key_hint=made.hint(key)))


def signature(subject: Digest, key: Any = None) -> bytes:
    """As ``cosign sign`` writes one; by "release" or by ``key``."""
    return signed(subject, {}, SIGNATURE, key or made.RELEASE)


def attach(registry: MemoryRegistry, image: ResolvedImage, content: bytes, media_type: str = made.BUNDLE) -> Digest:
    """As a referrer; the digest of its manifest."""
    return registry.add_referrer(image, media_type, media_type, content).digest


def only(evidence: Evidence) -> Attestation:
    (attestation,) = evidence.attestations
    return attestation


def verdicts(evidence: Evidence) -> list[tuple[str, str]]:
    """Class and reason of each attestation, in order."""
    return [(str(one.predicate_class), one.reason) for one in evidence.attestations]
