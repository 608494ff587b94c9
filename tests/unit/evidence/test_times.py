"""RFC 3339 times of reports."""

from datetime import UTC, datetime

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.times import oldest, parse_date, parse_time, parse_time_or_epoch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20t10:00:00z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.1Z", datetime(2026, 11, 20, 10, 0, 0, 100000, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123456789Z", datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-20T10:00:00+02:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
        ("2026-11-20T23:00:00-02:00", datetime(2026, 11, 21, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+02:00", None),
        ("", None),
        (None, None),
    ],
)
def test_times(text: str | None, expected: datetime | None) -> None:
    assert parse_time(text, "CreatedAt") == expected


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "2026-11-20T10:00Z",
        "2026-13-20T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:00.1234567890Z",
        "2026-11-20T10:00:00+24:00",
        "9999-12-31T23:00:00-23:00",
        "２０26-11-20T10:00:00Z",
        "2026-11-20T10:00:00Z\n",
        0,
        1700000000,
        {},
    ],
)
def test_what_is_refused(value: object) -> None:
    with pytest.raises(EvidenceError, match="CreatedAt"):
        parse_time(value, "CreatedAt")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1700000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1700000000.25, datetime(2023, 11, 14, 22, 13, 20, 250000, tzinfo=UTC)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        (0, None),
        ("", None),
        (None, None),
    ],
)
def test_seconds_since_1970(value: str | float | None, expected: datetime | None) -> None:
    assert parse_time_or_epoch(value, "CreatedAt") == expected


@pytest.mark.parametrize("value", [1700000000000, -1e30, float("inf"), float("nan"), "1700000000", True])
def test_other_numbers_are_refused(value: str | float) -> None:
    with pytest.raises(EvidenceError, match="CreatedAt"):
        parse_time_or_epoch(value, "CreatedAt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00:00+02:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("0001-01-01", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(text: str | None, expected: datetime | None) -> None:
    assert parse_date(text, "date") == expected


@pytest.mark.parametrize("text", ["2026-13-20", "0000-01-01", "2026-W47-1", "20261120", "2026-11-20 ", "２026-11-20"])
def test_other_dates_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="date"):
        parse_date(text, "date")


def test_the_oldest_of_those_that_are_known() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert oldest(late, None, early) == early
    assert oldest(None, None) is None
