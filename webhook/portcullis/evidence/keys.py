"""Keys that sign attestations: which are taken, how a signature of each is checked, and how one is made.

============== ============================================== =========================================
key            hashes that its signatures may have            why
============== ============================================== =========================================
ECDSA P-256    SHA-256                                        ``cosign generate-key-pair``
ECDSA P-384    SHA-384, then SHA-256                          cosign's bundles; its old formats
ECDSA P-521    SHA-512, then SHA-256                          the same
Ed25519        none: over the message itself (RFC 8032)
RSA            SHA-256                                        PKCS #1 v1.5, or PSS where configured
============== ============================================== =========================================

The key chooses, not the envelope: nothing that is not configured says how a signature is to be checked. Other kinds
(DSA, Ed448, secp256k1, RSA under 2048 bits) are refused by name when they are configured.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from portcullis.errors import ConfigError
from portcullis.evidence.signed import (
    CURVES,
    MAX_RSA_BITS,
    MAX_RSA_EXPONENT_BITS,
    MIN_RSA_BITS,
    PublicKey,
    Signed,
    signature_holds,
    spki,
    usual_hash,
)
from portcullis.evidence.signers import RsaPadding, SignerKey
from portcullis.model.evidence import Signer

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_SUPPORTED = (
    "supported are ECDSA on P-256, P-384 and P-521, Ed25519, and RSA with 2048 to 8192 bits and a public exponent of "
    "at most 32 bits"
)

_HASHES: Mapping[str, tuple[hashes.HashAlgorithm, ...]] = MappingProxyType(
    {name: (usual,) if isinstance(usual, hashes.SHA256) else (usual, hashes.SHA256()) for name, usual in CURVES.items()}
)


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A configured signer's key. ``fingerprint`` is how a bundle may hint at it (see :func:`fingerprint`); ``padding``
    and ``log_root`` are as the signer's configuration says (:class:`~portcullis.evidence.signers.SignerKey`)."""

    signer: Signer
    key: PublicKey
    fingerprint: str
    padding: RsaPadding = RsaPadding.PKCS1V15
    log_root: str = ""

    def is_hinted_by(self, hint: str) -> bool:
        """Whether ``hint`` (unsigned) names this key, as cosign's bundles or as securesystemslib's key ids do."""
        return hint in {self.fingerprint, spki_sha256(self.key).hex()}

    def signed(self, message: Signed, signature: bytes) -> bool:
        """Whether ``signature`` over ``message`` is one of this key, by one of the ways of the table above.

        A message of which only the SHA-256 is known can be checked with those ways only that take that.
        """
        match self.key:
            case ec.EllipticCurvePublicKey():
                return any(self._holds(message, signature, algorithm) for algorithm in _HASHES[self.key.curve.name])
            case rsa.RSAPublicKey():
                return self._holds(message, signature, hashes.SHA256())
            case _:
                return message.holds(self.key, signature)

    def _holds(self, message: Signed, signature: bytes, algorithm: hashes.HashAlgorithm) -> bool:
        digest = message.digest(algorithm.name)
        if digest is None:
            return False
        if isinstance(self.key, rsa.RSAPublicKey) and self.padding is RsaPadding.PSS:
            return _pss_holds(self.key, signature, digest, algorithm)
        return signature_holds(self.key, signature, digest, Prehashed(algorithm))


def load_trusted(signer: SignerKey) -> TrustedKey:
    """The key of a configured signer.

    Raises:
        ConfigError: it cannot be used; or a padding is chosen for a key that has none.
    """
    key = load_public_key(signer.public_key_pem)
    if signer.padding is RsaPadding.PSS and not isinstance(key, rsa.RSAPublicKey):
        raise ConfigError(f"the key is {_kind(key)}, for which no padding can be chosen")
    return TrustedKey(Signer(name=signer.name, kind="key"), key, fingerprint(key), signer.padding, signer.log_root)


def load_public_key(pem: bytes) -> PublicKey:
    """A public key (SubjectPublicKeyInfo, RFC 5280 section 4.1) in PEM.

    Raises:
        ConfigError: it is no such PEM, or a key of a kind that is not read, which the message names.
    """
    _refuse_other_pem(pem, b"PUBLIC KEY", "a public key")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the key is no PEM public key that can be read") from None
    _require_supported(key, key, "the key")
    return cast(PublicKey, key)


