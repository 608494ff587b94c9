"""Log lines that anybody can cause as often as he likes, and that are therefore written once a minute at most."""

from collections.abc import Callable
from typing import Final

from portcullis.ports import Clock

MINUTE: Final = 60.0


class Seldom:
    """One such line.

    Args:
        say: writes it, with what is to be said.
    """

    def __init__(self, say: Callable[..., object], *, clock: Clock, seconds: float = MINUTE) -> None:
        self._say = say
        self._clock = clock
        self._seconds = seconds
        self._next = clock.monotonic()
        self._unsaid = 0

    def __call__(self, **fields: object) -> None:
        """Writes the line, and how often it was left out since the last one."""
        now = self._clock.monotonic()
        if now < self._next:
            self._unsaid += 1
            return
        self._next = now + self._seconds
        unsaid, self._unsaid = self._unsaid, 0
        self._say(**fields, **({"left_out": unsaid} if unsaid else {}))
