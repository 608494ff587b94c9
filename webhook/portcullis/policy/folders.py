"""Files of policy folders as they are now, tests included, to see whether they changed and to run what lies beside.

What they mean, and whether that is allowed, bundle.py says; here only the bounds count.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.bundle import FOLDER_DEPTH
from portcullis.text import clean

SUFFIXES: Final = (".rego", ".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """``shown`` is its path within the folder, the folder's name in front."""

    path: Path
    shown: str
    content: bytes


def policy_files(folder: Path, limits: Limits) -> Iterator[FoundFile]:
    """What lies in the folder and below, in order. Hidden names are left out, links are followed:
    that is how Kubernetes mounts a ConfigMap.

    Raises:
        PolicyCompileError: the folder cannot be read, or holds more than ``policy_files`` or ``policy_set_bytes``.
    """
    total = count = 0
    for path in _walk(folder, folder.name, limits, 0):
        shown = "/".join((folder.name, *path.relative_to(folder).parts))
        try:
            with path.open("rb") as stream:
                content = stream.read(limits.policy_bytes + 1)
        except OSError as error:
            raise _fault(shown, f"cannot be read: {error.strerror}") from error
        total, count = total + len(content), count + 1
        if count > 2 * limits.policy_files or total > 2 * limits.policy_set_bytes:  # as many tests as policies
            raise _fault(shown, "with this file the folder has more than policyFiles and policySetBytes allow")
        yield FoundFile(path, shown, content)


def fingerprint(folders: Sequence[Path], limits: Limits) -> str:
    """Other text as soon as any file is another one. What cannot be read is part of it, so that it is looked at."""
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(b"\0folder\0")
        try:
            for found in policy_files(folder, limits):
                digest.update(f"\0{found.shown}\0{len(found.content)}\0".encode("utf-8", "surrogateescape"))
                digest.update(found.content)
        except PolicyCompileError as error:
            digest.update(error.message.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _walk(folder: Path, shown: str, limits: Limits, depth: int) -> Iterator[Path]:
    if depth > FOLDER_DEPTH:
        raise _fault(shown, f"folders are nested more than {FOLDER_DEPTH} deep")
    try:
        with os.scandir(folder) as listing:
            names = sorted(entry.name for entry in listing)
    except OSError as error:
        raise _fault(shown, f"the folder cannot be read: {error.strerror}") from error
    if len(names) > 2 * limits.policy_files:
        raise _fault(shown, f"a folder with more entries than policyFiles allows ({limits.policy_files})")
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, shown, limits, depth + 1)
        elif path.suffix in SUFFIXES and path.is_file():
            yield path


def _fault(path: str, message: str) -> PolicyCompileError:
    return PolicyCompileError((CompileProblem(clean(path, 300), 0, 0, message),))
