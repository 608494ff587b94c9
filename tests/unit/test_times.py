"""RFC 3339, as registries and scanners write it and as Portcullis does. More cases: evidence/test_times.py."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from portcullis.times import parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00.1234567Z", datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-20T10:00:00+02:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_times_that_are_read(text: str, expected: datetime | None) -> None:
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text", ["2026-11-20", "2026-11-20T10:00:00", "0001-13-01T00:00:00Z", "9999-12-31T23:00:00-23:00", "x"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 11, 20, 12, 0, 0, 5000, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-11-20T10:00:00.005000Z"
    assert rfc3339(moment, "seconds") == "2026-11-20T10:00:00Z"
    assert parse_rfc3339(rfc3339(moment)) == moment
