"""Threads for blocking work."""

import asyncio
import subprocess
import sys
import threading
from functools import partial

import pytest

from portcullis.audit.workers import Workers

pytestmark = pytest.mark.anyio


async def test_one_thread_runs_jobs_in_order_and_returns_their_results() -> None:
    workers = Workers(name="test")
    order: list[int] = []

    def job(number: int) -> str:
        order.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(workers.run(partial(job, number)) for number in range(50)))
    workers.close()
    assert order == list(range(50))
    assert set(names) == {"test-0"}


async def test_what_a_job_raises_is_raised() -> None:
    workers = Workers(name="test")
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0)
    assert await workers.run(lambda: "goes on") == "goes on"
    workers.close()


async def test_a_job_that_has_begun_outlives_its_caller() -> None:
    workers = Workers(name="test")
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        go.wait(30)
        done.set()

    caller = asyncio.create_task(workers.run(job))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    caller.cancel()
    await asyncio.wait({caller})
    go.set()
    await workers.run(lambda: None)
    assert done.is_set()
    workers.close()


async def test_closed_workers_take_no_jobs() -> None:
    workers = Workers(name="test")
    workers.close()
    with pytest.raises(RuntimeError, match="closed"):
        await workers.run(lambda: None)


def test_a_job_that_hangs_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, time
from portcullis.audit.workers import Workers
async def main():
    job = asyncio.create_task(Workers(name="hangs").run(lambda: time.sleep(600)))
    await asyncio.wait({job}, timeout=0.01)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
