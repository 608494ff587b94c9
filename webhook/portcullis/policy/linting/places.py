"""The policy input as places: which paths there are, by :func:`portcullis.policy.schema.document_schema`.

A place is a schema and the path that leads to it. Where the schema is open (what Kubernetes shapes), everything may
be there, and the place is :data:`ANYTHING`.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from portcullis.policy.schema import document_schema

LONGEST_PATH = 12
"""Fields deep that paths are listed for the nearest one; the schema of today has 8."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place. ``path`` as people write it, such as ``input.containers[_].user.root``. Equal by its path."""

    path: str
    schema: Mapping[str, Any] = field(compare=False, hash=False, repr=False)

    def field(self, name: str) -> "frozenset[Place] | None":
        """What stands under the key; None where anything may, nothing where the schema has no such key."""
        found: set[Place] = set()
        for schema in _alternatives(self.schema):
            if schema.get("type") != "object":
                continue
            if name in schema.get("properties", {}):
                found.add(Place(f"{self.path}.{name}", schema["properties"][name]))
                continue
            other = schema.get("additionalProperties", True)
            if other is True:
                return None
            if other is not False:
                found.add(Place(f"{self.path}[_]", other))
        return frozenset(found)

    def elements(self) -> "frozenset[Place] | None":
        """What stands under a key that is not known; None where anything may."""
        found: set[Place] = set()
        for schema in _alternatives(self.schema):
            if schema.get("type") == "array":
                found.add(Place(f"{self.path}[_]", schema["items"]))
            elif schema.get("type") == "object":
                found.update(Place(f"{self.path}.{name}", each) for name, each in schema.get("properties", {}).items())
                other = schema.get("additionalProperties", True)
                if other is True:
                    return None
                if other is not False:
                    found.add(Place(f"{self.path}[_]", other))
        return frozenset(found)

    @property
    def is_list(self) -> bool:
        return any(schema.get("type") == "array" for schema in _alternatives(self.schema))

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that are known."""
        return tuple(name for schema in _alternatives(self.schema) for name in schema.get("properties", {}))


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in schema:
        yield from _alternatives(_document()["$defs"][schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _alternatives(one)
    else:
        yield schema


@cache
def _document() -> Mapping[str, Any]:
    return document_schema()


@cache
def input_place() -> Place:
    """The whole input."""
    return Place("input", _document())


@cache
def all_paths() -> tuple[str, ...]:
    """Every path of the schema, the shortest first."""
    found: list[str] = []
    waiting = [input_place()]
    for _ in range(LONGEST_PATH):
        following: list[Place] = []
        for place in waiting:
            found.append(place.path)
            following.extend(sorted(place.elements() or (), key=lambda one: one.path))
        waiting = following
    return tuple(found)


def nearest(place: Place, name: str) -> str:
    """The existing path that was most likely meant by ``place.name``; "" where nothing is near."""
    close = difflib.get_close_matches(name, place.names, 1, 0.6)
    if close:
        return f"{place.path}.{close[0]}"
    if place.is_list:
        inner = [Place(one.path, one.schema) for one in place.elements() or ()]
        for one in inner:
            if name in one.names:
                return f"{one.path}.{name}"
    tails = (f".{name}",)
    below = [path for path in all_paths() if path.startswith(place.path) and path.endswith(tails)]
    above = [path for path in all_paths() if path.endswith(tails)]
    if found := below or above:
        return min(found, key=lambda path: (len(path), path))
    leaves = {path.rpartition(".")[2]: path for path in reversed(all_paths())}
    close = difflib.get_close_matches(name, leaves, 1, 0.75)
    return leaves[close[0]] if close else ""
