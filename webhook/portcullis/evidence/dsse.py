"""DSSE envelopes: parsing, and the one function that checks a signature (secure-systems-lab/dsse v1.0.2).

The proof. An envelope's payload is what a configured key signed, if:

 (1) the envelope is strict JSON with exactly one reading: an object with payload, payloadType, signatures;
 (2) payload and signatures decode from canonical standard base64, and the bytes that are checked are the very
     bytes that are used afterwards;
 (3) it has at least one signature and no more than the limit: none is not "all of none hold";
 (4) a signature holds, in a way that belongs to the key (keys.py), over PAE(payloadType, payload): the type and both
     lengths (in bytes) are signed with the payload, so that neither can be moved into the other;
 (5) the key is one of those configured; each is tried. ``keyid`` is not signed: it chooses nothing;
 (6) after that only, the payload type is the one that is understood, character for character.

Nothing may be remembered under a signature's bytes: of each ECDSA signature (r, s) anybody can make another, (r, n-s).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ed25519

from portcullis.evidence.decode import as_list, as_object, as_text, decode_base64, parse_carrier
from portcullis.evidence.keys import PrivateKey, TrustedKey, sign_with
from portcullis.evidence.refusal import TOO_LARGE, EvidenceError, shown
from portcullis.evidence.signed import Signed
from portcullis.evidence.signers import RsaPadding
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

ENVELOPE_MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"

_WHOLE_BYTES = 512 * 1024 * 1024
"""What is hashed for Ed25519 keys, which hash the message anew for each signature: about a second. Twenty keys and one
signature of the largest payload stay under it."""


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
    return read_envelope(parse_carrier(content, limits=limits, what="the envelope"), limits)


def read_envelope(document: JSONObject, limits: Limits) -> Envelope:
    """As :func:`parse_envelope`, from JSON that :func:`portcullis.evidence.decode.parse_carrier` has read."""
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
    return _head(payload_type, payload) + payload


def message_of(envelope: Envelope) -> Signed:
    """What the envelope's signatures run over. A payload of some megabytes is not copied for it."""
    return Signed(envelope.payload, head=_head(envelope.payload_type, envelope.payload))


def signed_by(envelope: Envelope, keys: Sequence[TrustedKey]) -> tuple[TrustedKey, ...]:
    """Those of ``keys`` that signed the envelope, in the order of ``keys``; empty where none did.

    All are tried, not only until one holds: which signer is asked for is the business of the trust rules.

    Raises:
        EvidenceError: too large for so many Ed25519 keys and signatures (too-large).
    """
    return signing_keys(message_of(envelope), [signature.sig for signature in envelope.signatures], keys)


def signing_keys(message: Signed, signatures: Sequence[bytes], keys: Sequence[TrustedKey]) -> tuple[TrustedKey, ...]:
    """As :func:`signed_by`, of any message."""
    _bound_hashing(message, len(signatures), keys)
    # (4) each hash of the message is made once, however many signatures and keys there are
    # (5) every configured key is tried, whatever keyid says
    return tuple(trusted for trusted in keys if any(trusted.signed(message, signature) for signature in signatures))


def require_in_toto(envelope: Envelope) -> None:
    """Step (6), for an envelope whose signature holds.

    Raises:
        EvidenceError: the payload is of another type (attestation-invalid).
    """
    # (6) the type, once it is known to be signed
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        raise EvidenceError(f"the signed payload is of type {shown(envelope.payload_type)}, not {IN_TOTO_PAYLOAD_TYPE}")


def sign(payload_type: str, payload: bytes, key: PrivateKey, padding: RsaPadding = RsaPadding.PKCS1V15) -> bytes:
    """A signature over the payload's PAE."""
    return sign_with(key, Signed(payload, head=_head(payload_type, payload)), padding)


def _head(payload_type: str, payload: bytes) -> bytes:
    encoded = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d " % (len(encoded), encoded, len(payload))


def _bound_hashing(message: Signed, signatures: int, keys: Sequence[TrustedKey]) -> None:
    whole = sum(isinstance(trusted.key, ed25519.Ed25519PublicKey) for trusted in keys)
    if whole * signatures * len(message) > _WHOLE_BYTES:
        raise EvidenceError(
            f"it has {signatures} signatures over {len(message)} bytes, too much to try {whole} Ed25519 keys with each",
            TOO_LARGE,
        )


def _read_signature(entry: object) -> Signature:
    document = as_object(entry, "a signature of the envelope")
    keyid = document.get("keyid")
    # An unset keyid is the same as an empty one (envelope.md, "Parsing rules").
    return Signature(
        keyid="" if keyid is None else as_text(keyid, "a signature's keyid"),
        sig=decode_base64(document.get("sig"), "a signature"),
    )
