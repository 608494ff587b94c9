"""Times in reports."""

import re
from datetime import UTC, date, datetime, time

from portcullis.evidence.refusal import ReportError, shown
from portcullis.times import parse_rfc3339

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_time(value: object, what: str) -> datetime | None:
    """A time in UTC; None where ``value`` is None, "" or Go's time that was never set.

    Raises:
        ReportError: it is no RFC 3339 time with its zone.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_rfc3339(value)
    except ValueError:
        pass
    raise ReportError(f"{what} {shown(value)} is no RFC 3339 time")


def parse_time_or_epoch(value: str | float | None, what: str) -> datetime | None:
    """As :func:`parse_time`, where some writers put seconds since 1970 as a number; 0 is a time that was never set.

    Raises:
        ReportError: it is neither, or a number that no calendar holds (milliseconds, for one).
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC) if value else None
        except (ValueError, OverflowError, OSError):
            raise ReportError(f"{what} {shown(value)} is no time in seconds since 1970") from None
    return parse_time(value, what)


def parse_date(value: str | None, what: str) -> datetime | None:
    """As :func:`parse_time`, where a date without a time ("2026-11-20") is its first moment in UTC."""
    if value is None or _DATE.fullmatch(value) is None:
        return parse_time(value, what)
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ReportError(f"{what} {shown(value)} is no date") from None
    return datetime.combine(day, time(), UTC) if day.year > 1 else None


def oldest(*times: datetime | None) -> datetime | None:
    """The earliest that is known; None where none is."""
    known = [time for time in times if time is not None]
    return min(known) if known else None
