"""Sigstore bundles, version 0.3, that a key signed (sigstore/protobuf-specs, ``sigstore_bundle.proto``).

What is read is the DSSE envelope and the hint at the key. Log entries and timestamps may stand beside it; they
are neither checked nor counted: such an attestation has no trusted time here, only what its signer claims.
"""

from dataclasses import dataclass

from portcullis.evidence.decode import as_object, as_text, parse_object
from portcullis.evidence.dsse import Envelope, read_envelope
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, EvidenceError, shown
from portcullis.limits import Limits

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_MEDIA_TYPES = frozenset({BUNDLE_MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3"})
"""Version 0.3 in its two spellings; the first is the one that is written."""

_ANY_BUNDLE = "application/vnd.dev.sigstore.bundle"


@dataclass(frozen=True, slots=True)
class Bundle:
    """``hint`` is what the bundle says of its key, "" where nothing; nobody signed it."""

    envelope: Envelope
    hint: str


def is_bundle(media_type: str) -> bool:
    """Whether it is a media type of bundles, of whatever version."""
    return media_type.startswith(_ANY_BUNDLE)


def parse_bundle(content: bytes, limits: Limits) -> Bundle:
    """The bundle in ``content``, not verified.

    Raises:
        EvidenceError: it is no such bundle (attestation-invalid), over a limit (too-large), or of a kind that is
            not read: another version, a certificate instead of a key, a signature without a statement
            (attestation-unsupported).
    """
    document = parse_object(content, limits=limits, what="the bundle")
    _check_version(as_text(document.get("mediaType"), "the bundle's mediaType"))
    material = as_object(document.get("verificationMaterial"), "the bundle's verificationMaterial")
    if material.get("certificate") is not None or material.get("x509CertificateChain") is not None:
        raise EvidenceError(
            "the bundle is signed keyless, with a certificate; only bundles signed with a key are supported",
            ATTESTATION_UNSUPPORTED,
        )
    key = as_object(material.get("publicKey"), "the bundle's publicKey")
    hint = key.get("hint")
    if document.get("messageSignature") is not None:
        raise EvidenceError(
            "the bundle holds a plain signature without a statement, which says nothing about an image",
            ATTESTATION_UNSUPPORTED,
        )
    envelope = read_envelope(as_object(document.get("dsseEnvelope"), "the bundle's dsseEnvelope"), limits)
    # sigstore_bundle.proto: a DSSE envelope in a bundle has exactly one signature.
    if len(envelope.signatures) != 1:
        raise EvidenceError(f"the bundle's envelope has {len(envelope.signatures)} signatures, not one")
    return Bundle(envelope, "" if hint is None else as_text(hint, "the bundle's key hint"))


def _check_version(media_type: str) -> None:
    if media_type in BUNDLE_MEDIA_TYPES:
        return
    if is_bundle(media_type):
        raise EvidenceError(
            f"the bundle is of version {shown(media_type)}; version 0.3 is supported", ATTESTATION_UNSUPPORTED
        )
    raise EvidenceError(f"the bundle says it is {shown(media_type)}")
