"""``portcullis test --watch`` as its own process: save a change, see the verdict."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.opa

LIBRARY = "package portcullis.lib.mine\n\nimport rego.v1\n\nroot(user) if user.uid == 0\n"
POLICY = """package portcullis.policies.POLICY

import rego.v1

import data.portcullis.lib.mine

deny contains "runs as root" if mine.root(input.user)
"""
TESTS = """package portcullis.policies.POLICY_test

import rego.v1

import data.portcullis.policies.POLICY

test_root if count(POLICY.deny) == 1 with input as {"user": {"uid": 0}}

test_other if count(POLICY.deny) == 0 with input as {"user": {"uid": 1}}
"""
ARGUMENTS = ("-m", "portcullis", "test", "--watch", "--no-builtin")
SECONDS = 60.0


class Watch:
    """The running command and what it printed."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            # A shell that runs the tests in the background has its children ignore Ctrl-C; a terminal does not.
            ["env", "--default-signal=INT", sys.executable, *ARGUMENTS, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def until(self, words: str) -> list[str]:
        """The lines up to the one with these words."""
        found: list[str] = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                assert self._process.poll() is None, "\n".join(found)
                continue
            found.append(line)
            if words in line:
                return found
        raise AssertionError("\n".join(found))

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(20)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)
        self._reader.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.rego").write_text(LIBRARY)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.rego").write_text(POLICY.replace("POLICY", name))
        (tmp_path / name / "policy_test.rego").write_text(TESTS.replace("POLICY", name))
    return tmp_path


@pytest.fixture
def watch(folder: Path) -> Iterator[Watch]:
    watch = Watch(folder)
    yield watch
    watch.end()


def test_from_saving_to_the_verdict_and_back(folder: Path, watch: Watch) -> None:
    assert "all: 4 passed, 0 failed" in watch.until("all: ")[-1]
    policy = folder / "first" / "policy.rego"
    good = policy.read_text()

    policy.write_text(good.replace("mine.root(", "not mine.root("))  # breaks it
    shown = watch.until("all: ")
    assert any(line.startswith("0 passed, 2 failed") and "s after the change" in line for line in shown), shown
    assert any("count(first.deny) == 1" in line for line in shown)
    assert "all: 2 passed, 2 failed" in shown[-1]

    policy.write_text(good)  # mends it
    shown = watch.until("all: ")
    assert any(line.startswith("2 passed, 0 failed") for line in shown)
    assert "all: 4 passed, 0 failed" in shown[-1]

    policy.write_text(f"{good}\nx := y\n")
    assert any("first/policy.rego:9:" in line and "unsafe" in line for line in watch.until("x := y"))

    policy.write_text(good)
    assert "all: 4 passed, 0 failed" in watch.until("all: ")[-1]
    assert watch.interrupt() == 0


def test_what_reads_a_library_runs_after_its_change(folder: Path, watch: Watch) -> None:
    watch.until("all: ")
    (folder / "lib" / "mine.rego").write_text(LIBRARY.replace("== 0", "== 1"))
    shown = watch.until("all: ")
    assert "all: 0 passed, 4 failed" in shown[-1]
    assert {line for line in shown if line.startswith("✗ ")} >= {f"✗ test_root  {folder}/first/policy_test.rego:7"}
    assert watch.interrupt() == 0


def test_a_mount_that_swaps_its_link_is_seen(tmp_path: Path) -> None:
    """As the kubelet updates a ConfigMap: a new folder, and one rename of a link."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for version, number in (("..1", "1"), ("..2", "2")):
        (mount / version).mkdir()
        (mount / version / "a_test.rego").write_text(f"package a_test\n\ntest_a if {number} == 1\n")
    (mount / "..data").symlink_to("..1")
    (mount / "a_test.rego").symlink_to("..data/a_test.rego")
    watch = Watch(mount)
    try:
        watch.until("all: 1 passed")
        (mount / "..new").symlink_to("..2")
        (mount / "..new").rename(mount / "..data")
        watch.until("all: 0 passed, 1 failed")
        shutil.rmtree(mount / "..1")
        (mount / "a_test.rego").unlink()
        watch.until("all: 0 passed, 0 failed")
        assert watch.interrupt() == 0
    finally:
        watch.end()
