"""Places that are shared out in turn, so that nobody with much to do keeps the others waiting."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator


class Turns:
    """``places`` things may be done at once. Who waits is served by name in turn, each name one at a time: a
    namespace with a hundred new images delays another one's single image by one turn, not by a hundred.

    Args:
        places: at least 1.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Waits for a place and holds it for the length of the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(name)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, name: str) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()  # served and cancelled at once
            else:
                self._leave(name, place)
            raise

    def _leave(self, name: str, place: asyncio.Future[None]) -> None:
        queue = self._waiting[name]
        queue.remove(place)
        if not queue:
            del self._waiting[name]

    def _pass_on(self) -> None:
        """The place goes to the first of the name whose turn it is; that name then stands last."""
        if not self._waiting:
            self._free += 1
            return
        name, queue = next(iter(self._waiting.items()))
        place = queue.popleft()
        if queue:
            self._waiting.move_to_end(name)
        else:
            del self._waiting[name]
        place.set_result(None)
