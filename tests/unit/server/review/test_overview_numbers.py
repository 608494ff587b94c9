"""What the overview reckons from the tallies."""

from datetime import UTC, datetime, timedelta

import pytest

from portcullis.model.record import PolicyBucket, PolicyTally, VerdictBucket
from portcullis.server.review.overview import MOST_BARS, TopPolicy, folded, top_policies, totals_of, verdict_charts
from portcullis.server.review.policies import by_day, violations_chart

START = datetime(2026, 11, 20, 14, tzinfo=UTC)


def hours(count: int, **fields: int) -> list[VerdictBucket]:
    return [VerdictBucket(START + timedelta(hours=at), **fields) for at in range(count)]


def test_totals() -> None:
    totals = totals_of(
        [
            VerdictBucket(START, admitted=7, refused=2, outages=1, pending=3, excepted=1, break_glass=2, dry_runs=9),
            VerdictBucket(START, admitted=1),
        ]
    )
    assert (totals.decisions, totals.admitted, totals.refused) == (14, 8, 2)
    assert (totals.outages, totals.pending, totals.excepted, totals.break_glass, totals.dry_runs) == (1, 3, 1, 2, 9)


@pytest.mark.parametrize(("count", "bars"), [(0, 0), (25, 25), (MOST_BARS, MOST_BARS), (169, 43)])
def test_a_chart_has_no_more_bars_than_can_be_seen(count: int, bars: int) -> None:
    buckets = hours(count, admitted=3, refused=1)
    shown = folded(buckets)
    assert len(shown) == bars
    assert sum(one.admitted for one in shown) == 3 * count
    assert [one.start for one in shown] == [one.start for one in buckets[:: 4 if count > MOST_BARS else 1]]


def test_outages_stand_apart_and_nothing_is_counted_twice() -> None:
    buckets = hours(2, admitted=10, excepted=2, break_glass=1, refused=4, outages=3, pending=5, dry_runs=7)
    verdicts, outages = verdict_charts(buckets, START + timedelta(hours=1, minutes=30))
    assert [(total.series.key, total.count) for total in verdicts.totals] == [
        ("admitted", "14"),
        ("excepted", "4"),
        ("break-glass", "2"),
        ("refused", "8"),
    ]
    assert [(total.series.key, total.count) for total in outages.totals] == [("outages", "6"), ("pending", "10")]
    assert verdicts.columns[0].label == "20 Nov, 14:00"
    assert verdicts.columns[0].link == "/decisions?since=2026-11-20T14%3A00%3A00Z&until=2026-11-20T15%3A00%3A00Z"
    assert verdicts.columns[1].link.endswith("until=2026-11-20T15%3A30%3A00Z")
    assert "verdict=undecided" in outages.columns[0].link


@pytest.mark.parametrize(
    ("count", "step", "tick"),
    [
        (25, timedelta(hours=1), "14:00"),
        (48, timedelta(hours=1), "20 Nov"),
        (30, timedelta(days=1), "20 Nov"),
        (1, timedelta(days=1), "20 Nov"),
    ],
)
def test_ticks_tell_hours_of_a_day_and_days_of_more(count: int, step: timedelta, tick: str) -> None:
    buckets = [VerdictBucket(START + step * at) for at in range(count)]
    verdicts, _ = verdict_charts(buckets, START + step * count)
    assert verdicts.ticks[0].text == tick


def test_policies_that_refuse_most_stand_first() -> None:
    found = top_policies(
        [
            PolicyTally("warns", "warn", violations=900),
            PolicyTally("both", "warn", violations=5, excepted=1),
            PolicyTally("both", "deny", violations=3, undecided=2),
            PolicyTally("denies", "deny", violations=4),
        ]
    )
    assert found == (
        TopPolicy("denies", 4, 0, 0, 0),
        TopPolicy("both", 3, 5, 1, 2),
        TopPolicy("warns", 0, 900, 0, 0),
    )


def test_hours_of_a_policy_become_days() -> None:
    buckets = [PolicyBucket(START + timedelta(hours=at), violations=1, undecided=2) for at in range(12)]
    assert by_day(buckets) == [
        PolicyBucket(START.replace(hour=0), violations=10, undecided=20),
        PolicyBucket(START.replace(hour=0) + timedelta(days=1), violations=2, undecided=4),
    ]
    chart = violations_chart(buckets, START + timedelta(hours=12), "image-user")
    assert [column.values for column in chart.columns] == [(10, 0, 20), (2, 0, 4)]
    assert chart.columns[1].link == (
        "/decisions?policy=image-user&since=2026-11-21T00%3A00%3A00Z&until=2026-11-21T02%3A00%3A00Z"
    )
