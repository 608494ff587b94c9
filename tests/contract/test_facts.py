"""The suite of the port Facts: in memory, in the audit store, and both in layers."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from portcullis.audit.facts import PIECE_BYTES, SqlFacts
from portcullis.audit.memory import LayeredFacts, MemoryFacts
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.ports import Facts

pytestmark = pytest.mark.anyio

ROOM = 40 * 1024
LIMITS = Limits(stored_fact_bytes=ROOM, memory_fact_bytes=ROOM, append_seconds=20, store_seconds=30)
QUARTER = ROOM // 4


@dataclass
class TickingClock:
    """A second later each time it is asked for the time, so that no two uses are at the same instant."""

    seconds: float = 1_000_000.0

    def now(self) -> datetime:
        self.seconds += 1
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


CLOCK = TickingClock()
"""Goes on over restarts, as time does."""


@contextlib.asynccontextmanager
async def in_memory(_: str, limits: Limits) -> AsyncIterator[Facts]:
    yield MemoryFacts(limits=limits)


@contextlib.asynccontextmanager
async def in_store(url: str, limits: Limits) -> AsyncIterator[SqlFacts]:
    records = SqlRecords(url=url, limits=limits)
    await records.start()
    facts = SqlFacts(records=records, clock=CLOCK, limits=limits)
    try:
        yield facts
    finally:
        await facts.aclose()
        await records.aclose()


@contextlib.asynccontextmanager
async def in_layers(url: str, limits: Limits) -> AsyncIterator[Facts]:
    async with in_store(url, limits) as store:
        facts = LayeredFacts(memory=MemoryFacts(limits=limits), store=store, limits=limits)
        try:
            yield facts
        finally:
            await facts.aclose()


Opened = Callable[[Limits], AbstractAsyncContextManager[Facts]]
"""Opens it; what lasts is found again by the next that is opened."""

MAKERS: dict[str, Callable[[str, Limits], AbstractAsyncContextManager[Facts]]] = {
    "memory": in_memory,
    "sqlite": in_store,
    "postgresql": in_store,
    "layers": in_layers,
}
LASTING = pytest.mark.parametrize("opened", ["sqlite", "postgresql", "layers"], indirect=True)


@pytest.fixture(params=MAKERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path}/audit.db"
    return partial(MAKERS[request.param], url)


@pytest.fixture
async def facts(opened: Opened) -> AsyncIterator[Facts]:
    async with opened(LIMITS) as facts:
        yield facts


async def found(facts: Facts, *keys: str) -> list[str]:
    """Those of the keys that are kept."""
    return [key for key in keys if await facts.get(key) is not None]


@pytest.mark.parametrize("content", [b"", b"\0", bytes(range(256)) * 4, b"x" * QUARTER], ids=len)
async def test_a_fact_comes_back_byte_for_byte(facts: Facts, content: bytes) -> None:
    await facts.put("layer/1", content)
    assert await facts.get("layer/1") == content
    assert await facts.get("layer/2") is None


async def test_a_fact_of_several_pieces(opened: Opened) -> None:
    content = random.Random(4).randbytes(2 * PIECE_BYTES + 1)
    room = 16 * PIECE_BYTES
    async with opened(Limits(stored_fact_bytes=room, memory_fact_bytes=room)) as facts:
        await facts.put("layer/1", content)
        assert await facts.get("layer/1") == content


async def test_a_fact_stays_what_it_was(facts: Facts) -> None:
    await facts.put("layer/1", b"first")
    await facts.put("layer/1", b"second")
    assert await facts.get("layer/1") == b"first"


@pytest.mark.parametrize(
    "key",
    ["", "'; DROP TABLE facts; --", "%", "a\0b", "\ud800 lone", "x" * 10_000],
    ids=["empty", "injection", "wildcard", "nul", "surrogate", "long"],
)
async def test_any_text_is_a_key_of_its_own(facts: Facts, key: str) -> None:
    await facts.put("other", b"other")
    await facts.put(key, b"this")
    await facts.put(key + "y", b"that")
    assert [await facts.get(name) for name in (key, key + "y", "other")] == [b"this", b"that", b"other"]


async def test_what_is_too_large_is_not_kept_and_drives_nothing_out(facts: Facts) -> None:
    await facts.put("small", b"x")
    await facts.put("large", b"x" * (QUARTER + 1))
    assert await found(facts, "small", "large") == ["small"]


async def test_the_least_recently_used_goes_first(facts: Facts) -> None:
    """Four of 8 KiB have room, with what each takes beside its content."""
    content = b"x" * 8 * 1024
    for key in "abcd":
        await facts.put(key, content)
    assert await found(facts, "a", "b", "c", "d") == ["a", "b", "c", "d"]
    await facts.get("b")
    await facts.get("a")
    await facts.put("e", content)
    await facts.put("f", content)
    assert await facts.get("a") == await facts.get("b") == content
    assert await facts.get("e") == await facts.get("f") == content


async def test_what_is_put_again_counts_as_used(facts: Facts) -> None:
    content = b"x" * 8 * 1024
    for key in ("a", "b", "c", "d", "a", "e"):
        await facts.put(key, content)
    assert await facts.get("a") == content


@pytest.mark.parametrize("opened", ["memory", "sqlite", "postgresql"], indirect=True)
async def test_the_room_is_kept_to(opened: Opened) -> None:
    """By bytes, and by number where facts are small."""
    async with opened(LIMITS) as facts:
        assert isinstance(facts, MemoryFacts | SqlFacts)
        for number in range(60):
            await facts.put(f"small/{number}", b"x")
        assert facts.bytes <= ROOM
        kept = await found(facts, *(f"small/{number}" for number in range(60)))
        assert kept == [f"small/{number}" for number in range(60 - len(kept), 60)]
        assert (len(kept), facts.counters.evicted) == (39, 21)
        await facts.put("large", b"x" * QUARTER)
        assert facts.bytes <= ROOM
        assert await facts.get("large") == b"x" * QUARTER


async def test_one_key_put_by_many_at_once(facts: Facts) -> None:
    await asyncio.gather(*(facts.put("layer/1", b"the same") for _ in range(10)))
    assert await facts.get("layer/1") == b"the same"


async def test_many_put_at_once(facts: Facts) -> None:
    keys = [f"layer/{number}" for number in range(20)]
    await asyncio.gather(*(facts.put(key, key.encode()) for key in keys))
    assert [await facts.get(key) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize("opened", ["memory", "sqlite", "postgresql"], indirect=True)
async def test_what_happens_is_counted(opened: Opened) -> None:
    async with opened(LIMITS) as facts:
        assert isinstance(facts, MemoryFacts | SqlFacts)
        await facts.put("a", b"x")
        await facts.put("a", b"x")
        await facts.put("large", b"x" * (QUARTER + 1))
        await facts.get("a")
        await facts.get("b")
        counters = facts.counters
        assert (counters.kept, counters.too_large, counters.hits, counters.misses) == (1, 1, 1, 1)
        assert (counters.evicted, counters.damaged, counters.failed) == (0, 0, 0)


@LASTING
async def test_facts_survive_a_restart(opened: Opened) -> None:
    async with opened(LIMITS) as facts:
        await facts.put("layer/1", b"kept")
    async with opened(LIMITS) as facts:
        assert await facts.get("layer/1") == b"kept"


@LASTING
async def test_the_order_of_use_survives_a_restart(opened: Opened) -> None:
    content = b"x" * 8 * 1024
    async with opened(LIMITS) as facts:
        for key in "abcd":
            await facts.put(key, content)
    async with opened(LIMITS) as facts:
        await facts.get("a")
    async with opened(LIMITS) as facts:
        await facts.put("e", content)
    async with opened(LIMITS) as facts:
        assert await found(facts, "a", "b", "c", "d", "e") == ["a", "c", "d", "e"]
