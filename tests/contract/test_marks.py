"""The suite of the port Marks: in memory, in the audit store, and both in layers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

from fakes.clock import StandingClock
from portcullis.audit.marks import LayeredMarks, SqlMarks
from portcullis.audit.memory import MemoryMarks
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.ports import Marks

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=20, fact_seconds=20, store_seconds=30)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(microseconds=1)


@contextlib.asynccontextmanager
async def in_memory(_: str, limits: Limits) -> AsyncIterator[Marks]:
    yield MemoryMarks(limits=limits)


@contextlib.asynccontextmanager
async def in_store(url: str, limits: Limits) -> AsyncIterator[Marks]:
    records = SqlRecords(url=url, limits=limits)
    await records.start()
    try:
        yield SqlMarks(records=records, clock=StandingClock(), limits=limits)
    finally:
        await records.aclose()


@contextlib.asynccontextmanager
async def in_layers(url: str, limits: Limits) -> AsyncIterator[Marks]:
    async with in_store(url, limits) as store:
        yield LayeredMarks(memory=MemoryMarks(limits=limits), store=store, limits=limits)


Opened = Callable[[Limits], AbstractAsyncContextManager[Marks]]
"""Opens it; what lasts is found again by the next that is opened."""

MAKERS: dict[str, Callable[[str, Limits], AbstractAsyncContextManager[Marks]]] = {
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
async def marks(opened: Opened) -> AsyncIterator[Marks]:
    async with opened(LIMITS) as marks:
        yield marks


async def test_what_was_never_marked_has_no_mark(marks: Marks) -> None:
    await marks.advance({"a": NOON})
    assert await marks.get(["b"]) == {}
    assert await marks.get([]) == {}


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        LATER,
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 11, 24, 13, 30, tzinfo=timezone(timedelta(hours=1, minutes=30))),
    ],
    ids=str,
)
async def test_a_mark_comes_back_to_the_microsecond(marks: Marks, moment: datetime) -> None:
    await marks.advance({"a": moment})
    assert await marks.get(["a"]) == {"a": moment}


async def test_marks_move_forward_only(marks: Marks) -> None:
    await marks.advance({"a": NOON, "b": LATER})
    await marks.advance({"a": LATER, "b": NOON})
    assert await marks.get(["a", "b"]) == {"a": LATER, "b": LATER}
    await marks.advance({"a": NOON})
    assert await marks.get(["a"]) == {"a": LATER}


async def test_nothing_is_advanced(marks: Marks) -> None:
    await marks.advance({})
    assert await marks.get(["a"]) == {}


@pytest.mark.parametrize(
    "key",
    ["", "'; DROP TABLE marks; --", "%", "a\0b", "\ud800 lone", "x" * 10_000],
    ids=["empty", "injection", "wildcard", "nul", "surrogate", "long"],
)
async def test_any_text_is_a_key_of_its_own(marks: Marks, key: str) -> None:
    moments = {key: NOON, key + "y": LATER, "other": NOON + timedelta(days=1)}
    await marks.advance(moments)
    assert await marks.get(list(moments)) == moments


async def test_many_at_once(marks: Marks) -> None:
    moments = {f"key {number}": NOON + timedelta(seconds=number) for number in range(1200)}
    await marks.advance(moments)
    assert await marks.get([*moments, "another"]) == moments


async def test_of_many_that_move_one_the_latest_stays(marks: Marks) -> None:
    moments = [NOON + timedelta(seconds=second) for second in (3, 9, 1, 7, 5)]
    await asyncio.gather(*(marks.advance({"a": moment}) for moment in moments))
    assert await marks.get(["a"]) == {"a": max(moments)}


@LASTING
async def test_marks_survive_a_restart(opened: Opened) -> None:
    async with opened(LIMITS) as marks:
        await marks.advance({"a": NOON})
    async with opened(LIMITS) as marks:
        assert await marks.get(["a"]) == {"a": NOON}


@LASTING
async def test_what_another_program_saw_counts_here(opened: Opened) -> None:
    async with opened(LIMITS) as here, opened(LIMITS) as there:
        await here.advance({"a": NOON, "b": LATER})
        assert await here.get(["a", "b"]) == {"a": NOON, "b": LATER}
        await there.advance({"a": LATER, "b": NOON})
        for marks in (here, there):
            assert await marks.get(["a", "b"]) == {"a": LATER, "b": LATER}
