"""Digests of content (image-spec descriptor.md, "Digests")."""

import hashlib
from typing import Any

from portcullis.errors import DigestMismatch, Malformed
from portcullis.model.image import DIGEST, Digest
from portcullis.text import clean


def read_digest(text: str, what: str) -> Digest:
    """Reads a digest that a registry wrote.

    Raises:
        Malformed: neither sha256 nor sha512 with all their lower-case hex digits.
    """
    if DIGEST.fullmatch(text) is None:
        raise Malformed(f"{what} names {clean(repr(text), 90)}, which is no sha256 or sha512 digest")
    return Digest(text)


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    """``algorithm`` is sha256 or sha512."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


class Checksum:
    """Hashes content as it comes, against the digest that it must have."""

    def __init__(self, expected: Digest) -> None:
        self._expected = expected
        self._hash: Any = hashlib.new(read_digest(expected, "the request").algorithm)

    def update(self, piece: bytes) -> None:
        self._hash.update(piece)

    def check(self, what: str) -> None:
        """Raises:
        DigestMismatch: the content is not that of the digest.
        """
        found = f"{self._expected.algorithm}:{self._hash.hexdigest()}"
        if found != self._expected:
            raise DigestMismatch(f"{what} was answered with other bytes: they have the digest {found}")


def check_digest(content: bytes, expected: Digest, what: str) -> None:
    """Raises:
    DigestMismatch: ``content`` is not that of the digest.
    """
    checksum = Checksum(expected)
    checksum.update(content)
    checksum.check(what)
