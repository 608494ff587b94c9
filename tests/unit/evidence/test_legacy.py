"""cosign's old formats: how annotations are read, and what simple signing proves. Who signed is test_verifier.py's."""
# ruff: noqa: E501  (tables: one case, one line)

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.evidence.legacy import read_legacy, read_simple_signing, require_signature_of
from portcullis.evidence.material import LogEntry, Material
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import DEFAULT_LIMITS, Limits
from vectors import legacy as old
from vectors import sigstore as made
from vectors.attestations import CI, OTHER, SUBJECT, SUBJECT_512, compact, envelope, statement

PAYLOAD = compact(statement())
ENVELOPE = compact(envelope(PAYLOAD))
HOLDER = made.leaf()
BODY = made.dsse(made.made_by(HOLDER, PAYLOAD))
STAMP = made.stamp(b"signature")


def read(limits: Limits = DEFAULT_LIMITS, **annotations: str) -> Material:
    names = {
        "signature": old.SIGNATURE,
        "certificate": old.CERTIFICATE,
        "chain": old.CHAIN,
        "bundle": old.BUNDLE,
        "timestamp": old.TIMESTAMP,
    }
    return read_legacy(ENVELOPE, {names[name]: text for name, text in annotations.items()}, limits)


def swapped(document: Mapping[str, Any], **changes: Any) -> str:
    """The bundle annotation with fields of its Payload changed."""
    return json.dumps({**document, "Payload": {**document["Payload"], **changes}})


def test_an_envelope_with_everything_beside_it() -> None:
    annotations = old.annotations(
        HOLDER, BODY, **{old.TIMESTAMP: json.dumps({"SignedRFC3161Timestamp": made.b64(STAMP)})}
    )
    material = read_legacy(ENVELOPE, annotations, DEFAULT_LIMITS)

    assert material.envelope is not None
    assert material.envelope.payload == PAYLOAD
    assert material.certificates == (HOLDER.der, *(one.public_bytes(Encoding.DER) for one in HOLDER.chain))
    assert material.timestamps == (STAMP,)
    at = int(made.AT.timestamp())
    promised = material.entries[0].set
    assert material.entries == (LogEntry("dsse", "0.0.1", made.LOG_ID, 1005, at, BODY, promised, None),)
    assert (material.message, material.signature, material.bundle, material.hint) == (b"", b"", b"", "")


@pytest.mark.parametrize("annotations", [{}, {"certificate": "", "chain": "", "bundle": "", "timestamp": ""}])
def test_what_is_missing_or_empty_is_not_there(annotations: dict[str, str]) -> None:
    material = read(**annotations)
    assert (material.certificates, material.entries, material.timestamps) == ((), (), ())


def test_a_log_without_a_time_gives_none() -> None:
    assert read(bundle=swapped(old.logged(BODY), integratedTime=0)).entries[0].integrated_at is None


LOGGED = old.logged(BODY)
PEM = HOLDER.pem.decode()
INVALID, LARGE = "attestation-invalid", "too-large"


