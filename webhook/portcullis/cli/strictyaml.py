"""YAML as kubectl reads it, with bounds: builds JSON trees from libyaml's events.

Why not ``yaml.safe_load``: it keeps the last of two equal keys without a word, turns ``2026-01-02`` into a date and
``22:30`` into 1350, makes objects of tags such as ``!!binary``, recurses without a bound, and an alias may stand for
a tree that grows exponentially once it is written out. Kubernetes' own reader (sigs.k8s.io/yaml) knows strings,
numbers, booleans, null, lists and maps, and so does this one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from portcullis.errors import ManifestError
from portcullis.text import clean

_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(f"{_PREFIX}{name}" for name in ("str", "int", "float", "bool", "null"))
_COLLECTION_TAGS = frozenset(f"{_PREFIX}{name}" for name in ("map", "seq"))
_MERGE = f"{_PREFIX}merge"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
_CONSTRUCTOR = SafeConstructor()


@dataclass(frozen=True, slots=True)
class Document:
    """``value`` is a JSON tree; ``line`` where it begins, from 1."""

    line: int
    value: Any


def load_documents(text: str, *, max_values: int, max_depth: int) -> Iterator[Document]:
    """The documents of a YAML stream, one after the other; empty ones are None.

    Args:
        max_values: scalars, lists and maps of the whole stream, each alias counted with all it stands for.
        max_depth: nesting.

    Raises:
        ManifestError: not YAML, not expressible in JSON, ambiguous, or over a bound; says line and column.
    """
    builder = _Builder(max_values, max_depth)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if (document := builder.feed(event)) is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        raise _error(error.problem_mark or error.context_mark, error.problem or "not YAML") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"not YAML: {clean(str(error), 200)}") from None


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
    max_values: int
    max_depth: int
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
            raise _error(event.start_mark, f"the tag {clean(event.tag, 80)!r} has no place in a manifest")
        if len(self.stack) >= self.max_depth:
            raise _error(event.start_mark, f"nested deeper than {self.max_depth} (limits.reviewDepth)")
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
            top.merging = True
            return
        value = _scalar(tag, event)
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
        if self.total > self.max_values:
            raise _error(event.start_mark, f"more than {self.max_values} values (limits.inputValues)")


def _scalar(tag: str, event: Any) -> Any:
    if tag == _MERGE:
        return event.value
    if tag not in _SCALAR_TAGS:
        raise _error(event.start_mark, f"the tag {clean(tag, 80)!r} has no place in a manifest")
    try:
        value = _CONSTRUCTOR.construct_object(yaml.ScalarNode(tag, event.value))
    except (ValueError, KeyError, OverflowError):
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} is no {tag.removeprefix(_PREFIX)}") from None
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} is no 64-bit number")
    if isinstance(value, float) and not math.isfinite(value):
        raise _error(event.start_mark, f"{clean(event.value, 80)!r} has no form in JSON")
    return value


def _json_key(value: Any) -> str:
    """A key that is no string, as sigs.k8s.io/yaml writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _error(mark: Any, problem: str) -> ManifestError:
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return ManifestError(f"{where}{clean(problem, 300)}")
