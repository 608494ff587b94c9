"""What is taken out of a request, and what is not."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.reviews import pod, request, update
from portcullis.admission.review import parse_review
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import LAST_APPLIED, REDACTED, Redactor
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller


def redact(asked: AdmissionRequest) -> AdmissionRequest:
    return Redactor()(asked).request


VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "reviews"


def redacted(judged: dict[str, Any]) -> Any:
    """The object after redaction; the original must be untouched, and a second time must change nothing."""
    before = copy.deepcopy(judged)
    made = redact(request(judged))
    assert judged == before
    assert made.raw["object"] is made.object
    assert redact(made) == made
    return made.object


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_no_secret_of_our_own_reviews_is_left(path: Path) -> None:
    made = redact(parse_review(path.read_bytes(), limits=DEFAULT_LIMITS, caller=Caller.PATH))
    for part in (made.raw, made.object, made.old_object):
        text = json.dumps(part)
        for secret in ("s3cret", "czNjcmV0", "managedFields"):
            assert secret not in text


def test_environment_values() -> None:
    env = [
        {"name": "TOKEN", "value": "s3cret"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "EMPTY", "value": ""},
        {"name": "NONE", "value": None},
        {"name": "ODD", "value": {"deep": "s3cret"}},
        {"name": "NUMBER", "value": 5},
    ]
    containers = [{"name": "a", "image": "x", "env": env, "args": ["--v=1"]}]
    result = redacted(pod(containers=containers, initContainers=containers, ephemeralContainers=containers))
    for key in ("containers", "initContainers", "ephemeralContainers"):
        assert result["spec"][key] == [
            {
                "name": "a",
                "image": "x",
                "args": ["--v=1"],
                "env": [
                    {"name": "TOKEN", "value": REDACTED},
                    env[1],
                    {"name": "EMPTY", "value": REDACTED},
                    {"name": "NONE", "value": None},
                    {"name": "ODD", "value": REDACTED},
                    {"name": "NUMBER", "value": REDACTED},
                ],
            }
        ]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"TOKEN": "s3cret", "N": 5, "B": True}, {"TOKEN": REDACTED, "N": REDACTED, "B": REDACTED}),
        ({"A": {"env": [{"value": "s3cret"}]}}, {"A": {"env": [{"value": REDACTED}]}}),
        (["TOKEN=s3cret=", "NAME"], [f"TOKEN={REDACTED}", REDACTED]),
        (
            [5, None, [{"value": "kept: no environment variable"}]],
            [5, None, [{"value": "kept: no environment variable"}]],
        ),
        ("production", "production"),
        (None, None),
        ([], []),
    ],
)
def test_environments_of_other_shapes(env: object, expected: object) -> None:
    custom = {"kind": "App", "apiVersion": "example.test/v1", "spec": {"deep": [{"er": {"env": env}}]}}
    assert redacted(custom)["spec"] == {"deep": [{"er": {"env": expected}}]}


def test_secrets() -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}, "type": "Opaque"}
    data = {"data": {"token": "czNjcmV0", "n": 1}, "stringData": {"plain": "s3cret"}}
    hidden = {"data": {"token": REDACTED, "n": REDACTED}, "stringData": {"plain": REDACTED}}
    assert redacted({**secret, **data}) == {**secret, **hidden}
    assert redacted({**secret, "data": None}) == {**secret, "data": None}
    assert redacted({**secret, "data": "s3cret", "stringData": ["s3cret"]}) == {
        **secret,
        "data": REDACTED,
        "stringData": REDACTED,
    }
    listed = {"kind": "List", "apiVersion": "v1", "items": [{**secret, **data}]}
    assert redacted(listed)["items"] == [{**secret, **hidden}]


def test_a_secret_without_its_own_kind_is_known_by_the_request() -> None:
    bare = {"data": {"token": "czNjcmV0"}}
    asked = request({"kind": "Secret", "apiVersion": "v1"})
    made = redact(replace(asked, object=bare, raw={**asked.raw, "object": bare}))
    assert made.object == made.raw["object"] == {"data": {"token": REDACTED}}


@pytest.mark.parametrize(("kind", "version"), [("ConfigMap", "v1"), ("Secret", "example.test/v1")])
def test_data_of_other_kinds_stays(kind: str, version: str) -> None:
    judged = {"kind": kind, "apiVersion": version, "data": {"a": "b"}}
    assert redacted(judged) == judged


def test_annotations_and_managed_fields() -> None:
    judged = pod("busybox")
    judged["metadata"].update(managedFields=[{"manager": "x"}], annotations={LAST_APPLIED: "s3cret", "note": "kept"})
    result = redacted(judged)
    assert result["metadata"] == {
        "name": "web",
        "namespace": "shop",
        "annotations": {LAST_APPLIED: REDACTED, "note": "kept"},
    }
    template = {"metadata": {"managedFields": 1, "annotations": {LAST_APPLIED: {"odd": 1}}}}
    assert redacted({"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"template": template}})["spec"] == {
        "template": {"metadata": {"annotations": {LAST_APPLIED: REDACTED}}}
    }


def test_both_objects() -> None:
    old = pod(containers=[{"name": "a", "env": [{"name": "A", "value": "old"}]}])
    new = pod(containers=[{"name": "a", "env": [{"name": "A", "value": "new"}]}])
    made = redact(update(old, new))
    assert made.object == made.old_object == made.raw["object"] == made.raw["oldObject"]
    assert made.object is not None
    assert made.object["spec"]["containers"][0]["env"] == [{"name": "A", "value": REDACTED}]


def test_only_what_changes_is_copied() -> None:
    judged = pod("busybox", volumes=[{"name": "v"}])
    made = redact(request(judged))
    assert made.object is judged
    judged["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
    made = redact(request(judged))
    assert made.object is not judged
    assert made.object is not None
    assert made.object["metadata"] is judged["metadata"]
    assert made.object["spec"]["volumes"] is judged["spec"]["volumes"]


def test_without_objects() -> None:
    made = redact(request(None, operation="DELETE", oldObject=pod("busybox")))
    assert made.object is None
    assert made.raw["object"] is None


def test_depth_is_no_danger() -> None:
    leaf: Any = {"env": [{"name": "A", "value": "s3cret"}]}
    for _ in range(50_000):
        leaf = {"a": [leaf]}
    made = redact(request({"kind": "App", "apiVersion": "example.test/v1", "spec": leaf}))
    assert made.object is not None
    node = made.object["spec"]
    while "env" not in node:
        node = node["a"][0]
    assert node == {"env": [{"name": "A", "value": REDACTED}]}


def test_the_images_of_real_reviews_stay(shared_data: Path) -> None:
    reader = WorkloadReader(limits=DEFAULT_LIMITS)
    for path in sorted((shared_data / "reviews").glob("*.json")):
        asked = parse_review(path.read_bytes(), limits=DEFAULT_LIMITS, caller=Caller.PATH)
        made = redact(asked)
        before, after = reader.read(asked), reader.read(made)
        assert [(one.path, one.image) for one in before.containers] == [
            (one.path, one.image) for one in after.containers
        ]
        assert redact(made) == made
        assert '"managedFields"' not in json.dumps(made.raw)