def load_private_key(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """A private key in PEM (PKCS #8, SEC 1 or PKCS #1), decrypted with ``password`` where it is encrypted.

    Raises:
        ConfigError: it is no such PEM, the password is missing or wrong, or the key is of a kind that is not read.
    """
    if b"ENCRYPTED SIGSTORE PRIVATE KEY" in pem or b"ENCRYPTED COSIGN PRIVATE KEY" in pem:
        raise ConfigError("the key is encrypted in cosign's own format: export it as PKCS #8 PEM")
    _refuse_other_pem(pem, b"PRIVATE KEY", "a private key")
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:  # what cryptography raises for a password that is missing or not needed
        wanted = "is encrypted: give its password" if password is None else "is not encrypted: give no password"
        raise ConfigError(f"the private key {wanted}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the key is no PEM private key that can be read, or the password is wrong") from None
    _require_supported(key, key.public_key() if hasattr(key, "public_key") else None, "the private key")
    return cast(PrivateKey, key)


def sign_with(key: PrivateKey, message: Signed, rsa_padding: RsaPadding = RsaPadding.PKCS1V15) -> bytes:
    """A signature over ``message``, with the first hash of the table above; ECDSA's is DER (RFC 3279, 2.2.3).

    Raises:
        ConfigError: only a digest of the message is known, and the key signs no digest.
    """
    algorithm = usual_hash(key.public_key())
    if algorithm is None:
        whole = message.whole()
        if whole is None or not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ConfigError("Ed25519 signs the message itself, of which only a digest is known")
        return key.sign(whole)
    digest = message.digest(algorithm.name)
    if digest is None:
        raise ConfigError(f"the message's {algorithm.name} is not known")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, _padding(rsa_padding, algorithm), Prehashed(algorithm))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(digest, ec.ECDSA(Prehashed(algorithm)))


def spki_sha256(key: PublicKey) -> bytes:
    """SHA-256 of the key's DER SubjectPublicKeyInfo."""
    return sha256(spki(key)).digest()


def fingerprint(key: PublicKey) -> str:
    """The key's name in a Sigstore bundle (``verificationMaterial.publicKey.hint`` as cosign writes it): base64
    of :func:`spki_sha256`. It is a hint for people and never chooses what is believed."""
    return base64.b64encode(spki_sha256(key)).decode("ascii")


def _padding(chosen: RsaPadding, algorithm: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if chosen is RsaPadding.PKCS1V15:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.DIGEST_LENGTH)


def _pss_holds(key: rsa.RSAPublicKey, signature: bytes, digest: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    """The mask's hash is that of the message; the salt may have any length, which is not said elsewhere
    (RFC 8017, section 9.1)."""
    scheme = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)
    try:
        key.verify(signature, digest, scheme, Prehashed(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True


def _require_supported(key: object, public: object, what: str) -> None:
    match public:
        case ec.EllipticCurvePublicKey() if public.curve.name in CURVES:
            return
        case ed25519.Ed25519PublicKey():
            return
        case rsa.RSAPublicKey() if MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
            if (bits := public.public_numbers().e.bit_length()) <= MAX_RSA_EXPONENT_BITS:
                return
            raise ConfigError(f"{what} is {_kind(key)} and a public exponent of {bits} bits: {_SUPPORTED}")
    raise ConfigError(f"{what} is {_kind(key)}: {_SUPPORTED}")


def _refuse_other_pem(pem: bytes, label: bytes, wanted: str) -> None:
    if b"-----BEGIN CERTIFICATE-----" in pem:
        raise ConfigError(f"the file holds a certificate, not {wanted}")
    if label + b"-----" not in pem:
        held = "a private key" if b"PRIVATE KEY-----" in pem else "a public key" if b"PUBLIC KEY-----" in pem else ""
        raise ConfigError(f"the file holds {held}, not {wanted}" if held else f"the file holds no PEM of {wanted}")


def _kind(key: object) -> str:
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return f"ECDSA on {key.curve.name}"
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return f"RSA with {key.key_size} bits"
        case dsa.DSAPublicKey() | dsa.DSAPrivateKey():
            return "DSA"
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return "Ed25519"
        case ed448.Ed448PublicKey() | ed448.Ed448PrivateKey():
            return "Ed448"
        case _:
            return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey")
