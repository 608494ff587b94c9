"""Times as people give them."""

from datetime import UTC, datetime, timedelta

import pytest

from portcullis.cli.moments import parse_moment
from portcullis.errors import ConfigError

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
        ("12h", NOW - timedelta(hours=12)),
        ("30s", NOW - timedelta(seconds=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "d", "-7d", "7 d", "yesterday", "999999w", "2026-13-01", "0001-01-01T00:00:00+23:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_moment(text, NOW)
