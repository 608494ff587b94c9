"""Why a test failed, from the trace that ``opa test --explain fails --var-values --format json`` adds to it.

The trace holds the expressions that were false or undefined, and for each the rule that it stands in, compiled: local
variables have names of their own, and every reference within an expression has got a variable. This module finds the
expression of the test that failed and the last ones that failed in the rules which it asked, writes them as they stand
in the source, and follows the variables back to the places of the input that they come from.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.policy.testing.results import Step
from portcullis.policy.testing.terms import Term, call, difference, is_value, written

INNER_STEPS = 2
VALUE_CHARS = 400
EXPRESSION_CHARS = 300
EXPRESSION_LINES = 12
VALUES = 8
FOLLOWED = 12
"""How many variables lead from one to the next at most."""

_EQUALITIES = frozenset({"eq", "equal", "assign"})
_UNDEFINED = "undefined"

SourceText = Callable[[str], str]
"""The text of a file by its name in the trace; "" for one that is not ours."""


@dataclass(frozen=True, slots=True)
class Why:
    """``steps``: the test's own expression first. ``diff``: of the two sides, where that compared two values."""

    steps: tuple[Step, ...] = ()
    diff: tuple[str, ...] = ()


def explain(trace: Sequence[Mapping[str, Any]], test: str, source: SourceText) -> Why:
    """What the trace says of the test; an empty account where it says nothing.

    Args:
        test: the name of its rule.
    """
    try:
        return _explain(trace, test, source)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError):
        return Why()  # another OPA, another trace: the test's name and line stay


def _explain(trace: Sequence[Mapping[str, Any]], test: str, source: SourceText) -> Why:
    bodies: dict[int, _Body] = {}
    own: set[int] = set()
    fails: list[_Failure] = []
    for event in trace:
        query = event["QueryID"]
        if event["Op"] in ("Enter", "Redo"):
            body = _Body.of(event["Node"], bodies.get(event["ParentID"]))
            bodies[query] = body
            if body.rule == test and event["Location"]["file"]:
                own.add(query)
        elif event["Op"] == "Fail" and event["Location"]["file"]:
            fails.append(_Failure(event, bodies.get(query) or _Body("", ()), source))
    if not fails:
        return Why()
    mine = [failure for failure in fails if failure.query in own]
    # The expression that got furthest; of several rounds through it, the last.
    main = max(mine, key=lambda failure: failure.row, default=None) if mine else fails[-1]
    assert main is not None
    main = next(failure for failure in reversed(fails) if (failure.query, failure.row) == (main.query, main.row))
    steps = [main.step()]
    seen = {main.place}
    for failure in reversed(fails[: fails.index(main)]):
        if failure.place not in seen and failure.query not in own and not failure.ends_every:
            seen.add(failure.place)
            steps.append(failure.step())
        if len(steps) > INNER_STEPS:
            break
    return Why(tuple(steps), main.diff())


@dataclass(frozen=True, slots=True)
class _Body:
    """The rule or comprehension that a query evaluates."""

    rule: str
    expressions: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, node: Any, parent: "_Body | None") -> "_Body":
        if isinstance(node, Mapping) and "body" in node:
            head = node.get("head", {})
            return cls(str(head.get("name") or head["ref"][0]["value"]), node["body"])
        inherited = parent.expressions if parent is not None else ()
        own = node if isinstance(node, list) else []
        return cls(parent.rule if parent is not None else "", [*own, *inherited])

    def origin(self, variable: str) -> Term | Sequence[Term] | None:
        """What a variable of the compiled form stands for: a term, or the terms of a call; None if that is unknown."""
        for expression in self.expressions:
            terms = expression.get("terms")
            if not isinstance(terms, list) or expression.get("negated"):
                continue
            operator = terms[0]["value"][0]["value"] if terms[0]["type"] == "ref" else ""
            if operator in _EQUALITIES and len(terms) == 3:
                for one, other in ((terms[1], terms[2]), (terms[2], terms[1])):
                    if one == {"type": "var", "value": variable} and other["type"] != "var":
                        found: Term = other
                        return found
                    if one == {"type": "var", "value": variable} and expression.get("generated"):
                        return dict(other)
            elif terms[-1] == {"type": "var", "value": variable} and len(terms) > 2:
                arguments: Sequence[Term] = terms[:-1]
                return arguments
        return None


