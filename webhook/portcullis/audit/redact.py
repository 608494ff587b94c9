"""Takes out of a request what must not be judged, stored or shown: the judged input is the stored input.

Replaced by a marker, in object and old object, at any depth (custom resources, ephemeral containers, lists):
values under a key ``env``, ``data`` and ``stringData`` of core Secrets, and the annotation in which kubectl keeps the
whole object once more. ``metadata.managedFields`` is dropped: it is large and holds no fact. Names stay, so that a
policy can still ask which variable or key is there.
"""

from dataclasses import replace
from typing import Any

from portcullis.model.request import AdmissionRequest

REDACTED = "[redacted]"
"""Stands where a value was."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def redact(request: AdmissionRequest) -> AdmissionRequest:
    """The request without secrets. What is not changed is shared with the original, which stays as it is.

    Decide what an update changed before this: an update of environment values alone is invisible after it. Raises
    nothing for any JSON, however odd or deep. Redacting twice is redacting once; image names never change.
    """
    core_secret = request.kind.kind == "Secret" and request.kind.group == ""
    raw = dict(request.raw)
    cleaned: list[Any] = []
    for key, value in (("object", request.object), ("oldObject", request.old_object)):
        clean = _redact(value, secret=core_secret)
        cleaned.append(clean)
        if key in raw:
            raw[key] = clean if raw[key] is value else _redact(raw[key], secret=core_secret)
    return replace(request, object=cleaned[0], old_object=cleaned[1], raw=raw)


class _Place:
    """A dict or list of the tree and where it hangs; copied when first written to."""

    __slots__ = ("copy", "key", "node", "parent")

    def __init__(self, node: Any, parent: "_Place | None", key: Any) -> None:
        self.node = node
        self.parent = parent
        self.key = key
        self.copy: Any = None

    def writable(self) -> Any:
        """This place's copy, hung into the copies of all above it."""
        chain: list[_Place] = []
        place: _Place | None = self
        while place is not None and place.copy is None:
            chain.append(place)
            place = place.parent
        for link in reversed(chain):
            link.copy = link.node.copy()
            if link.parent is not None:
                link.parent.copy[link.key] = link.copy
        return self.copy

    def result(self) -> Any:
        return self.node if self.copy is None else self.copy


def _redact(tree: Any, *, secret: bool) -> Any:
    """The tree with its copies. A stack instead of recursion, so that depth is no danger."""
    if not isinstance(tree, dict):
        return tree
    root = _Place(tree, None, None)
    if secret:
        _redact_secret(root)
    stack = [root]
    while stack:
        place = stack.pop()
        if isinstance(place.node, dict):
            _redact_dict(place)
            if place.key == "env":
                _redact_env_dict(place)
        elif place.key == "env":
            _redact_env_list(place)
        # The result is walked, not the original: what was replaced is not descended into.
        result = place.result()
        children = result.items() if isinstance(result, dict) else enumerate(result)
        stack.extend(_Place(child, place, key) for key, child in children if isinstance(child, (dict, list)))
    return root.result()


def _redact_dict(place: _Place) -> None:
    node = place.result()
    if place.key == "metadata" and "managedFields" in node:
        del place.writable()["managedFields"]
    if LAST_APPLIED in node:
        _put(place, LAST_APPLIED, REDACTED)
    if node.get("kind") == "Secret" and node.get("apiVersion", "v1") == "v1":
        _redact_secret(place)


def _redact_secret(place: _Place) -> None:
    for key in ("data", "stringData"):
        value = place.result().get(key)
        if isinstance(value, dict):
            _put(place, key, dict.fromkeys(value, REDACTED))
        elif value is not None:
            _put(place, key, REDACTED)


def _redact_env_dict(place: _Place) -> None:
    """``env: {NAME: value}``, which some custom resources have. Objects below are left to the walk."""
    for key, value in list(place.result().items()):
        if value is not None and not isinstance(value, (dict, list)):
            _put(place, key, REDACTED)


def _redact_env_list(place: _Place) -> None:
    """``env: [{name, value}]``, and ``env: ["NAME=value"]`` as Docker writes it."""
    for index, item in enumerate(place.result()):
        if isinstance(item, dict) and item.get("value") is not None:
            _put(place, index, {**item, "value": REDACTED})
        elif isinstance(item, str):
            name, equals, _ = item.partition("=")
            _put(place, index, f"{name}={REDACTED}" if equals else REDACTED)


def _put(place: _Place, key: Any, value: Any) -> None:
    if place.result()[key] != value:
        place.writable()[key] = value
