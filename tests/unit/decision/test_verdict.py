"""The verdict: design rules 3 and 4 as a table."""

import pytest

from portcullis.decision.verdict import conclude
from portcullis.model.decision import Problem, Stage, UndecidedPolicy, Verdict, Violation
from portcullis.model.ruling import Mode

D, W, A = Mode.DENY, Mode.WARN, Mode.AUDIT
OUTAGE = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="down")
MISSING = Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="no such image")


def pending(eta: float = 4.0) -> Problem:
    return Problem(Stage.EVIDENCE, "inspection-pending", retryable=True, msg="working", pending=True, eta_seconds=eta)


def breaks(mode: Mode) -> Violation:
    return Violation(policy="image-user", mode=mode, severity="high", msg="runs as root")


def waits(mode: Mode, *problems: Problem) -> UndecidedPolicy:
    return UndecidedPolicy(policy="scan-required", mode=mode, problems=problems)


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
    ],
)
def test_verdict(violations: list[Violation], undecided: list[UndecidedPolicy], verdict: Verdict, code: int) -> None:
    outcome = conclude(violations, undecided, person=True)
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert (outcome.retry_after_seconds is not None) == (code == 429)


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
