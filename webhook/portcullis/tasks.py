"""Work done at once, and work done aside."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

INLINE_BYTES = 128 * 1024
"""What is read and verified on the event loop, in 10 ms at the very most; it is not worth to hand it to a thread."""


async def together(
    items: Sequence[_Item], work: Callable[[_Item], Awaitable[_Made]], *, at_once: int | None = None
) -> Sequence[_Made]:
    """``work`` over ``items``, ``at_once`` of them at a time (None: all), results in order. The first error cancels
    the rest and is raised as itself, not in a group."""
    places = asyncio.Semaphore(len(items) if at_once is None else at_once)

    async def one(item: _Item) -> _Made:
        async with places:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return [task.result() for task in tasks]


async def aside(size: int, work: Callable[[], _Made]) -> _Made:
    """What ``work`` makes of ``size`` bytes: in a thread where they are many, since 8 MiB of hostile JSON take half a
    second in which nobody else would be answered."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)
