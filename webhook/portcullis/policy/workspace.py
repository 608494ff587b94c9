"""Directories for OPA's files: private, locked while their owner lives, and swept when it died without removing them.

A process that is killed hard removes nothing, and a container's /tmp outlives its processes; so whoever makes a
directory first removes those whose lock nobody holds any more.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path

from portcullis.errors import EngineUnavailable

_PREFIX = "portcullis-opa-"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0
"""A directory this young may belong to somebody who is about to lock it."""


class Workspace:
    """One directory that only we can enter, with what belongs to one policy set: its bundle and its socket."""

    def __init__(self) -> None:
        """Raises EngineUnavailable where there is no room."""
        self._removing = threading.Lock()
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise EngineUnavailable(f"there is no room for OPA's files in {parent}: {error.strerror}") from error

    def remove(self) -> None:
        """Removes the directory with all that is in it; a second call does nothing, also at the same time in another
        thread."""
        with self._removing:
            lock, self._lock = self._lock, -1
        if lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(lock)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    """Raises OSError where it is not ours, or is in use."""
    state = path.lstat()
    ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid()
    if not ours or time.time() - state.st_mtime < _YOUNG_SECONDS:
        return
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
