"""Work done at once."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

_Made = TypeVar("_Made")


async def together(work: Iterable[Coroutine[Any, Any, _Made]]) -> Sequence[_Made]:
    """Runs all of ``work`` at once, results in order. The first error cancels the rest and is raised as itself,
    not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return [task.result() for task in tasks]
