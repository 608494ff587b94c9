"""Manifests and indexes: bytes to descriptors.

Source: OCI image specification 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's image manifest
version 2, schema 2 (https://distribution.github.io/distribution/spec/manifest-v2-2/).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portcullis.errors import Malformed, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import Descriptor, Manifest, Platform
from portcullis.registry.digests import read_digest
from portcullis.registry.documents import Fields, parse_object
from portcullis.text import clean

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
ACCEPTED: Final = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))
"""A registry that finds an index and does not see its type here may say that there is nothing."""

_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"

_MANIFEST_FIELDS: Final = frozenset(
    {
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
    }
)
_DESCRIPTOR_FIELDS: Final = frozenset(
    {"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"}
)
_PLATFORM_FIELDS: Final = frozenset({"os", "architecture", "variant", "os.version", "os.features", "features"})


@dataclass(frozen=True, slots=True)
class ImageManifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Children as listed; one without a platform is an image all the same."""

    media_type: str
    children: tuple[Descriptor, ...]


def read_manifest(manifest: Manifest, limits: Limits, what: str) -> ImageManifest | ImageIndex:
    """Reads what a reference names.

    Args:
        manifest: its ``media_type`` is the Content-Type that it came with, "" without one.
        what: names it in messages.

    Raises:
        Malformed: neither of the two, or something that could be taken for both: runtimes choose by different
            signs (CVE-2021-41190), and the gate must judge what will run.
        TooLarge: more children or layers than the limits allow.
    """
    document = Fields.of(parse_object(manifest.content, depth=limits.json_depth, what=what), what, _MANIFEST_FIELDS)
    if (
        manifest.media_type.startswith(_SCHEMA_1)
        or document.document.get("schemaVersion") == 1
        or document.has("fsLayers")
    ):
        raise Malformed(f"{what} is of Docker's schema 1, which no current runtime takes; push the image anew")
    written = document.text("mediaType")
    if written and manifest.media_type and written != manifest.media_type:
        raise Malformed(
            f"{what} says that it is {clean(repr(written), 100)} and was sent as "
            f"{clean(repr(manifest.media_type), 100)}"
        )
    media_type = written or manifest.media_type
    if media_type not in MANIFESTS | INDEXES:
        raise Malformed(f"{what} is no image: its media type is {clean(repr(media_type), 100)}")
    is_index = media_type in INDEXES
    foreign = ("config", "layers") if is_index else ("manifests",)
    if document.document.get("schemaVersion") != 2 or any(name in document.document for name in foreign):
        raise Malformed(f"{what} has no schemaVersion 2, or is a manifest and an index at once")
    return _index(document, media_type, limits) if is_index else _image(document, media_type, limits)


def read_index(manifest: Manifest, limits: Limits, what: str) -> ImageIndex:
    """Reads what must be an index.

    Raises:
        Malformed, TooLarge: as :func:`read_manifest`, or it is a manifest.
    """
    found = read_manifest(manifest, limits, what)
    if not isinstance(found, ImageIndex):
        raise Malformed(f"{what} is no index")
    return found


def _index(document: Fields, media_type: str, limits: Limits) -> ImageIndex:
    if not document.has("manifests"):
        raise Malformed(f"{document.where} has no manifests")
    children = document.items("manifests")
    if len(children) > limits.index_children:
        raise TooLarge(
            f"{document.where} lists {len(children)} manifests; the limit indexChildren is {limits.index_children}"
        )
    return ImageIndex(media_type, tuple(_descriptor(child, f"a manifest in {document.where}") for child in children))


def _image(document: Fields, media_type: str, limits: Limits) -> ImageManifest:
    layers = document.items("layers")
    if not document.has("layers") or not document.has("config"):
        raise Malformed(f"{document.where} has no config or no layers")
    if len(layers) > limits.image_layers:
        raise TooLarge(f"{document.where} has {len(layers)} layers; the limit imageLayers is {limits.image_layers}")
    config = _descriptor(document.document["config"], f"the config in {document.where}")
    if config.media_type not in _CONFIGS:
        raise Malformed(
            f"{document.where} is no container image: its configuration has the media type "
            f"{clean(repr(config.media_type), 100)}"
        )
    found = tuple(_descriptor(layer, f"a layer in {document.where}") for layer in layers)
    return ImageManifest(media_type, config, found)


def read_descriptors(content: bytes, limits: Limits, what: str) -> tuple[Descriptor, ...]:
    """The descriptors of an answer of the Referrers API, which is an index; their count is the caller's matter.

    Raises:
        Malformed: it is no index.
    """
    document = Fields.of(parse_object(content, depth=limits.json_depth, what=what), what, _MANIFEST_FIELDS)
    if document.text("mediaType") not in {OCI_INDEX, ""} or document.document.get("schemaVersion") != 2:
        raise Malformed(f"{what} is no OCI index")
    return tuple(_descriptor(item, f"a referrer in {what}") for item in document.items("manifests"))


def _descriptor(value: Any, where: str) -> Descriptor:
    """``urls`` and ``data`` are never used: what they hold may be anything (CVE-2020-15157)."""
    document = Fields.of(value, where, _DESCRIPTOR_FIELDS)
    size = document.count("size")
    if size is None or not document.text("mediaType"):
        raise Malformed(f"{where} has no size or no mediaType")
    annotations: Mapping[str, str] = document.text_mapping("annotations")
    return Descriptor(
        media_type=document.text("mediaType"),
        digest=read_digest(document.text("digest"), where),
        size=size,
        artifact_type=document.text("artifactType"),
        platform=_platform(document) if document.has("platform") else None,
        annotations=annotations,
    )


def _platform(descriptor: Fields) -> Platform:
    document = descriptor.object("platform", _PLATFORM_FIELDS)
    return Platform(document.text("os"), document.text("architecture"), document.text("variant"))
