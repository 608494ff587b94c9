"""Labels of namespaces: watched, looked up once, and never guessed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server, watched
from portcullis.cluster.namespaces import NAMESPACES, WatchedNamespaces, namespace_facts
from portcullis.cluster.watch import Bounds, Watch
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio
PATH = NAMESPACES.path


@asynccontextmanager
async def known(server: ApiServer, client: Any, *, limit: int = 100, **more: Any) -> AsyncIterator[WatchedNamespaces]:
    watch = Watch(
        client=client,
        resource=NAMESPACES,
        bounds=Bounds(limit, 100_000, ("watchedNamespaces", "watchedNamespaceBytes")),
        keep=namespace_facts,
        first_delay=0.01,
    )
    task = asyncio.create_task(watch.run())
    try:
        await until(lambda: watch.synced.is_set() or watch.over or watch.cuts)
        yield WatchedNamespaces(watch=watch, client=client, seconds=2, **more)
    finally:
        task.cancel()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def shop(server: ApiServer, **labels: str) -> None:
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "owner": "a"}
    server.put(PATH, "shop", kind="Namespace", metadata={"labels": labels, "annotations": last})


async def test_watched_labels_and_annotations() -> None:
    async with api_server() as (server, client):
        shop(server, team="a")
        async with known(server, client) as namespaces:
            found = await namespaces.get("shop")
            assert (found.labels, found.annotations) == ({"team": "a"}, {"owner": "a"})
            assert namespaces.asked == 0


async def test_one_of_just_now_is_asked_for_by_name() -> None:
    async with api_server() as (server, client):
        shop(server)
        # the watch hears nothing
        server.faults += [lambda _: None, lambda request: web.Response(status=500) if watched(request) else None] * 1
        async with known(server, client) as namespaces:
            server.objects[PATH]["new"] = {"kind": "Namespace", "metadata": {"name": "new", "labels": {"a": "b"}}}
            assert (await namespaces.get("new")).labels == {"a": "b"}
            assert namespaces.asked == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "there is no namespace gone"),
        (web.Response(status=403), "403"),
        (web.json_response({"kind": "Pod"}), "answered none"),
        (web.Response(text="x"), "cannot be read"),
    ],
)
async def test_what_is_not_known_is_an_error_and_never_no_labels(answer: web.Response | None, said: str) -> None:
    async with api_server() as (server, client):
        shop(server)
        async with known(server, client) as namespaces:
            await until(lambda: server.watches)
            server.faults.append(lambda _: answer)
            with pytest.raises(ClusterError, match=said):
                await namespaces.get("gone")


async def test_labels_that_were_not_heard_of_for_long_are_asked_for_anew() -> None:
    async with api_server() as (server, client):
        shop(server, team="a")
        async with known(server, client, stale_seconds=0.0) as namespaces:
            server.objects[PATH]["shop"]["metadata"]["labels"] = {"team": "b"}
            assert (await namespaces.get("shop")).labels == {"team": "b"}
            server.objects[PATH].clear()
            with pytest.raises(ClusterError):
                await namespaces.get("shop")


async def test_with_more_namespaces_than_are_kept_each_is_asked_for() -> None:
    async with api_server() as (server, client):
        shop(server, team="a")
        for number in range(3):
            server.put(PATH, f"n{number}", kind="Namespace")
        async with known(server, client, limit=2) as namespaces:
            assert (await namespaces.get("shop")).labels == {"team": "a"}
            assert namespaces.asked == 1
