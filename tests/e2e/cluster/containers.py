"""The containers of pods, as a container runtime runs them: processes of this machine in mounts of their own (root.py).

What is not done: images are not pulled (the programs are this checkout's Python and OPA), and a process keeps the user
that runs the tests.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster.programs import leashed

ROOT = Path(__file__).resolve().parents[3]
GATE = "portcullis"
"""Name of the container that runs the gate, and of its executable."""

JSON = dict[str, Any]


@dataclass
class Container:
    """One container of a pod. ``spec`` is what the pod says of it; ``restartable`` are init containers that run beside
    the others and end after them."""

    spec: JSON
    folder: Path
    restartable: bool
    process: "subprocess.Popen[bytes]"
    probes: "Probes"
    restarts: int = 0
    began: float = field(default_factory=time.time)
    asked_to_end: bool = False

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def ready(self) -> bool:
        return self.alive and self.probes.ready

    @property
    def log(self) -> str:
        file = self.folder / f"{self.name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def execute(self, words: Sequence[str], seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """Runs the words in the container's mounts, with its environment. The image's executable is this checkout's."""
        command = [*_gate(), *words[1:]] if words[0] == GATE else list(words)
        wanted = json.loads((self.folder / f"{self.name}.json").read_text())
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        enter = ["nsenter", *user, "--target", str(self.process.pid), "--mount", "--root", "--wd", *command]
        return subprocess.run(enter, capture_output=True, text=True, timeout=seconds, env=wanted["environment"])


def spawn(
    spec: JSON, folder: Path, volumes: Mapping[str, Path], environment: Mapping[str, str], ports: Mapping[int, int]
) -> "subprocess.Popen[bytes]":
    """Starts the container's program. Ends with the thread that started it.

    Args:
        volumes: the folder of each volume of the pod.
        ports: the true port of each port that the pod names. The gate is told by its environment, other programs by
            their arguments.
    """
    assert spec["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = [
        {
            "source": str(volumes[entry["name"]] / entry.get("subPath", "")),
            "target": entry["mountPath"],
            "writable": not entry.get("readOnly", False),
        }
        for entry in spec.get("volumeMounts", [])
    ]
    specification = folder / f"{spec['name']}.json"
    specification.write_text(
        json.dumps(
            {
                "mounts": [*mounts, *_program(), *_compiled()],
                "root": f"root-{spec['name']}",
                "hostname": environment["HOSTNAME"],
                "command": _command(spec, ports),
                "environment": {**environment, **{name: str(place) for name, place in _CACHE.items()}},
            }
        )
    )
    unshare = ["unshare", "--mount", "--uts", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    command = [*unshare, sys.executable, str(Path(__file__).with_name("root.py")), str(specification)]
    with (folder / f"{spec['name']}.log").open("ab") as log:
        return subprocess.Popen(leashed(command), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _command(spec: JSON, ports: Mapping[int, int]) -> list[str]:
    command, arguments = spec.get("command", [GATE]), spec.get("args", [])
    if command[0] == GATE:
        return [*_gate(), *command[1:], *arguments]
    program = shutil.which(command[0])
    assert program is not None, command
    words = [program, *command[1:], *arguments]
    for port, true in ports.items():
        words = [re.sub(rf"(?<=:){port}\b", str(true), word) for word in words]
    return words


def _gate() -> list[str]:
    return [sys.executable, "-m", "portcullis"]


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


_CACHE = {"PYTHONPYCACHEPREFIX": Path(sys.pycache_prefix)} if sys.pycache_prefix else {}
"""What the image brings as well: compiled modules. Without them each start costs twice as much."""


def _compiled() -> list[dict[str, object]]:
    for place in _CACHE.values():
        place.mkdir(parents=True, exist_ok=True)
    return [{"source": str(place), "target": str(place), "writable": True} for place in _CACHE.values()]


# -- probes --------------------------------------------------------------------------------------------------------


@dataclass
class Probe:
    """A probe as the pod says it, and what came of it lately."""

    spec: JSON
    period: float
    failures: int
    timeout: float
    asked: float = 0.0
    failed: int = 0
    passed: bool = False
    """Whether it passes, by its threshold."""

    def ask(self, container: Container, ports: Mapping[int, int], *, patient: bool) -> None:
        """Asks, if it is time to. One that has not passed yet is asked more often than the pod says, unless
        ``patient``: tests need not wait."""
        pause = self.period if self.passed or patient else min(self.period, HURRY_SECONDS)
        if time.monotonic() - self.asked < pause:
            return
        self.asked = time.monotonic()
        self.failed = 0 if self._answer(container, ports) else self.failed + 1
        if not self.failed:
            self.passed = True
        elif self.failed >= self.failures:
            self.passed = False

    def _answer(self, container: Container, ports: Mapping[int, int]) -> bool:
        if "exec" in self.spec:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return container.execute(self.spec["exec"]["command"], self.timeout).returncode == 0
            return False
        wanted = self.spec["httpGet"]
        named = {entry["name"]: entry["containerPort"] for entry in container.spec.get("ports", [])}
        port = wanted["port"] if isinstance(wanted["port"], int) else named[wanted["port"]]
        connection = http.client.HTTPConnection("127.0.0.1", ports.get(port, port), timeout=self.timeout)
        try:
            connection.request("GET", wanted.get("path", "/"))
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


HURRY_SECONDS = 0.25


class Probes:
    """Those of one run of a container. One without a readiness probe is ready as soon as it runs."""

    def __init__(self, spec: JSON) -> None:
        self._startup, self._liveness, self._readiness = (
            _probe(spec.get(f"{kind}Probe")) for kind in ("startup", "liveness", "readiness")
        )

    @property
    def started(self) -> bool:
        return self._startup is None or self._startup.passed

    @property
    def ready(self) -> bool:
        return self.started and (self._readiness is None or self._readiness.passed)

    def ask(self, container: Container, ports: Mapping[int, int], *, ending: bool) -> bool:
        """Asks those whose time it is; whether the container has to be restarted. One that is ending is not asked
        whether it lives; one that begins has all the time that a busy machine takes."""
        if not self.started:
            assert self._startup is not None
            self._startup.ask(container, ports, patient=False)
            return False
        if self._readiness is not None:
            self._readiness.ask(container, ports, patient=False)
        if self._liveness is None or ending:
            return False
        self._liveness.ask(container, ports, patient=True)
        return self._liveness.failed >= self._liveness.failures


def _probe(spec: JSON | None) -> Probe | None:
    if spec is None:
        return None
    return Probe(spec, spec.get("periodSeconds", 10), spec.get("failureThreshold", 3), spec.get("timeoutSeconds", 1))
