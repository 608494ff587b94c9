"""The platforms of nodes, watched by the real client on a server on loopback; tests/e2e asks a real API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server, watched
from portcullis.cluster.nodes import NODES, WatchedNodes, node_platform
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.image import Platform

pytestmark = pytest.mark.anyio
PATH = NODES.path
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def node(server: ApiServer, name: str, architecture: str, **more: str) -> None:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture, **more}
    server.put(PATH, name, metadata={"labels": labels})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(client: Any, limits: Limits = Limits()) -> AsyncIterator[tuple[WatchedNodes, list[Any]]]:  # noqa: B008
    """The nodes, and their platforms each time that they changed."""
    nodes, seen = WatchedNodes(client=client, limits=limits), []
    nodes.changed = lambda: seen.append(nodes.platforms)
    task = asyncio.create_task(nodes.watch.run())
    try:
        yield nodes, seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_platform_once_over_all_pages_and_only_metadata_is_asked_for() -> None:
    async with api_server() as (server, client):
        for number in range(1100):
            node(server, f"n{number}", ("amd64", "arm64")[number % 2])
        async with watching(client) as (nodes, seen):
            assert await nodes.known() == (AMD64, ARM64)
            await until(lambda: server.watches)
            assert seen == [(AMD64, ARM64)]
            kinds = [request.headers["Accept"] for request in server.asked]
            assert kinds == ["application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"] * 3 + [
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
            ]
            assert nodes.watch.bytes < 1100 * 50


async def test_another_platform_is_taken_up_and_heartbeats_are_nothing() -> None:
    async with api_server() as (server, client):
        node(server, "a", "amd64")
        async with watching(client) as (_, seen):
            await until(lambda: server.watches)
            for number in range(200):
                node(server, "a", "amd64", beat=str(number))
            node(server, "b", "amd64")
            node(server, "c", "arm64")
            await until(lambda: len(seen) == 2)
            server.remove(PATH, "c")
            await until(lambda: len(seen) == 3)
            assert seen == [(AMD64,), (AMD64, ARM64), (AMD64,)]
            assert sum(not watched(request) for request in server.asked) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        None,
        {"labels": None},
        {"labels": {"kubernetes.io/os": "linux"}},
        {"labels": {"kubernetes.io/os": "", "kubernetes.io/arch": ""}},
        {"labels": {"kubernetes.io/os": 1, "kubernetes.io/arch": 2}},
    ],
)
def test_a_node_that_does_not_say_counts_for_nothing(metadata: Any) -> None:
    assert node_platform({"metadata": metadata}) is None


async def test_a_forgotten_version_and_more_nodes_than_any_cluster_has() -> None:
    async with api_server() as (server, client):
        node(server, "a", "amd64")
        async with watching(client, Limits(watched_nodes=2)) as (nodes, seen):
            await until(lambda: server.watches)
            server.cut()
            await until(lambda: not server.watches)
            node(server, "b", "arm64")
            server.forget()
            await until(lambda: nodes.platforms == (AMD64, ARM64))
            await until(lambda: server.watches)
            node(server, "c", "s390x")
            await until(lambda: nodes.watch.over)
            assert "nodes exceed the limit watchedNodes (2)" in nodes.watch.problem
            assert nodes.platforms == (AMD64, ARM64)  # what was known last
            assert len(seen) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: web.Response(status=403), "403"),
        (lambda: web.json_response({"kind": "Status"}), "no list"),
        (lambda: web.json_response({"metadata": {}, "items": ["x"]}), "no name"),
    ],
)
async def test_what_is_no_list_of_nodes(answer: Callable[[], web.Response], words: str) -> None:
    async with api_server() as (server, client):
        server.faults += [lambda _: answer()] * 50
        async with watching(client) as (nodes, _):
            with pytest.raises(ClusterError, match=words):
                await nodes.known(0.3)
            assert nodes.platforms is None
