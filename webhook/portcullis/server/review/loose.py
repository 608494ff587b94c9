"""Reads recorded JSON that may be of any version or shape: what is not as expected is absent, and never an error.

Every text is fit to be shown: on one line, without characters that change how the rest reads, and bounded.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from portcullis.text import clean

Tree = Mapping[str, Any]

TEXT_CHARS: Final = 500
"""Of one text."""
ROWS: Final = 5000
"""Of one list; what is behind is not looked at, and only counted."""

_NOTHING: Final[Tree] = {}


def decoded(document: bytes) -> Tree:
    """The object that the bytes are; an empty one where they are none."""
    try:
        return tree(msgspec.json.decode(document))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _NOTHING


def tree(value: object) -> Tree:
    return value if isinstance(value, dict) else _NOTHING


def trees(value: object, most: int = ROWS) -> Iterator[Tree]:
    """The objects in a list."""
    return (one for one in rows(value)[:most] if isinstance(one, dict))


def rows(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def text(value: object, limit: int = TEXT_CHARS) -> str:
    return clean(value, limit) if isinstance(value, str) else ""


def texts(value: object, most: int = ROWS) -> tuple[str, ...]:
    return tuple(text(one) for one in rows(value)[:most] if isinstance(one, str))


def pairs(value: object) -> tuple[tuple[str, str], ...]:
    """The entries of an object whose values are texts, by name."""
    found = ((text(key), text(one)) for key, one in tree(value).items() if isinstance(one, str))
    return tuple(sorted(found))[:ROWS]


def whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    """A time with its zone, in UTC."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
