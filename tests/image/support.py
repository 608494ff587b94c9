"""What the tests of the image share: commands whose progress is shown, the source that is built from, a registry."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/etc/portcullis/portcullis.yaml"
DATA = "/var/lib/portcullis"
USER = 65532

BAIT = (
    ".env",
    ".git/bait",
    ".venv/bait.pth",
    "tests/unit/test_bait.py",
    "webhook/portcullis/__pycache__/bait.cpython-311.pyc",
)
"""Laid into the context beside what the Dockerfile copies; none of it may reach even the build."""


def say(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Says what begins, and how long it took."""
    say(f"{what} ...")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.1f} s")


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a command prints. It must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"{command[0]} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def followed(command: list[str], shown: Callable[[str], bool]) -> "subprocess.CompletedProcess[str]":
    """Runs a long command; its lines that are ``shown`` are printed as they come."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if shown(line):
                    say(f"  {line.strip()[:96]}")
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, "".join(lines), "")


def snapshot(folder: Path) -> Path:
    """The source as it is now, with bait: what others do to the checkout meanwhile changes no build."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in ("Dockerfile", ".dockerignore", *let_in):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    for name in BAIT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("bait = 1\n")
    return folder


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """go-containerregistry's registry on loopback; ``host:port``."""
    program = shutil.which("crane")
    assert program, "crane is not on PATH: run the tests through `make image`"
    command = [program, "registry", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"serving on port (\d+)", process.stdout.readline())
            assert found is not None
            # Nobody reads what it logs from here on; it is far less than a pipe holds.
            yield f"127.0.0.1:{found[1]}"
        finally:
            process.terminate()
