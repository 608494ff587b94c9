"""OPA as a child process: short commands, and one server on a unix socket.

Whatever happens to us, the children end: each is started through a few lines of Python that ask the kernel to
kill it when its parent dies (prctl(2), PR_SET_PDEATHSIG, kept across execve), so that even ``kill -9`` leaves no
OPA behind. That runs in the child's own fresh interpreter and not between fork and exec, where a program with
threads must not run Python. Children get no environment but what is set here: no tokens, no proxies.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from portcullis.errors import EngineMalformed, EngineUnavailable
from portcullis.policy.client import Destination, OpaClient
from portcullis.text import clean

# argv: the parent's process id, then the program and its arguments. 1 is PR_SET_PDEATHSIG. The signal is tied to
# the thread that started the child: the event loop's, which lives as long as anybody could use the child. LC_CTYPE
# is what Python itself adds to an environment without a locale (PEP 538).
_LEASH = """
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != int(sys.argv[1]):
    os._exit(71)
os.environ.pop("LC_CTYPE", None)
os.execve(sys.argv[2], sys.argv[2:], os.environ)
"""

KEPT_OUTPUT = 16 * 1024
"""Bytes of a server's last words that are kept for messages."""

CAPABILITIES_BYTES = 4 * 1024 * 1024

SOCKET_PATH_CHARS = 100
"""sun_path holds 108 bytes (unix(7))."""

STOP_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    stdout: bytes
    stderr: bytes


async def run_opa(
    binary: Path,
    arguments: Sequence[str],
    *,
    seconds: float,
    output_bytes: int,
    program: str = "opa",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Completed:
    """Runs ``opa <arguments>``, or another ``program`` of its kind, to its end.

    Args:
        environment: variables that it gets beside TZ.

    Raises:
        EngineUnavailable: it cannot be started or does not end in ``seconds``.
        EngineMalformed: it writes more than ``output_bytes``.
    """
    process = await _spawn(binary, arguments, environment)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await asyncio.gather(
                _bounded(process.stdout, output_bytes), _bounded(process.stderr, output_bytes)
            )
            return Completed(await process.wait(), stdout, stderr)
    except TimeoutError as error:
        raise EngineUnavailable(f"`{program} {arguments[0]}` did not end in {seconds:g} s") from error
    finally:
        await _end(process, signal.SIGKILL)
        # A stream that nobody reads to its end keeps its pipe open.
        await asyncio.gather(_emptied(process.stdout), _emptied(process.stderr))


async def own_capabilities(binary: Path, seconds: float) -> dict[str, Any]:
    """What OPA itself can do, as ``opa capabilities --current`` tells.

    Raises:
        EngineUnavailable, EngineMalformed: it does not tell, or not within ``seconds``.
    """
    done = await run_opa(binary, ("capabilities", "--current"), seconds=seconds, output_bytes=CAPABILITIES_BYTES)
    try:
        return msgspec.json.decode(done.stdout, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        said = clean(done.stderr.decode("utf-8", "replace"), 300)
        raise EngineMalformed(f"`opa capabilities` ended with status {done.code}: {said}") from error


class OpaServer:
    """One ``opa run --server`` over one bundle directory. Started once; a new one is made for each start.

    Args:
        binary: OPA.
        bundle: the directory that it loads; it owns the root ``portcullis``, so that nobody who reaches the
            socket can replace what is judged by.
        socket: where it listens; in a directory that only we can enter.
        memory_bytes: GOMEMLIMIT, at which Go collects garbage harder. Processors are not limited: Go follows
            the cgroup by itself.
        garbage_percent: GOGC: by how much the heap may grow before garbage is collected; 0 is Go's own, 100.
    """

    def __init__(
        self, *, binary: Path, bundle: Path, socket: Path, memory_bytes: int, garbage_percent: int = 0
    ) -> None:
        self._binary = binary
        self._bundle = bundle
        self._socket = socket
        self._environment = {"GOMEMLIMIT": str(memory_bytes)} if memory_bytes else {}
        if garbage_percent:
            self._environment["GOGC"] = str(garbage_percent)
        self._process: asyncio.subprocess.Process | None = None
        self._drains: list[asyncio.Task[None]] = []
        self._words = bytearray()
        self.client = OpaClient(Destination(socket=socket))

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    async def start(self, seconds: float) -> None:
        """Returns once it answers.

        Raises:
            EngineUnavailable: it cannot be started, ends, or does not answer in ``seconds``.
        """
        if len(os.fsencode(self._socket)) > SOCKET_PATH_CHARS:
            raise EngineUnavailable(
                f"the path of OPA's socket is too long: {self._socket} (set TMPDIR to a shorter one)"
            )
        arguments = [
            *("run", "--server", "--addr", f"unix://{self._socket}", "--unix-socket-perm", "600"),
            *("--bundle", str(self._bundle), "--skip-version-check", "--log-level", "error"),
            *("--shutdown-grace-period", "1"),
        ]
        self._process = await _spawn(self._binary, arguments, self._environment)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            self._drains.append(asyncio.create_task(self._drain(stream)))
        try:
            async with asyncio.timeout(seconds):
                await self.client.start()
                while not await self.client.healthy():
                    if self._process.returncode is not None:
                        raise EngineUnavailable(
                            f"OPA ended with status {self._process.returncode}: {self._last_words()}"
                        )
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            await self.stop()
            raise EngineUnavailable(f"OPA did not answer in {seconds:g} s: {self._last_words()}") from error
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> str:
        """Waits until it ends; why, in words."""
        assert self._process is not None
        code = await self._process.wait()
        return f"OPA ended with status {code}: {self._last_words()}"

    async def stop(self) -> None:
        """Ends it and its connections: asks first, then insists. May be called at any time, also again."""
        await self.client.aclose()
        if self._process is not None:
            await _end(self._process, signal.SIGTERM)
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)
        self._drains.clear()

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(4096):
            self._words += piece
            del self._words[:-KEPT_OUTPUT]

    def _last_words(self) -> str:
        return clean(self._words.decode("utf-8", "replace"), 500) or "it said nothing"


async def _spawn(binary: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), str(binary)),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"TZ": "UTC", **environment},
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, and OPA ends after us
        )
    except OSError as error:
        raise EngineUnavailable(f"{binary} cannot be started: {error.strerror}") from error


async def _bounded(stream: asyncio.StreamReader, limit: int) -> bytes:
    content = bytearray()
    while piece := await stream.read(65536):
        content += piece
        if len(content) > limit:
            raise EngineMalformed(f"the program wrote more than {limit} bytes")
    return bytes(content)


async def _emptied(stream: asyncio.StreamReader) -> None:
    """What a program that has ended left in its pipe is read and forgotten."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            while await stream.read(65536):
                pass


async def _end(process: asyncio.subprocess.Process, first: signal.Signals) -> None:
    """Ends the process group that the child leads, and waits for the child."""
    for sign in (first, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
