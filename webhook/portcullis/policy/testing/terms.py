"""Values and expressions of OPA's traces (its AST as JSON), written as Rego."""

import json
from collections.abc import Mapping, Sequence
from difflib import ndiff
from typing import Any

Term = Mapping[str, Any]
Names = Mapping[str, str]
"""What to write for a local variable of the compiled form."""

DEEPEST = 40
DIFF_LINES = 60
DIFF_CHARS = 160
WIDTH = 60
"""A value whose text is longer than this is written over several lines in a diff."""

_OPERATORS = {
    "eq": "==", "equal": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=",
    "plus": "+", "minus": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|",
}  # fmt: skip


def written(term: Term, names: Names, depth: int = 0) -> str:
    """A term as Rego."""
    kind, value = term.get("type"), term.get("value")
    if depth > DEEPEST:
        return "…"
    if kind == "string":
        return json.dumps(value, ensure_ascii=False)
    if kind in ("number", "boolean", "null"):
        return json.dumps(value)
    if kind == "var":
        return names.get(str(value), str(value))
    if kind == "ref" and isinstance(value, list):
        return _reference(value, names, depth)
    if kind == "call" and isinstance(value, list):
        return call(value, names, depth)
    if kind in ("array", "set", "object") and isinstance(value, list):
        opening, closing = "[]" if kind == "array" else "{}"
        inner = ", ".join(_items(kind, value, names, depth))
        return "set()" if kind == "set" and not value else f"{opening}{inner}{closing}"
    return f"<{kind}>"


def call(terms: Sequence[Term], names: Names, depth: int = 0) -> str:
    """A call: the operator's reference, then the arguments."""
    operator = ".".join(str(part.get("value")) for part in terms[0].get("value", ()))
    arguments = [written(term, names, depth + 1) for term in terms[1:]]
    if operator in _OPERATORS and len(arguments) == 2:
        return f"{arguments[0]} {_OPERATORS[operator]} {arguments[1]}"
    if operator.startswith("internal.member_2") and len(arguments) == 2:
        return f"{arguments[0]} in {arguments[1]}"
    return f"{_short(operator)}({', '.join(arguments)})"


def is_value(term: Term) -> bool:
    """Whether nothing in it is left to be looked up."""
    waiting: list[Any] = [term]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif one.get("type") in ("array", "set", "object"):
            waiting.append(one["value"])
        elif one.get("type") not in ("string", "number", "boolean", "null"):
            return False
    return True


def difference(expected: Term, got: Term) -> tuple[str, ...]:
    """Line by line: ``- `` stands before what was expected, ``+ `` before what came; equal lines after two blanks."""
    return difference_of_lines(lines(expected), lines(got))


def difference_of_lines(expected: Sequence[str], got: Sequence[str]) -> tuple[str, ...]:
    if len(expected) + len(got) > 400:  # ndiff is quadratic where much differs
        here, there = set(expected), set(got)
        found = [f"- {line}" for line in expected if line not in there]
        found += [f"+ {line}" for line in got if line not in here]
    else:
        found = [line for line in ndiff(list(expected), list(got)) if not line.startswith("? ")]
    shown = [line if len(line) <= DIFF_CHARS else f"{line[: DIFF_CHARS - 1]}…" for line in found[:DIFF_LINES]]
    if len(found) > DIFF_LINES:
        shown.append(f"  … and {len(found) - DIFF_LINES} more lines")
    return tuple(shown)


def lines(term: Term, depth: int = 0) -> list[str]:
    """A value over several lines where it is long; members of sets and objects in the order of their text."""
    text = written(term, {})
    kind = term.get("type")
    if len(text) <= WIDTH or kind not in ("array", "set", "object") or depth > DEEPEST:
        return [text]
    opening, closing = "[]" if kind == "array" else "{}"
    found = [opening]
    for item in _ordered(str(kind), term["value"]):
        if kind == "object":
            key, value = item
            inner = lines(value, depth + 1)
            inner[0] = f"{written(key, {})}: {inner[0]}"
        else:
            inner = lines(item, depth + 1)
        inner[-1] += ","
        found += [f"  {line}" for line in inner]
    return [*found, closing]


def _ordered(kind: str, items: list[Any]) -> list[Any]:
    if kind == "array":
        return items
    return sorted(items, key=lambda item: written(item[0] if kind == "object" else item, {}))


def _items(kind: object, items: list[Any], names: Names, depth: int) -> list[str]:
    if kind == "object":
        return [f"{written(key, names, depth + 1)}: {written(value, names, depth + 1)}" for key, value in items]
    return [written(item, names, depth + 1) for item in items]


def _reference(parts: Sequence[Term], names: Names, depth: int) -> str:
    text = written(parts[0], names, depth + 1)
    for part in parts[1:]:
        value = part.get("value")
        if part.get("type") == "string" and isinstance(value, str) and value.isidentifier():
            text += f".{value}"
        else:
            text += f"[{written(part, names, depth + 1)}]"
    return _short(text)


def _short(reference: str) -> str:
    """Without what says only where a package lies: ``image_user.deny`` of data.portcullis.policies.image_user.deny."""
    for prefix in ("data.portcullis.policies.", "data.portcullis.lib."):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference
