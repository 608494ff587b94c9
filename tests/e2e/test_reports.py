"""Reports on the real API server, written with the rights of the chart and read by kubectl as docs/operators-reports.md
shows it: both kinds, thousands of results, nothing of others touched."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from e2e.cluster.gate import CHART, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import GOOD, ROOT
from e2e.test_docs import commands
from fakes.decisions import OUTAGE, VIOLATION, WARNED
from fakes.reported import failing, rejudged
from portcullis.cluster.reports import PolicyReports
from portcullis.limits import Limits
from portcullis.model.decision import UndecidedPolicy
from portcullis.model.ruling import Mode
from portcullis.model.running import ObjectRef, Rejudged
from tools import reportcrds

PAGE = "docs/operators-reports.md"
SHOP = "shop"
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 27, 13, 0, tzinfo=UTC)
REHEARSAL = "rehearsal"
"""A release of which nothing but the rights is there, and its namespace."""
FULL_NAME = f"{REHEARSAL}-portcullis"
ACCOUNT = f"system:serviceaccount:{REHEARSAL}:{FULL_NAME}"
LABEL = "app.kubernetes.io/managed-by=portcullis"
KINDS = {
    "policyreports.wgpolicyk8s.io": "/apis/wgpolicyk8s.io/v1alpha2/namespaces/{}/policyreports",
    "reports.openreports.io": "/apis/openreports.io/v1alpha1/namespaces/{}/reports",
}
kinds = pytest.mark.parametrize("kind", KINDS)

Publish = Callable[[Callable[[PolicyReports], Awaitable[None]]], PolicyReports]


@pytest.fixture(scope="module")
def publish(cluster: Cluster) -> Publish:
    """Runs something with reports, as the gate's service account with the rights that the chart gives it."""
    cluster.namespace(REHEARSAL)
    command = ("helm", "template", REHEARSAL, str(CHART), "--namespace", REHEARSAL, "-s", "templates/rbac.yaml")
    cluster.kubectl("apply", "-f", "-", stdin=cluster.run(*command).stdout)
    token = cluster.kubectl("create", "token", FULL_NAME, "--namespace", REHEARSAL).stdout.strip()
    configuration = Configuration(host=f"https://127.0.0.1:{cluster.port}", ssl_ca_cert=str(cluster.pki.ca))
    configuration.api_key["BearerToken"] = f"Bearer {token}"

    def run(what: Callable[[PolicyReports], Awaitable[None]]) -> PolicyReports:
        async def go() -> PolicyReports:
            async with ApiClient(configuration) as client:
                reports = PolicyReports(client=client, limits=Limits(report_writes_per_second=1000))
                await what(reports)
                return reports

        return asyncio.run(go())

    return run


def define(cluster: Cluster, definition: dict[str, Any]) -> None:
    cluster.apply(definition)
    kind = definition["metadata"]["name"]
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{kind}", "--timeout=30s")
    # For a moment after that it says that its storage is initializing.
    until(lambda: cluster.kubectl("get", kind, ok=None).returncode == 0, kind)


@pytest.fixture(scope="module")
def one_kind(cluster: Cluster, publish: Publish) -> None:
    """PolicyReports; before they are there, nothing is written, and that is no error."""
    cluster.namespace(SHOP)
    found = publish(lambda reports: reports.publish(SHOP, failing(3), NOON))
    assert (found.served, found.counters.written) == ((), 0)
    define(cluster, reportcrds.policy_reports())


@pytest.fixture(scope="module")
def both_kinds(cluster: Cluster, one_kind: None) -> None:
    define(cluster, reportcrds.open_reports())


def objects(cluster: Cluster, kind: str, namespace: str = SHOP, selector: str = LABEL) -> dict[str, Any]:
    found = cluster.api.get(f"{KINDS[kind].format(namespace)}?labelSelector={selector}")["items"]
    return {one["metadata"]["name"]: one for one in found}


