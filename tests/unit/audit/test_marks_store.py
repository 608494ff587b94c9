"""Marks in the audit store: how many, for how long, and what happens when the store does not answer."""

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from fakes.clock import StandingClock
from portcullis.audit.database import MIGRATIONS, migrate
from portcullis.audit.marks import KEPT, PRUNE_SECONDS, STORED_SHARE, LayeredMarks, SqlMarks
from portcullis.audit.memory import MemoryMarks
from portcullis.audit.sql import SqlRecords
from portcullis.errors import RecordsError
from portcullis.limits import Limits

pytestmark = pytest.mark.anyio

LIMITS = Limits(marks=30, append_seconds=20, fact_seconds=20)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=1)


@dataclass
class House:
    path: Path
    records: SqlRecords
    clock: StandingClock
    marks: SqlMarks

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Asks or changes the file from outside."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @property
    def keys(self) -> set[object]:
        return {key for (key,) in self.query("SELECT key FROM marks")}


@contextlib.asynccontextmanager
async def house(path: Path, limits: Limits = LIMITS) -> AsyncIterator[House]:
    records, clock = SqlRecords(url=f"sqlite:///{path}", limits=limits), StandingClock()
    await records.start()
    try:
        yield House(path, records, clock, SqlMarks(records=records, clock=clock, limits=limits))
    finally:
        await records.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
async def at(path: Path) -> AsyncIterator[House]:
    async with house(path) as at:
        yield at


# -- the table -------------------------------------------------------------------------------------------------------


async def test_a_store_of_the_second_schema_is_brought_up_to_date(path: Path, tmp_path: Path) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(
        MIGRATIONS, before, ignore=shutil.ignore_patterns("__pycache__", "r0003_*", "r0004_*", "r0005_*", "r0006_*")
    )
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        migrate(connection, str(path), before)
    engine.dispose()
    async with house(path) as at:
        await at.marks.advance({"a": NOON})
        assert await at.marks.get(["a"]) == {"a": NOON}


async def test_an_older_instant_changes_nothing_in_the_file(at: House) -> None:
    await at.marks.advance({"a": LATER})
    before = at.query("SELECT * FROM marks")
    at.clock.seconds += 10
    for moment in (NOON, LATER):
        await at.marks.advance({"a": moment})
        assert at.query("SELECT * FROM marks") == before
    await at.marks.advance({"a": LATER + timedelta(microseconds=1)})
    assert at.query("SELECT * FROM marks") != before


async def test_marks_that_did_not_move_for_long_go(at: House) -> None:
    await at.marks.advance({"old": NOON, "moved": NOON, "same": NOON})
    at.clock.seconds += 10
    await at.marks.advance({"younger": NOON})
    at.clock.seconds += KEPT.total_seconds() - 10
    await at.marks.advance({"moved": LATER, "same": NOON})
    assert at.keys == {"old", "moved", "same", "younger"}
    at.clock.seconds += PRUNE_SECONDS
    await at.marks.advance({"new": NOON})
    assert at.keys == {"moved", "new"}


async def test_more_marks_than_have_room_go_the_oldest_first(at: House) -> None:
    """``marks`` times the share; looked after at the latest when so many were added that they could all be new."""
    room = STORED_SHARE * LIMITS.marks
    names = [f"{number:04}" for number in range(room + 4 * LIMITS.marks)]
    for start in range(0, len(names), LIMITS.marks):
        at.clock.seconds += 1
        await at.marks.advance(dict.fromkeys(names[start : start + LIMITS.marks], NOON))
        assert len(at.keys) <= room + LIMITS.marks
    assert at.keys == set(names[-room:])


async def test_more_than_one_step_goes_at_once(path: Path) -> None:
    async with house(path, replace(LIMITS, marks=10_000)) as at:
        await at.marks.advance({f"old {number}": NOON for number in range(1300)})
    async with house(path, replace(LIMITS, marks=10)) as at:
        at.clock.seconds += 10
        await at.marks.advance({"new": NOON})
        assert len(at.keys) == STORED_SHARE * 10
        assert "new" in at.keys
    async with house(path, replace(LIMITS, marks=10_000)) as at:
        await at.marks.advance({f"older {number}": NOON for number in range(1300)})
        at.clock.seconds += KEPT.total_seconds() + 1000
        await at.marks.advance({"newest": NOON})
        assert at.keys == {"newest"}


async def test_the_oldest_are_found_along_an_index(at: House) -> None:
    plan = str(at.query("EXPLAIN QUERY PLAN SELECT key FROM marks ORDER BY advanced_at LIMIT 500"))
    assert "ix_marks_advanced_at" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("damage", ["noon", 2**62, -(2**62), b"\0", 1.5], ids=repr)
async def test_a_damaged_mark_is_not_known(at: House, damage: object) -> None:
    await at.marks.advance({"a": NOON, "b": NOON})
    at.query("UPDATE marks SET moment = ? WHERE key = 'a'", damage)
    with pytest.raises(RecordsError, match="damaged"):
        await at.marks.get(["a", "b"])
    assert await at.marks.get(["b"]) == {"b": NOON}


