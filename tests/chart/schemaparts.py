"""Of what the schema of the chart's values is made: each makes a schema of one kind of value."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

LABELS = ("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "app.kubernetes.io/component", "helm.sh/chart")
"""That every object has, beside those by which the pod is known."""

LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"


def closed(properties: dict[str, Schema], description: str = "", required: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        schema["required"] = list(required)
    return described(schema, description)


def described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema


def text(description: str = "", pattern: str = "", *, choices: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "string"}
    if pattern:
        schema["pattern"] = f"^({pattern})$"
    if choices:
        schema["enum"] = list(choices)
    return described(schema, description)


def flag(description: str = "") -> Schema:
    return described({"type": "boolean"}, description)


def whole(minimum: int, maximum: int | None = None, description: str = "") -> Schema:
    schema: Schema = {"type": "integer", "minimum": minimum}
    if maximum is not None:
        schema["maximum"] = maximum
    return described(schema, description)


def listed(items: Schema, description: str = "", *, least: int = 0) -> Schema:
    schema: Schema = {"type": "array", "items": items, "uniqueItems": True}
    if least:
        schema["minItems"] = least
    return described(schema, description)


def words(description: str = "", *, but: Sequence[str] = ()) -> Schema:
    """Labels or annotations."""
    schema: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
    if but:
        schema["properties"] = dict.fromkeys(but, False)
    return described(schema, description)


def anything(description: str = "", required: Sequence[str] = ()) -> Schema:
    """A map of Kubernetes' own, which the API server checks."""
    schema: Schema = {"type": "object"}
    if required:
        schema["required"] = list(required)
    return described(schema, description)


QUANTITY: Schema = {"type": ["string", "number"]}
PORT_REFERENCE: Schema = {"type": ["string", "integer"]}


def network_peers(description: str = "") -> Schema:
    block = closed({"cidr": text(), "except": listed(text())}, required=["cidr"])
    peer = closed({"podSelector": anything(), "namespaceSelector": anything(), "ipBlock": block})
    return listed({**peer, "minProperties": 1}, description)


def resources(description: str) -> Schema:
    quantities = {"type": "object", "additionalProperties": QUANTITY}
    return closed({"requests": quantities, "limits": quantities}, description)
