"""The policy input of a case of a suite: gator's review of one object, and its inventory."""

from collections.abc import Iterable, Mapping
from typing import Any

ADMISSION_GROUP = "admission.k8s.io"


class CaseError(Exception):
    """The case cannot be run: what it gives is no object, or no AdmissionReview."""


def request_of(judged: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Gatekeeper makes of an object that a suite names: the AdmissionRequest in an AdmissionReview, or one around
    the object with empty fields. Source: pkg/target/target.go and pkg/gator/verify/runner.go.

    Raises:
        CaseError
    """
    group, version, kind = group_version_kind(judged)
    if kind != "AdmissionReview" or group != ADMISSION_GROUP:
        metadata = judged.get("metadata") or {}
        request = {
            "uid": "",
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": "", "version": "", "resource": ""},
            "operation": "",
            "userInfo": {},
            "object": judged,
            "oldObject": None,
            "options": None,
        }
        named = {key: metadata.get(key) for key in ("name", "namespace") if metadata.get(key)}
        return {**request, **named}
    given = judged.get("request")
    if not isinstance(given, dict):
        raise CaseError("the AdmissionReview has no request")
    review: dict[str, Any] = {"object": None, "oldObject": None, **given}
    for key in ("object", "oldObject"):
        if not isinstance(review[key], dict | None):
            raise CaseError(f"the {key} of the AdmissionReview is no object")
        if review[key] is not None:
            group_version_kind(review[key], versioned=False)
    if review["object"] is None and review["oldObject"] is None:
        raise CaseError("the AdmissionReview has neither object nor oldObject")
    if review.get("operation") == "DELETE" and review["oldObject"] is None:
        raise CaseError("the AdmissionReview of a DELETE has no oldObject")
    return review


def group_version_kind(judged: Mapping[str, Any], *, versioned: bool = True) -> tuple[str, str, str]:
    """Raises CaseError where the object does not say what it is."""
    api_version, kind = judged.get("apiVersion", ""), judged.get("kind")
    if not isinstance(kind, str) or not kind or not isinstance(api_version, str) or (versioned and not api_version):
        raise CaseError("an object has no apiVersion and kind")
    if not isinstance(judged.get("metadata", {}), dict | None):
        raise CaseError("the metadata of an object is no object")
    group, _, version = api_version.rpartition("/")
    return group, version, kind


def inventory_of(objects: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """``data.inventory`` as Gatekeeper lays it out: ``cluster[groupVersion][kind][name]`` and
    ``namespace[namespace][groupVersion][kind][name]``.

    Raises:
        CaseError
    """
    inventory: dict[str, Any] = {"cluster": {}, "namespace": {}}
    for one in objects:
        _, _, kind = group_version_kind(one)
        metadata = one.get("metadata") or {}
        name, namespace = str(metadata.get("name", "")), metadata.get("namespace")
        place = inventory["namespace"].setdefault(str(namespace), {}) if namespace else inventory["cluster"]
        place.setdefault(one["apiVersion"], {}).setdefault(kind, {})[name] = one
    return inventory


def namespace_of(request: Mapping[str, Any], inventory: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request's namespace as the policy input has it, with its labels where the inventory has the Namespace."""
    name = str(request.get("namespace") or "")
    known = inventory["cluster"].get("v1", {}).get("Namespace", {}).get(name)
    if known is None:
        return {"name": name}
    metadata = known.get("metadata") or {}
    return {
        "name": name,
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
    }
