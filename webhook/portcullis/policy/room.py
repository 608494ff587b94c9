"""How much OPA is given to do at the same time, by size."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class Room:
    """Lets work in while its sizes fit together, in the order of arrival, so that nothing large waits for ever.

    What is larger than the whole room is let in alone.

    Args:
        size: of the room, in the unit of the work.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How much work waits to be let in."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Waits for room and holds it for the length of the block."""
        wanted = min(size, self._size)
        if self._waiting or self._taken + wanted > self._size:
            await self._wait(wanted)
        else:
            self._taken += wanted
        try:
            yield
        finally:
            self._taken -= wanted
            self._admit()

    async def _wait(self, wanted: int) -> None:
        """Returns with the room taken by :meth:`_admit`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._taken -= wanted  # let in and cancelled at once
            else:
                self._waiting.remove((wanted, turn))
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._taken + self._waiting[0][0] <= self._size:
            wanted, turn = self._waiting.popleft()
            self._taken += wanted
            turn.set_result(None)
