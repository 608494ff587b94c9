"""A Lease in memory, whose time a test moves."""

import asyncio
from dataclasses import dataclass, field

from fakes.clock import StandingClock

LASTS = 0.03
"""So that replicas look every 10 ms."""


@dataclass
class MemoryLease:
    """As cluster.lease.Lease. ``free`` says whether it may be taken, ``error`` is raised by every call."""

    clock: StandingClock = field(default_factory=StandingClock)
    free: bool = True
    hangs: bool = False
    error: Exception | None = None
    held_until: float = 0.0
    leader: str = ""
    looks: int = 0
    given_up: int = 0

    @property
    def held_seconds(self) -> float:
        return max(0.0, self.held_until - self.clock.seconds)

    async def take(self) -> bool:
        self.looks += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.held_until = self.clock.seconds + LASTS if self.free else 0.0
        self.leader = "us" if self.free else "them"
        return self.free

    async def give_up(self) -> None:
        self.given_up += 1
        if self.error is not None:
            raise self.error
