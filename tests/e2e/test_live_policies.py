"""Policies that change while the gate runs: ConfigMaps by kubectl, on the real API server with the chart's rights."""

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.cluster.api import ApiError
from e2e.cluster.gate import CONFIGURATIONS, NAMESPACE, RELEASE, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD

SHOP = "shop"
SWAPS = 15
LABEL = {"portcullis.dev/policy": "true"}
ANNOTATION = "portcullis.dev/policy-error"

TEAM = """
package portcullis.policies.team_label

import rego.v1

deny contains {"msg": "has no label team", "fix": "add it"} if not labelled

labelled if input.workload.labels.team != ""
"""
PLACES = """
package portcullis.policies.places

import rego.v1

deny contains {"msg": sprintf("namespaces of %s take no pods", [input.namespace.labels.team])} if {
	input.namespace.labels.team == "closed"
}

deny contains {"msg": sprintf("there is a service %s already", [name])} if {
	some name
	data.inventory.namespace[input.namespace.name].v1.Service[name]
	name == input.workload.name
}
"""
BROKEN = TEAM.replace('!= ""', "!= nobody")
WARNING = """
package portcullis.policies.counted

import rego.v1

warn contains "set NUMBER"
"""


PATIENT = {"webhook": {"timeoutSeconds": 30}}
"""A busy machine needs longer than the ten seconds that are enough elsewhere."""


def policies(name: str, **files: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": LABEL}
    data = {f"{key}.rego": text for key, text in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(gate: Installed, name: str, namespace: str = SHOP, **labels: str) -> dict[str, Any]:
    made = workload("Pod", name, namespace, container("web", gate.registry.image(GOOD)))
    made["metadata"]["labels"] = labels
    return made


@pytest.fixture(scope="module")
def gate(release: Installed) -> Installed:
    """Installed, refusing; with the whole library, namespaces and services watched."""
    release.cluster.namespace(SHOP)
    services = {"inventory": [{"resource": "services"}]}
    release.helm("install", values={**release.values("enforce", cluster=services, policies={}), **PATIENT})
    until(lambda: release.webhook()["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    return release


def refused(gate: Installed, made: dict[str, Any]) -> str:
    """What kubectl says of the object as a dry run; "" where it is admitted."""
    done = gate.cluster.run("kubectl", "create", "--dry-run=server", "--filename", "-", stdin=json.dumps(made), ok=None)
    return done.stderr if done.returncode else ""


def in_force(gate: Installed, made: dict[str, Any], said: str) -> None:
    """Waits until the next pod is judged so; "" means admitted."""
    until(lambda: (said in refused(gate, made)) if said else not refused(gate, made), said or "admission")


def config_map(gate: Installed, name: str) -> dict[str, Any]:
    return dict(gate.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}"))


def metrics(gate: Installed) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.ports['health']}/metrics") as answer:
        return str(answer.read().decode())


def readiness(gate: Installed) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.ports['health']}/readyz?verbose") as answer:
        return str(answer.read().decode())


def test_a_policy_comes_with_its_config_map_and_goes_with_it(gate: Installed) -> None:
    assert not refused(gate, pod(gate, "first"))
    gate.cluster.apply(policies("team", team=TEAM))
    in_force(gate, pod(gate, "second"), "[team-label] has no label team. Add it.")
    assert not refused(gate, pod(gate, "third", team="a"))
    assert "portcullis_policy_last_reload_success 1.0" in metrics(gate)
    assert "[+]policy-sources ok: 1 reloads" in readiness(gate)
    gate.cluster.kubectl("delete", "configmap", "team", "--namespace", NAMESPACE)
    in_force(gate, pod(gate, "fourth"), "")


def test_labels_of_namespaces_and_objects_of_the_cluster(gate: Installed) -> None:
    gate.cluster.apply(policies("places", places=PLACES))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken", "namespace": SHOP}}
    gate.cluster.apply({**service, "spec": {"ports": [{"port": 80}]}})
    in_force(gate, pod(gate, "taken"), "[places] there is a service taken already")
    assert not refused(gate, pod(gate, "free"))
    closed = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "closed", "labels": {"team": "closed"}}}
    gate.cluster.apply(closed)
    assert "namespaces of closed take no pods" in refused(gate, pod(gate, "any", "closed"))
    gate.cluster.kubectl("label", "namespace", "closed", "team=open", "--overwrite")
    in_force(gate, pod(gate, "any", "closed"), "")
    gate.cluster.kubectl("delete", "service", "taken", "--namespace", SHOP)
    in_force(gate, pod(gate, "taken"), "")
    assert 'portcullis_watch_objects{resource="services"}' in metrics(gate)
    gate.cluster.kubectl("delete", "configmap", "places", "--namespace", NAMESPACE)


def test_what_does_not_compile_is_refused_when_it_is_applied(gate: Installed) -> None:
    done = gate.cluster.apply(policies("broken", team=BROKEN), ok=False)
    assert 'admission webhook "policies.portcullis.dev" denied the request' in done.stderr
    assert "[policy-invalid] team.rego:8:13: var nobody is unsafe" in done.stderr
    elsewhere = policies("elsewhere", team=BROKEN)
    elsewhere["metadata"]["namespace"] = SHOP
    gate.cluster.apply(elsewhere)  # no policies are read from there
    assert not refused(gate, pod(gate, "still"))


