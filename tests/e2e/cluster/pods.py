"""Stands in for the kubelet: runs the pods of one namespace as processes of this machine.

Each pod is bound to a node, its volumes are filled from the API server (ConfigMaps, Secrets, a token of its service
account), its container's arguments run in mounts of their own (root.py), its probes are asked, and its status is
reported; a deleted pod gets SIGTERM, then its time. Volume claims are folders that outlive pods. What is not done:
images are not pulled (the program is this checkout's), and the process keeps the user that runs the tests.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.cluster.api import Api, ApiError
from e2e.cluster.programs import Cluster, leashed, until

NODE = "node-1"
LOOK_SECONDS = 0.1
PROBE_SECONDS = 0.5
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Running:
    """One pod that was started."""

    name: str
    folder: Path
    address: str
    probe: tuple[int, str]
    process: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    asked: float = 0.0
    killed_at: float | None = None
    restarts: int = 0

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Kubelet:
    """Looks after the pods of ``namespace`` in a thread of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._api: Api = cluster.api
        self._namespace = namespace
        self.claims = cluster.folder / "claims"
        self._stop = threading.Event()
        self.paused = threading.Event()
        """While it is set nothing is done: a node that does not answer."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._count = 0
        self._fault: BaseException | None = None
        self.pods: dict[str, Running] = {}
        """By uid; those that are gone stay, so that their logs can be read."""

    @contextlib.contextmanager
    def running(self) -> Iterator["Kubelet"]:
        if self._api.find(f"/api/v1/nodes/{NODE}") is None:
            self._api.post("/api/v1/nodes", {"metadata": {"name": NODE}})
            status = {"status": {"conditions": [_condition("Ready", True)]}}
            self._api.patch(f"/api/v1/nodes/{NODE}/status", status)
            # Every node begins with the taint not-ready, which a controller that is off here would take away.
            self._api.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": None}}, "merge-patch")
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(30)
            for pod in self.pods.values():
                _end(pod.process)
            if self._fault is not None:
                raise self._fault

    def logs(self) -> str:
        return "\n".join(f"--- {pod.name}\n{pod.log[-6000:]}" for pod in self.pods.values())

    def execute(self, pod: Running, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """``kubectl exec``: runs the words in the pod's mounts, with its environment. The image's executable is
        this checkout's."""
        command = [sys.executable, "-m", "portcullis", *words[1:]] if words[0] == "portcullis" else list(words)
        wanted = json.loads((pod.folder / "specification.json").read_text())
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        enter = ["nsenter", *user, "--target", str(pod.process.pid), "--mount", "--root", "--wd", *command]
        return subprocess.run(enter, capture_output=True, text=True, timeout=60, env=wanted["environment"])

    @property
    def alive(self) -> list[Running]:
        return [pod for pod in self.pods.values() if pod.process.poll() is None]

    def _run(self) -> None:
        try:
            while not self._stop.wait(LOOK_SECONDS):
                if self.paused.is_set():
                    continue
                try:
                    for pod in self._api.get(self._path())["items"]:
                        self._look(pod)
                except ApiError as error:
                    # The pod was changed or went away while we looked.
                    if error.code not in (404, 409):
                        raise
        except BaseException as error:  # noqa: BLE001 - told by running()
            self._fault = error

    def _path(self, name: str = "", sub: str = "") -> str:
        return "/".join(part for part in (f"/api/v1/namespaces/{self._namespace}/pods", name, sub) if part)

    def _look(self, pod: dict[str, Any]) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        running = self.pods.get(uid)
        if "deletionTimestamp" in pod["metadata"]:
            self._take_away(pod, running)
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            self._api.post(self._path(name, "binding"), {"metadata": {"name": name}, "target": target})
        elif running is None:
            self.pods[uid] = running = self._start(pod)
            self._report(running)
        else:
            self._look_after(pod, running)

    def _take_away(self, pod: dict[str, Any], running: Running | None) -> None:
        if running is not None and running.process.poll() is None:
            now = time.monotonic()
            if running.killed_at is None:
                running.process.send_signal(signal.SIGTERM)
                running.killed_at = now
            elif now - running.killed_at > pod["metadata"].get("deletionGracePeriodSeconds", 30):
                running.process.kill()
            self._probe(running)
            return
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._api.delete(self._path(pod["metadata"]["name"]), options)

    def _look_after(self, pod: dict[str, Any], running: Running) -> None:
        if running.process.poll() is not None:
            running.restarts += 1
            running.process = self._spawn(pod, running.folder)
            running.ready = False
            self._report(running)
        self._probe(running)

    def _probe(self, running: Running) -> None:
        now = time.monotonic()
        if now - running.asked < PROBE_SECONDS:
            return
        running.asked = now
        port, path = running.probe
        ready = _asked(port, path)
        if ready != running.ready:
            running.ready = ready
            self._report(running)

    def _report(self, running: Running) -> None:
        conditions = [_condition(kind, running.ready) for kind in ("Ready", "ContainersReady")]
        container = {
            "name": "portcullis",
            "ready": running.ready,
            "started": True,
            "restartCount": running.restarts,
            "image": "",
            "imageID": "",
            "state": {"running": {"startedAt": _now()}},
        }
        status = {
            "phase": "Running",
            "podIP": running.address,
            "podIPs": [{"ip": running.address}],
            "conditions": [_condition("PodScheduled", True), *conditions],
            "containerStatuses": [container],
        }
        self._api.patch(self._path(running.name, "status"), {"status": status})

    def _start(self, pod: dict[str, Any]) -> Running:
        self._count += 1
        folder = Path(tempfile.mkdtemp(prefix="pod-", dir=self._cluster.folder))
        (container,) = pod["spec"]["containers"]
        probe = container["readinessProbe"]["httpGet"]
        ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
        port = probe["port"] if isinstance(probe["port"], int) else ports[probe["port"]]
        return Running(
            name=pod["metadata"]["name"],
            folder=folder,
            address=f"10.244.0.{self._count}",
            probe=(port, probe["path"]),
            process=self._spawn(pod, folder),
        )

    def _spawn(self, pod: dict[str, Any], folder: Path) -> "subprocess.Popen[bytes]":
        (container,) = pod["spec"]["containers"]
        sources = {volume["name"]: self._volume(pod, volume, folder) for volume in pod["spec"].get("volumes", [])}
        mounts = [
            {
                "source": str(sources[entry["name"]]),
                "target": entry["mountPath"],
                "writable": not entry.get("readOnly", False),
            }
            for entry in container["volumeMounts"]
        ]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        specification = {
            "mounts": [*mounts, *_program()],
            "command": [sys.executable, "-m", "portcullis", *container["args"]],
            "environment": self._environment(pod, container),
        }
        (folder / "specification.json").write_text(json.dumps(specification))
        unshare = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
        command = [*unshare, sys.executable, str(Path(__file__).with_name("root.py"))]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                leashed([*command, str(folder / "specification.json")]),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def _environment(self, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
        own: dict[str, str] = {}
        for entry in container.get("env", []):
            value = entry.get("value", "")
            if "valueFrom" in entry:
                assert entry["valueFrom"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
                value = pod["metadata"]["name"]
            own[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: own[found[1]], value)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PORTCULLIS_CONFIG": "/etc/portcullis/portcullis.yaml",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._cluster.port),
            **own,
        }

    def _volume(self, pod: dict[str, Any], volume: dict[str, Any], folder: Path) -> Path:
        if "persistentVolumeClaim" in volume:
            place = self.claims / self._bound_claim(volume["persistentVolumeClaim"]["claimName"])
        else:
            place = folder / "volumes" / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            for name, content in self._files(pod, source).items():
                (place / name).write_text(content)
        return place

    def _bound_claim(self, name: str) -> str:
        """The claim's uid; as a provisioner would, makes the volume that it is then bound to."""
        path = f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims/{name}"
        claim = self._api.get(path)
        uid: str = claim["metadata"]["uid"]
        if claim["status"]["phase"] != "Bound":
            spec = {
                "capacity": claim["spec"]["resources"]["requests"],
                "accessModes": claim["spec"]["accessModes"],
                "claimRef": {"namespace": self._namespace, "name": name, "uid": uid},
                "storageClassName": claim["spec"].get("storageClassName", ""),
                "hostPath": {"path": str(self.claims / uid)},
                "persistentVolumeReclaimPolicy": "Retain",
            }
            self._api.post("/api/v1/persistentvolumes", {"metadata": {"name": f"pv-{uid}"}, "spec": spec})
            until(lambda: self._api.get(path)["status"]["phase"] == "Bound", f"the volume of {name}")
        return uid

    def _files(self, pod: dict[str, Any], source: dict[str, Any]) -> dict[str, str]:
        base = f"/api/v1/namespaces/{self._namespace}"
        if "configMap" in source:
            found: dict[str, str] = self._api.get(f"{base}/configmaps/{source['configMap']['name']}").get("data", {})
            return found
        if "secret" in source:
            data = self._api.get(f"{base}/secrets/{source['secret']['secretName']}")["data"]
            return {name: base64.b64decode(content).decode() for name, content in data.items()}
        if "serviceAccountToken" in source:
            bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
            spec = {"expirationSeconds": source["serviceAccountToken"]["expirationSeconds"], "boundObjectRef": bound}
            account = pod["spec"]["serviceAccountName"]
            token = self._api.post(f"{base}/serviceaccounts/{account}/token", {"spec": spec})
            return {source["serviceAccountToken"]["path"]: token["status"]["token"]}
        if "downwardAPI" in source:
            return {"namespace": self._namespace}
        assert "emptyDir" in source or "persistentVolumeClaim" in source or "projected" in source, source
        return {}


def _program() -> list[dict[str, object]]:
    """What the image would bring: Python with its packages, this checkout, OPA."""
    opa = shutil.which("opa")
    assert opa is not None
    places = {Path(sys.prefix), Path(sys.base_prefix).resolve(), ROOT, Path(opa).parent, Path(opa).resolve().parent}
    return [
        {"source": str(place), "target": str(place), "writable": False}
        for place in sorted(places)
        if not place.is_relative_to("/usr")
    ]


def _asked(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _condition(kind: str, state: bool) -> dict[str, str]:
    return {"type": kind, "status": str(state), "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
