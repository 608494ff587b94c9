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

from portcullis.text import clean

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
    _check_depth(tree, max_depth)
    if _SURROGATE_ESCAPE.search(text):
        _check_characters(tree)
    return tree


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


def _check_depth(tree: object, depth: int) -> None:
    """Level by level, so that the check itself needs no stack."""
    level: list[Any] = [tree]
    for _ in range(depth + 1):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return
        level = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
        ]
    raise _too_deep(depth)


def _check_characters(tree: object) -> None:
    """Refuses escaped lone surrogates, which no UTF-8 writer after us could write."""
    try:
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJsonError("holds a lone surrogate, which is no text") from None


def _too_deep(depth: int) -> StrictJsonError:
    return StrictJsonError(f"is nested deeper than the limit jsonDepth of {depth}", too_deep=True)
