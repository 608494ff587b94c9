"""The one table of the matrix: what carries pods, where an image stands in it, how it comes to the API server.

Nothing here makes pods by itself: replicas are 0, jobs are suspended, no node is chosen by a DaemonSet. The tests of
children take other objects.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from e2e.cluster.objects import JSON, placed
from e2e.cluster.registry import GOOD, MOVING, ROOT, SampleRegistry
from e2e.faulting.asking import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Asker
from portcullis.cli.demo.samples import MISSING

UNSCANNED = "acme/model:0.3.0"

RESOURCES: Mapping[str, tuple[str, str]] = {
    "Pod": ("", "pods"),
    "PodTemplate": ("", "podtemplates"),
    "ReplicationController": ("", "replicationcontrollers"),
    "ReplicaSet": ("apps", "replicasets"),
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Job": ("batch", "jobs"),
    "CronJob": ("batch", "cronjobs"),
}
"""Kind to (API group, resource). The tests compare it with what the API server says that it serves."""

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where the object with metadata and spec of a pod is; ("spec", "template") for all others."""

JUDGED_SUB_RESOURCES = (("", "pods/ephemeralcontainers"), ("", "pods/resize"))
UNJUDGED_SUB_RESOURCES = frozenset(("", f"{resource}/status") for resource in ("pods", "replicationcontrollers")) | {
    *(("apps", f"{resource}/status") for resource in ("replicasets", "deployments", "statefulsets", "daemonsets")),
    *(("batch", f"{resource}/status") for resource in ("jobs", "cronjobs")),
}
"""They take an object with a pod in it, of which the API server stores the status alone."""

PLACES = ("container", "init container", "image volume")
NAMED = {
    "container": 'container "web"',
    "init container": 'init container "migrate"',
    "image volume": 'image volume "weights"',
    "ephemeral container": 'ephemeral container "debug"',
}

IMMUTABLE = frozenset(("Job", place) for place in PLACES) | {("Pod", "image volume")}
"""Updates of an image there are refused by the API server before anybody is asked (422). Source: its own answer."""


@dataclass(frozen=True, slots=True)
class Bad:
    """An image that may not run, and who refuses it: a policy, or, where there are no facts, their lack."""

    why: str
    image: str
    refused_by: str
    no_facts: bool = False
    places: tuple[str, ...] = (*PLACES, "ephemeral container")


