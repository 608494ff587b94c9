"""What is read out of a webhook configuration. The real API server is asked in tests/e2e/test_registration.py."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import AdmissionregistrationV1Api, ApiClient

from fakes.apiserver import ApiServer, api_server
from portcullis.cluster.registration import (
    BREAK_GLASS_WEBHOOK,
    POLICY_WEBHOOK,
    Reach,
    Registration,
    WebhookConfigurations,
    Written,
)

pytestmark = pytest.mark.anyio

PLACE = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SERVICE = {"service": {"name": "gate", "namespace": "home", "path": "/0123456789abcdef/validate"}}
NAME = "kubernetes.io/metadata.name"


@pytest.fixture
async def served() -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    async with api_server() as found:
        yield found


def webhook(name: str = "gate.portcullis.dev", **more: Any) -> dict[str, Any]:
    client = more.pop("clientConfig", SERVICE)
    return {"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": client, **more}


async def found(served: tuple[ApiServer, ApiClient], *webhooks: dict[str, Any]) -> Registration:
    server, client = served
    server.put(PLACE, "gate", kind="ValidatingWebhookConfiguration", webhooks=list(webhooks))
    read = await WebhookConfigurations(api=AdmissionregistrationV1Api(client), name="gate").read()
    assert read is not None
    return read


def selector(*expressions: tuple[str, str, list[str]]) -> dict[str, Any]:
    listed = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    return {"namespaceSelector": {"matchExpressions": listed}}


@pytest.mark.parametrize(
    ("more", "reach"),
    [
        ({}, Reach("Fail")),
        ({"failurePolicy": "Ignore"}, Reach("Ignore")),
        (selector((NAME, "NotIn", ["a", "b"])), Reach("Fail", None, frozenset("ab"))),
        (selector((NAME, "In", ["a", "b"]), (NAME, "In", ["b", "c"])), Reach("Fail", frozenset("b"))),
        (selector((NAME, "NotIn", ["a"]), (NAME, "NotIn", ["b"])), Reach("Fail", None, frozenset("ab"))),
        (selector(("team", "NotIn", ["a"]), ("x", "DoesNotExist", [])), Reach("Fail")),
    ],
)
async def test_what_it_reaches(served: tuple[ApiServer, ApiClient], more: dict[str, Any], reach: Reach) -> None:
    beside = [webhook(name, failurePolicy="Ignore") for name in (POLICY_WEBHOOK, BREAK_GLASS_WEBHOOK)]
    assert (await found(served, webhook(**more), *beside)).reaches == {"gate.portcullis.dev": reach}


@pytest.mark.parametrize(
    ("reach", "closed"),
    [
        (Reach("Fail"), {"a", "b", "c"}),
        (Reach("Ignore"), set()),
        (Reach("Fail", frozenset("ab"), frozenset("a")), {"b"}),
        (Reach("Fail", None, frozenset("a")), {"b", "c"}),
    ],
)
def test_where_nothing_can_be_created_while_nobody_answers(reach: Reach, closed: set[str]) -> None:
    assert {namespace for namespace in "abc" if reach.closed_for(namespace)} == closed


async def test_paths_and_names_of_services_and_addresses(served: tuple[ApiServer, ApiClient]) -> None:
    bare = {"service": {"name": "gate", "namespace": "home"}}
    read = await found(
        served,
        webhook("one"),
        webhook("two", clientConfig=bare),
        webhook("three", clientConfig={"url": "https://gate.example:8443/validate"}),
        webhook("four", clientConfig={"url": "https://[gate/validate"}),
    )
    assert read.paths == {"one": "/0123456789abcdef/validate", "two": ""}
    assert read.hosts == {"one": "gate.home.svc", "two": "gate.home.svc", "three": "gate.example", "four": ""}
    assert read.segments == ("0123456789abcdef",)
    assert not read.called_by("0123456789abcdef")


async def test_a_conflict_is_no_error_and_changes_nothing(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    read = await found(served, webhook())
    for status in (404, 409):
        server.faults.append(lambda _, status=status: web.json_response({"kind": "Status"}, status=status))  # type: ignore[misc]
        configurations = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name="gate")
        assert await configurations.write(read, Written(b"x")) is None
