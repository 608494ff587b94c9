"""How what runs stands: the rounds, sums, grants in force and what they let in, as far as the reader may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from portcullis.model.grant import Grant
from portcullis.model.record import RecordFilter, Visible
from portcullis.model.running import Condition, FindingFilter, FindingPage, Round
from portcullis.ports import Findings, Ledger
from portcullis.server.review.parts import ReviewParts

LATE_ROUNDS: Final = 3
"""A round that ended so many times ago is late: what it found may not be so any more."""
LET_IN_SHOWN: Final = 10
GRANTS_SHOWN: Final = 20
MADE_LOOKED_AT: Final = 200
"""Newest records about grants in which it is looked for who made those in force."""
GRANT_KIND: Final = "BreakGlass"


@dataclass(frozen=True, slots=True)
class Rounds:
    """``shown`` is the round whose results are shown, None before the first; ``every`` how often there is one, None
    where nothing is judged again."""

    shown: Round | None
    under_way: Round | None
    every: timedelta | None
    now: datetime

    @property
    def late(self) -> bool:
        """Whether the next one is long overdue, or does not come any more."""
        if self.shown is None or self.shown.ended_at is None:
            return False
        return self.every is None or self.now - self.shown.ended_at > LATE_ROUNDS * self.every


@dataclass(frozen=True, slots=True)
class GrantInForce:
    """``made_by`` is "" where the audit log does not tell."""

    grant: Grant
    made_by: str


@dataclass(frozen=True, slots=True)
class RunningNow:
    """For the overview.

    Args:
        totals: how many workloads stand how.
        grants: in force, what ends next first.
        let_in: what runs and stands, or was let in, by break-glass.
    """

    rounds: Rounds
    totals: Mapping[Condition, int]
    grants: Sequence[GrantInForce]
    let_in: FindingPage
    let_in_count: int

    @property
    def workloads(self) -> int:
        return sum(self.totals.values())


async def rounds_of(parts: ReviewParts) -> Rounds:
    """
    Raises:
        RecordsError: the store does not answer.
    """
    findings = parts.findings
    return Rounds(await findings.round(), await findings.under_way(), parts.round_every, parts.clock.now())


async def running_now(parts: ReviewParts, visible: Visible) -> RunningNow:
    """
    Raises:
        RecordsError: the store does not answer.
    """
    findings, let_in = parts.findings, FindingFilter(break_glass=True)
    return RunningNow(
        rounds=await rounds_of(parts),
        totals=await findings.totals(visible),
        grants=await grants_in_force(parts, visible),
        let_in=await findings.results(visible=visible, query=let_in, limit=LET_IN_SHOWN),
        let_in_count=await _count(findings, let_in, visible),
    )


async def grants_in_force(parts: ReviewParts, visible: Visible) -> Sequence[GrantInForce]:
    """Those in the reader's namespaces, what ends next first."""
    found = [one for one in parts.grants() if visible is None or one.namespace in visible]
    if not found:
        return ()
    made = await _made_by(parts.ledger, visible)
    found.sort(key=lambda one: (one.expires, one.id))
    return [GrantInForce(one, made.get((one.namespace, one.name), "")) for one in found]


async def _made_by(ledger: Ledger, visible: Visible) -> Mapping[tuple[str, str], str]:
    """Who made grants lately, by namespace and name; of one name the newest counts."""
    query = RecordFilter(kind=GRANT_KIND, visible=visible, dry_run=False, limit=MADE_LOOKED_AT)
    page = await ledger.page(query)
    made = [one for one in page.records if one.operation == "CREATE"]
    return {(one.namespace, one.name): one.username for one in reversed(made)}


async def _count(findings: Findings, query: FindingFilter, visible: Visible) -> int:
    return sum((await findings.totals(visible, query)).values())
