"""The gate as its own process, and the API server's part of talking to it."""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from portcullis.errors import PortcullisError

START_SECONDS = 60.0
STOP_SECONDS = 15.0
ANSWER_BYTES = 1024 * 1024
LOG_LINES = 20


class DemoError(PortcullisError):
    """The demo cannot go on; says why, with the end of the gate's log where there is one."""

    reason = "demo-failed"


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.asynccontextmanager
async def serving(config: Path, log: Path, health_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs ``portcullis serve`` until the context is left, ready from the start; what it logs goes to ``log``.

    Raises:
        DemoError: it ended, or was not ready in time.
    """
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "portcullis", "serve", "--config", str(config), stdout=stream, stderr=stream
        )
    try:
        await _ready(process, health_url, log)
        yield process
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, health_url: str, log: Path) -> None:
    ended = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while not ended.done():
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{health_url}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise DemoError(f"the gate was not ready within {START_SECONDS:.0f} s\n{tail(log)}") from None
    finally:
        ended.cancel()
    raise DemoError(f"the gate ended with exit code {process.returncode}\n{tail(log)}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:])


class ApiServer:
    """Posts reviews as kube-apiserver does: HTTP/1.1 over TLS that is verified with the CA of the webhook
    configuration (caBundle), ``?timeout=10s``, its own User-Agent.

    Args:
        url: where the webhook is, with its path.
        ca_file: PEM.
    """

    def __init__(self, *, url: str, ca_file: Path) -> None:
        self._url = f"{url}?timeout=10s"
        context = ssl.create_default_context(cafile=str(ca_file))
        self._connector = aiohttp.TCPConnector(ssl=context)
        self._session = aiohttp.ClientSession(connector=self._connector, timeout=aiohttp.ClientTimeout(total=15))

    async def aclose(self) -> None:
        await self._session.close()

    async def post(self, review: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """The response of the AdmissionReview that comes back, and the milliseconds that it took.

        Raises:
            DemoError: what came back does not answer the review.
        """
        body = json.dumps(review).encode() + b"\n"
        headers = {
            "User-Agent": "kube-apiserver-admission",
            "Accept": "application/json, */*",
            "Content-Type": "application/json",
        }
        started = perf_counter()
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                content = await response.content.read(ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(f"the webhook cannot be reached: {error}") from None
        elapsed = (perf_counter() - started) * 1000
        if status != 200:
            raise DemoError(f"the webhook answered HTTP {status}: {content[:500].decode('utf-8', 'replace')}")
        answer = json.loads(content)
        if answer.get("kind") != "AdmissionReview" or answer["response"]["uid"] != review["request"]["uid"]:
            raise DemoError("the webhook's answer is not for this review")
        return answer["response"], elapsed
