"""Replicas that are killed, and what nobody can save then."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from e2e.cluster.gate import NAMESPACE, RELEASE, Installed
from e2e.cluster.pods import Running
from e2e.cluster.programs import until
from e2e.cluster.stream import Sent

READY_SECONDS = 240.0
SLACK_SECONDS = 0.3
"""For the API server and the proxy to hear of it."""
CUT = ("EOF", "connection reset by peer", "broken pipe")
"""What the API server says of a request whose connection ended before its answer."""
REFUSED = ("no endpoint", "connection refused")
"""And of one for which there was no connection."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A replica that was killed: when, since when its process was gone, and since when the cluster knew. Instants of
    time.monotonic()."""

    killed: float
    dead: float
    noticed: float

    def explains(self, one: Sent) -> bool:
        """The API server does not repeat a review: lost is what was on a connection to that replica. And until the
        node has told the cluster that the container is dead, a new connection may be sent to it and is refused."""
        cut = one.started <= self.dead + SLACK_SECONDS and one.ended >= self.killed
        refused = one.started <= self.noticed + SLACK_SECONDS and one.ended >= self.killed
        return (cut and _says(one, CUT)) or (refused and _says(one, REFUSED))


def kill(gate: Installed, pod: Running) -> Loss:
    """kill -9; returns when new connections go elsewhere."""
    before, restarts = pod.process, pod.restarts
    killed = time.monotonic()
    before.send_signal(signal.SIGKILL)
    until(lambda: before.poll() is not None, "the end of the process", pause=0.005)
    dead = time.monotonic()
    # It may be back before anybody looks.
    until(lambda: pod.address not in endpoints(gate) or pod.restarts > restarts, "the cluster to notice")
    until(lambda: pod.address not in endpoints(gate) or pod.ready, "the cluster to notice")
    return Loss(killed, dead, time.monotonic())


def both_ready(gate: Installed) -> list[Running]:
    """Two replicas, and the cluster knows."""

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


def unexplained(failures: Sequence[Sent], *losses: Loss) -> list[str]:
    return [str(one) for one in failures if not any(loss.explains(one) for loss in losses)]


def _says(one: Sent, words: Sequence[str]) -> bool:
    return one.code == 500 and any(word in one.message for word in words)
