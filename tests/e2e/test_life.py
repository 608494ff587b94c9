"""The chart's whole life on a real API server: at every moment of it pods can be created."""

import base64
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from e2e.cluster.gate import CONFIGURATIONS, FEW, NAMESPACE, RELEASE, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.pods import Running
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT
from e2e.cluster.stream import Stream, warm_up

SHOP = "shop"
CONFIGURATION = f"{CONFIGURATIONS}/{RELEASE}"


def bad_pod(gate: Installed, name: str) -> dict[str, Any]:
    return workload("Pod", name, SHOP, container("web", gate.registry.image(ROOT)))


@pytest.fixture
def shop(release: Installed) -> Iterator[Installed]:
    """The namespace; afterwards nothing of the chart is left."""
    if release.cluster.api.find(f"/api/v1/namespaces/{SHOP}") is None:
        release.cluster.namespace(SHOP)
    yield release
    if release.cluster.run("helm", "status", RELEASE, "--namespace", NAMESPACE, ok=None).returncode == 0:
        release.helm("uninstall")
    until(lambda: not release.kubelet.alive, "the end of the gate's pod")


def webhook(gate: Installed) -> dict[str, Any]:
    return gate.webhook()


def test_install_audit_enforce_upgrade_uninstall(shop: Installed) -> None:
    """Good pods can be created all the time; bad ones are refused by policies, and by nothing else. Two replicas:
    test_uninstall.py, and test_replicas.py of upgrades."""
    gate = shop
    with Stream(gate, SHOP).running() as stream:
        gate.helm("install", values=gate.values("audit"))
        until(lambda: webhook(gate)["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
        assert webhook(gate)["failurePolicy"] == "Ignore"
        gate.cluster.apply(bad_pod(gate, "audited"))
        (seen,) = until(lambda: gate.records_of("audited"), "the record")
        assert (seen["verdict"], seen["code"]) == ("admitted", 200)
        # An image that nobody has looked into yet is no reason to refuse in profile audit, and it is in enforce.
        stream.settle(enforced=False)
        warm_up(gate, SHOP, enforced=False)

        gate.helm("upgrade", values=gate.values("enforce"))
        stream.settle(enforced=True)
        assert webhook(gate)["failurePolicy"] == "Fail"

        gate.helm("upgrade", values={**gate.values("enforce"), "podAnnotations": {"changed": "yes"}})
        stream.settle(enforced=True)

        gate.helm("upgrade", values=gate.values("audit"))
        stream.settle(enforced=False)
        assert webhook(gate)["failurePolicy"] == "Ignore"

        gate.helm("upgrade", values=gate.values("enforce"))
        stream.settle(enforced=True)
        judged = [record for record in gate.records if record["name"].startswith("stream-")]
        gate.helm("uninstall")
        until(lambda: not gate.kubelet.alive, "the end of the gate's pods")
        assert gate.cluster.api.find(CONFIGURATION) is None
        stream.settle(enforced=False)
    assert stream.locked_out == []
    assert len([one for one in stream.sent if one.created and one.good]) > 100
    assert len(judged) > 50, "the stream was hardly ever asked for"


def refused_again(gate: Installed, name: str) -> None:
    """The new pod took over: its predecessor had stopped the webhook in good order."""
    until(lambda: "matchConditions" not in webhook(gate), "the webhook to be called again")
    refused = gate.cluster.apply(bad_pod(gate, name), ok=False)
    assert "[image-user]" in refused.stderr
    assert gate.cluster.api.find(f"/api/v1/namespaces/{SHOP}/pods/{name}") is None


def test_a_gate_that_is_restarted_opens_nothing(shop: Installed) -> None:
    gate, cluster = shop, shop.cluster
    gate.helm("install", values=gate.values("enforce"))
    refused_again(gate, "before")
    (pod,) = gate.kubelet.alive
    # SIGTERM is what a kubelet sends when the liveness probe has failed; the pod stays.
    for number in (signal.SIGTERM, signal.SIGKILL):
        before = pod.process.pid
        with stopped_kubelet(gate):
            os.kill(before, number)
            until(lambda: pod.process.poll() is not None, "the end of the process")
            for image in (ROOT, GOOD):
                one = workload("Pod", "killed", SHOP, container("web", gate.registry.image(image)))
                refused = cluster.apply(one, ok=False)
                assert 'failed calling webhook "gate.portcullis.dev"' in refused.stderr
            assert "matchConditions" not in webhook(gate)
        restarted(pod, before)
    refused_again(gate, "after")


def restarted(pod: Running, before: int) -> None:
    until(lambda: pod.process.poll() is None and pod.process.pid != before and pod.ready, "the pod again")


@contextlib.contextmanager
def stopped_kubelet(gate: Installed) -> Iterator[None]:
    gate.kubelet.paused.set()
    time.sleep(0.5)
    try:
        yield
    finally:
        gate.kubelet.paused.clear()


def test_with_stand_down_off_an_orderly_stop_refuses_too(shop: Installed) -> None:
    """The stricter choice: between two pods of a rollout nothing is admitted."""
    gate, cluster = shop, shop.cluster
    gate.helm("install", values={**gate.values("enforce"), "webhook": {"standDown": False}})
    refused_again(gate, "strict")
    (pod,) = gate.kubelet.alive
    cluster.kubectl("rollout", "restart", f"deployment/{RELEASE}", "--namespace", NAMESPACE)
    until(lambda: pod.process.poll() is not None, "the end of the first pod")
    refused = cluster.apply(bad_pod(gate, "between"), ok=None)
    assert refused.returncode != 0
    assert "matchConditions" not in webhook(gate)
    cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", "--namespace", NAMESPACE, "--timeout=600s")
    refused_again(gate, "strict-again")


TEAM = """
# METADATA
# title: Workloads name their team
package portcullis.policies.team_label

import rego.v1

deny contains {"msg": "has no label team", "fix": "add it"} if not labelled

labelled if input.workload.labels.team != ""
"""


def test_a_certificate_of_others_and_a_policy_in_a_config_map(shop: Installed) -> None:
    """Both are mounted within the folder of the configuration."""
    gate, cluster = shop, shop.cluster
    authority = trustme.CA()
    leaf = authority.issue_cert(f"{RELEASE}.{NAMESPACE}.svc")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    pair = {"tls.crt": chain, "tls.key": leaf.private_key_pem.bytes()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "gate-tls", "namespace": NAMESPACE},
        "data": {name: base64.b64encode(content).decode() for name, content in pair.items()},
    }
    policies = {"metadata": {"name": "our-policies", "namespace": NAMESPACE}, "data": {"team.rego": TEAM}}
    cluster.apply(secret, {"apiVersion": "v1", "kind": "ConfigMap", **policies})
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    enabled = gate.values("enforce", policies={"enabled": [*FEW, "team-label"]})
    values = {**enabled, "tls": {"existingSecret": "gate-tls", "caBundle": bundle}}
    gate.helm("install", values={**values, "policyConfigMaps": ["our-policies"]})

    good = workload("Pod", "teamless", SHOP, container("web", gate.registry.image(GOOD)))
    refused = cluster.apply(good, ok=False)
    assert "[team-label] has no label team. Add it." in refused.stderr
    good["metadata"]["labels"]["team"] = "checkout"
    cluster.apply(good)
    assert gate.ca_bundle == authority.cert_pem.bytes()
