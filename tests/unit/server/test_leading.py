"""Work that one of several replicas does, over a Lease in memory whose time a test moves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from fakes.leases import LASTS, MemoryLease
from portcullis.errors import ClusterError
from portcullis.server.leading import Leading

pytestmark = pytest.mark.anyio


@dataclass
class Work:
    begun: int = 0
    cancelled: int = 0
    fails: bool = False

    async def __call__(self) -> None:
        self.begun += 1
        if self.fails:
            raise RuntimeError("a fault of ours")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def led(lease: MemoryLease, work: Work, test: Callable[[Leading], Awaitable[None]]) -> None:
    leading = Leading(lease=lease, work=work, lasts=LASTS)
    task = asyncio.create_task(leading.run())
    try:
        await test(leading)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_holds_it_works_once_and_gives_it_up_at_the_end() -> None:
    lease, work = MemoryLease(), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: lease.looks > 3)
        assert (work.begun, work.cancelled, leading.leads, leading.leader) == (1, 0, True, "us")

    await led(lease, work, test)
    assert (work.cancelled, lease.given_up) == (1, 1)


async def test_who_does_not_hold_it_waits_and_takes_nothing_from_the_other() -> None:
    lease, work = MemoryLease(free=False), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: lease.looks > 2)
        assert (work.begun, leading.leads, leading.leader) == (0, False, "them")

    await led(lease, work, test)
    assert lease.given_up == 0


async def test_work_ends_when_another_has_it_and_begins_anew_later() -> None:
    lease, work = MemoryLease(), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: leading.leads)
        lease.free = False
        await until(lambda: work.cancelled == 1)
        assert not leading.leads
        lease.free = True
        await until(lambda: work.begun == 2)

    await led(lease, work, test)


async def test_work_goes_on_while_the_lease_cannot_be_renewed_and_ends_with_it() -> None:
    lease, work = MemoryLease(), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: leading.leads)
        lease.error, looks = ClusterError("the API server is away"), lease.looks
        await until(lambda: lease.looks > looks + 2)
        assert (leading.leads, leading.problem) == (True, "the API server is away")
        lease.clock.seconds += LASTS
        await until(lambda: work.cancelled == 1)
        lease.error = None
        await until(lambda: leading.leads)
        assert leading.problem == ""

    await led(lease, work, test)


async def test_an_api_server_that_keeps_the_leader_waiting_does_not_keep_it_at_work() -> None:
    lease, work = MemoryLease(), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: leading.leads)
        lease.hangs, looks = True, lease.looks
        await until(lambda: lease.looks > looks + 1)
        assert leading.problem == "the Lease could not be renewed in time"
        lease.clock.seconds += LASTS
        await until(lambda: work.cancelled == 1)

    await led(lease, work, test)


@pytest.mark.parametrize("error", [ClusterError("away"), RuntimeError("a fault of ours")])
async def test_a_lease_that_cannot_be_looked_at_is_looked_at_again(error: Exception) -> None:
    lease, work = MemoryLease(error=error), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: lease.looks > 2)
        assert not leading.leads
        lease.error = None
        await until(lambda: leading.leads)

    await led(lease, work, test)


async def test_work_that_fails_is_begun_anew_at_the_next_look() -> None:
    lease, work = MemoryLease(), Work(fails=True)

    async def test(_: Leading) -> None:
        await until(lambda: work.begun > 2)

    await led(lease, work, test)


async def test_a_lease_that_cannot_be_given_up_is_left_to_end() -> None:
    lease, work = MemoryLease(), Work()

    async def test(leading: Leading) -> None:
        await until(lambda: leading.leads)
        lease.error = ClusterError("away")

    await led(lease, work, test)
    assert (work.cancelled, lease.given_up) == (1, 1)
