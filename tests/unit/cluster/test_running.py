"""What runs: listed in pages, put into groups of equal pods, under the owners that people made, within bounds."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from fakes.apiserver import ApiServer, api_server
from fakes.runningpods import JOBS, PODS, REPLICA_SETS, controlled_by, digest, running_pod
from portcullis.cluster import running
from portcullis.cluster.running import RunningWorkloads
from portcullis.errors import ClusterError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.running import ObjectRef, RunningPods

pytestmark = pytest.mark.anyio

JSON = dict[str, Any]


@pytest.fixture
async def served() -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    async with api_server() as (server, client):
        for path in (PODS, REPLICA_SETS, JOBS):
            server.objects[path] = {}
        yield server, client


def put(server: ApiServer, *pods: JSON) -> None:
    """Pods, with their own namespaces."""
    for pod in pods:
        metadata = pod["metadata"]
        server.put(PODS, metadata["name"], **pod)
        server.objects[PODS][metadata["name"]]["metadata"] = metadata


def own(server: ApiServer, path: str, name: str, owners: Sequence[JSON]) -> None:
    """A controller between: its metadata alone, as it is asked for."""
    server.put(path, name)
    server.objects[path][name] = {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "ownerReferences": owners}
    }


async def groups(client: ApiClient, limits: Limits = DEFAULT_LIMITS, **arguments: Any) -> list[RunningPods]:
    return [one async for one in RunningWorkloads(client=client, limits=limits, **arguments).groups()]


def seen(found: Sequence[RunningPods]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(f"{one.owner.kind} {one.owner.namespace}/{one.owner.name}", one.count, one.names) for one in found]


async def test_equal_pods_are_one_group_under_the_owner_that_people_made(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    own(server, REPLICA_SETS, "web-abc", controlled_by("apps/v1", "Deployment", "web"))
    own(server, REPLICA_SETS, "bare", [])
    own(server, JOBS, "nightly-1", controlled_by("batch/v1", "CronJob", "nightly"))
    put(
        server,
        *(running_pod(f"web-abc-{n}", owners=controlled_by("apps/v1", "ReplicaSet", "web-abc")) for n in range(3)),
        running_pod("bare-1", owners=controlled_by("apps/v1", "ReplicaSet", "bare")),
        running_pod("nightly-1-x", owners=controlled_by("batch/v1", "Job", "nightly-1")),
        running_pod("db-0", owners=controlled_by("apps/v1", "StatefulSet", "db")),
        running_pod("rollout-1", owners=controlled_by("example.dev/v1", "Clone", "clone")),
        running_pod("alone"),
        running_pod("alone-too"),
        running_pod("kube-proxy", owners=controlled_by("v1", "Node", "node-1")),
    )
    found = await groups(client)
    assert sorted(seen(found)) == [
        ("Clone shop/clone", 1, ("rollout-1",)),
        ("CronJob shop/nightly", 1, ("nightly-1-x",)),
        ("Deployment shop/web", 3, ("web-abc-0", "web-abc-1", "web-abc-2")),
        ("Pod shop/alone", 1, ("alone",)),
        ("Pod shop/alone-too", 1, ("alone-too",)),
        ("Pod shop/kube-proxy", 1, ("kube-proxy",)),
        ("ReplicaSet shop/bare", 1, ("bare-1",)),
        ("StatefulSet shop/db", 1, ("db-0",)),
    ]
    web = next(one for one in found if one.owner.name == "web")
    assert web.owner == ObjectRef("apps/v1", "Deployment", "shop", "web", "uid-web")
    assert len({one.key for one in found}) == len(found)
    controllers = [request for request in server.asked if request.path in (REPLICA_SETS, JOBS)]
    assert all("PartialObjectMetadataList" in request.headers["Accept"] for request in controllers)


async def test_what_no_pod_has_made_is_not_listed(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    put(server, running_pod("alone"))
    await groups(client)
    assert [request.path for request in server.asked] == [PODS]


@pytest.mark.parametrize(
    "pod",
    [
        running_pod("gone", status={"phase": "Succeeded"}),
        running_pod("gone", status={"phase": "Failed"}),
        running_pod("gone", deletionTimestamp="2026-11-01T00:00:00Z"),
        running_pod("gone", namespace="kube-system"),
    ],
)
async def test_what_is_not_judged(served: tuple[ApiServer, ApiClient], pod: JSON) -> None:
    server, client = served
    put(server, pod, running_pod("there", status={"phase": "Pending"}))
    assert [one.owner.name for one in await groups(client, exempt=("kube-system",))] == ["there"]


async def test_groups_with_the_same_first_image_are_together(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    put(
        server,
        *(running_pod(f"p{n}", {f"web:{n % 3}": f"web@{digest(n % 3)}", "side:1": ""}) for n in range(9)),
        running_pod("none", {}),
    )
    firsts = [one.images[0].digest if one.images else None for one in await groups(client)]
    assert [key for key, _ in itertools.groupby(firsts)] == [None, digest(0), digest(1), digest(2)]
    assert len(firsts) == 10


async def test_keys_stay_over_rounds_and_change_with_what_is_judged(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    owners = controlled_by("apps/v1", "StatefulSet", "db")
    put(server, running_pod("db-0", owners=owners))
    (first,) = await groups(client)
    server.remove(PODS, "db-0")
    put(server, running_pod("db-1", owners=owners))
    (second,) = await groups(client)
    assert first.key == second.key
    put(server, running_pod("db-1", {"web:1": f"docker.io/library/web@{digest(2)}"}, owners=owners))
    (third,) = await groups(client)
    assert third.key != first.key


async def test_long_lists_are_read_in_pages(
    served: tuple[ApiServer, ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = served
    monkeypatch.setattr(running, "PAGE", 3)
    owners = controlled_by("apps/v1", "ReplicaSet", "web-abc")
    own(server, REPLICA_SETS, "web-abc", controlled_by("apps/v1", "Deployment", "web"))
    put(server, *(running_pod(f"web-abc-{n:02}", owners=owners) for n in range(14)))
    (web,) = await groups(client)
    assert (web.count, web.names) == (14, tuple(f"web-abc-{n:02}" for n in range(10)))
    pages = [dict(request.query) for request in server.asked if request.path == PODS]
    assert pages == [{"limit": "3", **({"continue": str(at)} if at else {})} for at in range(0, 14, 3)]


async def test_pages_that_are_too_long_are_asked_for_in_parts(
    served: tuple[ApiServer, ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = served
    monkeypatch.setattr(running, "PAGE", 8)
    monkeypatch.setattr(running, "PAGE_BYTES", 4000)
    put(server, *(running_pod(f"p{n}", annotations={"note": "a" * 1000}) for n in range(9)))
    assert len(await groups(client)) == 9
    assert {request.query["limit"] for request in server.asked} == {"8", "2"}
    put(server, running_pod("p9", annotations={"note": "a" * 4000}))
    with pytest.raises(ClusterError, match="the pods cannot be listed: one of them has more than 4000 bytes"):
        await groups(client)


async def test_a_list_whose_version_is_forgotten_goes_on(
    served: tuple[ApiServer, ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = served
    monkeypatch.setattr(running, "PAGE", 4)
    put(server, *(running_pod(f"p{n}") for n in range(6)))
    # A place that is another one than that which has expired, and means the same to the fake.
    gone = {"kind": "Status", "code": 410, "metadata": {"continue": "4 "}}

    def expired(request: web.Request) -> web.Response | None:
        return web.json_response(gone, status=410) if request.query.get("continue") else None

    server.faults = [lambda _: None, expired]
    assert len(await groups(client)) == 6


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: web.json_response({"items": 7}), "the pods cannot be listed: the API server answered no list"),
        (lambda: web.Response(body=b"<html>"), "the pods cannot be listed: the API server sent no JSON"),
        (
            lambda: web.json_response({"kind": "Status", "message": "no such user"}, status=403),
            "the pods cannot be listed: the API server answered 403 Forbidden: no such user; who asks needs the right",
        ),
        (
            lambda: web.json_response({"kind": "Status", "metadata": {"continue": ""}}, status=410),
            "the pods cannot be listed: the API server answered 410 Gone",
        ),
        (lambda: web.Response(status=500), "the API server answered 500"),
    ],
)
async def test_what_cannot_be_listed_is_an_error(
    served: tuple[ApiServer, ApiClient], answer: Callable[[], web.Response], words: str
) -> None:
    server, client = served
    server.faults = [lambda _: answer()]
    with pytest.raises(ClusterError) as caught:
        await groups(client)
    assert words in caught.value.message


async def test_controllers_that_cannot_be_listed_are_an_error(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    put(server, running_pod("web-1", owners=controlled_by("apps/v1", "ReplicaSet", "web")))
    server.forbidden = lambda request: request.path == REPLICA_SETS
    with pytest.raises(ClusterError, match=r"the replicasets\.apps cannot be listed: .*needs the right to list"):
        await groups(client)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (replace(DEFAULT_LIMITS, running_workloads=2), r"limit runningWorkloads \(2\)"),
        (replace(DEFAULT_LIMITS, running_bytes=400), r"limit runningBytes \(400\)"),
    ],
)
async def test_too_much_is_an_error(served: tuple[ApiServer, ApiClient], limits: Limits, words: str) -> None:
    server, client = served
    put(server, running_pod("a"), running_pod("b"))
    assert len(await groups(client, limits)) == 2
    put(server, running_pod("c"))
    with pytest.raises(ClusterError, match=words):
        await groups(client, limits)


async def test_one_namespace_alone(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    within = "/api/v1/namespaces/shop/pods"
    server.objects[within] = {"web": running_pod("web", owners=controlled_by("apps/v1", "ReplicaSet", "rs"))}
    server.objects["/apis/apps/v1/namespaces/shop/replicasets"] = {}
    (web,) = await groups(client, namespace="shop")
    assert (web.owner.kind, web.owner.name) == ("ReplicaSet", "rs")
    assert {request.path.split("/")[-3:-1][0] for request in server.asked} == {"namespaces"}


WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def webhook(name: str, operator: str, *namespaces: str) -> JSON:
    chosen = {"key": "kubernetes.io/metadata.name", "operator": operator, "values": list(namespaces)}
    return {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://gate.example/validate"},
        "namespaceSelector": {"matchExpressions": [chosen]},
    }


@pytest.mark.parametrize(
    ("webhooks", "judged"),
    [
        ([webhook("gate.portcullis.dev", "NotIn", "kube-system", "bank")], {"shop", "farm"}),
        ([webhook("gate.portcullis.dev", "In", "shop")], {"shop"}),
        ([webhook("gate.portcullis.dev", "In", "shop"), webhook("more.example", "In", "farm")], {"shop", "farm"}),
        (
            [webhook("gate.portcullis.dev", "NotIn", "bank", "farm"), webhook("more.example", "In", "farm")],
            {"kube-system", "shop", "farm"},
        ),
        (
            [webhook("gate.portcullis.dev", "NotIn", "shop", "bank"), webhook("more.example", "NotIn", "shop", "farm")],
            {"kube-system", "farm", "bank"},
        ),
        (
            [webhook("gate.portcullis.dev", "NotIn", "kube-system"), webhook("policies.portcullis.dev", "In", "x")],
            {"shop", "farm", "bank"},
        ),
    ],
)
async def test_what_the_webhook_is_not_called_for_is_left_out(
    served: tuple[ApiServer, ApiClient], webhooks: list[JSON], judged: set[str]
) -> None:
    server, client = served
    server.put(WEBHOOKS, "portcullis", webhooks=webhooks)
    put(server, *(running_pod(f"in-{name}", namespace=name) for name in ("shop", "farm", "bank", "kube-system")))
    assert {one.owner.namespace for one in await groups(client, webhook="portcullis")} == judged


async def test_without_its_webhook_nothing_is_judged(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    server.objects[WEBHOOKS] = {}
    put(server, running_pod("web"))
    with pytest.raises(ClusterError, match="there is no ValidatingWebhookConfiguration portcullis"):
        await groups(client, webhook="portcullis")
