"""The webhook configuration of a cluster, in memory; an API server with Secrets, on loopback."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from portcullis.cluster.certificatestate import Content, Stored
from portcullis.cluster.registration import Registration, Written, path_of
from portcullis.errors import ClusterError
from portcullis.times import rfc3339

WEBHOOK = "gate.portcullis.dev"


@dataclass
class MemoryConfigurations:
    """As cluster.registration.WebhookConfigurations, over one object or none. ``error`` is raised by every call,
    ``written`` counts the changes."""

    found: Registration | None = field(default_factory=lambda: Registration("uid-1", {WEBHOOK: b""}, {}))
    error: ClusterError | None = None
    written: int = 0

    async def read(self) -> Registration | None:
        if self.error is not None:
            raise self.error
        return self.found

    async def write(self, found: Registration, written: Written) -> Registration | None:
        if self.error is not None:
            raise self.error
        if self.found is None or (self.found.uid, self.found.version) != (found.uid, found.version):
            return None
        self.written += 1
        names, at = self.found.ca_bundles, written.stopped_at
        self.found = replace(
            self.found,
            ca_bundles=names if written.ca_bundle is None else dict.fromkeys(names, written.ca_bundle),
            stopped=dict.fromkeys(names, rfc3339(at, "seconds")) if at is not None else {},
            paths={
                webhook: path_of(webhook, written.segment) if written.segment else path
                for webhook, path in self.found.paths.items()
            },
            owners=frozenset({written.owner.uid}) if written.owner is not None else frozenset(),
            version=str(self.written),
        )
        return self.found


@dataclass
class MemoryStore:
    """As cluster.sharedsecret.SharedSecret. ``error`` is raised by every call, ``written`` counts the changes."""

    content: Content = field(default_factory=dict)
    rotate: str = ""
    error: ClusterError | None = None
    written: int = 0

    async def read(self) -> Stored:
        if self.error is not None:
            raise self.error
        return Stored(self.content, self.rotate, self.content)

    async def write(self, stored: Stored, content: Content) -> Stored | None:
        if self.error is not None:
            raise self.error
        if stored.found is not self.content:
            return None
        self.written += 1
        self.content = dict(content)
        return await self.read()


class SecretServer:
    """Answers for Secrets as an API server does; ``asked`` are those that were asked for, ``namespace/name``."""

    def __init__(self, runner: web.AppRunner) -> None:
        self.asked: list[str] = []
        self._runner = runner

    async def stop(self) -> None:
        await self._runner.cleanup()


@asynccontextmanager
async def serving_secrets(
    secrets: Mapping[str, Mapping[str, str | bytes]], *, status: int = 200, answer: Any = None, silent: bool = False
) -> AsyncIterator[tuple[ApiClient, SecretServer]]:
    """A client of a server that has these Secrets by ``namespace/name``.

    Args:
        status, answer: of every answer, in place of what is asked for; bytes are sent as they are.
        silent: it never answers.
    """

    async def get(request: web.Request) -> web.Response:
        place = f"{request.match_info['namespace']}/{request.match_info['name']}"
        server.asked.append(place)
        if silent:
            await ended.wait()
        if isinstance(answer, bytes):
            return web.Response(body=answer, status=status)
        if answer is not None or status != 200:
            return web.json_response(answer, status=status)
        if place not in secrets:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        values = {key: value.encode() if isinstance(value, str) else value for key, value in secrets[place].items()}
        data = {key: base64.b64encode(value).decode() for key, value in values.items()}
        return web.json_response({"kind": "Secret", "apiVersion": "v1", "data": data})

    ended = asyncio.Event()
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/{namespace}/secrets/{name}", get)
    runner = web.AppRunner(app)
    await runner.setup()
    server = SecretServer(runner)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as client:
            yield client, server
    finally:
        ended.set()
        await runner.cleanup()
