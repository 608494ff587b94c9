"""Files of policy folders as they are now, tests included, to see whether they changed and to run what lies beside.

What they mean, and whether that is allowed, bundle.py says; here only the bounds count.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portcullis.errors import PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.reading import fault, read_content, walk

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
    for path in walk(folder, folder.name, limits):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        shown = "/".join((folder.name, *path.relative_to(folder).parts))
        content = read_content(path, shown, limits)
        total, count = total + len(content), count + 1
        if count > 2 * limits.policy_files or total > 2 * limits.policy_set_bytes:  # as many tests as policies
            raise fault(shown, "with this file the folder has more than policyFiles and policySetBytes allow")
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
