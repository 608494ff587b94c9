"""Pinning: which images of an object are named by a tag, and the JSON Patch that adds to each the digest of the tag.

``name:tag`` becomes ``name:tag@sha256:…``: a node takes the digest, and the tag stays for people. What was written is
kept in an annotation of the pod, for people as well: nothing here or in the gate believes it.

What is left as it is, whatever is asked:

* An image with a digest, so that to pin twice is to pin once; and a place without any text, which is somebody else's to
  fill: the API server asks again after that.
* On an update, a text that is as it was. Somebody who labels an old object must not be handed new images for it, and an
  ephemeral container, the template of a Job and the volumes of a pod cannot be changed at all.
* The template of an object that a controller made. A Deployment finds its ReplicaSet by comparing templates: it would
  not know the pinned one, and make another, and so on without end. Its pods are pinned.
* A mirror pod: the node runs what stands in its own file, whatever the API server has.

An update that writes the text of which the old object has the pinned form keeps that form. So to apply the same
manifest again is no change, as it is none where nothing is pinned: no rollout, no restarted container, no registry.

Sources: https://www.rfc-editor.org/rfc/rfc6902 (JSON Patch), https://www.rfc-editor.org/rfc/rfc6901 (JSON Pointer).
A patch that does not fit is an internal error to the API server, which refuses the request then, whatever the failure
policy says: each step names a place that was found, and there is no step ``test``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from portcullis.admission.workloads import Pod, WorkloadReader
from portcullis.errors import WorkloadError
from portcullis.model.image import DIGEST
from portcullis.model.json import JSONObject
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.model.workload import Container, ContainerKind

ANNOTATION: Final = "portcullis.dev/pinned-images"
"""JSON: name of the container (``volumes/name`` of an image volume) to the text that was written there."""

MIRROR: Final = "kubernetes.io/config.mirror"
ANNOTATIONS_BYTES: Final = 256 * 1024
"""Of all annotations of an object (TotalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation)."""

_SUB_RESOURCES: Final = frozenset({"", "ephemeralcontainers"})
"""Those by which an image comes to a pod."""
_FIELDS: Final = {ContainerKind.VOLUME: ("image", "reference")}
_FIELD: Final = ("image",)


@dataclass(frozen=True, slots=True)
class Place:
    """One place that names an image by a tag.

    Args:
        key: names it in the annotation.
        pointer: the JSON Pointer of the text.
        written: the text.
        kept: the pinned form that the object had before, "" where it had none of this text.
    """

    key: str
    pointer: str
    written: str
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Where the annotation goes, and what stands there.

    Args:
        metadata: path of the pod's metadata.
        missing: there is no metadata, or no annotations in it.
        entries: those of the annotation that still hold.
        text: of the annotation, "" where there is none.
        others: bytes of all other annotations.
    """

    metadata: tuple[str, ...]
    missing: str
    entries: Mapping[str, str]
    text: str
    others: int


@dataclass(frozen=True, slots=True)
class Pins:
    """What is to be pinned in one object: ``places`` in their order, none where there is nothing to do. ``note`` is
    None where no annotation is written."""

    places: tuple[Place, ...] = ()
    note: Note | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Each text whose digest has to be asked for."""
        return tuple(dict.fromkeys(place.written for place in self.places if not place.kept))


def find(request: AdmissionRequest, reader: WorkloadReader, *, owners: bool) -> Pins:
    """What a request asks to be pinned.

    Args:
        owners: whether templates are pinned as well, and not pods alone.

    Raises:
        WorkloadError: the object is not what its kind says.
    """
    judged = request.object
    if judged is None or request.operation not in (Operation.CREATE, Operation.UPDATE):
        return Pins()
    is_pod = (request.kind.group, request.kind.kind) == ("", "Pod")
    if request.sub_resource not in _SUB_RESOURCES or not (is_pod or (owners and not _controlled(judged))):
        return Pins()
    pod = reader.pod(request, judged)
    if pod is None:
        return Pins()
    annotations = pod.metadata.get("annotations")
    if annotations is not None and not isinstance(annotations, Mapping):
        raise WorkloadError(f"the annotations beside {pod.path} are no object")
    if is_pod and MIRROR in (annotations or {}):
        return Pins()
    containers = reader.containers(pod)
    before = _before(request, reader)
    places = tuple(place for one in containers if (place := _place(one, before)) is not None)
    noted = bool(places) and pod.path.endswith("spec") and not request.sub_resource
    return Pins(places, _note(judged, pod, containers) if noted else None)


def patch(pins: Pins, pinned: Mapping[str, str]) -> list[JSONObject]:
    """The JSON Patch that puts the pinned text into each place whose text ``pinned`` has; empty where it has none."""
    found = [(place, place.kept or pinned.get(place.written, "")) for place in pins.places]
    done = [(place, text) for place, text in found if text]
    steps: list[JSONObject] = [{"op": "replace", "path": place.pointer, "value": text} for place, text in done]
    if steps and pins.note is not None:
        steps += _annotate(pins.note, {place.key: place.written for place, _ in done})
    return steps


def pointer(parts: Iterable[str | int]) -> str:
    """The JSON Pointer (RFC 6901, section 3) of a path."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _place(container: Container, before: Mapping[str, str]) -> Place | None:
    """None where the image stays as it is."""
    key, written = _key(container), container.image
    old = before.get(key, "")
    if not written or "@" in written or old == written:
        return None
    parts = [*_parts(container.path), *_FIELDS.get(container.kind, _FIELD)]
    return Place(key, pointer(parts), written, old if _is_pinned_form(old, written) else "")


