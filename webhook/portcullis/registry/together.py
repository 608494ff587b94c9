"""Work done at once, and work done aside."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

_Made = TypeVar("_Made")

_AT_ONCE: Final = 128 * 1024
"""Bytes of JSON that are read in less time (about 10 ms) than it is worth to hand them to a thread."""


async def together(work: Iterable[Coroutine[Any, Any, _Made]]) -> Sequence[_Made]:
    """Runs all of ``work`` at once, results in order. The first error cancels the rest and is raised as itself,
    not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return [task.result() for task in tasks]


async def aside(content: bytes | bytearray, read: Callable[[], _Made]) -> _Made:
    """What ``read`` makes of ``content``: in a thread where it is large, since 8 MiB of hostile JSON take half a
    second in which nobody else would be answered."""
    return read() if len(content) <= _AT_ONCE else await asyncio.to_thread(read)
