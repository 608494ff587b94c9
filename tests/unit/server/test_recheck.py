"""What judges again, put together: what the health port and Prometheus are told of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fakes.leases import MemoryLease
from fakes.rounds import Judging, Reports, Running, group, result_of
from portcullis.audit.findings import SqlFindings
from portcullis.audit.sql import SqlRecords
from portcullis.cluster.recheckparts import recheck_parts
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.running import Condition
from portcullis.server.clock import SystemClock
from portcullis.server.health import examine
from portcullis.server.pacing import Pace
from portcullis.server.recheck import Recheck
from portcullis.server.runningsections import RecheckSection
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=30.0, store_seconds=30.0, read_seconds=20.0, recheck_again_seconds=0.0)
SECTION = RecheckSection.model_validate({"lease": "gate-recheck", "leaseSeconds": 5, "workloadsPerSecond": 1000})


@dataclass
class Gate:
    """One replica."""

    findings: SqlFindings
    lease: MemoryLease = field(default_factory=MemoryLease)
    running: Running = field(default_factory=lambda: Running([group("web"), group("db", namespace="bank")]))
    judging: Judging = field(default_factory=Judging)
    reports: Reports = field(default_factory=Reports)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.recheck = Recheck(
            section=SECTION,
            lease=self.lease,
            workloads=self.running,
            judge=self.judging,
            images=Pace(1000, slowest_seconds=1, clock=clock),
            findings=self.findings,
            reporter=self.reports,
            replica="gate-0",
            clock=clock,
            limits=LIMITS,
        )
        self.recheck.observe(self.metrics)

    async def until(self, condition: Callable[[], object]) -> None:
        task = asyncio.create_task(self.recheck.run())
        try:
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.005)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def said(self) -> str:
        return (await examine(self.recheck.checks())).lines[0]

    def shown(self, name: str) -> dict[str, float]:
        """The series of a metric by what is in their braces."""
        lines = self.metrics.page().decode().splitlines()
        found = [
            line for line in lines if line.startswith((f"portcullis_recheck_{name} ", f"portcullis_recheck_{name}{{"))
        ]
        return {line.rpartition(" ")[0].partition("{")[2].rstrip("}"): float(line.rpartition(" ")[2]) for line in found}


@pytest.fixture
async def findings(tmp_path: Path) -> AsyncIterator[SqlFindings]:
    records = SqlRecords(url=f"sqlite:///{tmp_path / 'audit.db'}", limits=LIMITS)
    await records.start()
    yield SqlFindings(records=records, limits=LIMITS)
    await records.aclose()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portcullis.server.rounds.JITTER_SECONDS", 0.0)


async def test_the_leader_tells_what_its_round_found(findings: SqlFindings) -> None:
    gate = Gate(findings)
    gate.judging.answer = lambda found, _: result_of(
        found, Condition.FAILING if found.owner.name == "web" else Condition.GOOD
    )
    seen: dict[str, dict[str, float]] = {}
    said: list[str] = []

    def published() -> bool:
        if gate.reports.kept is None or not gate.recheck.leading.leads:
            return False
        seen.update({name: gate.shown(name) for name in ("leader", "workloads", "round", "rounds_total")})
        return True

    async def look() -> None:
        await gate.until(published)

    await look()
    said.append(await gate.said())
    assert seen["leader"] == {"": 1}
    assert seen["workloads"] == {
        'condition="failing"': 1,
        'condition="unknown"': 0,
        'condition="break-glass"': 0,
        'condition="excepted"': 0,
        'condition="warned"': 0,
        'condition="good"': 1,
    }
    sizes = {"workloads": 2, "pods": 4, "images": 1, "registry-requests": 1, "moved-tags": 0}
    assert seen["round"] == {f'of="{name}"': value for name, value in sizes.items()}
    assert seen["rounds_total"] == {'outcome="ended"': 1, 'outcome="failed"': 0, 'outcome="cut"': 0}
    assert gate.reports.published == {"bank": ["db"], "shop": ["web"]}
    # Who leads no more tells nothing of what it found, and keeps its counters.
    assert (gate.shown("leader"), gate.shown("workloads"), gate.shown("round")) == ({"": 0}, {}, {})
    assert gate.shown("rounds_total")['outcome="ended"'] == 1
    assert said == ["[+]recheck ok: done by us"]


async def test_it_is_degraded_and_never_decisive_where_rounds_fail(findings: SqlFindings) -> None:
    gate = Gate(findings)
    gate.running.fails_after = 0
    task = asyncio.create_task(gate.recheck.run())
    try:
        async with asyncio.timeout(20):
            while not gate.recheck.rounds.problem:
                await asyncio.sleep(0.005)
        report = await examine(gate.recheck.checks())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert report.ready
    assert report.lines == ("[!]recheck degraded: pods cannot be listed: the API server answered 403",)
    assert gate.shown("faults_total")['part="cluster"'] == 1


async def test_a_replica_that_waits_says_who_does_it(findings: SqlFindings) -> None:
    gate = Gate(findings, lease=MemoryLease(free=False))
    assert await gate.said() == "[+]recheck ok: done by nobody yet"
    await gate.until(lambda: gate.lease.looks)
    assert await gate.said() == "[+]recheck ok: done by them"
    assert (gate.shown("leader"), gate.running.read) == ({"": 0}, 0)


async def test_outside_of_a_pod_it_says_what_is_missing() -> None:
    opened = recheck_parts(
        "gate-recheck", webhook="gate", holder="gate-0", lasts=30, reports=True, clock=SystemClock(), limits=LIMITS
    )
    with pytest.raises(ClusterError, match=r"cluster\.recheck needs a pod with its service account mounted"):
        async with opened:
            raise AssertionError


async def test_the_age_of_the_newest_round_is_told_also_before_the_first(findings: SqlFindings) -> None:
    gate = Gate(findings)
    begun = gate.shown("ended_seconds")[""]
    assert begun == pytest.approx(SystemClock().now().timestamp(), abs=60)
    await gate.until(lambda: gate.recheck.rounds.outcomes["ended"])
    assert gate.shown("ended_seconds")[""] >= begun
    assert gate.shown("interval_seconds") == {"": 3600}
    assert gate.shown("round_seconds")[""] >= 0
