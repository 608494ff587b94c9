"""Schemas of parameters: what is a schema, what fits it, what it fills in."""

from typing import Any

import pytest

from portcullis.policy.gatekeeper.schema import problems_of, schema_problems, with_defaults


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        (obj({"a": TEXT}), {"a": "x"}, ""),
        (obj({"a": TEXT}), {"a": 1}, "a: must be of the type string; it is a number"),
        (obj({"a": TEXT}), {"a": None}, "a: must be of the type string; it is null"),
        (obj({"a": {**TEXT, "nullable": True}}), {"a": None}, ""),
        (obj({"a": TEXT}), {"b": "x"}, "b: is unknown to the schema of the template"),
        (obj({}, **{"x-kubernetes-preserve-unknown-fields": True}), {"b": 1}, ""),
        (obj({"a": TEXT}, required=["a"]), {}, ": has no a, which is required"),
        ({"type": "object", "additionalProperties": TEXT}, {"b": 1}, "b: must be of the type string"),
        ({"type": "object", "additionalProperties": True}, {"b": 1}, ""),
        ({"type": "array", "items": TEXT}, ["a", 1], "1: must be of the type string"),
        ({"type": "array", "uniqueItems": True}, [1, 1], ": holds a value twice"),
        ({"type": "array", "minItems": 1}, [], ": is too short"),
        ({"type": "array", "maxItems": 1}, [1, 2], ": is too short or too long"),
        ({"type": "string", "minLength": 2}, "a", ": is too short"),
        ({"type": "string", "pattern": "^a"}, "ba", ": does not match the pattern"),
        ({"type": "string", "pattern": "a"}, "ba", ""),
        ({"type": "string", "enum": ["a", "b"]}, "c", ": 'c' is none of: a, b"),
        ({"type": "integer"}, 1.5, ": must be of the type integer"),
        ({"type": "integer"}, 1.0, ""),
        ({"type": "integer"}, True, ": must be of the type integer; it is a boolean"),
        ({"type": "number", "minimum": 1}, 0.5, ": is below the minimum 1"),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, ": is below the minimum 1"),
        ({"type": "number", "maximum": 1}, 2, ": is above the maximum 1"),
        ({"type": "number", "multipleOf": 2}, 3, ": is no multiple of 2"),
        ({"type": "boolean"}, "yes", ": must be of the type boolean; it is text"),
        ({"x-kubernetes-int-or-string": True}, "5%", ""),
        ({"x-kubernetes-int-or-string": True}, [], ": must be a whole number or text"),
        ({"type": "string", "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, "c", ": fits none of anyOf"),
        ({"type": "string", "oneOf": [{"pattern": "a"}, {"pattern": "b"}]}, "ab", ": does not fit exactly one"),
        ({"type": "string", "allOf": [{"pattern": "a"}]}, "b", ": does not match the pattern"),
        ({"type": "string", "not": {"enum": ["a"]}}, "a", ": fits what it must not"),
    ],
)
def test_what_fits(schema: dict[str, Any], value: Any, problem: str) -> None:
    assert list(schema_problems(schema, legacy=False)) == []
    found = [f"{'.'.join(map(str, path))}: {text}" for path, text in problems_of(value, schema, legacy=False)]
    assert len(found) == bool(problem)
    assert "".join(found).startswith(problem)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ([], "must be a schema"),
        ({"type": "objekt"}, "is no type"),
        ({"type": "object", "properties": []}, "must be an object of schemas"),
        ({"type": "object", "properties": {"a": {}}}, "has no type"),
        ({"type": "array", "items": "string"}, "must be a schema, an object; it is text"),
        ({"type": "string", "minLength": -1}, "must be a whole number"),
        ({"type": "number", "minimum": "1"}, "must be a number"),
        ({"type": "string", "nullable": "yes"}, "must be true or false"),
        ({"type": "string", "enum": []}, "must be a list of values"),
        ({"type": "object", "required": "a"}, "must be a list of names"),
        ({"type": "string", "anyOf": {}}, "must be a list of schemas"),
        ({"type": "string", "pattern": "("}, "is no regular expression"),
        ({"type": "string", "pattern": "a" * 501}, "is longer than 500"),
        ({"type": "string", "description": 7}, "must be text"),
        ({"type": "string", "requird": []}, "is no keyword of a schema"),
        ({"type": "string", "default": 7}, "must be of the type string"),
    ],
)
def test_what_is_no_schema(schema: Any, problem: str) -> None:
    assert problem in next(text for _, text in schema_problems(schema, legacy=False))


def test_a_schema_that_is_nested_too_deeply() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        schema = {"type": "array", "items": schema}
    for _ in range(60):
        schema = {"type": "object", "properties": {"a": schema}}
    assert [text for _, text in schema_problems(schema, legacy=False)] == ["schemas are nested deeper than 50"]


def test_legacy_schemas_need_no_types_and_take_more() -> None:
    schema = {"properties": {"a": {"items": {"type": "string"}}}}
    assert list(schema_problems(schema, legacy=True)) == []
    assert list(problems_of({"a": ["x"], "b": 1}, schema, legacy=True)) == []
    assert list(problems_of({"a": [1]}, schema, legacy=True)) != []


def test_defaults_as_kubernetes_fills_them_in() -> None:
    inner = obj({"limit": {"type": "integer", "default": 3}})
    schema = obj(
        {
            "hint": {**TEXT, "default": "ask"},
            "empty": {**TEXT, "nullable": True, "default": "x"},
            "deep": inner,
            "made": {**inner, "default": {}},
            "list": {"type": "array", "items": inner},
        }
    )
    given = {"hint": None, "empty": None, "list": [{}, {"limit": 1}]}
    assert with_defaults(given, schema) == {
        "hint": "ask",
        "empty": None,
        "made": {"limit": 3},
        "list": [{"limit": 3}, {"limit": 1}],
    }
    assert with_defaults({"deep": {}}, schema)["deep"] == {"limit": 3}
    assert given == {"hint": None, "empty": None, "list": [{}, {"limit": 1}]}
