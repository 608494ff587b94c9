"""A real OPA that is not ours: started by the test, as an operator would, and shared by those that use it."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.policy.client import Destination
from portcullis.policy.remote import RemoteOpa

AUTHORIZATION = """\
package system.authz

default allow := false

allow if {
	input.identity == "TOKEN"
	input.method in {"GET", "PUT", "POST", "DELETE", "PATCH"}
	input.path[0] == "v1"
	input.path[1] in {"policies", "data"}
	startswith(input.path[2], "portcullis")
}
"""
"""As docs/remote-opa.md shows it."""


class OtherOpa:
    """``opa run --server`` with nothing loaded but, where ``authorized``, who may do what.

    Args:
        unix: on a socket; otherwise on a port of the loopback.
    """

    def __init__(self, binary: Path, *, authorized: bool = False, unix: bool = False) -> None:
        self._binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="opa-"))
        self.token = secrets.token_urlsafe(16) if authorized else ""
        self.socket = self.folder / "opa.sock" if unix else None
        self.port = 0 if unix else _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def base(self) -> str:
        return "http://opa:80" if self.socket is not None else f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"unix://{self.socket}" if self.socket is not None else self.base

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        arguments = ["--addr", self.address, "--log-level", "error", "--skip-version-check"]
        if self.token:
            (self.folder / "authz.rego").write_text(AUTHORIZATION.replace("TOKEN", self.token), encoding="utf-8")
            arguments += ["--authentication=token", "--authorization=basic", str(self.folder / "authz.rego")]
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [str(self._binary), "run", "--server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(2000):
            try:
                self._connect().close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("the other OPA does not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def destination(self, token: str | None = None) -> Destination:
        used = self.token if token is None else token
        headers: Mapping[str, str] = {"Authorization": f"Bearer {used}"} if used else {}
        return Destination(socket=self.socket, base=self.base, headers=lambda: headers)

    def serving(self, limits: Limits = DEFAULT_LIMITS, *, token: str | None = None, **rhythm: Any) -> RemoteOpa:
        return RemoteOpa(
            destination=lambda: self.destination(token),
            name=self.address,
            binary=self._binary,
            limits=limits,
            **rhythm,
        )

    def _connect(self) -> socket.socket:
        if self.socket is None:
            return socket.create_connection(("127.0.0.1", self.port), timeout=1)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
