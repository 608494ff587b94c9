"""Sigstore bundles, versions 0.1 to 0.3: one reading, nothing believed (protobuf-specs, ``sigstore_bundle.proto``).

A bundle is protobuf in its JSON form (protobuf.dev, "ProtoJSON Format"), which allows several spellings for one value.
What every writer uses is taken, and nothing else, so that a document has one meaning for all who read it:

- names in lowerCamelCase, in which the form is written, not those of the .proto file;
- bytes in standard base64 with padding, as it is written; URL-safe letters and missing padding, which ProtoJSON lets
  through, are refused: with them one signature would have many texts;
- 64 bit numbers as decimal text, as it is written, or as JSON integers; no sign, exponent or fraction;
- what is absent, null or of its type's default is the same. Unknown fields are passed over.
"""

import re
from collections.abc import Sequence
from typing import Any

from portcullis.evidence.decode import as_list, as_object, as_text, decode_base64, parse_carrier
from portcullis.evidence.dsse import read_envelope
from portcullis.evidence.material import InclusionProof, LogEntry, Material
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""The one that is written."""

_ANY_BUNDLE = "application/vnd.dev.sigstore.bundle"
_VERSIONS = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": 1,
    "application/vnd.dev.sigstore.bundle+json;version=0.2": 2,
    "application/vnd.dev.sigstore.bundle+json;version=0.3": 3,
    BUNDLE_MEDIA_TYPE: 3,
}
BUNDLE_MEDIA_TYPES = frozenset(_VERSIONS)

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_LARGEST = 2**63 - 1
_PROOF_HASHES = 64
"""A log of 2^63 entries has no longer proof."""
_HASH_BYTES = 32


def is_bundle(media_type: str) -> bool:
    """Whether it is a media type of bundles, of whatever version."""
    return media_type.startswith(_ANY_BUNDLE)


def parse_bundle(content: bytes, limits: Limits) -> Material:
    """The bundle in ``content``, not verified: an envelope or a plain signature with what came with it.

    Args:
        limits: ``certificates``, ``certificate_bytes``, ``log_entries``, ``timestamps``, and those of JSON.

    Raises:
        EvidenceError: it is no such bundle (attestation-invalid), over a limit (too-large), or of another version or
            content (attestation-unsupported).
    """
    document = parse_carrier(content, limits=limits, what="the bundle")
    version = _version(as_text(document.get("mediaType"), "the bundle's mediaType"))
    material = as_object(document.get("verificationMaterial"), "the bundle's verificationMaterial")
    certificates, hint = _who(material, version, limits)
    entries = _items(material, "tlogEntries", limits.log_entries, "logEntries", "entries of transparency logs")
    envelope, signature, digest = None, b"", None
    if document.get("dsseEnvelope") is not None:
        if document.get("messageSignature") is not None:
            raise EvidenceError("the bundle holds both an envelope and a plain signature, where it may hold one")
        envelope = read_envelope(as_object(document["dsseEnvelope"], "the bundle's dsseEnvelope"), limits)
        # sigstore_bundle.proto: a DSSE envelope in a bundle has exactly one signature.
        if len(envelope.signatures) != 1:
            raise EvidenceError(f"the bundle's envelope has {len(envelope.signatures)} signatures, not one")
    else:
        signature, digest = _message_signature(document.get("messageSignature"))
    return Material(
        envelope=envelope,
        signature=signature,
        certificates=certificates,
        hint=hint,
        entries=tuple(_entry(entry, version) for entry in entries),
        timestamps=_timestamps(material.get("timestampVerificationData"), limits),
        bundle=content,
        message_digest=digest,
    )


def _version(media_type: str) -> int:
    version = _VERSIONS.get(media_type)
    if version is not None:
        return version
    if is_bundle(media_type):
        raise EvidenceError(
            f"the bundle is of version {shown(media_type)}; versions 0.1 to 0.3 are read", ATTESTATION_UNSUPPORTED
        )
    raise EvidenceError(f"the bundle says it is {shown(media_type)}")


def _who(material: JSONObject, version: int, limits: Limits) -> tuple[tuple[bytes, ...], str]:
    """The certificates, or none and the hint at a key."""
    given = [name for name in ("certificate", "x509CertificateChain", "publicKey") if material.get(name) is not None]
    if len(given) != 1:
        what = " and ".join(given) or "neither a certificate nor a key"
        raise EvidenceError(f"the bundle's verificationMaterial holds {what}, where it must hold one")
    if given == ["publicKey"]:
        hint = as_object(material["publicKey"], "the bundle's publicKey").get("hint")
        return (), "" if hint is None else as_text(hint, "the bundle's key hint")
    # Version 0.3 carries the signing certificate alone; the older ones may, if the writer knew the field.
    if given == ["certificate"]:
        return (_certificate(material["certificate"], limits),), ""
    if version == 3:
        raise EvidenceError("the bundle is of version 0.3 and holds an x509CertificateChain, which that has not")
    chain = as_object(material["x509CertificateChain"], "the bundle's x509CertificateChain")
    items = _items(chain, "certificates", limits.certificates, "certificates", "certificates")
    if not items:
        raise EvidenceError("the bundle's x509CertificateChain holds no certificate")
    certificates = tuple(_certificate(item, limits) for item in items)
    if (size := sum(map(len, certificates))) > limits.certificate_bytes:
        raise _too_many_bytes("the bundle's certificates have", size, limits)
    return certificates, ""


def _certificate(item: object, limits: Limits) -> bytes:
    raw = as_object(item, "a certificate of the bundle").get("rawBytes")
    certificate = decode_base64(raw, "a certificate of the bundle")
    if len(certificate) > limits.certificate_bytes:
        raise _too_many_bytes("a certificate of the bundle has", len(certificate), limits)
    return certificate


def _message_signature(value: object) -> tuple[bytes, tuple[str, bytes] | None]:
    """A signature over plain bytes, with the digest that it claims for them."""
    if value is None:
        raise EvidenceError("the bundle holds neither an envelope nor a signature")
    document = as_object(value, "the bundle's messageSignature")
    signature = decode_base64(document.get("signature"), "the bundle's signature")
    if not signature:
        raise EvidenceError("the bundle's signature is empty")
    claimed = document.get("messageDigest")
    if claimed is None:
        return signature, None
    digest = as_object(claimed, "the bundle's messageDigest")
    algorithm = as_text(digest.get("algorithm"), "the algorithm of the bundle's messageDigest")
    return signature, (algorithm, decode_base64(digest.get("digest"), "the bundle's messageDigest"))


def _entry(value: object, version: int) -> LogEntry:
    document = as_object(value, "an entry of the bundle")
    log = as_object(document.get("logId"), "an entry's logId")
    kind = as_object(document.get("kindVersion"), "an entry's kindVersion")
    promise = document.get("inclusionPromise")
    proof = document.get("inclusionProof")
    promised = (
        b""
        if promise is None
        else decode_base64(
            as_object(promise, "an entry's inclusionPromise").get("signedEntryTimestamp"),
            "an entry's signedEntryTimestamp",
        )
    )
    # sigstore_bundle.proto: version 0.1 has promises, and its proofs may lack the checkpoint without which they prove
    # nothing; later versions must have a proof with one.
    read = None if proof is None else _proof(as_object(proof, "an entry's inclusionProof"), version)
    if version == 1 and not promised:
        raise EvidenceError("the bundle is of version 0.1, and an entry of it has no inclusionPromise")
    if version > 1 and read is None:
        raise EvidenceError(f"the bundle is of version 0.{version}, and an entry of it has no inclusionProof")
    return LogEntry(
        kind=as_text(kind.get("kind"), "an entry's kind"),
        version=as_text(kind.get("version"), "an entry's version"),
        log_id=decode_base64(log.get("keyId"), "an entry's keyId"),
        log_index=_number(document.get("logIndex"), "an entry's logIndex"),
        integrated_at=_number(document.get("integratedTime"), "an entry's integratedTime") or None,
        body=decode_base64(document.get("canonicalizedBody"), "an entry's canonicalizedBody"),
        set=promised,
        proof=read,
    )


def _proof(document: JSONObject, version: int) -> InclusionProof | None:
    checkpoint = document.get("checkpoint")
    if checkpoint is None and version == 1:
        return None
    note = as_object(checkpoint, "the checkpoint of an inclusionProof")
    hashes = as_list(document.get("hashes") or [], "the hashes of an inclusionProof")
    if len(hashes) > _PROOF_HASHES:
        raise EvidenceError(f"an inclusionProof has {len(hashes)} hashes; none needs more than {_PROOF_HASHES}")
    return InclusionProof(
        log_index=_number(document.get("logIndex"), "the logIndex of an inclusionProof"),
        tree_size=_number(document.get("treeSize"), "the treeSize of an inclusionProof"),
        root_hash=_hash(document.get("rootHash"), "the rootHash of an inclusionProof"),
        hashes=tuple(_hash(item, "a hash of an inclusionProof") for item in hashes),
        checkpoint=as_text(note.get("envelope"), "the envelope of a checkpoint"),
    )


def _hash(value: object, what: str) -> bytes:
    decoded = decode_base64(value, what)
    if len(decoded) != _HASH_BYTES:
        raise EvidenceError(f"{what} has {len(decoded)} bytes, not {_HASH_BYTES}")
    return decoded


def _timestamps(value: object, limits: Limits) -> tuple[bytes, ...]:
    if value is None:
        return ()
    document = as_object(value, "the bundle's timestampVerificationData")
    items = _items(document, "rfc3161Timestamps", limits.timestamps, "timestamps", "time-stamps")
    stamps = []
    for item in items:
        text = as_object(item, "a time-stamp of the bundle").get("signedTimestamp")
        stamps.append(decode_base64(text, "a time-stamp of the bundle"))
        if len(stamps[-1]) > limits.certificate_bytes:
            raise _too_many_bytes("a time-stamp of the bundle has", len(stamps[-1]), limits)
    return tuple(stamps)


def _items(document: JSONObject, name: str, most: int, limit: str, what: str) -> Sequence[Any]:
    value = document.get(name)
    items: Sequence[Any] = () if value is None else as_list(value, f"the bundle's {name}")
    if len(items) > most:
        raise EvidenceError(f"the bundle holds {len(items)} {what}; the limit {limit} is {most}", TOO_LARGE)
    return items


def _number(value: object, what: str) -> int:
    """A number that is not negative, 0 where it is unset."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value) and int(value) <= _LARGEST:
        return int(value)
    raise EvidenceError(f"{what} {shown(value)} is no number from 0 to 2^63-1")


def _too_many_bytes(what: str, size: int, limits: Limits) -> EvidenceError:
    return EvidenceError(f"{what} {size} bytes; the limit certificateBytes is {limits.certificate_bytes}", TOO_LARGE)
