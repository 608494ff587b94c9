"""Times as RFC 3339 writes them, down to nanoseconds, with Go's zero time for "none"."""

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_rfc3339(text: str) -> datetime | None:
    """A time in UTC, nanoseconds cut to microseconds; None where ``text`` is "" or in the year 1.

    Go writes a time that was never set as 0001-01-01T00:00:00Z, and cosign does so for every time that a
    predicate lacks; it means missing, not old.

    Raises:
        ValueError: it is no RFC 3339 time with its zone.
    """
    if not text:
        return None
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("no RFC 3339 time")
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    microsecond = int((found[7] or "").ljust(6, "0")[:6])
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    zone = timezone(-offset if found[8] == "-" else offset)
    moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone)
    if year == 1:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside of the years that a calendar holds") from None


def rfc3339(moment: datetime, timespec: str = "auto") -> str:
    """``moment``, which has a zone, in UTC with a Z; ``timespec`` as :meth:`datetime.isoformat` takes it."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
