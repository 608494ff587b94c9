"""Points in time as people give them to commands."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from portcullis.errors import ConfigError
from portcullis.text import clean

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_moment(text: str, now: datetime, zone: tzinfo | None = UTC) -> datetime:
    """``7d``, ``90m`` (that long ago) or RFC 3339 (``2026-11-24T12:00:00Z``; a date alone is its midnight).

    Args:
        zone: of times that name none; None: that of this machine.

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
        # A time without a zone is taken as one of this machine by astimezone.
        return (moment if moment.tzinfo is not None or zone is None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{clean(text, 80)!r} is no time: write 7d, 12h, 30m, or 2026-11-24T12:00:00Z") from None
