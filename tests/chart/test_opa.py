"""OPA as the chart starts it beside the gate: the very arguments of the sidecar, run."""

import contextlib
import os
import signal
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chart.support import CHART, configuration_of, objects, pod_of, values_of
from contract.test_engine import NAMES, judge, messages
from fakes import opa
from portcullis.cli.demo.webhook import free_ports
from portcullis.errors import EngineUnavailable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.opa import OpaEngine
from portcullis.server.clock import SystemClock
from portcullis.server.engines import serving_of
from portcullis.server.settings import Settings

SIDECAR = values_of(CHART / "ci" / "sidecar-values.yaml")


def container() -> dict[str, Any]:
    (found,) = pod_of(SIDECAR)["initContainers"]
    return dict(found)


class Sidecar:
    """The container's program, with its folder and its port those of this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        self.socket = folder / "opa.sock"
        self.health = f"http://127.0.0.1:{port}/health"
        words = [*container()["command"], *container()["args"]]
        words = [word.replace("/run/opa/", f"{folder}/") for word in words]
        self.words = [word.replace("0.0.0.0:8282", f"127.0.0.1:{port}") for word in words]
        self.process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator["Sidecar"]:
        self.start()
        try:
            yield self
        finally:
            self.stop(signal.SIGTERM)

    def start(self) -> None:
        environment = {entry["name"]: entry["value"] for entry in container()["env"]}
        path = {"PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(self.words, env={**path, **environment})
        while not self.healthy():
            assert self.process.poll() is None
            time.sleep(0.02)

    def stop(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(10)

    def healthy(self) -> bool:
        """What the kubelet asks."""
        try:
            with urllib.request.urlopen(self.health, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def test_the_gate_and_the_sidecar_agree_on_the_socket() -> None:
    address = configuration_of(SIDECAR)["opa"]["address"]
    assert f"--addr={address}" in container()["args"]
    mounts = {mount["mountPath"] for mount in container()["volumeMounts"]}
    assert str(Path(address.removeprefix("unix://")).parent) in mounts
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert f"--diagnostic-addr=0.0.0.0:{ports['opa']}" in container()["args"]
    assert objects(SIDECAR)["Service"]["spec"]["ports"] == objects()["Service"]["spec"]["ports"]


@pytest.mark.anyio
@pytest.mark.opa
async def test_a_killed_sidecar_comes_back_with_its_policies(tmp_path: Path) -> None:
    """It leaves its socket behind, and is empty after its start: the gate publishes its policies again."""
    with Sidecar(tmp_path, free_ports(1)[0]).running() as sidecar:
        assert stat.S_IMODE(sidecar.socket.stat().st_mode) == 0o600
        settings = Settings.from_tree({"opa": {"address": f"unix://{sidecar.socket}"}})
        serving = serving_of(settings, DEFAULT_LIMITS)
        try:
            engine = OpaEngine(supervisor=serving, clock=SystemClock(), limits=DEFAULT_LIMITS)
            compiled = await engine.compile(opa.bundle(NAMES))
            assert messages(await judge(engine, compiled)) == ["web"]
            sidecar.stop(signal.SIGKILL)
            assert sidecar.socket.exists()
            with pytest.raises(EngineUnavailable):
                await judge(engine, compiled)
            sidecar.start()
            assert messages(await judge(engine, compiled)) == ["web"]
            assert serving.restarts == 1
        finally:
            await serving.aclose()
