"""Attestations that others made, against the verdicts that came with them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fakes.registry import AMD64, MANIFEST, MemoryRegistry, image_config
from portcullis.errors import ConfigError
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.keys import load_public_key
from portcullis.evidence.reports import parse_report
from portcullis.evidence.statement import classify
from portcullis.evidence.trust import Accept, SignerKey, Trust, TrustRule
from portcullis.evidence.verifier import KeyVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Carrier, CarrierKind, PredicateClass, Rejected, Verified
from portcullis.model.image import (
    Access,
    Descriptor,
    Digest,
    ImageReference,
    PlatformImage,
    Repository,
    ResolvedImage,
)

pytestmark = pytest.mark.anyio

DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"

REASONS = {
    "wrong_key.json": "attestation-untrusted",
    "payload_tampered.json": "attestation-untrusted",
    "payloadtype_unknown.json": "attestation-invalid",
    "no_signatures.json": "attestation-invalid",
    "wrong_subject.json": "attestation-subject-mismatch",
    "no_subject.json": "attestation-subject-mismatch",
    "duplicate_subject_key.json": "attestation-invalid",
}


def trust(key: bytes) -> Trust:
    return Trust(
        signers=[SignerKey("ci", key)],
        rules=[TrustRule(("registry.test/**",), (Accept((PredicateClass.VULNERABILITY,), ("ci",)),))],
    )


async def test_keyed_samples(shared_data: Path) -> None:
    folder = shared_data / "synthetic-keyed"
    expected = json.loads((folder / "expected.json").read_text())
    verified, refused = set(), {}
    for name, case in expected.items():
        if case["key"] != "keys/p256.pub":
            continue
        content = (folder / name).read_bytes()
        media_type = BUNDLE if name.startswith("bundle") else DSSE
        subject = Digest(case["wantSubject"])
        carrier = Carrier(CarrierKind.REFERRER, media_type, Digest("sha256:" + "0" * 64), subject, content)
        verifier = KeyVerifier(trust=trust((folder / case["key"]).read_bytes()), limits=DEFAULT_LIMITS)
        verdict = await verifier.verify(carrier, subject)
        if isinstance(verdict, Verified):
            verified.add(name)
            # Nothing is wrong with its signature: a policy that asks for a scan does not find one in it.
            about = classify(verdict.statement.predicate_type)
            assert (about is PredicateClass.VULNERABILITY) is (name != "wrong_predicate_type.json")
        else:
            refused[name] = verdict.reason
    accepted = {n for n, case in expected.items() if case["expect"] == "accept" and case["key"] == "keys/p256.pub"}
    assert verified == accepted | {"wrong_predicate_type.json"}
    assert refused == REASONS


async def test_keys_of_other_kinds_are_refused_by_name(shared_data: Path) -> None:
    folder = shared_data / "synthetic-keyed" / "keys"
    kinds = {"p384.pub": "secp384r1", "ed25519.pub": "Ed25519", "rsa2048.pub": "RSA", "root.pem": "certificate"}
    for name, kind in kinds.items():
        with pytest.raises(ConfigError, match=kind):
            load_public_key((folder / name).read_bytes())


async def test_bundles_that_are_signed_without_a_configured_key(shared_data: Path) -> None:
    """Every public bundle: keyless, or a plain signature, or broken. None is believed, and none raises."""
    folder = shared_data / "sigstore"
    key = (shared_data / "synthetic-keyed" / "keys" / "p256.pub").read_bytes()
    verifier = KeyVerifier(trust=trust(key), limits=DEFAULT_LIMITS)
    reasons = set()
    for path in sorted(folder.rglob("*.json")):
        content = path.read_bytes()
        if b"verificationMaterial" not in content:
            continue
        subject = Digest("sha256:" + "0" * 64)
        verdict = await verifier.verify(Carrier(CarrierKind.REFERRER, BUNDLE, subject, subject, content), subject)
        assert isinstance(verdict, Rejected), path
        reasons.add(verdict.reason)
    assert "attestation-unsupported" in reasons
    assert reasons <= {"attestation-unsupported", "attestation-invalid", "attestation-untrusted"}


async def test_a_layout_with_two_attested_scans(shared_data: Path) -> None:
    """Both signatures are good and both statements name the image, but the reports inside name another one
    (sha256:667a…, in RepoDigests). What came with the layout does not look that far and takes them; we do not."""
    layout = shared_data / "synthetic-oci" / "referrers"
    expected = json.loads((layout / "expected.json").read_text())
    registry, image = _image_of_layout(layout, Digest(expected["amd64"]))
    trusted = trust((layout / expected["key"]).read_bytes())
    verifier = KeyVerifier(trust=trusted, limits=DEFAULT_LIMITS)
    gatherer = EvidenceGatherer(registry=registry, verifier=verifier, trust=trusted, limits=DEFAULT_LIMITS)

    evidence = await gatherer.gather(image, Access())

    assert len(evidence.attestations) == 2
    scans = []
    for attestation in evidence.attestations:
        assert attestation.carrier is CarrierKind.FALLBACK_TAG
        assert attestation.reason == "report-subject-mismatch"
        assert attestation.signer is not None
        content = registry._blobs[image.reference.repository, attestation.digest]
        carrier = Carrier(attestation.carrier, BUNDLE, attestation.digest, image.digest, content)
        verdict = await verifier.verify(carrier, image.digest)
        assert isinstance(verdict, Verified)
        report = parse_report(verdict.statement, DEFAULT_LIMITS)
        scans.append((report.scanned_at, report.counts()["critical"]))
    assert scans == [
        (datetime.fromisoformat(one["scan"]).astimezone(UTC), one["criticals"]) for one in expected["attestations"]
    ]


def _image_of_layout(layout: Path, digest: Digest) -> tuple[MemoryRegistry, ResolvedImage]:
    """What the layout holds, served from memory: its blobs, and the index of its fall-back tag."""
    registry = MemoryRegistry(carrier=CarrierKind.FALLBACK_TAG)
    place = Repository("registry.test", "app")
    for path in (layout / "blobs" / "sha256").iterdir():
        content = path.read_bytes()
        assert registry._put_blob(place, content) == f"sha256:{path.name}"
        registry._put_manifest(place, MANIFEST, content)
    tags = {
        entry["annotations"]["org.opencontainers.image.ref.name"]: Digest(entry["digest"])
        for entry in json.loads((layout / "index.json").read_bytes())["manifests"]
    }
    fallback = json.loads(registry._blobs[place, tags[f"sha256-{digest.hex}"]])
    registry._referrers[place, digest] = [
        Descriptor(entry["mediaType"], Digest(entry["digest"]), entry["size"]) for entry in fallback["manifests"]
    ]
    config = Digest(json.loads(registry._blobs[place, digest])["config"]["digest"])
    platform = PlatformImage(AMD64, digest, config, image_config(), ())
    return registry, ResolvedImage(ImageReference(place, None, digest), digest, MANIFEST, False, (platform,))
