"""Threads for blocking work that coroutines wait for."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """A fixed number of threads that run jobs in the order in which they were given.

    They are daemon threads, unlike those of a ThreadPoolExecutor, which the interpreter waits for when it ends: a
    disk that hangs must not keep the program from stopping.
    """

    def __init__(self, *, name: str, threads: int = 1) -> None:
        self._name = name
        self._threads = threads
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started: list[threading.Thread] = []
        self._closed = False

    async def run(self, job: Callable[[], T]) -> T:
        """The result of ``job``, or what it raises. A job that has begun goes on when the caller is cancelled."""
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        if not self._started:
            for number in range(self._threads):
                thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
                thread.start()
                self._started.append(thread)
        future: Future[T] = Future()
        self._jobs.put(lambda: _fulfil(future, job))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Lets the threads end after the jobs given so far; does not wait."""
        if not self._closed:
            self._closed = True
            for _ in self._started:
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _fulfil(future: "Future[T]", job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)
