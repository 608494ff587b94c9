"""Runs an image as Kubernetes has it run: by an OCI runtime (crun), as the image's own user, without capabilities or
new privileges, the root read-only, all that is writable in two folders from which nothing can be executed.

The network is this machine's, so that tests reach it on loopback.
"""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.support import CONFIG, DATA

CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")
HIDE_CGROUPS = 'mount -t tmpfs tmpfs /sys/fs/cgroup && exec crun "$@"'
"""In mounts of its own: crun cannot make sense of a hierarchy that mixes both versions, even where it uses neither."""

MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Image:
    """A mounted root and its configuration in Docker's words."""

    root: Path
    config: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


class Host:
    """Where containers of an image run; ``folder`` holds what they see of this machine and what they write."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image = image
        self.folder = folder
        self.data = folder / "data"
        self._settings = folder / "config"
        for place in (self.data, self._settings):
            place.mkdir()
        user, group = (int(part) for part in image.config["User"].split(":"))
        os.chown(self.data, user, group)
        self.data.chmod(0o700)

    def configure(self, text: str) -> None:
        (self._settings / Path(CONFIG).name).write_text(text)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """To its end: the entrypoint, with other arguments than the image's own."""
        bundle = self._bundle([*self.image.config["Entrypoint"], *arguments])
        return self.crun("run", "--bundle", str(bundle), bundle.name)

    def python(self, code: str) -> "subprocess.CompletedProcess[str]":
        """Some lines by the image's Python instead of the program."""
        bundle = self._bundle([self.image.config["Entrypoint"][0], "-c", code])
        return self.crun("run", "--bundle", str(bundle), bundle.name)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Container"]:
        """The image's own command. Whatever happens, nothing of it is left."""
        bundle = self._bundle(self.image.command)
        log = self.folder / "log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *self._command("run", "--bundle", str(bundle), bundle.name), stdout=out, stderr=out
            )
        try:
            yield Container(self, bundle.name, process, log)
        finally:
            self.crun("delete", "--force", bundle.name)
            if process.returncode is None:
                process.kill()
            await process.wait()

    def crun(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=60)

    def _command(self, *arguments: str) -> list[str]:
        state = ("--root", str(self.folder / "crun"), "--cgroup-manager", "disabled")
        return ["unshare", "--mount", "sh", "-c", HIDE_CGROUPS, "crun", *state, *arguments]

    def _bundle(self, command: Sequence[str]) -> Path:
        number = len(list(self.folder.glob("bundle-*")))
        bundle = self.folder / f"bundle-{os.getpid()}-{number}"
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._specification(command)))
        return bundle

    def process(self, command: Sequence[str]) -> dict[str, Any]:
        """As the image says, but for the command; without any right."""
        user, group = (int(part) for part in self.image.config["User"].split(":"))
        return {
            "user": {"uid": user, "gid": group},
            "args": list(command),
            "env": self.image.config["Env"],
            "cwd": self.image.config["WorkingDir"],
            "capabilities": {kind: [] for kind in CAPABILITIES},
            "noNewPrivileges": True,
        }

    def _specification(self, command: Sequence[str]) -> dict[str, Any]:
        safe = ("nosuid", "nodev", "noexec")
        mounts: list[tuple[str, str, str, tuple[str, ...]]] = [
            ("/proc", "proc", "proc", safe),
            ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
            ("/tmp", "tmpfs", "tmpfs", (*safe, "mode=1777", "size=64m")),
            (str(Path(CONFIG).parent), "bind", str(self._settings), ("bind", "ro", *safe)),
            (DATA, "bind", str(self.data), ("bind", "rw", *safe)),
        ]
        return {
            "ociVersion": "1.0.2",
            "process": self.process(command),
            "root": {"path": str(self.image.root), "readonly": True},
            "mounts": [
                {"destination": place, "type": kind, "source": source, "options": list(options)}
                for place, kind, source, options in mounts
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "maskedPaths": list(MASKED),
                "readonlyPaths": list(READ_ONLY),
            },
        }


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs."""

    host: Host
    name: str
    process: asyncio.subprocess.Process
    log: Path

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """In it, beside the program, as `kubectl exec` and the health check of a runtime do: as the image's user, which
        crun itself would not take."""
        return self.host.crun("exec", "--user", self.host.image.config["User"], self.name, *command)

    async def stop(self, seconds: float) -> int:
        """SIGTERM, as the kubelet sends it; the exit code."""
        done = self.host.crun("kill", self.name, "TERM")
        assert done.returncode == 0, done.stderr
        return await asyncio.wait_for(self.process.wait(), seconds)
