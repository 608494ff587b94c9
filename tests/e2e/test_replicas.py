"""Two replicas on one PostgreSQL database: an upgrade, a drained node and the loss of either fail no request.

Everything is asked for under failurePolicy Fail: a request that no replica answers is refused.
"""

import signal
from collections.abc import Iterator

import pytest

from e2e.cluster.gate import NAMESPACE, Installed
from e2e.cluster.losses import READY_SECONDS, both_ready, kill, unexplained
from e2e.cluster.pods import Running
from e2e.cluster.programs import until
from e2e.cluster.stream import Stream, warm_up
from e2e.faulting.joining import Fate, joined, postgres_records

SHOP = "shop"
LOST: list[str] = []
"""Requests that were lost with the replica that had them."""


@pytest.fixture(scope="module")
def gate(replicated: Installed) -> Iterator[Installed]:
    """Two replicas on two nodes, which enforce; afterwards each request that a rule covers must have its record."""
    cluster = replicated.cluster
    replicated.helm("install", values=replicated.values("enforce", server={"stopDelaySeconds": 5}))
    both_ready(replicated)
    ungated = len(cluster.audit_events())
    cluster.namespace(SHOP)
    warm_up(replicated, SHOP)
    yield replicated
    found = joined(replicated, lambda: postgres_records(replicated), ungated=ungated)
    assert (found.of(Fate.UNMATCHED), found.unclaimed, found.twice) == ([], [], []), str(found)
    assert len(found.of(Fate.RECORDED)) > 200, "the run itself has seen less than it should"
    assert len(found.of(Fate.UNANSWERED)) == len(LOST)


@pytest.fixture
def stream(gate: Installed) -> Iterator[Stream]:
    both_ready(gate)
    with Stream(gate, SHOP).running() as running:
        running.settle(enforced=True)
        yield running


def failures(stream: Stream) -> list[str]:
    return [str(one) for one in stream.failures]


def test_they_share_the_work_and_stand_on_two_nodes(gate: Installed, stream: Stream) -> None:
    pods = both_ready(gate)
    assert {pod.node for pod in pods} == set(gate.kubelet.nodes)
    replicas = gate.shared("select replica from chains group by replica having count(*) > 0")
    assert {name for (name,) in replicas} == {pod.name for pod in pods}
    stream.settle()
    assert failures(stream) == []


def test_an_upgrade_replaces_both_and_fails_nothing(gate: Installed, stream: Stream) -> None:
    before = {pod.uid for pod in both_ready(gate)}
    values = gate.values("enforce", server={"stopDelaySeconds": 5})
    gate.helm("upgrade", values={**values, "podAnnotations": {"changed": "yes"}})
    after = {pod.uid for pod in both_ready(gate)}
    until(lambda: not before & {pod.uid for pod in gate.kubelet.alive}, "the end of the old ones")
    stream.settle(enforced=True)
    assert not before & after
    assert failures(stream) == []
    assert "matchConditions" not in gate.webhook(), "the webhook was never switched off"


def test_a_drained_node_fails_nothing(gate: Installed, stream: Stream) -> None:
    pods = both_ready(gate)
    node = pods[0].node
    gate.cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=600s")
    try:
        moved = both_ready(gate)
        stream.settle(enforced=True)
        assert {pod.node for pod in moved} == set(gate.kubelet.nodes) - {node}
    finally:
        gate.cluster.kubectl("uncordon", node)
    assert failures(stream) == []


def test_a_budget_keeps_the_last_one(gate: Installed, stream: Stream) -> None:
    """Both nodes are drained at once: whoever comes second waits until there is another replica."""
    for node in gate.kubelet.nodes:
        gate.cluster.kubectl("cordon", node)
    first, second = both_ready(gate)
    evict = "/api/v1/namespaces/{}/pods/{}/eviction"
    try:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first.name}}
        gate.cluster.api.post(evict.format(NAMESPACE, first.name), body)
        refused = gate.cluster.kubectl("drain", second.node, "--timeout=5s", "--delete-emptydir-data", ok=False)
        assert "Cannot evict pod as it would violate the pod's disruption budget" in refused.stderr
    finally:
        for node in gate.kubelet.nodes:
            gate.cluster.kubectl("uncordon", node)
    both_ready(gate)
    assert failures(stream) == []


def test_a_replica_that_is_told_to_stop_fails_nothing(gate: Installed, stream: Stream) -> None:
    """SIGTERM, as after a liveness probe that failed: its pod stays, and nobody but the probe of readiness tells the
    cluster."""
    pod, _ = both_ready(gate)
    before = pod.process.pid
    pod.gate.send(signal.SIGTERM)
    restarted(gate, pod, before)
    stream.settle(enforced=True)
    assert failures(stream) == []


def test_a_killed_replica_fails_only_what_it_held(gate: Installed, stream: Stream) -> None:
    """kill -9: see Loss for what nobody can save. What is asked later goes to the other one, and fails nothing."""
    _, pod = both_ready(gate)
    before = pod.process.pid
    loss = kill(gate, pod)
    restarted(gate, pod, before)
    stream.settle(enforced=True)
    LOST.extend(map(str, stream.failures))
    assert unexplained(stream.failures, loss) == []


def restarted(gate: Installed, pod: Running, before: int) -> None:
    until(lambda: pod.process.pid != before and pod.ready, "the replica again", READY_SECONDS)
    both_ready(gate)
