"""The parameters of the JSON API. A name that is not here is refused, and so is a value that is empty, given twice or
not exactly of its kind: a filter that was misspelt must not widen the answer."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from portcullis.model.record import RecordFilter, Span, Visible
from portcullis.times import parse_rfc3339

TEXT_CHARS = 1024
"""No name in Kubernetes and no reference of an image is longer."""
ROWS = 1000
DAYS = 400
"""Of a span of time: more than a year of days."""
LONGEST_SEQUENCE = 2**63 - 1
DEFAULT_SPAN = timedelta(days=7)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9000, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[0-9]{1,19}")


def _instant(value: Any) -> datetime:
    try:
        found = parse_rfc3339(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ValueError("a time as in RFC 3339 is expected, with its zone: 2026-03-01T12:00:00Z")
    if not _FIRST <= found < _LAST:
        raise ValueError("a time between 1970 and 9000 is expected")
    return found


def _whole(value: Any) -> int:
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise ValueError("a number without sign is expected, in decimal digits")
    return int(value)


def _flag(value: Any) -> bool:
    if value not in ("true", "false"):
        raise ValueError("true or false is expected")
    return bool(value == "true")


Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS, pattern=r"^[^\x00]*$")]
Sequence = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=LONGEST_SEQUENCE)]
Rows = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=ROWS)]


class Parameters(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class DecisionParameters(Parameters):
    """Conditions that all hold. ``policy``, ``mode`` and ``exception`` speak of one and the same violation."""

    since: Instant | None = None
    until: Instant | None = None
    """Before this time."""
    namespace: Text | None = None
    kind: Text | None = None
    """Such as Deployment."""
    name: Text | None = None
    username: Text | None = None
    """Who asked."""
    image: Text | None = None
    """As written in the object; without a tag, all tags count."""
    digest: Text | None = None
    policy: Text | None = None
    exception: Text | None = None
    """Its id."""
    verdict: Literal["admitted", "refused", "undecided"] | None = None
    mode: Literal["deny", "warn", "audit"] | None = None
    reason: Text | None = None
    """A reason code of a problem."""
    because: Literal["judged", "unchanged", "exception", "break-glass"] | None = None
    caller: Literal["certificate", "path", "unverified", "local"] | None = None
    text: Text | None = None
    """Words that the message holds, all of them, as whole words of any case."""
    dry_run: Flag | None = None
    before: Sequence | None = None
    """``next`` of the page before."""
    limit: Rows = 50

    def filter(self, visible: Visible) -> RecordFilter:
        """The query of somebody who may see ``visible``."""
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return RecordFilter(**given, visible=visible)


class SpanParameters(Parameters):
    """A span of time; without it the last seven days."""

    since: Instant | None = None
    until: Instant | None = None

    def span(self, now: datetime, days: int) -> Span:
        """Raises ValueError where it is empty, or has more than so many ``days``."""
        until = self.until or now
        since = self.since or max(_FIRST, until - DEFAULT_SPAN)
        if since >= until:
            raise ValueError("since must be before until, which is now where it is not given")
        if until - since > timedelta(days=days):
            raise ValueError(f"since and until must not be more than {days} days apart")
        return Span(since, until)


class ImageParameters(Parameters):
    written: Text | None = None
    """How the reference begins."""
    after: Text | None = None
    """``next`` of the page before."""
    limit: Rows = 50


class OneDecisionParameters(Parameters):
    input: Flag = False
    """Whether the judged policy input is wanted."""


class NoParameters(Parameters):
    """None at all."""
