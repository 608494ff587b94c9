"""Kinds that are watched for the inventory: found by the API server's own list, and known or not."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fakes.apiserver import api_server
from portcullis.cluster.inventory import WatchedKind
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change

pytestmark = pytest.mark.anyio
PATH = "/apis/networking.k8s.io/v1/ingresses"
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses")
LAST = "kubectl.kubernetes.io/last-applied-configuration"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def resources(*names: str) -> dict[str, Any]:
    return {"resources": [{"name": f"{name}es", "kind": name.capitalize()} for name in names]}


async def test_objects_with_their_kind_without_what_nobody_reads() -> None:
    seen: list[tuple[str, Change]] = []

    def changed(kind: str, changes: Sequence[Change]) -> None:
        seen.extend((kind, change) for change in changes)

    async with api_server() as (server, client):
        server.objects["/apis/networking.k8s.io"] = {"v1": resources("other")}
        path = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
        one = server.put(path, "a", metadata={"annotations": {LAST: "{}", "b": "c"}, "managedFields": []})
        server.objects[PATH] = {"a": one}
        bounds = Bounds(10, 10_000)
        kind = WatchedKind(client=client, resource=INGRESSES, bounds=bounds, changed=changed, retry=0.01)
        assert "not asked for yet" in kind.problem
        task = asyncio.create_task(kind.run())
        await until(lambda: "no such resource" in kind.problem)
        server.objects["/apis/networking.k8s.io"] = {"v1": resources("other", "ingress")}
        await until(lambda: not kind.problem)
        ((name, change),) = seen
        assert (name, change.key) == ("Ingress", ("shop", "a"))
        assert change.now is not None
        assert change.now["metadata"]["annotations"] == {"b": "c"}
        assert "managedFields" not in change.now["metadata"]
        task.cancel()
