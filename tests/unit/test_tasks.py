"""Work done at once, and work done aside."""

import asyncio
import threading

import pytest

from portcullis.tasks import INLINE_BYTES, aside, together

pytestmark = pytest.mark.anyio


class Work:
    """Doubles numbers, after all that runs beside it has begun; counts how many run at once."""

    def __init__(self) -> None:
        self.running = self.most = self.cancelled = 0

    async def double(self, number: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            return number * 2
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@pytest.mark.parametrize(("at_once", "most"), [(None, 7), (3, 3), (1, 1), (100, 7)])
async def test_results_come_in_order_and_no_more_run_than_are_let(at_once: int | None, most: int) -> None:
    work = Work()
    assert await together(range(7), work.double, at_once=at_once) == [0, 2, 4, 6, 8, 10, 12]
    assert work.most == most


async def test_nothing_to_do() -> None:
    assert await together([], Work().double) == []


async def test_the_first_error_is_raised_as_itself_and_ends_the_rest() -> None:
    work = Work()

    async def fail(number: int) -> int:
        if number == 1:
            await asyncio.sleep(0)
            raise KeyError("one")
        return await work.double(number)

    with pytest.raises(KeyError, match="one"):
        await together(range(3), fail)
    assert (work.running, work.cancelled) == (0, 2)


@pytest.mark.parametrize(("size", "inline"), [(0, True), (INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
async def test_large_work_is_done_in_a_thread(size: int, inline: bool) -> None:
    thread = await aside(size, threading.current_thread)
    assert (thread is threading.current_thread()) is inline
