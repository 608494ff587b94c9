"""Keys that sign checkpoints of the audit log, and those that such signatures are checked with: Ed25519 only.

One kind of key means that nothing has to be chosen, neither by the operator nor by what is checked; and its signatures
are short enough for a log line.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.audit.checkpoints import Signer
from portcullis.errors import ConfigError
from portcullis.evidence.keys import load_private_key, load_public_key
from portcullis.server.files import read_small

KEY = "audit.checkpoints.keyFile"
_MAKE = "make one with `openssl genpkey -algorithm ed25519`"


def signer_of(file: Path | None) -> Signer:
    """Signs with the private key in ``file`` (PEM, PKCS #8); without a file, with none.

    Raises:
        ConfigError: it cannot be read, or holds another kind of key. Nothing of its content is repeated.
    """
    if file is None:
        return Signer()
    pem = read_small(file, KEY).encode()
    if b"BEGIN OPENSSH PRIVATE KEY" in pem:
        raise ConfigError(f"{KEY}: {file}: the key is in OpenSSH's own format, not in PKCS #8; {_MAKE}")
    if b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem:
        raise ConfigError(
            f"{KEY}: {file}: the key is encrypted, and there is nobody to give its password: store it plain"
        )
    try:
        key = load_private_key(pem)
    except ConfigError as error:
        raise ConfigError(f"{KEY}: {file}: {error.message}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{KEY}: {file}: the key is no Ed25519 key, which checkpoints are signed with; {_MAKE}")
    return Signer(key)


def public_keys(files: Sequence[Path]) -> tuple[Ed25519PublicKey, ...]:
    """The public keys in these files.

    Raises:
        ConfigError: one cannot be read, or holds another kind of key.
    """
    return tuple(_public_key(file) for file in files)


def _public_key(file: Path) -> Ed25519PublicKey:
    pem = read_small(file, "--key").encode()
    try:
        key = load_public_key(pem)
    except ConfigError as error:
        raise ConfigError(f"--key: {file}: {error.message}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"--key: {file}: the key is no Ed25519 key, which checkpoints are signed with")
    return key
