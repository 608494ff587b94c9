"""Checkpoints of a chain: what stood in it at one moment, in words that can be signed and kept elsewhere.

    {"apiVersion":"portcullis.dev/v1","kind":"AuditCheckpoint","chain":…,"replica":…,"position":7,"hash":…,"at":…,
     "prunedThrough":{"position":0,"hash":…},"previous":…}

That is the *body*, ASCII JSON with these members in this order and without blanks: a checkpoint has one body only, so
that whoever knows its values can check its signature. The signature is Ed25519 (RFC 8032) over SIGNED_PREFIX and the
body; the prefix keeps it from being taken for a signature of anything else.

Hashes are in lower-case hexadecimal. Position 0 is the genesis of the chain; ``prunedThrough`` is the last record that
retention may remove, position 0 and the hash of the genesis where none is; ``previous`` is the SHA-256 of the body of
the checkpoint before it in the same chain, "" for the first.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portcullis.times import parse_rfc3339, rfc3339

API_VERSION = "portcullis.dev/v1"
KIND = "AuditCheckpoint"
SIGNED_PREFIX = b"portcullis audit checkpoint 1\n"

_HASH = re.compile(r"[0-9a-f]{64}")
_CHARS = 300
"""Longest text of a member: a replica's name has 256 characters at most."""


class CheckpointError(ValueError):
    """The bytes are no checkpoint."""


@dataclass(frozen=True, slots=True)
class Place:
    """A position of a chain with the hash that stands there."""

    position: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``previous`` is "" for the first of a chain."""

    chain: str
    replica: str
    head: Place
    at: datetime
    pruned: Place
    previous: str

    def tree(self) -> dict[str, Any]:
        """Its members, as JSON has them."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "chain": self.chain,
            "replica": self.replica,
            "position": self.head.position,
            "hash": self.head.hash,
            "at": rfc3339(self.at),
            "prunedThrough": {"position": self.pruned.position, "hash": self.pruned.hash},
            "previous": self.previous,
        }

    def body(self) -> bytes:
        return json.dumps(self.tree(), separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it is kept. ``signature`` is empty, and ``key`` "", where there was no key to sign with;
    ``key`` is else what :func:`key_id` says of it: a hint, which nothing is believed for."""

    checkpoint: Checkpoint
    signature: bytes = b""
    key: str = ""

    def tree(self) -> dict[str, Any]:
        """As it is published: the members of its body, and two more."""
        return {**self.checkpoint.tree(), "signature": self.signature.hex(), "key": self.key}


class Signer:
    """Signs checkpoints with the operator's key; without one they say that they are not signed.

    Args:
        key: None for unsigned ones.
    """

    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        self._key = key
        self.key = key_id(key.public_key()) if key is not None else ""

    def sign(self, checkpoint: Checkpoint) -> Signed:
        if self._key is None:
            return Signed(checkpoint)
        return Signed(checkpoint, self._key.sign(SIGNED_PREFIX + checkpoint.body()), self.key)


def key_id(key: Ed25519PublicKey) -> str:
    """``sha256:<hex>`` of its DER SubjectPublicKeyInfo, as ``openssl pkey -pubin -outform DER | sha256sum`` has it."""
    return f"sha256:{sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()}"


def holds(key: Ed25519PublicKey, signed: Signed) -> bool:
    """Whether the signature is one of that key."""
    try:
        key.verify(signed.signature, SIGNED_PREFIX + signed.checkpoint.body())
    except InvalidSignature:
        return False
    return True


def body_hash(body: bytes) -> str:
    """What the next checkpoint of the chain names as its ``previous``."""
    return sha256(body).hexdigest()


def read_body(body: bytes) -> Checkpoint:
    """The checkpoint of a body.

    Raises:
        CheckpointError: it is not byte for byte what a checkpoint's body is.
    """
    try:
        checkpoint = read_tree(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"it is no checkpoint: {error}") from None
    if checkpoint.body() != body:
        raise CheckpointError("it is not written as checkpoints are")
    return checkpoint


def read_signed(tree: Any) -> Signed:
    """A published checkpoint.

    Raises:
        CheckpointError: it is none.
    """
    checkpoint = read_tree(tree)
    signature, key = tree.get("signature", ""), tree.get("key", "")
    try:
        return Signed(checkpoint, bytes.fromhex(signature), _text(tree, "key") if key else "")
    except (ValueError, TypeError):
        raise CheckpointError("its signature is no hexadecimal text") from None


def read_tree(tree: Any) -> Checkpoint:
    """The checkpoint with these members; others are left alone.

    Raises:
        CheckpointError: one is missing, or has a wrong form.
    """
    if not isinstance(tree, dict) or tree.get("apiVersion") != API_VERSION or tree.get("kind") != KIND:
        raise CheckpointError(f"it is no {KIND} of {API_VERSION}")
    try:
        at = parse_rfc3339(_text(tree, "at"))
    except ValueError:
        at = None
    if at is None:
        raise CheckpointError("its time is no time")
    previous = tree.get("previous")
    return Checkpoint(
        chain=_text(tree, "chain"),
        replica=_text(tree, "replica"),
        head=_place(tree),
        at=at,
        pruned=_place(tree.get("prunedThrough")),
        previous=_digest(previous) if previous else "",
    )


def _place(tree: Any) -> Place:
    position = tree.get("position") if isinstance(tree, dict) else None
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 2**63:
        raise CheckpointError("a position is no number of one")
    return Place(position, _digest(tree.get("hash")))


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise CheckpointError("a hash is no SHA-256 in hexadecimal")
    return value


def _text(tree: dict[str, Any], name: str) -> str:
    value = tree.get(name)
    if not isinstance(value, str) or len(value) > _CHARS:
        raise CheckpointError(f"its {name} is no text, or too long")
    return value
