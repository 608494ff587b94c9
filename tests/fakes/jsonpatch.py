"""JSON Patch (RFC 6902) as the API server applies it: strictly, and on a copy."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any


class PatchError(Exception):
    """The patch does not fit; the API server refuses the request then."""


def applied(document: Any, steps: Iterable[Mapping[str, Any]]) -> Any:
    """``document`` with the steps ``add`` and ``replace``, each of which must fit."""
    result = copy.deepcopy(document)
    for step in steps:
        if step.keys() != {"op", "path", "value"} or step["op"] not in ("add", "replace"):
            raise PatchError(f"{step} is no step that is used here")
        *above, last = tokens(step["path"])
        parent = result
        for token in above:
            parent = _child(parent, token)
        if isinstance(parent, list):
            _child(parent, last)
            parent[int(last)] = step["value"]
        elif isinstance(parent, dict):
            if step["op"] == "replace":
                _child(parent, last)
            parent[last] = copy.deepcopy(step["value"])
        else:
            raise PatchError(f"{step['path']}: what is above it holds nothing")
    return result


def tokens(pointer: str) -> list[str]:
    """Of a JSON Pointer (RFC 6901): ``~1`` is read before ``~0``."""
    if not pointer.startswith("/"):
        raise PatchError(f"{pointer!r} is no place in an object")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _child(parent: Any, token: str) -> Any:
    if isinstance(parent, dict) and token in parent:
        return parent[token]
    if isinstance(parent, list) and token.isdigit() and int(token) < len(parent):
        return parent[int(token)]
    raise PatchError(f"there is no {token!r}")
