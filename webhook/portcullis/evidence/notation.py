"""Signatures of Notation (notaryproject/specifications): JWS over the descriptor of what was signed.

The proof. A configured signer signed a digest, if:

 (1)  the envelope has one reading: strict JSON, canonical base64url, no member and no header that could be read twice;
 (2)  its signed header names an algorithm and a payload type that are known, and whatever it demands to be understood
      is; what the specification demands to be marked so is marked (jws.py);
 (3)  it brings certificates, no more of them and no more bytes than the limits;
 (4)  one of them is, byte for byte, in the signer's trust store: nothing else makes a chain trusted;
 (5)  they are a whole chain in order, each issued by the next and the last by itself, and the first is made for signing
      code (codesigning.py);
 (6)  the algorithm is the one that belongs to the first certificate's key, which leaves no choice to who signed;
 (7)  the signature holds with that key, over the encoded header and payload as they stand in the envelope;
 (8)  the signing scheme is the one that the trust store is for: only a signing authority is believed when it signed;
 (9)  the certificate's subject has all attributes of one of the signer's identities;
 (10) all certificates were valid when it was signed: at the signing authority's time, or at that of a proven
      time-stamp, or else now, since what was signed before they ended cannot be told from what was signed after;
 (11) the signature has not expired, whenever it was made;
 (12) only then, the payload is read: strict JSON, a descriptor, whose digest is the one that was judged.

Revocation (OCSP, CRL) is not looked up: that would need the network while a request waits, and an answer that is
missing would have to refuse. Whoever must revoke takes the identity or the certificate out of the configuration.
COSE envelopes are refused by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.errors import ConfigError
from portcullis.evidence.codesigning import load_chain, reading, require_code_signing, require_valid
from portcullis.evidence.countersignature import verify_token
from portcullis.evidence.decode import decode_typed, parse_object
from portcullis.evidence.jws import Jws, Protected, Scheme, parse_jws
from portcullis.evidence.material import Proven
from portcullis.evidence.mediatypes import COSE, JWS
from portcullis.evidence.refusal import (
    ATTESTATION_EXPIRED,
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNSUPPORTED,
    ATTESTATION_UNTRUSTED,
    EvidenceError,
    shown,
)
from portcullis.evidence.signers import NotationSigner
from portcullis.evidence.times import oldest
from portcullis.evidence.x509names import Attributes, has_all, parse_identities
from portcullis.limits import Limits
from portcullis.model.evidence import Signer
from portcullis.model.image import Digest
from portcullis.times import rfc3339

_RSA: Final[Mapping[int, tuple[str, hashes.HashAlgorithm]]] = {
    2048: ("PS256", hashes.SHA256()),
    3072: ("PS384", hashes.SHA384()),
    4096: ("PS512", hashes.SHA512()),
}
_EC: Final[Mapping[str, tuple[str, hashes.HashAlgorithm]]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
    "secp521r1": ("ES512", hashes.SHA512()),
}
_CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far ahead of ours the clock of a signing authority may be."""


