"""What a replay counts, and by which policies a verdict would be another."""

import dataclasses

import pytest

from fakes.decisions import OUTAGE, VIOLATION, WARNED, decision, record
from portcullis.model.decision import Decision, UndecidedPolicy, Verdict, Violation
from portcullis.model.ruling import Mode
from portcullis.rejudging import Inexact
from portcullis.server.tally import EXAMPLES, Tally

PINNED = dataclasses.replace(WARNED, mode=Mode.DENY)
WAITING = (UndecidedPolicy("image-user", Mode.DENY, (OUTAGE,)), UndecidedPolicy("image-age", Mode.WARN, (OUTAGE,)))


def admitted(*violations: Violation) -> Decision:
    return decision(violations=violations)


def refused(*violations: Violation, undecided: tuple[UndecidedPolicy, ...] = ()) -> Decision:
    return decision(verdict=Verdict.REFUSED, code=403, violations=violations, undecided=undecided)


def waiting(*violations: Violation) -> Decision:
    return decision(verdict=Verdict.UNDECIDED, code=503, violations=violations, undecided=WAITING)


@pytest.mark.parametrize(
    ("before", "after", "policies"),
    [
        (admitted(WARNED), refused(PINNED), {"image-pinned"}),
        (refused(PINNED, VIOLATION), admitted(WARNED), {"image-pinned", "image-user"}),
        (admitted(), waiting(), {"image-user"}),
        (waiting(), admitted(), {"image-user"}),
        # What refuses brings it about, and not what is undecided beside it, before or after.
        (waiting(WARNED), refused(PINNED, undecided=WAITING), {"image-pinned"}),
        (refused(PINNED), waiting(WARNED), {"image-pinned"}),
    ],
)
def test_a_flip_names_what_brings_it_about(before: Decision, after: Decision, policies: set[str]) -> None:
    tally = Tally()
    tally.take(record(before), after)
    (flip,) = tally.listed
    assert set(flip.policies) == policies == set(tally.by_policy)
    assert tally.flips == {(before.verdict, after.verdict): 1}
    assert (tally.records, tally.flipped, tally.same) == (1, 1, 0)


def test_violations_of_what_does_not_flip() -> None:
    tally = Tally()
    tally.take(record(admitted(WARNED)), admitted(dataclasses.replace(WARNED, msg="is named otherwise")))
    tally.take(record(admitted(WARNED)), admitted(WARNED))
    assert (tally.same, tally.flipped, tally.otherwise) == (2, 0, 1)
    assert tally.more == tally.less == {("image-pinned", Mode.WARN): 1}


def test_what_only_a_grant_lets_in_is_brought_about_by_what_nothing_covers() -> None:
    granted = dataclasses.replace(WAITING[0], exception="break-glass:shop/down")
    let_in, blocked = decision(undecided=(granted,)), waiting()
    tally = Tally()
    tally.take(record(let_in), let_in)
    assert tally.otherwise == 0
    tally.take(record(let_in), blocked)
    assert (tally.otherwise, tally.listed[0].policies) == (1, (granted.policy,))
    tally.take(record(refused(PINNED)), dataclasses.replace(let_in, violations=(WARNED,)))
    assert tally.listed[1].policies == ("image-pinned",)


def test_what_cannot_be_judged_again_is_counted_apart() -> None:
    tally = Tally()
    for number in range(EXAMPLES + 2):
        tally.skip(f"d-{number}", Inexact("no input was recorded", "because"))
    tally.skip("d-x", Inexact("raw values"))
    assert tally.records == EXAMPLES + 3
    assert (tally.same, tally.flipped) == (0, 0)
    counted = tally.inexact["no input was recorded"]
    assert (counted.count, len(counted.examples), counted.details) == (
        EXAMPLES + 2,
        EXAMPLES,
        {"because": EXAMPLES + 2},
    )
