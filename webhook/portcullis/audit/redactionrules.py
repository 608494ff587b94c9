"""The operator's rules of redaction, beside those that hold everywhere."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portcullis.audit.linear import MAX_CHARS, linear
from portcullis.audit.redactiontext import REDACTED
from portcullis.audit.redactiontree import Place, Tree
from portcullis.globs import matches

MAX_RULES: Final = 100
"""Of each kind."""

_SEGMENTS: Final = 40
_PART: Final = re.compile(
    r"""(?:^|(?<=[^.])\.)(?P<name>\*|[^.\[\]"*]+)|\[(?P<index>\*|[0-9]{1,6})\]|\["(?P<quoted>[^"]+)"\]"""
)
_ARGUMENT: Final = re.compile(r"(--?[\w.-]{1,64}=|[A-Za-z_]\w{0,63}=)")

_ANY: Final = object()
Segment = Any
"""A key, an index, or any of either."""


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """Text in which ``fits`` is true goes; see :func:`parse_pattern`."""

    name: str
    expression: str
    fits: Callable[[str], bool]

    def without(self, text: str) -> str:
        """The lines of ``text`` in which it does not fit, and of the others what names an argument or variable at
        their beginning; only the marker, where it still fits."""
        made = "\n".join(map(self._line, text.split("\n")))
        return REDACTED if self.fits(made) else made

    def _line(self, line: str) -> str:
        if not self.fits(line):
            return line
        named = _ARGUMENT.match(line)
        return f"{named[0]}{REDACTED}" if named is not None else REDACTED


def _any_of(patterns: Sequence[OwnPattern]) -> Callable[[str], bool]:
    """Tells whether one of them fits; by all of them in one expression, where they go into one."""
    try:
        return linear("|".join(f"(?:{pattern.expression})" for pattern in patterns))
    except ValueError:  # too large together, or one that ends in a comment
        return lambda text: any(pattern.fits(text) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """Rules of the operator; none by default.

    Args:
        annotations, labels: globs of keys whose values go whole, in every ``metadata``.
        paths: places that go whole, as :func:`parse_path` gives them, from the AdmissionRequest on.
        keep: places where the built-in patterns and names take nothing out: for what they hit by mistake. Values of
            variables and of Secrets go all the same.
        patterns: what goes wherever it stands.
    """

    annotations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    paths: tuple[tuple[Segment, ...], ...] = ()
    keep: tuple[tuple[Segment, ...], ...] = ()
    patterns: tuple[OwnPattern, ...] = ()
    _globs: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _fits_any: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        globs = {"annotations": self.annotations, "labels": self.labels}
        object.__setattr__(self, "_globs", {name: patterns for name, patterns in globs.items() if patterns})
        object.__setattr__(self, "_fits_any", _any_of(self.patterns))

    def fitting(self, text: str) -> list[OwnPattern]:
        """The patterns that fit somewhere in ``text``: mostly none, which one look tells."""
        if not self.patterns or not self._fits_any(text):
            return []
        return [pattern for pattern in self.patterns if pattern.fits(text)]

    def apply(self, tree: Tree) -> None:
        """Puts the marker at the places that keys and paths name."""
        if self._globs:
            self._apply_globs(tree)
        for number, key in places(tree, self.paths):
            if not tree.is_image((number, key)) and tree.nodes[number][key] is not None:
                tree.edits[number, key] = REDACTED

    def _apply_globs(self, tree: Tree) -> None:
        for number, name in enumerate(tree.names):
            if name in self._globs and tree.names[tree.parents[number]] == "metadata":
                node = tree.nodes[number]
                for key in node if type(node) is dict else ():
                    if any(matches(pattern, key) for pattern in self._globs[name]):
                        tree.put(number, key)


NO_RULES: Final = RedactionRules()


def parse_pattern(name: str, expression: str) -> OwnPattern:
    """A pattern in the syntax of Rust's regex crate, which is much like RE2's.

    Raises:
        ValueError: it is none, is longer than 1,000 characters, or fits the empty text and so everything.
    """
    if len(expression) > MAX_CHARS:
        raise ValueError(f"has {len(expression)} characters, more than {MAX_CHARS}")
    fits = linear(expression)
    if fits(""):
        raise ValueError("fits the empty text, and so every text")
    return OwnPattern(name, expression, fits)


def parse_path(text: str) -> tuple[Segment, ...]:
    """``object.spec.sources[*].auth``: keys, ``[*]`` or ``[0]`` for items of lists, ``*`` for any key, and keys with
    other characters as ``["a.b/c"]``.

    Raises:
        ValueError: it is not so written.
    """
    parts: list[Segment] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f'cannot be read from character {at + 1} on: keys, [*], [0] and ["key"] are expected')
        index = found["index"]
        if "*" in (found["name"], index):
            parts.append(_ANY)
        else:
            parts.append(int(index) if index is not None else found["name"] or found["quoted"])
        at = found.end()
    if not parts or len(parts) > _SEGMENTS:
        raise ValueError(f"has {len(parts)} parts; 1 to {_SEGMENTS} are expected")
    return tuple(parts)


def places(tree: Tree, paths: Sequence[tuple[Segment, ...]]) -> Iterator[Place]:
    """Every place that one of the paths names."""
    if not paths:
        return
    children: dict[int, list[int]] = {}
    for number, parent in enumerate(tree.parents):
        children.setdefault(parent, []).append(number)
    for path in paths:
        level = [0]
        for segment in path[:-1]:
            level = [child for number in level for child in _below(tree, children, number, segment)]
        for number in level:
            node = tree.nodes[number]
            for key in node if type(node) is dict else range(len(node)):
                if path[-1] is _ANY or path[-1] == key:
                    yield number, key


def _below(tree: Tree, children: dict[int, list[int]], number: int, segment: Segment) -> Iterator[int]:
    for child in children.get(number, ()):
        if segment is _ANY or tree.names[child] == segment:
            yield child
