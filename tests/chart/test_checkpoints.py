"""The ConfigMap that checkpoints of the audit log are published to, and who may change it."""

import pytest

from chart.support import NAMESPACE, objects, template

VALUES = {"config": {"audit": {"checkpoints": {"configMap": "audit-checkpoints"}}}}


def test_the_object_is_there_empty_and_stays() -> None:
    found = objects(VALUES)["ConfigMap/checkpoints"]
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == ("audit-checkpoints", NAMESPACE)
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "data" not in found


def test_the_gate_may_change_that_object_and_no_other() -> None:
    without = {**VALUES, "policies": {"configMaps": {"enabled": False}}}
    rules = [rule for rule in objects(without)["Role"]["rules"] if rule["resources"] == ["configmaps"]]
    assert rules == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["audit-checkpoints"],
            "verbs": ["get", "update"],
        }
    ]
    assert all("configmaps" not in rule["resources"] for rule in objects(without)["ClusterRole"]["rules"])


@pytest.mark.parametrize("values", [{}, {"config": {"audit": {"checkpoints": {}}}}])
def test_without_a_name_there_is_none(values: dict[str, object]) -> None:
    found = objects(values)
    assert "ConfigMap/checkpoints" not in found
    assert all("configmaps" not in rule["resources"] or "resourceNames" not in rule for rule in found["Role"]["rules"])


def test_the_configuration_is_not_published_over() -> None:
    done = template(values={"config": {"audit": {"checkpoints": {"configMap": "portcullis"}}}})
    assert done.returncode != 0
    assert "take another name" in done.stderr
