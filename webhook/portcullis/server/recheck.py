"""Judges again what runs, in rounds, where the configuration says so: the replica that holds the Lease does it.

The parts stand in modules of their own: who leads (leading.py), how fast it goes (pacing.py), the rounds (rounds.py)
and what is made known of them (publishing.py). Here they are put together, looked at and counted.
"""

from collections.abc import Callable, Mapping

from portcullis.limits import Limits
from portcullis.model.running import Condition
from portcullis.ports import Clock, Findings, Reporter, Workloads
from portcullis.server.health import Check
from portcullis.server.leading import Leading, Lease
from portcullis.server.pacing import Courtesy, Pace
from portcullis.server.publishing import Publishing
from portcullis.server.reporting import Reporting
from portcullis.server.rounds import Judge, Rounds
from portcullis.server.runningsections import RecheckSection
from portcullis.server.telemetry import Metrics


class Recheck:
    """What judges again on this replica.

    Args:
        section: how often and how fast.
        judge: judges one workload after the other.
        images: is waited for by ``judge`` before registries are asked for one more image.
        reporter: None where no reports are written.
        reporting: what is told of the reports, from whether this replica leads; None where nothing is.
        replica: who this is.
    """

    def __init__(
        self,
        *,
        section: RecheckSection,
        lease: Lease,
        workloads: Workloads,
        judge: Judge,
        images: Pace,
        findings: Findings,
        reporter: Reporter | None,
        replica: str,
        clock: Clock,
        limits: Limits,
        reporting: Callable[[Callable[[], bool]], Reporting] | None = None,
    ) -> None:
        self._clock = clock
        self.courtesy = Courtesy(most_seconds=limits.recheck_courtesy_seconds, clock=clock)
        self.publishing = Publishing(
            findings=findings,
            reporter=reporter,
            namespaces_per_second=section.workloads_per_second,
            courtesy=self.courtesy,
            clock=clock,
            limits=limits,
        )
        self.rounds = Rounds(
            workloads=workloads,
            judge=judge,
            findings=findings,
            publish=self.publishing,
            every_seconds=section.every_minutes * 60,
            workloads_per_second=section.workloads_per_second,
            images=images,
            courtesy=self.courtesy,
            replica=replica,
            clock=clock,
            limits=limits,
        )
        self.leading = Leading(lease=lease, work=self.rounds.run, lasts=section.lease_seconds)
        self.reporting = reporting(lambda: self.leading.leads) if reporting is not None else None

    async def run(self) -> None:
        """Until cancelled."""
        await self.leading.run()

    def defer_to(self, waiting: Callable[[], int]) -> None:
        """Lets whoever waits for an answer go first; ``waiting`` says how many there are now."""
        self.courtesy.waiting = waiting

    def checks(self) -> list[Check]:
        """Shown, not decisive: admissions do without. Whoever reaches the port may read it, so it names nobody's
        workloads."""

        async def problem() -> str:
            if self.leading.problem:
                return self.leading.problem
            if not self.leading.leads:
                return ""
            return self.rounds.problem or self.publishing.problem

        def remark() -> str:
            if not self.leading.leads:
                return f"done by {self.leading.leader or 'nobody yet'}"
            found = self.rounds.found
            if found is None or found.round.ended_at is None:
                return "done here, the first round goes on"
            return (
                f"done here, {found.round.workloads} workloads at {found.round.ended_at.isoformat(timespec='seconds')}"
            )

        told = [self.reporting.check()] if self.reporting is not None else []
        return [Check("recheck", problem, decisive=False, remark=remark), *told]

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to it. What rounds found is told by the replica that leads alone, so that sums over replicas
        count nothing twice."""
        rounds, leading = self.rounds, self.leading
        if self.reporting is not None:
            self.reporting.observe(metrics)

        def ended() -> float:  # asks for the instant each time, since each round has another one
            return rounds.ended_at.timestamp()

        metrics.gauge("recheck_leader", "Whether this replica judges again what runs.").set_function(
            lambda: float(leading.leads)
        )
        metrics.gauge("recheck_interval_seconds", "From the begin of one round to that of the next.").set_function(
            lambda: rounds.every_seconds
        )
        metrics.gauge(
            "recheck_ended_seconds", "When the newest whole round ended, else since when it is waited for (Unix time)."
        ).set_function(ended)

        def of_leader(read: Callable[[], Mapping[str, float]]) -> Callable[[], Mapping[str, float]]:
            return lambda: read() if leading.leads else {}

        def standing() -> Mapping[str, float]:
            found = rounds.found
            return {str(one): float(found.standing.get(one, 0)) for one in Condition} if found is not None else {}

        def size() -> Mapping[str, float]:
            found = rounds.found
            if found is None:
                return {}
            one = found.round
            sizes = {"workloads": one.workloads, "pods": one.pods, "images": one.images}
            return {**sizes, "registry-requests": one.registry_requests, "moved-tags": found.moved}

        metrics.gauge_by(
            "recheck_workloads", "Workloads by how they stood in the newest round.", "condition", of_leader(standing)
        )
        metrics.gauge_by("recheck_round", "The newest round in numbers.", "of", of_leader(size))
        seconds = "How long the newest round of this replica took."
        metrics.gauge("recheck_round_seconds", seconds).set_function(lambda: rounds.seconds)
        metrics.count_by("recheck_rounds", "Rounds by how they ended.", "outcome", lambda: rounds.outcomes)
        metrics.count_by("recheck_faults", "What went wrong, by where.", "part", self._faults)
        metrics.count_function(
            "recheck_courtesy_seconds", "That were left to admissions.", lambda: self.courtesy.seconds
        )

    def _faults(self) -> Mapping[str, float]:
        return {**self.rounds.faults, "reports": self.publishing.failed}
