"""Folders with policies: walked and read in one way, within bounds."""

import os
from collections.abc import Iterator
from pathlib import Path

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.text import clean

FOLDER_DEPTH = 10
"""Folders within folders. Guards against links in circles; mounted ConfigMaps are full of links."""


def fault(path: str, message: str, row: int = 0) -> PolicyCompileError:
    """What is wrong with one file, or with all of them."""
    return PolicyCompileError((CompileProblem(clean(path, 300), row, 0, message),))


def walk(folder: Path, shown: str, limits: Limits, *, depth: int = 0) -> Iterator[Path]:
    """What lies in the folder and below, by name, hidden names left out. Links are followed: that is how Kubernetes
    mounts a ConfigMap.

    Args:
        shown: how messages name the folder.
        limits: ``policy_files`` bounds the entries of each folder.

    Raises:
        PolicyCompileError: a folder cannot be read, is nested too deep or holds too much.
    """
    if depth > FOLDER_DEPTH:
        raise fault(shown, f"folders are nested more than {FOLDER_DEPTH} deep")
    names: list[str] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if len(names) >= 2 * limits.policy_files:  # as many tests as policies
                    raise fault(shown, f"a folder with more entries than policyFiles allows ({limits.policy_files})")
                names.append(entry.name)
    except OSError as error:
        raise fault(shown, f"the folder cannot be read: {error.strerror}") from error
    for name in sorted(names):
        if name.startswith("."):
            continue
        path = folder / name
        if path.is_dir():
            yield from walk(path, shown, limits, depth=depth + 1)
        else:
            yield path


def read_content(path: Path, shown: str, limits: Limits) -> bytes:
    """The first bytes of a file, one more than ``policy_bytes`` at most.

    Raises:
        PolicyCompileError: it is no regular file, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise fault(shown, "not a regular file")
    try:
        with path.open("rb") as stream:
            return stream.read(limits.policy_bytes + 1)
    except OSError as error:
        raise fault(shown, f"cannot be read: {error.strerror}") from error


def decoded(content: bytes, shown: str, limits: Limits) -> str:
    """The text of a file.

    Raises:
        PolicyCompileError: it is longer than ``policy_bytes``, or no UTF-8.
    """
    if len(content) > limits.policy_bytes:
        raise fault(shown, f"exceeds the limit policyBytes ({limits.policy_bytes})")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(shown, "not UTF-8", content.count(b"\n", 0, error.start) + 1) from error


def read_text(path: Path, shown: str, limits: Limits) -> str:
    """The text of the file. Raises as :func:`read_content` and :func:`decoded`."""
    return decoded(read_content(path, shown, limits), shown, limits)
