"""Reports in the cluster: pages made, changed and deleted, nothing else touched, and what goes wrong said."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from fakes.decisions import VIOLATION, WARNED
from fakes.reported import failing, rejudged
from fakes.reportserver import OPEN_REPORTS, POLICY_REPORTS, ReportServer, place, report_server
from portcullis.cluster.reports import DISCOVERY_SECONDS, PolicyReports
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.running import Rejudged

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
LABELS = {"app.kubernetes.io/managed-by": "portcullis"}


@pytest.fixture
async def served() -> AsyncIterator[tuple[ReportServer, ApiClient]]:
    async with report_server() as found:
        yield found


@pytest.fixture
def server(served: tuple[ReportServer, ApiClient]) -> ReportServer:
    return served[0]


Make = Callable[..., PolicyReports]


@pytest.fixture
def make(served: tuple[ReportServer, ApiClient]) -> Make:
    def made(clock: Callable[[], float] = lambda: 0.0, **limits: Any) -> PolicyReports:
        bounds = Limits(report_writes_per_second=1e6, **limits)
        return PolicyReports(client=served[1], limits=bounds, seconds=2, clock=clock)

    return made


async def test_a_page_is_made_and_says_who_made_it(server: ReportServer, make: Make) -> None:
    await make().publish("shop", failing(2, each=2), NOON)
    (page,) = server.pages("shop").values()
    assert (page["apiVersion"], page["kind"]) == ("wgpolicyk8s.io/v1alpha2", "PolicyReport")
    assert (page["metadata"]["name"], page["metadata"]["labels"]) == ("portcullis-1", LABELS)
    assert page["summary"] == {"pass": 2, "fail": 4, "warn": 0, "error": 0, "skip": 0}
    assert {result["timestamp"]["seconds"] for result in page["results"]} == {int(NOON.timestamp())}
    assert "source" not in page


async def test_the_same_is_written_once_and_keeps_its_time(server: ReportServer, make: Make) -> None:
    limits = {"report_page_results": 4}
    await make(**limits).publish("shop", failing(10), NOON)
    assert len(server.pages("shop")) == 3
    before, server.writes = server.pages("shop"), []
    reports = make(**limits)
    await reports.publish("shop", failing(10), LATER)
    assert (server.writes, server.pages("shop")) == ([], before)
    assert (reports.counters.written, reports.counters.unchanged) == (0, 3)

    given = [*failing(10), rejudged(violations=(WARNED,))]
    await reports.publish("shop", given, LATER)
    assert len(server.writes) == 1
    found = {result["result"]: result["timestamp"]["seconds"] for result in server.results("shop")}
    assert found == {"fail": int(NOON.timestamp()), "warn": int(LATER.timestamp())}


async def test_pages_that_are_not_needed_any_more_go(server: ReportServer, make: Make) -> None:
    reports = make(report_page_results=4)
    await reports.publish("shop", failing(10), NOON)
    await reports.publish("shop", failing(1), NOON)
    assert sum(len(page["results"]) for page in server.pages("shop").values()) == 1
    assert reports.counters.deleted == 2
    await reports.publish("shop", [rejudged(passed=("image-age",))], NOON)
    (page,) = server.pages("shop").values()
    assert (page["results"], page["summary"]["pass"]) == ([], 1)
    await reports.publish("shop", [], NOON)
    assert server.pages("shop") == {}


async def test_where_nothing_is_wrong_the_summary_says_that_it_was_looked_at(server: ReportServer, make: Make) -> None:
    for _ in range(2):
        await make().publish("shop", [rejudged(passed=("image-age", "image-user"))], NOON)
    (page,) = server.pages("shop").values()
    assert (page["metadata"]["name"], page["results"], page["summary"]["pass"]) == ("portcullis-1", [], 2)
    assert len(server.writes) == 1


@pytest.mark.parametrize(
    ("there", "kinds"),
    [
        ({OPEN_REPORTS}, {OPEN_REPORTS: "Report"}),
        ({POLICY_REPORTS, OPEN_REPORTS}, {POLICY_REPORTS: "PolicyReport", OPEN_REPORTS: "Report"}),
        (set(), {}),
    ],
    ids=["OpenReports", "both", "neither"],
)
async def test_each_api_that_the_cluster_has_is_written(
    server: ReportServer, make: Make, there: set[str], kinds: dict[str, str]
) -> None:
    server.served = there
    reports = make()
    await reports.publish("shop", failing(1), NOON)
    found = {api: page["kind"] for api in (POLICY_REPORTS, OPEN_REPORTS) for page in server.pages("shop", api).values()}
    assert found == kinds
    assert [page["source"] for page in server.pages("shop", OPEN_REPORTS).values()] == ["portcullis"] * (
        OPEN_REPORTS in there
    )
    assert len(reports.served or ()) == len(there)
    await reports.publish("shop", failing(1), LATER)
    assert len(server.writes) == len(there)
    await reports.clear([])
    assert not any(server.pages("shop", api) for api in there)


async def test_what_the_cluster_has_is_asked_once_a_minute(server: ReportServer, make: Make) -> None:
    now = [0.0]
    reports = make(lambda: now[0])
    for namespace in ("a", "b"):
        await reports.publish(namespace, failing(1, namespace=namespace), NOON)
    assert [request.path for request in server.asked].count(OPEN_REPORTS) == 1
    server.served.add(OPEN_REPORTS)
    now[0] = DISCOVERY_SECONDS
    await reports.publish("a", failing(1, namespace="a"), NOON)
    assert len(server.pages("a", OPEN_REPORTS)) == 1


def foreign(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "results": [{"policy": "p", "result": "fail"}]}


async def test_nothing_of_others_is_touched(server: ReportServer, make: Make) -> None:
    theirs = [
        foreign("kyverno-1", {"app.kubernetes.io/managed-by": "kyverno"}),
        foreign("portcullis-1", {}),
        foreign("portcullis-2", {"app.kubernetes.io/managed-by": "somebody"}),
        foreign("cpol-portcullis", LABELS),
        foreign("portcullis-01", LABELS),
    ]
    for namespace in ("shop", "gone"):
        for one in theirs:
            server.put(place(namespace), one["metadata"]["name"], **one)
    before = {namespace: server.pages(namespace) for namespace in ("shop", "gone")}
    reports = make(report_page_results=2)
    for given in (failing(6), failing(1), []):
        await reports.publish("shop", given, NOON)
        if given:
            assert len(server.results("shop")) == len(theirs) + len(given)
    await reports.clear([])
    assert {namespace: server.pages(namespace) for namespace in ("shop", "gone")} == before


async def test_reports_of_namespaces_in_which_nothing_runs_go(server: ReportServer, make: Make) -> None:
    reports = make(report_page_results=1)
    for namespace in ("a", "b", "c"):
        await reports.publish(namespace, failing(2, namespace=namespace), NOON)
    await reports.clear(["b"])
    assert [len(server.pages(namespace)) for namespace in ("a", "b", "c")] == [0, 2, 0]
    assert reports.counters.deleted == 4


def spoil(server: ReportServer, how: str) -> None:
    """What others do to a page of ours."""
    name, path = "portcullis-1", place("shop")
    page = server.pages("shop")[name]
    if how == "deleted":
        server.remove(path, name)
        return
    changes: dict[str, dict[str, Any]] = {
        "a result taken away": {"results": page["results"][1:]},
        "results of another shape": {"results": [{"policy": "x", "timestamp": 7, "resources": [3]}, *page["results"]]},
        "far more results": {"results": page["results"] * 500},
        "a summary": {"summary": {"pass": 99}},
        "no results": {"results": None, "summary": None},
        "a time": {"results": [{**result, "timestamp": {"seconds": 1, "nanos": 0}} for result in page["results"]]},
    }
    server.put(path, name, **{**page, **changes[how]})


@pytest.mark.parametrize(
    "how",
    ["deleted", "a result taken away", "results of another shape", "far more results", "a summary", "no results"],
)
async def test_what_others_change_is_put_right(server: ReportServer, make: Make, how: str) -> None:
    await make().publish("shop", failing(3), NOON)
    before = server.pages("shop")["portcullis-1"]
    spoil(server, how)
    await make().publish("shop", failing(3), NOON)
    after = server.pages("shop")["portcullis-1"]
    assert {key: after[key] for key in ("results", "summary")} == {key: before[key] for key in ("results", "summary")}


async def test_labels_that_others_add_stay(server: ReportServer, make: Make) -> None:
    await make().publish("shop", failing(3), NOON)
    page = server.pages("shop")["portcullis-1"]
    page["metadata"]["labels"]["team"] = "payments"
    server.put(place("shop"), "portcullis-1", **page)
    await make().publish("shop", failing(4), NOON)
    assert server.pages("shop")["portcullis-1"]["metadata"]["labels"] == {**LABELS, "team": "payments"}


async def test_a_page_that_changes_while_it_is_written_is_read_again(server: ReportServer, make: Make) -> None:
    reports = make()
    await reports.publish("shop", failing(1), NOON)

    def meanwhile(request: web.Request) -> None:
        if request.method == "PATCH":
            spoil(server, "a time")
        else:
            server.faults.insert(0, meanwhile)

    server.faults = [meanwhile]
    await reports.publish("shop", failing(2), LATER)
    assert [method for method, _ in server.writes] == ["POST", "PATCH", "PATCH"]
    assert len(server.results("shop")) == 2


@pytest.mark.parametrize("going", ["terminating", "gone"])
async def test_a_namespace_that_goes_is_no_error(server: ReportServer, make: Make, going: str) -> None:
    if going == "terminating":
        server.terminating.add("shop")
    else:
        server.faults = [lambda _: None] * 3 + [lambda _: web.json_response({"code": 404}, status=404)]
    reports = make()
    await reports.publish("shop", failing(1), NOON)
    assert (server.pages("shop"), reports.failing) == ({}, {})


FAULTS = {
    "discovery": (0, web.json_response, {"data": {}, "status": 503}, "answered 503"),
    "no list of resources": (0, web.json_response, {"data": [], "status": 200}, ""),
    "forbidden": (2, web.json_response, {"data": {}, "status": 403}, r"policyreports\.wgpolicyk8s\.io \[list, create"),
    "no list": (2, web.json_response, {"data": {"items": 7}}, "is no list"),
    "refused": (3, web.json_response, {"data": {"message": "too large"}, "status": 413}, "413: too large"),
    "no JSON": (2, web.Response, {"text": "<html>"}, "Expecting value"),
}


@pytest.mark.parametrize(("after", "kind", "how", "words"), FAULTS.values(), ids=FAULTS)
async def test_what_fails_is_said_and_works_the_next_time(
    server: ReportServer, make: Make, after: int, kind: Any, how: dict[str, Any], words: str
) -> None:
    reports = make()
    server.faults = [lambda _: None] * after + [lambda _: kind(**how)]
    if words:
        with pytest.raises(ClusterError, match=rf"the reports of the namespace shop cannot be written: .*{words}"):
            await reports.publish("shop", failing(1), NOON)
        assert list(reports.failing) == ["shop"]
    await reports.publish("shop", failing(1), NOON)
    assert reports.failing == {}
    assert len(server.results("shop")) == (1 if words else 0)


async def test_names_that_are_all_taken_are_said(server: ReportServer, make: Make) -> None:
    for number in range(1, 200):
        server.put(place("shop"), f"portcullis-{number}", **foreign(f"portcullis-{number}", {}))
    with pytest.raises(ClusterError, match="others change them all the time"):
        await make().publish("shop", failing(1), NOON)


async def test_what_cannot_be_deleted_is_said(server: ReportServer, make: Make) -> None:
    reports = make()
    await reports.publish("shop", failing(1), NOON)
    server.faults = [lambda _: None, lambda _: web.json_response({}, status=500)]
    with pytest.raises(ClusterError, match=r"in which nothing runs cannot be deleted: .*500"):
        await reports.clear([])


async def test_past_the_bound_the_worst_are_kept_and_it_is_said(server: ReportServer, make: Make) -> None:
    warned: list[Rejudged] = [rejudged(violations=(WARNED, VIOLATION))]
    reports = make(report_page_results=2, report_pages=2)
    await reports.publish("shop", [*warned, *failing(9)], NOON)
    results = server.results("shop")
    assert [result["policy"] for result in results].count("too-many-results") == 1
    assert {result["result"] for result in results} == {"fail", "error"}
    assert reports.left_out == {"shop": 11 - 3}
    await reports.publish("shop", failing(1), NOON)
    assert reports.left_out == {}


async def test_what_is_told_of_namespaces_ends_with_them(server: ReportServer, make: Make) -> None:
    reports = make(report_page_results=1, report_pages=1)
    await reports.publish("a", failing(9), NOON)
    server.faults = [lambda _: web.json_response({}, status=500)]
    with pytest.raises(ClusterError):
        await reports.publish("b", failing(1), NOON)
    assert (set(reports.left_out), set(reports.failing)) == ({"a"}, {"b"})
    await reports.clear([])
    assert (reports.left_out, reports.failing) == ({}, {})


async def test_writes_are_paced(served: tuple[ReportServer, ApiClient]) -> None:
    server, client = served
    bounds = Limits(report_writes_per_second=20, report_page_results=1)
    reports = PolicyReports(client=client, limits=bounds, clock=lambda: 0.0)
    began = asyncio.get_running_loop().time()
    await reports.publish("shop", failing(3), NOON)
    assert len(server.writes) == 3
    assert asyncio.get_running_loop().time() - began >= 0.14
