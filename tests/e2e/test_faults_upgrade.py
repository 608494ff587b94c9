"""Issue 8: an upgrade that changes every value of the chart, and one back; pods can be created all the while."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import CHART, NAMESPACE, RELEASE, Installed, shared_store
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import ROOT
from e2e.faulting.asking import asker
from e2e.faulting.certificates import Issuer
from e2e.faulting.changed import CHOSEN, ELSEWHERE, changed, elsewhere, leaves
from e2e.faulting.joining import Fate, joined, postgres_records, sqlite_records
from e2e.faulting.stream import Stream
from fakes.postgres import PASSWORD

SHOP = "shop"
ISSUER = Issuer()
TEAM = """
# METADATA
# title: Workloads name their team
# custom: {mode: audit}
package portcullis.policies.team_label

import rego.v1

deny contains {"msg": "has no label team", "fix": "add it"} if not labelled

labelled if input.workload.labels.team != ""
"""


@pytest.fixture(scope="module")
def default(release: Installed) -> dict[str, Any]:
    """One replica with SQLite, profile audit."""
    return release.values("audit")


@pytest.fixture(scope="module")
def gate(release: Installed, default: dict[str, Any]) -> Iterator[Installed]:
    """Installed as by default; there is what the changed values name."""
    cluster = release.cluster
    cluster.namespace(SHOP)
    cluster.namespace("databases")
    with shared_store(release):
        assert default["config"].keys().isdisjoint({"audit"})
        cluster.apply(*map(monitoring, ("ServiceMonitor", "PrometheusRule")))
        cluster.apply(
            secret("audit-elsewhere", secret=PASSWORD),
            secret("extra", password="swordfish", session=secrets.token_hex(32)),
            ISSUER.secret(),
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gate", "namespace": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "teams", "namespace": NAMESPACE},
                "data": {"team.rego": TEAM},
            },
        )
        release.helm("install", values=default)
        until(lambda: release.webhook()["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
        yield release


def secret(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def monitoring(kind: str) -> dict[str, Any]:
    """A kind of Prometheus' operator, of which the API server takes anything."""
    group, plural = "monitoring.coreos.com", f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def every_value(gate: Installed) -> dict[str, Any]:
    """With what must name this machine."""
    return merged(
        gate.values("enforce"),
        changed(),
        {
            "tls": {"caBundle": ISSUER.values["caBundle"]},
            "config": {
                "audit": {"database": gate.database_url},
                "registries": {"allowed": [gate.registry.host]},
                "server": {"stopDelaySeconds": 1},
            },
        },
    )


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """The later wins; maps are merged."""
    found: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            before = found.get(key)
            found[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, Mapping) else value
    return found


def test_the_changed_values_are_all_there_are() -> None:
    """What is new in the chart or in the configuration is changed too, or it is said why not."""
    names = {".".join(path) for path, _ in leaves()}
    unknown = [name for name in CHOSEN if name not in names]
    assert not unknown, "they are no values any more"
    assert not [name for name in ELSEWHERE if not any(f"{one}.".startswith(f"{name}.") for one in names)]
    assert len([path for path, _ in leaves() if elsewhere(path) is None]) > 250


@pytest.mark.parametrize(
    ("why", "change"),
    [
        pytest.param(
            "the gate owns caBundle as a field manager of its own: the chart leaves it to it",
            {"tls": ISSUER.values},
        ),
        pytest.param(
            "what the gate owns of an entry would be left behind, and is no entry: it stays",
            {"policies": {"configMaps": {"enabled": False}}},
        ),
        pytest.param("nothing else is like that", {"webhook": {"timeoutSeconds": 9}}),
    ],
)
def test_the_webhook_configuration_takes_each_change(
    gate: Installed, default: dict[str, Any], why: str, change: dict[str, Any]
) -> None:
    """As Helm applies it, beside what the gate has written into it."""
    values = yaml.safe_dump(merged(default, change))
    name = "templates/validatingwebhookconfiguration.yaml"
    rendered = gate.cluster.run(
        "helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-", "-s", name, stdin=values
    )
    options = ("--server-side", "--field-manager=helm", "--dry-run=server")
    done = gate.cluster.kubectl("apply", *options, "-f", "-", stdin=rendered.stdout, ok=None)
    assert done.returncode == 0, f"{why}: {done.stderr}"


def test_an_upgrade_that_changes_every_value_and_one_back(gate: Installed, default: dict[str, Any]) -> None:
    ungated = len(gate.cluster.audit_events())
    with Stream(gate, SHOP, bad=False).running() as stream:
        stream.settle()
        gate.helm("upgrade", values=every_value(gate))
        until(lambda: refused(gate), "the new gate to refuse", 120)
        stream.settle()
        gate.helm("upgrade", values=default)
        until(lambda: gate.webhook()["failurePolicy"] == "Ignore", "the old ways")
        stream.settle()
    found = joined(gate, lambda: [*sqlite_records(gate), *postgres_records(gate)], ungated=ungated)
    assert not stream.felt, f"{stream.counts}\n{found}"
    assert not found.of(Fate.UNANSWERED), str(found)


def refused(gate: Installed) -> bool:
    asking = asker(gate.cluster)
    bad = workload("Pod", "bad", SHOP, container("web", gate.registry.image(ROOT)))
    answer = asking.ask("POST", f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", bad)
    asking.close()
    return answer.denied and answer.code == 403
