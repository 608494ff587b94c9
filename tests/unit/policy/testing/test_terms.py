"""Values of traces, written as Rego, and their differences."""

from typing import Any

import pytest

from portcullis.policy.testing.terms import difference, difference_of_lines, is_value, lines, written


def term(value: Any) -> dict[str, Any]:
    """The term of a Python value; a tuple stands for a set."""
    if isinstance(value, dict):
        return {"type": "object", "value": [[term(key), term(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"type": "array" if isinstance(value, list) else "set", "value": [term(item) for item in value]}
    if value is None:
        return {"type": "null", "value": None}
    kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
    return {"type": kind, "value": value}


VARIABLE = {"type": "var", "value": "__local1__"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (term({"a": [1, "x", None, True]}), '{"a": [1, "x", null, true]}'),
        (term(()), "set()"),
        (term((1,)), "{1}"),
        (term('"é'), '"\\"é"'),
        (VARIABLE, "found"),
        ({"type": "ref", "value": [VARIABLE, term("a"), term("b-c"), term(0)]}, 'found.a["b-c"][0]'),
        ({"type": "setcomprehension", "value": {}}, "<setcomprehension>"),
    ],
)
def test_written(value: dict[str, Any], text: str) -> None:
    assert written(value, {"__local1__": "found"}) == text


def test_deep_values_end() -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    assert "…" in written(term(value), {})


def test_only_constants_are_values() -> None:
    assert is_value(term({"a": [(1, 2)]}))
    assert not is_value({"type": "array", "value": [VARIABLE]})


def test_long_values_stand_over_several_lines() -> None:
    long = term({"b": "x" * 40, "a": {"c": "y" * 40}})
    assert lines(long) == [
        "{",
        f'  "a": {{"c": "{"y" * 40}"}},',
        f'  "b": "{"x" * 40}",',
        "}",
    ]


def test_difference_says_what_is_missing_and_what_came() -> None:
    expected = term({"msg": "runs as root", "container": "web", "fix": "set USER to a number"})
    got = term({"msg": "runs as root", "container": "app", "fix": "set USER to a number"})
    diff = difference(expected, got)
    assert '-   "container": "web",' in diff
    assert '+   "container": "app",' in diff
    assert '    "msg": "runs as root",' in diff


@pytest.mark.parametrize("count", [100, 5000])
def test_differences_are_bounded(count: int) -> None:
    diff = difference_of_lines([f"a{at}" for at in range(count)], [f"b{at}" * 200 for at in range(count)])
    assert len(diff) == 61
    assert diff[-1].startswith("  … and ")
    assert max(len(line) for line in diff) <= 160
