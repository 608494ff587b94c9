"""A real control plane on free loopback ports: etcd, kube-apiserver, kube-controller-manager.

What it has of a cluster beside that: a stand-in for kubelets (pods.py), which runs the pods of chosen namespaces as
processes, and one for kube-proxy (network.py), through which the API server reaches services. There is no scheduler:
other pods stay pending, which is far enough for admission.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.api import Api, ApiError
from e2e.cluster.pki import PERSON, Pki, make_pki
from fakes.patience import PATIENCE_SECONDS
from portcullis.cli.demo.webhook import free_ports

START_SECONDS = 90
STOP_SECONDS = 60
SERVICE_RANGE = "10.96.0.0/24"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    # What admission saw of an object is in the webhook's own records; here only who asked for what, and the answer.
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


@dataclass
class Cluster:
    """The running control plane. ``api`` is the administrator's."""

    folder: Path
    port: int
    pki: Pki
    api: Api
    kubeconfig: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    """The arguments of each program that was started."""
    _audited: int = 0
    """Where in the API server's audit log its events begin for those who read them now."""

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def environment(self) -> dict[str, str]:
        """For kubectl and Helm: nothing of the person who runs the tests."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR", "LANG")}
        return {**kept, "HOME": str(home), "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(home / "cache")}

    def run(
        self, *command: str, stdin: str = "", ok: bool | None = True, seconds: float = 660
    ) -> "subprocess.CompletedProcess[str]":
        """kubectl, helm and their like; ``ok`` None takes any exit code."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, env=self.environment
        )
        if ok is not None:
            assert (done.returncode == 0) is ok, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\n{stdin}"
        return done

    def kubectl(self, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        return self.run("kubectl", *arguments, **more)

    def apply(
        self, *objects: Any, ok: bool | None = True, options: Sequence[str] = ()
    ) -> "subprocess.CompletedProcess[str]":
        text = yaml.safe_dump_all(objects)
        return self.kubectl("apply", "-f", "-", *options, stdin=text, ok=ok)

    def namespace(self, name: str) -> str:
        """Makes it, and waits until pods can be created in it."""
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        until(lambda: self.api.find(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "a default service account")
        return name

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends one of its programs; returns when it has ended."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(STOP_SECONDS)

    def start(self, name: str) -> None:
        """Starts one that was ended, as it was started before; returns when it answers."""
        _start(self, name, self.commands[name])
        if name == "kube-apiserver":
            _until_answering(self)

    def audit_events(self) -> list[dict[str, Any]]:
        """The API server's own audit log; a line that is being written is left out."""
        if not self.audit_log.exists():
            return []
        with self.audit_log.open("rb") as log:
            log.seek(self._audited)
            return [json.loads(line) for line in log if line.endswith(b"\n")]

    def forget_audit_events(self) -> None:
        """Those until now are of somebody else."""
        self._audited = self.audit_log.stat().st_size if self.audit_log.exists() else 0


def until(look: Any, what: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.05) -> Any:
    """What ``look`` gives as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(pause)


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[Cluster]:
    """Starts it in ``folder``, and stops exactly what was started."""
    for program in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"):
        assert shutil.which(program), f"{program} is not on PATH: run these tests through `make e2e`"
    pki = make_pki(folder / "pki")
    (port,) = free_ports(1)
    server = f"https://127.0.0.1:{port}"
    kubeconfig = pki.kubeconfig(server, PERSON, "system:masters")
    api = Api(port, pki.ca, pki.client(PERSON, "system:masters"))
    cluster = Cluster(folder, port, pki, api, kubeconfig)
    try:
        (etcd,) = free_ports(1)
        _start(cluster, "etcd", _etcd(folder, etcd))
        _start(cluster, "kube-apiserver", _api_server(cluster, etcd))
        _until_answering(cluster)
        _start(cluster, "kube-controller-manager", _controllers(cluster, server))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        until(lambda: _alive(cluster) and api.find(account), "the controller manager", START_SECONDS)
        yield cluster
    finally:
        api.close()
        for process in reversed(cluster.processes.values()):
            _stop(process)


def leashed(command: Sequence[str]) -> list[str]:
    """Ends with us, even where we are killed."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def log_tail(cluster: Cluster, name: str) -> str:
    return (cluster.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def _start(cluster: Cluster, name: str, arguments: Sequence[str]) -> None:
    cluster.commands[name] = arguments
    with (cluster.folder / f"{name}.log").open("ab") as log:
        cluster.processes[name] = subprocess.Popen(
            leashed([name, *arguments]), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _alive(cluster: Cluster) -> bool:
    for name, process in cluster.processes.items():
        assert process.poll() is None, f"{name} ended:\n{log_tail(cluster, name)}"
    return True


def _until_answering(cluster: Cluster) -> None:
    def ready() -> bool:
        with contextlib.suppress(OSError, ApiError):
            return _alive(cluster) and cluster.api.text("/readyz") == "ok"
        return False

    until(ready, "the API server", START_SECONDS, 0.1)


def _etcd(folder: Path, port: int) -> list[str]:
    peers = f"http://127.0.0.1:{free_ports(1)[0]}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(cluster: Cluster, etcd: int) -> list[str]:
    folder, pki = cluster.folder, cluster.pki
    policy, egress = folder / "audit-policy.yaml", folder / "egress.yaml"
    policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
    egress.write_text(yaml.safe_dump(_egress(folder)))
    certificate, key = pki.server
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={cluster.port}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--client-ca-file={pki.ca}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.token_key}",
        f"--service-account-signing-key-file={pki.token_key}",
        "--authorization-mode=Node,RBAC",
        f"--egress-selector-config-file={egress}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={cluster.audit_log}",
        "--audit-log-mode=blocking",
    ]


def _egress(folder: Path) -> dict[str, Any]:
    """Calls to services leave through a proxy, as in clusters whose control plane stands outside of their network."""
    uds = {"udsName": str(service_socket(folder))}
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": uds}}
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }


def service_socket(folder: Path) -> Path:
    """Where network.py listens. sun_path holds 108 bytes, and pytest's folders are deep."""
    return Path(tempfile.gettempdir()) / f"portcullis-e2e-{os.getpid()}-{zlib.crc32(bytes(folder))}.sock"


def _controllers(cluster: Cluster, server: str) -> list[str]:
    pki = cluster.pki
    kubeconfig = pki.kubeconfig(server, "system:kube-controller-manager")
    # Nodes are stand-ins that send no heartbeats.
    off = ("node-lifecycle-controller", "node-ipam-controller")
    return [
        f"--kubeconfig={kubeconfig}",
        # Its own default of 20 requests a second would hold workloads up longer than anything that is looked at here.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--controllers=*,{','.join(f'-{name}' for name in off)}",
        f"--root-ca-file={pki.ca}",
        f"--service-account-private-key-file={pki.token_key}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_ports(1)[0]}",
    ]


if __name__ == "__main__":
    # For looking around by hand: python -m e2e.cluster.programs FOLDER
    with control_plane(Path(sys.argv[1])) as running:
        print(f"export KUBECONFIG={running.kubeconfig}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while _alive(running):
                time.sleep(1)
