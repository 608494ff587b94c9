"""From violations and undecided policies to a verdict and a status code.

Design rules 3 and 4:

1. A violation in mode deny that no exception covers refuses: 403.
2. Else an undecided policy in mode deny decides by its problems: one that will not go away by waiting refuses
   (403, with the problem's reason); else one that may is an outage (503); else all are pending (429).
3. Else the request is admitted, with warnings and a record. With nothing in deny the gate never refuses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.model.decision import Problem, UndecidedPolicy, Verdict, Violation
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
    problems = [problem for policy in undecided if policy.mode is Mode.DENY for problem in policy.problems]
    if any(not problem.retryable for problem in problems):
        return Outcome(Verdict.REFUSED, REFUSED)
    if any(not problem.pending for problem in problems):
        return Outcome(Verdict.UNDECIDED, OUTAGE)
    if problems:
        return Outcome(Verdict.UNDECIDED, PENDING, retry_after(problems) if person else None)
    if any(policy.mode is Mode.DENY for policy in undecided):
        # An undecided policy without a problem would be a bug of ours, and a bug never admits.
        return Outcome(Verdict.UNDECIDED, OUTAGE)
    return Outcome(Verdict.ADMITTED, ADMITTED)


def retry_after(problems: Sequence[Problem]) -> int:
    """Seconds after which a person's client asks again: it does so ten times, so an eighth of what is expected
    leaves room; never more than five, because client-go waits in line."""
    eta = max(problem.eta_seconds for problem in problems)
    return max(1, min(5, math.ceil(eta / 8)))
