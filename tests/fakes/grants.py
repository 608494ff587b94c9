"""Objects BreakGlass, and an API server in another thread that has them, for commands that run their own loop."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from fakes.apiserver import ApiServer, serving
from portcullis.times import rfc3339

EVERYWHERE = "/apis/portcullis.dev/v1/breakglasses"
REASON = "the registry is down, order 4711"


def grant(*, ago: float = 0.0, hours: float = 2.0, **spec: Any) -> dict[str, Any]:
    """An object without its name: made ``ago`` hours before now, for ``hours``; ``spec`` replaces, None takes away."""
    created = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=ago)
    said = {
        "policies": ["image-user"],
        "images": ["registry.example/acme/**"],
        "reason": REASON,
        "expires": rfc3339(created + timedelta(hours=hours)),
        **spec,
    }
    return {
        "apiVersion": "portcullis.dev/v1",
        "kind": "BreakGlass",
        "metadata": {"creationTimestamp": rfc3339(created)},
        "spec": {key: value for key, value in said.items() if value is not None},
    }


@dataclass
class GrantServer(ApiServer):
    """Gives what is made its time, as the API server does. ``warning`` is what a webhook has to say."""

    warning: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST" or self.faults:
            return await super().answer(request)
        body = await request.json()
        self.made.append((request.path, body))
        metadata = {**body["metadata"], "creationTimestamp": rfc3339(datetime.now(UTC), "seconds")}
        headers = {"Warning": f'299 - "{self.warning}"'} if self.warning else {}
        return web.json_response({**body, "metadata": metadata}, status=201, headers=headers)


def put(server: ApiServer, namespace: str, name: str, made: dict[str, Any]) -> None:
    """Into the lists of its namespace and of all."""
    placed = {**made, "metadata": {**made["metadata"], "namespace": namespace}}
    server.put(f"/apis/portcullis.dev/v1/namespaces/{namespace}/breakglasses", name, **placed)
    server.objects.setdefault(EVERYWHERE, {})[f"{namespace}/{name}"] = server.objects[
        f"/apis/portcullis.dev/v1/namespaces/{namespace}/breakglasses"
    ][name]


@contextlib.contextmanager
def kubeconfig_of(server: ApiServer, folder: Path) -> Iterator[Path]:
    """A kubeconfig whose context means the namespace ``shop``, while ``server`` is there."""
    ready, over = threading.Event(), asyncio.Event()
    loop, host = asyncio.new_event_loop(), ""

    async def serve() -> None:
        nonlocal host
        async with serving(server) as (_, client):
            host = client.configuration.host
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": host}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "home", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "current-context": "home",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
