"""What cosign keeps in annotations, up to version 2 and where it is asked to: attestations (``sha256-<hex>.att``) and
signatures of images by simple signing (``sha256-<hex>.sig``).

The names of the annotations are cosign's (pkg/oci/static/signature.go), two prefixes and all. Nobody signed them: they
are parsed into :class:`~portcullis.evidence.material.Material`, and believed only as far as keyless.py proves them.

The proof of simple signing (sigstore/cosign, specs/SIGNATURE_SPEC.md; containers/image, containers-signature.5.md). A
configured signer signed an image, if:

 (1) a signature holds over the very bytes of the payload: verifier.py, which asks for it before anything is read here;
 (2) the payload is strict JSON with one reading;
 (3) its type is that of cosign's image signatures, so that no other document in this form passes for one;
 (4) its digest is the one that was judged. The name of the image in it ("docker-reference") decides nothing.
"""

from collections.abc import Mapping

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.evidence.decode import decode_base64, decode_typed, require_strict
from portcullis.evidence.dsse import parse_envelope
from portcullis.evidence.material import LogEntry, Material
from portcullis.evidence.refusal import ATTESTATION_SUBJECT_MISMATCH, TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.image import Digest

SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
BUNDLE = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"

_IMAGE_SIGNATURE = "cosign container image signature"
_PEM_BYTES = 2
"""PEM takes up to so many bytes for each of DER, line ends and frames included."""
_BEGIN = "-----BEGIN "
_LARGEST = 2**63 - 1


class _Payload(msgspec.Struct, rename="camel"):
    body: str
    integrated_time: int
    log_index: int
    log_id: str = msgspec.field(name="logID")


class _Bundle(msgspec.Struct, rename="pascal"):
    signed_entry_timestamp: str
    payload: _Payload


