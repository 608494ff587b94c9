"""Rounds over everything that runs: each workload is judged again, and what came of it is kept and published.

A round that cannot be ended (the API server or the store is away, this replica leads no more) is given up, and what the
last whole one found is shown until a new one has ended: half a round would show what it did not come to as gone. A
workload that cannot be judged is UNKNOWN in it, never good.

Whoever waits for an answer of the gate goes first; registries are asked for so many images a second, and less often as
long as that fails. Each image is asked for once in a round.
"""

import asyncio
import math
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

import structlog

from portcullis.errors import ClusterError, PortcullisError, RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Problem, Stage, Verdict, unjudged
from portcullis.model.running import Condition, FindingFilter, Rejudged, Round, RunningPods
from portcullis.ports import Clock, Findings, Workloads
from portcullis.registry.traffic import tallied
from portcullis.server.pacing import Courtesy, Pace

JITTER_SHARE: Final = 0.1
JITTER_SECONDS: Final = 30.0
"""Before the first round, at random, at most: clusters that were upgraded together do not ask registries together."""
AGAIN_SECONDS: Final = 60.0
"""Before a round that was given up is begun anew, at most doubled for each in a row, and never longer than the time
between two rounds."""
BATCH: Final = 50
"""Results that are written at once."""
ATTEMPTS: Final = 4
"""To write something into the store."""
PAUSE_SECONDS: Final = 1.0
"""After the first of them, twice as long after each further one."""

_FETCHED: Final = frozenset({Stage.REGISTRY, Stage.EVIDENCE, Stage.INSPECTION, Stage.USER, Stage.PACKAGES})

log = structlog.get_logger(__name__)


