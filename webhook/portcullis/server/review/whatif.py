"""What if a policy were in mode deny: the newest decisions on which it had something to say, told anew.

A policy in warn or audit is judged as one in deny is, and the record has what it found. So nothing is evaluated again:
its violations and gaps are taken from the record, their mode is changed, and the verdict is drawn by the same function
that the gate uses. That is exact, with one exception: the record has the mode of a violation and not the rule that
found it, and a ``warn`` or ``audit`` rule of the policy's author stays what it is in every mode.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from portcullis.decision.verdict import conclude
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord, RecordFilter, Visible
from portcullis.model.request import UserInfo
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.ports import Ledger

MOST: Final = 500
"""Decisions that are looked at."""
SECONDS: Final = 10.0
"""How long that may take."""
SHOWN_WORKLOADS: Final = 20
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Workload:
    """One that would have been held up. ``decision_id`` and ``last`` are of its newest such decision."""

    namespace: str
    kind: str
    name: str
    refused: int
    undecided: int
    decision_id: str
    last: datetime


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Of ``looked_at`` admitted decisions with something of the policy, the newest first, so many would have been
    refused or left undecided.

    ``oldest`` is the time of the last one that was looked at. ``all_seen`` says that there are no more. ``other_sets``
    were judged by another set of policies than the one that stands. ``at_most`` says that the true number may be
    smaller. ``pointless`` is why nothing would change, "" where something could.
    """

    looked_at: int = 0
    refused: int = 0
    undecided: int = 0
    excepted: int = 0
    other_sets: int = 0
    oldest: datetime | None = None
    all_seen: bool = True
    at_most: bool = False
    pointless: str = ""
    workloads: tuple[Workload, ...] = ()
    more_workloads: int = 0


async def what_if_deny(ledger: Ledger, policy: PolicyInfo, revision: str, visible: Visible) -> WhatIf:
    """Looks at the newest decisions that were admitted, dry runs left out.

    Args:
        revision: of the set that stands.

    Raises:
        RecordsError: the log does not answer.
    """
    if Mode.DENY not in policy.rules:
        return WhatIf(pointless="The policy has no rule deny; its rules warn and audit stay what they are in any mode.")
    found = _Found(policy, revision)
    try:
        async with asyncio.timeout(SECONDS):
            await _look(ledger, found, visible)
    except TimeoutError:
        found.all_seen = False
    return found.result()


async def _look(ledger: Ledger, found: "_Found", visible: Visible) -> None:
    query = RecordFilter(
        policy=found.policy.name, verdict=Verdict.ADMITTED, dry_run=False, visible=visible, limit=_PAGE
    )
    while True:
        page = await ledger.page(query)
        for record in page.records:
            if found.looked_at == MOST:
                found.all_seen = False
                return
            found.take(record)
        if page.next is None:
            return
        query = replace(query, before=page.next)


class _Found:
    def __init__(self, policy: PolicyInfo, revision: str) -> None:
        self.policy = policy
        self.all_seen = True
        self.looked_at = 0
        self._revision = revision
        self._oldest: datetime | None = None
        self._counts = {Verdict.REFUSED: 0, Verdict.UNDECIDED: 0, Verdict.ADMITTED: 0}
        self._excepted = 0
        self._other_sets = 0
        self._workloads: dict[tuple[str, str, str], Workload] = {}

    def take(self, record: AuditRecord) -> None:
        decision = record.decision
        self.looked_at += 1
        self._oldest = decision.decided_at
        self._other_sets += decision.policy_revision != self._revision
        after = _denied(record, self.policy.name)
        self._counts[after] += 1
        if after is Verdict.ADMITTED:
            own = [one for one in decision.violations if one.policy == self.policy.name]
            self._excepted += bool(own) and all(one.exception for one in own)
            return
        name = (record.namespace, record.kind, record.name)
        known = self._workloads.get(name) or Workload(*name, 0, 0, decision.id, decision.decided_at)
        self._workloads[name] = replace(
            known,
            refused=known.refused + (after is Verdict.REFUSED),
            undecided=known.undecided + (after is Verdict.UNDECIDED),
        )

    def result(self) -> WhatIf:
        workloads = sorted(self._workloads.values(), key=lambda one: (-one.refused, -one.undecided, one.name))
        return WhatIf(
            looked_at=self.looked_at,
            refused=self._counts[Verdict.REFUSED],
            undecided=self._counts[Verdict.UNDECIDED],
            excepted=self._excepted,
            other_sets=self._other_sets,
            oldest=self._oldest,
            all_seen=self.all_seen,
            at_most=len(self.policy.rules) > 1,
            workloads=tuple(workloads[:SHOWN_WORKLOADS]),
            more_workloads=max(len(workloads) - SHOWN_WORKLOADS, 0),
        )


def _denied(record: AuditRecord, policy: str) -> Verdict:
    """The verdict with what the policy found in mode deny."""
    decision = record.decision
    violations = [replace(one, mode=Mode.DENY) if one.policy == policy else one for one in decision.violations]
    undecided = [replace(one, mode=Mode.DENY) if one.policy == policy else one for one in decision.undecided]
    return conclude(violations, undecided, person=UserInfo(record.username).is_person).verdict
