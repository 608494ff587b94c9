"""What is remembered in memory, bounded in bytes and counted.

Keys are tuples whose first part says what it is; facts.py explains them.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from portcullis.ports import Clock

_Value = TypeVar("_Value")

Key = tuple[Hashable, ...]

LARGEST_SHARE: Final = 4
"""One entry may take a quarter of the room at most, so that it does not drive out all others."""

_ENTRY_BYTES: Final = 512
"""A key and what holds it."""


@dataclass(slots=True)
class CacheCounters:
    """What happened since the start. ``too_large`` counts what was not kept because it is more than a quarter of the
    room, ``evictions`` what was dropped because the room was needed."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    too_large: int = 0


class FactCache:
    """Values that never change by key, the least recently used dropped when their bytes are more than ``room``."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._values: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self.counters = CacheCounters()

    @property
    def bytes(self) -> int:
        """What the values take."""
        return self._used

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key, kind: type[_Value]) -> _Value | None:
        """The value for ``key`` if it is of that kind; it is the most recently used from now on."""
        value, _ = self._values.get(key, (None, 0))
        if not isinstance(value, kind):
            self.counters.misses += 1
            return None
        self.counters.hits += 1
        self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: object, size: int) -> None:
        """Keeps ``value``, which takes ``size`` bytes, in place of what was there."""
        size += _ENTRY_BYTES
        if size > self._room // LARGEST_SHARE + _ENTRY_BYTES:
            self.counters.too_large += 1
            return
        _, before = self._values.pop(key, (None, 0))
        self._values[key] = (value, size)
        self._used += size - before
        while self._used > self._room:
            _, (_, dropped) = self._values.popitem(last=False)
            self._used -= dropped
            self.counters.evictions += 1

    def drop(self, first: str) -> None:
        """Drops every value whose key begins so."""
        for key in [key for key in self._values if key[0] == first]:
            _, size = self._values.pop(key)
            self._used -= size


@dataclass(frozen=True, slots=True)
class Remembered(Generic[_Value]):
    """A value that was true at ``since``; ``remaining`` seconds it is believed, 0 where it is stale."""

    value: _Value
    since: datetime
    remaining: float


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_Value]):
    value: _Value
    size: int
    since: datetime
    fresh_until: float
    kept_until: float


class Recent(Generic[_Value]):
    """Values that are believed for a while; the oldest are dropped when there are more, or more bytes of them, than
    there may be.

    Args:
        entries, room: how many, and how many bytes.
    """

    def __init__(self, *, clock: Clock, entries: int, room: int) -> None:
        self._clock = clock
        self._most = entries
        self._room = room
        self._used = 0
        self._entries: OrderedDict[Key, _Entry[_Value]] = OrderedDict()
        self.counters = CacheCounters()

    @property
    def bytes(self) -> int:
        """What the values take."""
        return self._used

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Remembered[_Value] | None:
        """What is still believed."""
        found = self._find(key)
        if found is None or not found.remaining:
            self.counters.misses += 1
            return None
        self.counters.hits += 1
        return found

    def get_stale(self, key: Key) -> Remembered[_Value] | None:
        """What is kept, believed or not."""
        return self._find(key)

    def put(self, key: Key, value: _Value, size: int, *, seconds: float, grace: float = 0.0) -> None:
        """Keeps ``value``, which takes ``size`` bytes.

        Args:
            seconds: how long it is believed.
            grace: seconds from now for which it is kept in any case, for :meth:`get_stale`.
        """
        self.forget(key)
        size += _ENTRY_BYTES
        if size > self._room // LARGEST_SHARE + _ENTRY_BYTES:
            self.counters.too_large += 1
            return
        now = self._clock.monotonic()
        self._entries[key] = _Entry(value, size, self._clock.now(), now + seconds, now + max(seconds, grace))
        self._used += size
        while len(self._entries) > self._most or self._used > self._room:
            _, dropped = self._entries.popitem(last=False)
            self._used -= dropped.size
            self.counters.evictions += 1

    def forget(self, key: Key) -> None:
        """Drops what is kept for ``key``, if anything is."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= entry.size

    def _find(self, key: Key) -> Remembered[_Value] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock.monotonic()
        if entry.kept_until <= now:
            self.forget(key)
            return None
        return Remembered(entry.value, entry.since, max(entry.fresh_until - now, 0.0))


def weight(value: object) -> int:
    """About how many bytes of memory a tree of dataclasses takes."""
    if isinstance(value, str | bytes):
        return 64 + len(value)
    if isinstance(value, Mapping):
        return 64 + sum(weight(name) + weight(item) for name, item in value.items())
    if isinstance(value, tuple | list):
        return 64 + sum(map(weight, value))
    if dataclasses.is_dataclass(value):
        return 64 + sum(weight(getattr(value, part.name)) for part in dataclasses.fields(value))
    return 32
