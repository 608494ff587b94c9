"""How bundles are read: the versions and their rules, one spelling for each value, and what is refused by name."""
# ruff: noqa: E501  (tables: one case, one line)

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.evidence.bundle import is_bundle, parse_bundle
from portcullis.evidence.material import Material
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import DEFAULT_LIMITS
from vectors import sigstore as made
from vectors.attestations import bundle as keyed_bundle
from vectors.attestations import compact, envelope, statement

PAYLOAD = compact(statement())
HOLDER = made.leaf()
STAMP = made.stamp(b"x")
BUNDLE = made.bundle(PAYLOAD, HOLDER, stamps=lambda signature: [STAMP])
OLD = made.bundle(PAYLOAD, HOLDER, media_type=made.BUNDLE_V01, chain=(made.FULCIO.certificate,))
MESSAGE = made.message_bundle(b"x", HOLDER)
KEYED = keyed_bundle(envelope(PAYLOAD), key_hint="hint")

Change = Callable[[dict[str, Any]], object]


def parse(document: dict[str, Any], change: Change | None = None, **limits: int) -> Material:
    document = copy.deepcopy(document)
    if change is not None:
        change(document)
    return parse_bundle(compact(document), replace(DEFAULT_LIMITS, **limits))


def material(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["verificationMaterial"]
    return found


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = material(document)["tlogEntries"][0]
    return found


def test_a_keyless_bundle() -> None:
    read = parse(BUNDLE)
    assert read.envelope is not None
    assert (read.envelope.payload, len(read.envelope.signatures)) == (PAYLOAD, 1)
    assert (read.certificates, read.hint, read.timestamps) == ((HOLDER.der,), "", (STAMP,))
    (found,) = read.entries
    assert (found.kind, found.version, found.log_id, found.log_index) == ("dsse", "0.0.1", made.LOG_ID, 1005)
    assert found.integrated_at == int(made.AT.timestamp())
    assert json.loads(found.body)["kind"] == "dsse"
    assert found.set == base64.b64decode(entry(BUNDLE)["inclusionPromise"]["signedEntryTimestamp"])
    assert found.proof is not None
    assert (found.proof.log_index, found.proof.tree_size, len(found.proof.hashes)) == (5, 7, 3)
    assert found.proof.checkpoint.startswith("rekor.test - 123\n7\n")
    assert read.bundle == compact(BUNDLE)
    assert (read.message, read.signature, read.message_digest) == (b"", b"", None)


def test_an_old_bundle_with_its_chain() -> None:
    certificates = (HOLDER.der, made.FULCIO.certificate.public_bytes(Encoding.DER))
    assert parse(OLD).certificates == certificates


def test_a_keyed_bundle() -> None:
    read = parse(KEYED)
    assert (read.certificates, read.hint, read.entries, read.timestamps) == ((), "hint", (), ())


def test_a_bundle_with_a_plain_signature() -> None:
    read = parse(MESSAGE)
    assert read.envelope is None
    assert read.signature == base64.b64decode(MESSAGE["messageSignature"]["signature"])
    assert read.message_digest == ("SHA2_256", sha256(b"x").digest())
    unclaimed = parse(MESSAGE, lambda document: document["messageSignature"].pop("messageDigest"))
    assert unclaimed.message_digest is None


MEDIA_TYPES = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": OLD,
    "application/vnd.dev.sigstore.bundle+json;version=0.2": OLD,
    "application/vnd.dev.sigstore.bundle+json;version=0.3": BUNDLE,
    "application/vnd.dev.sigstore.bundle.v0.3+json": BUNDLE,
}


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_the_versions(media_type: str) -> None:
    assert is_bundle(media_type)
    assert parse({**MEDIA_TYPES[media_type], "mediaType": media_type}).envelope is not None


SAME: dict[str, Change] = {
    "numbers as JSON numbers": lambda d: entry(d).update(logIndex=1005, integratedTime=int(made.AT.timestamp())),
    "fields that are null": lambda d: material(d).update(publicKey=None, x509CertificateChain=None),
    "fields that are not known": lambda d: (d.update(note="seen"), entry(d).update(note=1)),
    "no message signature": lambda d: d.update(messageSignature=None),
}


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same(name: str) -> None:
    plain, changed = parse(BUNDLE), parse(BUNDLE, SAME[name])
    assert replace(changed, bundle=plain.bundle) == plain


