"""Figures of verifying and reading attestations, of findings that become policy input, and of VEX.

    python tests/bench/evidence.py

The bare cost of verifying is base64, SHA-256 of what was signed, the signature check, and one parse into the types
that are needed; that of findings is such a parse, and writing what was read. It is measured in turn with what we do, in
one process and on one core, and the ratios are those of the shortest times: they can be compared between machines, also
busy ones.
"""

import asyncio
import base64
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console

from portcullis.evidence.attest import attest, vuln_predicate
from portcullis.evidence.bundle import BUNDLE_MEDIA_TYPE
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.reports import read_report
from portcullis.evidence.signers import SignerKey
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.evidence.vex.applying import apply_vex
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import (
    AttestedScan,
    AttestedVex,
    Carrier,
    CarrierKind,
    ScanReport,
    Verified,
    VexDocument,
    VexProduct,
    VexStatement,
    VexStatus,
)
from portcullis.model.image import Digest
from portcullis.policy.attested import scan_fields
from portcullis.policy.plain import plain

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes import samples
from vectors import sigstore

ROUNDS = 15
FINDINGS = 10_000
CHECKS = {"keyed": 1, "keyless": 5}
SIZES = {"500 kB": 500_000, "5 MB": 5_000_000}
SUBJECT = Digest("sha256:" + "ab" * 32)
KEY = ec.generate_private_key(ec.SECP256R1())
SCANNED = datetime(2026, 11, 20, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """``values`` of one figure, in ``unit``."""

    name: str
    unit: str
    values: list[float]


def finding(number: int, sentences: int = 20) -> dict[str, Any]:
    """As Trivy writes one, about 2 kB with so many sentences, and 1.2 kB with one."""
    cve = f"CVE-2026-{number:05d}"
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    return {
        "VulnerabilityID": cve,
        "PkgID": f"lib{number}@1.2.{number}",
        "PkgName": f"lib{number}",
        "PkgIdentifier": {"PURL": f"pkg:deb/debian/lib{number}@1.2.{number}?arch=amd64&distro=debian-12", "UID": cve},
        "InstalledVersion": f"1.2.{number}",
        "FixedVersion": f"1.2.{number + 1}",
        "Status": "fixed",
        "Layer": {"Digest": "sha256:" + "1f" * 32, "DiffID": "sha256:" + "2e" * 32},
        "SeveritySource": "debian",
        "PrimaryURL": f"https://avd.aquasec.com/nvd/{cve.lower()}",
        "DataSource": {"ID": "debian", "Name": "Debian Security Tracker", "URL": "https://salsa.debian.org/security"},
        "Title": f'lib{number}: a "quoted" flaw <in> what it says {{it}} does',
        "Description": f"A flaw was found in lib{number}. " * (1 + number % (2 * sentences)),
        "Severity": ("LOW", "MEDIUM", "HIGH", "CRITICAL")[number % 4],
        "CweIDs": ["CWE-79", "CWE-20"],
        "VendorSeverity": {"debian": 1, "nvd": 3, "redhat": 2},
        "CVSS": {"nvd": {"V3Vector": vector, "V3Score": 9.8}, "redhat": {"V3Vector": vector, "V3Score": 7.5}},
        "References": [
            f"https://access.redhat.com/security/cve/{cve}?{place}"
            for place in range(1 + number % (sentences // 2 + 2))
        ],
        "PublishedDate": "2026-01-01T00:00:00Z",
        "LastModifiedDate": "2026-02-01T00:00:00Z",
    }


def report(findings: int, sentences: int = 20) -> dict[str, Any]:
    return {
        "SchemaVersion": 2,
        "CreatedAt": "2026-11-20T08:00:00Z",
        "ArtifactName": "registry.example/acme/web:1",
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}, "RepoDigests": [f"registry.example/acme/web@{SUBJECT}"]},
        "Results": [
            {
                "Target": "web (debian 12)",
                "Class": "os-pkgs",
                "Type": "debian",
                "Vulnerabilities": [finding(number, sentences) for number in range(findings)],
            }
        ],
    }


def predicate(size: int) -> dict[str, Any]:
    """Cosign's, around a report of about ``size`` bytes."""
    each = len(json.dumps([finding(number) for number in range(200)])) / 200
    return dict(vuln_predicate(report(int(size / each)), started=SCANNED, finished=SCANNED))


# -- the bare cost ---------------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct, rename="camel"):
    payload_type: str
    payload: str
    signatures: list[dict[str, str]]


class _Bundle(msgspec.Struct, rename="camel"):
    dsse_envelope: _Envelope


class _Identifier(msgspec.Struct):
    PURL: str = ""


class _Vulnerability(msgspec.Struct):
    VulnerabilityID: str
    PkgName: str
    Severity: str
    InstalledVersion: str = ""
    FixedVersion: str = ""
    Status: str = ""
    PkgIdentifier: _Identifier | None = None
    CVSS: dict[str, dict[str, Any]] | None = None


class _Result(msgspec.Struct):
    Vulnerabilities: list[_Vulnerability]


class _Report(msgspec.Struct):
    Results: list[_Result]


class _Scanner(msgspec.Struct):
    result: _Report


class _Predicate(msgspec.Struct):
    scanner: _Scanner


class _Statement(msgspec.Struct):
    subject: list[dict[str, Any]]
    predicate: _Predicate


def bare(content: bytes, key: ec.EllipticCurvePublicKey, checks: int) -> None:
    """What nobody can do without, and nothing else.

    Args:
        checks: how many signatures there are: one with a key; with a certificate those of the envelope, the
            certificate, the log of certificates, and the log of signatures (its promise and its checkpoint).
    """
    envelope = msgspec.json.decode(content, type=_Bundle).dsse_envelope
    payload = base64.b64decode(envelope.payload, validate=True)
    kind = envelope.payload_type.encode()
    digest = sha256(b"DSSEv1 %d %b %d " % (len(kind), kind, len(payload)))
    digest.update(payload)
    signature = base64.b64decode(envelope.signatures[0]["sig"], validate=True)
    hashed = digest.digest()
    for _ in range(checks):
        key.verify(signature, hashed, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert msgspec.json.decode(payload, type=_Statement).predicate.scanner.result.Results


# -- what we do ------------------------------------------------------------------------------------------------------


def keyed(size: int) -> tuple[bytes, AttestationVerifier, ec.EllipticCurvePublicKey]:
    content = attest(predicate=predicate(size), predicate_type="vuln", subject=SUBJECT, name="x", key=KEY)
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    trust = Trust(signers=[SignerKey("ci", pem)], rules=[])
    return content, AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS), KEY.public_key()


def keyless(size: int) -> tuple[bytes, AttestationVerifier, ec.EllipticCurvePublicKey]:
    holder = sigstore.leaf()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
        "subject": [{"name": "x", "digest": {"sha256": SUBJECT.hex}}],
        "predicate": predicate(size),
    }
    content = sigstore.compact(sigstore.bundle(sigstore.compact(statement), holder))
    prover = KeylessVerifier(signers=[sigstore.SIGNER], roots=[sigstore.root()], limits=DEFAULT_LIMITS)
    key = holder.key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    trust = Trust(signers=[], rules=[])
    return content, AttestationVerifier(trust=trust, keyless=prover, limits=DEFAULT_LIMITS), key


