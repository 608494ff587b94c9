"""The webhook configuration: what the API server sends to the gate, and what happens if nobody answers."""

import base64
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.support import (
    CHART,
    NAMESPACE,
    configuration_of,
    container_of,
    helm,
    objects,
    pod_of,
    rendered,
    values_of,
    webhook_of,
    webhooks_of,
)
from portcullis.admission.workloads import POD_SPEC_PATHS

BASE64 = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
SUB_RESOURCES = {("", "pods/ephemeralcontainers"), ("", "pods/resize")}


def resource_of(kind: str) -> str:
    """The plural; all of the built-in kinds make it alike."""
    return f"{kind.lower()}s"


def covered(webhook: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (group, resource) for rule in webhook["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
    }


def test_the_rules_are_the_kinds_that_carry_pods() -> None:
    """A kind that is new in the table has to be in the chart, or nobody asks the gate about it."""
    wanted = {(group, resource_of(kind)) for group, kind in POD_SPEC_PATHS} | SUB_RESOURCES
    assert covered(webhook_of()) == wanted
    for rule in webhook_of()["rules"]:
        assert rule["operations"] == ["CREATE", "UPDATE"]
        assert rule["apiVersions"] == ["v1"]
        assert rule["scope"] == "Namespaced"


def test_what_is_pinned_is_what_is_judged() -> None:
    """A kind that is new in the table has to be in both objects. A resize brings no image."""
    values = values_of(CHART / "ci" / "mutation-values.yaml")
    (pins,) = objects(values)["MutatingWebhookConfiguration"]["webhooks"]
    assert covered(pins) == covered(webhook_of(values)) - {("", "pods/resize")}
    assert all(rule["operations"] == ["CREATE", "UPDATE"] for rule in pins["rules"])


def test_extra_rules_come_on_top() -> None:
    *builtin, rollouts = webhook_of(values_of(CHART / "ci" / "enforce-values.yaml"))["rules"]
    assert builtin == webhook_of()["rules"]
    assert rollouts == {
        "apiGroups": ["argoproj.io"],
        "apiVersions": ["v1alpha1"],
        "resources": ["rollouts"],
        "operations": ["CREATE", "UPDATE"],
        "scope": "Namespaced",
    }


def test_the_whole_webhook() -> None:
    """Not one key more: caBundle, path and matchConditions belong to the gate, an objectSelector would exempt by
    label."""
    webhook = webhook_of()
    del webhook["rules"]
    assert webhook == {
        "name": "gate.portcullis.dev",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {"name": "portcullis", "namespace": NAMESPACE, "port": 443},
        },
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 10,
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", NAMESPACE],
                }
            ]
        },
    }


def test_namespaces_that_are_exempt() -> None:
    exempt = {"webhook": {"exemptNamespaces": ["monitoring", "kube-system", "a"]}}
    (expression,) = webhook_of(exempt)["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["kube-system", NAMESPACE, "monitoring", "a"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "Ignore"),
        ({"profile": "audit"}, "Ignore"),
        ({"profile": "audit", "webhook": {"failurePolicy": "Ignore"}}, "Ignore"),
        ({"profile": "enforce"}, "Fail"),
        ({"profile": "enforce", "webhook": {"failurePolicy": "Fail"}}, "Fail"),
        ({"profile": "enforce", "webhook": {"failurePolicy": "Ignore"}}, "Ignore"),
    ],
)
def test_failure_policy(values: dict[str, Any], expected: str) -> None:
    assert webhook_of(values)["failurePolicy"] == expected


