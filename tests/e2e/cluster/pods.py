"""Stands in for the kubelets and the scheduler: runs the pods of one namespace as processes of this machine.

Each pod is bound to a node that takes pods, the one with the fewest; its volumes are filled (volumes.py) and looked
after, its containers are started (containers.py), probed as the pod says, started again where they die, and its status
is reported. A deleted pod gets SIGTERM, then its time. Several pods run at once: each has an address of its own in the
cluster, and for each port that it names one of this machine's loopback in truth, which the gate is told by its
environment and others by their arguments; ``true_port`` says which.
"""

import base64
import contextlib
import http.client
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.cluster.api import Api, ApiError
from e2e.cluster.containers import GATE, Container, Probes, spawn
from e2e.cluster.programs import Cluster
from e2e.cluster.volumes import Volumes
from portcullis.cli.demo.webhook import free_ports

LOOK_SECONDS = 0.1
REFRESH_SECONDS = 1.0
"""A real kubelet looks at mounted ConfigMaps and Secrets once a minute or so."""
GATE_PORTS = {
    "webhook": "PORTCULLIS_SERVER__PORT",
    "health": "PORTCULLIS_SERVER__HEALTHPORT",
    "pages": "PORTCULLIS_AUDIT__PAGES__PORT",
}

JSON = dict[str, Any]


@dataclass
class Running:
    """One pod that was started. ``ports`` are the true ones of those that it names."""

    name: str
    uid: str
    node: str
    folder: Path
    address: str
    ports: dict[int, int]
    named: dict[str, int]
    """The true ports by their names."""
    containers: dict[str, Container] = field(default_factory=dict)
    refreshed: float = field(default_factory=time.monotonic)
    killed_at: float | None = None
    gone: bool = False
    reported: JSON = field(default_factory=dict)

    @property
    def gate(self) -> Container:
        return self.containers[GATE]

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The gate's."""
        return self.gate.process

    @property
    def log(self) -> str:
        """The gate's."""
        return self.gate.log

    @property
    def restarts(self) -> int:
        return sum(container.restarts for container in self.containers.values())

    @property
    def ready(self) -> bool:
        return GATE in self.containers and all(container.ready for container in self.containers.values())

    @property
    def alive(self) -> bool:
        return any(container.alive for container in self.containers.values())