def versions(cluster: Cluster, kind: str, namespace: str = SHOP) -> dict[str, str]:
    found = objects(cluster, kind, namespace)
    return {name: one["metadata"]["resourceVersion"] for name, one in found.items()}


def mixed() -> Sequence[Rejudged]:
    """One workload of each outcome."""
    owners = [ObjectRef("apps/v1", "Deployment", SHOP, name, f"u-{name}") for name in ("bad", "old", "let-in", "dark")]
    covered = replace(VIOLATION, exception="EX-12", excepted_until=datetime(2027, 1, 31, tzinfo=UTC))
    return [
        rejudged(owner=owners[0], violations=(VIOLATION, WARNED), passed=("image-age", "image-libc")),
        rejudged(owner=owners[1], violations=(covered,)),
        rejudged(owner=owners[2], break_glass="break-glass:shop/outage", passed=("image-age",)),
        rejudged(owner=owners[3], undecided=(UndecidedPolicy("scan-fresh", Mode.DENY, (OUTAGE,)),)),
    ]


def test_five_thousand_results_are_far_below_what_the_api_server_stores(
    cluster: Cluster, publish: Publish, one_kind: None
) -> None:
    namespace, (kind, *_) = cluster.namespace("many"), KINDS
    many = list(failing(2500, namespace=namespace, each=2))
    made = publish(lambda reports: reports.publish(namespace, many, NOON))
    found = objects(cluster, kind, namespace)
    assert sum(len(one["results"]) for one in found.values()) == 5000
    assert found.keys() == {f"portcullis-{number}" for number in range(1, 26)}
    sizes = [len(json.dumps(one).encode()) for one in found.values()]
    assert max(sizes) < 256 * 1024
    print(f"\n5,000 results: {len(found)} {kind}, the largest of {max(sizes)} bytes")
    assert made.counters.written == 25

    before = versions(cluster, kind, namespace)
    again = publish(lambda reports: reports.publish(namespace, many, LATER))
    assert (again.counters.written, again.counters.unchanged) == (0, 25)
    assert versions(cluster, kind, namespace) == before
    publish(lambda reports: reports.publish(namespace, many[:1200] + many[1201:], LATER))
    after = versions(cluster, kind, namespace)
    # The page with its results, and the first, which counts what passed.
    assert {name for name in before | after if after.get(name) != before.get(name)} == {"portcullis-13", "portcullis-1"}


@kinds
def test_every_field_is_one_of_the_kind(cluster: Cluster, publish: Publish, both_kinds: None, kind: str) -> None:
    publish(lambda reports: reports.publish(SHOP, mixed(), NOON))
    (page,) = objects(cluster, kind).values()
    assert page["summary"] == {"pass": 3, "fail": 1, "warn": 2, "error": 1, "skip": 1}
    copy = {key: page[key] for key in page if key != "metadata"} | {"metadata": {"name": "copy", "namespace": SHOP}}
    # What the definition does not know would be refused, and was not dropped: the page is as it was sent.
    cluster.api.post(f"{KINDS[kind].format(SHOP)}?fieldValidation=Strict&dryRun=All", copy)
    again = publish(lambda reports: reports.publish(SHOP, mixed(), LATER))
    assert (again.counters.written, again.counters.unchanged) == (0, 2)


