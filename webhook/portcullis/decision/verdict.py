"""From violations and undecided policies to a verdict and a status code.

Design rules 3 and 4:

1. A violation in mode deny that neither an exception nor a grant covers refuses: 403.
2. Else an undecided policy in mode deny that no grant covers decides by its problems: one that will not go away by
   waiting refuses (403, with the problem's reason); else one that may is an outage (503); else all are pending (429).
3. Else the request is admitted, with warnings and a record. With nothing in deny the gate never refuses.
4. It is admitted by break-glass where a grant covers what would have stopped it, whatever else an exception covers;
   by exception where only exceptions do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.model.decision import Because, Problem, UndecidedPolicy, Verdict, Violation
from portcullis.model.grant import is_grant
from portcullis.model.ruling import Mode

ADMITTED = 200
REFUSED = 403
PENDING = 429
OUTAGE = 503


@dataclass(frozen=True, slots=True)
class Outcome:
    """``retry_after_seconds`` only where the requester is a person: see design rule 4."""

    verdict: Verdict
    code: int
    retry_after_seconds: int | None = None


def conclude(violations: Sequence[Violation], undecided: Sequence[UndecidedPolicy], *, person: bool) -> Outcome:
    """The outcome of one request. ``person`` says that a human's client will repeat a 429 by itself."""
    if any(violation.refuses for violation in violations):
        return Outcome(Verdict.REFUSED, REFUSED)
    blocking = [policy for policy in undecided if policy.blocks]
    problems = [problem for policy in blocking for problem in policy.problems]
    if any(not problem.retryable for problem in problems):
        return Outcome(Verdict.REFUSED, REFUSED)
    if any(not problem.pending for problem in problems):
        return Outcome(Verdict.UNDECIDED, OUTAGE)
    if problems:
        return Outcome(Verdict.UNDECIDED, PENDING, retry_after(problems) if person else None)
    if blocking:
        # An undecided policy without a problem would be a bug of ours, and a bug never admits.
        return Outcome(Verdict.UNDECIDED, OUTAGE)
    return Outcome(Verdict.ADMITTED, ADMITTED)


def admitted_by(violations: Sequence[Violation], undecided: Sequence[UndecidedPolicy]) -> Because | None:
    """What lets an admitted request through that would not have been admitted without; None where it would."""
    covering = {one.exception for one in violations if one.mode is Mode.DENY and one.exception}
    covering |= {one.exception for one in undecided if one.mode is Mode.DENY and one.exception}
    if any(map(is_grant, covering)):
        return Because.BREAK_GLASS
    return Because.EXCEPTION if covering else None


def retry_after(problems: Sequence[Problem]) -> int:
    """Seconds after which a person's client asks again: it does so ten times, so an eighth of what is expected
    leaves room; never more than five, because client-go waits in line."""
    eta = max(problem.eta_seconds for problem in problems)
    return max(1, min(5, math.ceil(eta / 8)))