@pytest.mark.parametrize(
    ("name", "text", "reason", "says"),
    [
        ("certificate", "none", INVALID, "no PEM of certificates"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", INVALID, "no PEM"),
        ("certificate", PEM.replace("-----END", "é-----END"), INVALID, "no PEM"),
        ("certificate", PEM + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", INVALID, "more than certificates"),
        ("certificate", "x" * 131_073, LARGE, "certificateBytes"),
        ("certificate", PEM * 11, LARGE, "the limit certificates is 10"),
        ("chain", PEM * 11, LARGE, "the limit certificates is 10"),
        ("bundle", "{", INVALID, "not JSON"),
        ("bundle", "[]", INVALID, "another shape"),
        ("bundle", "\ud800", INVALID, "no text"),
        ("bundle", json.dumps(LOGGED)[:-1] + ',"Payload":{}}', INVALID, "stands twice"),
        ("bundle", json.dumps({**LOGGED, "SignedEntryTimestamp": "%"}), INVALID, "not standard base64"),
        ("bundle", json.dumps({"Payload": LOGGED["Payload"]}), INVALID, "SignedEntryTimestamp"),
        ("bundle", swapped(LOGGED, body="AAA-"), INVALID, "not standard base64"),
        ("bundle", swapped(LOGGED, body=made.b64(b"{}")), INVALID, "another shape"),
        ("bundle", swapped(LOGGED, body=made.b64(b'{"kind":"a","kind":"b","apiVersion":"1"}')), INVALID, "stands twice"),
        ("bundle", swapped(LOGGED, integratedTime=-1), INVALID, "not from 0 to"),
        ("bundle", swapped(LOGGED, integratedTime=2**63), INVALID, ""),
        ("bundle", swapped(LOGGED, integratedTime=1.5), INVALID, "another shape"),
        ("bundle", swapped(LOGGED, integratedTime=True), INVALID, "another shape"),
        ("bundle", swapped(LOGGED, logIndex="1005"), INVALID, "another shape"),
        ("bundle", swapped(LOGGED, logIndex=-5), INVALID, "not from 0 to"),
        ("bundle", swapped(LOGGED, logID="xy"), INVALID, "no hex"),
        ("bundle", swapped(LOGGED, logID=made.LOG_ID.hex().upper()), INVALID, "lower-case"),
        ("bundle", '{"x":' + "[" * 200 + "]" * 200 + "}", LARGE, "nested deeper"),
        ("timestamp", "{}", INVALID, "another shape"),
        ("timestamp", '{"SignedRFC3161Timestamp":"AB=="}', INVALID, "not canonical"),
        ("timestamp", json.dumps({"SignedRFC3161Timestamp": made.b64(b"0" * 65_537)}), LARGE, "certificateBytes"),
    ],
)  # fmt: skip
def test_annotations_that_are_refused(name: str, text: str, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read(**{name: text})
    assert (refused.value.reason, says in refused.value.message) == (reason, True), refused.value.message


def test_certificates_of_both_annotations_count_together() -> None:
    assert len(read(certificate=PEM, chain=PEM * 9).certificates) == 10
    for limits, says in [
        (DEFAULT_LIMITS, "the limit certificates is 10"),
        (replace(DEFAULT_LIMITS, certificates=20, certificate_bytes=len(HOLDER.der) * 10), "certificateBytes"),
    ]:
        with pytest.raises(EvidenceError, match=says):
            read(limits, certificate=PEM, chain=PEM * 10)


def test_a_signature_of_an_image() -> None:
    payload = old.simple_signing()
    material = read_simple_signing(payload, {old.SIGNATURE: made.b64(b"sig")}, DEFAULT_LIMITS)
    assert (material.envelope, material.message, material.signature) == (None, payload, b"sig")
    require_signature_of(payload, SUBJECT, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "annotations", [{}, {old.SIGNATURE: ""}, {old.SIGNATURE: "%"}, {"dev.sigstore.cosign/signature": "AAAA"}]
)
def test_a_payload_without_a_signature(annotations: dict[str, str]) -> None:
    with pytest.raises(EvidenceError) as refused:
        read_simple_signing(old.simple_signing(), annotations, DEFAULT_LIMITS)
    assert refused.value.reason == INVALID


MISMATCH = "attestation-subject-mismatch"


@pytest.mark.parametrize(
    ("payload", "reason", "says"),
    [
        (b"\xff", INVALID, "not UTF-8"),
        (old.simple_signing()[:-1] + b',"critical":{}}', INVALID, "stands twice"),
        (old.simple_signing(kind="atomic container signature"), INVALID, "atomic container signature"),
        (old.simple_signing(kind=None), INVALID, "another shape"),
        (compact({"critical": {"type": "cosign container image signature"}}), INVALID, "another shape"),
        (compact(statement()), INVALID, "another shape"),
        (old.simple_signing(OTHER), MISMATCH, OTHER),
        (old.simple_signing(SUBJECT.hex), MISMATCH, ""),
        (old.simple_signing(SUBJECT.upper()), MISMATCH, ""),
        (old.simple_signing(SUBJECT_512), MISMATCH, ""),
    ],
)  # fmt: skip
def test_payloads_that_sign_nothing(payload: bytes, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        require_signature_of(payload, SUBJECT, DEFAULT_LIMITS)
    assert (refused.value.reason, says in refused.value.message) == (reason, True), refused.value.message


def test_the_key_of_this_suite_signs_a_payload_like_cosigns() -> None:
    """So that the vectors above are of the form that is signed, byte for byte."""
    assert json.loads(old.simple_signing())["critical"]["image"] == {"docker-manifest-digest": SUBJECT}
    assert CI.curve.name == "secp256r1"