def test_a_person_reads_them_as_the_page_shows(cluster: Cluster, publish: Publish, both_kinds: None) -> None:
    """And takes them away: every command of the page."""
    publish(lambda reports: reports.publish(SHOP, mixed(), NOON))
    shown = {shlex.join(words): cluster.run(*words).stdout for words in commands(PAGE) if words[1] != "delete"}
    text = "\n".join(f"$ {command}\n{said}" for command, said in shown.items())
    print(f"\n{text}")
    assert re.search(r"policyreports +polr +wgpolicyk8s.io/v1\w+ +true +PolicyReport", text)
    assert re.search(r"reports +reps +openreports.io/v1alpha1 +true +Report", text)
    assert re.search(r"NAMESPACE +NAME +PASS +FAIL +WARN +ERROR +SKIP +AGE", text)
    assert re.search(rf"{SHOP} +portcullis-1 +3 +1 +2 +1 +1 ", text)
    assert re.search(r"Expires: +2027-01-31T00:00:00Z", text)
    (lines,) = [said for command, said in shown.items() if "jsonpath" in command]
    assert lines.splitlines() == [
        "Deployment/bad  image-user  runs as root: the image names no USER. set USER to a numeric id in the Dockerfile."
    ]

    team = ("--as=jane", "--as-group=shop-team", "--as-group=system:authenticated")
    for kind in KINDS:
        assert cluster.kubectl("get", kind, "--namespace", SHOP, *team).stdout.count("portcullis-1") == 1
        assert "Forbidden" in cluster.kubectl("get", kind, "--namespace", "default", *team, ok=False).stderr

    for words in commands(PAGE):
        if words[1] == "delete":
            cluster.run(*words)
    assert not any(objects(cluster, kind) for kind in KINDS)


def theirs(kind: str) -> list[dict[str, Any]]:
    """Reports of others, each of which looks like one of ours in part."""
    group = kind.partition(".")[2]
    version, what = ("v1alpha2", "PolicyReport") if group == "wgpolicyk8s.io" else ("v1alpha1", "Report")
    label, _, us = LABEL.partition("=")
    names = {"portcullis-1": {}, "portcullis-2": {label: "kyverno"}, "portcullis": {label: us}, "polr-web": {label: us}}
    return [
        {
            "apiVersion": f"{group}/{version}",
            "kind": what,
            "metadata": {"name": name, "namespace": SHOP, "labels": labels},
            "results": [{"policy": "p", "result": "fail", "message": name}],
            "summary": {"fail": 1},
        }
        for name, labels in names.items()
    ]


def test_nothing_of_others_is_touched(cluster: Cluster, publish: Publish, both_kinds: None) -> None:
    cluster.apply(*(one for kind in KINDS for one in theirs(kind)))
    before = {kind: objects(cluster, kind, selector="") for kind in KINDS}
    publish(lambda reports: reports.publish(SHOP, failing(300), NOON))
    for kind in KINDS:
        ours = objects(cluster, kind, selector="").keys() - before[kind].keys()
        assert ours == {"portcullis-3", "portcullis-4"}
    publish(lambda reports: reports.publish(SHOP, failing(1), NOON))
    publish(lambda reports: reports.publish("default", failing(1, namespace="default"), NOON))
    publish(lambda reports: reports.clear(["default"]))
    assert {kind: objects(cluster, kind, selector="") for kind in KINDS} == before
    assert all(objects(cluster, kind, "default") for kind in KINDS)
    publish(lambda reports: reports.clear([]))
    assert not any(objects(cluster, kind, "default") for kind in KINDS)
    for kind, path in KINDS.items():
        for one in theirs(kind):
            cluster.api.delete(f"{path.format(SHOP)}/{one['metadata']['name']}")