class _Artifact(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int


class _Payload(msgspec.Struct, rename="camel"):
    target_artifact: _Artifact


@dataclass(frozen=True, slots=True)
class _Store:
    """A signer, parsed. ``identities`` is None where any subject will do; ``certificates`` are DER."""

    name: str
    authority: bool
    certificates: frozenset[bytes]
    identities: tuple[Attributes, ...] | None
    stamping: tuple[x509.Certificate, ...]


class NotationVerifier:
    """Verifies for all configured signers of Notation at once.

    Args:
        limits: ``attestation_bytes``, ``certificates``, ``certificate_bytes``, ``json_depth``, ``json_values``.

    Raises:
        ConfigError: a trust store holds no certificate or something else, or is over ``certificate_bytes``; or an
            identity is none.
    """

    def __init__(self, *, signers: Sequence[NotationSigner], limits: Limits) -> None:
        self._stores = tuple(_read_signer(signer, limits) for signer in signers)
        self._limits = limits

    def prove(self, content: bytes, media_type: str, subject: Digest, now: datetime) -> Proven:
        """Who signed ``subject``.

        Args:
            content: the signature envelope, of ``media_type``.
            subject: the digest that was judged.

        Returns:
            All signers for whom the proof holds, at least one. ``signed_at`` is the time of the signing authority, or
            that of a time-stamp; None where neither is there.

        Raises:
            EvidenceError: it holds for none.
        """
        if media_type != JWS:
            named = "in COSE" if media_type == COSE else f"of the type {shown(media_type)}"
            raise EvidenceError(
                f"Notation signatures {named} are not supported, only those in JWS ({JWS})",
                ATTESTATION_UNSUPPORTED,
            )
        # (1), (2), (3) the envelope
        jws = parse_jws(content, self._limits)
        # (4) a certificate that the operator has
        stores = [store for store in self._stores if not store.certificates.isdisjoint(jws.certificates)]
        if not stores:
            raise EvidenceError("its certificates lead to no configured signer's trust store", ATTESTATION_UNTRUSTED)
        chain = load_chain(jws.certificates)
        # (5) the chain
        require_code_signing(chain)
        # (6), (7) the signature
        _require_signature(jws, chain[0])
        # (8), (9), (10) who signed, and when
        proven = self._judged(stores, jws, chain, now)
        # (11) the signer's own end
        _require_unexpired(jws.protected, now)
        # (12) what was signed
        _require_subject(jws.payload, subject, self._limits)
        return proven

    def _judged(self, stores: Sequence[_Store], jws: Jws, chain: Sequence[x509.Certificate], now: datetime) -> Proven:
        """Steps (8) to (10): the signers for whom they hold. Where they do for none, the refusal of the one that came
        furthest is what is worth reading."""
        with reading("the subject of the signing certificate"):
            subject, issuer = chain[0].subject.rfc4514_string(), chain[0].issuer.rfc4514_string()
        signers: list[Signer] = []
        times: list[datetime | None] = []
        refusals: list[tuple[int, EvidenceError]] = []
        for store in stores:
            step = 8
            try:
                _require_scheme(store, jws.protected)
                step = 9
                _require_identity(store, chain[0], subject)
                step = 10
                times.append(_signing_time(store, jws, chain, now, self._limits))
            except EvidenceError as error:
                refusals.append((step, error))
            else:
                signers.append(Signer(store.name, kind="notation", issuer=issuer, identity=subject))
        if not signers:
            raise max(refusals, key=lambda refusal: refusal[0])[1]
        return Proven(signers=tuple(signers), signed_at=oldest(*times))


def _require_signature(jws: Jws, leaf: x509.Certificate) -> None:
    with reading("the key of the signing certificate"):
        key = leaf.public_key()
    said = jws.protected.algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA:
            # (6) RSA: the hash goes with the size
            algorithm, digest = _RSA[key.key_size]
            _require_algorithm(algorithm, said)
            # (7) RFC 7518, section 3.5: the salt is as long as the hash
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
            key.verify(jws.signature, jws.signed, pss, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _EC:
            # (6) ECDSA: the hash goes with the curve
            algorithm, digest = _EC[key.curve.name]
            _require_algorithm(algorithm, said)
            # (7) RFC 7518, section 3.4: two numbers of the curve's length, one behind the other
            key.verify(_dss(jws.signature, key.curve.key_size), jws.signed, ec.ECDSA(digest))
        else:
            raise EvidenceError(
                "the key of the signing certificate is neither RSA of 2048, 3072 or 4096 bits nor P-256/384/521"
            )
    except InvalidSignature:
        raise EvidenceError("the signature does not hold: it was changed after it was signed") from None


def _require_algorithm(right: str, said: str) -> None:
    if said != right:
        raise EvidenceError(f"the header alg is {said}, and the key of the signing certificate signs with {right}")


def _dss(signature: bytes, bits: int) -> bytes:
    size = (bits + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))


def _require_scheme(store: _Store, protected: Protected) -> None:
    # (8) else who holds a certificate that has ended could sign with it under a time of his choice
    right = Scheme.SIGNING_AUTHORITY if store.authority else Scheme.X509
    if protected.scheme is not right:
        raise EvidenceError(
            f"it is of the signing scheme {protected.scheme}, and the signer {shown(store.name)} is one of {right}",
            ATTESTATION_UNTRUSTED,
        )


def _require_identity(store: _Store, leaf: x509.Certificate, subject: str) -> None:
    # (9) every attribute of one identity
    if store.identities is None or any(has_all(leaf.subject, wanted) for wanted in store.identities):
        return
    raise EvidenceError(
        f"the certificate is that of {shown(subject)}, which is no identity of the signer {shown(store.name)}",
        ATTESTATION_UNTRUSTED,
    )


def _signing_time(
    store: _Store, jws: Jws, chain: Sequence[x509.Certificate], now: datetime, limits: Limits
) -> datetime | None:
    """Step (10): the time when it was signed, if it can be trusted; the certificates were valid then, or are now."""
    authentic = jws.protected.authentic_time
    if authentic is not None:
        if authentic > now + _CLOCK_TOLERANCE:
            raise EvidenceError(f"it was signed at {rfc3339(authentic, 'seconds')}, which is yet to come")
        require_valid(chain, authentic, authentic, "the time of signing")
        return authentic
    # Without authorities of time-stamps nobody can tell whether one holds; it counts for nothing then.
    if jws.timestamp and store.stamping:
        stamped = verify_token(jws.timestamp, jws.signature, store.stamping, limits)
        require_valid(chain, stamped.first, stamped.last, "the time-stamp")
        return stamped.time
    require_valid(chain, now, now, "the time now")
    return None


def _require_unexpired(protected: Protected, now: datetime) -> None:
    if protected.expiry is not None and now >= protected.expiry:
        raise EvidenceError(f"the signature expired at {rfc3339(protected.expiry, 'seconds')}", ATTESTATION_EXPIRED)


def _require_subject(payload: bytes, subject: Digest, limits: Limits) -> None:
    parse_object(payload, limits=limits, what="the signed payload")
    artifact = decode_typed(payload, _Payload, "the signed payload").target_artifact
    if not artifact.media_type or artifact.size < 0:
        raise EvidenceError("the signed payload has no descriptor: its media type is empty, or its size is negative")
    if artifact.digest != subject:
        raise EvidenceError(
            f"it is signed for {shown(artifact.digest)}, not for {subject}", ATTESTATION_SUBJECT_MISMATCH
        )


def _read_signer(signer: NotationSigner, limits: Limits) -> _Store:
    try:
        return _Store(
            name=signer.name,
            authority=signer.signing_authority,
            certificates=frozenset(
                certificate.public_bytes(Encoding.DER)
                for certificate in _read_pem(signer.certificates_pem, "the trust store", limits)
            ),
            identities=parse_identities(signer.identities),
            stamping=_read_pem(signer.timestamp_pem, "the trust store of time-stamps", limits)
            if signer.timestamp_pem
            else (),
        )
    except ConfigError as error:
        raise ConfigError(f"the signer {shown(signer.name)}: {error.message}") from None


def _read_pem(pem: bytes, what: str, limits: Limits) -> tuple[x509.Certificate, ...]:
    if len(pem) > limits.certificate_bytes:
        raise ConfigError(f"{what} has {len(pem)} bytes; the limit certificateBytes is {limits.certificate_bytes}")
    # The parser passes over what is no certificate; an operator who put a key there would not know.
    if b"PRIVATE KEY-----" in pem:
        raise ConfigError(f"{what} holds a private key, not certificates")
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, TypeError):
        raise ConfigError(f"{what} holds no PEM certificates that can be read") from None
