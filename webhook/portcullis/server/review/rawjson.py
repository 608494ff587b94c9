"""JSON as it was recorded, for people: indented and in ASCII, so that every character can be seen; long ones cut."""

import json
from dataclasses import dataclass

SHOWN_CHARS = 64 * 1024
INDENTED_BYTES = 1024 * 1024
"""What is larger is shown as it lies, without the work of reading it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """``bytes`` is how much there is, ``cut`` that only its beginning is in ``text``."""

    text: str
    bytes: int
    cut: bool


def raw_json(content: bytes) -> Raw:
    """What was recorded as JSON; what is none is shown all the same."""
    text = _indented(content) if len(content) <= INDENTED_BYTES else ""
    if not text:
        return Raw(_as_it_lies(content[:SHOWN_CHARS]), len(content), len(content) > SHOWN_CHARS)
    return Raw(text[:SHOWN_CHARS], len(content), len(text) > SHOWN_CHARS)


def _indented(content: bytes) -> str:
    try:
        return json.dumps(json.loads(content), indent=2) if content else ""
    except (ValueError, RecursionError):
        return ""


def _as_it_lies(content: bytes) -> str:
    text = content.decode("utf-8", "backslashreplace").encode("ascii", "backslashreplace").decode()
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
