"""Signatures over bytes: which hash goes with which key, and whether one holds."""

from collections.abc import Mapping
from hashlib import new
from types import MappingProxyType
from typing import TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT_BITS = 32
"""The time that a signature takes to check grows with the square of the one and with the other. All use 65537."""
CURVES: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
)
"""The curves that are read, and the hash that goes with each (architecture-docs, algorithm-registry.md)."""

_Algorithm = hashes.HashAlgorithm | Prehashed | None


class Signed:
    """What a signature runs over: ``data``, or bytes of which only the SHA-256 is known.

    An image's manifest is signed so: the digest by which it was asked for is that of its bytes. Each hash is made once.

    ``head`` goes before ``data``, so that a large payload need not be copied to be hashed with what DSSE puts before.
    """

    __slots__ = ("_data", "_digests", "_head", "_whole")

    def __init__(self, data: bytes | None, *, head: bytes = b"", sha256: bytes | None = None) -> None:
        self._data = data
        self._head = head
        self._whole: bytes | None = None
        self._digests: dict[str, bytes] = {} if sha256 is None else {"sha256": sha256}

    def __len__(self) -> int:
        """In bytes, 0 where only a digest is known."""
        return 0 if self._data is None else len(self._head) + len(self._data)

    def digest(self, algorithm: str) -> bytes | None:
        """By its name (sha256, sha384, sha512); None where that cannot be known."""
        if algorithm not in self._digests and self._data is not None:
            made = new(algorithm, self._head, usedforsecurity=True)
            made.update(self._data)
            self._digests[algorithm] = made.digest()
        return self._digests.get(algorithm)

    def whole(self) -> bytes | None:
        """All of it, for keys that sign no hash; None where it cannot be known."""
        if self._whole is None and self._data is not None:
            self._whole = self._head + self._data if self._head else self._data
        return self._whole

    def holds(self, key: PublicKey, signature: bytes) -> bool:
        """Whether ``signature`` is one of ``key``, with the hash that goes with the key."""
        algorithm = usual_hash(key)
        if algorithm is None:
            whole = self.whole()
            return whole is not None and signature_holds(key, signature, whole, None)
        digest = self.digest(algorithm.name)
        return digest is not None and signature_holds(key, signature, digest, Prehashed(algorithm))


def is_read(key: object) -> TypeGuard[PublicKey]:
    """Whether signatures of ``key`` can be checked here."""
    match key:
        case ec.EllipticCurvePublicKey():
            return key.curve.name in CURVES
        case rsa.RSAPublicKey():
            short = key.public_numbers().e.bit_length() <= MAX_RSA_EXPONENT_BITS
            return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and short
        case _:
            return isinstance(key, ed25519.Ed25519PublicKey)


def usual_hash(key: PublicKey) -> hashes.HashAlgorithm | None:
    """The hash that goes with a key of a kind that is read; None for Ed25519, which takes the message whole."""
    match key:
        case ec.EllipticCurvePublicKey():
            return CURVES[key.curve.name]
        case rsa.RSAPublicKey():
            return hashes.SHA256()
        case _:
            return None


def signature_holds(key: PublicKey, signature: bytes, data: bytes, algorithm: _Algorithm) -> bool:
    """Whether ``signature`` over ``data`` (a digest, with Prehashed) is one of ``key``; RSA is PKCS #1 v1.5."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm is None:
            key.verify(signature, data)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def spki(key: PublicKey) -> bytes:
    """The key as DER SubjectPublicKeyInfo (RFC 5280, section 4.1)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
