"""What an entry of a Rekor log says was logged, and whether that is a given signature (sigstore/rekor, pkg/types).

Step (5) of transparency.py. Each kind of entry says in its own words what was hashed, the signature, and who signed:

- dsse 0.0.1:         sha256 of the payload; signatures with a PEM certificate or key each;
- intoto 0.0.2:       the same, the signatures in base64 twice as a rule;
- hashedrekord 0.0.1: hash of the signed bytes; one signature; PEM;
- hashedrekord 0.0.2: the same in Rekor 2, which writes it for DSSE envelopes too, over their PAE; DER.

The hash of a whole envelope is passed over where it stands: an envelope is JSON, which others may write differently.
Kinds that do not hold all three (intoto 0.0.1 has no signature) cannot be bound to a signature and are not read.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from portcullis.evidence.decode import decode_base64, decode_typed, require_strict
from portcullis.evidence.material import LogEntry
from portcullis.evidence.refusal import ATTESTATION_UNLOGGED, ATTESTATION_UNSUPPORTED, EvidenceError, shown
from portcullis.evidence.signed import Signed
from portcullis.limits import Limits

_WHAT = "the body of the log entry"


@dataclass(frozen=True, slots=True)
class Claim:
    """The signature that an entry must be of.

    Args:
        signatures: those whose signer is the one below; an entry may be of any of them.
        signed: what they run over (PAE, for an envelope).
        payload: of the envelope; None where there is none.
        verifier: DER of the signer's certificate, or of the key (SubjectPublicKeyInfo) of one without certificate.
        is_certificate: which of the two it is.
    """

    signatures: tuple[bytes, ...] = field(repr=False)
    signed: Signed
    payload: bytes | None = field(repr=False)
    verifier: bytes = field(repr=False)
    is_certificate: bool


class _Hash(msgspec.Struct):
    algorithm: str
    value: str


class _DsseSignature(msgspec.Struct):
    signature: str
    verifier: str


class _Dsse(msgspec.Struct, rename="camel"):
    payload_hash: _Hash
    signatures: list[_DsseSignature]


class _IntotoSignature(msgspec.Struct, rename="camel"):
    sig: str
    public_key: str


class _IntotoEnvelope(msgspec.Struct, rename="camel"):
    payload_type: str
    signatures: list[_IntotoSignature]


class _IntotoContent(msgspec.Struct, rename="camel"):
    envelope: _IntotoEnvelope
    payload_hash: _Hash


class _Intoto(msgspec.Struct):
    content: _IntotoContent


class _Hashed(msgspec.Struct):
    hash: _Hash


class _Content(msgspec.Struct):
    content: str


class _RekordSignature(msgspec.Struct, rename="camel"):
    content: str
    public_key: _Content


class _Rekord(msgspec.Struct):
    data: _Hashed
    signature: _RekordSignature


class _Digest(msgspec.Struct):
    algorithm: str
    digest: str


class _Raw(msgspec.Struct, rename="camel"):
    raw_bytes: str


class _Verifier(msgspec.Struct, rename="camel"):
    x509_certificate: _Raw | None = None
    public_key: _Raw | None = None


class _RekordSignature2(msgspec.Struct):
    content: str
    verifier: _Verifier


class _Rekord2(msgspec.Struct):
    data: _Digest
    signature: _RekordSignature2


class _Spec2(msgspec.Struct):
    hashed_rekord: _Rekord2 = msgspec.field(name="hashedRekordV002")


class _Body(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    spec: msgspec.Raw


_ALGORITHMS = MappingProxyType({"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"})


def require_entry_of(entry: LogEntry, claim: Claim, limits: Limits) -> None:
    """Step (5): that the entry is one of the signature in ``claim``. That the log has the entry was proven before.

    Raises:
        EvidenceError: it is of another signature (attestation-unlogged), cannot be read (attestation-invalid), or is of
            a kind that is not read (attestation-unsupported).
    """
    require_strict(entry.body, limits=limits, what=_WHAT)
    body = decode_typed(entry.body, _Body, _WHAT)
    # The kind that stands beside the body is not signed: it may be missing, and must not say another thing.
    if entry.kind and (entry.kind, entry.version) != (body.kind, body.api_version):
        raise EvidenceError(f"the log entry is of kind {shown(body.kind)}, and the bundle says {shown(entry.kind)}")
    read = _KINDS.get((body.kind, body.api_version))
    if read is None:
        raise EvidenceError(
            f"the log entry is of kind {shown(f'{body.kind} {body.api_version}')}, which is not read",
            ATTESTATION_UNSUPPORTED,
        )
    read(bytes(body.spec), claim)


def _dsse(spec: bytes, claim: Claim) -> None:
    body = decode_typed(spec, _Dsse, _WHAT)
    _require_payload(body.payload_hash, claim)
    if not body.signatures:
        raise _other("the log entry holds no signature")
    for one in body.signatures:
        _require_signature(decode_base64(one.signature, "a signature in the log entry"), claim)
        _require_pem(one.verifier, claim)


def _intoto(spec: bytes, claim: Claim) -> None:
    content = decode_typed(spec, _Intoto, _WHAT).content
    _require_payload(content.payload_hash, claim)
    if not content.envelope.signatures:
        raise _other("the log entry holds no signature")
    for one in content.envelope.signatures:
        _require_signature(_twice(one.sig), claim)
        _require_pem(one.public_key, claim)


def _twice(text: str) -> bytes:
    """Rekor takes the signature, which is base64, for bytes and encodes it once more; some logs do not."""
    once = decode_base64(text, "a signature in the log entry")
    try:
        return base64.b64decode(once, validate=True)
    except binascii.Error:
        return once


def _hashedrekord(spec: bytes, claim: Claim) -> None:
    body = decode_typed(spec, _Rekord, _WHAT)
    if body.data.hash.algorithm not in _ALGORITHMS.values():
        raise _other(f"the log entry has a hash by {shown(body.data.hash.algorithm)}")
    _require_hash(claim.signed.digest(body.data.hash.algorithm), body.data.hash.value)
    _require_signature(decode_base64(body.signature.content, "the signature in the log entry"), claim)
    _require_pem(body.signature.public_key.content, claim)


def _hashedrekord2(spec: bytes, claim: Claim) -> None:
    body = decode_typed(spec, _Spec2, _WHAT).hashed_rekord
    algorithm = _ALGORITHMS.get(body.data.algorithm)
    if algorithm is None:
        raise _other(f"the log entry has a hash by {shown(body.data.algorithm)}")
    _require_hash(claim.signed.digest(algorithm), decode_base64(body.data.digest, "the hash in the log entry").hex())
    _require_signature(decode_base64(body.signature.content, "the signature in the log entry"), claim)
    verifier = body.signature.verifier
    given = verifier.x509_certificate if claim.is_certificate else verifier.public_key
    if given is None or decode_base64(given.raw_bytes, "the signer in the log entry") != claim.verifier:
        raise _other("the log entry is of another signer")


_KINDS: Mapping[tuple[str, str], Callable[[bytes, Claim], None]] = MappingProxyType(
    {
        ("dsse", "0.0.1"): _dsse,
        ("intoto", "0.0.2"): _intoto,
        ("hashedrekord", "0.0.1"): _hashedrekord,
        ("hashedrekord", "0.0.2"): _hashedrekord2,
    }
)


def _require_payload(given: _Hash, claim: Claim) -> None:
    if claim.payload is None:
        raise _other("the log entry is of an envelope, and what was signed is none")
    if given.algorithm != "sha256":
        raise _other(f"the log entry has a hash by {shown(given.algorithm)}")
    _require_hash(Signed(claim.payload).digest("sha256"), given.value)


def _require_hash(known: bytes | None, given: str) -> None:
    if known is None or known.hex() != given:
        raise _other("the log entry is of other content")


def _require_signature(given: bytes, claim: Claim) -> None:
    if given not in claim.signatures:
        raise _other("the log entry is of another signature")


def _require_pem(text: str, claim: Claim) -> None:
    """That a certificate or key, PEM in base64, is the signer's."""
    pem = decode_base64(text, "the signer in the log entry")
    # A second one behind the first would be passed over by those who read it.
    if pem.count(b"-----BEGIN") != 1:
        raise EvidenceError("the signer in the log entry is not one PEM")
    try:
        given = _certificate(pem) if claim.is_certificate else _key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _other("the log entry is of a signer of another kind") from None
    if given != claim.verifier:
        raise _other("the log entry is of another signer")


def _certificate(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def _key(pem: bytes) -> bytes:
    key: Any = serialization.load_pem_public_key(pem)
    der: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _other(message: str) -> EvidenceError:
    return EvidenceError(f"{message}: it proves nothing about this one", ATTESTATION_UNLOGGED)
