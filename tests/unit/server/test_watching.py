"""The inventory is whole or not there, and what is watched can be seen."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from fakes.apiserver import api_server
from portcullis.cluster.inventory import WatchedKind
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change
from portcullis.cluster.watching import Watched
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Problem
from portcullis.policy.inventory import Inventory
from portcullis.server.live.watching import Watching
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio
PATH = "/api/v1/services"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def reason(problem: Problem | None) -> tuple[str, bool]:
    return (problem.reason, problem.retryable) if problem is not None else ("", False)


async def test_the_inventory_is_whole_or_a_problem() -> None:
    inventory = Inventory(DEFAULT_LIMITS)
    watching = Watching(inventory)
    assert watching.inventory_problem("") is None

    def changed(kind: str, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.now is None:
                inventory.remove("v1", kind, *change.key)
            else:
                inventory.put("v1", kind, *change.key, change.now)

    async with api_server() as (server, client):
        server.objects["/api"] = {"v1": {"resources": [{"name": "services", "kind": "Service"}]}}
        server.objects[PATH] = {"a": {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "1"}}}
        kind = WatchedKind(
            client=client, resource=Resource("", "v1", "services"), bounds=Bounds(1, 10_000), changed=changed
        )
        watching.attach(Watched(None, None, (kind,), (kind.watch,)))
        assert reason(watching.inventory_problem("")) == ("inventory-unavailable", True)
        task = asyncio.create_task(kind.run())
        await until(kind.watch.synced.is_set)
        assert reason(watching.inventory_problem("")) == ("", False)
        assert reason(watching.inventory_problem("OPA has less")) == ("inventory-unavailable", True)
        check = watching.check()
        assert check is not None
        assert (await check.probe(), check.remark()) == ("", "services 1")

        await until(lambda: server.watches)
        added = {"metadata": {"name": "b", "namespace": "shop", "resourceVersion": "9"}}
        server.send(PATH, {"type": "ADDED", "object": added})
        await until(lambda: kind.watch.over)
        assert reason(watching.inventory_problem("")) == ("inventory-too-large", False)
        assert inventory.objects == 0
        assert "exceed the limit objects (1)" in await check.probe()
        metrics = Metrics()
        watching.observe(metrics)
        page = metrics.page().decode()
        assert 'portcullis_watch_objects{resource="services"} 0.0' in page
        assert 'portcullis_watch_lists_total{resource="services"} 1.0' in page
        task.cancel()
