"""Strict decoding of what was signed: one meaning per byte string, or a refusal.

Python's ``json`` is made for friends: it guesses UTF-16, keeps the last of two equal keys, takes NaN and
infinities, and lets escaped lone surrogates through. Any of these lets two readers of one signed document see
two different documents (RFC 8259 section 4 and 8.2 leave it open), so each is an error here.
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from portcullis.evidence.refusal import TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, *, limits: Limits, what: str) -> Any:
    """The JSON tree in ``data``.

    Args:
        data: JSON text in UTF-8 without a byte order mark; its size is bounded by who read it.
        limits: ``json_depth`` and ``json_values``.
        what: what it is, for messages ("the envelope").

    Raises:
        EvidenceError: it is no JSON, or it can be read in two ways, or it is nested too deep.
    """
    depth = limits.json_depth
    # Counted before anything is built. Commas in texts count too, which the limit has room for.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > limits.json_values:
        raise EvidenceError(f"{what} has more values than the limit jsonValues ({limits.json_values})", TOO_LARGE)
    try:
        tree = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise EvidenceError(f"{what} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise EvidenceError(f"{what} is not JSON: {error.msg} (character {error.pos})") from None
    except RecursionError:
        raise EvidenceError(f"{what} is nested deeper than {depth} levels", TOO_LARGE) from None
    except ValueError as error:
        raise EvidenceError(f"{what} is not strict JSON: {error}") from None
    _check_depth(tree, depth, what)
    if _SURROGATE_ESCAPE.search(data):
        _check_characters(tree, what)
    return tree


def parse_object(data: bytes, *, limits: Limits, what: str) -> JSONObject:
    """As :func:`parse_json`, where the root must be an object."""
    return as_object(parse_json(data, limits=limits, what=what), what)


def decode_base64(value: object, what: str) -> bytes:
    """Bytes from standard, padded base64 (RFC 4648 section 4) in its one canonical spelling.

    Lenient decoders skip what is no base64 and ignore the last bits, so that many texts mean the same bytes.

    Raises:
        EvidenceError: it is no text, holds other characters (those of URL-safe base64 too), or lacks padding.
    """
    encoded = as_text(value, what)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceError(f"{what} is not standard base64") from None
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise EvidenceError(f"{what} is not canonical base64")
    return decoded


def as_object(value: object, what: str) -> JSONObject:
    if not isinstance(value, dict):
        raise EvidenceError(f"{what} is {_kind(value)}, not an object")
    return value


def as_list(value: object, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise EvidenceError(f"{what} is {_kind(value)}, not an array")
    return value


def as_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise EvidenceError(f"{what} is {_kind(value)}, not a string")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing or null"
        case bool():
            return "a boolean"
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return "a string"
        case _:
            return "a number"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _check_depth(tree: object, depth: int, what: str) -> None:
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
    raise EvidenceError(f"{what} is nested deeper than {depth} levels", TOO_LARGE)


def _check_characters(tree: object, what: str) -> None:
    """Refuses escaped lone surrogates, which no UTF-8 writer after us could write."""
    try:
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise EvidenceError(f"{what} holds a lone surrogate") from None
