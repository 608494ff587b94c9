"""What the JSON API answers about what runs, and of everything in short."""

from typing import Literal

from pydantic import Field

from portcullis.model.running import Condition
from portcullis.server.review.apimodels import (
    Answer,
    Extent,
    Grant,
    Instant,
    JudgedImage,
    NamespaceCount,
    PolicyTally,
    Problem,
    Undecided,
    Verdict,
    VerdictBucket,
    Violation,
)


class Owner(Answer):
    """The object that people made."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class MovedTag(Answer):
    """A container runs another image than the one that was judged when its pod was admitted."""

    container: str
    written: str
    judged: str
    running: str
    decision_id: str
    """Of the admission."""


class Result(Answer):
    """Pods that are judged as one: of one owner, with one spec and the same images."""

    owner: Owner
    pods: tuple[str, ...]
    """The first few."""
    count: int
    condition: Condition
    moved: tuple[MovedTag, ...]
    break_glass: str
    """The grant by which it was let in, or stands; "" where none was needed."""
    judged_at: Instant | None
    passed: tuple[str, ...]
    """Policies that found nothing."""
    omitted: int
    """Findings beyond those that are kept."""
    verdict: Verdict
    code: int
    because: str
    violations: tuple[Violation, ...]
    undecided: tuple[Undecided, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    images: tuple[JudgedImage, ...]
    grants: tuple[Grant, ...]
    policy_revision: str
    elapsed_ms: float


class Round(Answer):
    """A round over everything that runs. Its sums are of the whole cluster: null for who may not see all."""

    started_at: Instant
    ended_at: Instant | None
    complete: bool
    """Whether all of the cluster could be read."""
    workloads: int | None
    pods: int | None
    images: int | None
    registry_requests: int | None
    replica: str | None
    unreachable: str | None


class Totals(Answer):
    """How many workloads stand how."""

    failing: int
    unknown: int
    break_glass: int = Field(alias="break-glass")
    excepted: int
    warned: int
    good: int


class RunningList(Answer):
    """What runs, the worst first."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["RunningList"] = "RunningList"
    round: Round | None
    """The newest that has ended; null before the first."""
    under_way_since: Instant | None
    totals: Totals
    """Of all that meet the conditions, whatever ``condition`` says."""
    items: tuple[Result, ...]
    next: str | None
    """The ``after`` of the page behind; null where there is none."""


class RunningWhole(Answer):
    """One workload, with all groups of its pods, the worst first."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["Running"] = "Running"
    round: Round | None
    under_way_since: Instant | None
    items: tuple[Result, ...]


class GrantInForce(Grant):
    """A grant, and who made it."""

    made_by: str
    """"" where the audit log does not tell."""


class BreakGlassNow(Answer):
    """Grants in force, and how many workloads that stand or were let in by one still run."""

    grants: tuple[GrantInForce, ...]
    workloads: int


class RunningNow(Answer):
    """How what runs stands."""

    round: Round | None
    under_way_since: Instant | None
    totals: Totals


class Overview(Answer):
    """What happened in the time."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["AuditOverview"] = "AuditOverview"
    since: Instant
    until: Instant
    extent: Extent
    verdicts: tuple[VerdictBucket, ...]
    policies: tuple[PolicyTally, ...]
    """The ten most violated."""
    namespaces: tuple[NamespaceCount, ...]
    """The ten in which most was refused."""
    break_glass: BreakGlassNow
    running: RunningNow
