"""Moves a Rego file to another place of ``data``, by the positions that OPA's own parser reports.

Policies that were written for other programs have packages of their own choosing and refer to ``data.lib…``. Here each
lives below a prefix, so that none can meet another; and so does a whole set in an OPA that several gates share
(publication.py). Only insertions are made, and no line break among them: rows stay
what they are, and so does everything else of the text.

OPA (1.21) reports the place of every reference, but for one case: in ``else := x if y`` without braces it gives the
place of ``else`` for all that is in ``y``. Since each place is compared with the text, that is noticed and refused.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEPT = frozenset({"inventory"})
"""Below ``data``, what is the same for all policies of a set: references to it are not moved."""


class ImmovableError(Exception):
    """The file cannot be moved; ``row`` and ``column`` count from 1."""

    def __init__(self, problem: str, row: int, column: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.row = row
        self.column = column


@dataclass(frozen=True, slots=True)
class Move:
    """Where to: ``package`` comes before the file's own package, ``data`` behind ``data`` in its references. Both are
    Rego, such as ``portcullis.gatekeeper["K8sLabels"]``."""

    package: str
    data: str


@dataclass(frozen=True, slots=True)
class Moved:
    """``inserted`` says how many characters were put before which row and column of the file."""

    text: str
    move: Move
    inserted: Mapping[tuple[int, int], int]

    def column(self, row: int, column: int) -> int:
        """The column of the file that is this one now."""
        for (at_row, at_column), length in sorted(self.inserted.items()):
            if at_row == row and at_column < column:
                column = max(at_column, column - length)
        return column

    def as_written(self, message: str) -> str:
        """A message of OPA about the moved file, as if it were about the file itself."""
        for prefix in (self.move.package, self.move.data):
            dotted = prefix.replace('["', ".").replace('"]', "")
            for form in (prefix, dotted):
                message = message.replace(f"data.{form}.", "data.").replace(f"package {form}.", "package ")
        return message


def relocate(text: str, tree: Mapping[str, Any], move: Move, kept: Collection[str] = KEPT) -> Moved:
    """The moved file.

    Args:
        text: the file.
        tree: what ``opa parse --format json --json-include locations`` says of it.
        kept: what below ``data`` stays where it is.

    Raises:
        ImmovableError: it uses ``data`` as a whole or as a name of its own, or a place is not where OPA says.
        LookupError, TypeError, AttributeError: the tree is none that OPA makes.
    """
    lines = text.split("\n")
    first = tree["package"]["path"][1]
    inserted = {_place(lines, first, str(first["value"])): f"{move.package}."}
    for node, is_head in _data_nodes(tree, kept):
        place = node["location"]
        if not is_head:
            message = "`data` as a whole, or as a name of one's own, cannot be used here"
            raise ImmovableError(message, int(place["row"]), int(place["col"]))
        row, column = _place(lines, node, "data")
        inserted[row, column + len("data")] = f".{move.data}"
    for (row, column), more in sorted(inserted.items(), reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[: column - 1] + more + line[column - 1 :]
    return Moved("\n".join(lines), move, {place: len(more) for place, more in inserted.items()})


def tree_below(tree: Any, name: str) -> Any:
    """What the tree of a module must be whose package and references were moved below ``data.<name>``, without
    locations and comments. With "" as the name, the tree without them."""
    if isinstance(tree, list):
        return [tree_below(one, name) for one in tree]
    if not isinstance(tree, Mapping):
        return tree
    plain = {key: tree_below(value, name) for key, value in tree.items() if key not in ("location", "comments")}
    if tree.get("type") == "ref" and _is_data(tree["value"][0]):
        plain["value"] = _below(plain["value"], name)
    elif "package" in tree:
        plain["package"] = {**plain["package"], "path": _below(plain["package"]["path"], name)}
    return plain


def _below(path: list[Any], name: str) -> list[Any]:
    return [path[0], {"type": "string", "value": name}, *path[1:]] if name else path


def nodes_of(tree: object) -> Iterator[Mapping[str, Any]]:
    """Every object in the tree but comments and annotations, without recursion."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield item
            waiting.extend(value for key, value in item.items() if key not in ("annotations", "comments", "location"))
        elif isinstance(item, list):
            waiting.extend(item)


def _data_nodes(tree: Mapping[str, Any], kept: Collection[str]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """The variables ``data`` that must be moved, each with whether it begins a reference of more than itself."""
    heads: set[int] = set()
    others: list[Mapping[str, Any]] = []
    for node in nodes_of({key: value for key, value in tree.items() if key != "package"}):
        kind, value = node.get("type"), node.get("value")
        if kind == "ref" and isinstance(value, list) and value and _is_data(value[0]):
            heads.add(id(value[0]))
            if len(value) > 1 and value[1].get("type") == "string" and value[1].get("value") in kept:
                continue
            yield value[0], len(value) > 1
        elif _is_data(node):
            others.append(node)
    yield from ((node, False) for node in others if id(node) not in heads)


def _is_data(node: Mapping[str, Any]) -> bool:
    return node.get("type") == "var" and node.get("value") == "data"


def _place(lines: list[str], node: Mapping[str, Any], word: str) -> tuple[int, int]:
    """Row and column of the node, at which ``word`` stands. OPA counts characters and not bytes."""
    row, column = int(node["location"]["row"]), int(node["location"]["col"])
    line = lines[row - 1] if row <= len(lines) else ""
    found = line[column - 1 : column - 1 + len(word)]
    after = line[column - 1 + len(word) : column + len(word)]
    if found != word or after.isalnum() or after == "_":
        if line[column - 1 : column + 3] == "else":
            raise ImmovableError("the body of this `else` uses `data`: write it in braces", row, column)
        raise ImmovableError(f"`{word}` does not stand where OPA says that it does", row, column)
    return row, column
