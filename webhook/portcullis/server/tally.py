"""What a replay found, counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from portcullis.model.decision import Decision, UndecidedPolicy, Verdict, Violation
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import Mode
from portcullis.rejudging import Inexact

T = TypeVar("T")

LISTED = 10_000
"""Flips that are kept one by one; all are counted."""
EXAMPLES = 5
"""Decisions that are named for each reason why records are inexact."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision that would be another one. ``policies`` are those that bring it about."""

    decision: str
    sequence: int
    decided_at: datetime
    kind: str
    namespace: str
    name: str
    username: str
    before: Verdict
    after: Verdict
    policies: tuple[str, ...]
    images: tuple[str, ...]


@dataclass(slots=True)
class Unexplained:
    """Records that could not be judged again for one reason."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    details: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """``same`` and flipped records are exact; ``inexact`` ones are told apart by reason."""

    same: int = 0
    flips: Counter[tuple[Verdict, Verdict]] = field(default_factory=Counter)
    listed: list[Flip] = field(default_factory=list)
    by_policy: Counter[str] = field(default_factory=Counter)
    by_namespace: Counter[str] = field(default_factory=Counter)
    by_image: Counter[str] = field(default_factory=Counter)
    inexact: dict[str, Unexplained] = field(default_factory=dict)
    more: Counter[tuple[str, Mode]] = field(default_factory=Counter)
    """Violations that would be new, by policy and mode."""
    less: Counter[tuple[str, Mode]] = field(default_factory=Counter)
    """Violations that would be gone."""
    otherwise: int = 0
    """Records whose violations or undecided policies would be others, flipped or not."""
    taken_over: int = 0
    """Rulings of policies that could be no others than those of the record, and so were not asked for."""
    evaluated: int = 0
    """Rulings that the engine was asked for."""

    @property
    def flipped(self) -> int:
        return self.flips.total()

    @property
    def records(self) -> int:
        return self.same + self.flipped + sum(one.count for one in self.inexact.values())

    def skip(self, decision: str, why: Inexact) -> None:
        """Counts a record that cannot be judged again."""
        entry = self.inexact.setdefault(why.reason, Unexplained())
        entry.count += 1
        if len(entry.examples) < EXAMPLES:
            entry.examples.append(decision)
        if why.detail and (why.detail in entry.details or len(entry.details) < EXAMPLES):
            entry.details[why.detail] += 1

    def take(self, record: AuditRecord, after: Decision) -> None:
        """Counts a record with the decision that it would be now."""
        before = record.decision
        gone, new = _apart(map(_violation_key, before.violations), map(_violation_key, after.violations))
        self.less.update((key[0], Mode(key[1])) for key in gone)
        self.more.update((key[0], Mode(key[1])) for key in new)
        waiting = _apart(map(_undecided_key, before.undecided), map(_undecided_key, after.undecided))
        self.otherwise += bool(gone or new or any(waiting))
        if before.verdict is after.verdict:
            self.same += 1
            return
        flip = _flip(record, after)
        self.flips[before.verdict, after.verdict] += 1
        self.by_policy.update(flip.policies)
        self.by_namespace[flip.namespace] += 1
        self.by_image.update(flip.images)
        if len(self.listed) < LISTED:
            self.listed.append(flip)


def _violation_key(violation: Violation) -> tuple[str, str, str, str, str, str, str]:
    """What makes a violation that one. Another text is another violation: people read it."""
    return (
        violation.policy,
        violation.mode,
        violation.container,
        violation.image,
        violation.platform,
        violation.exception,
        violation.msg,
    )


def _undecided_key(policy: UndecidedPolicy) -> tuple[str, str, str]:
    return policy.policy, policy.mode, policy.exception


def _apart(before: Iterable[T], after: Iterable[T]) -> tuple[Counter[T], Counter[T]]:
    old, new = Counter(before), Counter(after)
    return old - new, new - old


def _flip(record: AuditRecord, after: Decision) -> Flip:
    before = record.decision
    old, new = _blocking(before), _blocking(after)
    # What is refused now is so by what refuses; that others are undecided beside it brings nothing about.
    brings = new if after.verdict is Verdict.REFUSED or before.verdict is Verdict.ADMITTED else old
    policies = brings or (old | new)
    found = [violation for one in (before, after) for violation in one.violations if violation.policy in policies]
    images = {violation.image for violation in found if violation.image} or {image.written for image in before.images}
    return Flip(
        decision=before.id,
        sequence=record.sequence,
        decided_at=before.decided_at,
        kind=record.kind,
        namespace=record.namespace,
        name=record.name,
        username=record.username,
        before=before.verdict,
        after=after.verdict,
        policies=tuple(sorted(policies)),
        images=tuple(sorted(images)),
    )


def _blocking(decision: Decision) -> set[str]:
    """The policies by which it is not admitted."""
    if decision.verdict is Verdict.ADMITTED:
        return set()
    refusing = {violation.policy for violation in decision.violations if violation.refuses}
    return refusing or {undecided.policy for undecided in decision.undecided if undecided.blocks}
