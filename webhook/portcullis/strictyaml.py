"""YAML read strictly, with bounds: builds JSON trees from libyaml's events. For the configuration and for manifests.

Why not ``yaml.safe_load``: it keeps the last of two equal keys without a word, turns ``2026-01-02`` into a date and
``22:30`` into 1350, makes objects of tags such as ``!!binary``, recurses without a bound, and an alias may stand for
a tree that grows exponentially once it is written out. Kubernetes' own reader (sigs.k8s.io/yaml) knows strings,
numbers, booleans, null, lists and maps, and so does this one. It merges ``<<`` and types keys as kubectl does where
:class:`Rules` say so; the configuration has neither.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from portcullis.text import clean

_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(f"{_PREFIX}{name}" for name in ("str", "int", "float", "bool", "null"))
_COLLECTION_TAGS = frozenset(f"{_PREFIX}{name}" for name in ("map", "seq"))
_MERGE = f"{_PREFIX}merge"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
_CONSTRUCTOR = SafeConstructor()


Location = tuple[str | int, ...]
"""Where a value stands: keys and indexes from the root."""


class StrictYamlError(Exception):
    """Not YAML, not expressible in JSON, ambiguous, or over a bound. Whoever reads makes an error of its own of it.

    ``line`` and ``column`` count from 1 and are 0 where they are not known; ``bound`` is the one that was crossed.
    """

    def __init__(
        self, problem: str, *, line: int = 0, column: int = 0, bound: Literal["", "values", "depth"] = ""
    ) -> None:
        super().__init__(f"line {line}, column {column}: {problem}" if line else problem)
        self.problem = problem
        self.line = line
        self.bound = bound


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken.

    Args:
        max_values: scalars, lists and maps of the whole stream, each alias counted with all it stands for.
        max_depth: nesting.
        as_kubectl: ``<<`` merges and a key ``yes`` is "true"; otherwise ``<<`` is refused and keys are as written.
    """

    max_values: int
    max_depth: int
    as_kubectl: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """``value`` is a JSON tree; ``line`` where it begins, from 1."""

    line: int
    value: Any


def load_documents(text: str, rules: Rules) -> Iterator[Document]:
    """The documents of a YAML stream, one after the other; empty ones are None.

    Raises:
        StrictYamlError: in the middle of the stream, too.
    """
    builder = _Builder(rules)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if (document := builder.feed(event)) is not None:
                yield document
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None


class Lines:
    """The lines of a stream of one document.

    Raises:
        StrictYamlError: there are more documents, or two anchors have one name.
    """

    def __init__(self, text: str) -> None:
        """``text`` has gone through :func:`load_documents`: the composer recurses without a bound."""
        try:
            self._root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise _not_yaml(error) from None

    def get(self, location: Location) -> int | None:
        """The line, from 1, of the key or the list item at ``location``; None where there is nothing."""
        node = self._root
        line = node.start_mark.line + 1 if node is not None else None
        for part in location:
            found = _child(node, part)
            if found is None:
                return None
            marked, node = found
            line = marked.start_mark.line + 1
        return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that marks ``part`` (the key, where it has one), and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


