"""Values of the policy input that stand in several of its parts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

JSON = dict[str, Any]

SECONDS_PER_HOUR = 3600


def plain(value: object) -> object:
    """What msgspec cannot write by itself: JSON objects may be any Mapping, and digests are a kind of str."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def time_text(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds, which ``time.parse_rfc3339_ns`` reads.

    Raises:
        ValueError: a time without a zone, which would be a bug of ours.
    """
    if instant.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:  # an image may claim any year; the zone is nothing to the years 1 and 9999
        utc = instant.replace(tzinfo=UTC)
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def optional_time(instant: datetime | None) -> str | None:
    return None if instant is None else time_text(instant)


def age_hours(instant: datetime | None, now: datetime) -> float | None:
    """Hours from ``instant`` to ``now``; negative for a time in the future, which policies must refuse."""
    return None if instant is None else round((now - instant).total_seconds() / SECONDS_PER_HOUR, 6)


def optional_text(value: object) -> str | None:
    return None if value is None else str(value)
