"""What stands beside a signature, in one form for bundles and for cosign's annotations: parsed, not believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from portcullis.evidence.dsse import Envelope
from portcullis.model.evidence import Signer


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """An inclusion proof with its checkpoint (RFC 9162, section 2.1.3; https://C2SP.org/tlog-checkpoint)."""

    log_index: int
    tree_size: int
    root_hash: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a transparency log (sigstore/protobuf-specs, ``sigstore_rekor.proto``).

    ``integrated_at`` is in seconds since 1970 as the log wrote it, None where it wrote none (Rekor v2); ``set`` the
    signed entry timestamp, b"" without one; ``body`` the canonical entry.
    """

    kind: str
    version: str
    log_id: bytes
    log_index: int
    integrated_at: int | None
    body: bytes = field(repr=False)
    set: bytes = field(repr=False)
    proof: InclusionProof | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Material:
    """A signature with what came with it.

    Args:
        envelope: the DSSE envelope; None for a signature over plain bytes.
        message: those bytes (a simple-signing payload), b"" where there is an envelope.
        signature: the signature over ``message``, b"" where there is an envelope.
        certificates: DER, the leaf first; empty where a key signed.
        hint: what the bundle says of its key; nobody signed it.
        entries, timestamps: proofs of time; time-stamps are DER TimeStampResp (RFC 3161).
        bundle: the whole bundle as JSON where it came as one, b"" otherwise.
        message_digest: of a bundle's messageSignature: algorithm and digest that it claims, None otherwise.
    """

    envelope: Envelope | None = None
    message: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    hint: str = ""
    entries: tuple[LogEntry, ...] = ()
    timestamps: tuple[bytes, ...] = field(default=(), repr=False)
    bundle: bytes = field(default=b"", repr=False)
    message_digest: tuple[str, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proven:
    """Whose signature holds. ``signed_at`` is a trusted time, None without one."""

    signers: tuple[Signer, ...]
    signed_at: datetime | None = None
    logged: bool = False


Annotations = Mapping[str, str]
