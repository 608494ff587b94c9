"""How often the variables of a compiled rule are bound (for needs.py)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from portcullis.policy.syntax import Rule, Term

SCALARS = frozenset({"null", "boolean", "number", "string"})
EQUALITY = frozenset({"eq", "assign"})
_COLLECTIONS = frozenset({"array", "object", "set"})


class Unclear(Exception):
    """The analysis cannot follow."""


class Bindings:
    """Counts for each variable of one rule the places that bind it: arguments, keys of references, results of
    calls, ``every``, equations. More than one means that its data is compared.

    ``x = y`` of two variables binds the one that nothing else binds. ``x = [y, z]`` makes a collection where
    nothing else binds x, and takes one apart where something does.
    """

    def __init__(self, rule: Rule, arity: Callable[[Term], int]) -> None:
        self._counts: Counter[str] = Counter()
        self._renames: dict[int, str] = {}
        equal: list[tuple[Mapping[str, Any], str, str]] = []
        made: list[tuple[str, Term]] = []
        for pattern in rule.head.get("args") or ():
            self._counts.update(variables_in(pattern))
        for item in _walk(rule):
            if item.get("type") == "ref":
                self._counts.update(name for part in item["value"][1:] for name in variables_in(part))
            elif "terms" in item:
                self._expression(item, arity, equal, made)
        for expression, left, right in equal:
            bound = next((name for name in (left, right) if not self._counts[name]), "")
            if bound:
                self._counts[bound] += 1
                self._renames[id(expression)] = bound
        for name, collection in made:
            if self._counts[name]:
                self._counts.update(variables_in(collection))
            self._counts[name] += 1

    def of(self, name: str) -> int:
        """How often the variable is bound."""
        return self._counts[name]

    def renames(self, expression: Mapping[str, Any]) -> str | None:
        """The variable that an equation of two variables binds to the other; None where it compares them."""
        return self._renames.get(id(expression))

    def _expression(
        self,
        expression: Mapping[str, Any],
        arity: Callable[[Term], int],
        equal: list[tuple[Mapping[str, Any], str, str]],
        made: list[tuple[str, Term]],
    ) -> None:
        terms = expression["terms"]
        if isinstance(terms, Mapping):
            for place in ("key", "value"):
                if "domain" in terms and terms.get(place) is not None:
                    self._counts.update(variables_in(terms[place]))
        elif operator_name(terms[0]) not in EQUALITY:
            for term in terms[arity(terms[0]) + 1 :]:
                self._counts.update(variables_in(term))
        else:
            left, right = (variable_name(term) for term in terms[1:])
            if left and right:
                equal.append((expression, left, right))
            elif (left or right) and any(term["type"] in _COLLECTIONS for term in terms[1:]):
                made.append((left or right, terms[1] if right else terms[2]))
            else:
                self._counts.update(name for term in terms[1:] for name in variables_in(term))


def operator_name(term: Term) -> str:
    """``object.get`` of a call's operator; "" where it is no plain name."""
    if term.get("type") != "ref":
        raise Unclear
    return ".".join(str(part["value"]) for part in term["value"])


def variable_name(term: Term) -> str:
    """The name of a local variable; "" for any other term."""
    name = str(term["value"]) if term["type"] == "var" else ""
    return name if name not in ("input", "data") else ""


def variables_in(term: Term) -> Iterator[str]:
    """Variables that a pattern binds: itself, or those in it."""
    if name := variable_name(term):
        yield name
    elif term["type"] in ("array", "set"):
        for item in term["value"]:
            yield from variables_in(item)
    elif term["type"] == "object":
        for pair in term["value"]:
            for item in pair:
                yield from variables_in(item)


def _walk(rule: Rule) -> Iterator[Mapping[str, Any]]:
    """Every JSON object of the rule's own head and body (an ``else`` branch is a rule of its own)."""
    waiting: list[Any] = [rule.head, list(rule.body)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
