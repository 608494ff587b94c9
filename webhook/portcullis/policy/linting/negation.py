"""The pattern ``not f(reference)`` (open-policy-agent/opa#1877, #8387, open).

OPA looks the references among the arguments of a negated call up before the ``not``: where one is absent the body is
undefined and nothing fires, although "f does not hold" was meant. Tried with OPA 1.21: so do calls of functions and
builtins, ``in``, ``<``, ``!=``, arithmetic, collections, and calls on one side of ``==``. A reference by itself, a
reference on either side of ``==`` or ``=``, comprehensions and template strings are safe.

Told are references into the input, also through a variable or an argument that holds something of it, unless
something else in the same body holds only where they are there. References to rules are not told: most have a value
always, and the others are the author's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from portcullis.policy.linting.finding import Finding, finding
from portcullis.policy.linting.flow import Spot
from portcullis.policy.linting.sources import Parsed
from portcullis.policy.linting.terms import COMPREHENSIONS, EQUALITY, Term, operator, where, written

Key = tuple[object, ...]


def hoisted(file: Parsed, inputs: AbstractSet[Spot]) -> Iterator[Finding]:
    """Every such pattern in the file. ``inputs``: where references begin that lead into the input (flow.py)."""
    for rule in file.rules:
        for body, outer in _nested(rule):
            there = _present([*outer, *body])
            for expression in body:
                if not expression.get("negated"):
                    continue
                for reference in _exposed(expression["terms"]):
                    first = reference["value"][0]
                    begins = (file.file.path, *where(first), written(first))
                    if begins in inputs and _key(reference["value"]) not in there:
                        yield _told(file, expression, reference)


def _told(file: Parsed, expression: Term, reference: Term) -> Finding:
    text = written(reference).strip() or "the reference"
    return finding(
        "not-hoists",
        (file.file.path, *where(expression)),
        f"OPA looks `{text}` up before the `not`: where it is absent, the rule does not fire",
        f"bind it first (`value := {text}`, in a rule that also handles its absence), or negate a helper rule that is "
        f"given what is always there and looks the field up inside",
    )


def _nested(rule: Term) -> Iterator[tuple[Sequence[Term], Sequence[Term]]]:
    """Every body with the expressions of the bodies around it."""
    waiting: list[tuple[object, list[Term]]] = [(rule, [])]
    while waiting:
        node, outer = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, outer) for item in node)
        elif isinstance(node, Mapping):
            inner = outer
            if isinstance(node.get("body"), list):
                yield node["body"], outer
                inner = [*outer, *node["body"]]
            # What an `else` stands behind did not hold.
            waiting.extend(
                (value, outer if key == "else" else inner) for key, value in node.items() if key != "location"
            )


def _exposed(terms: "Term | Sequence[Term]") -> Iterator[Term]:
    """References with a path in a negated expression that are looked up before it."""
    if isinstance(terms, Mapping):
        if terms.get("type") == "ref":
            yield from _indexes(terms)
        return
    safe = operator(terms) in EQUALITY
    for term in terms[1:]:
        if safe and term["type"] == "ref" and term["value"][0]["type"] == "var":
            yield from _indexes(term)
        else:
            yield from _references(term)


def _indexes(reference: Term) -> Iterator[Term]:
    for part in reference["value"][1:]:
        yield from _references(part)


def _references(term: Term) -> Iterator[Term]:
    waiting: list[object] = [term]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, Mapping):
            if item.get("type") in COMPREHENSIONS or item.get("type") == "templatestring":
                continue
            if item.get("type") == "ref" and len(item["value"]) > 1 and item["value"][0]["type"] == "var":
                yield item
                waiting.extend(item["value"][1:])
            elif item.get("type") == "call":
                waiting.extend(item["value"][1:])
            else:
                waiting.append(item.get("value"))


def _present(body: Sequence[Term]) -> frozenset[Key]:
    """References that are there where the body holds: those in what is not negated, and all that they lead through."""
    found: set[Key] = set()
    for expression in body:
        if expression.get("negated"):
            continue
        terms = expression["terms"]
        if not isinstance(terms, Mapping):
            items = list(terms[1:])
        elif "symbols" in terms:
            calls = [symbol["value"] for symbol in terms["symbols"] if symbol["type"] == "call"]
            items = [call[-1] for call in calls]
            found.update(_iterated(call[1], call[-1]) for call in calls if len(call) == 4)
        else:
            items = [terms.get("domain", terms)]
        for item in items:
            found.update(_lead(item))
    return frozenset(found)


def _iterated(key: Term, collection: Term) -> Key:
    """``c[i]`` of ``some i, x in c``."""
    parts = collection["value"] if collection["type"] == "ref" else [collection]
    return _key([*parts, key])


def _lead(term: Term) -> Iterator[Key]:
    """The references in a term, and all that they lead through."""
    for reference in _references(term):
        parts = reference["value"]
        yield from (_key(parts[:length]) for length in range(2, len(parts) + 1))


def _key(parts: Sequence[Term]) -> Key:
    return tuple(
        (part["type"], str(part.get("value")) if part["type"] in ("var", "string", "number") else written(part))
        for part in parts
    )
