"""Moves Rego to another place in ``data``: packages, and what refers to them.

Two kinds of sets need it: policies written for another program, whose packages are none of ours, and sets that lie
beside each other in an OPA that several gates share. A move is made in the text, at the exact places that
``opa parse --format json --json-include locations`` reports, so that a row of the result is that row of the source;
:func:`moved` then tells what the tree of the result must be, and whoever moves compares the two.

Columns of OPA count characters, not bytes (tried with OPA 1.21).
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
"""Below ``data``: ("portcullis", "lib") is data.portcullis.lib."""

Moves = Mapping[Path, Path]
"""New path by old; what lies below an old path goes with it. The longest old path wins."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = "as contains data default else every false if import in input not null package set some true with"
_KEYWORDS = frozenset(_PLAIN.split())


class RelocationError(ValueError):
    """The text cannot be moved. ``row`` and ``column`` count from 1; 0 where unknown."""

    def __init__(self, message: str, row: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.row = row
        self.column = column


def relocate(text: str, tree: Mapping[str, Any], moves: Moves) -> str:
    """``text`` with its package and its references moved.

    Args:
        text: one Rego module.
        tree: what OPA parsed it to, with locations.
        moves: where to.

    Raises:
        RelocationError: a reference whose target cannot be told (``data[x]``), one to something of which only a part
            moves, or a tree that is not that of the text.
    """
    lines = text.split("\n")
    edits = {edit.key: edit for edit in _edits(tree, moves)}
    for edit in sorted(edits.values(), key=lambda edit: edit.key, reverse=True):
        line = edit.row - 1
        if not 0 <= line < len(lines):
            raise RelocationError("the tree is not that of the text", edit.row, edit.column)
        lines[line] = edit.apply(lines[line])
    return "\n".join(lines)


def moved(tree: Mapping[str, Any], moves: Moves) -> Any:
    """What the tree of the moved text must be, without locations (:func:`bare` takes them out of the other)."""
    return _moved(tree, moves)


def bare(tree: Any) -> Any:
    """The tree without the locations."""
    return _moved(tree, {})


# -- the text ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edit:
    """In one row: the parts of a path from ``column`` on become ``path``, or an alias is put behind them.

    ``first`` and ``last`` are the first and the last part as they are written.
    """

    row: int
    column: int
    first: str
    last: str
    last_column: int
    path: Path
    after_data: bool
    alias: str = ""

    @property
    def key(self) -> tuple[int, int]:
        return self.row, self.column

    def apply(self, line: str) -> str:
        start, end = self.column - 1, self.last_column - 1
        if line[start : start + len(self.first)] != self.first or line[end : end + len(self.last)] != self.last:
            raise RelocationError("the tree is not that of the text", self.row, self.column)
        end += len(self.last)
        if self.last.startswith(('"', "`")):
            end = self._behind_bracket(line, end)
        if not self.after_data:
            return f"{line[:start]}{_package(self.path)}{line[end:]}"
        start = len(line[:start].rstrip().removesuffix("[").removesuffix(".").rstrip())
        if not line[:start].endswith("data"):
            raise RelocationError("the tree is not that of the text", self.row, self.column)
        alias = f" as {self.alias}" if self.alias else ""
        return f"{line[:start]}{_brackets(self.path)}{alias}{line[end:]}"

    def _behind_bracket(self, line: str, end: int) -> int:
        rest = line[end:].lstrip()
        if not rest.startswith("]"):
            raise RelocationError("a reference is spread over several rows", self.row, self.column)
        return len(line) - len(rest) + 1


def _edits(tree: Mapping[str, Any], moves: Moves) -> Iterator[_Edit]:
    package = tree["package"]["path"]
    if (old := _moving(package, moves)) is not None:
        yield _edit(package, old, moves[old], after_data=False)
    for statement in tree.get("imports") or ():
        reference = statement["path"]["value"]
        if reference[0]["value"] == "data" and (old := _moving(reference, moves)) is not None:
            alias = old[-1] if len(reference) == len(old) + 1 and "alias" not in statement else ""
            yield _edit(reference, old, moves[old], alias=alias if alias != moves[old][-1] else "")
    for reference in _references(tree.get("rules") or ()):
        if (old := _moving(reference, moves)) is not None:
            yield _edit(reference, old, moves[old])


def _edit(
    reference: Sequence[Mapping[str, Any]], old: Path, new: Path, *, after_data: bool = True, alias: str = ""
) -> _Edit:
    first, last = _place(reference[1]), _place(reference[len(old)])
    if first.row != last.row or (after_data and _place(reference[0]).row != first.row):
        raise RelocationError("a reference is spread over several rows", first.row, first.column)
    return _Edit(first.row, first.column, first.text, last.text, last.column, new, after_data, alias)


@dataclass(frozen=True, slots=True)
class _Place:
    row: int
    column: int
    text: str


def _place(part: Mapping[str, Any]) -> _Place:
    location = part.get("location")
    if location is None:
        raise RelocationError("the tree has no locations")
    return _Place(location["row"], location["col"], base64.b64decode(location["text"]).decode())


def _moving(reference: Sequence[Mapping[str, Any]], moves: Moves) -> Path | None:
    """The old path that ``reference`` lies below; None where it stays.

    Raises:
        RelocationError: nobody can tell, or a part of it would go.
    """
    constant: list[str] = []
    for part in reference[1:]:
        if part["type"] != "string":
            break
        constant.append(part["value"])
    path = tuple(constant)
    below = [old for old in moves if path[: len(old)] == old]
    if below:
        return max(below, key=len)
    if any(old[: len(path)] == path for old in moves):
        place = _place(reference[0])
        shown = ".".join(("data", *path))
        message = f"{shown} is read as a whole or by a variable, and a part of it lies elsewhere here"
        raise RelocationError(message, place.row, place.column)
    return None


def _references(node: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Every reference that begins with ``data``, and ``data`` alone. A stack: sources may nest deeply."""
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if here.get("type") == "ref" and here["value"][0].get("value") == "data":
                yield here["value"]
                stack.extend(here["value"][1:])
                continue
            if here.get("type") == "var" and here.get("value") == "data":
                yield [here]
            stack.extend(value for key, value in here.items() if key != "location")
        elif isinstance(here, list):
            stack.extend(here)


def _package(path: Path) -> str:
    if _NAME.fullmatch(path[0]) is None or path[0] in _KEYWORDS:
        raise RelocationError(f"{path[0]} cannot be the first part of a package")
    return path[0] + _brackets(path[1:])


def _brackets(path: Path) -> str:
    plain = (_NAME.fullmatch(part) is not None and part not in _KEYWORDS for part in path)
    return "".join(
        f".{part}" if is_plain else f"[{json.dumps(part)}]" for part, is_plain in zip(path, plain, strict=True)
    )


# -- the tree ------------------------------------------------------------


def _moved(node: Any, moves: Moves) -> Any:
    if isinstance(node, list):
        return [_moved(one, moves) for one in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _moved(value, moves) for key, value in node.items() if key != "location"}
    if node.get("type") == "ref" and node["value"][0].get("value") == "data":
        plain["value"] = _moved_path(node["value"], plain["value"], moves)
    elif "package" in node:
        path = _moved_path(node["package"]["path"], plain["package"]["path"], moves)
        plain["package"] = {**plain["package"], "path": path}
        plain.pop("comments", None)
        plain["imports"] = [_import(one, moves) for one in node.get("imports") or ()]
    return plain


def _import(statement: Mapping[str, Any], moves: Moves) -> Any:
    plain = _moved(statement, moves)
    reference = statement["path"]["value"]
    old = _moving(reference, moves) if reference[0].get("value") == "data" else None
    whole = old is not None and len(reference) == len(old) + 1
    if old is not None and whole and "alias" not in statement and old[-1] != moves[old][-1]:
        plain["alias"] = old[-1]
    return plain


def _moved_path(reference: Sequence[Mapping[str, Any]], plain: list[Any], moves: Moves) -> list[Any]:
    old = _moving(reference, moves)
    if old is None:
        return plain
    return [plain[0], *({"type": "string", "value": part} for part in moves[old]), *plain[len(old) + 1 :]]
