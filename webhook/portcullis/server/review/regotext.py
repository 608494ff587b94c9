"""Rego in colours, without a script: which part of a line is a comment, a text, a keyword.

Not a parser: what it takes for something else has another colour, and that is all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SHOWN_LINES: Final = 3000
SHOWN_COLUMNS: Final = 400

_TOKEN: Final = re.compile(
    r"""(?P<comment>\#.*)
    |(?P<string>"(?:\\.|[^"\\])*"?|`[^`]*`?)
    |(?P<keyword>\b(?:as|contains|default|else|every|false|if|import|in|not|null|package|some|true|with)\b)
    |(?P<rule>\b(?:deny|warn|audit|violation|input|data)\b)
    |(?P<number>\b\d+(?:\.\d+)?\b)
    |(?P<call>\b[a-z_][\w.]*(?=\())""",
    re.VERBOSE,
)
_RAW: Final = "`"


@dataclass(frozen=True, slots=True)
class Piece:
    """``kind`` is a class of the style sheet, "" for plain text."""

    kind: str
    text: str


Line = tuple[Piece, ...]


def coloured(text: str) -> tuple[Line, ...]:
    """The lines of the text, each as its pieces; as many as are shown. A raw text goes on over lines."""
    lines, raw = [], False
    for line in text.splitlines()[:SHOWN_LINES]:
        shown = _visible(line if len(line) <= SHOWN_COLUMNS else f"{line[:SHOWN_COLUMNS]}…")
        pieces, raw = _pieces(shown, raw=raw)
        lines.append(pieces)
    return tuple(lines)


def _visible(line: str) -> str:
    """The line with characters that would change how the rest reads, such as right-to-left overrides, made visible:
    what is shown is what runs."""
    if line.replace("\t", "").isprintable():
        return line
    return "".join(one if one == "\t" or one.isprintable() else "\ufffd" for one in line)


def _pieces(line: str, *, raw: bool) -> tuple[Line, bool]:
    """Of one line, and whether a raw text is open behind it."""
    found, start = list[Piece](), 0
    if raw:
        end = line.find(_RAW)
        if end < 0:
            return (Piece("string", line),), True
        found, start = [Piece("string", line[: end + 1])], end + 1
    found += _tokens(line[start:])
    opened = bool(found) and found[-1].kind == "string" and _is_open(found[-1].text)
    return tuple(found), opened


def _is_open(text: str) -> bool:
    return text.startswith(_RAW) and (len(text) == 1 or not text.endswith(_RAW))


def _tokens(text: str) -> Iterator[Piece]:
    at = 0
    for token in _TOKEN.finditer(text):
        if token.start() > at:
            yield Piece("", text[at : token.start()])
        yield Piece(str(token.lastgroup), token[0])
        at = token.end()
    if at < len(text):
        yield Piece("", text[at:])
