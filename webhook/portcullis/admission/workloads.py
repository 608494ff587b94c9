"""From an admitted object to the images that it makes a node pull.

One table says where each kind keeps its pod spec, and one function walks a pod spec: every container list and
every image volume goes through it, whatever the kind or the sub-resource. Source: the Kubernetes API reference
(PodSpec, PodTemplateSpec; https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.errors import ConfigError, WorkloadError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.model.workload import Container, ContainerKind, Workload
from portcullis.text import quoted

_TEMPLATE = ("spec", "template", "spec")

POD_SPEC_PATHS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "ReplicationController"): _TEMPLATE,
    ("", "PodTemplate"): ("template", "spec"),
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
}
"""(group, kind) to the path of the pod spec. Any version: all versions so far agree on the path."""

_TEMPLATE_MAY_BE_NULL = frozenset({("", "ReplicationController")})
"""``spec.template`` is a pointer there, and null means that the object makes no pods at all."""

_LISTS: Sequence[tuple[str, ContainerKind]] = (
    ("containers", ContainerKind.CONTAINER),
    ("initContainers", ContainerKind.INIT),
    ("ephemeralContainers", ContainerKind.EPHEMERAL),
)


@dataclass(frozen=True, slots=True)
class CustomKind:
    """A custom resource that carries a pod spec. ``version`` "" means every version; with one, an object of
    another version is refused, since nobody has said where its pod spec stands."""

    group: str
    kind: str
    pod_spec_path: tuple[str, ...]
    version: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod-carrying part of one object; ``path`` is that of the pod spec, dotted."""

    metadata: JSONObject
    spec: JSONObject
    path: str


class WorkloadReader:
    """Finds pod specs and containers.

    Args:
        custom: kinds beside the built-in ones.
        limits: bounds the number of containers.

    Raises:
        ConfigError: ``custom`` names a built-in kind, one kind twice, or no path.
    """

    def __init__(self, *, custom: Sequence[CustomKind] = (), limits: Limits) -> None:
        self._limits = limits
        self._custom: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
        for entry in custom:
            key = (entry.group, entry.kind)
            name = f"{entry.kind}.{entry.group}" if entry.group else entry.kind
            versions = self._custom.setdefault(key, {})
            if key in POD_SPEC_PATHS:
                raise ConfigError(f"the pod spec path of the built-in kind {name} cannot be set")
            if not entry.pod_spec_path or not all(entry.pod_spec_path):
                raise ConfigError(f"the pod spec path of {name} is empty or has an empty part")
            if entry.version in versions or (versions and (not entry.version or "" in versions)):
                raise ConfigError(f"the kind {name} has more than one pod spec path")
            versions[entry.version] = entry.pod_spec_path

    def read(self, request: AdmissionRequest) -> Workload:
        """The workload that a request is about.

        The kind is that of the object that is judged, not of the resource it was sent to: ``pods/resize`` carries a
        Pod, ``deployments/scale`` a Scale. A kind without a pod, and a DELETE, give a workload without pod spec.

        Raises:
            WorkloadError: the object is not what its kind says; the message names the JSON path.
        """
        judged = request.object
        described = judged if judged is not None else request.old_object
        group, version, kind = _kind_of(request, described)
        metadata = _mapping(described or {}, ("metadata",), optional=True)
        pod = self.pod(request, judged)
        return Workload(
            kind=kind,
            api_version=f"{group}/{version}" if group else version,
            namespace=request.namespace or _string(metadata, "namespace", above="metadata."),
            name=_string(metadata, "name", above="metadata.")
            or request.name
            or _string(metadata, "generateName", above="metadata."),
            labels=_mapping(metadata, ("labels",), optional=True, above="metadata."),
            annotations=_mapping(metadata, ("annotations",), optional=True, above="metadata."),
            pod_metadata=pod.metadata if pod else None,
            pod_spec=pod.spec if pod else None,
            containers=self.containers(pod) if pod else (),
        )

    def pod(self, request: AdmissionRequest, judged: JSONObject | None) -> Pod | None:
        """The pod in ``judged``, which is the object or the old object of ``request``; None for a kind without one.

        Raises:
            WorkloadError: the object is of a kind that has a pod, and has none, or no object at all.
        """
        group, version, kind = _kind_of(request, judged)
        path = self._path(group, version, kind)
        if path is None or (judged is None and request.operation is Operation.DELETE):
            return None
        if judged is None:
            raise WorkloadError(f"a {request.operation} of a {kind} has no object")
        if (group, kind) in _TEMPLATE_MAY_BE_NULL:
            parent = _mapping(judged, path[:-2])
            if parent.get(path[-2]) is None:
                return None
        spec = _mapping(judged, path)
        beside: JSONObject = {}
        if path[-1] == "spec":
            beside = _mapping(judged, (*path[:-1], "metadata"), optional=True)
        return Pod(metadata=beside, spec=spec, path=".".join(path))

    def _path(self, group: str, version: str, kind: str) -> tuple[str, ...] | None:
        builtin = POD_SPEC_PATHS.get((group, kind))
        if builtin is not None:
            return builtin
        versions = self._custom.get((group, kind))
        if versions is None:
            return None
        path = versions.get(version) or versions.get("")
        if path is None:
            raise WorkloadError(f"no pod spec path is configured for version {quoted(version)} of {kind}.{group}")
        return path

    def containers(self, pod: Pod) -> tuple[Container, ...]:
        """Every place of the pod that names an image, in order.

        Raises:
            WorkloadError: something in it is not what a pod has there, or there are too many.
        """
        return tuple(self._bounded(pod))

    def _bounded(self, pod: Pod) -> Iterator[Container]:
        for count, container in enumerate(_places(pod), start=1):
            if count > self._limits.containers:
                raise WorkloadError(
                    f"{pod.path} has more containers and image volumes than limits.containers allows "
                    f"({self._limits.containers})"
                )
            yield container


