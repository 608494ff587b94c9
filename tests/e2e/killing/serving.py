"""``portcullis serve`` as many processes one after another, and clients that ask it for decisions all the time."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fakes.reviews import pod, review
from fakes.webhook import Connection

CLIENTS = 16
SEGMENT = "an-unguessable-word-0001"
"""The clients are the API server, as far as the webhook can tell."""
START_SECONDS = 180

POLICY = """# METADATA
# title: Names do not begin with bad
# description: So that some reviews are refused.
# custom: {severity: low, mode: deny}
package portcullis.policies.bad_name

import rego.v1

deny contains {"msg": "the name begins with bad", "fix": "choose another"} if startswith(input.workload.name, "bad")
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told."""

    decision: str
    allowed: bool
    code: int


@dataclass(slots=True)
class Told:
    """The answers that clients have received, by the uid of the review. ``refused`` are those that were answered 503
    because nothing could be recorded; ``asked`` are all uids that were sent."""

    answers: dict[str, Answer] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Server:
    """One process: the leader of its group."""

    pid: int
    folder: Path
    log: Path

    async def address(self) -> tuple[str, int]:
        """Waits until it serves; where."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                for line in self.lines():
                    if line.get("event") == "serving":
                        host, _, port = line["address"].rpartition(":")
                        return host, int(port)
                await asyncio.sleep(0.01)

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of its log."""
        text = self.log.read_text() if self.log.exists() else ""
        whole = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [json.loads(line) for line in whole if line.startswith("{")]

    def children(self) -> list[int]:
        with contextlib.suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@dataclass(slots=True)
class Forker:
    """Starts the servers; there is one at a time."""

    process: asyncio.subprocess.Process
    folder: Path
    running: Server | None = None

    async def start(self, name: str) -> Server:
        assert self.process.stdin is not None
        log = self.folder / f"{name}.log"
        self.process.stdin.write(f"{log}\n".encode())
        self.running = Server(int((await self._line()).removeprefix("child ")), self.folder, log)
        return self.running

    async def ended(self) -> int:
        """Waits for the end of the server: its exit code, or the negative number of the signal that killed it."""
        async with asyncio.timeout(START_SECONDS):
            code = int((await self._line()).removeprefix("ended "))
        self.running = None
        return code

    async def _line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode().strip()
        assert line, "the forking program has ended"
        return line


@contextlib.asynccontextmanager
async def forking(folder: Path, **sections: Any) -> AsyncIterator[Forker]:
    """For servers with a configuration of these sections, one small policy, and all their files in ``folder``."""
    policies = folder / "policies"
    policies.mkdir()
    (policies / "bad_name.rego").write_text(POLICY)
    configuration: dict[str, Any] = {
        "server": {
            "port": 0,
            "healthPort": 0,
            "stopDelaySeconds": 0,
            "pathSegment": SEGMENT,
            "tls": {"selfManaged": {"directory": "tls"}},
        },
        "audit": {"database": "sqlite:///audit.db"},
        "policies": {"builtin": False, "folders": ["policies"]},
        **sections,
    }
    configuration["audit"] = {"pages": {"enabled": False}, **configuration["audit"]}
    config = folder / "portcullis.yaml"
    config.write_text(yaml.safe_dump(configuration))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("forking.py")), str(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    forker = Forker(process, folder)
    try:
        yield forker
    finally:
        if forker.running is not None:
            forker.running.signal(signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def load(server: Server, name: str, told: Told) -> AsyncIterator[None]:
    """Clients that ask one review after another, until the server is gone or the block ends.

    Args:
        name: how the uids begin: r, the number of the round, and more after a dash.
    """
    address = await server.address()
    context = ssl.create_default_context(cafile=str(server.folder / "tls" / "ca.crt"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_client(f"{name}-c{number}", address, context, told)) for number in range(CLIENTS)]
        yield
        for task in tasks:
            task.cancel()


async def _client(name: str, address: tuple[str, int], context: ssl.SSLContext, told: Told) -> None:
    with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost", limit=2**20)
        connection = Connection(reader, writer)
        try:
            for number in itertools.count():
                uid = f"{name}-{number}"
                told.asked.add(uid)
                reply = await connection.post(_body(uid, number), f"/{SEGMENT}/validate?timeout=10s")
                response = reply.response
                assert response["uid"] == uid
                status = response.get("status", {})
                if status.get("code") == 503:
                    assert status["message"].startswith("[audit-unavailable]")
                    told.refused.add(uid)
                    continue
                decision = response["auditAnnotations"]["decision-id"]
                assert response["allowed"] or decision in status["message"]
                told.answers[uid] = Answer(decision, response["allowed"], status.get("code", 200))
                if reply.headers.get("connection") == "close":
                    return
        finally:
            writer.close()


def _body(uid: str, number: int) -> bytes:
    """Every third is refused, every fifth a dry run; each has a document of its own."""
    name = f"bad-{uid}" if number % 3 == 2 else uid
    judged = pod("registry.example/web:1")
    judged["metadata"]["name"] = name
    return json.dumps(review(judged, uid=uid, name=name, dryRun=number % 5 == 4)).encode()
