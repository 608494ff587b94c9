"""Patterns of the catalogue, for paths in images.

``name`` is the last part of a path; ``folder/name`` its last parts; ``/folder/name`` the whole of it. ``*`` stands for
any characters within a part, ``?`` for one, ``[0-9]`` for one of these, and the part ``**`` for any number of parts,
none included.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_WILD: Final = re.compile(r"(\*\*|\*|\?|\[[A-Za-z0-9_.-]+\])")
_EXTENSION: Final = re.compile(r"\*(\.[^*?.\[]+)")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, taken apart so that most names can be told by a look-up.

    Args:
        text: as written.
        name: the last part where it has no wildcard, else None.
        extension: ``.pem`` where the last part is ``*.pem``, else None.
        name_regex: the last part as a regular expression over a whole name.
        path_regex: over a whole clean path; None where the name alone tells.
    """

    text: str
    name: bytes | None
    extension: bytes | None
    name_regex: str
    path_regex: re.Pattern[bytes] | None


def parse_pattern(text: str) -> Pattern:
    """Raises ValueError, with a text that goes on after the pattern: "ends with a slash"."""
    parts = text.removeprefix("/").split("/")
    if "" in parts:
        raise ValueError("is empty, ends with a slash or has two in a row")
    if "." in parts or ".." in parts:
        raise ValueError("has a part . or ..")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError("has ** beside other characters")
    if any("[" in piece or "]" in piece for part in parts for piece in _WILD.split(part)[::2]):
        raise ValueError("has brackets that are not such as [0-9]")
    try:
        re.compile(_path(text).encode())
    except re.error:
        raise ValueError("has a range that ends before it begins") from None
    last = parts[-1]
    wild = _WILD.search(last)
    extension = _EXTENSION.fullmatch(last)
    whole = text.startswith("/") or len(parts) > 1
    return Pattern(
        text=text,
        name=None if wild else last.encode(),
        extension=extension[1].encode() if extension else None,
        name_regex=_part(last),
        path_regex=re.compile(_path(text).encode(), re.DOTALL) if whole else None,
    )


def any_of(patterns: Sequence[str]) -> re.Pattern[bytes] | None:
    """One expression over whole clean paths for all these patterns, None where there are none."""
    if not patterns:
        return None
    return re.compile("|".join(map(_path, patterns)).encode(), re.DOTALL)


def name_pattern(patterns: Iterable[Pattern]) -> re.Pattern[bytes] | None:
    """One expression over names for the last parts of all these patterns."""
    expressions = sorted({pattern.name_regex for pattern in patterns})
    return re.compile("|".join(expressions).encode(), re.DOTALL) if expressions else None


def _part(part: str) -> str:
    """One part. ``**`` as the last one is any name."""
    pieces = _WILD.split(part)
    for index in range(1, len(pieces), 2):
        pieces[index] = _WILDCARDS.get(pieces[index], pieces[index])
    pieces[::2] = map(re.escape, pieces[::2])
    return "".join(pieces)


_WILDCARDS: Final = {"*": "[^/]*", "?": "[^/]", "**": "[^/]*"}


def _path(text: str) -> str:
    parts = text.removeprefix("/").split("/")
    expression = "" if text.startswith("/") else "(?:.*/)?"
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:.*/)?"
        else:
            expression += _part(part) + ("" if last else "/")
    return expression
