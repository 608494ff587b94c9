"""Facts and marks in memory: for commands without a store, and in front of one."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

from portcullis.audit.facts import LARGEST_SHARE, ROW_BYTES, FactCounters, SqlFacts
from portcullis.errors import RecordsError
from portcullis.limits import Limits

CLOSE_SECONDS = 5.0
"""How long the end waits for facts that are on their way to the store."""


class MemoryFacts:
    """A Facts (ports.py) that ends with the program. Raises nothing.

    Args:
        limits: ``memory_fact_bytes``.
    """

    def __init__(self, *, limits: Limits) -> None:
        self._room = limits.memory_fact_bytes
        self._facts: OrderedDict[str, bytes] = OrderedDict()
        self.counters = FactCounters()
        self.bytes = 0
        """What all facts take."""

    async def get(self, key: str) -> bytes | None:
        """As the port says."""
        content = self._facts.get(key)
        if content is None:
            self.counters.misses += 1
            return None
        self.counters.hits += 1
        self._facts.move_to_end(key)
        return content

    async def put(self, key: str, content: bytes) -> None:
        """As the port says."""
        if len(content) > self._room // LARGEST_SHARE:
            self.counters.too_large += 1
            return
        if key in self._facts:
            self._facts.move_to_end(key)
            return
        self._facts[key] = content
        self.bytes += len(content) + ROW_BYTES
        self.counters.kept += 1
        while self.bytes > self._room:
            _, dropped = self._facts.popitem(last=False)
            self.bytes -= len(dropped) + ROW_BYTES
            self.counters.evicted += 1


class LayeredFacts:
    """Facts in memory over those of a store, which is never waited for when something is put: a store that is down or
    slow must not hold up decisions. What was put is found at once, and is in the store soon.

    Args:
        memory: asked first, and filled by what is found in the store.
        store: the facts that last; closed by others, after ``aclose`` of this.
        limits: ``memory_fact_bytes`` bounds what waits for the store as well.
    """

    def __init__(self, *, memory: MemoryFacts, store: SqlFacts, limits: Limits) -> None:
        self._memory = memory
        self._store = store
        self._room = limits.memory_fact_bytes
        self._waiting: set[asyncio.Task[None]] = set()
        self._one_by_one = asyncio.Lock()
        self.waiting_bytes = 0
        """Of facts that are on their way to the store."""
        self.dropped = 0
        """Facts that did not get into the store: it failed, or too many bytes waited for it."""

    async def aclose(self) -> None:
        """Waits for what is on its way to the store, but not for one that hangs."""
        if self._waiting:
            _, late = await asyncio.wait(self._waiting, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def get(self, key: str) -> bytes | None:
        """As the port says. Raises RecordsError where the store does for what is not in memory."""
        content = await self._memory.get(key)
        if content is not None:
            self._store.mark(key)
            return content
        content = await self._store.get(key)
        if content is not None:
            await self._memory.put(key, content)
        return content

    async def put(self, key: str, content: bytes) -> None:
        """As the port says; the store gets it in the background. Raises nothing."""
        await self._memory.put(key, content)
        size = len(content) + ROW_BYTES
        if self.waiting_bytes + size > self._room:
            self.dropped += 1
            return
        self.waiting_bytes += size
        task = asyncio.create_task(self._pass_on(key, content, size))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _pass_on(self, key: str, content: bytes, size: int) -> None:
        try:
            async with self._one_by_one:
                await self._store.put(key, content)
        except (RecordsError, asyncio.CancelledError):
            self.dropped += 1
        finally:
            self.waiting_bytes -= size


class MemoryMarks:
    """A Marks (ports.py) that ends with the program. Raises nothing.

    Over ``marks`` of them the one goes that was not asked for or moved for the longest time. Of that image an older
    scan counts again if newer ones were deleted, until one is seen: a store behind this (LayeredMarks) forgets later.

    Args:
        limits: ``marks``.
    """

    def __init__(self, *, limits: Limits) -> None:
        self._most = limits.marks
        self._marks: OrderedDict[str, datetime] = OrderedDict()

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        """As the port says. What was asked for counts as used."""
        found = {key: self._marks[key] for key in keys if key in self._marks}
        for key in found:
            self._marks.move_to_end(key)
        return found

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        """As the port says."""
        for key, moment in marks.items():
            known = self._marks.get(key)
            self._marks[key] = moment if known is None else max(known, moment)
            self._marks.move_to_end(key)
        while len(self._marks) > self._most:
            self._marks.popitem(last=False)
