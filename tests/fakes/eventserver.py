"""The API server in memory as it treats Events: made once under their names, and nothing but the series changes."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient

from fakes.apiserver import JSON, ApiServer, serving


class EventServer(ApiServer):
    """Refuses what the real one refuses (pkg/apis/core/validation/events.go)."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.faults and (found := self.faults.pop(0)(request)) is not None:
            return found
        body = await request.json()
        path, _, name = request.path.rpartition("/")
        if request.method == "POST":
            return self._make(request.path, body)
        assert request.method == "PATCH"
        there = self.objects.get(path, {}).get(name)
        if there is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return self._change(path, there, body)

    def _make(self, path: str, body: JSON) -> web.Response:
        name = body["metadata"]["name"]
        if name in self.objects.get(path, {}):
            return web.json_response({"kind": "Status", "code": 409, "reason": "AlreadyExists"}, status=409)
        assert len(body["note"].encode()) <= 1024
        assert body["regarding"].get("namespace", "default") == body["metadata"]["namespace"]
        return web.json_response(self.put(path, name, **body), status=201)

    def _change(self, path: str, there: JSON, body: JSON) -> web.Response:
        assert body.keys() <= {"metadata", "series"}
        if body and body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            return web.json_response({"kind": "Status", "code": 409, "reason": "Conflict"}, status=409)
        if body:
            assert body["series"]["count"] >= 2
            there = self.put(path, there["metadata"]["name"], **{**there, "series": body["series"]})
        return web.json_response(there)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that there are, with how often they happened under ``times``."""
        found = [event for kept in self.objects.values() for event in kept.values()]
        return [{**event, "times": event.get("series", {}).get("count", 1)} for event in found]


def event_server() -> AbstractAsyncContextManager[tuple[EventServer, ApiClient]]:
    """The server, and a client of it."""
    return serving(EventServer())
