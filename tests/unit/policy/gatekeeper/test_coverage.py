"""Constraints for kinds that the webhook configuration does not send."""

from typing import Any

import pytest

from portcullis.model.ruling import Constraint, Mode
from portcullis.policy.gatekeeper.coverage import resource_of, uncovered

PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods", "pods/status"]}
APPS = {"apiGroups": ["apps"], "resources": ["deployments"]}
ALL = {"apiGroups": ["*"], "resources": ["*"]}
ALL_APPS = {"apiGroups": ["apps"], "resources": ["*/*"]}


def kinds(*kinds: str, groups: tuple[str, ...] = ("",)) -> dict[str, Any]:
    return {"kinds": [{"apiGroups": list(groups), "kinds": list(kinds)}]}


@pytest.mark.parametrize(
    ("match", "rules", "missing"),
    [
        (kinds("Pod"), [PODS], ""),
        (kinds("Pod"), [], "Pod"),
        (kinds("Pod", "Service"), [PODS], "Service"),
        (kinds("Deployment", groups=("apps",)), [PODS], "Deployment of apps"),
        (kinds("Deployment", groups=("apps",)), [PODS, APPS], ""),
        (kinds("Deployment", groups=("extensions", "apps")), [APPS], "Deployment of extensions"),
        (kinds("Deployment", groups=("*",)), [APPS], ""),
        (kinds("Deployment"), [APPS], "Deployment"),
        (kinds("PodStatus"), [PODS], "PodStatus"),
        (kinds("*", groups=("apps",)), [APPS], "every kind of apps"),
        (kinds("*", groups=("apps",)), [ALL_APPS], ""),
        (kinds("*", groups=("*",)), [ALL_APPS], "every kind"),
        ({}, [PODS, APPS], "every kind"),
        ({}, [ALL], ""),
        (kinds(*(f"K{number}" for number in range(7))), [PODS], "K0, K1, K2, K3, K4 and 2 more"),
    ],
)
def test_what_is_not_sent(match: dict[str, Any], rules: list[dict[str, Any]], missing: str) -> None:
    remarks = uncovered([Constraint("k.a", "K", "K", "c.yaml", 3, match, Mode.DENY)], rules)
    if not missing:
        assert remarks == ()
        return
    (remark,) = remarks
    assert (remark.file, remark.row) == ("c.yaml", 3)
    assert f"does not send {missing}: there k.a is never judged" in remark.message


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("Pod", "pods"), ("Ingress", "ingresses"), ("NetworkPolicy", "networkpolicies"), ("Endpoints", "endpoints")],
)
def test_the_resource_of_a_kind(kind: str, resource: str) -> None:
    assert resource_of(kind) == resource
