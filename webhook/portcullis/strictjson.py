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

_PIECE_BYTES = 16 * 1024
"""What is in the cache of a processor when it is read, written again and compared."""
_PIECE_DEPTH = 8
"""Levels of the elements in a piece. Types are as many as 2 to the power of it."""
_TRIES = 128
_TRIES_OF_PIECE = 8
"""How many lists are looked at, and as how many counts a piece that is none: together it is a few milliseconds."""
_FIRST_ELEMENT = re.compile(rb'\[\s{0,40}(?P<element>\{\s{0,40}(?P<key>"[^"\\]{1,64}"\s{0,40}:))')
_ESCAPES = 2000
_WRITTEN_BY_GO = {b"u003c": b"<", b"u003e": b">", b"u0026": b"&"}


def _nested(levels: int) -> Any:
    """The type of JSON with so many levels of objects and lists."""
    made: Any = None | bool | int | float | str
    for _ in range(levels):
        made = None | bool | int | float | str | list[made] | dict[str, made]
    return made


_PIECE = msgspec.json.Decoder(_nested(_PIECE_DEPTH + 1))


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


def check_json(data: bytes, *, max_depth: int, piece_bytes: int = _PIECE_BYTES) -> None:
    """As :func:`load_json` for who needs the verdict and not the tree, in a fourth of the time.

    Args:
        piece_bytes: about how much of a long document is read at once.

    Raises:
        StrictJsonError: as there, with the same words.
    """
    if not _is_surely_strict(data, max_depth, piece_bytes):
        load_json(data, max_depth=max_depth)


def _is_surely_strict(data: bytes, max_depth: int, piece_bytes: int) -> bool:
    """Whether that can be told quickly; False says nothing.

    Long documents are long because of a list of objects. A few of them at a time are read in half of the time that all
    at once take, since the memory is used again. The proof:

    (1) each piece is strict between "[" and "]", so it is some elements of a list, whole ones;
    (2) so is what is left of the document, with a number instead of each piece;
    (3) a line break is put before that number, which no text of JSON may hold: so it stands outside of texts, and as
        a piece starts and ends outside of texts too, it can be put back in its place;
    (4) after "[", or between commas, a number is an element: so the document is the one that was left, with more
        elements. No object got another key by that, and the nesting is no more than that of both together.
    """
    rest, pieces = _without_pieces(data, piece_bytes)
    # (2) (3) what is left; (4) its nesting, to which that of pieces comes
    return _is_strict(rest, max_depth - _PIECE_DEPTH if pieces else max_depth)


def _without_pieces(data: bytes, piece_bytes: int) -> tuple[bytes, int]:
    """``data`` without pieces that are strict, and how many those are. Where they are cut is found by guessing."""
    if len(data) < 2 * piece_bytes:
        return data, 0
    parts: list[bytes] = []
    done = place = 0
    tries = _TRIES
    while tries > 0 and (opening := _FIRST_ELEMENT.search(data, place)) is not None:
        tries -= 1
        place, start = opening.end(), opening.start("element")
        between = _next_element(opening).search(data, place, place + 2 * piece_bytes)
        while between is not None:
            end = data.find(between[0], start + piece_bytes, start + 4 * piece_bytes) + 1
            # (1) whole elements
            if not end or not _is_piece(b"[%b]" % data[start:end]):
                tries -= _TRIES_OF_PIECE if end else 0
                break
            parts += data[done:start], b"\n0"
            done = end
            place = start = end - 1 + between[0].index(b"{")
    return b"".join((*parts, data[done:])), len(parts)


def _next_element(opening: re.Match[bytes]) -> re.Pattern[bytes]:
    """What is between the first element of a list and the next, if that starts with the same key."""
    return re.compile(rb"\}\s{0,40},\s{0,40}\{\s{0,40}" + re.escape(opening["key"]))


def _is_piece(data: bytes) -> bool:
    try:
        return _is_written_back(data, _PIECE.decode(data))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return False


def _is_strict(data: bytes, max_depth: int) -> bool:
    """
    (1) msgspec reads the same language as :func:`load_json` (UTF-8, no byte order mark, no lone surrogates, no NaN, no
        number that is too large) but for two things: it goes deeper, and of equal keys it keeps the last;
    (2) the nesting can be counted in what it has read;
    (3) written again it is the same, or has as many quotes.
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
    return _is_written_back(data, tree)


def _is_written_back(data: bytes, tree: object) -> bool:
    """Whether no key was dropped when ``data`` was read into ``tree``. No two keys of an object there are equal.

    (1) If it is written as it was read, but for how some characters are written in texts, nothing was dropped.
    (2) Each key and text has its two quotes and, where a quote is in it, one more. So there are as many quotes as
        before if nothing was dropped, and fewer if an equal key was. This needs that each quote in a text was written
        with a quote: that is so where none is written by its number, ``\\u0022``.
    """
    written = msgspec.json.encode(tree)
    # (1) the same
    if written == data or written == _with_plain_brackets(data):
        return True
    # (2) as many quotes
    return b"\\u0022" not in data and written.count(b'"') == data.count(b'"')


def _with_plain_brackets(data: bytes) -> bytes:
    """With what Go's encoding/json writes by number (``<``, ``>``, ``&``) as itself. Where that is no number of a
    character, but a backslash and a text, a backslash is left before such a character: that is no JSON at all."""
    first, *others = data.split(b"\\", _ESCAPES)
    if not others:
        return data
    return first + b"".join([_plain(other) for other in others])


def _plain(after: bytes) -> bytes:
    character = _WRITTEN_BY_GO.get(after[:5])
    return b"\\" + after if character is None else character + after[5:]


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
