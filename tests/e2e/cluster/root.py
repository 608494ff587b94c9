"""Runs a container's program as a container runtime would, in mounts of its own: its files at the paths of the pod
spec, the root read-only, and of this machine only what the program needs to run.

    unshare --mount --uts [--user --map-root-user] python root.py SPECIFICATION

SPECIFICATION is a JSON file: {"mounts": [{"source", "target", "writable"}], "root", "hostname", "command",
"environment"}; "root" is the name of the folder beside it that becomes the root. What the image would bring (Python,
its packages, OPA) comes from this machine, at the paths that it has here.
"""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "proc", "dev", "sys")
SETTINGS = (
    "ssl",
    "ld.so.cache",
    "localtime",
    "passwd",
    "group",
    "hosts",
    "nsswitch.conf",
    "ca-certificates",
    "alternatives",
)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def bind(source: Path, target: Path, *, writable: bool = True) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--rbind", str(source), str(target))
    if not writable:
        mount("-o", "remount,bind,ro", str(target))


def build(root: Path, mounts: list[dict[str, object]]) -> None:
    for name in SYSTEM:
        source = Path("/") / name
        if source.is_symlink():
            (root / name).symlink_to(source.readlink())
        elif source.exists():
            bind(source, root / name)
    for name in SETTINGS:
        source = Path("/etc") / name
        if source.exists():
            bind(source.resolve(), root / "etc" / name)
    # Outer folders first, so that what lies within them is mounted over them; as the kubelet does, with a folder for
    # it in the volume around it.
    ordered = sorted(mounts, key=lambda one: str(one["target"]).count("/"))
    for inner, outer in itertools.permutations(ordered, 2):
        if Path(str(inner["target"])).is_relative_to(str(outer["target"])):
            within = Path(str(inner["target"])).relative_to(str(outer["target"]))
            (Path(str(outer["source"])) / within).mkdir(parents=True, exist_ok=True)
    for entry in ordered:
        target = root / str(entry["target"]).lstrip("/")
        bind(Path(str(entry["source"])), target, writable=bool(entry["writable"]))


def main(specification: Path) -> None:
    wanted = json.loads(specification.read_text())
    root = specification.parent / wanted["root"]
    root.mkdir(exist_ok=True)
    socket.sethostname(wanted["hostname"])
    mount("-t", "tmpfs", "tmpfs", str(root))
    build(root, wanted["mounts"])
    mount("-o", "remount,bind,ro", str(root))
    os.chroot(root)
    os.chdir("/")
    os.execvpe(wanted["command"][0], wanted["command"], wanted["environment"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
