"""Refusals are told on the objects that people look at: once for each cause, slowly, within bounds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.records import InMemoryRecords, SystemClock, a_decision
from fakes.reviews import pod, request, update
from portcullis.errors import ClusterError, RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Problem, Stage, UndecidedPolicy, Verdict
from portcullis.model.notice import Notice, ObjectReference
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.ruling import CompiledBundle, Mode
from portcullis.server.events import ATTEMPTS, Refusals
from portcullis.server.lifecycle import background
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.telemetry import Metrics
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-59575fd9f", "uid": "rs", "controller": True}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "deploy", "controller": True}
SET = ObjectReference("apps/v1", "ReplicaSet", "shop", "web-59575fd9f", "rs")
QUICK = Limits(event_seconds=0.05, events_per_second=1000)


@dataclass
class Written:
    """A writer that keeps what it is told, and fails as often as a test wants."""

    notices: list[tuple[Notice, int]] = field(default_factory=list)
    failures: int = 0
    at: list[float] = field(default_factory=list)

    async def write(self, notice: Notice, *, count: int, last: datetime) -> None:
        self.at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ClusterError("the API server is away")
        self.notices.append((notice, count))

    def told(self) -> list[tuple[str, str, int]]:
        return [(notice.regarding.kind, notice.reason, count) for notice, count in self.notices]


@contextlib.asynccontextmanager
async def telling(limits: Limits = QUICK, failures: int = 0) -> AsyncIterator[tuple[Refusals, Written]]:
    written = Written(failures=failures)
    refusals = Refusals(writer=written, clock=SystemClock(), limits=limits)
    async with background(refusals.run()):
        yield refusals, written


async def settled(refusals: Refusals) -> None:
    async with asyncio.timeout(10):
        while refusals.waiting:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.01)


def refused(*policies: str, number: int = 1) -> Decision:
    denied = policies or ("image-user",)
    return replace(a_decision(f"d-{number}", verdict=Verdict.REFUSED, code=403, denied=denied), document=b"")


def outage(code: int = 503) -> Decision:
    problem = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no route to host")
    undecided = (UndecidedPolicy("image-user", Mode.DENY, (problem,)),)
    return replace(a_decision(verdict=Verdict.UNDECIDED, code=code), undecided=undecided, message="an outage")


def owned(*owners: Mapping[str, Any], name: str = "web-1", **changes: Any) -> AdmissionRequest:
    """The creation of a pod."""
    made = pod("web:1")
    made["metadata"] |= {"name": name, "uid": f"uid-{name}", "ownerReferences": list(owners)}
    return request(made, name=name, **changes)


def of_kind(kind: str, uid: str, *owners: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web-59575fd9f", "namespace": "shop", "uid": uid, "ownerReferences": list(owners)}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {}}


async def test_twenty_tries_are_one_notice_and_a_count() -> None:
    async with telling() as (refusals, written):
        for number in range(20):
            refusals.offer(owned(REPLICA_SET, name=f"web-{number}"), refused(number=number))
            await asyncio.sleep(0.002)
        await settled(refusals)
    assert {(notice.regarding, notice.reason) for notice, _ in written.notices} == {(SET, "Refused")}
    assert len({notice.cause for notice, _ in written.notices}) == 1
    assert sum(count for _, count in written.notices) == 20
    assert len(written.notices) <= 6
    apart = [later - before for before, later in zip(written.at, written.at[1:], strict=False)]
    assert min(apart) >= QUICK.event_seconds * 0.9


@pytest.mark.parametrize(("code", "reason"), [(503, "Undecided"), (429, "Undecided"), (403, "Refused"), (200, "")])
async def test_an_outage_looks_different(code: int, reason: str) -> None:
    decisions = {403: refused(), 200: a_decision()}
    async with telling() as (refusals, written):
        refusals.offer(owned(REPLICA_SET), decisions.get(code) or outage(code))
        await settled(refusals)
    assert written.told() == ([("ReplicaSet", reason, 1)] if reason else [])


NODE = {"apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": "n", "controller": True}
OLD = pod("web:1")
OLD["metadata"] = {"name": "web", "namespace": "shop", "uid": "pod-uid", "ownerReferences": [REPLICA_SET]}


@pytest.mark.parametrize(
    ("asked", "about"),
    [
        pytest.param(owned(), None, id="a pod of nobody"),
        pytest.param(owned({**REPLICA_SET, "controller": False}), None, id="an owner that does not control it"),
        pytest.param(owned({**REPLICA_SET, "controller": False}, DEPLOYMENT), "Deployment", id="the one that does"),
        pytest.param(owned({**REPLICA_SET, "uid": 7}), None, id="an owner without an id"),
        pytest.param(owned({**REPLICA_SET, "name": "x" * 300}), None, id="an owner with an endless name"),
        pytest.param(owned("odd"), None, id="what is no reference"),  # type: ignore[arg-type]
        pytest.param(owned(REPLICA_SET, dryRun=True), None, id="a dry run"),
        pytest.param(request(of_kind("ReplicaSet", "rs", DEPLOYMENT)), "Deployment", id="a ReplicaSet"),
        pytest.param(request(of_kind("Deployment", "deploy")), None, id="a Deployment that is not there yet"),
        pytest.param(
            update(of_kind("Deployment", "deploy"), of_kind("Deployment", "deploy")), "Deployment", id="update"
        ),
        pytest.param(update(OLD, OLD, subResource="ephemeralcontainers"), "Pod", id="a debug container"),
        pytest.param(update(OLD, OLD, subResource="scale"), None, id="a scale is another object"),
        pytest.param(
            owned(NODE, userInfo={"username": "system:node:worker-1", "groups": []}), "Node", id="a mirror pod"
        ),
        pytest.param(owned(NODE), None, id="somebody who speaks of a node"),
        pytest.param(owned(NODE, userInfo={"username": "system:node:worker-2", "groups": []}), None, id="another node"),
    ],
)
async def test_whom_it_is_told(asked: AdmissionRequest, about: str | None) -> None:
    async with telling() as (refusals, written):
        refusals.offer(asked, refused())
        await settled(refusals)
    assert [kind for kind, _, _ in written.told()] == ([about] if about else [])
    assert [notice.regarding.namespace for notice, _ in written.notices] == (
        [] if about is None else [""] if about == "Node" else ["shop"]
    )


async def test_the_deployment_hears_of_pods_whose_replica_set_was_seen() -> None:
    """Their review names the ReplicaSet alone, and people describe the Deployment."""
    async with telling() as (refusals, written):
        refusals.offer(request(of_kind("ReplicaSet", "rs", DEPLOYMENT)), a_decision())
        refusals.offer(owned(REPLICA_SET), refused())
        await settled(refusals)
    assert sorted(written.told()) == [("Deployment", "Refused", 1), ("ReplicaSet", "Refused", 1)]


async def test_only_so_many_owners_of_owners_are_known() -> None:
    async with telling(Limits(event_objects=2, events_per_second=1000)) as (refusals, written):
        for uid in ("rs", "other-1", "other-2"):
            refusals.offer(request(of_kind("ReplicaSet", uid, DEPLOYMENT)), a_decision())
        refusals.offer(owned(REPLICA_SET), refused())
        await settled(refusals)
    assert written.told() == [("ReplicaSet", "Refused", 1)]


async def test_other_reasons_are_another_notice() -> None:
    async with telling() as (refusals, written):
        for policies in (("image-user",), ("image-user", "image-shell"), ("image-shell", "image-user")):
            refusals.offer(owned(REPLICA_SET), refused(*policies))
        refusals.offer(owned(REPLICA_SET), outage())
        await settled(refusals)
    assert sorted(count for _, count in written.notices) == [1, 1, 2]


async def test_bounds_are_kept_and_what_is_over_them_is_counted() -> None:
    refusals = Refusals(writer=Written(), clock=StandingClock(), limits=Limits(event_objects=2, event_causes=2))
    for policy in ("a", "b", "c"):
        refusals.offer(owned(REPLICA_SET), refused(policy))
    assert (refusals.waiting, refusals.dropped) == (2, 1)
    refusals.offer(owned({**REPLICA_SET, "uid": "2"}), refused())
    refusals.offer(owned({**REPLICA_SET, "uid": "3"}), refused())
    assert (refusals.waiting, refusals.dropped) == (3, 2)


async def test_an_object_that_is_told_of_makes_room_for_another() -> None:
    async with telling(Limits(event_objects=1, event_seconds=0.01, events_per_second=1000)) as (refusals, written):
        for uid in ("1", "2"):
            refusals.offer(owned({**REPLICA_SET, "uid": uid}), refused())
            await settled(refusals)
            await asyncio.sleep(0.02)
    assert [notice.regarding.uid for notice, _ in written.notices] == ["1", "2"]


async def test_writes_are_few_a_second() -> None:
    async with telling(Limits(events_per_second=20)) as (refusals, written):
        for uid in range(5):
            refusals.offer(owned({**REPLICA_SET, "uid": str(uid)}), refused())
        await settled(refusals)
    assert written.at[-1] - written.at[0] >= 4 / 20 * 0.9


@pytest.mark.parametrize(("failures", "told"), [(ATTEMPTS - 1, [("ReplicaSet", "Refused", 2)]), (ATTEMPTS, [])])
async def test_an_api_server_that_is_away_is_asked_again_for_a_while(failures: int, told: list[object]) -> None:
    metrics = Metrics()
    async with telling(Limits(event_seconds=0.25, events_per_second=1000), failures) as (refusals, written):
        refusals.observe(metrics)
        (check,) = refusals.checks()
        refusals.offer(owned(REPLICA_SET), refused())
        await asyncio.sleep(0.02)
        assert "could not be written" in await check.probe()
        refusals.offer(owned(REPLICA_SET), refused())
        await settled(refusals)
        assert bool(await check.probe()) is not bool(told)
    assert written.told() == told
    value = metrics.registry.get_sample_value
    assert value("portcullis_events_failed_total") == failures
    assert value("portcullis_events_dropped_total") == (0 if told else 2)
    assert value("portcullis_events_written_total") == len(told)
    assert value("portcullis_events_waiting") == 0


async def test_without_a_cluster_nothing_is_kept_or_shown() -> None:
    refusals = Refusals(writer=None, clock=StandingClock(), limits=Limits())
    refusals.offer(owned(REPLICA_SET), refused())
    metrics = Metrics()
    refusals.observe(metrics)
    await refusals.run()
    assert (refusals.waiting, refusals.checks()) == (0, [])
    assert b"portcullis_events" not in metrics.page()


@pytest.mark.parametrize(
    ("caller", "verifying", "told"),
    [
        (Caller.PATH, True, True),
        (Caller.CERTIFICATE, True, True),
        (Caller.UNVERIFIED, True, False),
        (Caller.UNVERIFIED, False, True),
    ],
)
@pytest.mark.parametrize("failing", [False, True], ids=["recorded", "not recorded"])
async def test_only_what_the_api_server_asked_for_is_told(
    caller: Caller, verifying: bool, told: bool, failing: bool
) -> None:
    """Where callers can be told apart at all; and what is told is what was answered."""
    clock, metrics, answered = StandingClock(), Metrics(), list[Decision]()
    records = InMemoryRecords()
    records.failing = failing
    recorder = Recorder(
        records=records,
        clock=clock,
        metrics=metrics,
        standing=Current(Standing(CompiledBundle("sha256:p", ()), config_revision="c")),
        text=lambda text: text,
        sampling=Sampling(verifying=verifying, per_minute=5, clock=clock, metrics=metrics),
        also=lambda record: None,
        answered=lambda _, decision: answered.append(decision),
    )
    asked, decision = replace(owned(REPLICA_SET), caller=caller), refused()
    try:
        await recorder.keep(asked, decision, asyncio.get_running_loop().time() + 5)
    except RecordsError as error:
        recorder.lost(asked, decision, error, answered=False)
    assert [one.code for one in answered] == ([503 if failing else 403] if told else [])
    for one in answered:
        assert one.message.endswith(f"Decision {decision.id}") or not failing
