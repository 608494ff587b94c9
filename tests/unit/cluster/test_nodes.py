"""The platforms of nodes, read by the real client from a server on loopback; tests/e2e asks a real API server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration, CoreV1Api

from portcullis.cluster.nodes import Nodes
from portcullis.errors import ClusterError
from portcullis.model.image import Platform

pytestmark = pytest.mark.anyio


def node(**labels: Any) -> dict[str, Any]:
    named = {f"kubernetes.io/{key}": value for key, value in labels.items()}
    return {"metadata": {"name": "n", "labels": named}}


@asynccontextmanager
async def listed(pages: Sequence[Any], status: int = 200) -> AsyncIterator[tuple[Nodes, list[web.Request]]]:
    """The API server that answers with these pages, one after the other."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        place = int(request.query.get("continue", "0"))
        more = {"continue": str(place + 1)} if place + 1 < len(pages) else {}
        content = pages[place]
        return web.json_response(
            {"metadata": more, "items": content} if isinstance(content, list) else content, status=status
        )

    app = web.Application()
    app.router.add_get("/api/v1/nodes", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as client:
            yield Nodes(api=CoreV1Api(client), seconds=5), asked
    finally:
        await runner.cleanup()


async def test_each_platform_once_over_all_pages() -> None:
    first = [node(os="linux", arch="arm64"), node(os="linux", arch="amd64"), node(os="linux", arch="amd64")]
    async with listed([first, [node(os="windows", arch="amd64")]]) as (nodes, asked):
        assert await nodes.platforms() == (
            Platform("linux", "amd64"),
            Platform("linux", "arm64"),
            Platform("windows", "amd64"),
        )
    assert [request.query.get("continue") for request in asked] == [None, "1"]
    assert all("as=PartialObjectMetadataList" in request.headers["Accept"] for request in asked)


async def test_nodes_that_do_not_say_count_for_nothing() -> None:
    odd = [node(), node(os="linux"), node(os="", arch=""), node(os=1, arch=2), {}, {"metadata": None}, None]
    async with listed([odd]) as (nodes, _):
        assert await nodes.platforms() == ()


@pytest.mark.parametrize(
    ("pages", "status", "words"),
    [
        ([[]], 403, "403"),
        ([{"kind": "Status"}], 200, "no list"),
        ([["x" * 17_000_000]], 200, "bytes"),
        ([[]] * 41, 200, "more than 20000"),
    ],
)
async def test_what_is_no_list_of_nodes(pages: Sequence[Any], status: int, words: str) -> None:
    async with listed(pages, status) as (nodes, _):
        with pytest.raises(ClusterError, match=words):
            await nodes.platforms()


async def test_nobody_there() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        with pytest.raises(ClusterError, match="cannot be listed"):
            await Nodes(api=CoreV1Api(client), seconds=2).platforms()
