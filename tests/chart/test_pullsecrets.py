"""Pull secrets: read where the operator lists a namespace, by a Role there, and never in the whole cluster."""

from typing import Any

import pytest
import yaml

from chart.support import CHART, CI_FILES, NAMESPACE, Object, configuration_of, rendered, template, values_of
from portcullis.limits import Limits

SECRETS = {"secrets", "*", "secrets/*", "*/*"}
LISTED: dict[str, Any] = {"pullSecrets": [{"namespace": "shop"}, {"namespace": "bank", "names": ["login"]}]}
EVERY = [{}, LISTED, *(values_of(file) for file in CI_FILES)]


def rules(values: dict[str, Any]) -> list[tuple[Object, Object]]:
    """Every rule of every role, with the role."""
    documents = [one for one in yaml.safe_load_all(rendered(values)) if one]
    roles = [one for one in documents if one["kind"] in ("Role", "ClusterRole")]
    assert roles
    return [(role, rule) for role in roles for rule in role.get("rules") or ()]


@pytest.mark.parametrize("values", EVERY, ids=["none", "listed", *(file.stem for file in CI_FILES)])
def test_no_rule_gives_a_right_over_the_secrets_of_the_cluster(values: dict[str, Any]) -> None:
    listed = {entry["namespace"] for entry in values.get("pullSecrets", ())}
    for role, rule in rules(values):
        if not SECRETS & set(rule.get("resources", ())) or not {"", "*"} & set(rule.get("apiGroups", ())):
            continue
        assert role["kind"] == "Role", (role["metadata"]["name"], rule)
        assert "*" not in rule["resources"] + rule["apiGroups"] + rule["verbs"]
        if not rule.get("resourceNames"):
            assert role["metadata"]["namespace"] in listed
            assert rule["verbs"] == ["get", "list", "watch"]


def test_a_role_and_its_binding_for_each_namespace() -> None:
    documents = [one for one in yaml.safe_load_all(rendered(LISTED)) if one]
    ours = {
        (one["kind"], one["metadata"]["namespace"]): one
        for one in documents
        if one["metadata"]["labels"].get("app.kubernetes.io/component") == "pull-secrets"
    }
    assert set(ours) == {(kind, place) for kind in ("Role", "RoleBinding") for place in ("shop", "bank")}
    accounts = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]}
    every = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}
    assert ours["Role", "shop"]["rules"] == [every, accounts]
    assert ours["Role", "bank"]["rules"] == [{**every, "resourceNames": ["login"]}, accounts]
    for place in ("shop", "bank"):
        binding = ours["RoleBinding", place]
        assert binding["roleRef"]["name"] == ours["Role", place]["metadata"]["name"] == "portcullis-pull-secrets"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "portcullis", "namespace": NAMESPACE}]


def test_the_program_is_told_the_same() -> None:
    assert configuration_of(LISTED)["cluster"]["pullSecrets"] == LISTED["pullSecrets"]
    assert configuration_of({})["cluster"]["pullSecrets"] == []


def test_nodes_are_watched_and_no_more() -> None:
    found = [(role["kind"], rule) for role, rule in rules({}) if "nodes" in rule["resources"]]
    assert found == [("ClusterRole", {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]})]


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ([{"name": "shop"}], "additional properties 'name'"),
        ([{"names": ["a"]}], "missing property 'namespace'"),
        ([{"namespace": "*"}], "at '/pullSecrets/0/namespace'"),
        ([{"namespace": "shop", "names": ["*"]}], "at '/pullSecrets/0/names/0'"),
        ([{"namespace": "shop", "names": ["a", "a"]}], "at '/pullSecrets/0/names'"),
        ("shop", "at '/pullSecrets'"),
        ([{"namespace": "a"}, {"namespace": "a", "names": ["b"]}], "pullSecrets lists the namespace a twice"),
    ],
)
def test_a_slip_is_refused(listed: Any, complaint: str) -> None:
    done = template(values={"pullSecrets": listed})
    assert done.returncode == 1
    assert complaint in done.stderr


def test_more_watches_than_the_gate_takes_are_refused_before_it_starts() -> None:
    many: dict[str, Any] = {"pullSecrets": [{"namespace": f"n{number}"} for number in range(101)]}
    assert (
        "pullSecrets takes 202 watches, more than config.limits.pullSecretWatches of 200"
        in template(values=many).stderr
    )
    few = {"pullSecrets": [{"namespace": "a", "names": ["b", "c"]}], "config": {"limits": {"pullSecretWatches": 2}}}
    assert "pullSecrets takes 3 watches, more than config.limits.pullSecretWatches of 2" in template(values=few).stderr
    assert template(values={**many, "config": {"limits": {"pullSecretWatches": 202}}}).returncode == 0
    assert Limits().pull_secret_watches == 200  # the guard's default


def test_the_configuration_cannot_say_otherwise() -> None:
    values = {"config": {"cluster": {"pullSecrets": [{"namespace": "shop"}]}}}
    assert "additional properties 'pullSecrets'" in template(values=values).stderr
    done = template("--skip-schema-validation", values=values)
    assert "config.cluster.pullSecrets is set by the chart: set pullSecrets instead" in done.stderr


def test_the_example_is_one_of_each_kind() -> None:
    entries = values_of(CHART / "ci" / "pull-secrets-values.yaml")["pullSecrets"]
    assert {bool(entry.get("names")) for entry in entries} == {True, False}
