"""Attestations, good and bad, made when they are needed with keys that live as long as the test run.

Each bad one differs from a good one in a single respect, so that the reason for which it is refused is that one.
"""
# ruff: noqa: E501  (tables: one vector, one line)

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.evidence.trust import Accept, SignerKey, Trust, TrustRule
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import PredicateClass
from portcullis.model.image import Digest

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"

SUBJECT = Digest("sha256:" + "ab" * 32)
OTHER = Digest("sha256:" + "cd" * 32)
SUBJECT_512 = Digest("sha512:" + "ef" * 64)

CI = ec.generate_private_key(ec.SECP256R1())
RELEASE = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())

LIMITS = replace(DEFAULT_LIMITS, attestation_bytes=64 * 1024, statement_subjects=20, json_values=2_000)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hint(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return base64.b64encode(digest.finalize()).decode()


def trust(*, images: str = "registry.example/acme/**") -> Trust:
    """ "ci" speaks of vulnerabilities, "release" of SBOMs and provenance."""
    return Trust(
        signers=[SignerKey("ci", pem(CI)), SignerKey("release", pem(RELEASE))],
        rules=[
            TrustRule(
                images=(images,),
                accept=(
                    Accept((PredicateClass.VULNERABILITY,), ("ci",)),
                    Accept((PredicateClass.SBOM, PredicateClass.PROVENANCE), ("release",)),
                ),
            )
        ],
    )


def statement(
    *,
    subject: object = None,
    predicate: object = None,
    predicate_type: object = VULN,
    kind: object = "https://in-toto.io/Statement/v0.1",
    name: str = "registry.example/acme/web",
) -> dict[str, Any]:
    return {
        "_type": kind,
        "predicateType": predicate_type,
        "subject": [{"name": name, "digest": {SUBJECT.algorithm: SUBJECT.hex}}] if subject is None else subject,
        "predicate": {"scanner": {}} if predicate is None else predicate,
    }


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def signature(payload: bytes, key: ec.EllipticCurvePrivateKey, payload_type: str = IN_TOTO) -> bytes:
    """Written out from the DSSE protocol, so that the product's own encoder is not its own judge."""
    kind = payload_type.encode()
    encoded = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    return key.sign(encoded, ec.ECDSA(hashes.SHA256()))


def envelope(
    payload: bytes,
    *keys: ec.EllipticCurvePrivateKey,
    payload_type: str = IN_TOTO,
    keyid: str = "",
) -> dict[str, Any]:
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": keyid, "sig": base64.b64encode(signature(payload, key, payload_type)).decode()}
            for key in keys or (CI,)
        ],
    }


def bundle(
    inner: Mapping[str, Any], *, key_hint: str | None = None, media_type: str = BUNDLE, **material: Any
) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "verificationMaterial": material or {"publicKey": {"hint": hint(CI) if key_hint is None else key_hint}},
        "dsseEnvelope": dict(inner),
    }


@dataclass(frozen=True, slots=True)
class Vector:
    """``expect`` is "verified" or the reason; ``step`` the step of the proof that it breaks (0: none);
    ``says`` a part of the message; ``signer`` who is named all the same."""

    name: str
    expect: str
    content: bytes = field(repr=False)
    media_type: str = DSSE
    step: int = 0
    says: str = ""
    signer: str | None = None
    subject: Digest = SUBJECT

    def __str__(self) -> str:
        return self.name


def _swap(document: Mapping[str, Any], **changes: Any) -> bytes:
    return compact({**document, **changes})


def _payload_with_url_safe_characters() -> bytes:
    """A statement whose base64 has a + or /."""
    for padding in range(100):
        payload = compact(statement(name="?" * padding + "~~~>>>"))
        if set(base64.b64encode(payload)) & set(b"+/"):
            return payload
    raise AssertionError("no such payload")


