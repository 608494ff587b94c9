"""Keys that sign attestations: ECDSA on P-256 with SHA-256, which is what ``cosign generate-key-pair`` makes."""

import base64
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from portcullis.errors import ConfigError
from portcullis.model.evidence import Signer

_SUPPORTED = "only ECDSA P-256 keys are supported"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A configured signer's key. ``fingerprint`` is how a bundle may hint at it (see :func:`fingerprint`)."""

    signer: Signer
    key: ec.EllipticCurvePublicKey
    fingerprint: str

    def is_hinted_by(self, hint: str) -> bool:
        """Whether ``hint`` (unsigned) names this key, as cosign's bundles or as securesystemslib's key ids do."""
        return hint in {self.fingerprint, spki_sha256(self.key).hex()}


def load_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """A public key (SubjectPublicKeyInfo, RFC 5280 section 4.1) in PEM.

    Raises:
        ConfigError: it is no such PEM, or a key of another kind, which the message names.
    """
    _refuse_other_pem(pem, b"PUBLIC KEY", "a public key")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the key is no PEM public key that can be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"the key is {_kind(key)}: {_SUPPORTED}")
    return key


def load_private_key(pem: bytes, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """A private key in PEM (PKCS #8, or SEC 1), decrypted with ``password`` where it is encrypted.

    Raises:
        ConfigError: it is no such PEM, the password is missing or wrong, or the key is of another kind.
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
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"the private key is {_kind(key)}: {_SUPPORTED}")
    return key


def spki_sha256(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the key's DER SubjectPublicKeyInfo."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).digest()


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """The key's name in a Sigstore bundle (``verificationMaterial.publicKey.hint`` as cosign writes it): base64
    of :func:`spki_sha256`. It is a hint for people and never chooses what is believed."""
    return base64.b64encode(spki_sha256(key)).decode("ascii")


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
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return "Ed25519"
        case ed448.Ed448PublicKey() | ed448.Ed448PrivateKey():
            return "Ed448"
        case _:
            return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey")
