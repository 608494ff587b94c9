"""Mutants of a Rego module: each lacks one condition, one branch or one whole rule.

What is dropped is found in the syntax tree that ``opa parse --json-include locations`` prints, never by looking at
the text. Rows and columns of that tree count from 1, columns in characters; ``text`` of a location is the whole
expression, in base64; where that begins with a bracket, the column may be that of what stands in it (tried with OPA
1.21).
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TEXT_CHARS = 120
"""Of what was dropped, shown and written into the list of justified survivors."""

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a source, by offsets in characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module that lacks something.

    ``row`` is where that began, ``rule`` the name of the rule it was in, ``dropped`` its text on one line:
    with ``rule`` or ``branch`` before it where more than a condition was dropped. ``weakened`` is for a condition
    whose variables are needed elsewhere, so that ``source`` is no valid Rego: there its parts still have to exist,
    but nothing is asked of them any more. Empty where that cannot be written.
    """

    row: int
    rule: str
    dropped: str
    source: str
    weakened: str = ""


class Source:
    """The text of a module, with the places of its tree's nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def span(self, node: Node) -> Span:
        """Raises ValueError where the text of the location does not stand at its place."""
        location = node["location"]
        start = self._lines[location["row"] - 1] + location["col"] - 1
        words = base64.b64decode(location["text"]).decode()
        while words.startswith("(") and not self.text.startswith(words, start) and self.text[start - 1] in "( \t":
            start -= 1
        if not self.text.startswith(words, start):
            raise ValueError(f"row {location['row']}: the tree says {words[:60]!r}, which does not stand there")
        return Span(start, start + len(words))

    def row(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def replaced(self, span: Span, by: str) -> str:
        """Rows of what follows stay as they are."""
        lost = self.text.count("\n", span.start, span.end)
        return self.text[: span.start] + by + "\n" * lost + self.text[span.end :]

    def words(self, span: Span) -> str:
        return " ".join(self.text[span.start : span.end].split())[:TEXT_CHARS]


def mutants(text: str, tree: Node) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its text.

    Args:
        text: the module.
        tree: what OPA's parser makes of it, with locations.
    """
    source = Source(text)
    for rule in tree.get("rules") or ():
        yield from _without_branches(source, rule)
        yield from _without_conditions(source, rule)


def rule_name(rule: Node) -> str:
    """``deny`` of ``deny contains …``, ``allowed.linux`` of ``allowed.linux := …``."""
    return ".".join(str(part["value"]) for part in rule["head"]["ref"] if part["type"] in ("var", "string"))


def _without_branches(source: Source, rule: Node) -> Iterator[Mutant]:
    """One for each ``else``, and one for what stands before the first."""
    branch: Node | None = rule
    while branch is not None:
        following = branch.get("else")
        span = source.span(branch)
        if rule.get("default"):
            # Its location is the word "default" alone.
            span = Span(span.start, source.span(rule["head"]["value"]).end)
        own = Span(span.start, source.span(following).start if following is not None else span.end)
        kind = "rule" if branch is rule and following is None else "branch"
        yield Mutant(
            row=source.row(own.start),
            rule=rule_name(rule),
            dropped=f"{kind} {source.words(own).removesuffix('}').rstrip()}"[:TEXT_CHARS],
            source=_undefined(source, rule, branch, own),
        )
        branch = following


def _undefined(source: Source, rule: Node, branch: Node, own: Span) -> str:
    """The source with a branch that never holds. It is not cut out, so that what refers to the rule compiles."""
    body = [expression for expression in branch["body"] if not _implied(expression)]
    if rule.get("default"):
        return source.replaced(own, "")
    if body:
        start = source.span(body[0]).start
        return source.replaced(Span(start, start), "false; ")
    if branch is not rule:
        return source.replaced(own, "")
    end = source.span(rule["head"]).end
    return source.replaced(Span(end, end), " if false")


def _without_conditions(source: Source, rule: Node) -> Iterator[Mutant]:
    found = {source.span(one): one for one in _expressions(rule) if not _implied(one)}
    for span, expression in sorted(found.items(), key=lambda item: item[0].start):
        if not _declaration(expression):
            yield Mutant(
                row=source.row(span.start),
                rule=rule_name(rule),
                dropped=source.words(span),
                source=source.replaced(span, "true"),
                weakened=_weakened(source, span, expression),
            )


def _weakened(source: Source, span: Span, expression: Node) -> str:
    """``a == b`` and ``f(a, b)`` as ``_ = [a, b]``; ``a.b[c]`` as ``_ = [a.b[c]]``."""
    terms = expression["terms"]
    if expression.get("negated") or expression.get("with"):
        return ""
    if isinstance(terms, list):
        if terms[0]["value"] in (_variable("assign"), _variable("eq")):
            return ""
        parts = [source.span(term) for term in terms[1:]]
    elif terms.get("type") == "ref":
        parts = [source.span(terms)]
    else:
        return ""
    return source.replaced(span, f"_ = [{', '.join(source.text[part.start : part.end] for part in parts)}]")


def _variable(name: str) -> list[Node]:
    return [{"type": "var", "value": name}]


def _expressions(tree: object) -> Iterator[Node]:
    """The expressions of all bodies: of rules, of their branches, of comprehensions and of ``every``."""
    if isinstance(tree, Mapping):
        body = tree.get("body")
        if isinstance(body, list):
            yield from (expression for expression in body if "location" in expression)
        for value in tree.values():
            yield from _expressions(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _expressions(value)


def _implied(expression: Node) -> bool:
    """The parser gives a body of ``true`` to what has none."""
    terms = expression["terms"]
    if not isinstance(terms, Mapping) or terms.get("type") != "boolean" or terms.get("value") is not True:
        return False
    return base64.b64decode(expression["location"]["text"]) != b"true"


def _declaration(expression: Node) -> bool:
    """``some x``, which is no condition: a variable is declared by its use as well."""
    terms = expression["terms"]
    return isinstance(terms, Mapping) and all(
        symbol.get("type") == "var" for symbol in terms.get("symbols") or ({"type": "no declaration"},)
    )
