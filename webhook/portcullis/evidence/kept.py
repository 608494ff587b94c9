"""What is kept in memory by key, bounded in number and bytes; the least recently used goes first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

_ENTRY_BYTES = 2048
"""A key, and what was made of the bytes that are counted."""


class Kept(Generic[_Key, _Value]):
    """Values by key.

    Args:
        entries, room: how many, and how many bytes.
    """

    def __init__(self, *, entries: int, room: int) -> None:
        self._most = entries
        self._room = room
        self._values: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: _Key) -> _Value | None:
        """The value, which is the most recently used from now on."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: _Key, value: _Value, size: int) -> None:
        """Keeps ``value``, which takes ``size`` bytes, unless it alone is more than there may be."""
        self.forget(key)
        size += _ENTRY_BYTES
        if size > self._room or not self._most:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while len(self._values) > self._most or self._bytes > self._room:
            self.forget(next(iter(self._values)))

    def forget(self, key: _Key) -> None:
        """Drops what is kept for ``key``, if anything is."""
        self._bytes -= self._values.pop(key, (None, 0))[1]
