"""The schema of a ConstraintTemplate's parameters (``openAPIV3Schema``): whether it is one, whether parameters fit it,
and its defaults.

It is the part of OpenAPI 3.0 that CustomResourceDefinitions know. Source:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
(structural schemas, defaulting). Legacy schemas (``legacySchema``, the default before v1) need not name the types and
take fields that they do not describe.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from portcullis.text import clean

Path = tuple[str | int, ...]
Found = tuple[Path, str]
"""Where in the value, or in the schema, and what is wrong there."""

DEPTH = 50
"""Schemas in schemas. Real ones have fewer than ten."""

PATTERN_CHARS = 500

_TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or _whole(value),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_TEXTS = frozenset({"type", "title", "description", "format", "pattern"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_NUMBERS = frozenset({"minimum", "maximum", "multipleOf"})
_FLAGS = frozenset({"nullable", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf"})
_MAPS = frozenset({"properties", "patternProperties", "definitions"})
_ANY = frozenset({"default", "example", "externalDocs", "enum", "required"})
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"


def _whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def schema_problems(schema: object, *, legacy: bool) -> Iterator[Found]:
    """What is wrong with the schema itself. ``legacy``: types may be missing."""
    yield from _schema(schema, (), structural=not legacy)


def _schema(schema: object, path: Path, *, structural: bool) -> Iterator[Found]:
    if not isinstance(schema, dict):
        yield path, f"must be a schema, an object; it is {_kind(schema)}"
        return
    if len(path) > 2 * DEPTH:
        yield path, f"schemas are nested deeper than {DEPTH}"
        return
    for key, value in schema.items():
        yield from _keyword(key, value, (*path, key))
    typed = schema.get("type") or schema.get(_INT_OR_STRING) or schema.get(_PRESERVE)
    if structural and not typed:
        yield path, "has no type, which a template of v1 must give at each level (or set legacySchema: true)"
    yield from _inner(schema, path, structural=structural)
    if "default" in schema:
        for place, problem in problems_of(schema["default"], schema, legacy=not structural):
            yield (*path, "default", *place), problem


def _keyword(key: str, value: object, path: Path) -> Iterator[Found]:
    if key in _TEXTS and not isinstance(value, str):
        yield path, f"must be text; it is {_kind(value)}"
    elif key == "type" and value not in _TYPES:
        yield path, f"{clean(str(value), 40)!r} is no type; there are {', '.join(_TYPES)}"
    elif key == "pattern":
        yield from _pattern(str(value), path)
    elif key in _COUNTS and not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        yield path, "must be a whole number, not below 0"
    elif key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield path, f"must be a number; it is {_kind(value)}"
    elif key in _FLAGS and not isinstance(value, bool):
        yield path, "must be true or false"
    elif key in _LISTS and not (isinstance(value, list) and value):
        yield path, "must be a list of schemas"
    elif key in _MAPS and not isinstance(value, dict):
        yield path, f"must be an object of schemas; it is {_kind(value)}"
    elif key == "enum" and not (isinstance(value, list) and value):
        yield path, "must be a list of values"
    elif key == "required" and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        yield path, "must be a list of names"
    elif key not in _KNOWN and not key.startswith("x-"):
        yield path, "is no keyword of a schema"


_KNOWN = _TEXTS | _COUNTS | _NUMBERS | _FLAGS | _LISTS | _MAPS | _ANY | {"items", "not", "additionalProperties"}


def _pattern(text: str, path: Path) -> Iterator[Found]:
    if len(text) > PATTERN_CHARS:
        yield path, f"is longer than {PATTERN_CHARS} characters"
        return
    try:
        re.compile(text)
    except re.error as error:
        yield path, f"is no regular expression: {clean(str(error), 100)}"


def _inner(schema: Mapping[str, Any], path: Path, *, structural: bool) -> Iterator[Found]:
    for key in _MAPS:
        inner = schema.get(key)
        if isinstance(inner, dict):
            for name, one in inner.items():
                yield from _schema(one, (*path, key, name), structural=structural)
    for key in _LISTS:  # in these, Kubernetes wants no types: they only narrow what the schema around says
        inner = schema.get(key)
        if isinstance(inner, list):
            for index, one in enumerate(inner):
                yield from _schema(one, (*path, key, index), structural=False)
    if "items" in schema:
        yield from _schema(schema["items"], (*path, "items"), structural=structural)
    if "not" in schema:
        yield from _schema(schema["not"], (*path, "not"), structural=False)
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield from _schema(schema["additionalProperties"], (*path, "additionalProperties"), structural=structural)


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """``value`` with what the schema says of fields that are not there. As Kubernetes does it: a default is filled into
    an object that is there, and an object that is not there is not made for the sake of what is in it."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        filled = dict(value)
        for name, inner in properties.items():
            absent = name not in filled or (filled[name] is None and not inner.get("nullable"))
            if absent and "default" in inner:
                filled[name] = copy.deepcopy(inner["default"])
        for name, one in filled.items():
            inner = properties.get(name, more if isinstance(more, dict) else {})
            filled[name] = with_defaults(one, inner)
        return filled
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [with_defaults(one, items) for one in value]
    return value


