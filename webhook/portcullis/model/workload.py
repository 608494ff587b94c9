"""Workloads: the pod-carrying part of what is admitted."""

from dataclasses import dataclass
from enum import StrEnum

from portcullis.model.json import JSONObject


class ContainerKind(StrEnum):
    CONTAINER = "container"
    INIT = "init"
    EPHEMERAL = "ephemeral"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Container:
    """One place of a pod spec that names an image.

    ``path`` is where it stands in the object (``spec.template.spec.containers[0]``); ``image`` the text as
    written; ``spec`` the container's (or image volume's) own JSON object.
    """

    name: str
    kind: ContainerKind
    path: str
    image: str
    spec: JSONObject


@dataclass(frozen=True, slots=True)
class Workload:
    """``pod_spec`` and ``pod_metadata`` are None for a kind without a pod: then its request alone is judged."""

    kind: str
    api_version: str
    namespace: str
    name: str
    labels: JSONObject
    annotations: JSONObject
    pod_metadata: JSONObject | None
    pod_spec: JSONObject | None
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The update changes nothing that images depend on; ``why`` is a sentence for the record."""

    why: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The images must be judged."""
