"""The program as people and CI systems run it: by its commands."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.programs import leashed

COMMAND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """``lines`` are what it printed last, by their names; ``registry`` has the samples."""

    lines: dict[str, str]
    output: str

    @property
    def config(self) -> Path:
        return Path(self.lines["config"])

    @property
    def registry(self) -> str:
        found = re.search(r"127\.0\.0\.1:\d+(?=/)", self.lines["inspect"])
        assert found is not None
        return found[0]


class Forker:
    """The process whose children the commands are; started with the first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket
        self._lock = threading.Lock()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], place: Path, folder: Path) -> int:
        """One command, typed in ``place``, whose streams are in ``folder``; its exit code."""
        with self._lock:
            if self._process is None:
                self._start()
            where = {"place": str(place), "folder": str(folder)}
            command = {"arguments": arguments, "environment": dict(environment), **where}
            self._socket.sendall(json.dumps(command).encode() + b"\n")
            try:
                return int(self._socket.recv(64))
            except (OSError, ValueError):
                self._end(signal.SIGKILL)
                raise

    def close(self) -> None:
        with self._lock:
            self._end(signal.SIGTERM)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(COMMAND_SECONDS)
        program = Path(__file__).with_name("forking.py")
        command = leashed([sys.executable, str(program), str(theirs.fileno())])
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()

    def _end(self, number: int) -> None:
        """With what it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait()
            self._socket.close()
            self._process = None


FORKER = Forker()


def portcullis(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None, place: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs the command as people do, in a process of its own; stdout and stderr as text. Its imports were made
    before."""
    with tempfile.TemporaryDirectory(prefix="command-") as made:
        folder = Path(made)
        (folder / "stdin").write_bytes(stdin)
        environment = {**os.environ, "COLUMNS": "120", **(env or {})}
        code = FORKER.run(arguments, environment, place or Path.cwd(), folder)
        said = [(folder / name).read_text("utf-8") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(("portcullis", *arguments), code, *said)


def clean_report(image: str, digest: str) -> dict[str, object]:
    """Trivy's report of just now on an image of one platform, without any finding."""
    return {
        "SchemaVersion": 2,
        "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ArtifactName": image,
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12"},
            "RepoDigests": [f"{image.rpartition(':')[0]}@{digest}"],
            "ImageConfig": {"os": "linux", "architecture": "amd64"},
        },
        "Results": [{"Target": image, "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": []}],
    }
