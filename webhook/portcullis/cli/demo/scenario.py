"""What is asked of the gate in the demo: one AdmissionReview per case. What must come of it is in expected.toml."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portcullis.cli.demo.reviews import (
    CONTROLLER,
    PERSON,
    container,
    pod_spec,
    review,
    with_ephemeral,
    with_label,
    workload,
)

NAMESPACE = "shop"

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """``name`` is the key in expected.toml; ``asks`` says in a few words what is tried."""

    name: str
    asks: str
    review: JSON


@dataclass(frozen=True, slots=True)
class Images:
    """References: of the samples by tag and by tag and digest, of an image that is not there, and of one in a
    registry that is down."""

    tagged: Mapping[str, str]
    pinned: Mapping[str, str]
    missing: str
    unreachable: str


def cases(images: Images) -> Iterator[Case]:
    """Every case, in the order in which they are sent."""
    yield from _clean(images)
    yield from _kinds(images)
    yield from _places(images)
    yield from _operations(images)
    yield from _elsewhere(images)


def _clean(images: Images) -> Iterator[Case]:
    spec = pod_spec([container("web", images.pinned["clean"])])
    yield Case("clean", "a clean image, named by digest", _create("Pod", "checkout", spec))


def _kinds(images: Images) -> Iterator[Case]:
    """Each kind that carries pods, each with an image that has one thing wrong with it."""
    table = (
        ("root", "Deployment", "legacy", "the image runs as root"),
        ("named", "StatefulSet", "mailer", "USER is a name, not of root"),
        ("named-root", "Deployment", "pager", "USER is a name, of uid 0"),
        ("two-platforms", "DaemonSet", "agent", "root on the second platform"),
        ("critical", "Job", "importer", "a critical vulnerability"),
        ("excused", "Deployment", "archiver", "the same, and VEX: not affected"),
        ("self-excused", "Deployment", "unpacker", "the same, VEX by the scanner's key"),
        ("stale", "CronJob", "reporter", "the scan is 45 days old"),
        ("stranger", "ReplicaSet", "gateway", "a scan that a stranger signed"),
        ("borrowed", "ReplicationController", "search", "the scan of another image"),
        ("shell", "Deployment", "portal", "a shell in the image"),
        ("toolchain", "Job", "builder", "a compiler in the image"),
        ("secret", "Pod", "deployer", "a private key in a layer"),
        ("unscanned", "PodTemplate", "model", "no scan"),
    )
    for sample, kind, name, asks in table:
        restart = "OnFailure" if kind in ("Job", "CronJob") else "Always"
        spec = pod_spec([container(name, images.tagged[sample])], restart=restart)
        user = CONTROLLER if kind == "ReplicaSet" else PERSON
        yield Case(sample, asks, _create(kind, name, spec, user=user))
    spec = pod_spec([container("app", images.missing)])
    yield Case("missing", "an image that is not there", _create("Pod", "vanished", spec))


def _places(images: Images) -> Iterator[Case]:
    """A bad image in each place that is easily forgotten, beside a good one."""
    web = container("web", images.pinned["clean"])
    spec = pod_spec([web], initContainers=[container("migrate", images.pinned["root"])])
    yield Case("init-container", "a root init container", _create("Deployment", "orders", spec))

    running = workload("Pod", "checkout", NAMESPACE, pod_spec([web]))
    debugged = with_ephemeral(running, container("debugger", images.pinned["root"]))
    asked = review(debugged, operation="UPDATE", old=running, sub_resource="ephemeralcontainers")
    yield Case("ephemeral-container", "kubectl debug with a root image", asked)

    model = {"name": "weights", "image": {"reference": images.pinned["unscanned"], "pullPolicy": "IfNotPresent"}}
    mounted = {**web, "volumeMounts": [{"name": "weights", "mountPath": "/model", "readOnly": True}]}
    spec = pod_spec([mounted], volumes=[model])
    yield Case("image-volume", "an unscanned image as a volume", _create("Pod", "inference", spec))


def _operations(images: Images) -> Iterator[Case]:
    running = workload("Deployment", "legacy", NAMESPACE, pod_spec([container("legacy", images.tagged["root"])]))
    labelled = with_label(running, "cost-centre", "4711")
    asked = review(labelled, operation="UPDATE", old=running)
    yield Case("label-only", "a label on what runs already", asked)

    moved = copy.deepcopy(labelled)
    moved["spec"]["replicas"] = 0
    moved["spec"]["template"]["spec"]["containers"][0]["image"] = images.tagged["unscanned"]
    asked = review(moved, operation="UPDATE", old=labelled)
    yield Case("scaled-to-zero", "scaled to zero, with another image", asked)

    asked = review(
        None, operation="DELETE", old=workload("Pod", "legacy", NAMESPACE, running["spec"]["template"]["spec"])
    )
    yield Case("delete", "a root pod is deleted", asked)

    security = {**container("", "")["securityContext"], "runAsUser": 10001, "runAsNonRoot": True}
    spec = pod_spec([container("legacy", images.tagged["root"], securityContext=security)])
    asked = review(workload("Pod", "legacy-as-10001", NAMESPACE, spec), dry_run=True)
    yield Case("dry-run", "a root image, run as 10001 (dry run)", asked)


def _elsewhere(images: Images) -> Iterator[Case]:
    security = {"privileged": True}
    spec = pod_spec([container("web", images.pinned["clean"], securityContext=security)], hostNetwork=True)
    yield Case("privileged", "privileged, on the host's network", _create("Pod", "node-shell", spec))

    spec = pod_spec([container("nginx", "nginx:1.29")])
    yield Case("foreign", "an image of a registry that is not allowed", _create("Deployment", "proxy", spec))

    spec = pod_spec([container("web", images.unreachable)])
    yield Case("outage", "a registry that is down", _create("Deployment", "storefront", spec))

    settings = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "settings", "namespace": NAMESPACE},
        "data": {"colour": "blue"},
    }
    yield Case("no-pod", "a kind without a pod", review(settings))


def _create(kind: str, name: str, spec: JSON, *, user: JSON = PERSON) -> JSON:
    return review(workload(kind, name, NAMESPACE, spec), user=user)
