"""The JSON tree of a request while it is redacted: what is in it, where, and what is to stand there instead."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.audit.redactiontext import REDACTED, is_harmless, is_secret_argument

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

DROPPED: Final = object()
"""Stands for what is taken out and not replaced."""
_ROOT: Final = 0
_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})
_ARGUMENTS: Final = frozenset({"args", "command"})
_HIDDEN: Final[Mapping[str, tuple[str, ...]]] = {"Secret": ("data", "stringData"), "ConfigMap": ("binaryData",)}
"""Fields of core kinds that go whole. What is binary in a ConfigMap no policy can read, and no expression either."""

_SCALARS: Final = frozenset({int, float, bool, type(None)})

_TELLING: Final = frozenset({"env", "metadata"})

Place = tuple[int, Any]
"""A dict or list by its number, and a key or an index in it."""


class Tree:
    """A walk over ``root`` without recursion, so that depth is no danger; no dict or list of it is changed.

    Raises TypeError for what is no JSON: a value that is not looked at could hold anything.

    Args:
        kind: of the object and old object in it, where it is one of the core group, else "".
    """

    def __init__(self, root: Mapping[str, Any], kind: str = "") -> None:
        self.nodes: list[Any] = [root]
        self.parents = [-1]
        self.names: list[Any] = [""]
        self.texts: list[str] = []
        """Every string that is a value, in the order of the walk."""
        self.keys: set[str] = set()
        self.arguments: list[int] = []
        """Lists of arguments."""
        self.edits: dict[Place, Any] = {}
        """What is to stand at places; see :meth:`put`."""
        self._starts: list[int] = []
        self._keyed, self._text_keys = -1, list[Any]()
        """The keys of the texts of the dict or list that was asked for last."""
        self._fields = _HIDDEN.get(kind, ())
        self._walk()

    def _walk(self) -> None:
        nodes, parents, names, texts = self.nodes, self.parents, self.names, self.texts
        for number, node in enumerate(nodes):  # which grows meanwhile
            self._starts.append(len(texts))
            if type(node) is dict:
                self.keys.update(node)
                # Most dicts have none of this, and a call takes longer than to see that.
                telling = "value" in node or "kind" in node or "auth" in node or LAST_APPLIED in node
                telling = telling or names[number] in _TELLING or parents[number] == _ROOT
                hidden = telling and self._look_at(number, node)
                items: Any = node.items()
            else:
                hidden = self._look_at_list(number, node)
                items = enumerate(node)
            for key, value in items:
                kind = type(value)
                if kind is str:
                    texts.append(value)
                elif kind is dict or kind is list:
                    if not (hidden and (number, key) in self.edits):
                        nodes.append(value)
                        parents.append(number)
                        names.append(key)
                elif kind not in _SCALARS:
                    raise TypeError(f"{kind.__name__} is nothing that a decoder of JSON makes")

    def _look_at(self, number: int, node: dict[str, Any]) -> bool:
        """Notes what of a dict goes by its structure; whether anything does."""
        before = len(self.edits)
        name = self.names[number]
        if name == "metadata" and "managedFields" in node:
            self.edits[number, "managedFields"] = DROPPED
        if LAST_APPLIED in node:
            self.put(number, LAST_APPLIED)
        if "value" in node:
            self._look_at_value(number, node)
        if "auth" in node and self.names[self.parents[number]] == "auths" and type(node["auth"]) is str:
            self.put(number, "auth")  # of a docker config: user and password in base64
        if name == "env":
            for key, value in node.items():
                if value is not None and type(value) not in (dict, list):
                    self.put(number, key)
        for field in self._hidden_fields(number, node):
            value = node.get(field)
            if isinstance(value, dict):
                self.keys.update(value)
                self.put(number, field, dict.fromkeys(value, REDACTED))
            elif value is not None:
                self.put(number, field)
        return len(self.edits) > before

    def _hidden_fields(self, number: int, node: dict[str, Any]) -> tuple[str, ...]:
        if self._fields and self.parents[number] == _ROOT and self.names[number] in ("object", "oldObject"):
            return self._fields
        kind = node.get("kind")
        if type(kind) is str and kind in _HIDDEN and node.get("apiVersion", "v1") == "v1":
            return _HIDDEN[kind]
        return ()

    def _look_at_value(self, number: int, node: dict[str, Any]) -> None:
        """``{name, value}``: a variable, or a header, parameter or setting that is called as a secret is."""
        value, name = node["value"], node.get("name")
        listed = self._list_of(number)
        if (listed == "env" and value is not None) or (
            type(name) is str and type(value) is str and is_secret_argument(name) and not is_harmless(value)
        ):
            self.put(number, "value")

    def _look_at_list(self, number: int, node: list[Any]) -> bool:
        name = self.names[number]
        if name == "env":
            before = len(self.edits)
            for index, item in enumerate(node):
                if type(item) is str:
                    variable, equals, _ = item.partition("=")
                    self.put(number, index, f"{variable}={REDACTED}" if equals else REDACTED)
            return len(self.edits) > before
        if name in _ARGUMENTS:
            self.arguments.append(number)
        return False

    def _list_of(self, number: int) -> Any:
        """The name of the list that this is an item of; "" where it is of none."""
        return self.names[self.parents[number]] if type(self.names[number]) is int else ""

    # -- places --------------------------------------------------------------------------------------------------------

    def text_place(self, index: int) -> Place:
        """Where ``texts[index]`` stands."""
        number = bisect_right(self._starts, index) - 1
        if number != self._keyed:
            node = self.nodes[number]
            items = node.items() if type(node) is dict else enumerate(node)
            self._keyed, self._text_keys = number, [key for key, value in items if type(value) is str]
        return number, self._text_keys[index - self._starts[number]]

    def is_image(self, place: Place) -> bool:
        """Whether the image of a container or of a volume is named there, at any depth: nothing ever changes it."""
        number, key = place
        if key == "image":
            return self._list_of(number) in _CONTAINERS
        if key != "reference" or self.names[number] != "image":
            return False
        return bool(self._list_of(self.parents[number]) == "volumes")

    def with_key(self, keys: set[str]) -> Iterator[int]:
        """The dicts that have one of these keys."""
        for number, node in enumerate(self.nodes):
            if type(node) is dict and not keys.isdisjoint(node):
                yield number

    def holder(self, place: Place) -> Place:
        """The place itself; of a variable, that of all the variables beside it."""
        number, key = place
        while self.names[number] == "env" or self._list_of(number) == "env":
            number, key = self.parents[number], self.names[number]
        return number, key

    def path(self, place: Place) -> tuple[Any, ...]:
        """Keys and indices from the root to a place."""
        number, key = place
        parts = [key]
        while number > _ROOT:
            parts.append(self.names[number])
            number = self.parents[number]
        return tuple(reversed(parts))

    # -- changes -------------------------------------------------------------------------------------------------------

    def put(self, number: int, key: Any, value: Any = REDACTED) -> None:
        """Has ``value`` stand at a place, unless it does already, or something else was put there."""
        if self.nodes[number][key] != value:
            self.edits.setdefault((number, key), value)

    def result(self, renamed: Mapping[str, str]) -> Any:
        """The root with all changes; what is not changed is shared with the original.

        Args:
            renamed: keys that are to be called otherwise.
        """
        copies: dict[int, Any] = {}
        # From the inside out: what is put in the place of a dict or list wins over changes in it.
        for (number, key), value in sorted(self.edits.items(), key=lambda edit: -edit[0][0]):
            copy = self._writable(number, copies)
            if value is DROPPED:
                del copy[key]
            else:
                copy[key] = value
        if renamed:
            self._rename(renamed, copies)
        return copies.get(_ROOT, self.nodes[_ROOT])

    def _writable(self, number: int, copies: dict[int, Any]) -> Any:
        """The copy of a node, hung into the copies of all above it."""
        chain: list[int] = []
        at = number
        while at >= _ROOT and at not in copies:
            chain.append(at)
            at = self.parents[at]
        for link in reversed(chain):
            copies[link] = self.nodes[link].copy()
            if link > _ROOT:
                copies[self.parents[link]][self.names[link]] = copies[link]
        return copies[number]

    def _rename(self, renamed: Mapping[str, str], copies: dict[int, Any]) -> None:
        numbers = sorted(self.with_key(set(renamed)), reverse=True)
        writable = [self._writable(number, copies) for number in numbers]
        for copy in writable:
            items = list(copy.items())
            copy.clear()
            for key, value in items:
                new = renamed.get(key, key)
                while new in copy:
                    new += "'"  # two keys that are alike without their secrets
                copy[new] = value
