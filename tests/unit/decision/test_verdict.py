"""The verdict: design rules 3 and 4 as a table."""

import pytest

from portcullis.decision.verdict import admitted_by, conclude
from portcullis.model.decision import Because, Problem, Stage, UndecidedPolicy, Verdict, Violation
from portcullis.model.ruling import Mode

D, W, A = Mode.DENY, Mode.WARN, Mode.AUDIT
OUTAGE = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="down")
MISSING = Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="no such image")


def pending(eta: float = 4.0) -> Problem:
    return Problem(Stage.EVIDENCE, "inspection-pending", retryable=True, msg="working", pending=True, eta_seconds=eta)


def breaks(mode: Mode, exception: str = "") -> Violation:
    return Violation(policy="image-user", mode=mode, severity="high", msg="runs as root", exception=exception)


def waits(mode: Mode, *problems: Problem, exception: str = "") -> UndecidedPolicy:
    return UndecidedPolicy(policy="scan-required", mode=mode, problems=problems, exception=exception)


EX, BG = "EX-12", "break-glass:shop/down"
"""An exception, and a grant."""


@pytest.mark.parametrize(
    ("violations", "undecided", "verdict", "code"),
    [
        pytest.param([], [], Verdict.ADMITTED, 200, id="nothing wrong"),
        pytest.param([breaks(D)], [], Verdict.REFUSED, 403, id="deny"),
        pytest.param([breaks(W), breaks(A)], [], Verdict.ADMITTED, 200, id="warn and audit admit"),
        pytest.param([breaks(D)], [waits(D, OUTAGE)], Verdict.REFUSED, 403, id="a violation outweighs an outage"),
        pytest.param([breaks(W)], [waits(D, OUTAGE)], Verdict.UNDECIDED, 503, id="a warning does not"),
        pytest.param([], [waits(D, OUTAGE)], Verdict.UNDECIDED, 503, id="outage"),
        pytest.param([], [waits(W, OUTAGE), waits(A, MISSING)], Verdict.ADMITTED, 200, id="nothing in deny"),
        pytest.param([], [waits(D, MISSING)], Verdict.REFUSED, 403, id="waiting will not help"),
        pytest.param([], [waits(D, OUTAGE, MISSING)], Verdict.REFUSED, 403, id="one that will not go away decides"),
        pytest.param([], [waits(D, pending()), waits(D, OUTAGE)], Verdict.UNDECIDED, 503, id="outage before pending"),
        pytest.param([], [waits(D, pending())], Verdict.UNDECIDED, 429, id="pending"),
        pytest.param([], [waits(D, pending()), waits(W, OUTAGE)], Verdict.UNDECIDED, 429, id="a warn's outage is none"),
        pytest.param([], [waits(D)], Verdict.UNDECIDED, 503, id="undecided without a problem never admits"),
        pytest.param([breaks(D, EX), breaks(D, BG)], [], Verdict.ADMITTED, 200, id="all is covered"),
        pytest.param([breaks(D, BG), breaks(D)], [], Verdict.REFUSED, 403, id="one is not"),
        pytest.param([], [waits(D, MISSING, exception=BG)], Verdict.ADMITTED, 200, id="a covered policy"),
        pytest.param(
            [], [waits(D, OUTAGE, exception=BG), waits(D, OUTAGE)], Verdict.UNDECIDED, 503, id="not the other"
        ),
        pytest.param([breaks(D, BG)], [waits(D, pending())], Verdict.UNDECIDED, 429, id="a violation is, no outage"),
        pytest.param(
            [breaks(D)], [waits(D, OUTAGE, exception=BG)], Verdict.REFUSED, 403, id="an outage is, no violation"
        ),
    ],
)
def test_verdict(violations: list[Violation], undecided: list[UndecidedPolicy], verdict: Verdict, code: int) -> None:
    outcome = conclude(violations, undecided, person=True)
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert (outcome.retry_after_seconds is not None) == (code == 429)


@pytest.mark.parametrize(
    ("violations", "undecided", "because"),
    [
        pytest.param([], [], None, id="nothing wrong"),
        pytest.param([breaks(W), breaks(A)], [waits(W, OUTAGE)], None, id="nothing in deny"),
        pytest.param([breaks(D, EX)], [], Because.EXCEPTION, id="an exception"),
        pytest.param([breaks(D, BG)], [], Because.BREAK_GLASS, id="a grant"),
        pytest.param([], [waits(D, OUTAGE, exception=BG)], Because.BREAK_GLASS, id="a grant for an outage"),
        pytest.param([breaks(D, EX), breaks(D, BG)], [], Because.BREAK_GLASS, id="a grant beside an exception"),
        pytest.param([breaks(D, EX), breaks(W, BG)], [], Because.EXCEPTION, id="a grant for a warning"),
        pytest.param([breaks(A, BG)], [waits(W, OUTAGE, exception=BG)], None, id="a grant for nothing in deny"),
    ],
)
def test_what_lets_in(violations: list[Violation], undecided: list[UndecidedPolicy], because: Because | None) -> None:
    assert conclude(violations, undecided, person=False).verdict is Verdict.ADMITTED
    assert admitted_by(violations, undecided) is because


@pytest.mark.parametrize(("eta", "seconds"), [(0.0, 1), (8.0, 1), (8.1, 2), (30.0, 4), (1000.0, 5)])
def test_people_are_told_when_to_ask_again(eta: float, seconds: int) -> None:
    assert conclude([], [waits(D, pending(eta), pending(0.0))], person=True).retry_after_seconds == seconds


def test_controllers_are_not_told_because_it_blocks_their_workers() -> None:
    outcome = conclude([], [waits(D, pending())], person=False)
    assert (outcome.code, outcome.retry_after_seconds) == (429, None)


@pytest.mark.parametrize("problem", [OUTAGE, MISSING, pending()])
@pytest.mark.parametrize("mode", [W, A])
def test_with_nothing_in_deny_nothing_is_refused(mode: Mode, problem: Problem) -> None:
    assert conclude([breaks(mode)], [waits(mode, problem)], person=False).verdict is Verdict.ADMITTED
