"""Figures of writing policies: from saving a Rego file to the verdict of `portcullis test --watch`.

    python tests/bench/authoring.py

The whole library is under test. Its reference is one `opa test` of the same folder in the same run; the ratio says how
much of that one waits after a change.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

POLICIES = Path(__file__).resolve().parents[2] / "policies"
CHANGED = "image-user/policy.rego"
ROUNDS = 10
SECONDS = 300.0


def figures(console: Console) -> tuple[Mapping[str, list[float]], Mapping[str, float]]:
    """Milliseconds by name, and ratios."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "policies"
        shutil.copytree(POLICIES, folder)
        console.print("[dim]authoring: one opa test of the whole library")
        started = time.perf_counter()
        command = ["opa", "test", str(folder), "--ignore", "testdata,profiles", "--timeout", "120s"]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        whole = (time.perf_counter() - started) * 1000
        console.print(f"[dim]authoring: {ROUNDS} changes under --watch")
        saved = _watched(folder)
    ordered = sorted(saved)
    return {"save to verdict": saved, "opa test of the library": [whole]}, {
        "save to verdict / opa test of the library": ordered[len(ordered) // 2] / whole
    }


def _watched(folder: Path) -> list[float]:
    """Milliseconds from each change of a policy, that breaks or mends it, to the count of its tests."""
    process = subprocess.Popen(
        [sys.executable, "-m", "portcullis", "test", "--watch", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    policy = folder / CHANGED
    good = policy.read_text()
    found: list[float] = []
    try:
        _until(lines, "all: ")
        for number in range(ROUNDS):
            broken = number % 2 == 0
            started = time.perf_counter()
            policy.write_text(good.replace("root == false", "root == true") if broken else good + f"# {number}\n")
            said = _until(lines, "after the change")
            found.append((time.perf_counter() - started) * 1000)
            if (" 0 failed" in said) is broken:
                raise SystemExit(f"bench: a change came out as {said!r}")
            _until(lines, "all: ")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    return found


def _until(lines: "queue.Queue[str]", words: str) -> str:
    while True:
        line = lines.get(timeout=SECONDS)
        if words in line:
            return line


if __name__ == "__main__":
    times, ratios = figures(Console(stderr=True))
    for name, values in times.items():
        print(f"{name}: {sorted(values)[len(values) // 2]:.0f} ms (of {len(values)}, most {max(values):.0f})")
    for name, value in ratios.items():
        print(f"{name}: {value:.3f}")
