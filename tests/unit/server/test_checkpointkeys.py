"""Keys of checkpoints: Ed25519, and a clear word for all else."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from portcullis.audit.checkpoints import key_id
from portcullis.errors import ConfigError
from portcullis.server.checkpointkeys import public_keys, signer_of

KEY = ed25519.Ed25519PrivateKey.generate()


def pem(key: object, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)  # type: ignore[attr-defined, no-any-return]


def public_pem(key: object) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def test_what_openssl_makes_is_taken(tmp_path: Path) -> None:
    """The commands of docs/operators-audit-log.md."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    (key,) = public_keys([public])
    assert signer_of(private).key == key_id(key)


def test_without_a_file_nothing_is_signed() -> None:
    assert signer_of(None).key == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (public_pem(KEY), "a public key, not a private key"),
        (pem(KEY, password=b"secret"), "is encrypted"),
        (pem(KEY, PrivateFormat.OpenSSH), "OpenSSH's own format"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "no Ed25519 key"),
        (pem(rsa.generate_private_key(65537, 2048)), "no Ed25519 key"),
        (pem(ed448.Ed448PrivateKey.generate()), "Ed448"),
        (b"-----BEGIN CERTIFICATE-----\n", "a certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no PEM private key that can be read"),
        (b"hunter2", "no PEM of a private key"),
        (b"\xff", "is no text"),
        (b"x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_other_private_keys_are_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        signer_of(file)
    assert f"audit.checkpoints.keyFile: {file}" in raised.value.message
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pem(KEY), "a private key, not a public key"),
        (public_pem(ec.generate_private_key(ec.SECP256R1())), "no Ed25519 key"),
        (b"x", "no PEM of a public key"),
    ],
)
def test_other_public_keys_are_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        public_keys([file])


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        signer_of(tmp_path / "none")
