"""What an update did not change. Every defence here has an update that would slip through without it."""

import copy
from pathlib import Path
from typing import Any

import pytest

from fakes.reviews import pod, request, update
from portcullis.admission.review import parse_review
from portcullis.admission.unchanged import same, unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.workload import Changed, Unchanged

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "reviews"
READER = WorkloadReader(limits=DEFAULT_LIMITS)


def is_unchanged(made: AdmissionRequest) -> bool:
    result = unchanged(made, READER)
    assert isinstance(result, Changed) or result.why
    return isinstance(result, Unchanged)


def deployment(image: str = "busybox:1", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": image}]}}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 3, "template": template, **spec},
    }


def changed(judged: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with ``value`` at the dotted ``path``."""
    result = copy.deepcopy(judged)
    node: Any = result
    *above, last = path.split(".")
    for key in above:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[last] = value
    return result


OWNER = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "x", "controller": True}]
DELETED = {"deletionTimestamp": "2026-11-24T11:00:00Z", "deletionGracePeriodSeconds": 30}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.resourceVersion", "7"),
        ("metadata.generation", 2),
        ("metadata.managedFields", [{"manager": "x"}]),
        ("metadata.creationTimestamp", "2026-11-24T11:00:00Z"),
        ("metadata.uid", "x"),
        ("metadata.selfLink", "/x"),
        ("status", {"phase": "Running", "containerStatuses": [{"image": "other"}]}),
    ],
)
def test_server_set_fields_of_a_pod_do_not_count(path: str, value: Any) -> None:
    assert is_unchanged(update(pod("busybox"), changed(pod("busybox"), path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels", {"app": "web"}),
        ("metadata.annotations", {"a": "b"}),
        ("metadata.finalizers", ["example.test/x"]),
        ("metadata.ownerReferences", OWNER),
        ("metadata.deletionTimestamp", "2026-11-24T11:00:00Z"),
        ("metadata.generatename", "x"),
        ("spec.hostNetwork", True),
        ("spec.containers.0.image", "busybox:2"),
        ("spec.containers.0.env", [{"name": "A", "value": "b"}]),
        ("spec.ephemeralContainers", [{"name": "d", "image": "busybox"}]),
        ("spec.initContainers", []),
        ("spec.volumes", [{"name": "v", "image": {"reference": "x"}}]),
    ],
)
def test_everything_else_of_a_pod_counts(path: str, value: Any) -> None:
    assert not is_unchanged(update(pod("busybox"), changed(pod("busybox"), path, value)))


@pytest.mark.parametrize("sub_resource", ["", "status", "ephemeralcontainers", "resize"])
def test_the_sub_resource_does_not_matter(sub_resource: str) -> None:
    same_pod, other = pod("busybox"), pod("busybox:2")
    assert is_unchanged(update(same_pod, copy.deepcopy(same_pod), subResource=sub_resource))
    assert not is_unchanged(update(same_pod, other, subResource=sub_resource))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", 0),
        ("spec.replicas", 300),
        ("spec.paused", True),
        ("metadata.labels", {"a": "b"}),
        ("metadata.annotations", {"deployment.kubernetes.io/revision": "2"}),
        ("metadata.finalizers", ["x"]),
        ("metadata.ownerReferences", OWNER),
        ("status", {"replicas": 3}),
        ("spec.template.metadata.creationTimestamp", None),
    ],
)
def test_updates_of_a_deployment_around_its_pods(path: str, value: Any) -> None:
    assert is_unchanged(update(deployment(), changed(deployment(), path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.template.metadata.labels", {"app": "other"}),
        ("spec.template.metadata.annotations", {"kubectl.kubernetes.io/restartedAt": "now"}),
        ("spec.template.spec.serviceAccountName", "x"),
    ],
)
def test_updates_of_the_pods_of_a_deployment(path: str, value: Any) -> None:
    assert not is_unchanged(update(deployment(), changed(deployment(), path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", 0),
        ("spec.replicas", 1),
        ("metadata.ownerReferences", OWNER),
        ("metadata.annotations", {"portcullis.dev/verified": "true", "portcullis.dev/decision": "admitted"}),
        ("metadata.labels", {"portcullis.dev/ignore": "true"}),
        ("metadata.deletionTimestamp", "2026-11-24T11:00:00Z"),
        ("metadata.finalizers", []),
        ("status", {"phase": "Succeeded"}),
    ],
)
@pytest.mark.parametrize("being_deleted", [False, True])
def test_nothing_excuses_a_changed_image(path: str, value: Any, being_deleted: bool) -> None:
    """Threats: trusted owners, scale-downs, deletion timestamps and forged marks beside a changed image."""
    for old, new in ((deployment(), deployment("busybox:2")), (pod("busybox:1"), pod("busybox:2"))):
        if being_deleted:
            old["metadata"].update(DELETED)
            new["metadata"].update(DELETED)
        assert not is_unchanged(update(old, changed(new, path, value)))


def test_an_object_that_is_being_deleted_may_lose_its_finalizers() -> None:
    for old in (pod("busybox"), deployment()):
        old["metadata"].update(DELETED, finalizers=["x"])
        new = changed(changed(old, "metadata.finalizers", []), "metadata.annotations", {"a": "b"})
        assert is_unchanged(update(old, new))
        # a deletion timestamp that only the new object has is the requester's own word
        del old["metadata"]["deletionTimestamp"]
        if old["kind"] == "Pod":
            assert not is_unchanged(update(old, new))


@pytest.mark.parametrize("stamp", [None, "", False])
def test_no_deletion_timestamp(stamp: object) -> None:
    old = changed(pod("busybox"), "metadata.deletionTimestamp", stamp)
    assert not is_unchanged(update(old, changed(old, "metadata.labels", {"a": "b"})))


def test_only_updates_can_be_unchanged() -> None:
    judged = pod("busybox")
    assert is_unchanged(update(judged, judged))
    for operation in ("CREATE", "DELETE", "CONNECT"):
        assert not is_unchanged(update(judged, judged, operation=operation))
    assert not is_unchanged(request(judged, operation="UPDATE"))
    assert not is_unchanged(request(None, oldObject=judged, operation="UPDATE"))


def test_what_has_no_pod_or_cannot_be_read_is_not_unchanged() -> None:
    scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 1}}
    assert not is_unchanged(update(scale, scale))
    broken = {"kind": "Pod", "apiVersion": "v1", "spec": "x"}
    assert not is_unchanged(update(broken, broken))
    assert not is_unchanged(update({"kind": "ConfigMap", "apiVersion": "v1", "spec": {}}, pod("busybox")))


def read(path: Path) -> AdmissionRequest:
    return parse_review(path.read_bytes(), limits=DEFAULT_LIMITS, caller=Caller.PATH)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("deployment-update-replicas", True),
        ("deployment-update-image", False),
        ("pod-ephemeralcontainers-update", False),
    ],
)
def test_own_reviews(name: str, verdict: bool) -> None:
    assert is_unchanged(read(VECTORS / f"{name}.json")) is verdict


def test_reviews_of_a_real_api_server(shared_data: Path) -> None:
    """Of all of them, only the reports of controllers change nothing; creations are never unchanged."""
    paths = sorted((shared_data / "reviews").glob("*.json"))
    assert {path.stem for path in paths if is_unchanged(read(path))} == {
        "deployment-status-update",
        "replicaset-status-update",
    }


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1, True),
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        (1.5, 1.5, True),
        ("1", 1, False),
        (None, False, False),
        (None, {}, False),
        ([], {}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        ({"a": [{"b": True}]}, {"a": [{"b": 1}]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, True),
    ],
)
def test_same_is_strict_about_types(left: object, right: object, equal: bool) -> None:
    assert same(left, right) is equal
    assert same(right, left) is equal


def test_same_survives_depth() -> None:
    def deep(leaf: object) -> object:
        for _ in range(100_000):
            leaf = [leaf]
        return leaf

    left, right, other = deep(1), deep(1), deep(2)
    assert same(left, right)
    assert not same(left, other)
