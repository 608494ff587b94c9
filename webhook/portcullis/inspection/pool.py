"""The processes that read layers, as the gate sees them: started when there is work, ended when there is none."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

import msgspec

from portcullis.errors import InspectionError, RegistryError
from portcullis.inspection.packing import decode, encode
from portcullis.inspection.turns import Turns
from portcullis.inspection.wire import (
    ABANDON,
    HEAD,
    PIECE_BYTES,
    Answer,
    ImageJob,
    LayerJob,
    Setup,
    framed,
)

_PROGRAM: Final = (sys.executable, "-I", "-m", "portcullis.inspection.worker")
_JOBS: Final = 200
"""After so many a process is replaced, whatever it may have gathered."""
_SLOW: Final = 4
"""Processes for each that works at full speed."""
_IDLE_SECONDS: Final = 60.0
"""How long a process without work is kept; another one takes a tenth of a second to start."""


class _Ended(Exception):
    """The process is no more, or does not keep to the protocol."""


class _Process:
    """One process. After any failure it cannot be used again."""

    def __init__(self, process: asyncio.subprocess.Process, answer_bytes: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._answer_bytes = answer_bytes
        self.jobs = 0

    @classmethod
    async def start(cls, setup: Setup) -> "_Process":
        """Raises InspectionError."""
        try:
            process = await asyncio.create_subprocess_exec(
                *_PROGRAM,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"LC_CTYPE": "C.UTF-8"},
                cwd="/",
            )
        except OSError as error:
            raise InspectionError(f"the process that reads layers cannot be started: {error.strerror}") from error
        self = cls(process, setup.limits.worker_answer_bytes)
        self._stdin.write(framed(encode(setup)))
        return self

    async def layer(self, job: LayerJob, pieces: AsyncGenerator[bytes]) -> Answer:
        """Raises RegistryError from ``pieces``, and _Ended."""
        self.jobs += 1
        answer = asyncio.create_task(self._answer())
        answer.add_done_callback(_retrieved)
        try:
            self._stdin.write(framed(encode(job)))
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        if answer.done():  # nothing more is needed to know that it is bad
                            break
                        await self._send(piece)
            except RegistryError:
                self._stdin.write(HEAD.pack(ABANDON))
                await answer
                raise
            self._stdin.write(HEAD.pack(0))
            return await answer
        except (ConnectionError, OSError) as error:
            raise _Ended from error
        finally:
            answer.cancel()

    async def image(self, job: ImageJob, layers: Sequence[bytes]) -> Answer:
        """Raises _Ended."""
        self.jobs += 1
        try:
            self._stdin.write(framed(encode(job)))
            for content in layers:
                self._stdin.write(framed(content))
                await self._stdin.drain()
            return await self._answer()
        except (ConnectionError, OSError) as error:
            raise _Ended from error

    async def _send(self, piece: bytes) -> None:
        for start in range(0, len(piece), PIECE_BYTES):
            part = piece[start : start + PIECE_BYTES]
            self._stdin.write(HEAD.pack(len(part)))
            self._stdin.write(part)
            await self._stdin.drain()

    async def _answer(self) -> Answer:
        try:
            (length,) = HEAD.unpack(await self._stdout.readexactly(HEAD.size))
            if length > self._answer_bytes:
                raise _Ended
            answer: Answer = decode(await self._stdout.readexactly(length), Answer)
        except (asyncio.IncompleteReadError, msgspec.DecodeError, ConnectionError) as error:
            raise _Ended from error
        return answer

    async def end(self) -> str:
        """Ends it at once; says how it ended by itself, if it did."""
        code = self._process.returncode
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()
        ended = await self._process.wait()
        if code is None and ended == -9:
            return ""
        return f"signal {-ended}" if ended < 0 else f"exit code {ended}"


def _retrieved(answer: asyncio.Task[Answer]) -> None:
    """Where writing fails first, nobody asks for the answer, and that it failed too is no news."""
    if not answer.cancelled():
        answer.exception()


class WorkerPool:
    """Does jobs in processes of their own, ``workers`` at once, by namespace in turn.

    A layer whose bytes come slowly takes no processor. So that two slow registries do not hold up all others, a job
    that is not done after ``worker_turn_seconds`` lets the next one in and goes on beside it. There are never more
    than four times as many processes, and those of one namespace never more than half of them.

    Args:
        setup: limits (``worker_answer_bytes``, ``worker_turn_seconds``) and catalogue.
    """

    def __init__(self, *, workers: int, setup: Setup) -> None:
        self._setup = setup
        self._turns = Turns(workers)
        self._processes = Turns(_SLOW * workers, most=_SLOW * workers // 2)
        self._idle: list[tuple[_Process, asyncio.TimerHandle]] = []
        self._ending: set[asyncio.Task[str]] = set()
        self.failures = 0
        """Processes that ended by themselves."""

    @property
    def waiting(self) -> int:
        """Jobs that wait for a process."""
        return self._processes.waiting + self._turns.waiting

    async def layer(self, job: LayerJob, pieces: AsyncGenerator[bytes], *, namespace: str) -> Answer:
        """Reads a layer; ``pieces`` are asked for when its turn has come, and closed in any case.

        Raises:
            RegistryError: from ``pieces``.
            InspectionError: the process failed.
        """
        async with contextlib.aclosing(pieces), self._process(namespace, job.what) as process:
            return await process.layer(job, pieces)

    async def image(self, job: ImageJob, layers: Sequence[bytes], *, namespace: str) -> Answer:
        """Merges layers, each as a Done of :meth:`layer` gave it.

        Raises:
            InspectionError: the process failed.
        """
        async with self._process(namespace, f"the image {job.image.digest}") as process:
            return await process.image(job, layers)

    async def aclose(self) -> None:
        """Ends all processes."""
        for process, timer in self._idle:
            timer.cancel()
            self._discard(process)
        self._idle.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _process(self, namespace: str, what: str) -> AsyncIterator[_Process]:
        """A process for one job. It is used again only after a job that went well."""
        async with self._processes.turn(namespace), self._turns.turn(namespace) as place:
            process = self._take() or await _Process.start(self._setup)
            seconds = self._setup.limits.worker_turn_seconds
            timer = asyncio.get_running_loop().call_later(seconds, place.leave)
            try:
                yield process
            except RegistryError:
                self._give_back(process)
                raise
            except _Ended as error:
                self.failures += 1
                how = await asyncio.shield(self._discard(process))  # who is cancelled here leaves no process behind
                raise InspectionError(
                    f"the process that reads layers ended while it read {what}" + (f" ({how})" if how else "")
                ) from error
            except BaseException:
                self._discard(process)
                raise
            else:
                self._give_back(process)
            finally:
                timer.cancel()

    def _take(self) -> _Process | None:
        if not self._idle:
            return None
        process, timer = self._idle.pop()
        timer.cancel()
        return process

    def _give_back(self, process: _Process) -> None:
        if process.jobs >= _JOBS:
            self._discard(process)
            return
        timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._retire, process)
        self._idle.append((process, timer))

    def _retire(self, process: _Process) -> None:
        self._idle = [(one, timer) for one, timer in self._idle if one is not process]
        self._discard(process)

    def _discard(self, process: _Process) -> "asyncio.Task[str]":
        task = asyncio.create_task(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task
