"""The images of an archive with ``manifest.json``, laid out as an OCI image layout.

Source: https://github.com/moby/moby/blob/v24.0.7/image/spec/spec.md, "Combined Image JSON + Filesystem Changeset
Format". ``manifest.json`` lists images, each with its configuration, its names and its layers, and names no digests:

* The configuration and a layer are known by digests all the same: the one by that of its bytes, which is Docker's image
  ID; the other by the diffID in the configuration, since it lies there as a plain tar. A layer that lies there
  compressed (``crane pull``) has the digest of its bytes, and its media type says how it is compressed.
* The image needs a manifest, so one is made: an OCI manifest as JSON without blanks, its keys in the order of the
  specification. The image's digest is that of these bytes. One archive gives the same digest every time, and a digest
  that no registry knows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portcullis.errors import Malformed, NotFound, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import Descriptor, Digest
from portcullis.registry.configs import read_config
from portcullis.registry.digests import digest_of
from portcullis.registry.documents import Fields
from portcullis.registry.files import PIECE_BYTES, OpenFile
from portcullis.registry.listing import INDEX, MARKER, REF_NAME, VERSION, blob_name
from portcullis.registry.manifests import OCI_INDEX, OCI_MANIFEST
from portcullis.registry.tarfiles import TarFiles
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean

LIST: Final = "manifest.json"

_FIELDS: Final = frozenset({"Config", "RepoTags", "Layers", "Parent", "LayerSources"})
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_COMPRESSED: Final = {b"\x1f\x8b": "+gzip", b"\x28\xb5\x2f\xfd": "+zstd"}
"""By the first bytes, as Docker tells them apart when it loads an archive."""
_DEPTH: Final = 10
"""Descriptors in LayerSources nest about five deep."""


@dataclass(frozen=True, slots=True)
class _Saved:
    """An image in manifest.json: where its parts lie, and what it is called."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Config:
    descriptor: Descriptor
    diff_ids: tuple[Digest, ...]


def make_layout(files: TarFiles, limits: Limits) -> TarFiles:
    """The archive as an image layout. Blocks: the archive is read up to the last configuration, and compressed layers
    whole.

    Args:
        limits: ``manifest_bytes``, ``layout_manifests``, ``image_layers``, ``config_bytes``, ``json_depth``.

    Raises:
        RegistryError: it cannot be read, or its parts do not belong together.
    """
    images = _read_list(files, limits)
    configs, compressed = _read_parts(files, images, limits)
    regions = {blob_name(config.descriptor.digest): files.regions[name] for name, config in configs.items()}
    made: dict[str, bytes] = {}
    entries: list[dict[str, object]] = []
    for image in images:
        config = configs[image.config]
        if len(config.diff_ids) != len(image.layers):
            raise Malformed(
                f"{files.place}/{clean(image.config, 200)} has {len(config.diff_ids)} diff_ids, and {LIST} lists "
                f"{len(image.layers)} layers"
            )
        layers: list[Descriptor] = []
        for name, diff_id in zip(image.layers, config.diff_ids, strict=True):
            layer = compressed.get(name) or Descriptor(_LAYER, diff_id, files.regions[name].size)
            layers.append(layer)
            regions[blob_name(layer.digest)] = files.regions[name]
        manifest = _manifest(config.descriptor, layers)
        digest = digest_of(manifest)
        made[blob_name(digest)] = manifest
        entry = _described(Descriptor(OCI_MANIFEST, digest, len(manifest)))
        entries += [entry | {"annotations": {REF_NAME: tag}} for tag in image.tags] or [entry]
    made[MARKER] = _json({"imageLayoutVersion": VERSION})
    made[INDEX] = _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return files.laid_out(regions, made)


def _read_list(files: TarFiles, limits: Limits) -> Sequence[_Saved]:
    what = f"{files.place}/{LIST}"
    opened = files.open(LIST)
    try:
        content = _whole(opened, limits.manifest_bytes, what, "manifestBytes")
    finally:
        opened.close()
    try:
        tree = load_json(content, max_depth=_DEPTH)
    except StrictJsonError as error:
        raise Malformed(f"{what} {error.problem}") from error
    if not isinstance(tree, list):
        raise Malformed(f"{what} is no list of images")
    if len(tree) > limits.layout_manifests:
        raise TooLarge(f"{what} lists {len(tree)} images; the limit layoutManifests is {limits.layout_manifests}")
    return [_read_saved(item, f"an image in {what}", files, limits) for item in tree]


def _read_saved(value: object, what: str, files: TarFiles, limits: Limits) -> _Saved:
    fields = Fields.of(value, what, _FIELDS)
    image = _Saved(fields.text("Config"), fields.texts("Layers"), fields.texts("RepoTags"))
    if len(image.layers) > limits.image_layers:
        raise TooLarge(f"{what} has {len(image.layers)} layers; the limit imageLayers is {limits.image_layers}")
    for name in (image.config, *image.layers):
        if name not in files.regions:
            raise NotFound(f"{files.place} has no {clean(repr(name), 200)}, which {LIST} lists")
    return image


def _read_parts(
    files: TarFiles, images: Iterable[_Saved], limits: Limits
) -> tuple[Mapping[str, _Config], Mapping[str, Descriptor]]:
    """The configurations, and the layers that are compressed, by their names. In the order in which they lie, so that
    a compressed archive is inflated once."""
    configs: dict[str, _Config] = {}
    compressed: dict[str, Descriptor] = {}
    named = {image.config for image in images}
    wanted = named.union(*(image.layers for image in images))
    with files.in_order() as open_next:
        for name in sorted(wanted, key=lambda name: files.regions[name].offset):
            opened = open_next(name)
            if name in named:
                configs[name] = _read_config(opened, f"{files.place}/{clean(name, 200)}", limits)
            elif (layer := _compressed(opened)) is not None:
                compressed[name] = layer
    return configs, compressed


def _read_config(opened: OpenFile, what: str, limits: Limits) -> _Config:
    content = _whole(opened, limits.config_bytes, what, "configBytes")
    _, config = read_config(content, limits, what)
    return _Config(Descriptor(_CONFIG, digest_of(content), len(content)), config.diff_ids)


def _compressed(opened: OpenFile) -> Descriptor | None:
    """A compressed layer; None for a plain one, which is not read for it: that it has its diffID shows when it is."""
    piece = opened.read(PIECE_BYTES)
    kind = next((kind for magic, kind in _COMPRESSED.items() if piece.startswith(magic)), None)
    if kind is None:
        return None
    checksum = hashlib.sha256()
    while piece:
        checksum.update(piece)
        piece = opened.read(PIECE_BYTES)
    return Descriptor(f"{_LAYER}{kind}", Digest(f"sha256:{checksum.hexdigest()}"), opened.size)


def _whole(opened: OpenFile, limit: int, what: str, named: str) -> bytes:
    if opened.size > limit:
        raise TooLarge(f"{what} has {opened.size} bytes; the limit {named} is {limit}")
    content = bytearray()
    while piece := opened.read(PIECE_BYTES):
        content += piece
    return bytes(content)


def _manifest(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _described(config),
            "layers": [_described(layer) for layer in layers],
        }
    )


def _described(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