class _Failure:
    """One event: an expression that was false or undefined."""

    def __init__(self, event: Mapping[str, Any], body: _Body, source: SourceText) -> None:
        self.query: int = event["QueryID"]
        self.file: str = event["Location"]["file"]
        self.row: int = event["Location"]["row"]
        self._column: int = event["Location"]["col"]
        self._node: Mapping[str, Any] = event["Node"]
        self._body = body
        self._values = {str(local["name"]): local for local in event.get("Locals") or ()}
        self._names = _names(event.get("LocalMetadata") or {})
        self._source = source

    @property
    def place(self) -> tuple[str, int, int]:
        return self.file, self.row, self._column

    @property
    def ends_every(self) -> bool:
        """Whether it only says that ``every`` came to the end of its elements, which is no failure."""
        rows = self._source(self.file).split("\n")
        before = rows[self.row - 1][: self._column - 1] if self.row <= len(rows) else ""
        return re.search(r"^\s*every\b.*\bin\s*$", before) is not None

    def step(self) -> Step:
        # What OPA has taken out of an expression lies somewhere within it: then the line as a whole says more.
        column = 1 if self._node.get("generated") else self._column
        expression = _excerpt(self._source(self.file), self.row, column) or self._compiled()
        used = self._used()
        values: dict[str, str] = {}
        reads: dict[str, str] = {}
        for variable in used:
            value = self._values.get(variable)
            shown = _clipped(written(value, {})) if value is not None else _UNDEFINED
            if path := self._input_path({"type": "var", "value": variable}):
                reads.setdefault(path, shown)
            if value is not None and (name := self._name(variable)) and name != shown:
                values.setdefault(name, shown)
        terms = self._terms()
        for term in terms:
            if term.get("type") == "ref" and (path := self._input_path(term)):
                reads.setdefault(path, self._at_least(term, terms))
        return Step(
            self.file,
            self.row,
            self._body.rule,
            expression,
            tuple(list(values.items())[:VALUES]),
            tuple([(path, value) for path, value in reads.items() if not _is_within(path, reads)][:VALUES]),
        )

    def _at_least(self, term: Term, terms: Sequence[Term]) -> str:
        """What can be said of a value that has no variable: the trace does not hold it."""
        others = [other for other in terms[1:] if other is not term and is_value(other)]
        equation = len(terms) == 3 and terms[0].get("type") == "ref" and terms[0]["value"][0]["value"] in _EQUALITIES
        if equation and others and not self._node.get("generated"):
            return f"not {_clipped(written(others[0], {}))}, or undefined"
        return _UNDEFINED if self._node.get("generated") else "false or undefined"

    def diff(self) -> tuple[str, ...]:
        """Expected and got, where the expression is an equation of two values that are known."""
        terms = self._node.get("terms")
        if not isinstance(terms, list) or len(terms) != 3 or self._node.get("negated"):
            return ()
        if terms[0].get("type") != "ref" or terms[0]["value"][0]["value"] not in _EQUALITIES:
            return ()
        left, right = (self._value(term) for term in terms[1:])
        if left is None or right is None:
            return ()
        if is_value(terms[1]) and not is_value(terms[2]):  # `expected == got` is written as well
            left, right = right, left
        return difference(expected=right, got=left)

    def _value(self, term: Term) -> Term | None:
        if term.get("type") == "var":
            return self._values.get(str(term["value"]))
        if is_value(term):
            return term
        if term.get("type") == "ref":
            return self._looked_up(term["value"])
        if term.get("type") in ("array", "object", "set"):
            filled = self._filled(term)
            return filled if is_value(filled) else None
        return None

    def _looked_up(self, parts: Sequence[Term]) -> Term | None:
        """What stands there, for a reference into a variable whose value is known."""
        value = self._values.get(str(parts[0]["value"])) if parts[0]["type"] == "var" else None
        for part in parts[1:]:
            key = self._value(part)
            if value is None or key is None or value["type"] != "object":
                return None
            members: Sequence[tuple[Term, Term]] = value["value"]
            value = next((item for name, item in members if name == key), None)
        return value

    def _filled(self, term: Term, depth: int = 0) -> Term:
        """The term with the values of its variables."""
        if term.get("type") == "var":
            known: Term = self._values.get(str(term["value"]), term)
            return known
        if depth < FOLLOWED and term.get("type") in ("array", "set"):
            return {**term, "value": [self._filled(item, depth + 1) for item in term["value"]]}
        if depth < FOLLOWED and term.get("type") == "object":
            pairs = [[self._filled(item, depth + 1) for item in pair] for pair in term["value"]]
            return {**term, "value": pairs}
        return term

    def _terms(self) -> Sequence[Term]:
        terms = self._node.get("terms", ())
        if isinstance(terms, Mapping):
            return [terms] if "type" in terms else []
        return [term for term in terms if isinstance(term, Mapping)]

    def _used(self) -> list[str]:
        """The variables of the expression, and those that these were made from."""
        found: dict[str, None] = {}
        waiting: list[Any] = [self._terms()]
        while waiting and len(found) < FOLLOWED:
            item = waiting.pop(0)
            if isinstance(item, list):
                waiting.extend(item)
            elif isinstance(item, Mapping) and item.get("type") == "var":
                name = str(item["value"])
                if name.startswith("__local") and name not in found:
                    found[name] = None
                    if (origin := self._body.origin(name)) is not None:
                        waiting.append(origin)
            elif isinstance(item, Mapping) and isinstance(item.get("value"), list):
                waiting.append(item["value"])
        return list(found)

    def _name(self, variable: str) -> str:
        """As people know it: its name in the source, or the expression that it was made for."""
        if name := self._names.get(variable):
            return name
        origin = self._body.origin(variable)
        if origin is None:
            return ""
        names = self._all_names()
        text = written(origin, names) if isinstance(origin, Mapping) else call(origin, names)
        return "" if "__local" in text or text.startswith("{") or len(text) > VALUE_CHARS else text

    def _all_names(self, depth: int = 0) -> Mapping[str, str]:
        names = dict(self._names)
        if depth > 3:
            return names
        for variable in self._used():
            origin = self._body.origin(variable) if variable not in names else None
            if origin is not None:
                inner = written(origin, self._names) if isinstance(origin, Mapping) else call(origin, self._names)
                names[variable] = inner
        return names

    def _input_path(self, term: Term, depth: int = 0) -> str:
        """``input.containers[0].user.root`` of what the term was taken from; "" where it is no part of the input."""
        if depth > FOLLOWED:
            return ""
        if term.get("type") == "var":
            origin = self._body.origin(str(term["value"]))
            return self._input_path(origin, depth + 1) if isinstance(origin, Mapping) else ""
        if term.get("type") != "ref" or not isinstance(term.get("value"), list):
            return ""
        head, *parts = term["value"]
        path = "input" if head == {"type": "var", "value": "input"} else self._input_path(head, depth + 1)
        return path + "".join(self._part(part) for part in parts) if path else ""

    def _part(self, part: Term) -> str:
        value = self._values.get(str(part["value"]), part) if part.get("type") == "var" else part
        kind, key = value.get("type"), value.get("value")
        if kind == "string" and isinstance(key, str):
            return f".{key}" if key.isidentifier() else f"[{written(value, {})}]"
        return f"[{written(value, {})}]" if kind == "number" else "[_]"

    def _compiled(self) -> str:
        terms = self._node.get("terms")
        if isinstance(terms, list):
            return _clipped(call(terms, self._names))
        return _clipped(written(terms, self._names)) if isinstance(terms, Mapping) else ""


