"""An API server in memory, on loopback: lists in pages, watches with bookmarks, patches, events; and its faults.

It keeps objects of any resource by path, numbers every change, and forgets old numbers (410) when it is told to.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

JSON = dict[str, Any]
Fault = Callable[[web.Request], web.StreamResponse | None]


Server = TypeVar("Server", bound="ApiServer")


@dataclass
class ApiServer:
    """Paths are those of collections: ``/api/v1/namespaces``, ``/api/v1/namespaces/a/configmaps``."""

    objects: dict[str, dict[str, JSON]] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    made: list[tuple[str, JSON]] = field(default_factory=list)
    """What was posted, with its path."""
    faults: list[Fault] = field(default_factory=list)
    """Each is asked once, in order, before a request is answered; what it gives is the answer."""
    version: int = 1
    oldest: int = 0
    """Versions below are forgotten."""
    history: list[tuple[int, str, str, JSON]] = field(default_factory=list)
    watches: list[tuple[str, asyncio.Queue[bytes | None]]] = field(default_factory=list)
    forbidden: Callable[[web.Request], bool] = lambda _: False
    """What RBAC does not allow."""

    def put(self, path: str, name: str, **content: Any) -> JSON:
        """Makes or changes an object; ``content`` beside its metadata, which may be given too."""
        self.version += 1
        kept = self.objects.setdefault(path, {})
        kind = "MODIFIED" if name in kept else "ADDED"
        parts = path.split("/")
        namespace = {"namespace": parts[parts.index("namespaces") + 1]} if parts[-2:-1] != ["v1"] else {}
        own = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(self.version), **namespace}
        kept[name] = {**content, "metadata": {**content.get("metadata", {}), **own}}
        self._tell(kind, path, kept[name])
        return kept[name]

    def remove(self, path: str, name: str) -> None:
        self.version += 1
        gone = self.objects[path].pop(name)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", path, gone)

    def bookmark(self, path: str) -> None:
        self.version += 1
        self.send(path, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}})

    def send(self, path: str, event: JSON | bytes) -> None:
        """A line to every watch of ``path``: an event, or these bytes."""
        line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for watched, queue in self.watches:
            if watched == path:
                queue.put_nowait(line)

    def cut(self) -> None:
        """Ends every watch in the middle of nothing."""
        for _, queue in self.watches:
            queue.put_nowait(None)

    def forget(self) -> None:
        """No watch may begin at a version of before."""
        self.version += 1
        self.oldest = self.version
        self.history.clear()

    def _tell(self, kind: str, path: str, found: JSON) -> None:
        self.history.append((self.version, path, kind, json.loads(json.dumps(found))))
        self.send(path, {"type": kind, "object": found})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.faults and (found := self.faults.pop(0)(request)) is not None:
            return found
        path = request.path
        if self.forbidden(request):
            return web.json_response({"kind": "Status", "code": 403}, status=403)
        if request.method == "POST":
            self.made.append((path, await request.json()))
            return web.json_response(self.made[-1][1], status=201)
        if path in self.objects or path.rpartition("/")[0] not in self.objects:
            return await self._watch(request) if "watch" in request.query else self._list(request)
        collection, _, name = path.rpartition("/")
        if name not in self.objects[collection]:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if request.method == "PATCH":
            self._patch(collection, name, await request.json())
        if request.method == "PUT":
            wanted = await request.json()
            if wanted["metadata"]["resourceVersion"] != self.objects[collection][name]["metadata"]["resourceVersion"]:
                return web.json_response({"kind": "Status", "code": 409, "reason": "Conflict"}, status=409)
            self.put(collection, name, **wanted)
        return web.json_response(self.objects[collection][name])

    def _patch(self, path: str, name: str, patch: JSON) -> None:
        """A merge patch of metadata's maps."""
        found = self.objects[path][name]
        metadata = dict(found["metadata"])
        for key, values in patch.get("metadata", {}).items():
            if isinstance(values, dict):
                merged = {**metadata.get(key, {}), **values}
                metadata[key] = {word: value for word, value in merged.items() if value is not None}
        self.put(path, name, **{**found, "metadata": metadata})

    def _list(self, request: web.Request) -> web.Response:
        kept = sorted(self.objects.get(request.path, {}).items())
        items = [found for _, found in kept if _selected(request, found)]
        start, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "500"))
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": items[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if version < self.oldest:
            gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        watch = (request.path, queue)
        self.watches.append(watch)
        try:
            for number, path, kind, found in self.history:
                if number > version and path == request.path and _selected(request, found):
                    await response.write(json.dumps({"type": kind, "object": found}).encode() + b"\n")
            while (line := await queue.get()) is not None:
                if "fieldSelector" not in request.query or _selected(request, json.loads(line)["object"]):
                    await response.write(line)
        finally:
            self.watches.remove(watch)
        if request.transport is not None:
            request.transport.abort()
        return response


def _selected(request: web.Request, found: JSON) -> bool:
    """By fields, as ``type=a`` and ``metadata.name=b``."""
    wanted = request.query.get("fieldSelector", "")
    if not wanted:
        return True
    path, _, value = wanted.partition("=")
    place: Any = found
    for word in path.split("."):
        place = place.get(word, {})
    return bool(place == value)


def api_server() -> AbstractAsyncContextManager[tuple[ApiServer, ApiClient]]:
    """The server, and a client of it."""
    return serving(ApiServer())


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[tuple[Server, ApiClient]]:
    """``server``, and a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as client:
            yield server, client
    finally:
        server.cut()
        await runner.cleanup()


def watched(request: web.Request) -> bool:
    return "watch" in parse_qs(urlsplit(str(request.url)).query)
