"""The clock of the running program."""

import time
from datetime import UTC, datetime


class SystemClock:
    """A Clock. ``monotonic`` is CLOCK_MONOTONIC, on which the event loops of asyncio and uvloop count as well."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
