"""Reviews of tokens and of access, asked by the real client of a server on loopback."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from fakes.apiserver import ApiServer, api_server
from fakes.listening import listening
from portcullis.cluster.reviews import AccessReviews, access_reviews
from portcullis.errors import ClusterError
from portcullis.model.subject import Subject

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-somebody"
AUDIENCE = "portcullis.dev/audit"
JANE = Subject("jane", "uid-1", ("a", "b"), (("scopes", ("x", "y")),))


def answering(server: ApiServer, answer: Any, status: int = 201) -> None:
    if isinstance(answer, bytes):
        server.faults.append(lambda _: web.Response(body=answer, status=status, content_type="application/json"))
    else:
        server.faults.append(lambda _: web.json_response(answer, status=status))


def token_review(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def access_review(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}


USER = {"username": "jane", "uid": "uid-1", "groups": ["a", "b"], "extra": {"scopes": ["x", "y"]}}
TOKENS: dict[str, tuple[dict[str, Any], Subject | None]] = {
    "hers": ({"authenticated": True, "audiences": [AUDIENCE], "user": USER}, JANE),
    "of two": ({"authenticated": True, "audiences": ["a", AUDIENCE], "user": {"username": "j"}}, Subject("j")),
    "of another audience": ({"authenticated": True, "audiences": ["https://kubernetes"], "user": USER}, None),
    "of no audience": ({"authenticated": True, "user": USER}, None),
    "of an audience that is no list": ({"authenticated": True, "audiences": AUDIENCE, "user": USER}, None),
    "nobody's": ({"authenticated": False, "audiences": [AUDIENCE], "user": USER, "error": "expired"}, None),
    "nobody's, curtly": ({}, None),
    "perhaps hers": ({"authenticated": "true", "audiences": [AUDIENCE], "user": USER}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENS)
async def test_whose_a_token_is(name: str) -> None:
    status, subject = TOKENS[name]
    async with api_server() as (server, client):
        answering(server, token_review(**status))
        assert await AccessReviews(client=client).authenticate(TOKEN, AUDIENCE) == subject


async def test_what_is_asked() -> None:
    async with api_server() as (server, client):
        reviews = AccessReviews(client=client)
        with pytest.raises(ClusterError):
            await reviews.authenticate(TOKEN, AUDIENCE)
        with pytest.raises(ClusterError):
            await reviews.allowed(JANE, verb="get", group="g", resource="r", namespace="shop")
    (tokens, token), (accesses, access) = server.made
    assert tokens == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert (token["kind"], token["spec"]) == ("TokenReview", {"token": TOKEN, "audiences": [AUDIENCE]})
    assert accesses == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    attributes = {"namespace": "shop", "verb": "get", "group": "g", "version": "*", "resource": "r"}
    assert access["spec"] == {
        "resourceAttributes": attributes,
        "user": "jane",
        "uid": "uid-1",
        "groups": ["a", "b"],
        "extra": {"scopes": ["x", "y"]},
    }


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ({"allowed": True}, True),
        ({"allowed": False}, False),
        ({"allowed": True, "denied": True}, False),
        ({"allowed": False, "evaluationError": "no such role"}, False),
        ({"allowed": True, "evaluationError": "no such role"}, True),
    ],
)
async def test_what_somebody_may_do(status: dict[str, Any], allowed: bool) -> None:
    async with api_server() as (server, client):
        answering(server, access_review(**status))
        found = await AccessReviews(client=client).allowed(JANE, verb="get", group="g", resource="r", namespace="")
        assert found is allowed


FAULTS: dict[str, tuple[Any, int, str]] = {
    "forbidden": ({"kind": "Status"}, 403, "needs a ClusterRole with the rule apiGroups [a"),
    "unauthorized": ({"kind": "Status"}, 401, "the API server answered 401"),
    "broken": ({"kind": "Status"}, 500, "the API server answered 500"),
    "another kind": ({"kind": "Status", "status": {"allowed": True, "authenticated": True}}, 201, "it answered no "),
    "a list": ([], 201, "it answered no "),
    "no JSON": (b"{", 201, "does not say"),
    "no status": ({"kind": "TokenReview"}, 201, "it answered no "),
    "large": (b'"' + b"x" * (1024 * 1024) + b'"', 201, "the answer has more than 1048576 bytes"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_is_not_said_is_an_error_and_names_no_token(name: str) -> None:
    answer, status, words = FAULTS[name]
    async with api_server() as (server, client):
        reviews = AccessReviews(client=client)
        answering(server, answer, status)
        with pytest.raises(ClusterError, match=words.replace("[", r"\[")) as caught:
            await reviews.authenticate(TOKEN, AUDIENCE)
        assert TOKEN not in str(caught.value)
        answering(server, answer, status)
        with pytest.raises(ClusterError, match=words.replace("[", r"\[")):
            await reviews.allowed(JANE, verb="get", group="g", resource="r", namespace="")


@pytest.mark.parametrize("user", [None, [], {}, {"username": ""}, {"username": 7}])
async def test_a_token_of_no_name_is_an_error(user: Any) -> None:
    async with api_server() as (server, client):
        answering(server, token_review(authenticated=True, audiences=[AUDIENCE], user=user))
        with pytest.raises(ClusterError, match="names no user"):
            await AccessReviews(client=client).authenticate(TOKEN, AUDIENCE)


@pytest.mark.parametrize("allowed", [None, "true", 1, {}])
async def test_neither_yes_nor_no_is_an_error(allowed: Any) -> None:
    async with api_server() as (server, client):
        answering(server, access_review(allowed=allowed))
        with pytest.raises(ClusterError, match="neither yes nor no"):
            await AccessReviews(client=client).allowed(JANE, verb="get", group="g", resource="r", namespace="")


async def test_a_server_that_is_silent_is_given_up() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    async with listening(silence) as port, ApiClient(Configuration(host=f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(ClusterError, match=r"no answer within 0\.05 s"):
            await AccessReviews(client=client, seconds=0.05).authenticate(TOKEN, AUDIENCE)


async def test_a_server_that_is_gone() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:1")) as client:
        with pytest.raises(ClusterError, match="does not say what a reader may do"):
            await AccessReviews(client=client).allowed(JANE, verb="get", group="g", resource="r", namespace="")


async def test_outside_of_a_cluster() -> None:
    with pytest.raises(ClusterError, match=r"audit\.pages needs a pod with its service account mounted"):
        async with access_reviews():
            pass