def verify(loop: asyncio.Runner, verifier: AttestationVerifier, content: bytes) -> Verified:
    """As it is served: on an event loop that lives on, as do its threads."""
    carrier = Carrier(CarrierKind.REFERRER, BUNDLE_MEDIA_TYPE, SUBJECT, SUBJECT, content)
    verdict = loop.run(verifier.verify(carrier, SUBJECT))
    assert isinstance(verdict, Verified), verdict
    return verdict


def in_turn(*works: Callable[[], object]) -> Sequence[list[float]]:
    """Milliseconds of each, ROUNDS times in turn after one that is not counted."""
    times: list[list[float]] = [[] for _ in works]
    for number in range(ROUNDS + 1):
        for place, work in enumerate(works):
            started = time.perf_counter()
            work()
            if number:
                times[place].append((time.perf_counter() - started) * 1000)
    return times


def verified(console: Console) -> tuple[list[Measured], dict[str, float]]:
    measured, ratios = [], {}
    for size_name, size in SIZES.items():
        for kind, make in (("keyed", keyed), ("keyless", keyless)):
            content, verifier, key = make(size)
            name = f"attestation of {size_name}, {kind}"
            console.print(f"[dim]evidence: {name}, {len(content) / 1e6:.1f} MB as it is fetched")
            with asyncio.Runner() as loop:
                floors, times = in_turn(
                    functools.partial(bare, content, key, CHECKS[kind]),
                    functools.partial(verify, loop, verifier, content),
                )
            measured += [Measured(f"{name}: bare", "ms", floors), Measured(f"{name}: verified", "ms", times)]
            ratios[f"{name}: verified / bare"] = min(times) / min(floors)
    return measured, ratios


