"""An OPA with some modules in it, of which one is exchanged again and again."""

import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

START_SECONDS = 120.0
ANSWER_SECONDS = 30.0
"""A mutant whose test takes longer has lost what ended it."""


class NotCompiled(Exception):
    """OPA does not accept a module; the one before stays."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


class Server:
    """``with Server(modules) as server``: OPA on a socket of its own, ended at the end.

    Args:
        modules: text by name; the name is free.
    """

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._folder = tempfile.TemporaryDirectory(prefix="mutation-")

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        for number, text in enumerate(self._modules.values()):
            (folder / f"{number}.rego").write_text(text, "utf-8")
        self._ids = {name: f"{folder}/{number}.rego" for number, name in enumerate(self._modules)}
        path = folder / "opa.sock"
        arguments = [
            "opa",
            "run",
            "--server",
            "--addr",
            f"unix://{path}",
            "--skip-version-check",
            "--log-level",
            "error",
        ]
        self._words = folder / "opa.log"
        with self._words.open("wb") as words:
            self._process = subprocess.Popen([*arguments, *self._ids.values()], stdout=words, stderr=words)
        try:
            self._wait(path)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._end()

    def _wait(self, path: Path) -> None:
        """Raises RuntimeError with OPA's words where it ends, or does not answer."""
        end = time.monotonic() + START_SECONDS
        self._connection = _Connection(path)
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._ask("GET", "/health")
            except OSError:
                self._connection.close()
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"OPA does not start: {self._words.read_text('utf-8', 'replace')[:2000]}")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, Any]:
        self._connection.request(method, path, body=body.encode())
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def exchange(self, name: str, text: str) -> None:
        """Puts another text in the place of a module.

        Raises:
            NotCompiled: it does not compile beside the others.
        """
        status, answer = self._ask("PUT", f"/v1/policies/{quote(self._ids[name].lstrip('/'))}", text)
        if status == http.HTTPStatus.BAD_REQUEST:
            raise NotCompiled(json.dumps(answer)[:1000])
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"OPA answers {status} to a module: {json.dumps(answer)[:1000]}")

    def holds(self, path: str) -> bool:
        """Whether the rule at this path of ``data`` is true. It is not where it fails or takes too long, nor where a
        builtin fails, which the gate does not forgive either."""
        try:
            status, answer = self._ask("GET", f"/v1/data/{path}?strict-builtin-errors=true")
        except TimeoutError:
            self._connection.close()
            return False
        return status == http.HTTPStatus.OK and answer.get("result") is True
