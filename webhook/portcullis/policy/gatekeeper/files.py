"""YAML and JSON files that hold objects of Gatekeeper: read strictly, with the line of everything in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from portcullis.errors import CompileProblem
from portcullis.limits import Limits
from portcullis.strictyaml import Location, Rules, StrictYamlError, load_documents
from portcullis.text import clean

SUFFIXES = (".yaml", ".yml", ".json")

TEMPLATES = "templates.gatekeeper.sh"
CONSTRAINTS = "constraints.gatekeeper.sh"
TEST = "test.gatekeeper.sh"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LITERAL = "|"


class ForeignError(Exception):
    """Something of Gatekeeper's cannot be used; ``problem`` says where and why."""

    def __init__(self, problem: CompileProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file. ``node`` is what the lines are known from."""

    path: str
    value: dict[str, Any]
    node: yaml.Node
    rows: tuple[str, ...]

    @property
    def group(self) -> str:
        return str(self.value.get("apiVersion", "")).rpartition("/")[0]

    @property
    def version(self) -> str:
        return str(self.value.get("apiVersion", "")).rpartition("/")[2]

    def line(self, *location: str | int) -> int:
        """The line of what stands there, from 1, or of the nearest thing above that is there."""
        return _walk(self.node, location)[0].start_mark.line + 1

    def text_offset(self, *location: str | int) -> tuple[int, int]:
        """How many rows of the file come before the text there, and how far to the right it stands. Of a text that is
        no literal block (``|``), only the row on which it begins is known."""
        node = _walk(self.node, location)[1]
        before = node.start_mark.line
        if isinstance(node, yaml.ScalarNode) and node.style == _LITERAL:
            first = next((row for row in self.rows[before + 1 :] if row.strip()), "")
            inside = next((row for row in node.value.split("\n") if row.strip()), "")
            return before + 1, len(first.rstrip()) - len(inside.rstrip())
        return before, 0

    def wrong(self, message: str, *location: str | int) -> ForeignError:
        where = ".".join(str(part) for part in location)
        text = f"{where} {message}" if where else message
        return ForeignError(CompileProblem(clean(self.path, 300), self.line(*location), 0, clean(text, 500)))


def read_items(path: str, text: str, groups: tuple[str, ...], limits: Limits) -> Iterator[Item]:
    """The objects of these groups in a file; ``List`` objects are taken apart. A file that does not so much as name one
    of the groups is not looked at: it may be anything.

    Raises:
        ForeignError: the file names one, and is no strict YAML, or has more values than ``input_values`` allows.
    """
    if not any(group in text for group in groups):
        return
    rules = Rules(max_values=limits.input_values, max_depth=limits.json_depth, as_kubectl=True)
    try:
        documents = list(load_documents(text, rules))
        nodes = list(yaml.compose_all(text, Loader=_LOADER))
    except StrictYamlError as error:
        problem = error.problem if not error.bound else f"more {error.bound} than allowed: {error.problem}"
        raise ForeignError(CompileProblem(clean(path, 300), error.line, 0, problem)) from None
    except yaml.YAMLError as error:
        raise ForeignError(CompileProblem(clean(path, 300), 0, 0, f"not YAML: {clean(str(error), 200)}")) from None
    rows = tuple(text.split("\n"))
    for document, node in zip(documents, nodes, strict=False):
        if isinstance(document.value, dict) and node is not None:
            yield from _of_groups(Item(path, document.value, node, rows), groups)


def _of_groups(item: Item, groups: tuple[str, ...]) -> Iterator[Item]:
    if item.group in groups:
        yield item
    items = item.value.get("items")
    if item.value.get("kind") == "List" and isinstance(items, list):
        for index, inner in enumerate(items):
            if isinstance(inner, dict):
                node = _walk(item.node, ("items", index))[1]
                yield from _of_groups(Item(item.path, inner, node, item.rows), groups)


def _walk(node: yaml.Node, location: Location) -> tuple[yaml.Node, yaml.Node]:
    """The node that marks the place (its key, where it has one) and its value."""
    marked = node
    for part in location:
        found: tuple[yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part], node.value[part]
        if found is None:
            break
        marked, node = found
    return marked, node