class Judge(Protocol):
    """What is asked of rechecking.Rechecker."""

    @property
    def unasked(self) -> str: ...

    def begin(self) -> None: ...

    async def judge(self, group: RunningPods) -> Rejudged: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What the newest round that has ended found. ``moved``: workloads whose tags have moved."""

    round: Round
    standing: Mapping[Condition, int]
    moved: int


@dataclass(slots=True)
class _Work:
    """A round that goes on."""

    id: str
    images: set[str] = field(default_factory=set)
    workloads: int = 0
    pods: int = 0
    done: list[Rejudged] = field(default_factory=list)
    """Results that are not written yet."""
    later: list[RunningPods] = field(default_factory=list)
    """Groups that are judged once more at the end."""
    last_turn: bool = False


class Rounds:
    """Args:
    judge: judges one group after the other; waits for ``images`` before it asks registries for one more.
    publish: makes known what a round that has ended found; raises nothing.
    every_seconds: from the begin of one round to that of the next.
    workloads_per_second: how fast it goes at most.
    images: how fast registries are asked.
    courtesy: lets go first whoever waits for an answer of the gate.
    replica: who this is.
    """

    def __init__(
        self,
        *,
        workloads: Workloads,
        judge: Judge,
        findings: Findings,
        publish: Callable[[Round], Awaitable[None]],
        every_seconds: float,
        workloads_per_second: float,
        images: Pace,
        courtesy: Courtesy,
        replica: str,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._workloads = workloads
        self._judge = judge
        self._findings = findings
        self._publish = publish
        self._replica = replica
        self._clock = clock
        self._limits = limits
        self._per_second = workloads_per_second
        self._images = images
        self._courtesy = courtesy
        self._given_up = 0
        """In a row."""
        self.every_seconds = every_seconds
        self.found: Found | None = None
        self.ended_at: datetime = clock.now()
        """When the newest whole round that this replica knows of ended; before the first, since when it waits."""
        self.seconds = math.nan
        """That it took; no number where this replica made none."""
        self.outcomes: Counter[str] = Counter(dict.fromkeys(("ended", "failed", "cut"), 0))
        self.faults: Counter[str] = Counter(dict.fromkeys(("cluster", "store", "judging"), 0))
        self.problem = ""
        """Why the last round was given up; "" where it was not."""

    async def run(self) -> None:
        """Rounds until it is cancelled."""
        await self._recall()
        jitter = min(JITTER_SECONDS, self.every_seconds * JITTER_SHARE)
        await asyncio.sleep(random.uniform(0, jitter))  # noqa: S311 - to part clusters
        while True:
            started = self._clock.monotonic()
            due = self.every_seconds
            if await self._try():
                self._given_up = 0
            else:
                due = min(due, AGAIN_SECONDS * 2**self._given_up)
                self._given_up = min(self._given_up + 1, 10)
            await asyncio.sleep(max(0.0, started + due - self._clock.monotonic()))

    async def _recall(self) -> None:
        """What the newest round found, also one of before this replica led."""
        try:
            await self._show(await self._findings.round())
        except RecordsError as error:
            log.warning("last round not known", problem=error.message)

    async def _show(self, ended: Round | None) -> None:
        if ended is None or ended.ended_at is None:
            return
        self.ended_at = ended.ended_at
        moved = await self._findings.totals(query=FindingFilter(moved=True))
        self.found = Found(ended, await self._findings.totals(), sum(moved.values()))

    async def _try(self) -> bool:
        """One round; whether it ended."""
        try:
            ended = await self.round()
        except asyncio.CancelledError:
            self.outcomes["cut"] += 1
            raise
        except PortcullisError as error:
            self.faults["cluster" if isinstance(error, ClusterError) else "store"] += 1
            self._give_up(error.message)
            return False
        except Exception:  # a fault of ours must not end the rounds
            log.exception("round failed")
            self.faults["judging"] += 1
            self._give_up("a fault in Portcullis itself; the log of the webhook tells more")
            return False
        self.outcomes["ended"] += 1
        self.problem = ""
        await self._publish(ended)
        return True

    def _give_up(self, problem: str) -> None:
        self.outcomes["failed"] += 1
        self.problem = problem
        log.error("round given up", problem=problem)

    async def round(self) -> Round:
        """One round, to its end.

        Raises:
            ClusterError: what runs cannot be read.
            RecordsError: what was found cannot be kept.
        """
        started = self._clock.monotonic()
        begun = Round(id=str(uuid.uuid4()), started_at=self._clock.now(), replica=self._replica)
        with tallied() as sent:
            await self._store(lambda: self._findings.begin(begun))
            self._judge.begin()
            work = _Work(begun.id)
            try:
                await self._judge_all(work)
            except BaseExceptionGroup as raised:
                raise raised.exceptions[0] from None
            ended = replace(
                begun,
                ended_at=self._clock.now(),
                workloads=work.workloads,
                pods=work.pods,
                images=len(work.images),
                registry_requests=sent.requests,
                unreachable=self._judge.unasked,
            )
        await self._store(lambda: self._findings.finish(ended))
        self.seconds = self._clock.monotonic() - started
        await self._recall()
        standing = {str(condition): count for condition, count in self.found.standing.items()} if self.found else {}
        log.info(
            "round ended",
            workloads=ended.workloads,
            pods=ended.pods,
            images=ended.images,
            registry_requests=ended.registry_requests,
            seconds=round(self.seconds, 1),
            **standing,
        )
        return ended

    async def _judge_all(self, work: _Work) -> None:
        pace = Pace(self._per_second, slowest_seconds=0, clock=self._clock)
        places = asyncio.Semaphore(self._limits.recheck_at_once)

        async def begin(tasks: asyncio.TaskGroup, group: RunningPods) -> None:
            await pace.turn()
            await self._courtesy.wait()
            await places.acquire()
            images = _images_of(group)
            tasks.create_task(one(group, asks=work.last_turn or not images <= work.images))
            work.images |= images

        async def one(group: RunningPods, *, asks: bool) -> None:
            try:
                await self._one(work, group, asks=asks)
            finally:
                places.release()

        async with asyncio.TaskGroup() as tasks:
            async for group in self._workloads.groups():
                work.workloads += 1
                work.pods += group.count
                await begin(tasks, group)
        if work.later:
            await asyncio.sleep(self._limits.recheck_again_seconds)
            work.last_turn = True
            async with asyncio.TaskGroup() as tasks:
                for group in work.later:
                    await begin(tasks, group)
        await self._write(work)

    async def _one(self, work: _Work, group: RunningPods, *, asks: bool) -> None:
        """``asks``: whether registries are asked for it, and not for one before it."""
        try:
            found = await self._judge.judge(group)
        except Exception as error:  # one workload must not keep all others from being judged
            self.faults["judging"] += 1
            log.exception("workload not judged", namespace=group.owner.namespace, kind=group.owner.kind)
            found = self._unknown(group, error)
        decision = found.decision
        if asks:
            self._images.went(well=not any(_is_outage(problem) for problem in _all(decision)))
        if self._comes_again(work, found):
            work.later.append(group)
            return
        # Nobody keeps its document, which may have some MiB.
        work.done.append(replace(found, decision=replace(decision, document=b"")))
        if len(work.done) >= BATCH:
            await self._write(work)

    def _comes_again(self, work: _Work, found: Rejudged) -> bool:
        """Whether a second look at the end of the round may find what was not known at the first."""
        if work.last_turn or found.condition is not Condition.UNKNOWN or len(work.later) >= self._limits.recheck_again:
            return False
        problems = _all(found.decision)
        return bool(problems) and all(problem.retryable for problem in problems)

    async def _write(self, work: _Work) -> None:
        done, work.done = work.done, []
        if done:
            await self._store(lambda: self._findings.put(work.id, done))

    async def _store(self, write: Callable[[], Awaitable[None]]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await write()
                return
            except RecordsError:
                if attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)

    def _unknown(self, group: RunningPods, error: Exception) -> Rejudged:
        """Of a workload that could not be judged for a fault of ours, or because the store is away."""
        ours = PortcullisError("a fault in Portcullis itself; the log of the webhook tells more")
        said = error if isinstance(error, PortcullisError) else ours
        problem = Problem(Stage.GATE, said.reason, retryable=said.retryable, msg=said.message)
        decision = unjudged(
            verdict=Verdict.UNDECIDED,
            code=503,
            message=said.message,
            problems=(problem,),
            decided_at=self._clock.now(),
        )
        return Rejudged(
            owner=group.owner,
            key=group.key,
            pods=group.names,
            count=group.count,
            decision=decision,
            condition=Condition.UNKNOWN,
            judged_at=decision.decided_at,
        )


def _images_of(group: RunningPods) -> set[str]:
    """By digest, by reference where the kubelet reports none."""
    return {image.digest or image.written for image in group.images}


def _is_outage(problem: Problem) -> bool:
    return problem.retryable and not problem.pending and problem.stage in _FETCHED


def _all(decision: Decision) -> tuple[Problem, ...]:
    undecided = (problem for policy in decision.undecided for problem in policy.problems)
    return (*decision.problems, *undecided)