def test_the_ca_of_a_given_certificate() -> None:
    by_hand = {"tls": {"existingSecret": "gate", "caBundle": f"{BASE64[:8]}\n{BASE64[8:]}\n"}}
    assert "caBundle" not in webhook_of(by_hand)["clientConfig"]  # the gate writes it
    assert configuration_of(by_hand)["server"]["tls"]["caFile"] == "/etc/portcullis/ca.crt"
    assert objects(by_hand)["ConfigMap"]["data"]["ca.crt"] == base64.b64decode(BASE64).decode()
    injected = values_of(CHART / "ci" / "given-secret-values.yaml")
    assert "caBundle" not in webhook_of(injected)["clientConfig"]
    metadata = objects(injected)["ValidatingWebhookConfiguration"]["metadata"]
    assert metadata["annotations"] == injected["webhook"]["annotations"]


def test_the_service_leads_to_the_pod() -> None:
    values = {"ports": {"webhook": 9443, "health": 9081}, "podLabels": {"team": "x"}}
    found = objects(values)
    service, called = found["Service"], webhook_of(values)["clientConfig"]["service"]
    assert (called["name"], called["namespace"]) == (service["metadata"]["name"], service["metadata"]["namespace"])
    numbers = {port["name"]: port["containerPort"] for port in container_of(values)["ports"]}
    targets = {port["port"]: numbers[port["targetPort"]] for port in service["spec"]["ports"]}
    assert targets == {443: 9443, 9081: 9081}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        service["spec"]["selector"],
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert labels.items() >= selector.items()
    assert labels["team"] == "x"


SHARED = {
    "apiGroups": [""],
    "resources": ["secrets"],
    "resourceNames": ["portcullis-shared"],
    "verbs": ["get", "update"],
}


EVENTS = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
LEASE = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "resourceNames": ["portcullis-recheck"],
    "verbs": ["get", "update"],
}
RUNNING = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]},
]
REPORTS = [
    {"apiGroups": [group], "resources": [plural], "verbs": ["list", "create", "patch", "delete"]}
    for group, plural in (("wgpolicyk8s.io", "policyreports"), ("openreports.io", "reports"))
]
GRANTS = {"apiGroups": ["portcullis.dev"], "resources": ["breakglasses"], "verbs": ["list", "watch"]}


@pytest.mark.parametrize("enabled", [True, False])
def test_events_take_a_right_that_is_only_there_with_them(enabled: bool) -> None:
    found = objects({"events": {"enabled": enabled}})
    assert (EVENTS in found["ClusterRole"]["rules"]) is enabled


def test_what_the_gate_may_do_in_the_cluster_and_nothing_else() -> None:
    found = objects()
    assert found["ClusterRole"]["rules"] == [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "resourceNames": [found["ValidatingWebhookConfiguration"]["metadata"]["name"]],
            "verbs": ["get", "patch"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [NAMESPACE], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
        *RUNNING,
        *REPORTS,
        EVENTS,
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
        GRANTS,
    ]
    assert found["ClusterRoleBinding"]["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": found["ClusterRole"]["metadata"]["name"],
    }
    assert found["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        SHARED,
        LEASE,
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]
    assert found["Role"]["metadata"]["namespace"] == NAMESPACE
    assert found["RoleBinding"]["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": found["Role"]["metadata"]["name"],
    }
    assert found["RoleBinding"]["metadata"]["namespace"] == NAMESPACE


def _signers(**secrets: dict[str, str]) -> dict[str, Any]:
    return {"config": {"trust": {"signers": {name: {"key": {"secret": secret}} for name, secret in secrets.items()}}}}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, None),
        ({"config": {"trust": {"signers": {"ci": {"key": {"file": "/etc/keys/ci.pub"}}}}}}, None),
        ({"config": {"trust": {"signers": {"ci": {"keyless": {"issuer": "https://a", "identity": "b"}}}}}}, None),
        (_signers(ci={"name": "cosign", "namespace": "other"}), None),
        (_signers(ci={"name": "cosign"}), ["cosign"]),
        (
            _signers(
                b={"name": "release"},
                a={"name": "cosign", "key": "a.pub", "namespace": NAMESPACE},
                c={"name": "cosign", "key": "c.pub"},
                d={"name": "elsewhere", "namespace": "other"},
            ),
            ["cosign", "release"],
        ),
    ],
)
def test_the_gate_may_read_the_secrets_of_its_signers_and_no_others(
    values: dict[str, Any], names: list[str] | None
) -> None:
    rules = objects(values)["Role"]["rules"]
    assert rules[0]["resources"] == ["pods"]
    others = [rule for rule in rules[1:] if rule["resources"] not in (["configmaps"], ["events"])]
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]}
    assert others == ([SHARED, LEASE] if names is None else [SHARED, LEASE, rule])


