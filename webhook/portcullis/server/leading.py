"""What one of several replicas is enough for: work that is done by the one that holds a Lease."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from portcullis.errors import ClusterError

LOOKS: Final = 3
"""In the time that the Lease lasts: who holds it renews it so often, and who waits looks so often."""

log = structlog.get_logger(__name__)


class Lease(Protocol):
    """What is asked of cluster.lease.Lease. Raises only ClusterError."""

    @property
    def held_seconds(self) -> float: ...

    @property
    def leader(self) -> str: ...

    async def take(self) -> bool: ...

    async def give_up(self) -> None: ...


class Leading:
    """Does ``work`` for as long as this replica holds the Lease, and gives it up at the end.

    Args:
        work: goes on until it is cancelled; what it raises is logged, and it is begun anew.
        lasts: seconds, of the Lease.
    """

    def __init__(self, *, lease: Lease, work: Callable[[], Awaitable[None]], lasts: float) -> None:
        self._lease = lease
        self._work = work
        self._pause = lasts / LOOKS
        self._task: asyncio.Task[None] | None = None
        self.problem = ""
        """Why the Lease could not be looked at; "" where it could."""

    @property
    def leads(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def leader(self) -> str:
        """The holder of the Lease when it was looked at last, "" for nobody."""
        return self._lease.leader

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._look()
                held = self._lease.held_seconds
                await asyncio.sleep(min(self._pause, held) if held else self._pause)
        finally:
            await self._stop()

    async def _look(self) -> None:
        # Who leads must notice in time that it does no more, also while the API server keeps it waiting.
        patience = self._lease.held_seconds or None
        try:
            async with asyncio.timeout(patience):
                await self._lease.take()
            self.problem = ""
        except (ClusterError, TimeoutError) as error:
            self._fail(error.message if isinstance(error, ClusterError) else "the Lease could not be renewed in time")
        except Exception:  # a fault of ours must not end the looking
            log.exception("lease not looked at")
        if not self._lease.held_seconds:
            await self._rest()
        elif self._task is None or self._task.done():
            log.info("this replica leads")
            self._task = asyncio.create_task(self._do())

    async def _do(self) -> None:
        try:
            await self._work()
        except Exception:
            log.exception("work of the leader failed")

    async def _rest(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            log.info("this replica leads no more", leader=self._lease.leader)

    async def _stop(self) -> None:
        led = self.leads
        await self._rest()
        if led:
            try:
                await self._lease.give_up()
            except ClusterError as error:
                log.warning("lease not given up", problem=error.message)

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("lease not looked at", problem=problem)
        self.problem = problem