class _Body(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str


class _Timestamp(msgspec.Struct):
    stamp: str = msgspec.field(name="SignedRFC3161Timestamp")


class _Image(msgspec.Struct):
    digest: str = msgspec.field(name="docker-manifest-digest")


class _Critical(msgspec.Struct):
    type: str
    image: _Image


class _SimpleSigning(msgspec.Struct):
    critical: _Critical


def read_legacy(content: bytes, annotations: Mapping[str, str], limits: Limits) -> Material:
    """A DSSE envelope with what the annotations of its layer say, not verified. Without any it is a bare envelope.

    Args:
        limits: ``certificates``, ``certificate_bytes``, ``envelope_signatures``, and those of JSON.

    Raises:
        EvidenceError: an annotation or the envelope is not what it should be (attestation-invalid), or over a limit
            (too-large).
    """
    return _material(annotations, limits, content=content, is_envelope=True)


def read_simple_signing(content: bytes, annotations: Mapping[str, str], limits: Limits) -> Material:
    """A simple-signing payload with the signature in its layer's annotations, not verified.

    Args:
        limits: as of :func:`read_legacy`.

    Raises:
        EvidenceError: it has no signature (attestation-invalid); or as :func:`read_legacy`.
    """
    return _material(annotations, limits, content=content, is_envelope=False)


def require_signature_of(payload: bytes, subject: Digest, limits: Limits) -> None:
    """Steps (2) to (4), for a payload whose signature holds.

    Raises:
        EvidenceError: it is no image signature (attestation-invalid), or one of another image
            (attestation-subject-mismatch).
    """
    # (2) one reading
    what = "the simple-signing payload"
    require_strict(payload, limits=limits, what=what)
    critical = decode_typed(payload, _SimpleSigning, what).critical
    # (3) an image signature
    if critical.type != _IMAGE_SIGNATURE:
        raise EvidenceError(f"{what} is of type {shown(critical.type)}, not {shown(_IMAGE_SIGNATURE)}")
    # (4) of this image
    if critical.image.digest != subject:
        raise EvidenceError(
            f"the signature is one of {shown(critical.image.digest)}, not of {shown(subject)}",
            ATTESTATION_SUBJECT_MISMATCH,
        )


def _material(annotations: Mapping[str, str], limits: Limits, *, content: bytes, is_envelope: bool) -> Material:
    certificates = (
        *_certificates(annotations.get(CERTIFICATE, ""), "certificate", limits),
        *_certificates(annotations.get(CHAIN, ""), "chain", limits),
    )
    _bound("certificates", len(certificates), "certificates", limits.certificates)
    _bound("bytes of certificates", sum(map(len, certificates)), "certificateBytes", limits.certificate_bytes)
    signature = b""
    if not is_envelope:
        signature = decode_base64(annotations.get(SIGNATURE, ""), f"the annotation {SIGNATURE}")
        if not signature:
            raise EvidenceError(f"it has no signature: the annotation {SIGNATURE} is missing or empty")
    return Material(
        envelope=parse_envelope(content, limits) if is_envelope else None,
        message=b"" if is_envelope else content,
        signature=signature,
        certificates=certificates,
        entries=_entries(annotations.get(BUNDLE, ""), limits),
        timestamps=_timestamps(annotations.get(TIMESTAMP, ""), limits),
    )


def _certificates(text: str, name: str, limits: Limits) -> tuple[bytes, ...]:
    """DER of the PEM certificates in ``text``; what else a PEM may hold is refused, not passed over."""
    if not text:
        return ()
    what = f"the annotation dev.sigstore.cosign/{name}"
    _bound(f"characters in {what}", len(text), "certificateBytes, in PEM", limits.certificate_bytes * _PEM_BYTES)
    _bound(f"certificates in {what}", text.count(_BEGIN), "certificates", limits.certificates)
    try:
        read = x509.load_pem_x509_certificates(text.encode("ascii"))
        found = tuple(one.public_bytes(Encoding.DER) for one in read)
    except ValueError:  # UnicodeEncodeError too
        raise EvidenceError(f"{what} is no PEM of certificates") from None
    if len(found) != text.count(_BEGIN):
        raise EvidenceError(f"{what} holds more than certificates")
    return found


def _entries(text: str, limits: Limits) -> tuple[LogEntry, ...]:
    """The entry of the transparency log: with a signed entry timestamp, never with an inclusion proof."""
    if not text:
        return ()
    what = f"the annotation {BUNDLE}"
    bundle = decode_typed(_strict(text, what, limits), _Bundle, what)
    said = bundle.payload
    if not (0 <= said.integrated_time <= _LARGEST and 0 <= said.log_index <= _LARGEST):
        raise EvidenceError(f"{what} holds a number that is not from 0 to 2^63-1")
    body = decode_base64(said.body, f"the body in {what}")
    inside = f"the body of the log entry in {what}"
    require_strict(body, limits=limits, what=inside)
    kind = decode_typed(body, _Body, inside)
    return (
        LogEntry(
            kind=kind.kind,
            version=kind.api_version,
            log_id=_hex(said.log_id, f"the logID in {what}"),
            log_index=said.log_index,
            integrated_at=said.integrated_time or None,
            body=body,
            set=decode_base64(bundle.signed_entry_timestamp, f"the SignedEntryTimestamp in {what}"),
            proof=None,
        ),
    )


def _timestamps(text: str, limits: Limits) -> tuple[bytes, ...]:
    if not text:
        return ()
    what = f"the annotation {TIMESTAMP}"
    stamp = decode_base64(
        decode_typed(_strict(text, what, limits), _Timestamp, what).stamp, f"the time-stamp in {what}"
    )
    _bound(f"bytes of the time-stamp in {what}", len(stamp), "certificateBytes", limits.certificate_bytes)
    return (stamp,)


def _strict(text: str, what: str, limits: Limits) -> bytes:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise EvidenceError(f"{what} is no text") from None
    require_strict(data, limits=limits, what=what)
    return data


def _hex(text: str, what: str) -> bytes:
    try:
        decoded = bytes.fromhex(text)
    except ValueError:
        raise EvidenceError(f"{what} is no hex") from None
    if decoded.hex() != text:
        raise EvidenceError(f"{what} is not lower-case hex")
    return decoded


def _bound(what: str, count: int, limit: str, most: int) -> None:
    if count > most:
        raise EvidenceError(f"it has {count} {what}; the limit {limit} is {most}", TOO_LARGE)
