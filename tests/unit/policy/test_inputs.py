"""The tree of needs knows every field that the document has, and no other."""

from collections.abc import Iterator
from typing import Any

import pytest

from portcullis.model.ruling import Need
from portcullis.policy.inputs import ANYTHING, EVERY_NEED, INPUT, Node, closed
from portcullis.policy.schema import document_schema

REQUEST, IMAGE, CONFIG = Need.REQUEST, Need.IMAGE, Need.CONFIG
CONTENTS, ATTESTATIONS, NAMESPACE = Need.CONTENTS, Need.ATTESTATIONS, Need.NAMESPACE
USER, PACKAGES = Need.USER, Need.PACKAGES


def at(*keys: str) -> Node:
    node = INPUT
    for key in keys:
        node = node.child(key)
    return node


def described(
    schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every path that the JSON Schema names; elements of lists and maps as ``*``."""
    for choice in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "$ref" in choice:
            yield from described(definitions[choice["$ref"].rpartition("/")[2]], definitions, path)
            continue
        for name, part in choice.get("properties", {}).items():
            yield (*path, name)
            yield from described(part, definitions, (*path, name))
        for keyword in ("items", "additionalProperties"):
            if isinstance(choice.get(keyword), dict):
                yield from described(choice[keyword], definitions, (*path, "*"))


def test_every_field_of_the_document_is_known() -> None:
    schema = document_schema()
    paths = set(described(schema, schema["$defs"]))
    assert {("containers", "*", "user", "root"), ("images", "*", "scans", "*", "counts", "critical")} <= paths
    assert {path for path in paths if at(*path) is ANYTHING} == set()


@pytest.mark.parametrize(
    ("path", "own", "below"),
    [
        ("time.now", {REQUEST}, {REQUEST}),
        ("request.object.spec.images", {REQUEST}, {REQUEST}),
        ("namespace", {REQUEST}, {REQUEST, NAMESPACE}),
        ("namespace.name", {REQUEST}, {REQUEST}),
        ("namespace.labels.team", {NAMESPACE}, {NAMESPACE}),
        ("containers", {REQUEST}, {REQUEST, IMAGE, USER}),
        ("containers.0", {REQUEST}, {REQUEST, IMAGE, USER}),
        ("containers.0.pinned", {REQUEST}, {REQUEST}),
        ("containers.0.digest", {IMAGE}, {IMAGE}),
        ("containers.0.user.root", {USER}, {USER}),
        ("images.a.registry", {REQUEST}, {REQUEST}),
        ("images.a.digest", {IMAGE}, {IMAGE}),
        ("images.a.problems.0.reason", {IMAGE}, {IMAGE}),
        ("images.a.platforms", {IMAGE}, {IMAGE, CONFIG, USER, CONTENTS, PACKAGES}),
        ("images.a.platforms.0.digest", {IMAGE}, {IMAGE}),
        ("images.a.platforms.0.created", {CONFIG}, {CONFIG}),
        ("images.a.platforms.0.contents.shells", {CONTENTS}, {CONTENTS}),
        ("images.a.platforms.0.contents.packages.0.name", {CONTENTS, PACKAGES}, {CONTENTS, PACKAGES}),
        ("images.a.platforms.0.user.root", {USER}, {USER}),
        ("images.a.platforms.0.layerList.0.digest", {CONFIG}, {CONFIG}),
        ("images.a.scans.0.complete", {ATTESTATIONS}, {ATTESTATIONS}),
        ("images.a.nothing", EVERY_NEED, EVERY_NEED),
        ("nothing", EVERY_NEED, EVERY_NEED),
    ],
)
def test_what_stands_behind_a_field(path: str, own: set[Need], below: set[Need]) -> None:
    node = at(*path.split("."))
    assert (set(node.own), set(node.below)) == (own, below)


def test_the_whole_input() -> None:
    assert INPUT.below == EVERY_NEED


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (set(), {REQUEST}),
        ({IMAGE}, {REQUEST, IMAGE}),
        ({CONFIG}, {REQUEST, IMAGE, CONFIG}),
        ({USER}, {REQUEST, IMAGE, CONFIG, USER}),
        ({CONTENTS}, {REQUEST, IMAGE, CONTENTS}),
        ({PACKAGES}, {REQUEST, IMAGE, CONTENTS, PACKAGES}),
        ({ATTESTATIONS}, {REQUEST, IMAGE, ATTESTATIONS}),
        ({NAMESPACE}, {REQUEST, NAMESPACE}),
    ],
)
def test_needs_rest_on_others(needs: set[Need], expected: set[Need]) -> None:
    assert closed(needs) == expected