def _before(request: AdmissionRequest, reader: WorkloadReader) -> Mapping[str, str]:
    """The text of each place of the old object."""
    if request.operation is not Operation.UPDATE or request.old_object is None:
        return {}
    pod = reader.pod(request, request.old_object)
    return _images(reader.containers(pod)) if pod is not None else {}


def _images(containers: Iterable[Container]) -> dict[str, str]:
    return {_key(one): one.image for one in containers}


def _key(container: Container) -> str:
    """No two places of a valid pod share it: all containers have names of their own, and none has a slash."""
    return f"volumes/{container.name}" if container.kind is ContainerKind.VOLUME else container.name


def _is_pinned_form(text: str, written: str) -> bool:
    name, _, digest = text.partition("@")
    return name == written and DIGEST.fullmatch(digest) is not None


def _parts(path: str) -> Iterable[str]:
    """Of a path as containers have it, ``spec.template.spec.containers[0]``."""
    for part in path.split("."):
        name, _, index = part.partition("[")
        yield name
        if index:
            yield index.removesuffix("]")


def _controlled(judged: JSONObject) -> bool:
    """Whether a controller made it and looks after it."""
    metadata = judged.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    return isinstance(owners, list) and any(isinstance(one, Mapping) and one.get("controller") for one in owners)


def _note(judged: JSONObject, pod: Pod, containers: Iterable[Container]) -> Note:
    above = pod.path.split(".")[:-1]
    holder: Any = judged
    for part in above:
        holder = holder[part]
    annotations = pod.metadata.get("annotations")
    missing = "metadata" if holder.get("metadata") is None else "annotations" if annotations is None else ""
    texts = {key: text for key, text in (annotations or {}).items() if isinstance(text, str)}
    text = texts.pop(ANNOTATION, "")
    images = _images(containers)
    return Note(
        metadata=(*above, "metadata"),
        missing=missing,
        entries={key: was for key, was in _read(text).items() if _is_pinned_form(images.get(key, ""), was)},
        text=text,
        others=sum(len(key.encode()) + len(value.encode()) for key, value in texts.items()),
    )


def _annotate(note: Note, written: Mapping[str, str]) -> list[JSONObject]:
    """The step that writes the annotation, if one is needed and there is room: an object with more than Kubernetes
    allows of them is refused."""
    entries = {key: text for key, text in note.entries.items() if key not in written} | dict(written)
    text = msgspec.json.encode(entries, order="sorted").decode()
    if text == note.text or note.others + len(ANNOTATION) + len(text.encode()) > ANNOTATIONS_BYTES:
        return []
    if note.missing == "metadata":
        return [{"op": "add", "path": pointer(note.metadata), "value": {"annotations": {ANNOTATION: text}}}]
    if note.missing == "annotations":
        return [{"op": "add", "path": pointer([*note.metadata, "annotations"]), "value": {ANNOTATION: text}}]
    return [{"op": "add", "path": pointer([*note.metadata, "annotations", ANNOTATION]), "value": text}]


def _read(text: str) -> Mapping[str, str]:
    """The annotation as it stands; nothing where it is none of ours."""
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, ValueError):
        return {}
