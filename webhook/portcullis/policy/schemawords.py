"""Words in which the JSON Schema of the policy input is written."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def record(description: str, /, **properties: Schema) -> Schema:
    """A closed object whose properties are all there."""
    return closed(description, properties)


def closed(description: str, properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    """Not ``type: [string, null]``, of which OPA's type checker takes the first only."""
    description = schema.pop("description")
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


def opened(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "object", "description": description, "additionalProperties": True}
    return or_null(schema) if null else schema


def listed(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items}


def text(description: str, *, null: bool = False, one_of: tuple[str, ...] = (), pattern: str = "") -> Schema:
    schema: Schema = {"type": "string", "description": description}
    if one_of:
        schema["enum"] = [*one_of]
    if pattern:
        schema["pattern"] = pattern
    return or_null(schema) if null else schema


def texts(description: str) -> Schema:
    return listed(description, {"type": "string"})


def instant(description: str, *, null: bool = False) -> Schema:
    return text(
        f"{description} RFC 3339 in UTC, of one width, so that texts compare as times do.",
        null=null,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    )


def whole(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "integer", "minimum": 0, "description": description}
    return or_null(schema) if null else schema


def hours(description: str) -> Schema:
    schema: Schema = {
        "type": "number",
        "description": f"{description} in hours; negative for a time in the future, null where it is not known.",
    }
    return or_null(schema)


def flag(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "boolean", "description": description}
    return or_null(schema) if null else schema


def ref(name: str, *, null: bool = False) -> Schema:
    reference = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [reference, {"type": "null"}]} if null else reference


def digest(description: str, *, null: bool = False) -> Schema:
    return text(description, null=null, pattern="^[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$")


def number(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "number", "description": description}
    return or_null(schema) if null else schema