def _places(pod: Pod) -> Iterator[Container]:
    """Every place of a pod spec that names an image."""
    for key, kind in _LISTS:
        for path, item in _items(pod, key, optional=kind is not ContainerKind.CONTAINER):
            yield Container(
                name=_string(item, "name", above=f"{path}."),
                kind=kind,
                path=path,
                image=_string(item, "image", above=f"{path}."),
                spec=item,
            )
    for path, volume in _items(pod, "volumes", optional=True):
        if volume.get("image") is None:
            continue
        source = _mapping(volume, ("image",), above=f"{path}.")
        yield Container(
            name=_string(volume, "name", above=f"{path}."),
            kind=ContainerKind.VOLUME,
            path=path,
            image=_string(source, "reference", above=f"{path}.image."),
            spec=volume,
        )


def _items(pod: Pod, key: str, *, optional: bool) -> Iterator[tuple[str, JSONObject]]:
    above = f"{pod.path}.{key}"
    value = pod.spec.get(key)
    if value is None and optional:
        return
    if not isinstance(value, list):
        raise WorkloadError(f"{above} is {_type(value)}, not a list")
    for index, item in enumerate(value):
        path = f"{above}[{index}]"
        if not isinstance(item, dict):
            raise WorkloadError(f"{path} is {_type(item)}, not an object")
        yield path, item


def _kind_of(request: AdmissionRequest, judged: JSONObject | None) -> tuple[str, str, str]:
    """Group, version and kind: the request's, with which the object's own must agree where it names them. Were one
    of the two believed alone, the other could hide a pod."""
    asked = request.kind
    own = judged or {}
    kind, api_version = _string(own, "kind"), _string(own, "apiVersion")
    group = api_version.rpartition("/")[0]
    if (kind and kind != asked.kind) or (api_version and group != asked.group):
        raise WorkloadError(
            f"the object is a {quoted(kind)} of {quoted(api_version)}, but the request says "
            f"{quoted(asked.kind)} of {quoted(asked.api_version)}"
        )
    return asked.group, asked.version, asked.kind


def _mapping(root: JSONObject, path: Sequence[str], *, optional: bool = False, above: str = "") -> JSONObject:
    """The object at ``path``; an empty one if it is absent or null and ``optional``. Only its last part may be
    absent then."""
    node: Any = root
    for depth, key in enumerate(path):
        node = node.get(key)
        if isinstance(node, dict):
            continue
        if node is None and optional and depth == len(path) - 1:
            return {}
        raise WorkloadError(f"{above}{'.'.join(path[: depth + 1])} is {_type(node)}, not an object")
    result: JSONObject = node
    return result


def _string(parent: JSONObject, key: str, *, above: str = "") -> str:
    """A string, "" where absent or null."""
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WorkloadError(f"{above}{key} is {_type(value)}, not a string")
    return value


def _type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "missing or null"}
    return names.get(type(value), "a number")
