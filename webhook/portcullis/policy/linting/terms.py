"""Reading OPA's syntax tree (ast.Module as JSON, with locations): terms, calls, and names in their scopes."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Term = Mapping[str, Any]

COMPREHENSIONS = frozenset({"arraycomprehension", "setcomprehension", "objectcomprehension"})
SCALARS = frozenset({"null", "boolean", "number", "string"})
EQUALITY = frozenset({"eq", "equal", "assign"})
ROOTS = frozenset({"input", "data"})


def where(node: Term) -> tuple[int, int]:
    """Row and column of a term, an expression or a rule; (0, 0) where OPA says none."""
    location = node.get("location") or {}
    return int(location.get("row", 0)), int(location.get("col", 0))


def written(node: Term) -> str:
    """The source text of a node."""
    return base64.b64decode((node.get("location") or {}).get("text", "")).decode("utf-8", "replace")


def children(node: object) -> Iterator[Any]:
    """Every JSON object in the node, itself included, without recursion; locations are left out."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield item
            waiting.extend(value for key, value in item.items() if key not in ("location", "annotations"))
        elif isinstance(item, list):
            waiting.extend(item)


def operator(terms: Sequence[Term]) -> str:
    """The name of what is called, ``data.…`` and imports as written: ``equal``, ``object.get``, ``lib.f``."""
    first = terms[0]
    if first.get("type") != "ref":
        return ""
    return ".".join(str(part["value"]) for part in first["value"] if part["type"] in ("var", "string"))


def literal(term: Term) -> tuple[bool, Any]:
    """Whether the term is a scalar, and its value."""
    if term["type"] in SCALARS:
        return True, term.get("value")
    return False, None


def bodies(rule: Term) -> Iterator[Sequence[Term]]:
    """Every body in a rule: its own, those of its ``else`` branches, of comprehensions and of ``every``."""
    for node in children(rule):
        if isinstance(node.get("body"), list):
            yield node["body"]


def branches(rule: Term) -> Iterator[Term]:
    """The rule and its ``else`` branches."""
    branch: Term | None = rule
    while branch is not None:
        yield branch
        branch = branch.get("else")


def declared(body: Sequence[Term]) -> frozenset[str]:
    """Variables that ``some`` and ``:=`` make in this body itself."""
    found: set[str] = set()
    for expression in body:
        terms = expression["terms"]
        if isinstance(terms, Mapping) and "symbols" in terms:
            for symbol in terms["symbols"]:
                patterns = symbol["value"][1:-1] if symbol["type"] == "call" else [symbol]
                found.update(name for pattern in patterns for name in variables(pattern))
        elif isinstance(terms, list) and operator(terms) == "assign":
            found.update(variables(terms[1]))
    return frozenset(found)


def variables(pattern: Term) -> Iterator[str]:
    """Variables in a pattern: itself, or those in its arrays and objects."""
    if pattern["type"] == "var":
        yield str(pattern["value"])
    elif pattern["type"] in ("array", "set"):
        for item in pattern["value"]:
            yield from variables(item)
    elif pattern["type"] == "object":
        for _, value in pattern["value"]:
            yield from variables(value)


def rule_path(rule: Term) -> tuple[str, ...]:
    """The constant part of the name of a rule: ``("deny",)``, ``("m", "n", "o")``."""
    reference = rule["head"].get("ref") or [{"type": "var", "value": rule["head"]["name"]}]
    path = [str(reference[0]["value"])]
    for part in reference[1:]:
        if part["type"] != "string":
            break
        path.append(str(part["value"]))
    return tuple(path)


def is_set(rule: Term) -> bool:
    """Whether it is a rule with ``contains``."""
    return "key" in rule["head"] and "value" not in rule["head"]


def imports(tree: Term) -> Mapping[str, tuple[str, ...]]:
    """Names that imports bring, with what they stand for: ``("data", "portcullis", "lib", "x")``."""
    found: dict[str, tuple[str, ...]] = {}
    for one in tree.get("imports") or ():
        path = tuple(str(part["value"]) for part in one["path"]["value"])
        if path[0] in ROOTS:
            found[one.get("alias") or path[-1]] = path
    return found
