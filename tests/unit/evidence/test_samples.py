"""Attestations that others signed with keys of each kind, against the verdicts that came with them."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.errors import ConfigError
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.keys import load_public_key
from portcullis.evidence.signers import KeylessSigner, RootSource, SignerKey
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Carrier, CarrierKind, PredicateClass, Rejected, Signer, Verified
from portcullis.model.image import Digest

pytestmark = pytest.mark.anyio

DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SOME = Digest("sha256:" + "0" * 64)

REASONS = {
    "wrong_key.json": "attestation-untrusted",
    "payload_tampered.json": "attestation-untrusted",
    "payloadtype_unknown.json": "attestation-invalid",
    "no_signatures.json": "attestation-invalid",
    "wrong_subject.json": "attestation-subject-mismatch",
    "no_subject.json": "attestation-subject-mismatch",
    "duplicate_subject_key.json": "attestation-invalid",
}
OF_ANOTHER_CLASS = "wrong_predicate_type.json"
"""Nothing is wrong with its signature: a policy that asks for a scan does not find one in it."""


def trust(key: bytes) -> Trust:
    return Trust(signers=[SignerKey("ci", key)], rules=[])


async def judge(folder: Path, name: str, subject: str, trusted: Trust) -> Verified | Rejected:
    media_type = BUNDLE if name.startswith("bundle") else DSSE
    carrier = Carrier(CarrierKind.REFERRER, media_type, SOME, Digest(subject), (folder / name).read_bytes())
    return await AttestationVerifier(trust=trusted, limits=DEFAULT_LIMITS).verify(carrier, Digest(subject))


async def test_keyed_samples(shared_data: Path) -> None:
    folder = shared_data / "synthetic-keyed"
    expected = {
        name: case
        for name, case in json.loads((folder / "expected.json").read_text()).items()
        if case["key"] != "keys/root.pem"
    }
    verified, refused = set(), {}
    for name, case in expected.items():
        trusted = trust((folder / case["key"]).read_bytes())
        verdict = await judge(folder, name, case["wantSubject"], trusted)
        if isinstance(verdict, Verified):
            verified.add(name)
            assert verdict.signers == (Signer("ci", "key"),)
            about = trusted.classes(verdict.statement.predicate_type)[0]
            assert (about is PredicateClass.VULNERABILITY) is (name != OF_ANOTHER_CLASS)
        else:
            refused[name] = verdict.reason
    assert verified == {name for name, case in expected.items() if case["expect"] == "accept"} | {OF_ANOTHER_CLASS}
    assert refused == REASONS


async def test_no_sample_is_taken_for_that_of_another_key(shared_data: Path) -> None:
    folder = shared_data / "synthetic-keyed"
    expected = json.loads((folder / "expected.json").read_text())
    other = trust((folder / "keys" / "other.pub").read_bytes())
    taken = []
    for name, case in expected.items():
        if case["key"] == "keys/root.pem" or name == "wrong_key.json":
            continue
        if isinstance(await judge(folder, name, case["wantSubject"], other), Verified):
            taken.append(name)
    assert taken == []


CERTIFIED = {
    "x509_ok.json": "accept",
    "x509_wrong_root.json": "attestation-invalid",  # it brings a root with it, which is not the configured one
}


async def test_certificates_of_an_authority_of_ones_own(shared_data: Path) -> None:
    folder = shared_data / "synthetic-keyed"
    expected = json.loads((folder / "expected.json").read_text())
    root = x509.load_pem_x509_certificate((folder / "keys" / "root.pem").read_bytes())
    chain = {"certificates": [{"rawBytes": base64.b64encode(root.public_bytes(Encoding.DER)).decode()}]}
    trusted_root = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "certificateAuthorities": [{"certChain": chain, "validFor": {"start": "2020-01-01T00:00:00Z"}}],
    }
    now = datetime(2026, 11, 20, tzinfo=UTC)
    keyless = KeylessVerifier(
        signers=[KeylessSigner("ours", ".*", ".*", root="ours", issuer_is_pattern=True)],
        roots=[RootSource("ours", json.dumps(trusted_root).encode())],
        limits=DEFAULT_LIMITS,
        now=lambda: now,
    )
    verifier = AttestationVerifier(trust=Trust(signers=[], rules=[]), keyless=keyless, limits=DEFAULT_LIMITS)
    found = {}
    for name in CERTIFIED:
        sample = json.loads((folder / name).read_text())
        subject = Digest(expected[name]["wantSubject"])
        content = json.dumps(sample["envelope"]).encode()
        annotations = sample["descriptor"]["annotations"]
        verdict = await verifier.verify(
            Carrier(CarrierKind.COSIGN_TAG, DSSE, SOME, subject, content, annotations), subject
        )
        found[name] = verdict.reason if isinstance(verdict, Rejected) else "accept"
    assert found == CERTIFIED


async def test_a_certificate_is_no_key(shared_data: Path) -> None:
    with pytest.raises(ConfigError, match="certificate"):
        load_public_key((shared_data / "synthetic-keyed" / "keys" / "root.pem").read_bytes())


async def test_bundles_that_are_signed_without_a_configured_key(shared_data: Path) -> None:
    """Every public bundle: keyless, or a plain signature, or broken. None is believed, and none raises."""
    key = (shared_data / "synthetic-keyed" / "keys" / "p256.pub").read_bytes()
    verifier = AttestationVerifier(trust=trust(key), limits=DEFAULT_LIMITS)
    reasons = set()
    for path in sorted((shared_data / "sigstore").rglob("*.json")):
        content = path.read_bytes()
        if b"verificationMaterial" not in content:
            continue
        verdict = await verifier.verify(Carrier(CarrierKind.REFERRER, BUNDLE, SOME, SOME, content), SOME)
        assert isinstance(verdict, Rejected), path
        reasons.add(verdict.reason)
    assert "attestation-untrusted" in reasons
    assert reasons <= {
        "attestation-unsupported",
        "attestation-invalid",
        "attestation-untrusted",
        "attestation-subject-mismatch",
        "too-large",
    }
