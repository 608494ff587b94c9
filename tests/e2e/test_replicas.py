"""Two replicas on one PostgreSQL database: an upgrade, a drained node and the loss of either fail no request.

Everything is asked for under failurePolicy Fail: a request that no replica answers is refused.
"""

import signal
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.gate import NAMESPACE, RELEASE, Installed, assert_joined, prepared, shared_store
from e2e.cluster.pods import Running
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import SampleRegistry
from e2e.cluster.stream import Sent, Stream, warm_up

SHOP = "shop"
READY_SECONDS = 120
LOST = ("EOF", "connection reset by peer", "broken pipe")
"""What the API server says of a request whose connection ended before its answer."""


@pytest.fixture(scope="module")
def gate(cluster: Cluster, sample_registry: SampleRegistry) -> Iterator[Installed]:
    """Two replicas on two nodes, which enforce; afterwards each request that a rule covers must have its record."""
    with prepared(cluster, sample_registry, nodes=2) as release, shared_store(release):
        cluster.namespace(SHOP)
        release.helm("install", values=release.values("enforce"))
        both_ready(release)
        warm_up(release, SHOP)
        yield release
        assert_joined(release)
        chains = {record["chain"] for record in release.records}
        assert len(chains) > 4, "each run of each replica writes its own chain"


@pytest.fixture
def stream(gate: Installed) -> Iterator[Stream]:
    both_ready(gate)
    with Stream(gate, SHOP).running() as running:
        running.settle(enforced=True)
        yield running


def both_ready(gate: Installed) -> list[Running]:
    def ready() -> list[Running]:
        found = gate.kubelet.ready
        return found if len(found) == 2 and endpoints(gate) == {pod.address for pod in found} else []

    return list(until(ready, "two replicas", READY_SECONDS))


def endpoints(gate: Installed) -> set[str]:
    """The addresses to which new connections go."""
    selector = f"labelSelector=kubernetes.io/service-name%3D{RELEASE}"
    found = gate.cluster.api.get(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices?{selector}")
    return {
        endpoint["addresses"][0]
        for one in found["items"]
        for endpoint in one.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    }


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
    gate.helm("upgrade", values=gate.values("enforce", platforms=["linux/amd64"]))
    after = {pod.uid for pod in both_ready(gate)}
    until(lambda: not before & {pod.uid for pod in gate.kubelet.alive}, "the end of the old ones", 60)
    stream.settle(enforced=True)
    assert not before & after
    assert failures(stream) == []
    assert "matchConditions" not in gate.webhook(), "the webhook was never switched off"


def test_a_drained_node_fails_nothing(gate: Installed, stream: Stream) -> None:
    pods = both_ready(gate)
    node = pods[0].node
    gate.cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
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
        refused = gate.cluster.kubectl("drain", second.node, "--timeout=2s", "--delete-emptydir-data", ok=False)
        assert "Cannot evict pod as it would violate the pod's disruption budget" in refused.stderr
    finally:
        for node in gate.kubelet.nodes:
            gate.cluster.kubectl("uncordon", node)
    both_ready(gate)
    assert failures(stream) == []


@pytest.mark.parametrize("which", [0, 1])
def test_a_replica_that_is_told_to_stop_fails_nothing(gate: Installed, stream: Stream, which: int) -> None:
    """SIGTERM, as after a liveness probe that failed: its pod stays, and nobody but the probe of readiness tells the
    cluster."""
    pod = both_ready(gate)[which]
    before = pod.process.pid
    pod.gate.send(signal.SIGTERM)
    restarted(gate, pod, before)
    stream.settle(enforced=True)
    assert failures(stream) == []


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_replica_fails_only_what_it_held(gate: Installed, stream: Stream, which: int) -> None:
    """kill -9. The API server does not repeat a review: what was in flight on a connection to that replica is lost,
    and nobody can save it. What is asked later goes to the other one, as soon as the node has told the cluster that
    the container is dead; until then a new connection may still be sent to it, and is refused."""
    pod = both_ready(gate)[which]
    before = pod.process.pid
    killed = time.monotonic()
    pod.gate.send(signal.SIGKILL)
    until(lambda: pod.address not in endpoints(gate), "the cluster to notice")
    noticed = time.monotonic()
    restarted(gate, pod, before)
    stream.settle(enforced=True)
    other = [str(one) for one in stream.failures if not lost(one, killed) and not turned_away(one, killed, noticed)]
    assert other == []
    assert [str(one) for one in stream.failures if one.started > noticed + 1] == []


def lost(one: Sent, killed: float) -> bool:
    """In flight when the replica was killed."""
    return one.started <= killed <= one.ended and any(words in one.message for words in LOST)


def turned_away(one: Sent, killed: float, noticed: float) -> bool:
    """Sent to a pod that was dead already and still an endpoint."""
    return killed <= one.ended and one.started <= noticed + 0.2 and "no endpoint" in one.message


def restarted(gate: Installed, pod: Running, before: int) -> None:
    until(lambda: pod.process.pid != before and pod.ready, "the replica again", READY_SECONDS)
    both_ready(gate)
