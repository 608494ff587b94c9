"""Durations as Prometheus counts them."""

from portcullis.measuring import Durations


def test_each_bound_is_included_and_nothing_is_lost_above_the_last() -> None:
    durations = Durations((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.11, 1.0, 7.0):
        durations.observe(seconds)
    assert list(durations.cumulative()) == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert (durations.count, round(durations.total, 2)) == (5, 8.21)
