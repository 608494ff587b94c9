"""The AdmissionRequest that a manifest stands for."""

from typing import Any

import pytest

from portcullis.cli.manifests import Manifest
from portcullis.cli.requests import plural, request_of
from portcullis.errors import ManifestError, ReviewError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller, Operation, UserInfo

USER = UserInfo(username="dana")


def request(obj: dict[str, Any], namespace: str = "") -> AdmissionRequest:
    return request_of(Manifest("a.yaml#0", "a.yaml", 1, obj), namespace=namespace, user=USER, limits=DEFAULT_LIMITS)


def test_a_creation_by_the_local_user() -> None:
    asked = request({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}, "shop")
    assert (asked.kind.group, asked.kind.version, asked.kind.kind) == ("apps", "v1", "Deployment")
    assert asked.resource.resource == "deployments"
    assert (asked.name, asked.namespace, asked.operation) == ("web", "shop", Operation.CREATE)
    assert (asked.user, asked.caller, asked.old_object, asked.dry_run) == (USER, Caller.LOCAL, None, False)


def test_raw_is_what_the_api_server_would_send() -> None:
    asked = request({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}})
    assert asked.raw["uid"] == asked.uid
    assert asked.raw["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert asked.raw["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert asked.raw["object"] == asked.object
    assert asked.raw["userInfo"]["username"] == "dana"
    assert asked.raw["operation"] == "CREATE"


@pytest.mark.parametrize(
    ("kind", "metadata", "chosen", "namespace"),
    [
        ("Pod", {"namespace": "own"}, "chosen", "own"),
        ("Pod", {}, "chosen", "chosen"),
        ("Pod", {}, "", "default"),
        ("ClusterRole", {}, "chosen", ""),
        ("Namespace", {"name": "shop"}, "chosen", "shop"),
    ],
)
def test_the_namespace_of_an_object(kind: str, metadata: dict[str, str], chosen: str, namespace: str) -> None:
    asked = request({"apiVersion": "v1", "kind": kind, "metadata": metadata}, chosen)
    assert asked.namespace == namespace
    assert asked.object is not None
    expected = {} if kind in ("ClusterRole", "Namespace") else {"namespace": namespace}
    assert asked.object["metadata"] == {**metadata, **expected}


def test_a_generated_name() -> None:
    assert request({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}}).name == "web-"


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("Pod", "pods"),
        ("Ingress", "ingresses"),
        ("NetworkPolicy", "networkpolicies"),
        ("Gateway", "gateways"),
        ("Endpoints", "endpoints"),
        ("StorageClass", "storageclasses"),
        ("DaemonSet", "daemonsets"),
    ],
)
def test_resources_of_kinds(kind: str, resource: str) -> None:
    assert plural(kind) == resource


@pytest.mark.parametrize("metadata", [[], "x", {"name": 5}, {"namespace": ["a"]}])
def test_metadata_that_is_none_is_refused(metadata: object) -> None:
    with pytest.raises(ManifestError):
        request({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})


def test_an_admission_review_is_taken_as_it_is() -> None:
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "web",
            "namespace": "shop",
            "operation": "DELETE",
            "userInfo": {"username": "someone"},
            "object": None,
            "oldObject": {"apiVersion": "v1", "kind": "Pod"},
        },
    }
    asked = request(review, "elsewhere")
    assert (asked.uid, asked.operation, asked.namespace) == ("u-1", Operation.DELETE, "shop")
    assert (asked.user.username, asked.caller) == ("someone", Caller.LOCAL)


def test_an_admission_review_that_is_none_is_refused() -> None:
    with pytest.raises(ReviewError):
        request({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {}})
