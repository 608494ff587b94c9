"""Checkpoints in a ConfigMap that several replicas write."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import CoreV1Api

from fakes.apiserver import ApiServer, api_server
from portcullis.cluster.checkpointmap import ATTEMPTS, MOST_CHAINS, CheckpointMap
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio
MAPS = "/api/v1/namespaces/gate/configmaps"


def checkpoint(chain: str, position: int, at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
    return {"chain": chain, "position": position, "at": at}


def positions(server: ApiServer) -> dict[str, int]:
    return {chain: json.loads(text)["position"] for chain, text in server.objects[MAPS]["c"]["data"].items()}


def map_of(client: Any) -> CheckpointMap:
    return CheckpointMap(api=CoreV1Api(client), namespace="gate", name="c", seconds=2)


async def test_the_newest_of_each_chain_is_there_and_all_else_stays() -> None:
    async with api_server() as (server, client):
        server.put(MAPS, "c", metadata={"labels": {"a": "b"}})
        written = map_of(client)
        await written.write(checkpoint("one", 1))
        await written.write(checkpoint("two", 5))
        await written.write(checkpoint("one", 2))
        assert positions(server) == {"one": 2, "two": 5}
        assert server.objects[MAPS]["c"]["metadata"]["labels"] == {"a": "b"}
        await written.write(checkpoint("one", 1))
        assert positions(server) == {"one": 2, "two": 5}


async def test_two_writers_lose_nothing() -> None:
    async with api_server() as (server, client):
        server.put(MAPS, "c")
        maps = [map_of(client) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(maps):
                group.create_task(one.write(checkpoint(f"chain-{number}", number)))
        assert positions(server) == {f"chain-{number}": number for number in range(4)}


async def test_there_are_never_more_than_so_many() -> None:
    async with api_server() as (server, client):
        old = {f"c-{at}": json.dumps(checkpoint(f"c-{at}", 1, f"2026-01-01T00:{at:02}:00Z")) for at in range(60)}
        more = {f"d-{at}": json.dumps(checkpoint(f"d-{at}", 1, f"2026-02-01T00:{at:02}:00Z")) for at in range(60)}
        server.put(MAPS, "c", data={**more, **old, "odd": "x"})
        await map_of(client).write(checkpoint("new", 1, "2025-01-01T00:00:00Z"))
        kept = server.objects[MAPS]["c"]["data"]
        assert len(kept) == MOST_CHAINS
        assert {"new", "d-0", "d-59", "c-59"} <= kept.keys()
        assert {"odd", "c-0"}.isdisjoint(kept)


@pytest.mark.parametrize(
    ("status", "there", "tries", "words"),
    [
        (409, True, ATTEMPTS, "answered 409"),
        (403, True, 1, "answered 403"),
        (500, True, 1, "answered 500"),
        (0, False, 1, "is not there; make it"),
    ],
)
async def test_what_fails_is_said(status: int, there: bool, tries: int, words: str) -> None:
    async with api_server() as (server, client):
        server.objects[MAPS] = {}
        if there:
            server.put(MAPS, "c")
            refusals = [lambda _: None, lambda _: web.json_response({}, status=status)] * ATTEMPTS
            server.faults += refusals
        with pytest.raises(ClusterError, match=f"gate/c .*{words}"):
            await map_of(client).write(checkpoint("one", 1))
        assert len([request for request in server.asked if request.method == "GET"]) == tries
