"""Times in reports."""

from datetime import datetime

from portcullis.evidence.refusal import ReportError, shown
from portcullis.times import parse_rfc3339


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


def oldest(*times: datetime | None) -> datetime | None:
    """The earliest that is known; None where none is."""
    known = [time for time in times if time is not None]
    return min(known) if known else None
