"""How fast work in the background goes: so many turns a second, fewer as long as they go wrong, and none in the way of
what somebody waits for."""

import asyncio
from collections.abc import Callable
from typing import Final

from portcullis.ports import Clock

SLOWER: Final = 2.0
"""By which the time between two turns grows with each that went wrong, and shrinks with each that went well."""
POLL_SECONDS: Final = 0.05


class Pace:
    """Turns, one after the other.

    Args:
        per_second: how many there are at most.
        slowest_seconds: between two turns at most, however many went wrong.
    """

    def __init__(self, per_second: float, *, slowest_seconds: float, clock: Clock) -> None:
        self._fastest = 1 / per_second
        self._slowest = max(slowest_seconds, self._fastest)
        self._clock = clock
        self._next = 0.0
        self.seconds = self._fastest
        """Between two turns, now."""

    async def turn(self) -> None:
        """Waits for one's turn. What was not used is lost: nobody may make up for it in a burst."""
        now = self._clock.monotonic()
        at = max(now, self._next)
        self._next = at + self.seconds
        if at > now:
            await asyncio.sleep(at - now)

    def went(self, *, well: bool) -> None:
        """How a turn ended."""
        changed = self.seconds / SLOWER if well else self.seconds * SLOWER
        self.seconds = min(self._slowest, max(self._fastest, changed))


class Courtesy:
    """Lets what somebody waits for go first.

    Args:
        most_seconds: so long at a time, since work that never comes is not done either.
    """

    def __init__(self, *, most_seconds: float, clock: Clock) -> None:
        self.waiting: Callable[[], int] = lambda: 0
        """How many wait now; who knows that assigns it."""
        self._most = most_seconds
        self._clock = clock
        self.seconds = 0.0
        """That went by so far."""

    async def wait(self) -> None:
        """Until nobody waits, or for the longest time."""
        started = self._clock.monotonic()
        while self.waiting() and self._clock.monotonic() - started < self._most:  # noqa: ASYNC110 - a mere count
            await asyncio.sleep(POLL_SECONDS)
        self.seconds += self._clock.monotonic() - started
