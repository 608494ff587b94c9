"""The API server in memory as it treats reports: discovery, selectors, whole objects made, merged and deleted."""

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient

from fakes.apiserver import JSON, ApiServer, serving

POLICY_REPORTS = "/apis/wgpolicyk8s.io/v1alpha2"
OPEN_REPORTS = "/apis/openreports.io/v1alpha1"
PLURALS = {POLICY_REPORTS: "policyreports", OPEN_REPORTS: "reports"}


def place(namespace: str, api: str = POLICY_REPORTS) -> str:
    """The path of the collection."""
    return f"{api}/namespaces/{namespace}/{PLURALS[api]}"


@dataclass
class ReportServer(ApiServer):
    """``served`` are the APIs whose CRDs are there; ``terminating`` are namespaces that take nothing new."""

    served: set[str] = field(default_factory=lambda: {POLICY_REPORTS})
    terminating: set[str] = field(default_factory=set)
    writes: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of what was written."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.faults and (found := self.faults.pop(0)(request)) is not None:
            return found
        if self.forbidden(request):
            return _status(403, "Forbidden")
        if request.path in PLURALS:
            names = [{"name": PLURALS[request.path]}, {"name": f"{PLURALS[request.path]}/status"}]
            known = request.path in self.served
            return web.json_response({"resources": names}) if known else _status(404, "NotFound")
        if not any(request.path.startswith(f"{api}/") for api in self.served):
            return _status(404, "NotFound")
        if request.method == "GET":
            return self._chunk(request)
        self.writes.append((request.method, request.path))
        body = await request.json()
        if request.method == "POST":
            return self._create(request.path, body)
        path, _, name = request.path.rpartition("/")
        there = self.objects.get(path, {}).get(name)
        if there is None:
            return _status(404, "NotFound")
        return self._merge(path, there, body) if request.method == "PATCH" else self._delete(path, there, body)

    def _create(self, path: str, body: JSON) -> web.Response:
        name, namespace = body["metadata"]["name"], path.split("/")[-2]
        if namespace in self.terminating:
            causes = {"causes": [{"reason": "NamespaceTerminating"}]}
            return web.json_response({"kind": "Status", "code": 403, "details": causes}, status=403)
        if name in self.objects.get(path, {}):
            return _status(409, "AlreadyExists")
        return web.json_response(self.put(path, name, **body), status=201)

    def _merge(self, path: str, there: JSON, body: JSON) -> web.Response:
        if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            return _status(409, "Conflict")
        return web.json_response(self.put(path, there["metadata"]["name"], **{**there, **body, **_metadata(there)}))

    def _delete(self, path: str, there: JSON, body: JSON) -> web.Response:
        wanted = body["preconditions"]
        if any(wanted[key] != there["metadata"][key] for key in ("uid", "resourceVersion")):
            return _status(409, "Conflict")
        self.remove(path, there["metadata"]["name"])
        return web.json_response({"kind": "Status", "status": "Success"})

    def _chunk(self, request: web.Request) -> web.Response:
        """A list of one namespace or of all, by a label."""
        key, _, value = request.query["labelSelector"].partition("=")
        api = next(api for api in self.served if request.path.startswith(api))
        paths = [path for path in self.objects if path == request.path or request.path == f"{api}/{PLURALS[api]}"]
        kept = [one for path in sorted(paths) if path.startswith(api) for _, one in sorted(self.objects[path].items())]
        items = [one for one in kept if one["metadata"].get("labels", {}).get(key) == value]
        if "PartialObjectMetadataList" in request.headers["Accept"]:
            items = [{"metadata": one["metadata"]} for one in items]
        # By the last object, not by its place: others may be deleted meanwhile.
        rest = [one for one in items if _key(one) > request.query.get("continue", "")]
        limit = int(request.query["limit"])
        metadata = {"continue": _key(rest[limit - 1])} if limit < len(rest) else {}
        return web.json_response({"metadata": metadata, "items": rest[:limit]})

    def pages(self, namespace: str, api: str = POLICY_REPORTS) -> dict[str, JSON]:
        """The objects of a namespace by name, as they are stored."""
        found: dict[str, JSON] = json.loads(json.dumps(self.objects.get(place(namespace, api), {})))
        return found

    def results(self, namespace: str, api: str = POLICY_REPORTS) -> list[JSON]:
        pages = self.pages(namespace, api)
        return [result for name in sorted(pages) for result in pages[name]["results"]]


def _key(one: JSON) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


def _metadata(there: JSON) -> dict[str, Any]:
    return {"metadata": there["metadata"]}


def _status(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)


def report_server() -> AbstractAsyncContextManager[tuple[ReportServer, ApiClient]]:
    """The server, and a client of it."""
    return serving(ReportServer())
