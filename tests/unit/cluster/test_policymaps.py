"""ConfigMaps with policies: where they are looked for, and what is written on them."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server
from portcullis.cluster.policymaps import ERROR_ANNOTATION, PolicyMaps
from portcullis.errors import ClusterError
from portcullis.limits import DEFAULT_LIMITS, Limits

pytestmark = pytest.mark.anyio
OWN = "/api/v1/namespaces/gate/configmaps"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_they_are_watched_by_label_and_namespace_and_marked() -> None:
    calls: list[int] = []
    async with api_server() as (server, client):
        server.put(OWN, "b", data={"b.rego": "x", "odd": 1}, binaryData={"y": "eA=="})
        server.put(OWN, "a", data={"a.rego": "x"}, metadata={"annotations": {ERROR_ANNOTATION: "old", "other": "kept"}})
        server.objects["/api/v1/namespaces/team/configmaps"] = {}
        server.objects["/api/v1/namespaces/gate/events"] = {}
        maps = PolicyMaps(
            client=client,
            namespaces=["gate", "team", "gate"],
            limits=DEFAULT_LIMITS,
            changed=lambda: calls.append(1),
        )
        with pytest.raises(ClusterError, match="not listed yet"):
            maps.all()
        tasks = [asyncio.create_task(watch.run()) for watch in maps.watches]
        await maps.synced(5)
        assert {request.path for request in server.asked} == {OWN, "/api/v1/namespaces/team/configmaps"}
        assert {request.query["labelSelector"] for request in server.asked} == {"portcullis.dev/policy=true"}
        first, second = maps.all()
        assert (first.place, first.files, first.error) == (("gate", "a"), {"a.rego": "x"}, "old")
        assert second.files == {"b.rego": "x"}

        await maps.note(first, "")
        await maps.note(second, "b.rego:1:1: broken")
        await maps.tell(second, "PolicyInvalid", "m" * 5000, warning=True)
        metadata = server.objects[OWN]["a"]["metadata"]
        assert metadata["annotations"] == {"other": "kept"}
        assert server.objects[OWN]["b"]["metadata"]["annotations"][ERROR_ANNOTATION] == "b.rego:1:1: broken"
        ((path, event),) = server.made
        assert path == "/api/v1/namespaces/gate/events"
        assert (event["type"], event["reason"], len(event["message"])) == ("Warning", "PolicyInvalid", 1000)
        assert event["involvedObject"]["uid"] == "uid-b"
        await until(lambda: maps.all()[0].error == "")
        server.remove(OWN, "b")
        await until(lambda: len(maps.all()) == 1)
        assert calls
        await maps.note(second, "gone")  # nobody is left to be told
        server.faults.append(lambda _: web.Response(status=403))
        with pytest.raises(ClusterError, match="gate/a cannot be written: the API server answered 403"):
            await maps.note(first, "x")
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("limits", [Limits(policy_source_files=1), Limits(policy_source_bytes=300)])
async def test_too_many_are_an_error_and_not_fewer_policies(limits: Limits) -> None:
    async with api_server() as (server, client):
        fill(server)
        maps = PolicyMaps(client=client, namespaces=["gate"], limits=limits, changed=lambda: None)
        task = asyncio.create_task(maps.watches[0].run())
        await until(lambda: maps.watches[0].over)
        with pytest.raises(ClusterError, match="limit policySource"):
            maps.all()
        with pytest.raises(ClusterError):
            await maps.synced(0.01)
        task.cancel()


def fill(server: ApiServer) -> None:
    for name in "ab":
        server.put(OWN, name, data={"a.rego": "x" * 100})
