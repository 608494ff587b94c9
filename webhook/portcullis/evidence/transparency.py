"""Transparency logs: that an entry is in a trusted log, and that it is an entry of this very signature.

The proof. A signature is in a log, if:

 (1) the log that the entry names is one of the trusted root's, by its id; no other log's key is tried;
 (2) the entry's promise (signed entry timestamp), where it has one, is the log's signature over body, time, id and
     index in canonical JSON (RFC 8785), and the time lies within the time for which the root trusts the log;
 (3) the entry's inclusion proof, where it has one, leads from the body to a root hash (RFC 9162, section 2.1.3.2), and
     a checkpoint with that root hash and size has the log's signature, found by name and key hint
     (https://C2SP.org/signed-note); witnesses may have signed, too;
 (4) it has a promise or a proof: an entry without both is a claim;
 (5) the body, which (2) or (3) has proven, is one of the kinds that are read, and holds the hash of what was signed,
     the signature and the signer's certificate or key. Each of the three: an entry of another signature, of another
     content or by another signer is no entry of this one (CVE-2022-36056, CVE-2026-22703). See entries.py.

Only a promise gives a time: without it nobody signed ``integratedTime``.
"""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.certificate_transparency import LogEntryType, SignedCertificateTimestamp

from portcullis.evidence.certificates import extension
from portcullis.evidence.decode import decode_base64
from portcullis.evidence.material import InclusionProof, LogEntry
from portcullis.evidence.refusal import ATTESTATION_UNLOGGED, EvidenceError, shown
from portcullis.evidence.roots import Log
from portcullis.times import rfc3339

_NOTE_SIGNATURE = re.compile("\u2014 ([^ \n]+) ([A-Za-z0-9+/]+={0,2})")
_HINT_BYTES = 4
_CHECKPOINT_CHARS = 32 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS = 2**37
"""Seconds that a datetime holds, roughly: the year 6325."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A proven entry. ``at`` is the time that the log signed, None without one; ``included`` whether an inclusion
    proof holds."""

    log: Log
    at: datetime | None
    included: bool


def prove_entry(entry: LogEntry, logs: Sequence[Log]) -> Logged:
    """Steps (1) to (4) for one entry.

    Raises:
        EvidenceError: one of them does not hold (attestation-unlogged).
    """
    # (1) a log of the root
    log = next((log for log in logs if log.id == entry.log_id and log.key is not None), None)
    if log is None:
        raise _unlogged(f"the entry is one of the log {entry.log_id.hex()[:16]}…, which the trusted root does not list")
    # (2) the promise
    moment = _prove_promise(entry, log) if entry.set else None
    # (3) the proof
    if entry.proof is not None:
        _prove_inclusion(entry.body, entry.proof, log)
    # (4) one of the two
    if moment is None and entry.proof is None:
        raise _unlogged("the entry has neither a signed entry timestamp nor an inclusion proof")
    return Logged(log, moment, entry.proof is not None)


def _prove_promise(entry: LogEntry, log: Log) -> datetime:
    if entry.integrated_at is None or entry.integrated_at > _MAX_SECONDS:
        raise _unlogged("the entry has a signed entry timestamp without a time that can be")
    try:
        signed = rfc8785.dumps(
            {
                "body": base64.b64encode(entry.body).decode("ascii"),
                "integratedTime": entry.integrated_at,
                "logID": entry.log_id.hex(),
                "logIndex": entry.log_index,
            }
        )
    except rfc8785.CanonicalizationError:
        raise _unlogged("the entry has an index that canonical JSON cannot hold") from None
    if not log.signed(entry.set, signed):
        raise _unlogged(f"the signed entry timestamp is none of the log {shown(log.url)}")
    moment = _EPOCH + timedelta(seconds=entry.integrated_at)
    require_trusted_then(log, moment)
    return moment


def require_trusted_then(log: Log, moment: datetime) -> None:
    """That the root trusts the log at ``moment``.

    Raises:
        EvidenceError: it does not (attestation-unlogged).
    """
    if not log.window.holds(moment):
        raise _unlogged(f"the log {shown(log.url)} was not to be trusted at {rfc3339(moment)}")