def test_what_somebody_writes_into_ours_is_put_right(cluster: Cluster, publish: Publish, both_kinds: None) -> None:
    publish(lambda reports: reports.publish(SHOP, failing(3), NOON))
    kind = "policyreports.wgpolicyk8s.io"
    before = objects(cluster, kind)["portcullis-1"]
    patch = {"results": [], "summary": {"fail": 0}, "metadata": {"labels": {"team": "payments"}}}
    cluster.kubectl("patch", kind, "portcullis-1", "--namespace", SHOP, "--type=merge", "--patch", json.dumps(patch))
    publish(lambda reports: reports.publish(SHOP, failing(3), NOON))
    after = objects(cluster, kind)["portcullis-1"]
    assert {key: after[key] for key in ("results", "summary")} == {key: before[key] for key in ("results", "summary")}
    assert after["metadata"]["labels"]["team"] == "payments"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_namespace_that_is_going_is_no_error(cluster: Cluster, publish: Publish, both_kinds: None) -> None:
    going = cluster.namespace("going")
    held = {"metadata": {"name": "held", "namespace": going, "finalizers": ["example.test/held"]}}
    cluster.api.post(f"/api/v1/namespaces/{going}/configmaps", held)
    cluster.api.delete(f"/api/v1/namespaces/{going}")
    try:
        made = publish(lambda reports: reports.publish(going, failing(1, namespace=going), NOON))
        assert (made.counters.written, made.failing) == (0, {})
        made = publish(lambda reports: reports.publish("never-there", failing(1), NOON))
        assert (made.counters.written, made.failing) == (0, {})
    finally:
        path = f"/api/v1/namespaces/{going}/configmaps/held"
        cluster.api.patch(path, {"metadata": {"finalizers": None}}, "merge-patch")


def test_the_account_may_do_nothing_else_with_reports(cluster: Cluster, publish: Publish, both_kinds: None) -> None:
    expected = {"list": "yes", "create": "yes", "patch": "yes", "delete": "yes", "deletecollection": "no"}
    for verb, allowed in expected.items():
        for kind in KINDS:
            said = cluster.kubectl("auth", "can-i", verb, kind, "--as", ACCOUNT, "--all-namespaces", ok=None).stdout
            assert said.strip() == allowed


def test_the_installed_gate_writes_them_after_each_round(release: Installed, both_kinds: None) -> None:
    cluster = release.cluster
    for name in ("bad", "good"):
        cluster.namespace(name)
    images = {"bad": ROOT, "good": GOOD}
    cluster.apply(
        *(workload("Pod", "web", name, container("web", release.registry.image(images[name]))) for name in images)
    )
    values = release.values("enforce")
    values["recheck"] = {"everyMinutes": 0.05, "workloadsPerSecond": 1000, "imagesPerSecond": 1000}
    release.helm("install", values=values)
    get = ("get", "policyreports", "--all-namespaces", "--selector", LABEL)
    found = until(
        lambda: re.findall(r"^(bad|good) +portcullis-1 +\d+ +(\d+) ", cluster.kubectl(*get).stdout, re.MULTILINE),
        "both",
        90,
    )
    print(f"\n{cluster.kubectl(*get).stdout}")
    assert dict(found)["bad"] != "0"
    (page,) = objects(cluster, "policyreports.wgpolicyk8s.io", "bad").values()
    failed = [result for result in page["results"] if result["result"] == "fail"]
    assert "image-user" in {result["policy"] for result in failed}
    assert {(result["resources"][0]["kind"], result["resources"][0]["name"]) for result in failed} == {("Pod", "web")}
    assert objects(cluster, "reports.openreports.io", "bad").keys() == {"portcullis-1"}

    health = f"http://127.0.0.1:{release.ports['health']}"
    ready = cluster.run("curl", "-s", f"{health}/readyz?verbose").stdout
    assert "[+]reports ok: PolicyReport of wgpolicyk8s.io/v1alpha2, Report of openreports.io/v1alpha1" in ready
    metrics = cluster.run("curl", "-s", f"{health}/metrics").stdout
    assert 'portcullis_report_kinds{kind="reports.openreports.io"} 1.0' in metrics
    before = versions(cluster, "policyreports.wgpolicyk8s.io", "bad")

    cluster.kubectl("delete", "pod", "web", "--namespace", "good", "--force", "--grace-period=0")
    until(lambda: not any(objects(cluster, kind, "good") for kind in KINDS), "the end of the report of what is gone")
    assert versions(cluster, "policyreports.wgpolicyk8s.io", "bad") == before, (
        "rounds that found the same wrote it again"
    )
    release.helm("uninstall")
    assert objects(cluster, "policyreports.wgpolicyk8s.io", "bad"), "what was written stays, as the page says"