@pytest.mark.parametrize(
    ("account", "name", "created"),
    [
        ({}, "portcullis", True),
        ({"name": "gate"}, "gate", True),
        ({"create": False, "name": "gate"}, "gate", False),
        ({"create": False}, "default", False),
    ],
)
def test_the_service_account(account: dict[str, Any], name: str, created: bool) -> None:
    found = objects({"serviceAccount": account})
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    assert found["ClusterRoleBinding"]["subjects"] == found["RoleBinding"]["subjects"] == [subject]
    assert pod_of({"serviceAccount": account})["serviceAccountName"] == name
    assert ("ServiceAccount" in found) is created
    if created:
        assert found["ServiceAccount"]["metadata"]["name"] == name
        assert found["ServiceAccount"]["automountServiceAccountToken"] is False


def notes(values: dict[str, Any], *arguments: str) -> str:
    command = ("install", "portcullis", str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *arguments)
    done = helm(*command, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


RESCUE = "kubectl delete validatingwebhookconfiguration portcullis\n"
FIRST = "This is the first installation"
LOST = "the audit log is lost with the pod"
ONE = "One replica: while it is replaced, nothing is judged and nothing refused"
SHARED_LOG = "2 replicas share the audit log in PostgreSQL"
FRAGILE = "one replica that fails closed"
REFUSED = "portcullis audit list --verdict refused\n"
EVENTS_TOLD = "kubectl get events -A --field-selector reason=Refused\n"
POSTGRESQL = {"audit": {"database": "postgresql://gate@db.example/gate?sslmode=verify-full"}}
ENFORCE = f"helm upgrade portcullis CHART -n {NAMESPACE} --reset-then-reuse-values --set profile=enforce"
HEALTH = f"kubectl -n {NAMESPACE} exec deploy/portcullis -- portcullis health\n"
LIST = f"kubectl -n {NAMESPACE} exec deploy/portcullis -- portcullis audit list\n"


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ({}, ["nothing is refused", ENFORCE, ONE], [FIRST, LOST, "policies refuse", FRAGILE, REFUSED, EVENTS_TOLD]),
        (
            {"profile": "enforce"},
            ["policies refuse", FIRST, "are refused too", ONE, FRAGILE, REFUSED, EVENTS_TOLD],
            ["nothing is refused", ENFORCE],
        ),
        (
            {"profile": "enforce", "webhook": {"failurePolicy": "Ignore"}},
            ["refuses nothing"],
            [FIRST, ENFORCE, FRAGILE],
        ),
        (
            {"profile": "enforce", "webhook": {"standDown": False}, "events": {"enabled": False}},
            ["the webhook refuses what it covers"],
            [ONE, EVENTS_TOLD],
        ),
        ({"webhook": {"standDown": False}}, ["the webhook is passed by"], [ONE]),
        ({"replicas": 2, "config": POSTGRESQL, "profile": "enforce"}, [SHARED_LOG], [ONE, FRAGILE]),
        (
            {"autoscaling": {"enabled": True}, "config": POSTGRESQL},
            ["2 to 5 replicas share the audit log in PostgreSQL"],
            [ONE],
        ),
        ({"persistence": {"enabled": False}}, [LOST], []),
        ({"persistence": {"enabled": False}, "config": POSTGRESQL}, [], [LOST]),
        ({"webhook": {"exemptNamespaces": ["a"]}}, [f"namespaces kube-system, {NAMESPACE}, a."], ["pinned"]),
        ({"mutation": {"enabled": True}}, ["Tags are pinned to digests, in pods (Mutating"], []),
        ({"mutation": {"enabled": True, "owners": True}}, ["in pods and in templates (Mutating"], []),
    ],
)
def test_notes(values: dict[str, Any], said: list[str], unsaid: list[str]) -> None:
    text = notes(values)
    for words in (RESCUE, LIST, HEALTH, *said):
        assert words in text
    for words in unsaid:
        assert words not in text
    assert not re.search(r"\n\n\n|<no value>|%!", text)


