"""Makes AdmissionReviews and AdmissionRequests for tests, in the shape the API server sends."""

from collections.abc import Mapping
from typing import Any

from portcullis.model.request import (
    AdmissionRequest,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)

UID = "6d1f2b8e-1111-4222-8333-444455556666"


def pod(*images: str, **spec: Any) -> dict[str, Any]:
    """A Pod with one container per image, called c0, c1 …; ``spec`` goes into its pod spec."""
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    metadata = {"name": "web", "namespace": "shop"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": containers, **spec}}


def review(judged: Mapping[str, Any] | None, **request: Any) -> dict[str, Any]:
    """An AdmissionReview of the creation of ``judged``; ``request`` replaces fields of the request."""
    described = judged or request.get("oldObject") or {"kind": "Pod", "apiVersion": "v1"}
    group, _, version = described["apiVersion"].rpartition("/")
    kind = described["kind"]
    fields = {
        "uid": UID,
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": f"{kind.lower()}s"},
        "name": "web",
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "ada@example.test", "groups": ["developers"]},
        "object": judged,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {**fields, **request}}


def request(judged: Mapping[str, Any] | None, **changes: Any) -> AdmissionRequest:
    """The request of :func:`review`, without going through JSON."""
    raw = review(judged, **changes)["request"]
    return AdmissionRequest(
        uid=raw["uid"],
        kind=GroupVersionKind(**raw["kind"]),
        resource=GroupVersionResource(**raw["resource"]),
        sub_resource=raw.get("subResource", ""),
        name=raw["name"],
        namespace=raw["namespace"],
        operation=Operation(raw["operation"]),
        user=UserInfo(raw["userInfo"]["username"], groups=tuple(raw["userInfo"]["groups"])),
        object=raw["object"],
        old_object=raw["oldObject"],
        dry_run=raw["dryRun"],
        raw=raw,
    )


def update(old: Mapping[str, Any], new: Mapping[str, Any], **changes: Any) -> AdmissionRequest:
    """The request of an update from ``old`` to ``new``."""
    return request(new, **{"oldObject": old, "operation": "UPDATE", **changes})
