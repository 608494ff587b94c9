"""Manifests that carry attestations: what they are attached to, and their layers; and the manifests in an index."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from portcullis.evidence.bundle import is_bundle
from portcullis.evidence.decode import as_list, as_object, as_text, parse_object
from portcullis.evidence.dsse import ENVELOPE_MEDIA_TYPE, IN_TOTO_PAYLOAD_TYPE
from portcullis.evidence.mediatypes import NOTATION, SIMPLE_SIGNING
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import Limits
from portcullis.model.image import DIGEST, Descriptor, Digest, Manifest
from portcullis.model.json import JSONObject

_SIGNED = NOTATION | {ENVELOPE_MEDIA_TYPE, SIMPLE_SIGNING}
_TYPED_ENVELOPE = re.compile(r"application/vnd\.in-toto(?:\.[a-z0-9-]{1,64})?\+dsse")
"""DSSE envelopes under the name of a predicate, as Docker and Google Cloud Build write them. What is in them, their
signed payload says."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest, read (image-spec manifest.md).

    ``subject`` is what it says it is attached to, None where it does not say; ``kind`` what it says it is. ``fault`` is
    set where it could not be read.
    """

    digest: Digest
    subject: Digest | None = None
    kind: str = ""
    layers: Sequence[Descriptor] = ()
    fault: EvidenceError | None = field(default=None, compare=False)


def signed_form(media_type: str) -> str:
    """Which form a layer of that type has for the verifier, where it brings its signature with it; "" where not."""
    if _TYPED_ENVELOPE.fullmatch(media_type):
        return ENVELOPE_MEDIA_TYPE
    return media_type if is_bundle(media_type) or media_type in _SIGNED else ""


def is_statement(media_type: str) -> bool:
    """Whether it is a statement that nobody has signed: evidence only where what leads to it is signed."""
    return media_type == IN_TOTO_PAYLOAD_TYPE


def plain(media_type: str) -> str:
    """A media type without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def read_artifact(manifest: Manifest, listed_as: str, limits: Limits) -> Artifact:
    """Never raises: anybody who may push can attach nonsense, and nonsense must not hide what stands beside it.

    Args:
        listed_as: the type that the list of referrers gives it, "" where it was found otherwise.
    """
    try:
        return _read(manifest, listed_as, limits)
    except EvidenceError as error:
        return Artifact(manifest.digest, fault=error)


def read_children(manifest: Manifest, limits: Limits) -> Sequence[Descriptor]:
    """The manifests that an index lists.

    Raises:
        EvidenceError: it is no index.
    """
    document = parse_object(manifest.content, limits=limits, what="the index")
    return [
        _descriptor(as_object(child, "a manifest in it")) for child in as_list(document.get("manifests"), "manifests")
    ]


def _read(manifest: Manifest, listed_as: str, limits: Limits) -> Artifact:
    document = parse_object(manifest.content, limits=limits, what="the manifest that carries it")
    subject = document.get("subject")
    config = document.get("config")
    # artifactType, or the configuration's type where there is none (image-spec manifest.md); the registry's
    # list may lack either, and cosign writes the empty type there, so it is the last to be asked.
    named = (
        document.get("artifactType"),
        None if config is None else as_object(config, "config").get("mediaType"),
        listed_as,
        manifest.media_type,
    )
    return Artifact(
        digest=manifest.digest,
        subject=None if subject is None else _digest(as_object(subject, "subject").get("digest")),
        kind=next((kind for kind in named if isinstance(kind, str) and kind), ""),
        layers=[_descriptor(as_object(layer, "a layer")) for layer in as_list(document.get("layers", []), "layers")],
    )


def _descriptor(document: JSONObject) -> Descriptor:
    size = document.get("size")
    if type(size) is not int or size < 0:
        raise EvidenceError("a layer of the manifest that carries it has no size")
    return Descriptor(
        media_type=as_text(document.get("mediaType"), "a layer's mediaType"),
        digest=_digest(document.get("digest")),
        size=size,
        annotations=_annotations(document.get("annotations")),
    )


def _annotations(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    found = as_object(value, "a layer's annotations")
    return {name: as_text(text, "an annotation of a layer") for name, text in found.items()}


def _digest(value: object) -> Digest:
    text = as_text(value, "a digest")
    if DIGEST.fullmatch(text) is None:
        raise EvidenceError("a digest in the manifest that carries it is malformed")
    return Digest(text)
