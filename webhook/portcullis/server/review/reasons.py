"""docs/reasons.md for people: cause and remedy of each reason code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import portcullis

_ROW = re.compile(r"^\| `(?P<code>[a-z-]+)` \| (?P<cause>.+?) \| (?P<remedy>.+?) \|$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Reason:
    """Plain text; code in it still stands between backquotes."""

    cause: str
    remedy: str


@cache
def reasons() -> Mapping[str, Reason]:
    """Every documented code."""
    package = Path(portcullis.__file__).resolve().parent
    installed = package / "_reasons.md"
    page = installed if installed.is_file() else package.parents[1] / "docs" / "reasons.md"
    return {
        row["code"]: Reason(_LINK.sub(r"\g<text>", row["cause"]), _LINK.sub(r"\g<text>", row["remedy"]))
        for row in _ROW.finditer(page.read_text("utf-8"))
    }
