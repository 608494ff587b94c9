"""The Secret that replicas share, over an API server in memory; tests/e2e/test_registration.py asks the real one."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, CoreV1Api

from fakes.apiserver import ApiServer, api_server
from fakes.cluster import serving_secrets
from portcullis.cluster.certificatestate import ENTRY_BYTES
from portcullis.cluster.sharedsecret import ROTATE, SharedSecret
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio

SECRETS = "/api/v1/namespaces/home/secrets"


@pytest.fixture
async def served() -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    async with api_server() as found:
        yield found


def made(server: ApiServer, **content: Any) -> None:
    server.put(SECRETS, "shared", **{"kind": "Secret", "apiVersion": "v1", "type": "Opaque", **content})


def secret(client: ApiClient, seconds: float = 3.0) -> SharedSecret:
    return SharedSecret(api=CoreV1Api(client), namespace="home", name="shared", seconds=seconds)


async def test_one_without_data_is_empty(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server)
    stored = await secret(client).read()
    assert (stored.content, stored.rotate) == ({}, "")


async def test_what_is_written_is_read_and_the_rest_of_the_object_stays(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server, metadata={"labels": {"app": "gate"}, "annotations": {ROTATE: "again", "by": "hand"}})
    shared = secret(client)
    stored = await shared.read()
    assert stored.rotate == "again"
    written = await shared.write(stored, {"path": b"word", "ca.key": b"\x00\xff"})
    assert written is not None
    assert written.content == {"path": b"word", "ca.key": b"\x00\xff"}
    assert await shared.read() == written
    kept = server.objects[SECRETS]["shared"]
    assert (kept["metadata"]["labels"], kept["metadata"]["annotations"]["by"]) == ({"app": "gate"}, "hand")
    assert kept["type"] == "Opaque"


async def test_of_two_who_read_the_same_one_writes(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server)
    one, other = secret(client), secret(client)
    first, second = await one.read(), await other.read()
    assert await one.write(first, {"path": b"one"}) is not None
    assert await other.write(second, {"path": b"other"}) is None
    assert (await other.read()).content == {"path": b"one"}


async def test_the_content_is_not_shown(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server, data={"ca.key": base64.b64encode(b"hunter2").decode()})
    stored = await secret(client).read()
    assert stored.content == {"ca.key": b"hunter2"}
    assert "hunter2" not in repr(stored)
    assert "aHVudGVyMg" not in repr(stored)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (None, {}),
        ("text", {}),
        ({"a": "%%%", "b": 1, "c": None, "d": "aGk="}, {"a": b"", "b": b"", "c": b"", "d": b"hi"}),
        ({"a": "é"}, {"a": b""}),
        ({"a": "A" * (2 * ENTRY_BYTES + 4)}, {"a": b""}),
    ],
)
async def test_entries_that_are_nonsense_are_empty(
    served: tuple[ApiServer, ApiClient], data: object, content: dict[str, bytes]
) -> None:
    server, client = served
    made(server, data=data)
    assert (await secret(client).read()).content == content


@pytest.mark.parametrize(("annotations", "rotate"), [("x", ""), ({ROTATE: 1}, ""), ({ROTATE: "a" * 1000}, "a" * 256)])
async def test_a_wish_is_a_short_text(served: tuple[ApiServer, ApiClient], annotations: object, rotate: str) -> None:
    server, client = served
    made(server, metadata={"annotations": annotations})
    assert (await secret(client).read()).rotate == rotate


async def test_a_secret_that_is_not_there_is_made_by_others(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server)
    shared = secret(client)
    stored = await shared.read()
    server.remove(SECRETS, "shared")
    for verb in ("read", "write"):
        with pytest.raises(ClusterError, match="home/shared is not there; make it"):
            await (shared.read() if verb == "read" else shared.write(stored, {}))
    assert server.made == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.json_response({"kind": "Status"}, status=403), "the API server answered 403 Forbidden"),
        (web.json_response({"kind": "Secret"}), "the API server answered no Secret"),
        (web.json_response({"kind": "ConfigMap", "metadata": {}}), "the API server answered no Secret"),
        (web.json_response(["Secret"]), "the API server answered no Secret"),
        (web.Response(body=b"{"), "Expecting"),
        (web.Response(body=b" " * (2 * 1024 * 1024 + 1)), "it has more than 2097152 bytes"),
    ],
)
@pytest.mark.parametrize("verb", ["read", "changed"])
async def test_what_goes_wrong_is_one_kind_of_error(answer: web.Response, words: str, verb: str) -> None:
    async with api_server() as (server, client):
        made(server)
        shared = secret(client)
        stored = await shared.read()
        copied = web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)
        server.faults.append(lambda _: copied)
        with pytest.raises(ClusterError, match=f"home/shared cannot be {verb}: .*{words}"):
            await (shared.read() if verb == "read" else shared.write(stored, {"path": b"word"}))


async def test_an_api_server_that_does_not_answer_is_given_up() -> None:
    async with serving_secrets({}, silent=True) as (client, _):
        with pytest.raises(ClusterError, match=r"cannot be read: no answer within 0\.2 s"):
            await secret(client, seconds=0.2).read()