class Kubelet:
    """Looks after the pods of ``namespace`` on ``nodes`` in a thread of its own."""

    def __init__(self, cluster: Cluster, namespace: str, nodes: int = 1) -> None:
        self._cluster = cluster
        self._api: Api = cluster.api
        self._namespace = namespace
        self._volumes = Volumes(cluster, namespace)
        self.claims = self._volumes.claims
        self.nodes = tuple(f"node-{number}" for number in range(1, nodes + 1))
        self._stop = threading.Event()
        self.paused = threading.Event()
        """While it is set nothing is done: nodes that do not answer."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._fault: BaseException | None = None
        self.pods: dict[str, Running] = {}
        """By uid; those that are gone stay, so that their logs can be read."""

    @contextlib.contextmanager
    def running(self) -> Iterator["Kubelet"]:
        for node in self.nodes:
            if self._api.find(f"/api/v1/nodes/{node}") is None:
                self._api.post(
                    "/api/v1/nodes", {"metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}}}
                )
                status = {"status": {"conditions": [_condition("Ready", True)]}}
                self._api.patch(f"/api/v1/nodes/{node}/status", status)
                # Every node begins with the taint not-ready, which a controller that is off here would take away.
                self._api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": None}}, "merge-patch")
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(60)
            for pod in self.pods.values():
                _end(pod)
            if self._fault is not None:
                raise self._fault

    @property
    def alive(self) -> list[Running]:
        return [pod for pod in list(self.pods.values()) if pod.alive]

    @property
    def ready(self) -> list[Running]:
        """Those that are ready and stay."""
        return [pod for pod in self.alive if pod.ready and pod.killed_at is None]

    def true_port(self, address: str, port: int) -> int | None:
        """Where on this machine's loopback the port of a pod is; None where there is no such pod."""
        for pod in list(self.pods.values()):
            if pod.address == address:
                return pod.ports.get(port)
        return None

    def logs(self) -> str:
        pods = list(self.pods.values())
        return "\n".join(
            f"--- {pod.name} {one.name}\n{one.log[-6000:]}" for pod in pods for one in pod.containers.values()
        )

    def execute(self, pod: Running, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """``kubectl exec``."""
        return pod.gate.execute(words)

    # -- the loop --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.wait(LOOK_SECONDS):
                if not self.paused.is_set():
                    self._look_at_all()
        except BaseException as error:  # noqa: BLE001 - told by running()
            self._fault = error

    def _look_at_all(self) -> None:
        try:
            pods = self._api.get(self._path())["items"]
        except (OSError, http.client.HTTPException):
            return  # the API server is away; what runs goes on
        for pod in pods:
            try:
                self._look(pod)
            except ApiError as error:
                # The pod was changed or went away while we looked, or what it mounts is not there yet; an API server
                # that begins does not yet know who may do what.
                if error.code not in (403, 404, 409, 429, 500, 503):
                    raise
            except (OSError, http.client.HTTPException):
                return

    def _path(self, name: str = "", sub: str = "") -> str:
        return "/".join(part for part in (f"/api/v1/namespaces/{self._namespace}/pods", name, sub) if part)

    def _look(self, pod: JSON) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        running = self.pods.get(uid)
        if "deletionTimestamp" in pod["metadata"]:
            self._take_away(pod, running)
        elif not pod["spec"].get("nodeName"):
            if node := self._node():
                target = {"apiVersion": "v1", "kind": "Node", "name": node}
                self._api.post(self._path(name, "binding"), {"metadata": {"name": name}, "target": target})
        elif running is None:
            self._start(pod)
        else:
            self._look_after(pod, running)

    def _node(self) -> str:
        """Where the next pod goes; "" where no node takes any."""
        open_to_all = [
            node for node in self.nodes if not self._api.get(f"/api/v1/nodes/{node}")["spec"].get("unschedulable")
        ]
        bound = [pod["spec"].get("nodeName") for pod in self._api.get(self._path())["items"]]
        return min(open_to_all, key=bound.count, default="")

    def _take_away(self, pod: JSON, running: Running | None) -> None:
        """All containers are asked to end at once, and those that run beside the others when these are gone."""
        if running is not None and running.alive:
            now = time.monotonic()
            if running.killed_at is None:
                running.killed_at = now
            others = [one for one in running.containers.values() if not one.restartable]
            last = [one for one in running.containers.values() if one.restartable]
            ending = others if any(one.alive for one in others) else last
            over = now - running.killed_at > pod["metadata"].get("deletionGracePeriodSeconds", 30)
            for container in ending:
                if over:
                    container.send(signal.SIGKILL)
                elif not container.asked_to_end:
                    container.asked_to_end = True
                    container.send(signal.SIGTERM)
            self._report(running)
            return
        if running is not None:
            running.gone = True
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._api.delete(self._path(pod["metadata"]["name"]), options)

    def _look_after(self, pod: JSON, running: Running) -> None:
        for container in running.containers.values():
            if not container.alive:
                container.process = self._spawn(pod, container.spec, running)
                container.probes = Probes(container.spec)
                container.restarts += 1
        if all(container.probes.started for container in running.containers.values()):
            self._start_containers(pod, pod["spec"]["containers"], running)
        if time.monotonic() - running.refreshed > REFRESH_SECONDS:
            running.refreshed = time.monotonic()
            self._volumes.refresh(pod, running.folder)
        self._report(running)

    def _probe(self, running: Running) -> None:
        """In a thread of its own for each pod: one that hangs holds nobody else up."""
        while not (running.gone or self._stop.wait(LOOK_SECONDS)):
            for container in list(running.containers.values()):
                if container.alive and not self.paused.is_set():
                    ending = running.killed_at is not None
                    if container.probes.ask(container, running.ports, ending=ending):
                        container.send(signal.SIGTERM)

    def _report(self, running: Running) -> None:
        conditions = [_condition(kind, running.ready) for kind in ("Ready", "ContainersReady")]
        statuses: dict[str, list[JSON]] = {"containerStatuses": [], "initContainerStatuses": []}
        for container in running.containers.values():
            kind = "initContainerStatuses" if container.restartable else "containerStatuses"
            statuses[kind].append(_container_status(container))
        status = {
            "phase": "Running",
            "podIP": running.address,
            "podIPs": [{"ip": running.address}],
            "conditions": [_condition("PodScheduled", True), *conditions],
            **{kind: found for kind, found in statuses.items() if found},
        }
        shown = {**status, "conditions": running.ready}
        if shown != running.reported:
            self._api.patch(self._path(running.name, "status"), {"status": status})
            running.reported = shown

    # -- the start -------------------------------------------------------------------------------------------------

    def _start(self, pod: JSON) -> None:
        uid = pod["metadata"]["uid"]
        spec = pod["spec"]
        beside = spec.get("initContainers", [])
        named = [entry for one in (*beside, *spec["containers"]) for entry in one.get("ports", [])]
        true = free_ports(len(named))
        number = len(self.pods) + 1
        running = Running(
            name=pod["metadata"]["name"],
            uid=uid,
            node=spec["nodeName"],
            folder=Path(tempfile.mkdtemp(prefix="pod-", dir=self._cluster.folder)),
            address=f"10.244.{number // 250}.{number % 250 + 1}",
            ports={entry["containerPort"]: port for entry, port in zip(named, true, strict=True)},
            named={entry.get("name", ""): port for entry, port in zip(named, true, strict=True)},
        )
        assert all(one.get("restartPolicy") == "Always" for one in beside), "init containers that end are not done"
        self._start_containers(pod, beside or spec["containers"], running)
        self.pods[uid] = running
        threading.Thread(target=self._probe, args=(running,), daemon=True).start()
        self._report(running)

    def _start_containers(self, pod: JSON, containers: Sequence[JSON], running: Running) -> None:
        for one in containers:
            if one["name"] not in running.containers:
                process = self._spawn(pod, one, running)
                beside = one.get("restartPolicy") == "Always"
                running.containers[one["name"]] = Container(one, running.folder, beside, process, Probes(one))

    def _spawn(self, pod: JSON, spec: JSON, running: Running) -> "subprocess.Popen[bytes]":
        volumes = self._volumes.fill(pod, running.folder)
        environment = {"HOSTNAME": running.name, **self._environment(pod, spec, running)}
        return spawn(spec, running.folder, volumes, environment, running.ports)

    def _environment(self, pod: JSON, spec: JSON, running: Running) -> dict[str, str]:
        own: dict[str, str] = {}
        for entry in spec.get("env", []):
            value = self._value(pod, entry["valueFrom"], running) if "valueFrom" in entry else entry.get("value", "")
            own[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: own[found[1]], value)
        truth = {GATE_PORTS[name]: str(port) for name, port in running.named.items() if name in GATE_PORTS}
        return {
            "PATH": os.environ["PATH"],
            "PORTCULLIS_CONFIG": "/etc/portcullis/portcullis.yaml",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._cluster.port),
            **own,
            **truth,
        }

    def _value(self, pod: JSON, source: JSON, running: Running) -> str:
        if "secretKeyRef" in source:
            wanted = source["secretKeyRef"]
            found = self._api.get(f"/api/v1/namespaces/{self._namespace}/secrets/{wanted['name']}")
            return base64.b64decode(found["data"][wanted["key"]]).decode()
        known = {
            "metadata.name": running.name,
            "metadata.namespace": self._namespace,
            "metadata.uid": running.uid,
            "spec.nodeName": running.node,
            "status.podIP": running.address,
        }
        assert "fieldRef" in source, source
        return known[source["fieldRef"]["fieldPath"]]


def _container_status(container: Container) -> JSON:
    started = datetime.fromtimestamp(container.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "name": container.name,
        "ready": container.ready,
        "started": container.probes.started,
        "restartCount": container.restarts,
        "image": "",
        "imageID": "",
        "state": {"running": {"startedAt": started}},
    }


def _end(pod: Running) -> None:
    for container in pod.containers.values():
        container.send(signal.SIGTERM)
    for container in pod.containers.values():
        try:
            container.process.wait(60)
        except subprocess.TimeoutExpired:
            container.process.kill()
            container.process.wait()


def _condition(kind: str, state: bool) -> dict[str, str]:
    return {"type": kind, "status": str(state), "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
