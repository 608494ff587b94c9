"""What is pinned, where, and by which patch."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fakes.jsonpatch import applied
from fakes.reviews import pod, request, update
from portcullis.admission.pinning import ANNOTATION, ANNOTATIONS_BYTES, MIRROR, Pins, find, patch, pointer
from portcullis.admission.workloads import CustomKind, WorkloadReader
from portcullis.errors import WorkloadError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.request import AdmissionRequest

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
READER = WorkloadReader(
    custom=(CustomKind("argoproj.io", "Rollout", ("spec", "template", "spec")), CustomKind("x.io", "Bare", ("pod",))),
    limits=DEFAULT_LIMITS,
)
JSON = dict[str, Any]


def pins_of(asked: AdmissionRequest, *, owners: bool = True) -> Pins:
    return find(asked, READER, owners=owners)


def pinned(asked: AdmissionRequest, digest: str = ONE, *, owners: bool = True) -> Any:
    """The object as the API server has it afterwards."""
    pins = pins_of(asked, owners=owners)
    return applied(asked.object, patch(pins, {text: f"{text}@{digest}" for text in pins.texts}))


def owner(kind: str, spec: JSON, api: str = "apps/v1", metadata: JSON | None = None, **more: Any) -> JSON:
    template = {"spec": spec} if metadata is None else {"metadata": metadata, "spec": spec}
    return {"kind": kind, "apiVersion": api, "metadata": {"name": "web", **more}, "spec": {"template": template}}


def test_a_pod_gets_the_digest_of_every_tag_and_says_what_was_written() -> None:
    volume = {"name": "c0", "image": {"reference": "registry.example/model:3"}}
    made = pod(
        "registry.example/web:1",
        f"registry.example/tool@{TWO}",
        "busybox",
        f"registry.example/old:1@{TWO}",
        initContainers=[{"name": "first", "image": "localhost:5000/init:2"}],
        ephemeralContainers=[{"name": "debug", "image": "[::1]:5000/debug:2"}],
        volumes=[{"name": "data", "emptyDir": {}}, volume],
    )
    asked = request(made)
    assert patch(pins_of(asked), {"busybox": f"busybox@{ONE}"}) == [
        {"op": "replace", "path": "/spec/containers/2/image", "value": f"busybox@{ONE}"},
        {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: '{"c2":"busybox"}'}},
    ]
    after = pinned(asked)
    spec = after["spec"]
    assert [one["image"] for one in spec["containers"]] == [
        f"registry.example/web:1@{ONE}",
        f"registry.example/tool@{TWO}",
        f"busybox@{ONE}",
        f"registry.example/old:1@{TWO}",
    ]
    assert spec["initContainers"] == [{"name": "first", "image": f"localhost:5000/init:2@{ONE}"}]
    assert spec["ephemeralContainers"] == [{"name": "debug", "image": f"[::1]:5000/debug:2@{ONE}"}]
    assert spec["volumes"][1] == {"name": "c0", "image": {"reference": f"registry.example/model:3@{ONE}"}}
    assert json.loads(after["metadata"]["annotations"][ANNOTATION]) == {
        "c0": "registry.example/web:1",
        "c2": "busybox",
        "first": "localhost:5000/init:2",
        "debug": "[::1]:5000/debug:2",
        "volumes/c0": "registry.example/model:3",
    }
    # To pin twice is to pin once.
    assert pins_of(request(after)) == Pins()


SPEC: JSON = {"containers": [{"name": "web", "image": "web:1"}]}
TEMPLATE = "/spec/template"


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (owner("Deployment", SPEC), TEMPLATE),
        (owner("ReplicaSet", SPEC), TEMPLATE),
        (owner("StatefulSet", SPEC), TEMPLATE),
        (owner("DaemonSet", SPEC), TEMPLATE),
        (owner("Job", SPEC, "batch/v1"), TEMPLATE),
        (owner("ReplicationController", SPEC, "v1"), TEMPLATE),
        (owner("Rollout", SPEC, "argoproj.io/v1alpha1"), TEMPLATE),
        ({"kind": "PodTemplate", "apiVersion": "v1", "metadata": {}, "template": {"spec": SPEC}}, "/template"),
        (
            {
                "kind": "CronJob",
                "apiVersion": "batch/v1",
                "metadata": {},
                "spec": {"jobTemplate": {"spec": {"template": {"spec": SPEC}}}},
            },
            "/spec/jobTemplate/spec/template",
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_templates_are_pinned_where_owners_are(made: JSON, where: str) -> None:
    asked = request(made)
    assert patch(pins_of(asked), {"web:1": f"web:1@{ONE}"}) == [
        {"op": "replace", "path": f"{where}/spec/containers/0/image", "value": f"web:1@{ONE}"},
        {"op": "add", "path": f"{where}/metadata", "value": {"annotations": {ANNOTATION: '{"web":"web:1"}'}}},
    ]
    assert pins_of(request(pinned(asked))) == Pins()
    assert pins_of(asked, owners=False) == Pins()


def test_a_pod_spec_without_a_place_for_annotations_gets_none() -> None:
    made = {"kind": "Bare", "apiVersion": "x.io/v1", "metadata": {}, "pod": SPEC}
    steps = patch(pins_of(request(made)), {"web:1": f"web:1@{ONE}"})
    assert [step["path"] for step in steps] == ["/pod/containers/0/image"]


@pytest.mark.parametrize(
    ("metadata", "path", "value"),
    [
        (None, "/metadata", {"annotations": {ANNOTATION: '{"c0":"web:1"}'}}),
        ({}, "/metadata/annotations", {ANNOTATION: '{"c0":"web:1"}'}),
        ({"annotations": None}, "/metadata/annotations", {ANNOTATION: '{"c0":"web:1"}'}),
        ({"annotations": {}}, "/metadata/annotations/portcullis.dev~1pinned-images", '{"c0":"web:1"}'),
        ({"annotations": {"a/b~c": "d"}}, "/metadata/annotations/portcullis.dev~1pinned-images", '{"c0":"web:1"}'),
    ],
)
def test_where_the_annotation_goes(metadata: JSON | None, path: str, value: Any) -> None:
    made = {**pod("web:1"), "metadata": metadata}
    *_, step = patch(pins_of(request(made)), {"web:1": f"web:1@{ONE}"})
    assert (step["path"], step["value"]) == (path, value)
    assert applied(made, [step])["metadata"]["annotations"][ANNOTATION] == '{"c0":"web:1"}'


def annotated(made: JSON, text: Any, **others: str) -> JSON:
    return {**made, "metadata": {**made["metadata"], "annotations": {ANNOTATION: text, **others}}}


@pytest.mark.parametrize(
    ("stands", "expected"),
    [
        ("", {"c1": "b:1"}),
        ("no JSON", {"c1": "b:1"}),
        ("[" * 100_000, {"c1": "b:1"}),
        ('{"c0": 1}', {"c1": "b:1"}),
        ('{"c0": "a:1"}', {"c0": "a:1", "c1": "b:1"}),
        ('{"c0": "a:2", "c1": "c:1", "gone": "d:1"}', {"c1": "b:1"}),
        (1, {"c1": "b:1"}),
    ],
)
def test_what_still_holds_of_an_annotation_stays_and_the_rest_goes(stands: Any, expected: Mapping[str, str]) -> None:
    """As when an injector adds a container to a pod that is pinned already."""
    after = pinned(request(annotated(pod(f"a:1@{TWO}", "b:1"), stands)))
    assert json.loads(after["metadata"]["annotations"][ANNOTATION]) == expected


def test_an_annotation_for_which_there_is_no_room_is_left_out() -> None:
    """The API server would refuse the object. One byte fewer, and it is there."""
    text = '{"c0":"web:1"}'
    room = ANNOTATIONS_BYTES - len(ANNOTATION) - len(text)
    for size, steps in ((room, 2), (room + 1, 1)):
        made = pod("web:1")
        made["metadata"]["annotations"] = {"é": "x" * (size - 2)}
        assert len(patch(pins_of(request(made)), {"web:1": f"web:1@{ONE}"})) == steps


CONTROLLED: JSON = {"ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "u", "controller": True}]}
OWNED: JSON = {"ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "u"}]}


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (request(pod("")), 0),
        (request(pod(f"web@{ONE}")), 0),
        (request(pod("web@sha256:abc")), 0),
        (request(None, oldObject=pod("web:1"), operation="DELETE"), 0),
        (request(pod("web:1"), operation="CONNECT"), 0),
        (update(pod("web:1"), pod("web:2"), subResource="status"), 0),
        (update(pod("web:1"), pod("web:2"), subResource="resize"), 0),
        (request({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 1}}), 0),
        (request({"kind": "ReplicationController", "apiVersion": "v1", "spec": {}}), 0),
        (request(owner("ReplicaSet", SPEC, **CONTROLLED)), 0),
        (request(owner("Job", SPEC, "batch/v1", **CONTROLLED)), 0),
        (request(owner("ReplicaSet", SPEC, **OWNED)), 1),
        (request({**pod("web:1"), "metadata": CONTROLLED}), 1),
        (request({**pod("web:1"), "metadata": {"annotations": {MIRROR: "x"}}}), 0),
        (request(owner("Deployment", SPEC, metadata={"annotations": {MIRROR: "x"}})), 1),
    ],
)
def test_what_is_left_as_it_is(asked: AdmissionRequest, count: int) -> None:
    assert len(pins_of(asked).places) == count


@pytest.mark.parametrize(
    ("old", "new", "expected", "asked_for"),
    [
        ("web:1", "web:1", "web:1", 0),
        ("web:1", "web:2", f"web:2@{ONE}", 1),
        (f"web:1@{TWO}", "web:1", f"web:1@{TWO}", 0),
        (f"web:1@{TWO}", "web:2", f"web:2@{ONE}", 1),
        (f"web:1@{TWO}", f"web:1@{ONE}", f"web:1@{ONE}", 0),
        ("web:1@sha256:abc", "web:1", f"web:1@{ONE}", 1),
        (f"web:1@{TWO}@{TWO}", "web:1", f"web:1@{ONE}", 1),
        (f"web@{TWO}", "web:1", f"web:1@{ONE}", 1),
        (f"web:1@{TWO}", "web", f"web@{ONE}", 1),
    ],
)
@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_an_update(kind: str, old: str, new: str, expected: str, asked_for: int) -> None:
    """What is as it was stays; the same text as before keeps the digest that it had."""

    def made(image: str) -> JSON:
        spec = {"containers": [{"name": "web", "image": image}]}
        return owner("Deployment", spec) if kind == "Deployment" else {**pod(), "spec": spec}

    asked = update(made(old), made(new))
    assert len(pins_of(asked).texts) == asked_for
    after = pinned(asked)
    spec = after["spec"] if kind == "Pod" else after["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == expected


def test_to_replace_what_is_pinned_by_its_manifest_changes_nothing() -> None:
    manifest = owner("Deployment", {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]})
    stored = pinned(request(manifest))
    assert pinned(update(stored, manifest), TWO) == stored
    assert pins_of(update(stored, manifest)).texts == ()


def test_a_place_is_known_by_its_name_and_not_by_its_number() -> None:
    old = {**pod(), "spec": {"containers": [{"name": "a", "image": f"a:1@{TWO}"}, {"name": "b", "image": "b:1"}]}}
    new = {**pod(), "spec": {"containers": [{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}]}}
    images = [one["image"] for one in pinned(update(old, new))["spec"]["containers"]]
    assert images == ["b:1", f"a:1@{TWO}"]


def test_an_ephemeral_container_is_pinned_and_those_before_it_stay() -> None:
    """And no annotation is written: the API server takes nothing but these containers by that way."""
    old = pod("web:1", ephemeralContainers=[{"name": "first", "image": "debug:1"}])
    new = pod("web:1", ephemeralContainers=[*old["spec"]["ephemeralContainers"], {"name": "next", "image": "debug:1"}])
    steps = patch(pins_of(update(old, new, subResource="ephemeralcontainers")), {"debug:1": f"debug:1@{ONE}"})
    assert steps == [{"op": "replace", "path": "/spec/ephemeralContainers/1/image", "value": f"debug:1@{ONE}"}]


def test_what_has_no_digest_stays_as_it_is() -> None:
    pins = pins_of(request(pod("a:1", "b:1")))
    steps = patch(pins, {"b:1": f"b:1@{ONE}"})
    assert [step["path"] for step in steps] == ["/spec/containers/1/image", "/metadata/annotations"]
    assert steps[1]["value"] == {ANNOTATION: '{"c1":"b:1"}'}
    assert patch(pins, {}) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request({**pod("web:1"), "spec": []}), "spec is a list"),
        (request({**pod("web:1"), "metadata": {"annotations": []}}), "annotations beside spec are no object"),
        (request(pod(1)), "image is a number"),  # type: ignore[arg-type]
        (update({**pod("web:1"), "spec": 1}, pod("web:2")), "spec is a number"),
    ],
)
def test_what_is_not_as_its_kind_says(asked: AdmissionRequest, words: str) -> None:
    with pytest.raises(WorkloadError, match=words):
        pins_of(asked)


def test_too_many_containers() -> None:
    reader = WorkloadReader(limits=Limits(containers=1))
    with pytest.raises(WorkloadError, match=r"limits\.containers"):
        find(request(pod("a:1", "b:1")), reader, owners=False)


def test_pointers_escape_what_they_must() -> None:
    assert pointer(["a/b", "c~d", 0, "~1"]) == "/a~1b/c~0d/0/~01"
