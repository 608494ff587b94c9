"""How many requests may be in flight to one host: so many, and half of them for blobs that are streamed."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(eq=False)
class _Host:
    all: asyncio.Semaphore
    streams: asyncio.Semaphore


class Places:
    """A host that is slow keeps those waiting who want something of it, and nobody else.

    Args:
        count: requests to one host; a blob that is streamed for minutes must leave room for manifests.
    """

    def __init__(self, *, count: int) -> None:
        self._count = count
        # A host is forgotten with the last request that is in flight to it: hostile names could make any number.
        self._hosts: weakref.WeakValueDictionary[str, _Host] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def take(self, host: str, *, stream: bool) -> AsyncIterator[None]:
        """A place at ``host`` while the context is open; waits for one as long as it takes."""
        found = self._hosts.get(host)
        if found is None:
            found = _Host(asyncio.Semaphore(self._count), asyncio.Semaphore(max(self._count // 2, 1)))
            self._hosts[host] = found
        async with contextlib.AsyncExitStack() as stack:
            if stream:
                await stack.enter_async_context(found.streams)
            await stack.enter_async_context(found.all)
            yield
