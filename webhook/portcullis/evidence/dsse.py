"""DSSE envelopes: parsing, and the one function that checks a signature (secure-systems-lab/dsse v1.0.2).

The proof. An envelope's payload is what a configured key signed, if:

 (1) the envelope is strict JSON with exactly one reading: an object with payload, payloadType, signatures;
 (2) payload and signatures decode from canonical standard base64, and the bytes that are checked are the very
     bytes that are used afterwards;
 (3) it has at least one signature and no more than the limit: none is not "all of none hold";
 (4) a signature holds, by ECDSA P-256 with SHA-256, over PAE(payloadType, payload): the type and both lengths
     (in bytes) are signed with the payload, so that neither can be moved into the other;
 (5) the key is one of those configured; each is tried. ``keyid`` is not signed: it chooses nothing;
 (6) after that only, the payload type is the one that is understood, character for character.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from portcullis.evidence.decode import as_list, as_object, as_text, decode_base64, parse_object
from portcullis.evidence.keys import TrustedKey
from portcullis.evidence.refusal import TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

ENVELOPE_MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"

_ALGORITHM = ec.ECDSA(Prehashed(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class Signature:
    """``keyid`` is what the envelope says of the key; nobody signed it."""

    keyid: str
    sig: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    payload_type: str
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]


def parse_envelope(content: bytes, limits: Limits) -> Envelope:
    """The envelope in ``content``, not verified.

    Raises:
        EvidenceError: it is no DSSE envelope (attestation-invalid), or over a limit (too-large).
    """
    # (1) strict JSON
    return read_envelope(parse_object(content, limits=limits, what="the envelope"), limits)


def read_envelope(document: JSONObject, limits: Limits) -> Envelope:
    """As :func:`parse_envelope`, from JSON that :func:`portcullis.evidence.decode.parse_json` has read."""
    payload_type = as_text(document.get("payloadType"), "the envelope's payloadType")
    # (2) canonical base64
    payload = decode_base64(document.get("payload"), "the envelope's payload")
    entries = as_list(document.get("signatures"), "the envelope's signatures")
    # (3) one signature at least
    if not entries:
        raise EvidenceError("the envelope has no signature")
    if len(entries) > limits.envelope_signatures:
        raise EvidenceError(
            f"the envelope has {len(entries)} signatures; the limit envelopeSignatures is {limits.envelope_signatures}",
            TOO_LARGE,
        )
    return Envelope(payload_type, payload, tuple(_read_signature(entry) for entry in entries))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-Authentication Encoding (protocol.md, "Signature Definition"): lengths count bytes, not characters."""
    encoded = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(encoded), encoded, len(payload), payload)


def signed_by(envelope: Envelope, keys: Sequence[TrustedKey]) -> tuple[TrustedKey, ...]:
    """Those of ``keys`` that signed the envelope, in the order of ``keys``; empty where none did.

    All are tried, not only until one holds: which signer is asked for is the business of the trust rules.
    """
    # (4) the payload is hashed once, however many signatures and keys there are
    digest = sha256(pae(envelope.payload_type, envelope.payload)).digest()
    # (5) every configured key is tried, whatever keyid says
    return tuple(
        trusted
        for trusted in keys
        if any(_holds(trusted.key, signature.sig, digest) for signature in envelope.signatures)
    )


def require_in_toto(envelope: Envelope) -> None:
    """Step (6), for an envelope whose signature holds.

    Raises:
        EvidenceError: the payload is of another type (attestation-invalid).
    """
    # (6) the type, once it is known to be signed
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        raise EvidenceError(f"the signed payload is of type {shown(envelope.payload_type)}, not {IN_TOTO_PAYLOAD_TYPE}")


def sign(payload_type: str, payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A DER signature over the payload's PAE."""
    return key.sign(sha256(pae(payload_type, payload)).digest(), _ALGORITHM)


def _holds(key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        key.verify(signature, digest, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def _read_signature(entry: object) -> Signature:
    document = as_object(entry, "a signature of the envelope")
    keyid = document.get("keyid")
    # An unset keyid is the same as an empty one (envelope.md, "Parsing rules").
    return Signature(
        keyid="" if keyid is None else as_text(keyid, "a signature's keyid"),
        sig=decode_base64(document.get("sig"), "a signature"),
    )
