"""Places that are shared out in turn, so that nobody with much to do keeps the others waiting."""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator


class Place:
    """A place that somebody has. It may be left before the work is done."""

    def __init__(self, turns: "Turns", name: str) -> None:
        self._turns: Turns | None = turns
        self._name = name

    def leave(self) -> None:
        """Lets the next one in; done again, it changes nothing."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.left(self._name)


class Turns:
    """``places`` things may be done at once. Who waits is served by name in turn, each name one at a time: a
    namespace with a hundred new images delays another one's single image by one turn, not by a hundred.

    Args:
        places: at least 1.
        most: places that one name may have at once; None for all of them.
    """

    def __init__(self, places: int, most: int | None = None) -> None:
        self._free = places
        self._most = places if most is None else most
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Place]:
        """Waits for a place and holds it for the length of the block, or until it is left."""
        if self._free and self._held[name] < self._most:
            self._free -= 1
            self._held[name] += 1
        else:
            await self._wait(name)
        place = Place(self, name)
        try:
            yield place
        finally:
            place.leave()

    def left(self, name: str) -> None:
        """A place of that name is free again."""
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]
        self._free += 1
        self._serve()

    async def _wait(self, name: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.left(name)  # served and cancelled at once
            else:
                self._withdraw(name, turn)
            raise

    def _withdraw(self, name: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[name]
        queue.remove(turn)
        if not queue:
            del self._waiting[name]

    def _serve(self) -> None:
        """Lets in the first of the name whose turn it is; that name then stands last."""
        for name, queue in self._waiting.items():
            if self._held[name] >= self._most:
                continue
            turn = queue.popleft()
            if queue:
                self._waiting.move_to_end(name)
            else:
                del self._waiting[name]
            self._free -= 1
            self._held[name] += 1
            turn.set_result(None)
            return