BAD = (
    # Nothing runs in a volume, so its user does not matter.
    Bad("root", ROOT, "image-user", places=("container", "init container", "ephemeral container")),
    Bad("unscanned", UNSCANNED, "scan-required"),
    Bad("elsewhere", "127.0.0.1:9/acme/web:1", "registry-not-allowed", no_facts=True),
    Bad("missing", MISSING, "image-not-found", no_facts=True),
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way for an object to come to the API server. ``send`` gets the asker, the path of its collection, and the
    whole object as it is wanted."""

    name: str
    updates: bool
    send: Callable[[Asker, str, JSON], Answer]


def _named(path: str, wanted: JSON) -> str:
    return f"{path}/{wanted['metadata']['name']}"


def _create(asker: Asker, path: str, wanted: JSON) -> Answer:
    return asker.ask("POST", path, wanted)


def _try(asker: Asker, path: str, wanted: JSON) -> Answer:
    return asker.ask("POST", f"{path}?dryRun=All", wanted)


def _apply(asker: Asker, path: str, wanted: JSON) -> Answer:
    return asker.ask("PATCH", f"{_named(path, wanted)}?fieldManager=matrix&force=true", wanted, APPLY)


def _replace(asker: Asker, path: str, wanted: JSON) -> Answer:
    """As ``kubectl replace``: what is stored, with the pod that is wanted, whatever a controller did meanwhile."""
    stored = unversioned(asker.get(_named(path, wanted)))
    put_images(stored, wanted)
    return asker.ask("PUT", _named(path, wanted), stored)


def _patch(kind: str) -> Callable[[Asker, str, JSON], Answer]:
    def send(asker: Asker, path: str, wanted: JSON) -> Answer:
        return asker.ask("PATCH", _named(path, wanted), spec_alone(wanted), kind)

    return send


def _json_patch(asker: Asker, path: str, wanted: JSON) -> Answer:
    steps = [{"op": "replace", "path": pointer, "value": image} for pointer, image in _images(wanted).items()]
    return asker.ask("PATCH", _named(path, wanted), steps, JSON_PATCH)


WAYS = (
    Way("create", False, _create),
    Way("applied", False, _apply),
    Way("dry run", False, _try),
    Way("replace", True, _replace),
    Way("strategic patch", True, _patch(STRATEGIC)),
    Way("json patch", True, _json_patch),
    Way("apply", True, _apply),
)
"""A merge patch replaces lists as wholes, which no pod allows: it is tried where there is a template."""
MERGED = Way("merge patch", True, _patch(MERGE))


@dataclass(frozen=True, slots=True)
class Case:
    """One request of the matrix. ``bad`` None: a good image."""

    kind: str
    place: str
    way: Way
    bad: Bad | None

    @property
    def immutable(self) -> bool:
        return self.way.updates and (self.kind, self.place) in IMMUTABLE

    @property
    def name(self) -> str:
        """Short: a CronJob's may have 52 characters."""
        place, why = self.place.partition(" ")[0], self.bad.why if self.bad else "good"
        return f"{self.kind}-{place}-{self.way.name}-{why}".lower().replace(" ", "-")

    def wanted(self, name: str, namespace: str, registry: SampleRegistry, *, updated: bool = True) -> JSON:
        """Updates ask for another image than the one that is there."""
        good = registry.image(GOOD)
        another = MOVING if self.way.updates and updated else GOOD
        tried = address(registry, self.bad.image if self.bad else another)
        return sleeping(placed(self.kind, name, namespace, self.place, good, tried))


def cases(kind: str, place: str) -> Iterator[Case]:
    """Way by way, the good image last. That facts are missing is tried with one way to create and one to update."""
    for way in (*WAYS, *((MERGED,) if kind != "Pod" else ())):
        bad = [one for one in BAD if place in one.places and (way.name in ("create", "replace") or not one.no_facts)]
        yield from (Case(kind, place, way, one) for one in (*bad, None))


def address(registry: SampleRegistry, image: str) -> str:
    """An image of another registry keeps its name."""
    return image if image.startswith("127.0.0.1:") else registry.image(image)


def path_of(kind: str, namespace: str) -> str:
    """Of the collection."""
    group, resource = RESOURCES[kind]
    return f"/{f'apis/{group}' if group else 'api'}/v1/namespaces/{namespace}/{resource}"


def pod_of(made: JSON) -> Any:
    """The object in it that has metadata and spec of a pod."""
    found: Any = made
    for part in TEMPLATES.get(made["kind"], ("spec", "template")):
        found = found[part]
    return found


def sleeping(made: JSON) -> JSON:
    """The same, so that no controller makes anything of it."""
    if "replicas" in made.get("spec", {}):
        made["spec"]["replicas"] = 0
    elif made["kind"] in ("Job", "CronJob"):
        made["spec"]["suspend"] = True
    elif made["kind"] == "DaemonSet":
        pod_of(made)["spec"]["nodeSelector"] = {"e2e.example/none": "true"}
    return made


def unversioned(stored: JSON) -> JSON:
    """A write of it meets no conflict."""
    metadata = {key: value for key, value in stored["metadata"].items() if key != "resourceVersion"}
    return {**stored, "metadata": metadata}


def put_images(stored: JSON, wanted: JSON) -> None:
    for pointer, image in _images(wanted).items():
        *parts, last = pointer.split("/")[1:]
        found: Any = stored
        for part in parts:
            found = found[int(part)] if part.isdigit() else found[part]
        found[last] = image


def _images(made: JSON) -> dict[str, str]:
    """JSON pointer to image, of every image in it."""
    base = "".join(f"/{part}" for part in TEMPLATES.get(made["kind"], ("spec", "template")))
    spec = pod_of(made)["spec"]
    found = {
        f"{base}/spec/{key}/{number}/image": one["image"]
        for key in ("initContainers", "containers")
        for number, one in enumerate(spec.get(key, ()))
    }
    for number, volume in enumerate(spec.get("volumes", ())):
        if "image" in volume:
            found[f"{base}/spec/volumes/{number}/image/reference"] = volume["image"]["reference"]
    return found


def spec_alone(wanted: JSON) -> JSON:
    """What of it is below spec or template."""
    return {key: copy.deepcopy(value) for key, value in wanted.items() if key in ("spec", "template")}
