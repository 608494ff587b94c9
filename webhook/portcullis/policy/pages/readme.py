"""The README of a policy: its sections, the parameters that it lists, and its links.

CommonMark with tables; raw HTML and images are no part of it, so that a page never holds markup or addresses that load
by themselves.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from portcullis.text import clean

_LINK = re.compile(r"(?P<code>(?P<ticks>`+).*?(?P=ticks))|(?P<before>\[[^\]\n]*\]\()(?P<address>[^)\s]+)(?P<after>\))")
_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Section:
    """``text`` is the Markdown below the heading of level 2."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table under "Parameters". ``default`` is YAML, "" where the table says it in words."""

    name: str
    default: str


@dataclass(frozen=True, slots=True)
class Readme:
    """``intro`` is what stands before the first heading of level 2, without the heading of level 1."""

    intro: str = ""
    sections: tuple[Section, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        found = [section.text for section in self.sections if section.title == "Parameters"]
        return tuple(parameter for text in found for parameter in _parameters(text))


def parser() -> MarkdownIt:
    """Addresses such as ``javascript:`` are no links for it (markdown-it's own rule)."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def read_readme(text: str) -> Readme:
    """Splits the text at its headings; what stands in a code block is no heading."""
    lines = text.splitlines()
    intro_from, starts = 0, list[tuple[str, int, int]]()
    tokens = parser().parse(text)
    for token, content in pairwise(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        first, behind = token.map
        if token.tag == "h1" and not starts and not intro_from:
            intro_from = behind
        elif token.tag == "h2":
            starts.append((clean(content.content, _TITLE_CHARS), first, behind))
    ends = [first for _, first, _ in (*starts[1:], ("", len(lines), 0))]
    return Readme(
        intro=_joined(lines[intro_from : starts[0][1] if starts else len(lines)]),
        sections=tuple(
            Section(title, _joined(lines[behind:end])) for (title, _, behind), end in zip(starts, ends, strict=False)
        ),
    )


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n")


def _parameters(text: str) -> Iterator[Parameter]:
    """The first two cells of each row, as far as the first is one word of code."""
    row: list[Token] = []
    for token in parser().parse(text):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token)
        elif token.type == "tr_close" and len(row) > 1 and (name := _code(row[0])):
            yield Parameter(name, _code(row[1]))


def _code(cell: Token) -> str:
    """The code that the cell is, else ""."""
    children = cell.children or []
    return children[0].content if len(children) == 1 and children[0].type == "code_inline" else ""


def relinked(text: str, address_of: Callable[[str], str]) -> str:
    """The Markdown with other addresses in its links; code is left alone."""
    fenced = {
        number for token in parser().parse(text) if token.type == "fence" and token.map for number in range(*token.map)
    }

    def change(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        return f"{found['before']}{address_of(found['address'])}{found['after']}"

    lines = text.split("\n")
    return "\n".join(line if number in fenced else _LINK.sub(change, line) for number, line in enumerate(lines))


def is_relative(address: str) -> bool:
    """Whether it leads to a file beside this one: no scheme, no host, no bare fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc and bool(parts.path) and not parts.path.startswith("/")


def anchor(title: str) -> str:
    """The fragment by which a heading is reached, as GitHub makes it: lower case, blanks as dashes, no punctuation."""
    kept = re.sub(r"[^\w\- ]", "", clean(title, _TITLE_CHARS).lower())
    return kept.replace(" ", "-")
