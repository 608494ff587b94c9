"""YAML to plain values that remember the line they stand on.

PyYAML's safe loader keeps the last of two equal keys without a word, makes dates and base-60 numbers of what looks
like them, and forgets lines. So its node tree is read here: keys are text and unique, values are those of JSON, and
depth and number of values are bounded with every alias written out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from portcullis.errors import ConfigError
from portcullis.text import clean

MAX_DEPTH = 40
"""Nesting of a configuration; policy parameters are the deepest part of it."""
MAX_VALUES = 100_000
"""Values of a configuration, aliases written out."""

_PREFIX = "tag:yaml.org,2002:"
_TEXT = frozenset({f"{_PREFIX}str", f"{_PREFIX}timestamp", f"{_PREFIX}value"})
_PLAIN = frozenset({f"{_PREFIX}{name}" for name in ("int", "float", "bool", "null")})
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTRUCTOR = SafeConstructor()

Location = tuple[str | int, ...]
"""Where a value stands: keys and indexes from the root."""


@dataclass(frozen=True, slots=True)
class Marked:
    """``value`` is made of dicts, lists and scalars; ``lines`` gives the line, from 1, of each location."""

    value: Any
    lines: Mapping[Location, int] = field(repr=False)


def read_yaml(text: str, name: str) -> Marked:
    """One YAML document; an empty one is None.

    Args:
        name: the file's name, for messages.

    Raises:
        ConfigError: not YAML, not expressible in JSON, a key twice, or over a bound; ``name:line`` leads.
    """
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{_at(name, mark)}: {clean(error.problem or 'not YAML', 200)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {clean(str(error), 200)}") from None
    reader = _Reader(name)
    return Marked(None if node is None else reader.read(node, ()), reader.lines)


def _check_depth(text: str, name: str) -> None:
    """libyaml's composer recurses; its parser does not."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"{_at(name, event.start_mark)}: nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    def __init__(self, name: str) -> None:
        self.lines: dict[Location, int] = {}
        self._name = name
        self._values = 0

    def read(self, node: yaml.Node, location: Location) -> Any:
        self._values += 1
        if self._values > MAX_VALUES or len(location) > MAX_DEPTH:
            raise self._error(node, f"more than {MAX_VALUES} values or nested deeper than {MAX_DEPTH}, aliases counted")
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self.read(child, (*location, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._error(node, f"the tag {clean(node.tag, 80)!r} has no place here")

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a list or a map cannot be a key")
            if key_node.tag == f"{_PREFIX}merge":
                raise self._error(key_node, "'<<' is not supported; use an alias for the whole value")
            key = key_node.value  # as written: true and 1 are names here
            if key in found:
                raise self._error(key_node, f"the key {clean(key, 80)!r} is there twice")
            self.lines[*location, key] = key_node.start_mark.line + 1
            found[key] = self.read(value_node, (*location, key))
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _TEXT or (node.tag in _PLAIN and ":" in node.value):
            return node.value
        if node.tag not in _PLAIN:
            raise self._error(node, f"the tag {clean(node.tag, 80)!r} has no place here")
        try:
            value = _CONSTRUCTOR.construct_object(node)
        except (ValueError, KeyError, OverflowError):
            raise self._error(node, f"{clean(node.value, 80)!r} cannot be read as {node.tag[len(_PREFIX) :]}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(node, f"{clean(node.value, 80)!r} is no number that JSON knows")
        return value

    def _error(self, node: yaml.Node, problem: str) -> ConfigError:
        return ConfigError(f"{_at(self._name, node.start_mark)}: {problem}")


def _at(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}" if mark is not None else name
