"""`portcullis serve` as its own process, and what an API server does with it: HTTP/1.1 over verified TLS."""

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from fakes.patience import PATIENCE_SECONDS


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def response(self) -> Any:
        """The AdmissionResponse of an AdmissionReview."""
        assert self.status == 200, self.body
        return self.json["response"]


class Connection:
    """One connection, kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, body: bytes, path: str = "/validate?timeout=10s") -> Reply:
        await self.send(head(len(body), path) + body)
        return await self.reply()

    async def reply(self) -> Reply:
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Reply(int(start.split()[1]), headers, body)

    @property
    def tls(self) -> ssl.SSLObject:
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    def close(self) -> None:
        self.writer.close()


def head(length: int, path: str = "/validate?timeout=10s", host: str = "localhost") -> bytes:
    """As kube-apiserver writes it."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {length}\r\n"
        "Accept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
    ).encode()


@dataclass
class WebhookProcess:
    """The running program. ``folder`` holds its files; ``log`` what it wrote to stderr."""

    process: asyncio.subprocess.Process
    folder: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)
    health: tuple[str, int] = ("", 0)

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    def context(self, ca_file: Path | None = None, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(ca_file or self.ca_file))
        context.set_alpn_protocols(list(alpn))
        return context

    @contextlib.asynccontextmanager
    async def connected(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(
            *self.address, ssl=context or self.context(), server_hostname="localhost", limit=2**24
        )
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    async def post(self, body: bytes, path: str = "/validate?timeout=10s") -> Reply:
        """One request on a connection of its own."""
        async with self.connected() as connection:
            return await connection.post(body, path)

    async def get(self, path: str) -> Reply:
        """From the health port."""
        reader, writer = await asyncio.open_connection(*self.health)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        try:
            return await Connection(reader, writer).reply()
        finally:
            writer.close()

    async def until_ready(self, ready: bool = True) -> str:
        """Waits; what ``/readyz?verbose`` says then."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                reply = await self.get("/readyz?verbose")
                if (reply.status == 200) is ready:
                    return reply.body.decode()
                await asyncio.sleep(0.05)

    async def until_logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for so many lines of that event: they come by another way than answers do."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.logged(event)) < count:
                await asyncio.sleep(0.01)
        return self.logged(event)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    async def children(self) -> list[int]:
        """Process ids of what it started."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    async def stop(self, number: int) -> int:
        """Sends the signal; the exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def running_webhook(
    folder: Path, *, environ: Mapping[str, str] | None = None, stdout: IO[bytes] | None = None, **sections: Any
) -> AsyncIterator[WebhookProcess]:
    """Starts the program with a configuration of these sections, certificate and database in ``folder``; what it
    writes on the standard output goes to ``stdout``."""
    server = {"port": 0, "healthPort": 0, "stopDelaySeconds": 0, "tls": {"selfManaged": {"directory": "tls"}}}
    configuration = dict(sections)
    configuration["audit"] = {"database": "sqlite:///audit.db", "pages": {"port": 0}, **sections.get("audit", {})}
    configuration["server"] = {**server, **sections.get("server", {})}
    config = folder / "portcullis.yaml"
    config.write_text(yaml.safe_dump(configuration))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "portcullis", "serve", "--config", str(config)),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
        limit=2**20,
    )
    webhook = WebhookProcess(process, folder)
    serving = asyncio.Event()
    reading = asyncio.create_task(_read(webhook, serving))
    try:
        waiting = asyncio.create_task(serving.wait())
        await asyncio.wait({waiting, reading}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert serving.is_set(), webhook.lines
        yield webhook
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read(webhook: WebhookProcess, serving: asyncio.Event) -> None:
    assert webhook.process.stderr is not None
    async for line in webhook.process.stderr:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"event": "", "text": line.decode(errors="replace")}
        webhook.lines.append(entry)
        if entry.get("event") == "serving":
            webhook.address, webhook.health = _address(entry["address"]), _address(entry["health"])
            serving.set()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
