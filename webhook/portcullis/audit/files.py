"""Files of the audit log: nobody else's to read, and still there after a power failure."""

import os
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """Opens ``path`` and makes it where it is missing: mode 0600, in a directory made with 0700, both on disk when
    this returns. Modes of what exists are the operator's and stay.

    Raises:
        OSError.
    """
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    if not path.parent.is_dir():
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        sync_directory(path.parent.parent)
    descriptor = os.open(path, flags | os.O_CREAT, FILE_MODE)
    try:
        sync_directory(path.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(path: Path) -> None:
    """Puts the names in a directory on disk: fsync of a file alone does not (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells one file from another that has the same name later; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
