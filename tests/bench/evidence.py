"""Figures of verifying and reading an attestation, against the bare cost of doing so: base64, SHA-256 of what was
signed, the signature check, and one parse into the types that are needed.

    python tests/bench/evidence.py

Both are measured in turn in one process, so that their ratio can be compared between machines.
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
from datetime import UTC, datetime
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
from portcullis.evidence.reports import read_facts
from portcullis.evidence.signers import SignerKey
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Carrier, CarrierKind, PredicateClass, Verified
from portcullis.model.image import Digest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vectors import sigstore

ROUNDS = 15
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


def finding(number: int) -> dict[str, Any]:
    """As Trivy writes one, about 2 kB."""
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
        "Description": f"A flaw was found in lib{number}. " * (5 + number % 30),
        "Severity": ("LOW", "MEDIUM", "HIGH", "CRITICAL")[number % 4],
        "CweIDs": ["CWE-79", "CWE-20"],
        "VendorSeverity": {"debian": 1, "nvd": 3, "redhat": 2},
        "CVSS": {"nvd": {"V3Vector": vector, "V3Score": 9.8}, "redhat": {"V3Vector": vector, "V3Score": 7.5}},
        "References": [f"https://access.redhat.com/security/cve/{cve}?{place}" for place in range(2 + number % 8)],
        "PublishedDate": "2026-01-01T00:00:00Z",
        "LastModifiedDate": "2026-02-01T00:00:00Z",
    }


def report(findings: int) -> dict[str, Any]:
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
                "Vulnerabilities": [finding(number) for number in range(findings)],
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


def bare(content: bytes, key: ec.EllipticCurvePublicKey) -> None:
    """What nobody can do without, and nothing else."""
    envelope = msgspec.json.decode(content, type=_Bundle).dsse_envelope
    payload = base64.b64decode(envelope.payload, validate=True)
    kind = envelope.payload_type.encode()
    digest = sha256(b"DSSEv1 %d %b %d " % (len(kind), kind, len(payload)))
    digest.update(payload)
    signature = base64.b64decode(envelope.signatures[0]["sig"], validate=True)
    key.verify(signature, digest.digest(), ec.ECDSA(Prehashed(hashes.SHA256())))
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


def verify(verifier: AttestationVerifier, content: bytes) -> Verified:
    carrier = Carrier(CarrierKind.REFERRER, BUNDLE_MEDIA_TYPE, SUBJECT, SUBJECT, content)
    verdict = asyncio.run(verifier.verify(carrier, SUBJECT))
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


def figures(console: Console) -> tuple[list[Measured], dict[str, float]]:
    measured, ratios = [], {}
    for size_name, size in SIZES.items():
        for kind, make in (("keyed", keyed), ("keyless", keyless)):
            content, verifier, key = make(size)
            verdict = verify(verifier, content)
            console.print(f"[dim]evidence: {kind}, {len(content) / 1e6:.1f} MB as it is fetched")
            floors, verified, read = in_turn(
                functools.partial(bare, content, key),
                functools.partial(verify, verifier, content),
                functools.partial(read_facts, verdict.statement, PredicateClass.VULNERABILITY, DEFAULT_LIMITS),
            )
            name = f"attestation of {size_name}, {kind}"
            measured += [
                Measured(f"bare cost of an {name}", "ms", floors),
                Measured(f"verified {name}", "ms", verified),
                Measured(f"its report read, {name}", "ms", read),
            ]
            ratios[f"{name}: verified / bare"] = statistics.median(verified) / statistics.median(floors)
    return measured, ratios


def main() -> None:
    console = Console()
    measured, ratios = figures(console)
    for one in measured:
        console.print(f"{one.name}: {statistics.median(one.values):.1f} {one.unit}")
    for name, value in ratios.items():
        console.print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
