"""JSON with one meaning per byte string, or a refusal.

Python's ``json`` is made for friends: it guesses UTF-16, keeps the last of two equal keys, takes NaN and infinities,
and lets escaped lone surrogates through. Any of these lets two readers of one document see two different documents
(RFC 8259 sections 4 and 8.2 leave it open), so each is an error here.
"""

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

import msgspec

from portcullis.text import clean

_CONTAINERS = frozenset({dict, list})
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class StrictJsonError(Exception):
    """``problem`` goes on after the name of the document: "is not JSON: …"; ``too_deep`` where its nesting is it."""

    def __init__(self, problem: str, *, too_deep: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.too_deep = too_deep


def load_json(data: bytes, *, max_depth: int) -> Any:
    """The JSON tree in ``data``, UTF-8 without a byte order mark. Who calls has bounded its size.

    Args:
        max_depth: of nested objects and lists, as the limit jsonDepth has it.

    Raises:
        StrictJsonError: it is no JSON, can be read in two ways, or is nested too deep.
    """
    try:
        text = data.decode("utf-8")
        tree = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"is not UTF-8, as JSON must be (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"is not JSON: {error.msg} (character {error.pos})") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except ValueError as error:
        raise StrictJsonError(f"is not strict JSON: {clean(str(error), 160)}") from None
    if _is_deeper(tree, max_depth):
        raise _too_deep(max_depth)
    if _SURROGATE_ESCAPE.search(text):
        _check_characters(tree)
    return tree


def check_json(data: bytes, *, max_depth: int) -> None:
    """As :func:`load_json` for who needs the verdict and not the tree, in less than half of the time.

    Raises:
        StrictJsonError: as there, with the same words.
    """
    if not _is_surely_strict(data, max_depth):
        load_json(data, max_depth=max_depth)


def _is_surely_strict(data: bytes, max_depth: int) -> bool:
    """Whether that can be told quickly; False says nothing.

    (1) msgspec reads the same language as :func:`load_json` (UTF-8, no byte order mark, no lone surrogates, no NaN, no
        number that is too large) but for two things: it goes deeper, and of equal keys it keeps the last;
    (2) the nesting can be counted in what it has read;
    (3) written again, each key and text has its two quotes and, where a quote is in it, one more. So there are as many
        quotes as before if nothing was dropped, and fewer if an equal key was. This needs that each quote in a text
        was written with a quote: that is so where none is written by its number, ``\\u0022``.
    """
    try:
        # (1) all but nesting and equal keys
        tree = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return False
    # (2) nesting
    if _is_deeper(tree, max_depth):
        return False
    # (3) equal keys
    return b"\\u0022" not in data and msgspec.json.encode(tree).count(b'"') == data.count(b'"')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f'the key "{clean(twice, 80)}" stands twice in one object')
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _is_deeper(tree: object, depth: int) -> bool:
    """Level by level, so that the check itself needs no stack. What is read from JSON has no subclasses."""
    level: list[Any] = [tree] if type(tree) in _CONTAINERS else []
    for _ in range(depth):
        if not level:
            return False
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]
    return bool(level)


def _check_characters(tree: object) -> None:
    """Refuses escaped lone surrogates, which no UTF-8 writer after us could write."""
    try:
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJsonError("holds a lone surrogate, which is no text") from None


def _too_deep(depth: int) -> StrictJsonError:
    return StrictJsonError(f"is nested deeper than the limit jsonDepth of {depth}", too_deep=True)
