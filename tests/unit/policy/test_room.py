"""Room: sizes that fit together are let in, in order."""

import asyncio
import contextlib

import pytest

from portcullis.policy.room import Room

pytestmark = pytest.mark.anyio


class Work:
    """Pieces of work that hold their room until they are told to end."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, size: int) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, size))
        await self.settle()

    async def _hold(self, name: str, size: int) -> None:
        async with self.room.take(size):
            self.inside.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.inside.remove(name)

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def work() -> Work:
    return Work(Room(10))


async def test_what_fits_is_let_in(work: Work) -> None:
    for name, size in (("a", 4), ("b", 6), ("c", 1)):
        await work.begin(name, size)
    assert work.inside == ["a", "b"]
    assert work.room.waiting == 1
    await work.end("a")
    assert work.inside == ["b", "c"]
    assert work.room.waiting == 0


async def test_the_order_is_kept_so_that_large_work_gets_its_turn(work: Work) -> None:
    for name, size in (("a", 6), ("large", 10), ("small", 1)):
        await work.begin(name, size)
    assert work.inside == ["a"]
    await work.end("a")
    assert work.inside == ["large"]
    await work.end("large")
    assert work.inside == ["small"]


async def test_what_is_larger_than_the_room_is_let_in_alone(work: Work) -> None:
    await work.begin("huge", 1000)
    await work.begin("small", 1)
    assert work.inside == ["huge"]
    await work.end("huge")
    assert work.inside == ["small"]


async def test_whoever_stops_waiting_lets_the_next_in(work: Work) -> None:
    for name, size in (("a", 6), ("large", 10), ("small", 1)):
        await work.begin(name, size)
    await work.cancel("large")
    assert work.inside == ["a", "small"]
    await work.cancel("a", "small")
    await work.begin("all", 10)
    assert work.inside == ["all"]


async def test_being_let_in_and_cancelled_at_once_gives_the_room_back(work: Work) -> None:
    await work.begin("a", 10)
    await work.begin("b", 10)
    work.ends["a"].set()
    for _ in range(3):  # a ends and lets b in, which has not run yet in one of these turns
        await asyncio.sleep(0)
        if not work.inside:
            work.tasks["b"].cancel()
            break
    with contextlib.suppress(asyncio.CancelledError):
        await work.tasks["b"]
    await work.begin("c", 10)
    assert work.inside == ["c"]
