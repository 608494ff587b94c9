"""Grants as commands make and list them, against an API server in memory."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server
from fakes.grants import EVERYWHERE, grant, put
from portcullis.cluster import breakglassobjects
from portcullis.cluster.breakglassobjects import BreakGlassObjects
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio


async def test_one_is_made_in_its_namespace_and_warnings_come_with_it() -> None:
    async with api_server() as (server, client):
        server.faults.append(warned)
        made = await BreakGlassObjects(client, "here").create(grant(), "shop")
        assert made.warnings == ('there is no policy "x"', "second\\")
        (path,) = [request.path for request in server.asked]
        assert path == "/apis/portcullis.dev/v1/namespaces/shop/breakglasses"


def warned(_: web.Request) -> web.Response:
    headers = [
        ("Warning", '299 - "there is no policy \\"x\\""'),
        ("Warning", '299 - "second\\\\"'),
        ("Warning", "299 x"),
    ]
    return web.json_response({"kind": "BreakGlass"}, status=201, headers=headers)  # type: ignore[arg-type]


async def test_all_pages_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakglassobjects, "PAGE", 2)
    async with api_server() as (server, client):
        for number in range(5):
            put(server, "shop" if number % 2 else "bank", f"g{number}", grant())
        grants = BreakGlassObjects(client, "here")
        assert {one["metadata"]["name"] for one in await grants.list("")} == {f"g{number}" for number in range(5)}
        assert [one["metadata"]["name"] for one in await grants.list("shop")] == ["g1", "g3"]
        assert [request.query["limit"] for request in server.asked] == ["2"] * 4


async def test_more_than_can_be_shown_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakglassobjects, "MOST", 2)
    async with api_server() as (server, client):
        for number in range(3):
            put(server, "shop", f"g{number}", grant())
        with pytest.raises(ClusterError, match="more than 2 grants: list those of one namespace"):
            await BreakGlassObjects(client, "here").list("")


def status(code: int, message: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.json_response({"kind": "Status", "message": message, "code": code}, status=code)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(403, 'User "bob" cannot create resource "breakglasses"'), 'answered 403 Forbidden: User "bob" cannot'),
        (status(422, "says in 10 characters or more why"), "answered 422 Unprocessable Entity: says in 10"),
        (status(404, "the server could not find the requested resource"), "it has no kind BreakGlass"),
        (lambda _: web.Response(text="[]"), "the answer is no object"),
        (lambda _: web.Response(text="<html>"), "Expecting value"),
        (lambda _: web.Response(body=b" " * 2001), "the answer has more than 2000 bytes"),
    ],
)
async def test_what_goes_wrong_is_one_sentence(
    fault: Callable[[web.Request], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakglassobjects, "_BYTES", 2000)
    async with api_server() as (server, client):
        server.faults += [fault, fault]
        grants = BreakGlassObjects(client, "context home of x")
        with pytest.raises(ClusterError) as caught:
            await grants.create(grant(), "shop")
        assert caught.value.message.startswith("the grant cannot be made (context home of x): ")
        assert said in caught.value.message
        with pytest.raises(ClusterError, match="grants cannot be listed"):
            await grants.list("shop")


async def test_entries_that_are_no_objects_are_left_out() -> None:
    async with api_server() as (server, client):
        server.objects[EVERYWHERE] = {"a": 7, "b": grant()}  # type: ignore[dict-item]
        assert len(await BreakGlassObjects(client, "here").list("")) == 1


def test_the_server_of_these_tests_is_one_that_forgets_nothing() -> None:
    server = ApiServer()
    put(server, "shop", "a", grant())
    assert server.objects[EVERYWHERE]["shop/a"]["metadata"]["namespace"] == "shop"
