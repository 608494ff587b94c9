"""Signatures that Notation itself made, against what its own tests say of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from portcullis.evidence.countersignature import in_order
from portcullis.evidence.jws import parse_jws
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import NotationSigner
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest

JOSE, COSE = "application/jose+json", "application/cose"
NOW = datetime(2025, 6, 1, tzinfo=UTC)
ALPINE = "c0669ef34cdc14332c0f1ab0c2c01acb91d96014b172f1a76f3a39e63d1f0bda"
HELLO = "60043cf45eaebc4c0867fea485a039b598f52fd09fd5b07b0b2d2f88fad9d74e"
MOCK = "fe7e9333395060c2f5e63cf36a38fba10176f183b4163a5794e081a480abba5f"
EXPIRED, UNSUPPORTED = "attestation-expired", "attestation-unsupported"


@dataclass(frozen=True)
class Sample:
    """``store`` is a file of certificates, "" for the last one that came with the signature; ``stamps`` whether the
    root of its time-stamp's authority is configured; ``verdict`` a reason, or the trusted time, or "" without one."""

    digest: str
    verdict: str
    store: str = ""
    stamps: bool = False
    now: datetime = NOW
    media_type: str = JOSE
    authority: bool = False
    identities: tuple[str, ...] = field(default=("x509.subject: C=US, ST=WA, L=Seattle, O=Notary",))


ROOT, TIMESTAMP, WABBIT = "NotationTestRoot.pem", "TestTimestamp.crt", "wabbit-networks.io.crt"
SAMPLES = {
    "jws_signature.sig": Sample("19dbd2e48e921426ee8ace4dc892edfb2ecdc1d1a72d5416c83670c30acecef0", ""),
    "jwsWithTimestamp.sig": Sample(ALPINE, "2024-06-18T06:29:37+00:00", TIMESTAMP, stamps=True),
    "jwsExpiredWithTimestamp.sig": Sample(ALPINE, "2024-06-18T07:21:42+00:00", stamps=True),
    "timestampBeforeNotBefore.sig": Sample(ALPINE, EXPIRED, stamps=True),
    "withoutTimestamp.sig": Sample(ALPINE, "", TIMESTAMP, stamps=True),
    "sig_env_with_metadata.json": Sample(
        "5a07385af4e6b6af81b0ebfd435aedccdfa3507f0609c658209e1aba57159b2b",
        "",
        now=datetime(2023, 1, 11, 18, 5, tzinfo=UTC),
    ),
    "ca_expired_sig_env.json": Sample(HELLO, EXPIRED, ROOT),
    "sa_expired_sig_env.json": Sample(HELLO, EXPIRED, ROOT, authority=True),
    "ca_plugin_sig_env.json": Sample(HELLO, UNSUPPORTED, ROOT),
    "sa_plugin_sig_env.json": Sample(HELLO, UNSUPPORTED, ROOT, authority=True),
    "ca_compatible_pluginver_sig_env_0.0.9.json": Sample(MOCK, UNSUPPORTED, WABBIT),
    "ca_compatible_pluginver_sig_env_1.0.0-alpha.json": Sample(MOCK, UNSUPPORTED, WABBIT),
    "ca_incompatible_pluginver_sig_env_1.0.9.json": Sample(MOCK, UNSUPPORTED, WABBIT),
    "ca_incompatible_pluginver_sig_env_1.2.3.json": Sample(MOCK, UNSUPPORTED, WABBIT),
    "coseWithTimestamp.sig": Sample(ALPINE, UNSUPPORTED, TIMESTAMP, media_type=COSE),
}
NO_SIGNATURES = {"cose_conformance.json"}
"""Vectors for COSE itself."""


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "notation"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str, folder: Path) -> None:
    sample = SAMPLES[name]
    content = (folder / name).read_bytes()
    signer = NotationSigner(
        "notary",
        (folder / "trust" / sample.store).read_bytes() if sample.store else _last_certificate(content),
        identities=sample.identities,
        timestamp_pem=_stamping_root(folder) if sample.stamps else b"",
        signing_authority=sample.authority,
    )
    assert verdict(signer, content, sample) == sample.verdict


def test_no_sample_is_left_out(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if path.is_file()} == SAMPLES.keys() | NO_SIGNATURES


def test_a_time_before_the_expiry(folder: Path) -> None:
    """Their signatures hold: the one thing that is wrong with them is the day."""
    for name in ("ca_expired_sig_env.json", "sa_expired_sig_env.json"):
        authority = SAMPLES[name].authority
        content = (folder / name).read_bytes()
        sample = Sample(HELLO, "", now=datetime(2022, 7, 29, 12, tzinfo=UTC))
        signer = NotationSigner("notary", (folder / "trust" / ROOT).read_bytes(), signing_authority=authority)
        assert verdict(signer, content, sample) == ("2022-07-29T00:00:00+00:00" if authority else "")


def test_without_its_time_stamp_the_certificate_has_ended(folder: Path) -> None:
    name = "jwsExpiredWithTimestamp.sig"
    content = (folder / name).read_bytes()
    assert verdict(NotationSigner("notary", _last_certificate(content)), content, SAMPLES[name]) == EXPIRED


def verdict(signer: NotationSigner, content: bytes, sample: Sample) -> str:
    verifier = NotationVerifier(signers=[signer], limits=DEFAULT_LIMITS)
    try:
        proven = verifier.prove(content, sample.media_type, Digest(f"sha256:{sample.digest}"), sample.now)
    except EvidenceError as error:
        return error.reason
    return proven.signed_at.isoformat() if proven.signed_at else ""


def _last_certificate(content: bytes) -> bytes:
    der = parse_jws(content, DEFAULT_LIMITS).certificates[-1]
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _stamping_root(folder: Path) -> bytes:
    """The root that came with a time-stamp, taken for one that somebody has configured."""
    token = parse_jws((folder / "jwsWithTimestamp.sig").read_bytes(), DEFAULT_LIMITS).timestamp
    roots = [one for one in load_der_pkcs7_certificates(in_order(token)) if one.subject == one.issuer]
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)
