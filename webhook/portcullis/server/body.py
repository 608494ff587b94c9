"""Reads the body of a review within bounds of bytes, time, and bytes of all reviews together."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from portcullis.limits import Limits
from portcullis.server.http import Receive


class Ending(Enum):
    """How the reading of a body ended."""

    WHOLE = auto()
    TOO_LARGE = auto()
    LATE = auto()
    CROWDED = auto()
    """The bodies of all reviews together would cross their bound."""
    GONE = auto()
    """The client has closed the connection."""


@dataclass(frozen=True, slots=True)
class Body:
    """``content`` is all of it if WHOLE, else at most the first ``limits.review_head_bytes``, which is where the
    uid stands. ``unread`` says that more of it may still come."""

    ending: Ending
    content: bytes
    unread: bool = False


class Budget:
    """Bytes that are held for all reviews together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, size: int, share: float) -> bool:
        """False if that would be over ``share`` of the limit; then nothing is taken."""
        if self.held + size > self.limit * share:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        self.held -= size


class BodyReader:
    """Reads one body. What it took from the budget is given back by :meth:`release`."""

    def __init__(self, *, receive: Receive, limits: Limits, budget: Budget, share: float) -> None:
        self._receive = receive
        self._limits = limits
        self._budget = budget
        self._share = share
        self._pieces: list[bytes] = []
        self._size = 0
        self._held = 0

    async def read(self, deadline: float) -> Body:
        """Until the event loop's time ``deadline``. A body over its limit is read to its end all the same, up to
        twice the limit, and thrown away: a client that still writes would not see the answer."""
        ending = Ending.LATE
        unread = True
        try:
            async with asyncio.timeout_at(deadline):
                ending, unread = await self._read()
        except TimeoutError:
            if self._size > self._limits.review_bytes:
                ending = Ending.TOO_LARGE
        content = b"".join(self._pieces)
        return Body(ending, content if ending is Ending.WHOLE else content[: self._limits.review_head_bytes], unread)

    def release(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0
        self._pieces.clear()

    async def _read(self) -> tuple[Ending, bool]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return Ending.GONE, False
            piece: bytes = message.get("body", b"")
            more: bool = message.get("more_body", False)
            self._size += len(piece)
            if self._size > self._limits.review_bytes:
                self._keep_head(piece)
                if not more or self._size > 2 * self._limits.review_bytes:
                    return Ending.TOO_LARGE, more
                continue
            if not self._budget.take(len(piece), self._share):
                return Ending.CROWDED, more
            self._held += len(piece)
            if piece:
                self._pieces.append(piece)
            if not more:
                return Ending.WHOLE, False

    def _keep_head(self, piece: bytes) -> None:
        """Of what is too large only the beginning is of use."""
        room = self._limits.review_head_bytes
        head = b"".join(self._pieces)[:room]
        self.release()
        self._pieces.append(head + piece[: room - len(head)])