def _loose_bits(text: str) -> str:
    """The same bytes in base64 whose unused last bits are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stripped = text.rstrip("=")
    assert stripped != text, "no unused bits"
    return stripped[:-1] + alphabet[alphabet.index(stripped[-1]) + 1] + "=" * (len(text) - len(stripped))


def _padded_statement() -> bytes:
    """A statement whose base64 ends with padding."""
    return next(payload for size in range(3) if len(payload := compact(statement(name="x" * size))) % 3)


def good() -> Sequence[Vector]:
    plain = compact(statement())
    subjects = [{"uri": "pkg:oci/web"}, {"name": "other", "digest": {"sha256": OTHER.hex}}]
    mine = {"name": "x", "digest": {"gitCommit": "0" * 40, "sha256": SUBJECT.hex}}
    in_512 = compact(statement(subject=[{"name": "x", "digest": {"sha512": SUBJECT_512.hex}}]))
    tlog = {"publicKey": {"hint": "unknown"}, "tlogEntries": [_unread_entry()], "timestampVerificationData": {}}
    old = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    return [
        Vector("a bare envelope", "verified", compact(envelope(plain)), signer="ci"),
        Vector("a bundle", "verified", compact(bundle(envelope(plain))), BUNDLE, signer="ci"),
        Vector(
            "a bundle whose layer and document spell version 0.3 differently",
            "verified",
            compact(bundle(envelope(plain), media_type="application/vnd.dev.sigstore.bundle+json;version=0.3")),
            BUNDLE,
            signer="ci",
        ),
        Vector("a bundle with log entries", "verified", compact(bundle(envelope(plain), **tlog)), BUNDLE, signer="ci"),
        Vector("a bundle of version 0.1", "verified", compact(bundle(envelope(plain), media_type=old)), BUNDLE, signer="ci"),
        Vector("a bundle without a hint", "verified", compact(bundle(envelope(plain), publicKey={})), BUNDLE, signer="ci"),
        Vector("a keyid of another key", "verified", compact(envelope(plain, keyid=hint(STRANGER))), signer="ci"),
        Vector("unknown fields", "verified", _swap(envelope(plain), note="seen"), signer="ci"),
        Vector(
            "statement version 1",
            "verified",
            compact(envelope(compact(statement(kind="https://in-toto.io/Statement/v1")))),
            signer="ci",
        ),
        Vector("one of several subjects", "verified", compact(envelope(compact(statement(subject=[*subjects, mine])))), signer="ci"),
        Vector("a sha512 subject", "verified", compact(envelope(in_512)), signer="ci", subject=SUBJECT_512),
        Vector("a second signature by a stranger", "verified", compact(envelope(plain, STRANGER, CI)), signer="ci"),
        Vector("two configured signers", "verified", compact(envelope(plain, RELEASE, CI)), signer="ci"),
        Vector("a predicate that is a text", "verified", compact(envelope(compact(statement(predicate="SPDXVersion: SPDX-2.3")))), signer="ci"),
        Vector("no predicate", "verified", compact(envelope(compact({k: v for k, v in statement().items() if k != "predicate"}))), signer="ci"),
    ]  # fmt: skip


def _unread_entry() -> dict[str, Any]:
    """An entry of a transparency log that has its shape, and holds nothing that is true."""
    proof = {
        "logIndex": "1",
        "treeSize": "2",
        "rootHash": base64.b64encode(b"0" * 32).decode(),
        "hashes": [],
        "checkpoint": {"envelope": "none"},
    }
    return {
        "logIndex": "1",
        "logId": {"keyId": "AAAA"},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": "1",
        "canonicalizedBody": "e30=",
        "inclusionProof": proof,
    }


def bad() -> Sequence[Vector]:
    return [*_malformed(), *_badly_signed(), *_bad_statements(), *_unsupported()]


def _malformed() -> Sequence[Vector]:
    inner = envelope(compact(statement()))
    text = compact(inner)
    odd = envelope(_payload_with_url_safe_characters())
    padded = envelope(_padded_statement())
    key = {"keyid": "", "sig": "AA=="}
    invalid, large = "attestation-invalid", "too-large"
    cases: list[tuple[str, int, str, bytes, str]] = [
        ("empty", 1, invalid, b"", "not JSON"),
        ("no JSON", 1, invalid, b"PK\x03\x04", "not JSON"),
        ("trailing text", 1, invalid, text + b"{}", "not JSON"),
        ("an array", 1, invalid, b"[" + text + b"]", "an array, not an object"),
        ("UTF-16", 1, invalid, text.decode().encode("utf-16"), "not UTF-8"),
        ("a byte order mark", 1, invalid, b"\xef\xbb\xbf" + text, "not JSON"),
        ("a key twice", 1, invalid, text[:-1] + b',"payload":"AAAA"}', '"payload" stands twice'),
        ("NaN", 1, invalid, text[:-1] + b',"x":NaN}', "NaN"),
        ("infinity", 1, invalid, text[:-1] + b',"x":1e999}', "too large"),
        ("a number of 5,000 digits", 1, invalid, text[:-1] + b',"x":' + b"9" * 5000 + b"}", "not strict JSON"),
        ("a lone surrogate", 1, invalid, text[:-1] + b',"x":"\\ud800"}', "lone surrogate"),
        ("deep", 1, large, text[:-1] + b',"x":' + b"[" * 101 + b"]" * 101 + b"}", "nested deeper"),
        ("deeper than the stack", 1, large, text[:-1] + b',"x":' + b"[" * 1900 + b"]" * 1900 + b"}", "nested deeper"),
        ("too many values", 1, large, text[:-1] + b',"x":[' + b"1," * 2000 + b"1]}", "jsonValues"),
        ("too many bytes", 1, large, text + b" " * 64 * 1024, "attestationBytes"),
        ("other case of a key", 1, invalid, text.replace(b'"payload"', b'"Payload"'), "payload is missing"),
        ("URL-safe base64", 2, invalid, _swap(odd, payload=odd["payload"].replace("+", "-").replace("/", "_")), "base64"),
        ("base64 without padding", 2, invalid, _swap(padded, payload=padded["payload"].rstrip("=")), "base64"),
        ("base64 with loose bits", 2, invalid, _swap(padded, payload=_loose_bits(padded["payload"])), "canonical"),
        ("base64 with a line break", 2, invalid, _swap(inner, payload=inner["payload"] + "\n"), "base64"),
        ("a payload that is no text", 2, invalid, _swap(inner, payload={}), "an object, not a string"),
        ("a signature in no base64", 2, invalid, _swap(inner, signatures=[{"sig": "%"}]), "base64"),
        ("a signature that is a text", 2, invalid, _swap(inner, signatures=["AAAA"]), "a string, not an object"),
        ("no signature", 3, invalid, _swap(inner, signatures=[]), "no signature"),
        ("signatures missing", 3, invalid, compact({k: v for k, v in inner.items() if k != "signatures"}), "missing"),
        ("many signatures", 3, large, _swap(inner, signatures=[*inner["signatures"], *[key] * 20]), "envelopeSignatures"),
    ]  # fmt: skip
    return [Vector(name, reason, content, step=step, says=says) for name, step, reason, content, says in cases]


def _badly_signed() -> Sequence[Vector]:
    plain = compact(statement())
    changed = compact(statement(predicate={"scanner": {"uri": "changed"}}))
    named = envelope(plain, keyid=hint(CI))
    tampered = base64.b64encode(changed).decode()
    by_length = "application/vnd.in-tötö+json"
    counted = CI.sign(f"DSSEv1 {len(by_length)} {by_length} {len(plain)} ".encode() + plain, ec.ECDSA(hashes.SHA256()))
    raw = {"signatures": [{"sig": base64.b64encode(CI.sign(plain, ec.ECDSA(hashes.SHA256()))).decode()}]}
    miscounted = {"payloadType": by_length, "signatures": [{"sig": base64.b64encode(counted).decode()}]}
    other_curve = ec.generate_private_key(ec.SECP384R1())
    invalid, untrusted = "attestation-invalid", "attestation-untrusted"
    cases: list[tuple[str, int, str, bytes, str, str]] = [
        ("tampered, key named", 4, invalid, _swap(named, payload=tampered), DSSE, 'key of signer "ci"'),
        ("tampered bundle", 4, invalid, compact(bundle(_swapped(envelope(plain), payload=tampered))), BUNDLE, "does not match"),
        ("tampered, no key named", 4, untrusted, _swap(envelope(plain), payload=tampered), DSSE, "changed afterwards"),
        ("the type changed after signing", 4, untrusted, _swap(envelope(plain, payload_type="text/plain"), payloadType=IN_TOTO), DSSE, ""),
        ("signed without PAE", 4, untrusted, _swap(envelope(plain), **raw), DSSE, ""),
        ("lengths counted in characters", 4, untrusted, _swap(envelope(plain), **miscounted), DSSE, ""),
        ("a signature that is no DER", 4, untrusted, _swap(envelope(plain), signatures=[{"sig": "AAAA"}]), DSSE, ""),
        ("an empty signature", 4, untrusted, _swap(envelope(plain), signatures=[{"sig": ""}]), DSSE, ""),
        ("another key", 5, untrusted, compact(envelope(plain, STRANGER)), DSSE, "no configured key signed it"),
        ("another key that says so", 5, untrusted, compact(bundle(envelope(plain, STRANGER), key_hint=hint(STRANGER))), BUNDLE, hint(STRANGER)),
        ("another key that names ours", 5, invalid, compact(bundle(envelope(plain, STRANGER))), BUNDLE, "another key signed it"),
        ("a key of another curve", 5, untrusted, compact(envelope(plain, other_curve)), DSSE, ""),
    ]  # fmt: skip
    return [
        Vector(name, reason, content, media_type, step=step, says=says)
        for name, step, reason, content, media_type, says in cases
    ]


def _swapped(document: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**document, **changes}


def _bad_statements() -> Sequence[Vector]:
    digest: Callable[..., dict[str, Any]] = lambda **digests: {"name": "x", "digest": digests}  # noqa: E731
    text = compact(statement())
    invalid, mismatch, large = "attestation-invalid", "attestation-subject-mismatch", "too-large"
    signed: list[tuple[str, int, str, bytes, str]] = [
        ("a payload that is no JSON", 7, invalid, b"\x00\x01", "not JSON"),
        ("a key twice in the payload", 7, invalid, text[:-1] + b',"subject":[]}', '"subject" stands twice'),
        ("an unknown _type", 7, invalid, compact(statement(kind="https://in-toto.io/Statement/v2")), "_type"),
        ("no predicateType", 7, invalid, compact(statement(predicate_type=None)), "predicateType"),
        ("an empty predicateType", 7, invalid, compact(statement(predicate_type="")), "0 characters"),
        ("a long predicateType", 7, invalid, compact(statement(predicate_type="x" * 1025)), "1025 characters"),
        ("a subject that is no list", 7, invalid, compact(statement(subject={})), "Expected `array`"),
        ("a subject that is a text", 7, invalid, compact(statement(subject=["x"])), "Expected `object`"),
        ("too many subjects", 7, large, compact(statement(subject=[digest(sha256=SUBJECT.hex)] * 21)), "statementSubjects"),
        ("another image", 8, mismatch, compact(statement(subject=[digest(sha256=OTHER.hex)])), "not about"),
        ("no subject", 8, mismatch, compact(statement(subject=[])), "not about"),
        ("a subject with a URI only", 8, mismatch, compact(statement(subject=[{"uri": f"pkg:oci/web@{SUBJECT}"}])), ""),
        ("a subject of that name", 8, mismatch, compact(statement(subject=[{"name": str(SUBJECT), "digest": {}}])), ""),
        ("upper-case hex", 8, mismatch, compact(statement(subject=[digest(sha256=SUBJECT.hex.upper())])), ""),
        ("the hex under another algorithm", 8, mismatch, compact(statement(subject=[digest(sha512=SUBJECT.hex, gitCommit=SUBJECT.hex)])), ""),
        ("a part of the hex", 8, mismatch, compact(statement(subject=[digest(sha256=SUBJECT.hex[:63])])), ""),
        ("a digest that is a list", 8, mismatch, compact(statement(subject=[digest(sha256=[SUBJECT.hex])])), ""),
        ("a predicate that is a list", 9, invalid, compact(statement(predicate=[1])), "neither an object nor a text"),
        ("a predicate that is a number", 9, invalid, compact(statement(predicate=1)), "neither an object nor a text"),
        ("a payload in UTF-16", 7, invalid, text.decode().encode("utf-16"), "not UTF-8"),
        ("a payload with NaN", 7, invalid, text[:-1] + b',"x":NaN}', "NaN"),
        ("a key twice in the predicate, once with an escape", 7, invalid, text[:-2] + b',"a":1,"\\u0061":2}}', "stands twice"),
        ("a deep payload", 7, large, text[:-1] + b',"x":' + b"[" * 101 + b"]" * 101 + b"}", "nested deeper"),
        ("a payload of too many values", 7, large, text[:-1] + b',"x":[' + b"1," * 2000 + b"1]}", "jsonValues"),
    ]  # fmt: skip
    vectors = [
        Vector(name, reason, compact(envelope(payload)), step=step, says=says, signer="ci")
        for name, step, reason, payload, says in signed
    ]
    empty = compact(envelope(compact(statement(subject=[digest(sha256="")]))))
    return [
        *vectors,
        Vector("a judged digest without hex", mismatch, empty, step=8, signer="ci", subject=Digest("sha256:")),
        Vector(
            "a payload type that is not in-toto's, signed",
            invalid,
            compact(envelope(text, payload_type="application/vnd.in-toto+json; charset=utf-8")),
            step=6,
            says="not application/vnd.in-toto+json",
            signer="ci",
        ),
    ]


def _unsupported() -> Sequence[Vector]:
    plain = compact(statement())
    inner = envelope(plain)
    whole = bundle(inner)
    certificate = {"certificate": {"rawBytes": "AAAA"}}
    chain = {"x509CertificateChain": {"certificates": []}, "publicKey": {"hint": hint(CI)}}
    by_stranger = envelope(plain, STRANGER)
    no_envelope = {k: v for k, v in whole.items() if k != "dsseEnvelope"}
    unsupported, invalid, untrusted = "attestation-unsupported", "attestation-invalid", "attestation-untrusted"
    future = "application/vnd.dev.sigstore.bundle.v0.4+json"
    cases: list[tuple[str, str, bytes, str, str]] = [
        ("a bare statement", "attestation-unsigned", plain, IN_TOTO, "not signed"),
        ("an unknown media type", unsupported, compact(inner), "application/json", "application/json"),
        ("a bundle with a certificate", untrusted, compact(bundle(by_stranger, **certificate)), BUNDLE, "keyless"),
        ("a bundle with a chain beside a key", invalid, compact(bundle(inner, **chain)), BUNDLE, "must hold one"),
        ("a plain signature that is none", invalid, compact({**no_envelope, "messageSignature": {"signature": "AAAA"}}), BUNDLE, ""),
        ("a bundle of another version", unsupported, compact(bundle(inner, media_type=future)), BUNDLE, "version"),
        ("a bundle that says it is none", invalid, compact(bundle(inner, media_type="text/plain")), BUNDLE, "text/plain"),
        ("a bundle without material", invalid, compact({**whole, "verificationMaterial": None}), BUNDLE, "missing"),
        ("a bundle without an envelope", invalid, compact(no_envelope), BUNDLE, "neither an envelope"),
        ("a bundle with two signatures", invalid, compact(bundle(envelope(plain, CI, RELEASE))), BUNDLE, "2 signatures"),
        ("an envelope called a bundle", invalid, compact(inner), BUNDLE, "mediaType"),
        ("a bundle called an envelope", invalid, compact(whole), DSSE, "payloadType"),
        ("a signature of Notation", untrusted, b"{}", "application/jose+json", "Notation"),
    ]  # fmt: skip
    return [
        Vector(name, reason, content, media_type, step=1, says=says)
        for name, reason, content, media_type, says in cases
    ]
