"""A pod that runs, as it is judged, and what of it is like that of others which the same controller makes.

After its creation much is written into a pod: the node by the scheduler, addresses by the network (as annotations, by
way of the sub-resource ``status``). That would make every pod its own, so it tells pods apart no more. Only what nobody
else can have written is taken out of what is judged: a person can have an annotation look as if the network had
written it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.model.image import DIGEST, Digest
from portcullis.model.json import JSONObject
from portcullis.model.running import ObjectRef, RunningImage

_STATUSES: Final = {
    "containers": "containerStatuses",
    "initContainers": "initContainerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}
"""Where a pod spec has containers, and where the status says what they run."""
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}")
"""An image of cri-o that is named by its configuration alone."""
_KEPT: Final = ("name", "generateName", "namespace", "labels", "annotations", "ownerReferences")
"""Of the metadata. The rest is the API server's: no policy can go by it when a pod is created."""
_TOKEN_VOLUME: Final = re.compile(r"kube-api-access-[a-z0-9]{5}")
"""The volume with the token of the service account, which the API server adds to each pod under a name of its own."""

_PER_POD_LABELS: Final = frozenset({
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
})  # fmt: skip
"""By which controllers tell their pods, and their generations of pods, apart.
Source: https://kubernetes.io/docs/reference/labels-annotations-taints/."""
_PER_POD_ANNOTATIONS: Final = frozenset({
    "batch.kubernetes.io/cronjob-scheduled-timestamp",
    "batch.kubernetes.io/job-completion-index",
})  # fmt: skip


def creation(pod: JSONObject) -> JSONObject:
    """The pod as it would be created now."""
    metadata = {key: value for key, value in part(pod, "metadata").items() if key in _KEPT}
    spec = {key: value for key, value in part(pod, "spec").items() if key != "nodeName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def images_of(pod: JSONObject) -> tuple[RunningImage, ...]:
    """The image of each container and image volume, with what the kubelet reports of it."""
    spec, status = part(pod, "spec"), part(pod, "status")
    found: list[RunningImage] = []
    for key, statuses in _STATUSES.items():
        reported = {str(one.get("name")): one.get("imageID") for one in _objects(status.get(statuses))}
        for container in _objects(spec.get(key)):
            name = str(container.get("name") or "")
            image_id = reported.get(name)
            found.append(running_image(str(container.get("image") or ""), name, image_id))
    for volume in _objects(spec.get("volumes")):
        image = part(volume, "image")
        if image:
            found.append(RunningImage(str(image.get("reference") or ""), container=str(volume.get("name") or "")))
    return tuple(found)


def running_image(written: str, container: str, image_id: object) -> RunningImage:
    """What a container runs, by what the kubelet reports (runningimages.py says in which forms)."""
    text = image_id if isinstance(image_id, str) else ""
    _, scheme, behind = text.partition("://")
    named = behind if scheme else text
    name, at, last = named.rpartition("@")
    if at and name and DIGEST.fullmatch(last):
        return RunningImage(written, text, Digest(last), container=container)
    if _IDENTIFIER.fullmatch(named):
        named = f"sha256:{named}"
    if DIGEST.fullmatch(named):
        return RunningImage(written, text, Digest(named), by_configuration=True, container=container)
    return RunningImage(written, text, container=container)


def likeness(pod: JSONObject, images: tuple[RunningImage, ...]) -> bytes:
    """A hash that is the same for pods of one controller which differ in nothing that is judged: not in their spec, the
    labels and annotations that people give, nor in what they run."""
    metadata, spec = part(pod, "metadata"), dict(part(pod, "spec"))
    spec.pop("nodeName", None)
    unlike = _PER_POD_ANNOTATIONS | _written_later(metadata)
    if controller_of(metadata) is not None:
        spec.pop("hostname", None)  # its own name, or a part of that
        spec["volumes"] = [_volume(volume, str(metadata.get("name"))) for volume in _objects(spec.get("volumes"))]
        spec["affinity"] = _without_node(spec.get("affinity"))
        for key in _STATUSES:
            spec[key] = [_container(container) for container in _objects(spec.get(key))]
    labels, annotations = part(metadata, "labels"), part(metadata, "annotations")
    alike = [
        {key: value for key, value in labels.items() if key not in _PER_POD_LABELS},
        {key: value for key, value in annotations.items() if key not in unlike},
        spec,
        [[image.container, image.written, image.digest or image.image_id] for image in images],
    ]
    return hashlib.sha256(json.dumps(alike, sort_keys=True, separators=(",", ":")).encode()).digest()


def controller_of(metadata: Mapping[str, Any]) -> ObjectRef | None:
    """The object that controls one with that metadata. A node is none: it only shows pods that are its own."""
    for owner in _objects(metadata.get("ownerReferences")):
        if owner.get("controller") is True and owner.get("kind") != "Node":
            return ObjectRef(
                str(owner.get("apiVersion") or ""),
                str(owner.get("kind") or ""),
                str(metadata.get("namespace") or ""),
                str(owner.get("name") or ""),
                str(owner.get("uid") or ""),
            )
    return None


def _written_later(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Annotations that were written by way of the sub-resource ``status``, as the network does it.
    Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management."""
    found: set[str] = set()
    for entry in _objects(metadata.get("managedFields")):
        if entry.get("subresource") == "status":
            annotations = part(part(part(entry, "fieldsV1"), "f:metadata"), "f:annotations")
            found |= {key.removeprefix("f:") for key in annotations if key.startswith("f:")}
    return frozenset(found)


def _volume(volume: JSONObject, pod: str) -> JSONObject:
    """A volume without what is named after its pod."""
    claim = part(volume, "persistentVolumeClaim")
    name = str(claim.get("claimName"))
    if name.endswith(f"-{pod}"):
        volume = {**volume, "persistentVolumeClaim": {**claim, "claimName": name.removesuffix(pod)}}
    return {**volume, "name": _TOKEN_VOLUME.sub("kube-api-access", str(volume.get("name")))}


def _container(container: JSONObject) -> JSONObject:
    mounts = [
        {**mount, "name": _TOKEN_VOLUME.sub("kube-api-access", str(mount.get("name")))}
        for mount in _objects(container.get("volumeMounts"))
    ]
    return {**container, "volumeMounts": mounts}


def _without_node(affinity: object) -> object:
    """The affinity without the node that the controller of a DaemonSet chose for this one pod."""
    if not isinstance(affinity, dict):
        return affinity
    node = part(affinity, "nodeAffinity")
    required = part(node, "requiredDuringSchedulingIgnoredDuringExecution")
    terms = [
        {key: value for key, value in term.items() if key != "matchFields"}
        for term in _objects(required.get("nodeSelectorTerms"))
    ]
    if not terms:
        return affinity
    without = {**required, "nodeSelectorTerms": terms}
    return {**affinity, "nodeAffinity": {**node, "requiredDuringSchedulingIgnoredDuringExecution": without}}


def part(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under ``key``; an empty one where there is none."""
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _objects(found: object) -> Iterator[dict[str, Any]]:
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())
