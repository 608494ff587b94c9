"""Numbers for people."""

import pytest

from portcullis.server.review.numbers import amount, compact, share


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (7, "7"), (999, "999"), (1204, "1,204"), (5_000_000, "5,000,000")],
)
def test_amount(number: int, words: str) -> None:
    assert amount(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (950, "950"),
        (999, "999"),
        (1000, "1k"),
        (1240, "1.2k"),
        (9949, "9.9k"),
        (9951, "10k"),
        (45_300, "45k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (3_000_000, "3M"),
        (10**9, "1B"),
        (10**13, "10,000B"),
    ],
)
def test_compact(number: int, words: str) -> None:
    assert compact(number) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "0 %"),
        (0, 10, "0 %"),
        (1, 1000, "under 1 %"),
        (12, 100, "12 %"),
        (995, 1000, "over 99 %"),
        (1000, 1000, "100 %"),
        (0.5, 2.0, "25 %"),
    ],
)
def test_share(part: float, whole: float, words: str) -> None:
    assert share(part, whole) == words