def _is_within(path: str, paths: Collection[str]) -> bool:
    """Whether a longer path says it more exactly."""
    return any(other != path and other.startswith((f"{path}.", f"{path}[")) for other in paths)


def _names(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The variables that stand in the source, by their compiled names."""
    named = {variable: str(known["name"]) for variable, known in metadata.items()}
    return {variable: name for variable, name in named.items() if not name.startswith("__local")}


def _clipped(text: str, limit: int = VALUE_CHARS) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _excerpt(text: str, row: int, column: int) -> str:
    """The expression that begins there, on one line: to the end of its line, or of the brackets that it opens."""
    rows = text.split("\n")[row - 1 : row - 1 + EXPRESSION_LINES]
    if not text or not rows:
        return ""
    rows[0] = rows[0][column - 1 :]
    taken: list[str] = []
    depth = 0
    if rows[0].lstrip().startswith("every ") and "{" in rows[0]:
        return _clipped(f"{rows[0].strip().rpartition('{')[0]}{{ … }}", EXPRESSION_CHARS)
    for line in rows:
        end, depth = _end(line, depth)
        taken.append(line[:end].strip())
        if depth <= 0:
            break
    return _clipped(" ".join(taken).strip(), EXPRESSION_CHARS)


def _end(line: str, depth: int) -> tuple[int, int]:
    """Where the expression ends in this line, and how many brackets are open then."""
    quote = ""
    for at, character in enumerate(line):
        if quote:
            if character == quote and line[at - 1] != "\\":
                quote = ""
        elif character in '"`':
            quote = character
        elif character == "#":
            return at, depth
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return at, 0
        elif character == ";" and depth == 0:
            return at, 0
    return len(line), depth