def test_what_is_unset_has_its_types_default() -> None:
    def unset(document: dict[str, Any]) -> None:
        for name in ("logIndex", "integratedTime"):
            del entry(document)[name]
        del entry(document)["inclusionProof"]["logIndex"]
        del material(document)["timestampVerificationData"]

    read = parse(BUNDLE, unset)
    proof = read.entries[0].proof
    assert proof is not None
    assert (read.entries[0].log_index, read.entries[0].integrated_at, proof.log_index) == (0, None, 0)
    assert read.timestamps == ()
    assert parse(BUNDLE, lambda d: material(d).update(tlogEntries=None)).entries == ()
    assert parse(BUNDLE, lambda d: entry(d).update(integratedTime="0")).entries[0].integrated_at is None
    assert parse(KEYED, lambda d: material(d).update(publicKey={})).hint == ""


def test_a_proof_of_version_1_without_checkpoint_is_none() -> None:
    read = parse(OLD, lambda d: entry(d)["inclusionProof"].pop("checkpoint"))
    assert read.entries[0].proof is None


CERTIFICATE = {"rawBytes": made.b64(HOLDER.der)}
INVALID, UNSUPPORTED, LARGE = "attestation-invalid", "attestation-unsupported", "too-large"

REFUSED: list[tuple[str, dict[str, Any], Change, str, str]] = [
    ("a later version", BUNDLE, lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"), UNSUPPORTED, "versions 0.1 to 0.3 are read"),
    ("version 0.1 in the new spelling", OLD, lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle.v0.1+json"), UNSUPPORTED, "versions 0.1 to 0.3 are read"),
    ("something else", BUNDLE, lambda d: d.update(mediaType="application/json"), INVALID, 'says it is "application/json"'),
    ("no media type", BUNDLE, lambda d: d.pop("mediaType"), INVALID, "mediaType is missing"),
    ("no material", BUNDLE, lambda d: d.pop("verificationMaterial"), INVALID, "verificationMaterial is missing"),
    ("names of the .proto file", BUNDLE, lambda d: material(d).update(certificate=None, x509_certificate_chain={"certificates": [CERTIFICATE]}), INVALID, "neither a certificate nor a key"),
    ("neither certificate nor key", BUNDLE, lambda d: material(d).pop("certificate"), INVALID, "neither a certificate nor a key"),
    ("certificate and key", BUNDLE, lambda d: material(d).update(publicKey={}), INVALID, "certificate and publicKey"),
    ("certificate and chain", OLD, lambda d: material(d).update(certificate=CERTIFICATE), INVALID, "certificate and x509CertificateChain"),
    ("a chain in version 0.3", BUNDLE, lambda d: material(d).update(certificate=None, x509CertificateChain={"certificates": [CERTIFICATE]}), INVALID, "of version 0.3 and holds an x509CertificateChain"),
    ("an empty chain", OLD, lambda d: material(d)["x509CertificateChain"].update(certificates=[]), INVALID, "holds no certificate"),
    ("a certificate in URL-safe base64", BUNDLE, lambda d: material(d)["certificate"].update(rawBytes="-_-_"), INVALID, "not standard base64"),
    ("a certificate without padding", BUNDLE, lambda d: material(d)["certificate"].update(rawBytes="AAA"), INVALID, "not standard base64"),
    ("a hint that is no text", KEYED, lambda d: material(d)["publicKey"].update(hint=1), INVALID, "key hint is a number"),
    ("neither envelope nor signature", BUNDLE, lambda d: d.pop("dsseEnvelope"), INVALID, "neither an envelope nor a signature"),
    ("envelope and signature", BUNDLE, lambda d: d.update(messageSignature=MESSAGE["messageSignature"]), INVALID, "both an envelope and a plain signature"),
    ("two signatures", BUNDLE, lambda d: d["dsseEnvelope"].update(signatures=d["dsseEnvelope"]["signatures"] * 2), INVALID, "has 2 signatures, not one"),
    ("no signature", BUNDLE, lambda d: d["dsseEnvelope"].update(signatures=[]), INVALID, "no signature"),
    ("an empty plain signature", MESSAGE, lambda d: d["messageSignature"].update(signature=""), INVALID, "signature is empty"),
    ("a digest without algorithm", MESSAGE, lambda d: d["messageSignature"]["messageDigest"].pop("algorithm"), INVALID, "algorithm of the bundle's messageDigest is missing"),
    ("entries that are no list", BUNDLE, lambda d: material(d).update(tlogEntries={}), INVALID, "tlogEntries is an object, not an array"),
    ("an entry without log", BUNDLE, lambda d: entry(d).pop("logId"), INVALID, "logId is missing"),
    ("an entry without kind", BUNDLE, lambda d: entry(d).pop("kindVersion"), INVALID, "kindVersion is missing"),
    ("an entry without body", BUNDLE, lambda d: entry(d).pop("canonicalizedBody"), INVALID, "canonicalizedBody is missing"),
    ("a negative number", BUNDLE, lambda d: entry(d).update(logIndex="-1"), INVALID, 'logIndex "-1" is no number'),
    ("a number with a sign", BUNDLE, lambda d: entry(d).update(logIndex="+1"), INVALID, "is no number"),
    ("a number with a zero before it", BUNDLE, lambda d: entry(d).update(logIndex="01"), INVALID, "is no number"),
    ("a number with a fraction", BUNDLE, lambda d: entry(d).update(logIndex=1.0), INVALID, "is no number"),
    ("a number in other digits", BUNDLE, lambda d: entry(d).update(logIndex="\u0661"), INVALID, "is no number"),
    ("a boolean for a number", BUNDLE, lambda d: entry(d).update(logIndex=True), INVALID, "is no number"),
    ("a number of 64 bits", BUNDLE, lambda d: entry(d).update(integratedTime=str(2**63)), INVALID, "is no number"),
    ("a large JSON number", BUNDLE, lambda d: entry(d).update(integratedTime=2**63), INVALID, "is no number"),
    ("no promise in version 0.1", OLD, lambda d: entry(d).pop("inclusionPromise"), INVALID, "of version 0.1, and an entry of it has no inclusionPromise"),
    ("an empty promise in version 0.1", OLD, lambda d: entry(d).update(inclusionPromise={"signedEntryTimestamp": ""}), INVALID, "no inclusionPromise"),
    ("no proof in version 0.2", {**OLD, "mediaType": made.BUNDLE_V02}, lambda d: entry(d).pop("inclusionProof"), INVALID, "of version 0.2, and an entry of it has no inclusionProof"),
    ("no proof in version 0.3", BUNDLE, lambda d: entry(d).pop("inclusionProof"), INVALID, "of version 0.3, and an entry of it has no inclusionProof"),
    ("no checkpoint in version 0.3", BUNDLE, lambda d: entry(d)["inclusionProof"].pop("checkpoint"), INVALID, "checkpoint of an inclusionProof is missing"),
    ("a checkpoint that is no text", BUNDLE, lambda d: entry(d)["inclusionProof"].update(checkpoint={"envelope": []}), INVALID, "envelope of a checkpoint"),
    ("a hash of 31 bytes", BUNDLE, lambda d: entry(d)["inclusionProof"].update(rootHash=made.b64(b"x" * 31)), INVALID, "has 31 bytes, not 32"),
    ("a proof of 65 hashes", BUNDLE, lambda d: entry(d)["inclusionProof"].update(hashes=[made.b64(b"x" * 32)] * 65), INVALID, "has 65 hashes"),
    ("a time-stamp that is no object", BUNDLE, lambda d: material(d)["timestampVerificationData"].update(rfc3161Timestamps=["x"]), INVALID, "time-stamp of the bundle is a string"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "change", "reason", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])  # fmt: skip
def test_what_is_refused(document: dict[str, Any], change: Change, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        parse(document, change)
    assert (refused.value.reason, says in refused.value.message) == (reason, True), refused.value.message


LIMITS: list[tuple[dict[str, int], dict[str, Any], str]] = [
    ({"certificates": 1}, OLD, "2 certificates; the limit certificates is 1"),
    ({"certificate_bytes": len(HOLDER.der) + 1}, OLD, "certificateBytes"),
    ({"certificate_bytes": len(HOLDER.der) - 1}, BUNDLE, "certificateBytes"),
    ({"certificate_bytes": max(len(HOLDER.der), len(STAMP) - 1)}, BUNDLE, "a time-stamp of the bundle has"),
    ({"log_entries": 0}, BUNDLE, "1 entries of transparency logs; the limit logEntries is 0"),
    ({"timestamps": 0}, BUNDLE, "1 time-stamps; the limit timestamps is 0"),
    ({"json_depth": 3}, BUNDLE, "jsonDepth"),
]


@pytest.mark.parametrize(("limits", "document", "says"), LIMITS)
def test_limits(limits: dict[str, int], document: dict[str, Any], says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        parse(document, **limits)
    assert (refused.value.reason, says in refused.value.message) == (LARGE, True), refused.value.message


def test_up_to_the_limits() -> None:
    size = sum(len(base64.b64decode(one["rawBytes"])) for one in material(OLD)["x509CertificateChain"]["certificates"])
    assert len(parse(OLD, certificates=2, certificate_bytes=size, log_entries=1).certificates) == 2


def test_a_key_twice() -> None:
    text = compact(BUNDLE)
    with pytest.raises(EvidenceError, match="stands twice"):
        parse_bundle(text[:-1] + b',"mediaType":"x"}', DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("media_type", "is_one"),
    [("application/vnd.dev.sigstore.bundle.v9+json", True), ("application/vnd.dsse.envelope.v1+json", False), ("", False)],
)  # fmt: skip
def test_media_types_of_bundles(media_type: str, is_one: bool) -> None:
    assert is_bundle(media_type) is is_one
