"""Results of judging again what runs, to fill a store or a page with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fakes.records import a_decision
from portcullis.errors import RecordsError
from portcullis.model.decision import Because, Decision, Verdict, Violation
from portcullis.model.image import Digest
from portcullis.model.record import Counted, PolicyTally, Visible
from portcullis.model.ruling import Mode
from portcullis.model.running import Condition, FindingFilter, FindingPage, MovedTag, ObjectRef, Rejudged, Round
from portcullis.ports import Findings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = FindingFilter()


def a_round(round_id: str = "first", *, started_at: datetime = NOON, ended: bool = False, workloads: int = 3) -> Round:
    """A round that takes ten minutes."""
    return Round(
        id=round_id,
        started_at=started_at,
        ended_at=started_at + timedelta(minutes=10) if ended else None,
        replica="gate-0",
        workloads=workloads if ended else 0,
        pods=3 * workloads if ended else 0,
        images=workloads if ended else 0,
        registry_requests=5 if ended else 0,
    )


def a_result(
    name: str = "checkout",
    condition: Condition = Condition.GOOD,
    *,
    namespace: str = "shop",
    kind: str = "Deployment",
    key: str = "",
    policies: Sequence[str] = (),
    images: Sequence[tuple[str, str]] = (("registry.example/web:1", "sha256:aa"),),
    moved: Sequence[MovedTag] = (),
    break_glass: str = "",
    count: int = 3,
) -> Rejudged:
    """A result whose decision goes with its condition; ``policies`` are those that are violated, or not decided."""
    return Rejudged(
        owner=ObjectRef("apps/v1", kind, namespace, name, f"uid-of-{name}"),
        key=key or f"{namespace}/{kind}/{name}",
        pods=(f"{name}-1", f"{name}-2"),
        count=count,
        decision=decision_of(condition, policies, images, break_glass),
        condition=condition,
        passed=("image-age",),
        moved=tuple(moved),
        break_glass=break_glass,
        judged_at=NOON,
    )


def a_moved_tag(*, judged: str = "aa", running: str = "bb", decision_id: str = "decision-1") -> MovedTag:
    return MovedTag(
        container="web",
        written="registry.example/web:1",
        judged=Digest(f"sha256:{judged}"),
        running=Digest(f"sha256:{running}"),
        decision_id=decision_id,
    )


def decision_of(
    condition: Condition, policies: Sequence[str], images: Sequence[tuple[str, str]], break_glass: str
) -> Decision:
    if condition is Condition.UNKNOWN:
        decision = a_decision(verdict=Verdict.UNDECIDED, code=503, images=images, undecided=policies)
        undecided = tuple(replace(one, mode=Mode.DENY) for one in decision.undecided)
        return replace(decision, undecided=undecided, decided_at=NOON)
    decision = a_decision(images=images, denied=policies, decided_at=NOON)
    if condition is Condition.FAILING:
        return replace(decision, verdict=Verdict.REFUSED, code=403)
    covers = {Condition.BREAK_GLASS: break_glass, Condition.EXCEPTED: "EX-1"}.get(condition, "")
    because = {Condition.BREAK_GLASS: Because.BREAK_GLASS, Condition.EXCEPTED: Because.EXCEPTION}
    return replace(
        decision,
        because=because.get(condition, Because.JUDGED),
        violations=tuple(_covered(one, condition, covers) for one in decision.violations),
    )


def _covered(violation: Violation, condition: Condition, exception: str) -> Violation:
    if condition is Condition.WARNED:
        return replace(violation, mode=Mode.WARN)
    return replace(violation, exception=exception, excepted_until=NOON + timedelta(days=30) if exception else None)


class NoFindings:
    """A Findings that never had a round: for pages over a log that is none."""

    async def begin(self, started: Round) -> None:
        raise RecordsError("nothing is kept here")

    async def put(self, round_id: str, results: Sequence[Rejudged]) -> None:
        raise RecordsError("nothing is kept here")

    async def finish(self, ended: Round) -> None:
        raise RecordsError("nothing is kept here")

    async def round(self) -> Round | None:
        return None

    async def under_way(self) -> Round | None:
        return None

    async def results(
        self, *, visible: Visible = None, query: FindingFilter = EVERYTHING, after: str = "", limit: int = 50
    ) -> FindingPage:
        return FindingPage(())

    async def totals(self, visible: Visible = None, query: FindingFilter = EVERYTHING) -> Mapping[Condition, int]:
        return dict.fromkeys(Condition, 0)

    async def policies(self, visible: Visible = None) -> Sequence[PolicyTally]:
        return ()

    async def namespaces(self, visible: Visible = None) -> Sequence[Counted]:
        return ()


async def a_whole_round(
    findings: Findings, results: Sequence[Rejudged], round_id: str = "first", *, started_at: datetime = NOON
) -> None:
    """Keeps a round that found these."""
    await findings.begin(a_round(round_id, started_at=started_at))
    await findings.put(round_id, results)
    await findings.finish(a_round(round_id, started_at=started_at, ended=True, workloads=len(results)))