def problems_of(value: Any, schema: Mapping[str, Any], *, legacy: bool, path: Path = ()) -> Iterator[Found]:
    """Where ``value`` does not fit the schema. ``schema`` has no :func:`schema_problems`."""
    if value is None and (schema.get("nullable") or legacy or not schema.get("type")):
        return
    kind = schema.get("type")
    if schema.get(_INT_OR_STRING):
        if not (_TYPES["integer"](value) or isinstance(value, str)):
            yield path, f"must be a whole number or text; it is {_kind(value)}"
    elif kind and not _TYPES[kind](value):
        yield path, f"must be of the type {kind}; it is {_kind(value)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(clean(str(one), 40) for one in schema["enum"][:10])
        yield path, f"{clean(str(value), 40)!r} is none of: {known}"
    yield from _bounds(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, legacy=legacy, path=path)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from problems_of(one, schema.get("items") or {}, legacy=legacy, path=(*path, index))
    yield from _combined(value, schema, path)


def _bounds(value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Found]:
    sizes: dict[type, tuple[str, str]] = {}
    sizes |= {str: ("minLength", "maxLength"), list: ("minItems", "maxItems"), dict: ("minProperties", "maxProperties")}
    if type(value) in sizes:
        least, most = sizes[type(value)]
        if len(value) < schema.get(least, 0) or len(value) > schema.get(most, len(value)):
            yield path, f"is too short or too long: {least} and {most} of the schema"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield path, f"does not match the pattern {clean(schema['pattern'], 80)!r}"
    if isinstance(value, list) and schema.get("uniqueItems") and _repeats(value):
        yield path, "holds a value twice"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
            yield path, f"is below the minimum {low}"
        if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
            yield path, f"is above the maximum {high}"
        if schema.get("multipleOf") and value % schema["multipleOf"]:
            yield path, f"is no multiple of {schema['multipleOf']}"


def _repeats(values: list[Any]) -> bool:
    return any(one == other for index, one in enumerate(values) for other in values[:index])


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], *, legacy: bool, path: Path) -> Iterator[Found]:
    properties = schema.get("properties") or {}
    more = schema.get("additionalProperties")
    opened = legacy or schema.get(_PRESERVE) or more is True or not schema.get("type")
    for name in schema.get("required") or ():
        if name not in value:
            yield path, f"has no {clean(name, 60)}, which is required"
    for name, one in value.items():
        if name in properties:
            yield from problems_of(one, properties[name], legacy=legacy, path=(*path, name))
        elif isinstance(more, dict):
            yield from problems_of(one, more, legacy=legacy, path=(*path, name))
        elif not opened:
            yield (*path, name), "is unknown to the schema of the template"


def _combined(value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Found]:
    def fits(inner: Mapping[str, Any]) -> bool:
        return not any(problems_of(value, inner, legacy=True))

    for inner in schema.get("allOf") or ():
        yield from problems_of(value, inner, legacy=True, path=path)
    if "anyOf" in schema and not any(fits(inner) for inner in schema["anyOf"]):
        yield path, "fits none of anyOf"
    if "oneOf" in schema and sum(fits(inner) for inner in schema["oneOf"]) != 1:
        yield path, "does not fit exactly one of oneOf"
    if "not" in schema and fits(schema["not"]):
        yield path, "fits what it must not"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "something else")
