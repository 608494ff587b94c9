"""The end of an installation of two replicas, in good order and in the worst: nothing is left but what is kept, pods
can be created, and it can be installed again. And the rescue, under load."""

import random
import time
from collections.abc import Iterator

import pytest
import yaml

from e2e.cluster.gate import CONFIGURATIONS, NAMESPACE, RELEASE, Installed, prepare_namespace
from e2e.cluster.losses import both_ready
from e2e.cluster.programs import Cluster, until
from e2e.cluster.stream import Stream, warm_up

SHOP = "shop"
OURS = f"app.kubernetes.io/instance={RELEASE}"
CLUSTER_WIDE = {
    f"clusterrole.rbac.authorization.k8s.io/{RELEASE}",
    f"clusterrole.rbac.authorization.k8s.io/{RELEASE}-break-glass",
    f"clusterrole.rbac.authorization.k8s.io/{RELEASE}-break-glass-reader",
    f"clusterrolebinding.rbac.authorization.k8s.io/{RELEASE}",
    "customresourcedefinition.apiextensions.k8s.io/breakglasses.portcullis.dev",
    f"flowschema.flowcontrol.apiserver.k8s.io/{RELEASE}",
}


@pytest.fixture
def gate(replicated: Installed) -> Iterator[Installed]:
    """Two replicas, which enforce; what the test before left behind is no obstacle."""
    cluster = replicated.cluster
    if cluster.api.find(f"/api/v1/namespaces/{SHOP}") is None:
        cluster.namespace(SHOP)
    if cluster.api.find(f"/api/v1/namespaces/{NAMESPACE}") is None:
        prepare_namespace(replicated)
    try:
        replicated.helm("install", values=replicated.values("enforce"))
        both_ready(replicated)
        warm_up(replicated, SHOP)
        yield replicated
    finally:
        replicated.kubelet.paused.clear()
        if cluster.run("helm", "status", RELEASE, "--namespace", NAMESPACE, ok=None).returncode == 0:
            replicated.helm("uninstall")
        gone(replicated)


def gone(gate: Installed) -> None:
    until(lambda: not gate.kubelet.alive, "the end of the gate's pods")


def left(cluster: Cluster) -> set[str]:
    """Every object of the release, whatever its kind."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").stdout.split()
    kinds = [kind for kind in kinds if not kind.startswith("events")]
    command = ("get", ",".join(kinds), "--all-namespaces", "--selector", OURS, "--output=name")
    return set(cluster.kubectl(*command).stdout.split())


def nothing_left(cluster: Cluster) -> bool:
    return not left(cluster)


def test_profiles_and_uninstall_under_load(gate: Installed) -> None:
    """Good pods can be created all the time, whichever profile replaces the other."""
    with Stream(gate, SHOP).running() as stream:
        stream.settle(enforced=True)
        for profile, failure_policy, enforced in (("audit", "Ignore", False), ("enforce", "Fail", True)):
            gate.helm("upgrade", values=gate.values(profile))
            stream.settle(enforced=enforced)
            assert gate.webhook()["failurePolicy"] == failure_policy
        gate.helm("uninstall")
        gone(gate)
        stream.settle(enforced=False)
    assert stream.locked_out == []
    until(lambda: nothing_left(gate.cluster), f"an empty cluster: {left(gate.cluster)}")


def test_by_hand_in_the_worst_order(gate: Installed) -> None:
    """What the gate needs is deleted first, by chance, and the webhook last. What is asked while it still stands and
    what it needs does not is refused; afterwards nothing is."""
    cluster = gate.cluster
    manifest = cluster.run("helm", "get", "manifest", RELEASE, "--namespace", NAMESPACE).stdout
    objects = [one for one in yaml.safe_load_all(manifest) if one]
    random.Random(1).shuffle(objects)
    objects.sort(key=lambda one: one["kind"] == "ValidatingWebhookConfiguration")
    for one in objects:
        text = yaml.safe_dump(one)
        cluster.kubectl("delete", "--wait=false", "--namespace", NAMESPACE, "--filename=-", stdin=text)
    cluster.kubectl("delete", "secrets", "--selector=owner=helm", "--namespace", NAMESPACE)
    gone(gate)
    until(lambda: nothing_left(cluster), f"an empty cluster: {left(cluster)}")
    admitted(gate)


def test_the_namespace_is_deleted(gate: Installed) -> None:
    """The webhook configuration goes with it. What else belongs to no namespace is left, rights and flows of an account
    that is gone; the next installation takes them over."""
    cluster = gate.cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=600s")
    until(lambda: cluster.api.find(f"{CONFIGURATIONS}/{RELEASE}") is None, "the end of the webhook configuration")
    gone(gate)
    assert left(cluster) <= CLUSTER_WIDE
    admitted(gate)


def admitted(gate: Installed) -> None:
    """Whatever is asked."""
    begun = time.monotonic()
    with Stream(gate, SHOP).running() as stream:
        stream.settle(enforced=False)
    assert [str(one) for one in stream.since(begun) if not one.created] == []


def test_the_rescue_under_load(gate: Installed) -> None:
    """No replica answers, and nothing will bring one back; then one command of NOTES.txt opens the cluster, and
    another brings the gate back."""
    cluster = gate.cluster
    with Stream(gate, SHOP).running() as stream:
        stream.settle(enforced=True)
        gate.kubelet.paused.set()
        time.sleep(0.5)
        for pod in gate.kubelet.alive:
            pod.process.kill()
        until(lambda: any(one.failed for one in stream.since(time.monotonic() - 1)), "the cluster to be locked")
        cluster.kubectl("delete", "validatingwebhookconfiguration", RELEASE)
        opened = time.monotonic()
        stream.settle(enforced=False)
        assert [str(one) for one in stream.since(opened) if not one.created] == []
        gate.kubelet.paused.clear()
        both_ready(gate)
        again = time.monotonic()
        gate.helm("upgrade", values=gate.values("enforce"))
        stream.settle(enforced=True)
    # While the configuration has no CA yet, which the gate writes, the API server trusts nobody.
    assert all("x509" in one.message for one in stream.since(again) if one.failed)
