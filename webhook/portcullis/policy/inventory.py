"""Objects of the cluster as policies read them: ``data.inventory``, in Gatekeeper's layout.

``cluster[groupVersion][kind][name]`` and ``namespace[namespace][groupVersion][kind][name]``. The tree is written into
each OPA whole before it serves, and from then on by JSON Patch (RFC 6902) through its Data API; it lies outside of the
roots of the policy bundle, so neither ever overwrites the other.
Source: https://open-policy-agent.github.io/gatekeeper/website/docs/sync/.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from portcullis.limits import Limits
from portcullis.model.json import JSONObject

INVENTORY_PATH: Final = "inventory"
KEPT_STEPS: Final = 2000
"""Steps that a server may be behind and still be brought up by a patch; else it gets the whole tree."""

Path = tuple[str, ...]
Step = JSONObject
"""One operation of a JSON Patch."""


class Inventory:
    """The tree, its size, and what changed lately. Belongs to one event loop.

    Args:
        limits: over ``inventory_objects`` or ``inventory_bytes`` policies get nothing at all, see :attr:`too_large`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tree: dict[str, Any] = {"cluster": {}, "namespace": {}}
        self._sizes: dict[Path, int] = {}
        self._steps: deque[tuple[int, Step]] = deque(maxlen=KEPT_STEPS)
        self._lost = 0
        self._news = asyncio.Event()
        self.version = 0
        self.bytes = 0

    @property
    def objects(self) -> int:
        return len(self._sizes)

    @property
    def too_large(self) -> str:
        """Which limit is crossed, in words; "" if none is."""
        if len(self._sizes) > self._limits.inventory_objects:
            return f"{len(self._sizes)} objects; the limit inventoryObjects is {self._limits.inventory_objects}"
        if self.bytes > self._limits.inventory_bytes:
            return f"{self.bytes} bytes; the limit inventoryBytes is {self._limits.inventory_bytes}"
        return ""

    def put(self, group_version: str, kind: str, namespace: str, name: str, found: JSONObject) -> None:
        """An object that is there; as Gatekeeper's, it says of which kind it is."""
        path = _path(group_version, kind, namespace, name)
        whole = {**found, "apiVersion": group_version, "kind": kind}
        size = len(json.dumps(whole, separators=(",", ":")))
        with self._changing():
            node = self._tree
            for at, word in enumerate(path[:-1]):
                if word not in node:
                    node[word] = {}
                    self._note({"op": "add", "path": _pointer(path[: at + 1]), "value": {}})
                node = node[word]
            node[name] = whole
            self.bytes += size - self._sizes.get(path, 0)
            self._sizes[path] = size
            self._note({"op": "add", "path": _pointer(path), "value": whole})

    def remove(self, group_version: str, kind: str, namespace: str, name: str) -> None:
        """An object that is there no longer."""
        path = _path(group_version, kind, namespace, name)
        if path not in self._sizes:
            return
        with self._changing():
            node = self._tree
            for word in path[:-1]:
                node = node[word]
            del node[name]
            self.bytes -= self._sizes.pop(path)
            self._note({"op": "remove", "path": _pointer(path)})

    def snapshot(self) -> tuple[int, bytes]:
        """The version, and the whole tree as JSON; an empty one where a limit is crossed."""
        tree = {"cluster": {}, "namespace": {}} if self.too_large else self._tree
        return self.version, json.dumps(tree, separators=(",", ":")).encode()

    def since(self, version: int) -> tuple[int, bytes] | None:
        """The version now, and the patch that leads to it from ``version``; None where that is not known any more, or
        the tree as a whole came or went meanwhile."""
        if version < self._lost or self.too_large:
            return None
        steps = [step for number, step in self._steps if number > version]
        return self.version, json.dumps(steps, separators=(",", ":")).encode()

    async def newer(self, version: int) -> None:
        """Returns as soon as there is more than ``version``."""
        while self.version <= version:
            self._news.clear()
            await self._news.wait()

    def _note(self, step: Step) -> None:
        self.version += 1
        if len(self._steps) == KEPT_STEPS:
            self._lost = self._steps[0][0]
        self._steps.append((self.version, step))
        self._news.set()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Where a change crosses a limit, in either direction, no server can be brought up by a patch."""
        before = bool(self.too_large)
        yield
        if bool(self.too_large) != before:
            self.version += 1
            self._lost = self.version
            self._steps.clear()
            self._news.set()


def _path(group_version: str, kind: str, namespace: str, name: str) -> Path:
    if namespace:
        return ("namespace", namespace, group_version, kind, name)
    return ("cluster", group_version, kind, name)


def _pointer(path: Iterable[str]) -> str:
    """RFC 6901."""
    return "".join("/" + word.replace("~", "~0").replace("/", "~1") for word in path)
