"""Which keys are taken, how each signs, and how the others are named."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from portcullis.errors import ConfigError
from portcullis.evidence.keys import (
    PrivateKey,
    TrustedKey,
    fingerprint,
    load_private_key,
    load_public_key,
    load_trusted,
    sign_with,
)
from portcullis.evidence.signed import Signed
from portcullis.evidence.signers import RsaPadding, SignerKey
from portcullis.model.evidence import Signer
from vectors.attestations import CI, hint, pem
from vectors.keys import ED25519, KINDS, P256, P384, P521, RSA, WAYS, Way

Private = PrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey
SIGSTORE = b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
MESSAGE = b"DSSEv1 1 x 1 y"


def public(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key: Private, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def with_exponent(exponent: int) -> bytes:
    """A public key with the modulus of RSA's and another exponent."""
    numbers = rsa.RSAPublicNumbers(exponent, RSA.public_key().public_numbers().n)
    return numbers.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def trusted(key: PrivateKey, padding: RsaPadding = RsaPadding.PKCS1V15) -> TrustedKey:
    return load_trusted(SignerKey("ci", public(key), padding))


@pytest.mark.parametrize("key", KINDS.values(), ids=KINDS)
def test_public_keys_that_are_taken(key: PrivateKey) -> None:
    assert load_public_key(b"# comment\n" + public(key)) == key.public_key()


def test_a_signers_settings_go_with_its_key() -> None:
    signer = SignerKey("ci", public(RSA), RsaPadding.PSS, log_root="ours")
    loaded = load_trusted(signer)
    assert (loaded.signer, loaded.padding, loaded.log_root) == (Signer("ci", "key"), RsaPadding.PSS, "ours")
    assert loaded.fingerprint == fingerprint(RSA.public_key())


def test_only_rsa_has_a_padding() -> None:
    with pytest.raises(ConfigError, match="ECDSA on secp256r1, for which no padding"):
        trusted(P256, RsaPadding.PSS)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_key_takes_the_signatures_of_its_ways_and_no_others(way: Way) -> None:
    signature = way.sign(MESSAGE)
    assert trusted(way.key, way.padding).signed(Signed(MESSAGE), signature) is way.taken
    assert not trusted(way.key, way.padding).signed(Signed(MESSAGE + b" "), signature)


def test_no_key_takes_the_signature_of_another() -> None:
    for name, key in KINDS.items():
        signature = sign_with(key, Signed(MESSAGE))
        holding = [other for other, one in KINDS.items() if trusted(one).signed(Signed(MESSAGE), signature)]
        assert holding == [name]


@pytest.mark.parametrize("signature", [b"", b"\x00", b"0" * 64, b"0" * 256, b"\x30\x06\x02\x01\x00\x02\x01\x00"])
def test_what_is_no_signature(signature: bytes) -> None:
    for key in KINDS.values():
        assert not trusted(key).signed(Signed(MESSAGE), signature)
    assert not trusted(RSA, RsaPadding.PSS).signed(Signed(MESSAGE), signature)


@pytest.mark.parametrize("padding", RsaPadding)
@pytest.mark.parametrize("key", KINDS.values(), ids=KINDS)
def test_what_a_key_signs_it_takes(key: PrivateKey, padding: RsaPadding) -> None:
    signature = sign_with(key, Signed(MESSAGE), padding)
    chosen = padding if key is RSA else RsaPadding.PKCS1V15
    assert trusted(key, chosen).signed(Signed(b"y", head=b"DSSEv1 1 x 1 "), signature)


def test_a_message_of_which_the_digest_is_known() -> None:
    known = Signed(None, sha256=Signed(MESSAGE).digest("sha256"))
    assert trusted(P256).signed(known, sign_with(P256, Signed(MESSAGE)))
    assert not trusted(P384).signed(known, sign_with(P384, Signed(MESSAGE)))
    assert not trusted(ED25519).signed(known, sign_with(ED25519, Signed(MESSAGE)))
    for key, says in [(P521, "sha512 is not known"), (ED25519, "signs the message itself")]:
        with pytest.raises(ConfigError, match=says):
            sign_with(key, known)


def test_a_fingerprint_is_the_hint_that_cosign_writes() -> None:
    assert fingerprint(CI.public_key()) == hint(CI)


def test_a_key_knows_its_hints() -> None:
    key = trusted(CI)
    assert key.is_hinted_by(hint(CI))
    assert key.is_hinted_by(base64.b64decode(hint(CI)).hex())
    assert not key.is_hinted_by("")
    assert not key.is_hinted_by("ci")


@pytest.mark.parametrize("password", [b"", b"secret"])
@pytest.mark.parametrize("key", KINDS.values(), ids=KINDS)
def test_a_private_key(key: PrivateKey, password: bytes) -> None:
    assert private(load_private_key(private(key, password), password or None)) == private(key)


def test_a_private_key_of_openssl() -> None:
    for key in (CI, RSA):
        old = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert private(load_private_key(old)) == private(key)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (public(ec.generate_private_key(ec.SECP256K1())), "ECDSA on secp256k1"),
        (public(ec.generate_private_key(ec.SECP224R1())), "ECDSA on secp224r1"),
        (public(rsa.generate_private_key(65537, 1024)), "RSA with 1024 bits"),
        (rsa.RSAPublicNumbers(65537, 2**8192 + 1).public_key().public_bytes(
            Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "RSA with 8193 bits"),
        (with_exponent(2**32 + 1), "a public exponent of 33 bits"),
        (with_exponent(2**1024 + 1), "a public exponent of 1025 bits"),
        (public(dsa.generate_private_key(1024)), "DSA"),
        (public(ed448.Ed448PrivateKey.generate()), "Ed448"),
        (private(CI), "a private key, not a public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM public key that can be read"),
        (b"", "no PEM of a public key"),
        (b"\x30\x59", "no PEM of a public key"),
        (pem(CI)[:60], "can be read"),
    ],
)  # fmt: skip
def test_public_keys_that_are_refused(content: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_public_key(content)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("content", "password", "says"),
    [
        (private(ec.generate_private_key(ec.SECP256K1())), None, "ECDSA on secp256k1"),
        (private(rsa.generate_private_key(65537, 1024)), None, "RSA with 1024 bits"),
        (private(ed448.Ed448PrivateKey.generate()), None, "Ed448"),
        (private(dsa.generate_private_key(1024)), None, "DSA"),
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
