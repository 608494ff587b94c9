"""Points in time as people give them to commands."""

import re
from datetime import UTC, datetime, timedelta

from portcullis.errors import ConfigError
from portcullis.text import clean

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_moment(text: str, now: datetime) -> datetime:
    """``7d``, ``90m`` (that long ago) or RFC 3339 (``2026-11-24T12:00:00Z``; a date alone is its midnight in UTC).

    Raises:
        ConfigError: neither of them, or outside what a calendar holds.
    """
    if (ago := _AGO.fullmatch(text)) is not None:
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ConfigError(f"{clean(text, 80)!r} reaches back before the year 1") from None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{clean(text, 80)!r} is no time: write 7d, 12h, 30m, or 2026-11-24T12:00:00Z") from None
