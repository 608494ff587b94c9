"""Which keys are taken, and how the others are named."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from portcullis.errors import ConfigError
from portcullis.evidence.keys import TrustedKey, fingerprint, load_private_key, load_public_key
from portcullis.model.evidence import Signer
from vectors.attestations import CI, hint, pem

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey
SIGSTORE = b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"


def public(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key: Private, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_public_key() -> None:
    key = load_public_key(b"# comment\n" + pem(CI))
    assert key.public_numbers() == CI.public_key().public_numbers()


def test_a_fingerprint_is_the_hint_that_cosign_writes() -> None:
    assert fingerprint(CI.public_key()) == hint(CI)


def test_a_key_knows_its_hints() -> None:
    trusted = TrustedKey(Signer("ci", "key"), CI.public_key(), hint(CI))
    assert trusted.is_hinted_by(hint(CI))
    assert trusted.is_hinted_by(base64.b64decode(hint(CI)).hex())
    assert not trusted.is_hinted_by("")
    assert not trusted.is_hinted_by("ci")


@pytest.mark.parametrize("password", [b"", b"secret"])
def test_a_private_key(password: bytes) -> None:
    key = load_private_key(private(CI, password), password or None)
    assert key.private_numbers() == CI.private_numbers()


def test_a_private_key_of_openssl() -> None:
    old = CI.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert load_private_key(old).private_numbers() == CI.private_numbers()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (public(ec.generate_private_key(ec.SECP384R1())), "ECDSA on secp384r1"),
        (public(ec.generate_private_key(ec.SECP256K1())), "ECDSA on secp256k1"),
        (public(rsa.generate_private_key(65537, 2048)), "RSA with 2048 bits"),
        (public(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
        (public(ed448.Ed448PrivateKey.generate()), "Ed448"),
        (private(CI), "a private key, not a public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM public key that can be read"),
        (b"", "no PEM of a public key"),
        (b"\x30\x59", "no PEM of a public key"),
        (pem(CI)[:60], "can be read"),
    ],
)
def test_public_keys_that_are_refused(content: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_public_key(content)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("content", "password", "says"),
    [
        (private(ec.generate_private_key(ec.SECP521R1())), None, "ECDSA on secp521r1"),
        (private(rsa.generate_private_key(65537, 2048)), None, "RSA with 2048 bits"),
        (private(ed25519.Ed25519PrivateKey.generate()), None, "Ed25519"),
        (pem(CI), None, "a public key, not a private key"),
        (private(CI, b"secret"), None, "is encrypted: give its password"),
        (private(CI, b"secret"), b"wrong", "password is wrong"),
        (private(CI), b"secret", "is not encrypted"),
        (SIGSTORE, None, "cosign's own"),
        (b"nonsense", None, "no PEM of a private key"),
    ],
)  # fmt: skip
def test_private_keys_that_are_refused(content: bytes, password: bytes | None, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_private_key(content, password)
    assert says in refused.value.message
    assert "secret" not in refused.value.message
