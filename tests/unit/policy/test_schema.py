"""The schema of the policy input against the documents that are really made."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fakes import samples
from portcullis.policy.schema import document_schema

TESTDATA = Path(__file__).resolve().parents[3] / "policies" / "testdata"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(document_schema())
    return Draft202012Validator(document_schema())


@pytest.mark.parametrize("name", list(samples.SAMPLES))
def test_every_document_is_valid(validator: Draft202012Validator, name: str) -> None:
    validator.validate(json.loads(samples.SAMPLES[name].document()))


def test_testdata_is_valid_and_what_is_made_today(validator: Draft202012Validator) -> None:
    files = {path.stem: path for path in TESTDATA.glob("*.json")}
    assert set(files) == set(samples.SAMPLES)
    for name, path in files.items():
        validator.validate(json.loads(path.read_text("utf-8")))
        assert path.read_bytes() == samples.pretty(samples.SAMPLES[name]), "see the head of tests/fakes/samples.py"


def test_every_property_that_is_described_occurs(validator: Draft202012Validator) -> None:
    """A description of what is never made would mislead authors."""
    schema = document_schema()
    seen: set[str] = set()
    for sample in samples.SAMPLES.values():
        seen |= set(paths(json.loads(sample.document()), schema, schema))
    described = set(described_paths(schema, schema))
    assert described <= seen


def test_a_missing_property_is_an_error_everywhere(validator: Draft202012Validator) -> None:
    schema = document_schema()
    document = json.loads(samples.SAMPLES["vulnerable"].document())
    tried = 0
    for parent, key in closed_properties(document, schema, schema):
        kept = parent.pop(key)
        assert not validator.is_valid(document), key
        parent[key] = kept
        tried += 1
    assert tried > 100
    validator.validate(document)


def test_a_property_too_many_is_an_error(validator: Draft202012Validator) -> None:
    schema = document_schema()
    document = json.loads(samples.SAMPLES["vulnerable"].document())
    for parent in {id(parent): parent for parent, _ in closed_properties(document, schema, schema)}.values():
        parent["imgae"] = 1
        assert not validator.is_valid(document)
        del parent["imgae"]


WRONG: list[tuple[list[str | int], object]] = [
    (["containers", 0, "user", "root"], "true"),
    (["containers", 0, "user", "root"], None),
    (["containers", 0, "user", "uid"], -1),
    (["containers", 0, "kind"], "sidecar"),
    (["containers", 0, "digest"], "latest"),
    (["images", "*", "platforms", 0, "created"], "yesterday"),
    (["images", "*", "platforms", 0, "contents", "status"], "fine"),
    (["images", "*", "scans", 0, "ageHours"], "24"),
    (["images", "*", "scans", 0, "vulnerabilities", 0, "severity"], "CRITICAL"),
    (["images", "*", "attestations", 0, "signer"], "ci"),
    (["images", "*", "attestations", 0, "verified"], None),
    (["workload", "podSpec"], []),
    (["time", "now"], None),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_wrong_values_are_errors(validator: Draft202012Validator, path: list[str | int], value: object) -> None:
    document = json.loads(samples.SAMPLES["vulnerable"].document())
    target: Any = document
    for step in path[:-1]:
        target = next(iter(target.values())) if step == "*" else target[step]
    validator.validate(document)
    target[path[-1]] = value
    assert not validator.is_valid(document)


def test_the_schema_is_a_new_tree_each_time() -> None:
    first = document_schema()
    expected = copy.deepcopy(first)
    first["properties"].clear()
    assert document_schema() == expected


def test_everything_is_described() -> None:
    for path, schema in walk(document_schema(), ""):
        if "properties" in schema or schema.get("type") in ("array", "string", "integer", "number", "boolean"):
            assert schema.get("description") or path.endswith("[]"), path


# -- walking documents and schemas side by side ---------------------------------------------------------------


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        schema = {**schema, **schema["anyOf"][0]}
    if "$ref" in schema:
        found: dict[str, Any] = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return {**found, "$name": schema["$ref"].rpartition("/")[2]}
    return schema


def paths(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "") -> Iterator[str]:
    """The described properties that occur in ``value``; those of definitions begin with ``$name``."""
    schema = resolve(schema, root)
    at = f"${schema['$name']}" if "$name" in schema else at
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, child in value.items():
            if key in properties:
                yield f"{at}.{key}"
                yield from paths(child, properties[key], root, f"{at}.{key}")
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from paths(child, schema["additionalProperties"], root, f"{at}.*")
    elif isinstance(value, list):
        for child in value:
            yield from paths(child, schema.get("items", {}), root, f"{at}[]")


def described_paths(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    for name, definition in [("", schema), *((f"${name}", one) for name, one in root["$defs"].items())]:
        for path, child in walk({**definition, "$defs": {}}, name):
            yield from (f"{path}.{key}" for key in child.get("properties", {}))


def walk(schema: dict[str, Any], at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield at, schema
    for key, child in schema.get("properties", {}).items():
        yield from walk(child, f"{at}.{key}")
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], f"{at}[]")
    for name, child in schema.get("$defs", {}).items():
        yield from walk(child, f"${name}")


def closed_properties(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every object of ours in ``value`` with each of its keys."""
    schema = resolve(schema, root)
    found: list[tuple[dict[str, Any], str]] = []
    if isinstance(value, dict):
        closed = schema.get("additionalProperties") is False
        properties = schema.get("properties", {})
        for key, child in value.items():
            if closed:
                found.append((value, key))
            following = properties.get(key, schema.get("additionalProperties"))
            if isinstance(following, dict):
                found += closed_properties(child, following, root)
    elif isinstance(value, list):
        for child in value:
            found += closed_properties(child, schema.get("items", {}), root)
    return found