@dataclass(slots=True)
class _Open:
    """A list or map whose end has not come yet. ``size`` counts the values in it and itself."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merging: bool = False
    merges: list[Any] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class _Builder:
    rules: Rules
    total: int = 0
    line: int = 1
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def feed(self, event: Any) -> Document | None:
        """Takes one event; gives the document that it completes."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.anchors.clear()
            self.line = event.start_mark.line + 1  # type: ignore[union-attr]
            return None
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
            return None
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            return self._close(event)
        return None

    def _open(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            raise _error(event.start_mark, f"the tag {clean(event.tag, 80)!r} has no place here")
        if len(self.stack) >= self.rules.max_depth:
            raise _error(event.start_mark, f"nested deeper than {self.rules.max_depth}", "depth")
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None and not top.merging:
            raise _error(event.start_mark, "a list or a map cannot be a key (a template that was not rendered?)")
        self._count(1, event)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, event.anchor))

    def _close(self, event: Any) -> Document | None:
        done = self.stack.pop()
        for merged in done.merges:
            assert isinstance(done.value, dict)
            done.value.update({key: value for key, value in merged.items() if key not in done.value})
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, done.size)
        return self._put(done.value, done.size, event)

    def _alias(self, event: Any) -> Document | None:
        if event.anchor not in self.anchors:
            raise _error(event.start_mark, f"the alias {clean(event.anchor, 80)!r} stands inside or before its anchor")
        value, size = self.anchors[event.anchor]
        self._count(size, event)
        return self._put(value, size, event)

    def _scalar(self, event: Any) -> Document | None:
        self._count(1, event)
        tag = f"{_PREFIX}str" if event.tag == "!" else event.tag
        if tag is None:
            plain = event.implicit[0]
            tag = str(_RESOLVER.resolve(yaml.ScalarNode, event.value, (plain, not plain)))  # type: ignore[no-untyped-call]
            if ":" in event.value or tag == f"{_PREFIX}timestamp" or tag == f"{_PREFIX}value":
                tag = f"{_PREFIX}str"  # no dates and no base 60, as in Kubernetes
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None and not top.merging:
            self._key(top, tag, event)
            return None
        value = _scalar(tag, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        return self._put(value, 1, event)

    def _key(self, top: _Open, tag: str, event: Any) -> None:
        if tag == _MERGE:
            if not self.rules.as_kubectl:
                raise _error(event.start_mark, "'<<' is not supported; use an alias for the whole value")
            top.merging = True
            return
        value = _scalar(tag, event) if self.rules.as_kubectl else event.value
        key = value if isinstance(value, str) else _json_key(value)
        if key in top.value:
            raise _error(event.start_mark, f"the key {clean(key, 80)!r} is there twice")
        top.key = key
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)

    def _put(self, value: Any, size: int, event: Any) -> Document | None:
        if not self.stack:
            return Document(self.line, value)
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.merging:
            merges = value if isinstance(value, list) else [value]
            if not all(isinstance(merged, dict) for merged in merges):
                raise _error(event.start_mark, "'<<' takes a map or a list of maps")
            top.merges += merges
            top.merging = False
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None
        else:  # an alias in the place of a key
            raise _error(event.start_mark, "an alias cannot be a key")
        return None

    def _count(self, size: int, event: Any) -> None:
        self.total += size
        if self.total > self.rules.max_values:
            raise _error(event.start_mark, f"more than {self.rules.max_values} values", "values")


def _scalar(tag: str, event: Any) -> Any:
    if tag == _MERGE:
        return event.value
    if tag not in _SCALAR_TAGS:
        raise _error(event.start_mark, f"the tag {clean(tag, 80)!r} has no place here")
    try:
        value = _CONSTRUCTOR.construct_object(yaml.ScalarNode(tag, event.value))
    except (ValueError, KeyError, OverflowError):
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} is no {tag.removeprefix(_PREFIX)}") from None
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} is no 64-bit number")
    if isinstance(value, float) and not math.isfinite(value):
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} is no number that JSON knows")
    return value


def _json_key(value: Any) -> str:
    """A key that is no string, as sigs.k8s.io/yaml writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _not_yaml(error: yaml.YAMLError) -> StrictYamlError:
    if isinstance(error, yaml.MarkedYAMLError):
        return _error(error.problem_mark or error.context_mark, error.problem or "not YAML")
    return StrictYamlError(f"not YAML: {clean(str(error), 200)}")


def _error(mark: Any, problem: str, bound: Literal["", "values", "depth"] = "") -> StrictYamlError:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    return StrictYamlError(clean(problem, 300), line=line, column=column, bound=bound)
