"""Watching, by the real client, a server on loopback that cuts, forgets, floods and lies; tests/e2e asks a real one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server, watched
from portcullis.cluster import watch as module
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change, Watch

pytestmark = pytest.mark.anyio

PATH = "/api/v1/namespaces"
BOUNDS = Bounds(objects=1000, object_bytes=1_000_000)


@asynccontextmanager
async def watching(
    server: ApiServer, client: Any, *, bounds: Bounds = BOUNDS, silence: float = 5.0, **more: Any
) -> AsyncIterator[tuple[Watch, list[Change]]]:
    seen: list[Change] = []
    watch = Watch(
        client=client,
        resource=Resource("", "v1", "namespaces"),
        bounds=bounds,
        changed=seen.extend,
        first_delay=0.01,
        silence=silence,
        **more,
    )
    task = asyncio.create_task(watch.run())
    try:
        yield watch, seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def names(watch: Watch) -> list[str]:
    return sorted(name for _, name in watch.objects)


async def test_a_list_in_pages_then_every_change() -> None:
    async with api_server() as (server, client):
        for number in range(1203):
            server.put(PATH, f"n{number:04}", metadata={"managedFields": [{}], "labels": {"n": str(number)}})
        async with watching(server, client, bounds=Bounds(2000, 1_000_000)) as (watch, seen):
            await asyncio.wait_for(watch.synced.wait(), 5)
            assert len(watch.objects) == len(seen) == 1203
            assert [request.query.get("continue") for request in server.asked[:3]] == [None, "500", "1000"]
            assert "managedFields" not in watch.objects["", "n0000"]["metadata"]
            await until(lambda: server.watches)
            seen.clear()
            server.put(PATH, "n0000", metadata={"labels": {"n": "other"}})
            server.remove(PATH, "n0001")
            server.put(PATH, "new")
            await until(lambda: len(seen) == 3)
            assert [(change.key[1], change.now is None) for change in seen] == [
                ("n0000", False),
                ("n0001", True),
                ("new", False),
            ]
            assert watch.objects["", "n0000"]["metadata"]["labels"] == {"n": "other"}
            assert watch.lists == 1
            assert watch.problem == ""
            assert watch.silent_seconds() < 5


async def test_a_cut_connection_goes_on_where_it_was_without_a_list() -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a")
        async with watching(server, client) as (watch, seen):
            await until(lambda: server.watches)
            server.bookmark(PATH)
            server.put(PATH, "b")
            await until(lambda: names(watch) == ["a", "b"])
            server.cut()
            await until(lambda: not server.watches)
            server.put(PATH, "c")
            server.remove(PATH, "a")
            await until(lambda: names(watch) == ["b", "c"])
            assert watch.lists == 1
            begun = [request.query["resourceVersion"] for request in server.asked if watched(request)]
            assert int(begun[-1]) > int(begun[0])
            assert sum(change.key[1] == "b" for change in seen) == 1


async def test_a_forgotten_version_is_listed_again_and_only_differences_are_told() -> None:
    async with api_server() as (server, client):
        for name in ("same", "changed", "gone"):
            server.put(PATH, name)
        async with watching(server, client) as (watch, seen):
            await until(lambda: server.watches)
            seen.clear()
            server.cut()
            await until(lambda: not server.watches)
            server.put(PATH, "changed", metadata={"labels": {"a": "b"}})
            server.remove(PATH, "gone")
            server.forget()
            await until(lambda: watch.lists == 2)
            assert sorted(change.key[1] for change in seen) == ["changed", "gone"]
            assert names(watch) == ["changed", "same"]


async def test_a_version_is_forgotten_between_two_pages() -> None:
    async with api_server() as (server, client):
        for number in range(600):
            server.put(PATH, f"n{number}")
        server.faults += [lambda _: None, lambda _: web.Response(status=410)]
        async with watching(server, client) as (watch, _):
            await asyncio.wait_for(watch.synced.wait(), 5)
            assert len(watch.objects) == 600


LINES: dict[str, bytes] = {
    "garbage": b"\x00\xff not json\n",
    "no object": b'{"type":"ADDED"}\n',
    "a list": b"[1]\n",
    "unknown type": b'{"type":"EXPLODED","object":{"metadata":{"name":"x","resourceVersion":"9"}}}\n',
    "no version": b'{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n',
    "no name": b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"9"}}}\n',
    "deep": b'{"type":"ADDED","object":' + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
async def test_a_line_that_is_no_event_is_never_a_change_and_begins_anew(line: bytes) -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a")
        async with watching(server, client) as (watch, _):
            await until(lambda: server.watches)
            server.send(PATH, line)
            await until(lambda: watch.lists == 2)
            assert names(watch) == ["a"]
            assert watch.cuts == 1


async def test_a_line_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 100_000)
    async with api_server() as (server, client):
        server.put(PATH, "a")
        async with watching(server, client) as (watch, _):
            await until(lambda: server.watches)
            server.send(PATH, b'{"type":"ADDED","object":"' + b"x" * 300_000)
            await until(lambda: watch.lists == 2)
            assert names(watch) == ["a"]


@pytest.mark.parametrize(
    "answer",
    [(429, {"Retry-After": "1"}), (500, {}), (503, {}), (403, {}), (200, {"X": "no list"})],
    ids=lambda answer: f"{answer[0]}",
)
async def test_a_refused_list_is_tried_again_and_shown(answer: tuple[int, dict[str, str]]) -> None:
    status, headers = answer
    async with api_server() as (server, client):
        server.put(PATH, "a")
        refusal = lambda _: web.json_response({"kind": "Status"}, status=status, headers=headers)  # noqa: E731
        server.faults += [refusal] * (1 if "Retry-After" in headers else 4)
        async with watching(server, client) as (watch, _):
            await until(lambda: watch.cuts)
            assert "namespaces cannot be watched" in watch.problem
            assert not watch.synced.is_set()
            assert watch.silent_seconds() == float("inf")
            began = asyncio.get_running_loop().time()
            await asyncio.wait_for(watch.synced.wait(), 5)
            if "Retry-After" in headers:
                assert asyncio.get_running_loop().time() - began > 0.4
            assert watch.problem == ""


async def test_a_server_that_hangs_up_at_once_is_asked_later_and_later() -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a")
        hang_up = lambda request: web.Response() if watched(request) else None  # noqa: E731
        server.faults += [hang_up] * 1000
        async with watching(server, client):
            await asyncio.sleep(0.6)
            assert 3 < sum(map(watched, server.asked)) < 12


async def test_a_silent_connection_is_made_anew() -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a")
        async with watching(server, client, silence=0.2) as (watch, _):
            await until(lambda: watch.cuts >= 2)
            assert "no answer" in watch.problem or "imeout" in watch.problem or watch.problem == ""
            assert names(watch) == ["a"]
            assert watch.lists == 1


@pytest.mark.parametrize(
    ("bounds", "name"),
    [(Bounds(3, 1_000_000, ("watchedThings", "thingBytes")), "watchedThings"), (Bounds(99, 900), "bytes")],
)
async def test_over_a_bound_nothing_is_kept_and_that_is_said(bounds: Bounds, name: str) -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a", data="x" * 300)
        async with watching(server, client, bounds=bounds) as (watch, seen):
            await until(lambda: server.watches)
            assert watch.synced.is_set()
            for number in range(3):
                server.put(PATH, f"b{number}", data="x" * 300)
            await until(lambda: watch.over)
            assert name in watch.problem
            assert not watch.synced.is_set()
            assert (len(watch.objects), watch.bytes) == (0, 0)
            assert {change.key[1] for change in seen if change.now is None} >= {"a", "b0"}


async def test_a_page_with_too_many_bytes_is_asked_for_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 20_000)
    async with api_server() as (server, client):
        for number in range(40):
            server.put(PATH, f"n{number}", data="x" * 1000)
        async with watching(server, client) as (watch, _):
            await asyncio.wait_for(watch.synced.wait(), 5)
            assert len(watch.objects) == 40
            assert [int(request.query["limit"]) for request in server.asked[:4]] == [500, 125, 31, 7]


async def test_one_object_that_is_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 5000)
    async with api_server() as (server, client):
        server.put(PATH, "a", data="x" * 9000)
        async with watching(server, client) as (watch, _):
            await until(lambda: watch.cuts)
            assert "5000 bytes" in watch.problem


async def test_only_what_is_kept_counts() -> None:
    async with api_server() as (server, client):
        server.put(PATH, "a", data="x" * 5000, metadata={"labels": {"team": "a"}})

        def labels(found: Any) -> Any:
            return {"labels": found["metadata"].get("labels", {})}

        async with watching(server, client, bounds=Bounds(10, 100), keep=labels) as (watch, seen):
            await until(lambda: server.watches)
            server.put(PATH, "a", data="y" * 5000, metadata={"labels": {"team": "a"}})
            server.put(PATH, "b", data="y" * 5000)
            await until(lambda: ("", "b") in watch.objects)
            assert [change.key[1] for change in seen] == ["a", "b"]  # the second of a changed nothing that is kept
            assert watch.objects["", "a"] == {"labels": {"team": "a"}}


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (Resource("", "v1", "configmaps", "a"), "/api/v1/namespaces/a/configmaps"),
        (Resource("apps", "v1", "deployments"), "/apis/apps/v1/deployments"),
        (Resource("", "v1", "configmaps", "../../x"), "/api/v1/namespaces/..%2F..%2Fx/configmaps"),
    ],
)
def test_paths(resource: Resource, path: str) -> None:
    assert resource.path == path


async def test_labels_are_asked_for() -> None:
    async with api_server() as (server, client):
        watch = Watch(client=client, resource=Resource("", "v1", "namespaces", labels="a=b"), bounds=BOUNDS)
        task = asyncio.create_task(watch.run())
        await until(lambda: len(server.asked) == 2)
        task.cancel()
        asked: Sequence[web.Request] = server.asked
        assert [request.query["labelSelector"] for request in asked] == ["a=b", "a=b"]
        assert asked[1].query["allowWatchBookmarks"] == "true"
        assert 240 <= int(asked[1].query["timeoutSeconds"]) <= 300
