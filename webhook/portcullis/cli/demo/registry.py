"""A small OCI registry in memory, on loopback: pull, push, tags, referrers.

It is an ordinary registry without hooks: what ``portcullis demo`` serves its images from, and one of the
registries that the client is tested against. Nothing of it is kept, and it has no access control: it listens on
127.0.0.1 only.

Source: OCI distribution specification 1.1 (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md):
pull, push (one POST and PUT, a POST with digest, or POST, PATCH and PUT), content discovery with the Referrers API.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portcullis.cli.demo.store import INDEX, RepositoryStore, StoreError

MANIFEST_BYTES: Final = 4 * 1024 * 1024
BLOB_BYTES: Final = 256 * 1024 * 1024

_NAME = r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
_REFERENCE = r"(?P<reference>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha(?:256|512):[0-9a-f]{64,128})"
_DIGEST = r"(?P<digest>[A-Za-z0-9_+.-]+:[0-9A-Za-z=_-]+)"

_Handler = Callable[["_Api", Request, dict[str, str]], Awaitable[Response]]


def create_registry(*, referrers_api: bool = True) -> Starlette:
    """The registry as an application.

    Args:
        referrers_api: without it, ``/referrers/`` is 404 and no ``OCI-Subject`` is sent, as registries of
            distribution 1.0 do: clients then keep referrers in the tag ``sha256-<hex>``.
    """
    api = _Api(referrers_api=referrers_api)
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", api.handle, methods=methods)])


@contextlib.asynccontextmanager
async def serve_registry(*, referrers_api: bool = True, port: int = 0) -> AsyncIterator[str]:
    """Serves a new, empty registry on loopback while the context is open; yields ``127.0.0.1:PORT``.

    Args:
        port: 0 takes a free one.
    """
    async with serve_loopback(create_registry(referrers_api=referrers_api), port=port) as host:
        yield host


class _Server(uvicorn.Server):
    """Signals stay with the program that the server runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve_loopback(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Serves any ASGI application on 127.0.0.1 inside the running loop; yields ``127.0.0.1:PORT``."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP; else every answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()  # from here on, connections wait until the server is up
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class _Api:
    """The endpoints over a store per repository."""

    def __init__(self, *, referrers_api: bool) -> None:
        self._referrers_api = referrers_api
        self._repositories: dict[str, RepositoryStore] = {}

    async def handle(self, request: Request) -> Response:
        path = request.url.path
        if path in {"/v2", "/v2/"}:
            return _answer(200, b"{}", "application/json") if request.method in {"GET", "HEAD"} else _unsupported()
        known = False
        for method, pattern, handler in _ENDPOINTS:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            if request.method == method or (method == "GET" and request.method == "HEAD"):
                try:
                    return await handler(self, request, match.groupdict())
                except StoreError as error:
                    return _error(error.status, error.code, error.message)
        return _unsupported() if known else _error(404, "NAME_UNKNOWN", "no such endpoint")

    def _repository(self, name: str) -> RepositoryStore:
        found = self._repositories.get(name)
        if found is None:
            raise StoreError(404, "NAME_UNKNOWN", "repository name not known to registry")
        return found

    async def get_manifest(self, _request: Request, path: dict[str, str]) -> Response:
        manifest = self._repository(path["name"]).manifest(path["reference"])
        headers = {"Docker-Content-Digest": manifest.digest}
        return _answer(200, manifest.content, manifest.media_type, headers)

    async def put_manifest(self, request: Request, path: dict[str, str]) -> Response:
        content = await _body(request, MANIFEST_BYTES)
        store = self._repositories.setdefault(path["name"], RepositoryStore())
        manifest = store.put_manifest(path["reference"], request.headers.get("content-type", ""), content)
        headers = {
            "Location": f"/v2/{path['name']}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        if manifest.subject and self._referrers_api:
            headers["OCI-Subject"] = manifest.subject
        return _answer(201, b"", None, headers)

    async def get_blob(self, _request: Request, path: dict[str, str]) -> Response:
        content = self._repository(path["name"]).blob(path["digest"])
        return _answer(200, content, "application/octet-stream", {"Docker-Content-Digest": path["digest"]})

    async def start_upload(self, request: Request, path: dict[str, str]) -> Response:
        name = path["name"]
        store = self._repositories.setdefault(name, RepositoryStore())
        digest, source = request.query_params.get("mount"), request.query_params.get("from")
        if digest and source in self._repositories and self._repositories[source].has_blob(digest):
            store.put_blob(digest, self._repositories[source].blob(digest))
            return _created_blob(name, digest)
        if digest := request.query_params.get("digest"):
            store.put_blob(digest, await _body(request, BLOB_BYTES))
            return _created_blob(name, digest)
        return _upload(202, name, store.start_upload(), 0)

    async def append_upload(self, request: Request, path: dict[str, str]) -> Response:
        store = self._repository(path["name"])
        start = request.headers.get("content-range", "").partition("-")[0]
        if start and start != str(store.uploaded(path["upload"])):
            raise StoreError(416, "BLOB_UPLOAD_INVALID", "the chunk does not follow the one before")
        size = store.append(path["upload"], await _body(request, BLOB_BYTES))
        return _upload(202, path["name"], path["upload"], size)

    async def finish_upload(self, request: Request, path: dict[str, str]) -> Response:
        store = self._repository(path["name"])
        digest = request.query_params.get("digest", "")
        store.append(path["upload"], await _body(request, BLOB_BYTES))
        store.finish_upload(path["upload"], digest)
        return _created_blob(path["name"], digest)

    async def show_upload(self, _request: Request, path: dict[str, str]) -> Response:
        return _upload(204, path["name"], path["upload"], self._repository(path["name"]).uploaded(path["upload"]))

    async def list_tags(self, request: Request, path: dict[str, str]) -> Response:
        tags = self._repository(path["name"]).tags()
        last, count = request.query_params.get("last", ""), request.query_params.get("n", "")
        shown = [tag for tag in tags if tag > last]
        headers: dict[str, str] = {}
        if count.isdecimal() and int(count) < len(shown):
            shown = shown[: int(count)]
            if shown:
                following = f"/v2/{path['name']}/tags/list?n={count}&last={shown[-1]}"
                headers["Link"] = f'<{following}>; rel="next"'
        return JSONResponse({"name": path["name"], "tags": shown}, headers=headers)

    async def list_referrers(self, request: Request, path: dict[str, str]) -> Response:
        if not self._referrers_api:
            return _error(404, "UNSUPPORTED", "the operation is unsupported")
        store = self._repositories.get(path["name"], RepositoryStore())
        wanted = request.query_params.get("artifactType")
        found = [one for one in store.referrers(path["digest"]) if not wanted or one.get("artifactType") == wanted]
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return JSONResponse(document, media_type=INDEX, headers=headers)


_ENDPOINTS: tuple[tuple[str, re.Pattern[str], _Handler], ...] = (
    ("GET", re.compile(rf"/v2/{_NAME}/manifests/{_REFERENCE}"), _Api.get_manifest),
    ("PUT", re.compile(rf"/v2/{_NAME}/manifests/{_REFERENCE}"), _Api.put_manifest),
    ("GET", re.compile(rf"/v2/{_NAME}/blobs/{_DIGEST}"), _Api.get_blob),
    ("POST", re.compile(rf"/v2/{_NAME}/blobs/uploads/?"), _Api.start_upload),
    ("PATCH", re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]{{32}})"), _Api.append_upload),
    ("PUT", re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]{{32}})"), _Api.finish_upload),
    ("GET", re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]{{32}})"), _Api.show_upload),
    ("GET", re.compile(rf"/v2/{_NAME}/tags/list"), _Api.list_tags),
    ("GET", re.compile(rf"/v2/{_NAME}/referrers/{_DIGEST}"), _Api.list_referrers),
)


async def _body(request: Request, limit: int) -> bytes:
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > limit:
            raise StoreError(413, "SIZE_INVALID", f"the body has more than {limit} bytes")
    return bytes(pieces)


def _answer(status: int, content: bytes, media_type: str | None, headers: dict[str, str] | None = None) -> Response:
    """Starlette leaves the body of HEAD to the server, which drops it and keeps its length."""
    return Response(content, status_code=status, media_type=media_type, headers=headers)


def _upload(status: int, name: str, upload: str, size: int) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/uploads/{upload}", "Range": f"0-{max(size - 1, 0)}"}
    return Response(status_code=status, headers=headers)


def _created_blob(name: str, digest: str) -> Response:
    return Response(
        status_code=201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    )


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status_code=status)


def _unsupported() -> Response:
    return _error(405, "UNSUPPORTED", "the operation is unsupported")
