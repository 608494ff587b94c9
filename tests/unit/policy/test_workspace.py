"""Directories for OPA's files are private, and what a killed process left is swept."""

import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from portcullis.errors import EngineUnavailable
from portcullis.policy.workspace import Workspace

OLD = 1_000_000_000


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    tmp_path.chmod(0o700)


def leave_behind(parent: Path, name: str = "portcullis-opa-dead") -> Path:
    """What is there after kill -9: the directory, its lock file, and nobody who holds it."""
    path = parent / name
    path.mkdir()
    (path / "lock").touch()
    (path / "bundle").mkdir()
    os.utime(path, (OLD, OLD))
    return path


def test_only_we_can_enter_it() -> None:
    workspace = Workspace()
    assert stat.S_IMODE(workspace.path.stat().st_mode) == 0o700
    workspace.remove()
    assert not workspace.path.exists()
    workspace.remove()


def test_what_a_killed_process_left_is_swept(parent: Path) -> None:
    dead = leave_behind(parent)
    Workspace().remove()
    assert not dead.exists()


def test_what_is_in_use_is_not(parent: Path) -> None:
    alive = Workspace()
    os.utime(alive.path, (OLD, OLD))
    Workspace().remove()
    assert (alive.path / "lock").exists()
    alive.remove()


def test_nor_what_is_young_or_not_of_our_making(parent: Path) -> None:
    young = leave_behind(parent)
    os.utime(young)
    foreign = leave_behind(parent, "portcullis-demo-x")
    target = leave_behind(parent, "elsewhere")
    (parent / "portcullis-opa-link").symlink_to(target)
    Workspace().remove()
    assert young.exists()
    assert foreign.exists()
    assert (target / "bundle").exists()


def test_no_room_is_said(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(parent / "missing"))
    with pytest.raises(EngineUnavailable, match="no room for OPA's files"):
        Workspace()


def test_removed_by_many_at_once_it_closes_its_lock_once() -> None:
    for _ in range(20):
        workspace = Workspace()
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(workspace.remove) for _ in range(8)]:
                done.result()
        assert not workspace.path.exists()
