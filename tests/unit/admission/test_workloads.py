"""Which images an object makes a node pull."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.reviews import pod, request
from portcullis.admission.review import parse_review
from portcullis.admission.workloads import POD_SPEC_PATHS, CustomKind, WorkloadReader
from portcullis.errors import ConfigError, WorkloadError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.workload import ContainerKind, Workload

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "reviews"
READER = WorkloadReader(limits=DEFAULT_LIMITS)

BUILT_IN = [
    ("v1", "Pod", ["spec"]),
    ("v1", "ReplicationController", ["spec", "template", "spec"]),
    ("v1", "PodTemplate", ["template", "spec"]),
    ("apps/v1", "Deployment", ["spec", "template", "spec"]),
    ("apps/v1beta2", "Deployment", ["spec", "template", "spec"]),
    ("apps/v1", "ReplicaSet", ["spec", "template", "spec"]),
    ("apps/v1", "StatefulSet", ["spec", "template", "spec"]),
    ("apps/v1", "DaemonSet", ["spec", "template", "spec"]),
    ("batch/v1", "Job", ["spec", "template", "spec"]),
    ("batch/v1", "CronJob", ["spec", "jobTemplate", "spec", "template", "spec"]),
    ("batch/v1beta1", "CronJob", ["spec", "jobTemplate", "spec", "template", "spec"]),
]


def vector(name: str) -> AdmissionRequest:
    return parse_review((VECTORS / f"{name}.json").read_bytes(), limits=DEFAULT_LIMITS, caller=Caller.PATH)


def carrier(api_version: str, kind: str, path: Sequence[str], spec: object) -> dict[str, Any]:
    """An object of that kind with ``spec`` at ``path`` and pod metadata beside it."""
    node: Any = spec
    for depth, key in enumerate(reversed(path)):
        node = {key: node}
        if depth == 0:
            node["metadata"] = {"labels": {"of": "pod"}}
    node["metadata"] = {**node.get("metadata", {}), "name": "web", "namespace": "shop"}
    return {"apiVersion": api_version, "kind": kind, **node}


def images(workload: Workload) -> list[tuple[str, str, str, str]]:
    return [(one.kind.value, one.name, one.path, one.image) for one in workload.containers]


FULL_SPEC = {
    "containers": [{"name": "a", "image": "i/a"}, {"name": "b", "image": "i/b"}],
    "initContainers": [{"name": "c", "image": "i/c", "restartPolicy": "Always"}],
    "ephemeralContainers": [{"name": "d", "image": "i/d"}],
    "volumes": [
        {"name": "e", "emptyDir": {}},
        {"name": "f", "image": {"reference": "i/f"}},
        {"name": "g", "image": None},
    ],
}


@pytest.mark.parametrize(("api_version", "kind", "path"), BUILT_IN, ids=str)
def test_every_kind_and_every_place(api_version: str, kind: str, path: list[str]) -> None:
    workload = READER.read(request(carrier(api_version, kind, path, FULL_SPEC)))
    prefix = ".".join(path)
    assert images(workload) == [
        ("container", "a", f"{prefix}.containers[0]", "i/a"),
        ("container", "b", f"{prefix}.containers[1]", "i/b"),
        ("init", "c", f"{prefix}.initContainers[0]", "i/c"),
        ("ephemeral", "d", f"{prefix}.ephemeralContainers[0]", "i/d"),
        ("volume", "f", f"{prefix}.volumes[1]", "i/f"),
    ]
    assert (workload.kind, workload.api_version) == (kind, api_version)
    assert workload.pod_spec == FULL_SPEC
    assert workload.pod_metadata is not None
    assert workload.pod_metadata["labels"] == {"of": "pod"}
    assert workload.containers[0].spec == {"name": "a", "image": "i/a"}
    assert workload.containers[-1].spec == {"name": "f", "image": {"reference": "i/f"}}


def test_the_table_above_is_the_whole_table() -> None:
    listed = {(version.rpartition("/")[0], kind) for version, kind, _ in BUILT_IN}
    assert listed == POD_SPEC_PATHS.keys()


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("pod-create", "Pod", ["web:1.4", "busybox", "prepare:1.0", "model:v3"]),
        ("pod-ephemeralcontainers-update", "Pod", ["web:1.4", "busybox", "prepare:1.0", "debugger:latest", "model:v3"]),
        ("cronjob-create", "CronJob", ["job@sha256:" + "ab" * 32]),
        ("deployment-update-image", "Deployment", ["web:1.5"]),
        ("deployment-scale-update", "Scale", None),
        ("pod-exec-connect", "PodExecOptions", None),
        ("pod-delete", "Pod", None),
        ("secret-create", "Secret", None),
    ],
)
def test_own_reviews(name: str, kind: str, expected: list[str] | None) -> None:
    workload = READER.read(vector(name))
    assert (workload.kind, workload.namespace, workload.name) == (kind, "shop", "web")
    assert (workload.pod_spec is None) is (expected is None)
    assert (workload.pod_metadata is None) is (expected is None)
    assert [one.image.rpartition("/")[2] for one in workload.containers] == (expected or [])


def test_reviews_of_a_real_api_server(shared_data: Path) -> None:
    """Compared with every ``image`` and ``reference`` in the object, however it is nested."""
    without_pod = {"Scale", "Binding", "Eviction", "PodExecOptions", "PodAttachOptions"}
    paths = sorted((shared_data / "reviews").glob("*.json"))
    seen = set()
    for path in paths:
        made = parse_review(path.read_bytes(), limits=DEFAULT_LIMITS, caller=Caller.PATH)
        workload = READER.read(made)
        found: list[str] = []
        stack: list[Any] = [made.object and made.object.get("spec"), made.object and made.object.get("template")]
        while stack:
            node = stack.pop()
            if isinstance(node, dict):
                found += [node[key] for key in ("image", "reference") if isinstance(node.get(key), str)]
                stack.extend(node.values())
            elif isinstance(node, list):
                stack.extend(node)
        assert sorted(one.image for one in workload.containers) == sorted(found), path.name
        assert (workload.pod_spec is None) is (workload.kind in without_pod or made.object is None), path.name
        assert workload.name == made.name
        assert workload.namespace == "rv"
        seen.add(workload.kind)
    assert seen == {kind for _, kind in POD_SPEC_PATHS} | without_pod


def test_names() -> None:
    generated = pod("busybox")
    generated["metadata"] = {"generateName": "web-"}
    assert READER.read(request(generated, name="web-x7k2")).name == "web-x7k2"
    assert READER.read(request(generated, name="")).name == "web-"
    named = pod("busybox")
    named["metadata"] = {"name": "db", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    workload = READER.read(request(named, name=""))
    assert (workload.name, workload.labels, workload.annotations) == ("db", {"a": "b"}, {"c": "d"})


def test_a_namespace_is_what_the_api_server_says() -> None:
    forged = pod("busybox")
    forged["metadata"]["namespace"] = "kube-system"
    assert READER.read(request(forged)).namespace == "shop"


def test_a_deleted_object_gives_name_and_labels() -> None:
    old = pod("busybox")
    old["metadata"]["labels"] = {"keep": "me"}
    workload = READER.read(request(None, oldObject=old, operation="DELETE"))
    assert (workload.name, workload.labels, workload.pod_spec) == ("web", {"keep": "me"}, None)


def test_an_image_that_is_not_there_is_kept_as_the_empty_text() -> None:
    spec: dict[str, Any] = {
        "containers": [{"name": "a"}, {"name": "b", "image": None}, {"image": ""}],
        "volumes": [{"name": "v", "image": {}}],
    }
    workload = READER.read(request(carrier("apps/v1", "Deployment", ["spec", "template", "spec"], spec)))
    assert [(one.name, one.image) for one in workload.containers] == [("a", ""), ("b", ""), ("", ""), ("v", "")]


@pytest.mark.parametrize("template", [{}, {"template": None}])
def test_a_replication_controller_may_have_no_template(template: dict[str, Any]) -> None:
    controller = {
        "kind": "ReplicationController",
        "apiVersion": "v1",
        "metadata": {},
        "spec": {"replicas": 0, **template},
    }
    assert READER.read(request(controller)).pod_spec is None


# -- refusing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        (None, "spec.template.spec is missing or null, not an object"),
        ("x", "spec.template.spec is a string, not an object"),
        ([], "spec.template.spec is a list, not an object"),
        ({}, "spec.template.spec.containers is missing or null, not a list"),
        ({"containers": None}, "spec.template.spec.containers is missing or null, not a list"),
        ({"Containers": [{"image": "x"}]}, "spec.template.spec.containers is missing or null, not a list"),
        ({"containers": {"a": {"image": "x"}}}, "spec.template.spec.containers is an object, not a list"),
        ({"containers": ["busybox"]}, "spec.template.spec.containers[0] is a string, not an object"),
        ({"containers": [{"image": "x"}, None]}, "spec.template.spec.containers[1] is missing or null, not an object"),
        ({"containers": [{"image": 5}]}, "spec.template.spec.containers[0].image is a number, not a string"),
        ({"containers": [{"image": True}]}, "spec.template.spec.containers[0].image is a boolean, not a string"),
        ({"containers": [{"image": ["x"]}]}, "spec.template.spec.containers[0].image is a list, not a string"),
        ({"containers": [{"name": {}}]}, "spec.template.spec.containers[0].name is an object, not a string"),
        ({"containers": [], "initContainers": {}}, "spec.template.spec.initContainers is an object, not a list"),
        ({"containers": [], "ephemeralContainers": "x"}, "spec.template.spec.ephemeralContainers is a string"),
        ({"containers": [], "volumes": {}}, "spec.template.spec.volumes is an object, not a list"),
        ({"containers": [], "volumes": [1]}, "spec.template.spec.volumes[0] is a number, not an object"),
        ({"containers": [], "volumes": [{"image": "x"}]}, "spec.template.spec.volumes[0].image is a string"),
        (
            {"containers": [], "volumes": [{"image": {"reference": 1}}]},
            "spec.template.spec.volumes[0].image.reference is a number, not a string",
        ),
    ],
)
def test_a_pod_spec_of_a_wrong_shape_names_its_path(spec: object, where: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        READER.read(request(carrier("apps/v1", "Deployment", ["spec", "template", "spec"], spec)))
    assert where in caught.value.message


SPEC: dict[str, Any] = {"spec": {"template": {"spec": {"containers": []}}}}


@pytest.mark.parametrize(
    ("judged", "where"),
    [
        ({}, "spec is missing"),
        ({"spec": 1}, "spec is a number"),
        ({"spec": {}}, "spec.template is missing"),
        ({"spec": {"template": []}}, "spec.template is a list"),
        ({"spec": {"template": {"spec": {"containers": []}, "metadata": 1}}}, "spec.template.metadata is a number"),
        ({**SPEC, "metadata": []}, "metadata is a list"),
        ({**SPEC, "metadata": {"labels": []}}, "metadata.labels is a list"),
        ({**SPEC, "metadata": {"annotations": "x"}}, "metadata.annotations is a string"),
        ({**SPEC, "metadata": {"name": 5}}, "metadata.name is a number"),
    ],
)
def test_an_object_of_a_wrong_shape_names_its_path(judged: dict[str, Any], where: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        READER.read(request({"kind": "Deployment", "apiVersion": "apps/v1", **judged}))
    assert where in caught.value.message


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "CONNECT"])
def test_a_pod_without_object_is_only_for_delete(operation: str) -> None:
    with pytest.raises(WorkloadError, match="no object"):
        READER.read(request(None, operation=operation))


@pytest.mark.parametrize(
    "kind",
    [
        {"group": "", "version": "v1", "kind": "ConfigMap"},
        {"group": "example.test", "version": "v1", "kind": "Pod"},
    ],
)
def test_a_pod_cannot_hide_behind_another_kind(kind: dict[str, str]) -> None:
    with pytest.raises(WorkloadError, match="the request says"):
        READER.read(request(pod("busybox"), kind=kind))


def test_an_object_that_does_not_name_its_kind_is_of_the_kind_of_the_request() -> None:
    judged = pod("busybox")
    del judged["kind"], judged["apiVersion"]
    asked = {"group": "", "version": "v1", "kind": "Pod"}
    made = replace(request(pod("busybox"), kind=asked), object=judged)
    assert [one.image for one in READER.read(made).containers] == ["busybox"]


def test_limit_containers() -> None:
    reader = WorkloadReader(limits=replace(DEFAULT_LIMITS, containers=3))
    volume = {"name": "v", "image": {"reference": "x"}}
    init = {"name": "i", "image": "x"}
    assert len(reader.read(request(pod("a", initContainers=[init], volumes=[volume]))).containers) == 3
    for spec in ({"volumes": [volume, volume]}, {"initContainers": [init, init], "volumes": [volume]}):
        with pytest.raises(WorkloadError, match=r"limits\.containers"):
            reader.read(request(pod("a", "b", **spec)))


# -- custom resources ----------------------------------------------------------------------------------------


def test_a_configured_kind() -> None:
    path = ("spec", "workers", "template", "spec")
    reader = WorkloadReader(custom=[CustomKind("ml.example.test", "Training", path)], limits=DEFAULT_LIMITS)
    judged = carrier("ml.example.test/v1alpha1", "Training", path, FULL_SPEC)
    workload = reader.read(request(judged))
    assert len(workload.containers) == 5
    assert workload.containers[0].path == "spec.workers.template.spec.containers[0]"
    assert workload.pod_metadata == {"labels": {"of": "pod"}}
    # the same kind where nobody configured it carries no pod that is known of
    assert READER.read(request(judged)).pod_spec is None
    with pytest.raises(WorkloadError, match=r"spec\.workers is missing"):
        reader.read(request({**judged, "spec": {}}))


def test_a_configured_path_that_does_not_end_in_spec_has_no_pod_metadata() -> None:
    custom = CustomKind("example.test", "App", ("spec", "pod"))
    reader = WorkloadReader(custom=[custom], limits=DEFAULT_LIMITS)
    judged = {"apiVersion": "example.test/v1", "kind": "App", "metadata": {"name": "x"}, "spec": {"pod": FULL_SPEC}}
    workload = reader.read(request(judged))
    assert (workload.pod_metadata, workload.pod_spec) == ({}, FULL_SPEC)


def test_a_configured_version() -> None:
    custom = [
        CustomKind("example.test", "App", ("spec", "pod"), "v1"),
        CustomKind("example.test", "App", ("spec", "template", "spec"), "v2"),
    ]
    reader = WorkloadReader(custom=custom, limits=DEFAULT_LIMITS)
    spec = {"containers": [{"image": "x"}]}
    for version, inner in (("v1", {"pod": spec}), ("v2", {"template": {"spec": spec}})):
        judged = {"apiVersion": f"example.test/{version}", "kind": "App", "spec": inner}
        assert [one.kind for one in reader.read(request(judged)).containers] == [ContainerKind.CONTAINER]
    with pytest.raises(WorkloadError, match="'v3' of App"):
        reader.read(request({"apiVersion": "example.test/v3", "kind": "App", "spec": {"pod": spec}}))


@pytest.mark.parametrize(
    "custom",
    [
        [CustomKind("apps", "Deployment", ("spec",))],
        [CustomKind("example.test", "App", ())],
        [CustomKind("example.test", "App", ("spec", ""))],
        [CustomKind("example.test", "App", ("a",)), CustomKind("example.test", "App", ("b",))],
        [CustomKind("example.test", "App", ("a",), "v1"), CustomKind("example.test", "App", ("b",))],
        [CustomKind("example.test", "App", ("a",)), CustomKind("example.test", "App", ("b",), "v1")],
    ],
)
def test_configured_kinds_that_cannot_be(custom: list[CustomKind]) -> None:
    with pytest.raises(ConfigError):
        WorkloadReader(custom=custom, limits=DEFAULT_LIMITS)