def test_notes_of_an_upgrade_do_not_speak_of_the_first_installation(tmp_path: Path) -> None:
    """Helm shows the notes of an upgrade to those only who have a cluster: here they are rendered into an object."""
    copy = shutil.copytree(CHART, tmp_path / "portcullis")
    text = (CHART / "templates" / "NOTES.txt").read_text("utf-8")
    wrapped = f'{{{{ define "notes" }}}}{text}{{{{ end }}}}kind: Notes\ntext: {{{{ include "notes" . | toJson }}}}\n'
    (copy / "templates" / "notes.yaml").write_text(wrapped, encoding="utf-8")
    command = ("template", "portcullis", str(copy), "--namespace", NAMESPACE, "--show-only", "templates/notes.yaml")
    for arguments, first in (((), True), (("--is-upgrade",), False)):
        done = helm(*command, *arguments, values={"profile": "enforce"})
        assert done.returncode == 0, done.stderr
        said = yaml.safe_load(done.stdout)["text"]
        assert RESCUE in said
        assert (FIRST in said) is first


def test_the_rescue_of_the_readme_is_that_of_the_notes() -> None:
    assert RESCUE in (CHART / "README.md").read_text("utf-8")


def test_config_maps_with_policies_are_checked_when_they_are_applied() -> None:
    webhook = webhooks_of()["policies.portcullis.dev"]
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["sideEffects"] == "None"
    assert "path" not in webhook["clientConfig"]["service"]
    assert webhook["objectSelector"] == {"matchLabels": {"portcullis.dev/policy": "true"}}
    (expression,) = webhook["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [NAMESPACE]}
    (rule,) = webhook["rules"]
    assert (rule["apiGroups"], rule["resources"], rule["scope"]) == ([""], ["configmaps"], "Namespaced")


def test_without_them_nobody_may_read_config_maps() -> None:
    off = {"policies": {"configMaps": {"enabled": False}}}
    assert webhooks_of(off)["policies.portcullis.dev"]["rules"] == []
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    assert objects(off)["Role"]["rules"] == [pods, SHARED, LEASE]


def test_each_namespace_with_policies_has_a_role_of_its_own() -> None:
    documents = yaml.safe_load_all(rendered({"policies": {"configMaps": {"namespaces": ["team", NAMESPACE]}}}))
    roles = {one["metadata"]["namespace"]: one for one in documents if one and one["kind"] == "Role"}
    assert set(roles) == {NAMESPACE, "team"}
    assert {resource for rule in roles["team"]["rules"] for resource in rule["resources"]} == {"configmaps", "events"}


def test_the_inventory_may_be_read_and_namespaces_need_not() -> None:
    listed = [{"group": "networking.k8s.io", "resource": "ingresses"}, {"resource": "services"}]
    rules = objects({"config": {"cluster": {"inventory": listed, "watch": {"namespaces": False}}}})["ClusterRole"]
    named = [rule for rule in rules["rules"] if "resourceNames" not in rule]
    found = [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in named]
    assert (["networking.k8s.io"], ["ingresses"], ["list", "watch"]) in found
    assert ([""], ["services"], ["list", "watch"]) in found
    assert not any("namespaces" in resources for _, resources, _ in found)
