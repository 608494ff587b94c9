"""Times in reports: RFC 3339, down to nanoseconds, with Go's zero time for "none"."""

import re
from datetime import UTC, datetime, timedelta, timezone

from portcullis.evidence.refusal import ReportError, shown

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_time(value: object, what: str) -> datetime | None:
    """A time in UTC, nanoseconds cut to microseconds; None where ``value`` is None, "" or in the year 1.

    Go writes a time that was never set as 0001-01-01T00:00:00Z, and cosign does so for every time that a
    predicate lacks; it means missing, not old.

    Raises:
        ReportError: it is no RFC 3339 time with its zone.
    """
    if value is None or value == "":
        return None
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ReportError(f"{what} {shown(value)} is no RFC 3339 time")
    if found[1] == "0001":
        return None
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    microsecond = int((found[7] or "").ljust(6, "0")[:6])
    try:
        offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
        zone = timezone(-offset if found[8] == "-" else offset)
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ReportError(f"{what} {shown(value)} is no RFC 3339 time") from None


def oldest(*times: datetime | None) -> datetime | None:
    """The earliest that is known; None where none is."""
    known = [time for time in times if time is not None]
    return min(known) if known else None