@contextlib.contextmanager
def unasked(gate: Installed) -> Iterator[None]:
    """The API server does not ask about ConfigMaps, as if the gate were away."""
    path = f"{CONFIGURATIONS}/{RELEASE}"
    names = [webhook["name"] for webhook in gate.cluster.api.get(path)["webhooks"]]
    at = f"/webhooks/{names.index('policies.portcullis.dev')}/objectSelector"
    gate.cluster.api.patch(path, [{"op": "replace", "path": at, "value": {"matchLabels": {"no": "map"}}}], "json-patch")
    try:
        yield
    finally:
        selector = {"matchLabels": LABEL}
        gate.cluster.api.patch(path, [{"op": "replace", "path": at, "value": selector}], "json-patch")


def test_a_broken_set_keeps_the_old_one_and_says_where(gate: Installed) -> None:
    gate.cluster.apply(policies("team", team=TEAM))
    in_force(gate, pod(gate, "before"), "[team-label]")
    with unasked(gate):
        time.sleep(0.5)
        gate.cluster.apply(policies("worse", other=BROKEN.replace("team_label", "other")))
        until(lambda: ANNOTATION in config_map(gate, "worse")["metadata"].get("annotations", {}), "the annotation")
    assert config_map(gate, "worse")["metadata"]["annotations"][ANNOTATION].startswith("other.rego:8:13: var nobody")
    assert ANNOTATION not in config_map(gate, "team")["metadata"].get("annotations", {})
    assert "[team-label]" in refused(gate, pod(gate, "meanwhile"))
    assert "[!]policy-sources degraded: configmaps/portcullis-system/worse/other.rego:8:" in readiness(gate)
    assert "portcullis_policy_last_reload_success 0.0" in metrics(gate)

    def told() -> list[str]:
        events = gate.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
        return [event["reason"] for event in events if event["involvedObject"]["name"] == "worse"]

    until(lambda: "PolicyInvalid" in told(), "the Event")
    # Another ConfigMap does not come into force either, and is told so by kubectl only where it is wrong itself.
    gate.cluster.apply(policies("team", team=TEAM.replace("has no label team", "says no team")))
    time.sleep(1)
    assert "has no label team" in refused(gate, pod(gate, "after"))
    # Mending it is enough for both.
    gate.cluster.apply(policies("worse", other=TEAM.replace("team_label", "other")))
    in_force(gate, pod(gate, "mended"), "[team-label] says no team")
    until(lambda: ANNOTATION not in config_map(gate, "worse")["metadata"].get("annotations", {}), "no annotation")
    gate.cluster.kubectl("delete", "configmap", "team", "worse", "--namespace", NAMESPACE)
    in_force(gate, pod(gate, "end"), "")


def test_a_gate_that_starts_with_a_broken_config_map_begins_with_what_was_good(gate: Installed) -> None:
    gate.cluster.apply(policies("team", team=TEAM))
    in_force(gate, pod(gate, "before"), "[team-label]")
    with unasked(gate):
        time.sleep(0.5)
        gate.cluster.apply(policies("team", team=BROKEN))
        until(lambda: ANNOTATION in config_map(gate, "team")["metadata"].get("annotations", {}), "the annotation")
    gate.cluster.kubectl("rollout", "restart", f"deployment/{RELEASE}", "--namespace", NAMESPACE)
    gate.cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", "--namespace", NAMESPACE, "--timeout=600s")
    until(lambda: "matchConditions" not in gate.webhook(), "the webhook to be called again")
    assert "[team-label] has no label team" in refused(gate, pod(gate, "again"))
    assert "[!]policy-sources degraded" in readiness(gate)
    gate.cluster.kubectl("delete", "configmap", "team", "--namespace", NAMESPACE)
    in_force(gate, pod(gate, "end"), "")


@dataclass
class Asker:
    """Creates pods as dry runs all the time, and keeps what came of it."""

    gate: Installed
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        made = pod(self.gate, "asked", team="a")
        while not over.is_set():
            try:
                self.gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", made)
                self.answered += 1
            except (ApiError, OSError) as error:
                self.failures.append(str(error))


def test_swaps_under_load_lose_no_answer(gate: Installed) -> None:
    """A small set, so that they are quick."""
    before = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "base", "namespace": NAMESPACE}}
    gate.cluster.apply({**before, "data": {"team.rego": TEAM}})
    values = gate.values("enforce", policies={"builtin": False})
    gate.helm("upgrade", values={**values, **PATIENT, "policyConfigMaps": ["base"]})
    until(lambda: "matchConditions" not in gate.webhook(), "the webhook to be called again")
    in_force(gate, pod(gate, "small"), "[team-label]")
    over, askers = threading.Event(), [Asker(gate) for _ in range(4)]
    threads = [threading.Thread(target=asker.run, args=(over,), daemon=True) for asker in askers]
    for thread in threads:
        thread.start()
    try:
        for number in range(SWAPS):
            gate.cluster.apply(policies("counted", counted=WARNING.replace("NUMBER", str(number))))
            until(lambda number=number: reloads(gate) > number, f"swap {number}")
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert [failure for asker in askers for failure in asker.failures] == []
    assert sum(asker.answered for asker in askers) > 200
    assert reloads(gate) == SWAPS
    warned = gate.cluster.run(
        "kubectl", "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod(gate, "last", team="a")), ok=None
    )
    assert f"set {SWAPS - 1}" in warned.stderr


def reloads(gate: Installed) -> int:
    (line,) = [line for line in metrics(gate).splitlines() if line.startswith("portcullis_policy_reloads_total ")]
    return int(float(line.split()[1]))
