"""Rounds over what runs, with the real store of their results; who judges and what runs is in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes.rounds import Judging, Reports, Running, group, result_of
from fakes.running import a_moved_tag
from portcullis.audit.findings import SqlFindings
from portcullis.audit.sql import SqlRecords
from portcullis.errors import ClusterError, RecordsError, Unreachable
from portcullis.limits import Limits
from portcullis.model.decision import Problem, Stage
from portcullis.model.running import Condition, Rejudged, Round, RunningPods
from portcullis.server import rounds as module
from portcullis.server.clock import SystemClock
from portcullis.server.pacing import Courtesy, Pace
from portcullis.server.publishing import FAILURES, Publishing
from portcullis.server.rounds import Rounds

pytestmark = pytest.mark.anyio

LIMITS = Limits(
    append_seconds=30.0, store_seconds=30.0, read_seconds=20.0, recheck_again_seconds=0.0, recheck_courtesy_seconds=10.0
)
AWAY = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no route to host")
GONE = Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="no such image")


class Away(SqlFindings):
    """A store of which the first calls of some kinds fail."""

    failures: Counter[str]

    async def _try(self, name: str) -> None:
        if self.failures[name] > 0:
            self.failures[name] -= 1
            raise RecordsError("the store is away")

    async def begin(self, started: Round) -> None:
        await self._try("begin")
        await super().begin(started)

    async def put(self, round_id: str, results: Sequence[Rejudged]) -> None:
        await self._try("put")
        await super().put(round_id, results)

    async def finish(self, ended: Round) -> None:
        await self._try("finish")
        await super().finish(ended)

    async def round(self) -> Round | None:
        await self._try("round")
        return await super().round()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Away]:
    records = SqlRecords(url=f"sqlite:///{tmp_path / 'audit.db'}", limits=LIMITS)
    await records.start()
    findings = Away(records=records, limits=LIMITS)
    findings.failures = Counter()
    yield findings
    await records.aclose()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is tried again at once."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


@dataclass
class Made:
    rounds: Rounds
    images: Pace
    reports: Reports
    publishing: Publishing


def made(
    store: SqlFindings,
    running: Running,
    judging: Judging,
    *,
    waiting: Callable[[], int] = lambda: 0,
    every_seconds: float = 3600.0,
    limits: Limits = LIMITS,
    reports: Reports | None = None,
) -> Made:
    clock = SystemClock()
    courtesy = Courtesy(most_seconds=limits.recheck_courtesy_seconds, clock=clock)
    courtesy.waiting = waiting
    images = Pace(1000, slowest_seconds=limits.recheck_slowest_seconds, clock=clock)
    reporter = reports or Reports()
    publishing = Publishing(
        findings=store, reporter=reporter, namespaces_per_second=1000, courtesy=courtesy, clock=clock, limits=limits
    )
    rounds = Rounds(
        workloads=running,
        judge=judging,
        findings=store,
        publish=publishing,
        every_seconds=every_seconds,
        workloads_per_second=1000,
        images=images,
        courtesy=courtesy,
        replica="gate-0",
        clock=clock,
        limits=limits,
    )
    return Made(rounds, images, reporter, publishing)


async def standing(store: SqlFindings) -> dict[str, Condition]:
    return {one.owner.name: one.condition for one in (await store.results(limit=100)).results}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_round_keeps_what_came_of_each_and_counts(store: Away) -> None:
    groups = [group(f"web-{number:03}", image=f"{number // 50:02}") for number in range(120)]
    judging = Judging()
    found = await made(store, Running(groups), judging).rounds.round()
    assert (found.workloads, found.pods, found.images, found.registry_requests) == (120, 240, 3, 3)
    assert (found.replica, found.unreachable) == ("gate-0", "")
    assert found.ended_at is not None
    assert await store.round() == found
    assert (await store.totals())[Condition.GOOD] == 120
    assert judging.asked.total() == 120
    assert 1 <= judging.most_at_once <= LIMITS.recheck_at_once


async def test_what_somebody_else_asks_of_registries_is_not_counted(store: Away) -> None:
    judging = Judging(wait=asyncio.Event())
    task = asyncio.create_task(made(store, Running([group("web")]), judging).rounds.round())
    await until(lambda: judging.at_once)
    with judging.traffic.request("registry.example"):
        pass
    assert judging.wait is not None
    judging.wait.set()
    assert (await task).registry_requests == 1
    assert judging.traffic.requests.total() == 2


async def test_no_more_are_judged_at_once_than_may_be(store: Away) -> None:
    limits = replace(LIMITS, recheck_at_once=2)
    judging = Judging(wait=asyncio.Event())
    groups = [group(f"web-{number}") for number in range(6)]
    task = asyncio.create_task(made(store, Running(groups), judging, limits=limits).rounds.round())
    await until(lambda: judging.at_once == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert judging.most_at_once == 2
    assert judging.wait is not None
    judging.wait.set()
    assert (await task).workloads == 6
    assert judging.most_at_once == 2


async def test_a_round_that_cannot_read_the_cluster_is_given_up_and_the_last_one_stays(store: Away) -> None:
    running, judging = Running([group("web"), group("db")]), Judging()
    rounds = made(store, running, judging).rounds
    first = await rounds.round()
    running.fails_after = 1
    judging.answer = lambda found, _: result_of(found, Condition.FAILING)
    with pytest.raises(ClusterError, match="pods cannot be listed"):
        await rounds.round()
    assert await store.round() == first
    assert await standing(store) == {"web": Condition.GOOD, "db": Condition.GOOD}
    running.fails_after = None
    await rounds.round()
    assert await standing(store) == {"web": Condition.FAILING, "db": Condition.FAILING}


@pytest.mark.parametrize("call", ["begin", "put", "finish"])
async def test_a_store_that_is_away_for_a_moment_is_tried_again(store: Away, call: str) -> None:
    store.failures[call] = module.ATTEMPTS - 1
    await made(store, Running([group("web")]), Judging()).rounds.round()
    assert await standing(store) == {"web": Condition.GOOD}


@pytest.mark.parametrize("call", ["begin", "put", "finish"])
async def test_a_store_that_stays_away_ends_the_round(store: Away, call: str) -> None:
    store.failures[call] = module.ATTEMPTS
    with pytest.raises(RecordsError, match="the store is away"):
        await made(store, Running([group("web")]), Judging()).rounds.round()
    assert await store.round() is None


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), RecordsError("the audit log is away")])
async def test_one_that_cannot_be_judged_is_unknown_and_keeps_no_other_from_it(store: Away, error: Exception) -> None:
    def answer(found: RunningPods, _: int) -> Rejudged:
        if found.owner.name == "web":
            raise error
        return result_of(found)

    rounds = made(store, Running([group("web"), group("db")]), Judging(answer)).rounds
    assert (await rounds.round()).workloads == 2
    assert await standing(store) == {"web": Condition.UNKNOWN, "db": Condition.GOOD}
    assert rounds.faults["judging"] >= 1
    (problem,) = (await store.results()).results[0].decision.problems
    assert problem.reason == ("internal-error" if isinstance(error, RuntimeError) else "audit-unavailable")


@pytest.mark.parametrize(
    ("problem", "looks", "condition"),
    [
        pytest.param(AWAY, 2, Condition.GOOD, id="may come"),
        pytest.param(replace(AWAY, pending=True, eta_seconds=3.0), 2, Condition.GOOD, id="under way"),
        pytest.param(GONE, 1, Condition.UNKNOWN, id="will not come"),
    ],
)
async def test_what_may_come_is_looked_at_again_at_the_end(
    store: Away, problem: Problem, looks: int, condition: Condition
) -> None:
    def answer(found: RunningPods, before: int) -> Rejudged:
        return result_of(found) if before else result_of(found, Condition.UNKNOWN, problem)

    judging = Judging(answer)
    found = await made(store, Running([group("web")]), judging).rounds.round()
    assert (judging.asked["web"], found.workloads) == (looks, 1)
    assert await standing(store) == {"web": condition}


async def test_what_does_not_come_is_unknown_after_the_second_look(store: Away) -> None:
    judging = Judging(lambda found, _: result_of(found, Condition.UNKNOWN, AWAY))
    await made(store, Running([group("web")]), judging).rounds.round()
    assert judging.asked["web"] == 2
    assert await standing(store) == {"web": Condition.UNKNOWN}


async def test_only_so_many_are_looked_at_again(store: Away) -> None:
    judging = Judging(lambda found, before: result_of(found, Condition.GOOD if before else Condition.UNKNOWN, AWAY))
    groups = [group(f"web-{number}") for number in range(5)]
    limits = replace(LIMITS, recheck_again=2, recheck_at_once=1)
    await made(store, Running(groups), judging, limits=limits).rounds.round()
    assert Counter((await standing(store)).values()) == {Condition.GOOD: 2, Condition.UNKNOWN: 3}


async def test_registries_that_do_not_answer_are_asked_less_often(store: Away) -> None:
    judging = Judging(lambda found, _: result_of(found, Condition.UNKNOWN, AWAY))
    groups = [group(f"web-{number}", image=f"{number:02}") for number in range(8)]
    limits = replace(LIMITS, recheck_slowest_seconds=0.05)
    one = made(store, Running(groups), judging, limits=limits)
    await one.rounds.round()
    assert one.images.seconds == 0.05
    judging.answer = lambda found, _: result_of(found, Condition.UNKNOWN, GONE)
    await one.rounds.round()
    assert one.images.seconds == 0.001
    # Of one image it is learned once.
    judging.answer = lambda found, _: result_of(found, Condition.FAILING, AWAY)
    one.rounds._workloads = Running([group(f"web-{number}") for number in range(8)])
    await one.rounds.round()
    assert one.images.seconds == 0.002


async def test_admissions_go_first(store: Away) -> None:
    in_flight = [3]
    judging = Judging()
    task = asyncio.create_task(
        made(store, Running([group("web")]), judging, waiting=lambda: in_flight[0]).rounds.round()
    )
    await asyncio.sleep(0.2)
    assert judging.asked.total() == 0
    in_flight[0] = 0
    await task
    assert judging.asked.total() == 1


async def test_it_goes_on_where_there_always_are_admissions(store: Away) -> None:
    limits = replace(LIMITS, recheck_courtesy_seconds=0.05)
    found = await made(store, Running([group("web")]), Judging(), waiting=lambda: 1, limits=limits).rounds.round()
    assert found.workloads == 1


async def test_what_the_audit_log_did_not_tell_is_said_of_the_round(store: Away) -> None:
    found = await made(store, Running([group("web")]), Judging(unasked="the log is away")).rounds.round()
    assert found.unreachable == "the log is away"


# -- one after the other ---------------------------------------------------------------------------------------------


async def run(rounds: Rounds, condition: Callable[[], object]) -> None:
    task = asyncio.create_task(rounds.run())
    try:
        await until(condition)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_rounds_follow_each_other_and_say_how_they_ended(store: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    running = Running([group("web")])
    judging = Judging(lambda found, _: replace(result_of(found, Condition.FAILING), moved=(a_moved_tag(),)))
    one = made(store, running, judging, every_seconds=0.05)
    rounds = one.rounds
    waited_since = rounds.ended_at
    await run(rounds, lambda: rounds.outcomes["ended"] >= 2)
    assert (rounds.problem, rounds.outcomes["failed"]) == ("", 0)
    assert rounds.ended_at > waited_since
    assert rounds.found is not None
    assert (rounds.found.standing[Condition.FAILING], rounds.found.moved) == (1, 1)
    assert one.reports.published == {"shop": ["web"]}
    running.fails_after = 0
    await run(rounds, lambda: rounds.outcomes["failed"] >= 3)
    assert rounds.problem == "pods cannot be listed: the API server answered 403"
    assert rounds.faults["cluster"] >= 3
    running.fails_after = None
    ended = rounds.outcomes["ended"]
    await run(rounds, lambda: rounds.outcomes["ended"] > ended)
    assert rounds.problem == ""


async def test_a_round_that_is_cut_off_is_counted_and_begins_anew(store: Away) -> None:
    judging = Judging(wait=asyncio.Event())
    rounds = made(store, Running([group("web")]), judging, every_seconds=0.05).rounds
    await run(rounds, lambda: judging.at_once)
    assert rounds.outcomes == {"ended": 0, "failed": 0, "cut": 1}
    assert await store.round() is None
    assert judging.wait is not None
    judging.wait.set()
    await run(rounds, lambda: rounds.outcomes["ended"])
    assert await standing(store) == {"web": Condition.GOOD}


async def test_another_replica_knows_what_the_last_round_found(store: Away) -> None:
    first = await made(store, Running([group("web")]), Judging()).rounds.round()
    judging = Judging(wait=asyncio.Event())
    rounds = made(store, Running([group("web")]), judging, every_seconds=0.05).rounds
    await run(rounds, lambda: judging.at_once)
    assert rounds.found is not None
    assert (rounds.found.round, rounds.ended_at) == (first, first.ended_at)


async def test_it_begins_also_where_the_store_is_away(store: Away) -> None:
    store.failures["round"] = 1
    rounds = made(store, Running([group("web")]), Judging(), every_seconds=0.05).rounds
    await run(rounds, lambda: rounds.outcomes["ended"])


async def test_a_fault_of_ours_ends_a_round_and_not_the_rounds(store: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)

    class Faulty(Judging):
        def begin(self) -> None:
            super().begin()
            if self.rounds == 1:
                raise RuntimeError("a fault of ours")

    rounds = made(store, Running([group("web")]), Faulty(), every_seconds=0.05).rounds
    await run(rounds, lambda: rounds.outcomes["ended"])
    assert rounds.outcomes["failed"] == 1


# -- what is made known ----------------------------------------------------------------------------------------------


async def test_each_namespace_has_all_of_its_results_and_others_none(store: Away) -> None:
    groups = [group(f"web-{number}", namespace=f"team-{number % 3}") for number in range(30)]
    limits = replace(LIMITS, search_rows=4)
    one = made(store, Running(groups), Judging(), limits=limits)
    await one.publishing(await one.rounds.round())
    assert one.reports.kept == ["team-0", "team-1", "team-2"]
    assert {name: len(found) for name, found in one.reports.published.items()} == dict.fromkeys(one.reports.kept, 10)
    assert (one.publishing.problem, one.publishing.failed) == ("", 0)


async def test_reports_of_one_namespace_that_fail_keep_no_other_from_theirs(store: Away) -> None:
    groups = [group("web", namespace=name) for name in ("a", "b", "c")]
    one = made(store, Running(groups), Judging(), reports=Reports(fails=frozenset({"b"})))
    ended = await one.rounds.round()
    await one.publishing(ended)
    assert sorted(one.reports.published) == ["a", "c"]
    assert (one.publishing.problem, one.publishing.failed) == ("reports of b cannot be written", 1)
    one.reports.fails = frozenset()
    await one.publishing(ended)
    assert one.publishing.problem == ""


async def test_an_api_server_that_takes_none_is_left_alone_until_the_next_round(store: Away) -> None:
    names = [f"team-{number}" for number in range(FAILURES + 3)]
    groups = [group("web", namespace=name) for name in names]
    one = made(store, Running(groups), Judging(), reports=Reports(fails=frozenset(names)))
    await one.publishing(await one.rounds.round())
    assert (one.publishing.failed, one.reports.kept) == (FAILURES, None)


async def test_without_reports_nothing_is_asked(store: Away) -> None:
    one = made(store, Running([group("web")]), Judging())
    ended = await one.rounds.round()
    clock = SystemClock()
    courtesy = Courtesy(most_seconds=1, clock=clock)
    publishing = Publishing(
        findings=store, reporter=None, namespaces_per_second=1, courtesy=courtesy, clock=clock, limits=LIMITS
    )
    await publishing(ended)
    assert publishing.problem == ""


async def test_a_registry_error_of_a_judge_is_an_outage_like_others(store: Away) -> None:
    def answer(found: RunningPods, before: int) -> Rejudged:
        if not before:
            raise Unreachable("no route to host")
        return result_of(found)

    judging = Judging(answer)
    await made(store, Running([group("web")]), judging).rounds.round()
    assert await standing(store) == {"web": Condition.GOOD}