def policy_input(content: bytes) -> bytes:
    """What Rego gets of a scan."""
    fact = read_report(content, DEFAULT_LIMITS)
    assert isinstance(fact, ScanReport)
    return msgspec.json.encode(scan_fields(fact, SCANNED + timedelta(hours=1)), enc_hook=plain)


def bare_input(content: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(content, type=_Report))


def with_vex(findings: int, statements: int) -> Callable[[], object]:
    """Statements in one document, each about a finding's id, every other about its package too."""
    fact = read_report(msgspec.json.encode(report(findings, sentences=1)), DEFAULT_LIMITS)
    assert isinstance(fact, ScanReport)
    image = samples.resolved(samples.reference(), samples.platform_image(samples.AMD64))
    carried = samples.attestation(subject=image.digest)
    said = [
        VexStatement(
            (finding.id,), VexStatus.NOT_AFFECTED, "component_not_present", "", (VexProduct(finding.purl),), SCANNED
        )
        if number % 2
        else VexStatement((finding.id,), VexStatus.NOT_AFFECTED, "component_not_present", "", (), SCANNED)
        for number, finding in enumerate(fact.vulnerabilities[:statements])
    ]
    document = AttestedVex(VexDocument("openvex", "", "", "", SCANNED, tuple(said)), carried)
    return lambda: apply_vex([AttestedScan(fact, carried)], [document], image)


def findings(console: Console) -> tuple[list[Measured], dict[str, float]]:
    console.print("[dim]evidence: ten thousand findings, and five thousand statements of VEX")
    content = msgspec.json.encode(report(FINDINGS, sentences=1))
    assert len(content) * 4 / 3 < DEFAULT_LIMITS.attestation_bytes, "no envelope could hold it"
    floors, inputs, read, marked = in_turn(
        functools.partial(bare_input, content),
        functools.partial(policy_input, content),
        functools.partial(read_report, content, DEFAULT_LIMITS),
        with_vex(FINDINGS, FINDINGS // 2),
    )
    measured = [
        Measured("10,000 findings: parsed and written, bare", "ms", floors),
        Measured("10,000 findings: become policy input", "ms", inputs),
        Measured("10,000 findings: read alone", "ms", read),
        Measured("10,000 findings: 5,000 VEX statements applied", "ms", marked),
    ]
    return measured, {"10,000 findings: policy input / bare": min(inputs) / min(floors)}


def figures(console: Console) -> tuple[list[Measured], dict[str, float]]:
    measured, ratios = verified(console)
    more, more_ratios = findings(console)
    return measured + more, ratios | more_ratios


def main() -> None:
    console = Console()
    measured, ratios = figures(console)
    for one in measured:
        shortest, middle = min(one.values), statistics.median(one.values)
        console.print(f"{one.name}: {shortest:.1f} {one.unit}, median {middle:.1f}")
    for name, value in ratios.items():
        console.print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