def _prove_inclusion(body: bytes, proof: InclusionProof, log: Log) -> None:
    root = _root_hash(body, proof)
    if root != proof.root_hash:
        raise _unlogged("the inclusion proof does not lead to its root hash")
    origin, size, noted, text, signatures = _read_note(proof.checkpoint)
    if noted != root or size != proof.tree_size:
        raise _unlogged("the checkpoint is one of another tree than the inclusion proof")
    # Rekor 1 writes the number of the tree behind its name, and signs with the name alone.
    name = origin.partition(" ")[0]
    hint = log.id[:_HINT_BYTES]
    for signer, signature in signatures:
        if signer == name and signature[:_HINT_BYTES] == hint and log.signed(signature[_HINT_BYTES:], text):
            return
    raise _unlogged(f"the checkpoint has no signature of the log {shown(log.url)} that holds")


def _root_hash(body: bytes, proof: InclusionProof) -> bytes:
    """The root hash that follows from a leaf and its proof: RFC 9162, section 2.1.3.2, without its last comparison."""
    index, last = proof.log_index, proof.tree_size - 1
    if index > last:
        raise _unlogged(f"the inclusion proof is about entry {index} of a tree of {proof.tree_size}")
    node = sha256(b"\0" + body).digest()
    for sibling in proof.hashes:
        if last == 0:
            raise _unlogged("the inclusion proof is longer than the tree is high")
        if index & 1 or index == last:
            node = sha256(b"\1" + sibling + node).digest()
            while index & 1 == 0 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    if last != 0:
        raise _unlogged("the inclusion proof is shorter than the tree is high")
    return node


def _read_note(checkpoint: str) -> tuple[str, int, bytes, bytes, Sequence[tuple[str, bytes]]]:
    """Origin, size and root hash of a checkpoint, its text as signed, and its signatures by name."""
    if len(checkpoint) > _CHECKPOINT_CHARS:
        raise _unlogged(f"the checkpoint has {len(checkpoint)} characters")
    text, blank, block = checkpoint.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) < 3 or not lines[0] or not re.fullmatch("[0-9]{1,19}", lines[1], re.ASCII):
        raise _unlogged("the checkpoint is no signed note with origin, size and root hash")
    found = []
    for line in block.removesuffix("\n").split("\n"):
        match = _NOTE_SIGNATURE.fullmatch(line)
        if match is None:
            raise _unlogged("the checkpoint has no signature, or a line among them that is none")
        found.append((match[1], decode_base64(match[2], "a signature of the checkpoint")))
    root = decode_base64(lines[2], "the root hash of the checkpoint")
    return lines[0], int(lines[1]), root, (text + "\n").encode(), found


def require_ct_logged(leaf: x509.Certificate, issuer: x509.Certificate, logs: Sequence[Log]) -> None:
    """That the certificate was announced to a trusted certificate log: it holds a time-stamp (RFC 6962, section 3.2)
    of one of ``logs``, made while the root trusted that log.

    Raises:
        EvidenceError: there is none that holds (attestation-unlogged).
    """
    stamps = extension(leaf, x509.PrecertificateSignedCertificateTimestamps)
    for stamp in stamps if stamps is not None else ():
        log = next((log for log in logs if log.id == stamp.log_id), None)
        moment = stamp.timestamp.replace(tzinfo=UTC)
        if (
            log is not None
            and log.window.holds(moment)
            and log.signed(stamp.signature, _announced(stamp, leaf, issuer))
        ):
            return
    raise _unlogged("no certificate log that the trusted root lists has vouched for the signing certificate")


def _announced(stamp: SignedCertificateTimestamp, leaf: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """What the log has signed: the certificate without the time-stamps, and the key that issued it."""
    issuer_key = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = leaf.tbs_precertificate_bytes
    milliseconds = (stamp.timestamp.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
    return b"".join(
        (
            struct.pack("!BBQH", stamp.version.value, 0, milliseconds, LogEntryType.PRE_CERTIFICATE.value),
            sha256(issuer_key).digest(),
            len(body).to_bytes(3, "big"),
            body,
            struct.pack("!H", len(stamp.extension_bytes)),
            stamp.extension_bytes,
        )
    )


def _unlogged(message: str) -> EvidenceError:
    return EvidenceError(message, ATTESTATION_UNLOGGED)
