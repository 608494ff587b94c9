"""The joint of the API server's audit log with ours finds what is missing."""

from typing import Any

import pytest

from e2e.cluster.gate import WEBHOOK, unmatched

RULES = [
    {"apiGroups": [""], "resources": ["pods", "pods/ephemeralcontainers"]},
    {"apiGroups": ["apps"], "resources": ["deployments"]},
]
IDS = {"d-1", "d-2"}


def event(decision: str | None = "d-1", **fields: Any) -> dict[str, Any]:
    """A pod was created, and we have the record."""
    made: dict[str, Any] = {
        "verb": "create",
        "requestURI": "/api/v1/namespaces/shop/pods",
        "objectRef": {"resource": "pods", "namespace": "shop", "apiVersion": "v1"},
        "responseStatus": {"code": 201},
        "user": {"username": "jane"},
        "annotations": {f"{WEBHOOK}/decision-id": decision} if decision is not None else {},
    }
    return {**made, **fields}


def status(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}


def about(resource: str, sub: str = "", group: str = "", namespace: str = "shop") -> dict[str, Any]:
    return {"resource": resource, "subresource": sub, "apiGroup": group, "namespace": namespace}


@pytest.mark.parametrize(
    "found",
    [
        event(None),
        event("d-3"),
        event(None, verb="patch", responseStatus={"code": 200}),
        event(None, objectRef=about("pods", "ephemeralcontainers")),
        event(None, objectRef=about("deployments", group="apps"), verb="update"),
        # Admitted because the webhook was not there and failurePolicy is Ignore.
        event(None, annotations={"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK}),
        event(None, responseStatus=status(500, f'failed calling webhook "{WEBHOOK}": connection refused')),
        event(None, responseStatus=status(403, f'admission webhook "{WEBHOOK}" denied the request')),
        event(None, responseStatus=status(504, "timeout")),
    ],
)
def test_a_request_without_its_record_is_found(found: dict[str, Any]) -> None:
    (line,) = unmatched([event(), found, event("d-2")], IDS, RULES, ["kube-system"])
    assert '"username": "jane"' in line


@pytest.mark.parametrize(
    "found",
    [
        event("d-2"),
        event(None, objectRef=about("pods", namespace="kube-system")),
        event(None, objectRef=about("pods", "status")),
        event(None, objectRef=about("pods", "binding")),
        event(None, objectRef=about("configmaps")),
        event(None, objectRef=about("deployments")),
        event(None, verb="delete"),
        event(None, responseStatus=status(403, 'pods is forbidden: User "jane" cannot create resource')),
        event(None, responseStatus=status(409, 'pods "web" already exists')),
        event(None, responseStatus=status(422, "Pod is invalid")),
    ],
)
def test_a_request_that_was_not_to_come_is_not_missed(found: dict[str, Any]) -> None:
    assert unmatched([found], IDS, RULES, ["kube-system"]) == []
