"""What is looked for among the decisions: from the address of the page to a RecordFilter, and back.

The state of the page is in its address only. A filter that is misspelt, given twice or out of its grammar is a fault
that is shown: ignored, it would show more than was asked for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import RecordFilter, Visible
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode
from portcullis.server.review.rendering import address
from portcullis.text import quoted
from portcullis.times import parse_rfc3339

PATH: Final = "/decisions"
PAGE_ROWS: Final = 50
TRAIL: Final = 100
"""Cursors of the pages before that an address holds, so that one can go back to them; from there on to the newest."""

_WITHIN: Final[Mapping[str, tuple[str, timedelta]]] = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "90d": ("Last 90 days", timedelta(days=90)),
}
_DRY: Final[Mapping[str, tuple[str, bool]]] = {"no": ("Without dry runs", False), "only": ("Dry runs only", True)}

_LOCAL: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?", re.ASCII)
"""What <input type="datetime-local"> sends, and a date alone."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One filter.

    Args:
        label: what people call it.
        attribute: of RecordFilter; "" where there is none of the same meaning.
        choices: values with what they are called; none where any text counts.
        chars: of the value at most.
    """

    name: str
    label: str
    attribute: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    chars: int = 253
    placeholder: str = ""


_VERDICTS: Final = {
    Verdict.ADMITTED: "Admitted",
    Verdict.REFUSED: "Refused",
    Verdict.UNDECIDED: "Outage or pending",
}
_BECAUSE: Final = {
    Because.JUDGED: "Judged by policies",
    Because.EXCEPTION: "Exception",
    Because.BREAK_GLASS: "Break-glass",
    Because.UNCHANGED: "Unchanged",
}
_CALLERS: Final = {
    Caller.CERTIFICATE: "API server, by certificate",
    Caller.PATH: "API server, by secret path",
    Caller.UNVERIFIED: "Unverified",
    Caller.LOCAL: "A local command",
}

FIELDS: Final[Mapping[str, Field]] = {
    one.name: one
    for one in (
        Field("text", "Words in the message", "text", chars=300, placeholder="runs as root"),
        Field("within", "Time", choices={name: words for name, (words, _) in _WITHIN.items()}),
        Field("verdict", "Verdict", "verdict", {str(name): words for name, words in _VERDICTS.items()}),
        Field("namespace", "Namespace", "namespace", placeholder="shop"),
        Field("name", "Name", "name", placeholder="checkout"),
        Field("kind", "Kind", "kind", placeholder="Deployment"),
        Field("user", "User", "username", chars=1024, placeholder="jane@example.com"),
        Field("policy", "Policy", "policy", placeholder="image-user"),
        Field("image", "Image", "image", chars=1024, placeholder="registry.example/acme/web"),
        Field("digest", "Digest", "digest", chars=200, placeholder="sha256:…"),
        Field("mode", "Mode", "mode", {str(mode): str(mode) for mode in Mode}),
        Field("reason", "Reason code", "reason", chars=100, placeholder="registry-unreachable"),
        Field("exception", "Exception", "exception", placeholder="EX-12"),
        Field("because", "Decided by", "because", {str(name): words for name, words in _BECAUSE.items()}),
        Field("caller", "Sent by", "caller", {str(name): words for name, words in _CALLERS.items()}),
        Field("dryrun", "Dry runs", choices={name: words for name, (words, _) in _DRY.items()}),
        Field("since", "From (UTC)", chars=40),
        Field("until", "To (UTC)", chars=40),
    )
}
_CURSORS: Final = ("before", "trail", "through", "after")


@dataclass(frozen=True, slots=True)
class Search:
    """One address of the list.

    Args:
        values: the filters that are set, as they were written.
        faults: by filter, why it cannot be used. With any, ``query`` is not to be asked.
        query: for the ledger.
        trail: the ``before`` of the pages that were seen before this one, the newest first page left out.
        through: the newest record of the first page; what came later is not part of what is shown.
        after: the newest record that the asking page shows.
    """

    values: Mapping[str, str]
    faults: Mapping[str, str]
    query: RecordFilter
    trail: tuple[int, ...] = ()
    through: int | None = None
    after: int = 0
    empty: bool = field(default=False)
    """The address holds filters without a value, as forms send them."""

    @property
    def before(self) -> int | None:
        return self.query.before

    @property
    def address(self) -> str:
        """Of the first page."""
        return address(PATH, **self.values)

    def form_value(self, name: str) -> str:
        """A time as <input type="datetime-local"> takes it; as it was written where it is none."""
        moment = instant(self.values.get(name, ""))
        return f"{moment:%Y-%m-%dT%H:%M:%S}" if moment is not None else self.values.get(name, "")

    def without(self, name: str) -> str:
        """The address without one filter."""
        return address(PATH, **{key: value for key, value in self.values.items() if key != name})

    def with_value(self, name: str, value: str) -> str:
        return address(PATH, **{**self.values, name: value})

    def older(self, before: int, through: int | None) -> str:
        """The address of the page behind this one."""
        trail = (*self.trail, self.before)[-TRAIL:] if self.before is not None else self.trail
        return self._page(before, trail, through)

    def newer(self) -> str:
        """The address of the page in front of this one."""
        if not self.trail:
            return self.address
        return self._page(self.trail[-1], self.trail[:-1], self.through)

    def file(self, kind: str, through: int | None) -> str:
        """The address of all that meets the filters, as a file."""
        return address(f"{PATH}/export.{kind}", **self.values, through=through)

    def news(self, after: int, known: int = 0) -> str:
        """The address that tells how many there are after that one."""
        return address(f"{PATH}/news", **self.values, after=after, known=known or None)

    def _page(self, before: int, trail: Sequence[int], through: int | None) -> str:
        return address(PATH, **self.values, before=before, trail="-".join(map(str, trail)), through=through)

    @property
    def chips(self) -> tuple[tuple[str, str, str], ...]:
        """The filters that are set: label, value as it is called, and the address without it."""
        return tuple(
            (FIELDS[name].label, FIELDS[name].choices.get(value, value), self.without(name))
            for name, value in self.values.items()
        )


def read_search(
    asked: Iterable[tuple[str, str]], *, visible: Visible, now: datetime, limits: Limits, also: Sequence[str] = ()
) -> Search:
    """The search that an address asks for.

    Args:
        asked: the parameters in the order of the address.
        also: names of parameters that somebody else reads.
    """
    values: dict[str, str] = {}
    cursors: dict[str, str] = {}
    faults: dict[str, str] = {}
    empty = False
    for name, value in asked:
        if name in also:
            continue
        if name not in FIELDS and name not in _CURSORS:
            faults["address"] = f"there is no filter {quoted(name)}"
        elif name in values or name in cursors:
            faults["address"] = f"{name} is given twice"
        elif not value.strip():
            empty = True
        elif name in FIELDS:
            values[name] = value.strip()
        else:
            cursors[name] = value
    ordered = {name: values[name] for name in FIELDS if name in values}
    query = _Reader(now, faults).filter(ordered)
    query = replace(query, visible=visible, limit=min(PAGE_ROWS, limits.search_rows))
    before, through, after = (_cursor(cursors, name, faults) for name in ("before", "through", "after"))
    trail = _trail(cursors.get("trail", ""), faults)
    query = replace(query, before=before)
    return Search(ordered, faults, query, trail, through, after or 0, empty)


class _Reader:
    def __init__(self, now: datetime, faults: dict[str, str]) -> None:
        self._now = now
        self._faults = faults

    def filter(self, values: Mapping[str, str]) -> RecordFilter:
        found: dict[str, Any] = {}
        for name, value in values.items():
            one = FIELDS[name]
            if fault := fault_of(one, value):
                self._faults[name] = fault
            elif one.attribute:
                found[one.attribute] = value
        if "dryrun" in values and "dryrun" not in self._faults:
            found["dry_run"] = _DRY[values["dryrun"]][1]
        return RecordFilter(**(found | self._times(values)))

    def _times(self, values: Mapping[str, str]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        if "within" in values and "within" not in self._faults:
            if "since" in values or "until" in values:
                self._faults["within"] = "either this or From and To"
            else:
                found["since"] = self._now - _WITHIN[values["within"]][1]
        for name in ("since", "until"):
            if name in values and name not in self._faults:
                moment = instant(values[name])
                if moment is None:
                    self._faults[name] = "a time such as 2026-03-01T12:00 is expected"
                else:
                    found[name] = moment
        if "since" in found and "until" in found and found["since"] >= found["until"]:
            self._faults["until"] = "this is not later than From"
        return found


def instant(text: str) -> datetime | None:
    """A time as a form sends it, which is UTC, or as RFC 3339 writes it; None where it is neither."""
    try:
        if found := _LOCAL.fullmatch(text):
            return datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}").replace(tzinfo=UTC)
        return parse_rfc3339(text)
    except ValueError:
        return None


def fault_of(one: Field, value: str) -> str:
    """Why that is no value of the filter; "" where it is one."""
    if len(value) > one.chars:
        return f"at most {one.chars} characters are looked for"
    if "\0" in value:
        return "it holds a NUL, which no such thing has"
    if one.choices and value not in one.choices:
        return f"one of {', '.join(one.choices)} is expected"
    return ""


def _cursor(cursors: Mapping[str, str], name: str, faults: dict[str, str]) -> int | None:
    value = cursors.get(name, "")
    if not value:
        return None
    if not _NUMBER.fullmatch(value):
        faults["address"] = f"{name}={quoted(value)} is no cursor of this page"
        return None
    return int(value)


def _trail(value: str, faults: dict[str, str]) -> tuple[int, ...]:
    parts = value.split("-") if value else []
    if len(parts) > TRAIL or not all(_NUMBER.fullmatch(part) for part in parts):
        faults["address"] = "trail is not of this page"
        return ()
    return tuple(map(int, parts))
