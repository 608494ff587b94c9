"""The operating system of an image, from os-release(5)."""

import re
import shlex
from typing import Final

from portcullis.model.contents import OperatingSystem
from portcullis.text import clean

PATHS: Final = (b"etc/os-release", b"usr/lib/os-release")
"""The first one that is there counts."""

_ASSIGNMENT: Final = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
_TEXT_CHARS: Final = 200


def parse_os_release(content: bytes) -> OperatingSystem:
    """Fields of os-release(5), quoted as in a shell. The last assignment of a name counts; what is none is ignored, as
    is a line whose quotes do not close."""
    values: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            continue
        try:
            words = shlex.split(match[2])
        except ValueError:
            continue
        values[match[1]] = clean(" ".join(words), _TEXT_CHARS)
    return OperatingSystem(
        id=values.get("ID", ""),
        version_id=values.get("VERSION_ID", ""),
        id_like=tuple(values.get("ID_LIKE", "").split()),
        name=values.get("PRETTY_NAME") or values.get("NAME", ""),
    )
