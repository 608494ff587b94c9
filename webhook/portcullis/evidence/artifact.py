"""Manifests of referrers: what they are attached to, and which of their layers carry an attestation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from portcullis.evidence.bundle import is_bundle
from portcullis.evidence.decode import as_list, as_object, as_text, parse_object
from portcullis.evidence.dsse import ENVELOPE_MEDIA_TYPE, IN_TOTO_PAYLOAD_TYPE
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import Limits
from portcullis.model.image import Descriptor, Digest, Manifest
from portcullis.model.json import JSONObject

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A referrer's manifest, read (image-spec manifest.md).

    ``subject`` is what it says it is attached to, None where it does not say; ``kind`` what it says it is, for
    messages; ``layers`` those that may carry an attestation. ``fault`` is set where it could not be read.
    """

    digest: Digest
    subject: Digest | None = None
    kind: str = ""
    layers: Sequence[Descriptor] = ()
    fault: EvidenceError | None = field(default=None, compare=False)


def carries(media_type: str) -> bool:
    """Whether a layer of that type is for the verifier. Bare statements are too, so that it can say that they
    are not signed."""
    return is_bundle(media_type) or media_type in {ENVELOPE_MEDIA_TYPE, IN_TOTO_PAYLOAD_TYPE}


def read_artifact(manifest: Manifest, listed: Descriptor, limits: Limits) -> Artifact:
    """Never raises: anybody who may push can attach nonsense, and nonsense must not hide what stands beside it.
    ``listed`` is how the registry lists it."""
    try:
        return _read(manifest, listed, limits)
    except EvidenceError as error:
        return Artifact(manifest.digest, fault=error)


def _read(manifest: Manifest, listed: Descriptor, limits: Limits) -> Artifact:
    document = parse_object(manifest.content, limits=limits, what="the manifest that carries it")
    subject = document.get("subject")
    layers = [_descriptor(as_object(layer, "a layer")) for layer in as_list(document.get("layers", []), "layers")]
    config = document.get("config")
    # artifactType, or the configuration's type where there is none (image-spec manifest.md); the registry's
    # list may lack either, and cosign writes the empty type there, so it is the last to be asked.
    named = (
        document.get("artifactType"),
        None if config is None else as_object(config, "config").get("mediaType"),
        listed.artifact_type,
        manifest.media_type,
    )
    return Artifact(
        digest=manifest.digest,
        subject=None if subject is None else _digest(as_object(subject, "subject").get("digest")),
        kind=next((kind for kind in named if isinstance(kind, str) and kind), ""),
        layers=[layer for layer in layers if carries(layer.media_type)],
    )


def _descriptor(document: JSONObject) -> Descriptor:
    size = document.get("size")
    if type(size) is not int or size < 0:
        raise EvidenceError("a layer of the manifest that carries it has no size")
    return Descriptor(
        media_type=as_text(document.get("mediaType"), "a layer's mediaType"),
        digest=_digest(document.get("digest")),
        size=size,
    )


def _digest(value: object) -> Digest:
    text = as_text(value, "a digest")
    if _DIGEST.fullmatch(text) is None:
        raise EvidenceError("a digest in the manifest that carries it is malformed")
    return Digest(text)