async def test_a_store_that_hangs_is_not_waited_for(path: Path) -> None:
    async with house(path, replace(LIMITS, fact_seconds=0.01)) as at:
        release = threading.Event()
        waiting = [asyncio.create_task(at.records.change(lambda _: release.wait()))]
        waiting += [asyncio.create_task(at.records.read(lambda _: release.wait())) for _ in range(2)]
        try:
            await asyncio.sleep(0)
            with pytest.raises(RecordsError, match=r"the limit factSeconds of 0\.01"):
                await at.marks.get(["a"])
            with pytest.raises(RecordsError, match=r"the limit factSeconds of 0\.01"):
                await at.marks.advance({"a": NOON})
        finally:
            release.set()
            await asyncio.gather(*waiting)


async def test_a_closed_store_raises_what_the_port_says(path: Path) -> None:
    async with house(path) as at:
        pass
    with pytest.raises(RecordsError):
        await at.marks.get(["a"])
    with pytest.raises(RecordsError):
        await at.marks.advance({"a": NOON})


# -- memory ----------------------------------------------------------------------------------------------------------


async def test_memory_holds_as_many_as_the_limit_marks_and_forgets_the_least_used() -> None:
    marks = MemoryMarks(limits=Limits(marks=3))
    await marks.advance({"a": NOON, "b": NOON, "c": NOON})
    await marks.get(["a"])
    await marks.advance({"b": NOON, "d": NOON})
    assert set(await marks.get(["a", "b", "c", "d"])) == {"a", "b", "d"}


# -- layers ----------------------------------------------------------------------------------------------------------


@dataclass
class Store:
    """A Marks that can be down, or can be held up; it counts what it is asked to write."""

    marks: MemoryMarks = field(default_factory=lambda: MemoryMarks(limits=Limits()))
    down: bool = False
    held: asyncio.Event | None = None
    written: list[Mapping[str, datetime]] = field(default_factory=list)

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        if self.down:
            raise RecordsError("the store is down")
        return await self.marks.get(keys)

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        self.written.append(dict(marks))
        if self.held is not None:
            await self.held.wait()
        if self.down:
            raise RecordsError("the store is down")
        await self.marks.advance(marks)


def layers(store: Store, limits: Limits = LIMITS) -> LayeredMarks:
    return LayeredMarks(memory=MemoryMarks(limits=limits), store=store, limits=limits)


async def test_what_is_in_memory_does_not_stand_for_a_store_that_is_down() -> None:
    store = Store()
    marks = layers(store)
    await marks.advance({"a": NOON})
    store.down = True
    with pytest.raises(RecordsError):
        await marks.get(["a"])
    assert marks.failed == 1


async def test_the_later_of_memory_and_store_counts() -> None:
    store = Store()
    marks = layers(store)
    await marks.advance({"a": NOON, "b": LATER})
    await store.marks.advance({"a": LATER, "c": NOON})
    assert await marks.get(["a", "b", "c", "d"]) == {"a": LATER, "b": LATER, "c": NOON}


async def test_a_store_that_was_down_gets_what_it_missed() -> None:
    store = Store(down=True)
    marks = layers(store)
    for moments in ({"a": NOON, "b": NOON}, {"a": LATER}, {"a": NOON}):
        with pytest.raises(RecordsError):
            await marks.advance(moments)
    assert (marks.waiting, marks.failed) == (2, 3)
    store.down = False
    await marks.advance({"a": NOON})
    assert marks.waiting == 0
    assert await store.marks.get(["a", "b"]) == {"a": LATER, "b": NOON}
    assert await marks.get(["a", "b"]) == {"a": LATER, "b": NOON}


async def test_marks_that_stand_already_are_not_written_again() -> None:
    store = Store()
    marks = layers(store)
    for moment in (NOON, NOON, LATER, NOON):
        await marks.advance({"a": moment})
    assert store.written == [{"a": NOON}, {"a": LATER}]


async def test_an_emptied_store_gets_its_marks_back() -> None:
    store = Store()
    marks = layers(store)
    await marks.advance({"a": NOON, "b": NOON})
    store.marks = MemoryMarks(limits=LIMITS)
    assert await marks.get(["a"]) == {"a": NOON}
    await marks.advance({"b": NOON})
    assert await store.marks.get(["a", "b"]) == {"a": NOON}


async def test_what_waits_is_bounded_and_what_is_dropped_counted() -> None:
    store = Store(down=True)
    marks = layers(store, Limits(marks=3))
    for number in range(5):
        with pytest.raises(RecordsError):
            await marks.advance({f"{number}": NOON})
    assert (marks.waiting, marks.dropped) == (3, 2)
    store.down = False
    await marks.advance({"4": LATER})
    assert await store.marks.get(list("01234")) == {"2": NOON, "3": NOON, "4": LATER}


async def test_a_caller_that_goes_away_loses_no_mark() -> None:
    store = Store(held=asyncio.Event())
    marks = layers(store)
    caller = asyncio.create_task(marks.advance({"a": NOON}))
    while not store.written:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert marks.waiting == 1
    store.held = None
    await marks.advance({"b": NOON})
    assert await store.marks.get(["a", "b"]) == {"a": NOON, "b": NOON}
