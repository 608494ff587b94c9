"""Places shared out in turn: never more than there are, no name before its turn, none lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from portcullis.inspection.turns import Turns

pytestmark = pytest.mark.anyio


class Yard:
    """Work that goes on until the test says otherwise; ``began`` lists it in the order in which it got a place."""

    def __init__(self, places: int, most: int | None = None) -> None:
        self.turns = Turns(places, most)
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, work: str) -> None:
        self._ends[work] = asyncio.Event()
        self.tasks[work] = asyncio.create_task(self._work(name, work))
        await settle()

    async def end(self, work: str) -> None:
        self._ends[work].set()
        await self.tasks[work]
        await settle()

    async def _work(self, name: str, work: str) -> None:
        async with self.turns.turn(name):
            self.began.append(work)
            await self._ends[work].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def yard(places: int, most: int | None = None) -> AsyncIterator[Yard]:
    made = Yard(places, most)
    yield made
    for task in made.tasks.values():
        task.cancel()
    await asyncio.gather(*made.tasks.values(), return_exceptions=True)


async def test_no_more_than_there_are_places() -> None:
    async with yard(2) as found:
        for work in ("a1", "a2", "a3"):
            await found.begin("a", work)
        assert found.began == ["a1", "a2"]
        assert found.turns.waiting == 1
        await found.end("a1")
        assert found.began == ["a1", "a2", "a3"]
        assert found.turns.waiting == 0


async def test_names_take_turns_whatever_each_has_to_do() -> None:
    async with yard(1) as found:
        for work in ("a1", "a2", "a3", "a4"):
            await found.begin("a", work)
        await found.begin("b", "b1")
        await found.begin("c", "c1")
        await found.begin("b", "b2")
        for work in ("a1", "a2", "b1", "c1", "a3", "b2", "a4"):
            assert found.began[-1] == work
            await found.end(work)


async def test_who_gives_up_waiting_takes_no_place() -> None:
    async with yard(1) as found:
        await found.begin("a", "a1")
        await found.begin("b", "b1")
        await found.begin("c", "c1")
        found.tasks["b1"].cancel()
        await settle()
        await found.end("a1")
        assert found.began == ["a1", "c1"]
        await found.end("c1")
        await found.begin("a", "a2")
        assert found.began == ["a1", "c1", "a2"]


async def test_a_place_given_to_who_is_cancelled_at_that_moment_goes_on() -> None:
    async with yard(1) as found:
        await found.begin("a", "a1")
        await found.begin("b", "b1")
        await found.begin("c", "c1")
        found._ends["a1"].set()
        while not found.tasks["a1"].done():
            await asyncio.sleep(0)
        found.tasks["b1"].cancel()  # its place is there, and it has not run yet
        await settle()
        assert found.began[-1] == "c1"


async def test_work_that_fails_gives_its_place_back() -> None:
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn("a"):
            raise ZeroDivisionError
    async with asyncio.timeout(5), turns.turn("a"):
        pass


async def test_one_name_has_no_more_than_its_share() -> None:
    async with yard(3, most=2) as found:
        for work in ("a1", "a2", "a3"):
            await found.begin("a", work)
        assert found.began == ["a1", "a2"]
        await found.begin("b", "b1")
        await found.begin("b", "b2")
        assert found.began == ["a1", "a2", "b1"]
        await found.end("b1")
        assert found.began[-1] == "b2"  # "a" stands before it, and has its share
        await found.end("a1")
        assert found.began[-1] == "a3"


async def test_a_place_that_is_left_early_is_given_on_once() -> None:
    turns = Turns(1)
    async with turns.turn("a") as place:
        place.leave()
        place.leave()
        async with asyncio.timeout(5), turns.turn("b"):
            waiting = asyncio.create_task(turns.turn("c").__aenter__())
            await settle()
            assert not waiting.done()
        assert (await waiting) is not None
