"""The overview: break-glass and what runs, what was decided lately, what refuses, what is about to end, and how the
gate itself is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from portcullis.model.decision import Because
from portcullis.model.record import Counted, PolicyTally, RecordFilter, Span, VerdictBucket
from portcullis.model.ruling import Mode
from portcullis.server.health import Checked
from portcullis.server.review.charts import Column, Series, StackedBars, stacked_bars
from portcullis.server.review.parts import ReviewParts, parts_of
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import reader_of
from portcullis.server.review.rendering import address, render
from portcullis.server.review.runningstate import running_now
from portcullis.server.review.scopewords import exception_rows
from portcullis.times import rfc3339

AREA: Final = "/"
MOST_BARS: Final = 60
"""More buckets are folded: a bar of a week of hours would be too thin for a finger."""
FOLDED: Final = 4
"""Hours in one bar then."""
DAY_BARS: Final = 30
"""Up to so many hours, the hour tells more than the day."""
TOP: Final = 8
BREAK_GLASS_SHOWN: Final = 10
OUTAGE_HEIGHT: Final = 72.0

_ADMITTED: Final = Series("admitted", "admitted")
_EXCEPTED: Final = Series("excepted", "admitted by an exception")
_BREAK_GLASS: Final = Series("break-glass", "admitted by break-glass")
_REFUSED: Final = Series("refused", "refused")
_OUTAGES: Final = Series("outages", "outages (503)")
_PENDING: Final = Series("pending", "pending (429)")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Range:
    """A time to look back. ``name`` stands in the address."""

    name: str
    words: str
    back: timedelta


RANGES: Final = {
    one.name: one
    for one in (
        Range("24h", "24 hours", timedelta(hours=24)),
        Range("7d", "7 days", timedelta(days=7)),
        Range("30d", "30 days", timedelta(days=30)),
    )
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all buckets."""

    decisions: int
    admitted: int
    refused: int
    outages: int
    pending: int
    excepted: int
    break_glass: int
    dry_runs: int


@dataclass(frozen=True, slots=True)
class TopPolicy:
    """What a policy did. ``reported`` are violations in warn or audit."""

    name: str
    refused: int
    reported: int
    excepted: int
    undecided: int


def lately(now: datetime, back: timedelta) -> Span:
    """The time up to now, the current second as well."""
    until = now + timedelta(seconds=1)
    return Span(until - back, until)


def totals_of(buckets: Sequence[VerdictBucket]) -> Totals:
    admitted, refused = sum(one.admitted for one in buckets), sum(one.refused for one in buckets)
    outages, pending = sum(one.outages for one in buckets), sum(one.pending for one in buckets)
    return Totals(
        decisions=admitted + refused + outages + pending,
        admitted=admitted,
        refused=refused,
        outages=outages,
        pending=pending,
        excepted=sum(one.excepted for one in buckets),
        break_glass=sum(one.break_glass for one in buckets),
        dry_runs=sum(one.dry_runs for one in buckets),
    )


def folded(buckets: Sequence[VerdictBucket]) -> Sequence[VerdictBucket]:
    """As many buckets as a chart can show, some of them summed up."""
    if len(buckets) <= MOST_BARS:
        return buckets
    return [_sum(buckets[at : at + FOLDED]) for at in range(0, len(buckets), FOLDED)]


def _sum(buckets: Sequence[VerdictBucket]) -> VerdictBucket:
    total = totals_of(buckets)
    return VerdictBucket(
        start=buckets[0].start,
        admitted=total.admitted,
        refused=total.refused,
        outages=total.outages,
        pending=total.pending,
        excepted=total.excepted,
        break_glass=total.break_glass,
        dry_runs=total.dry_runs,
    )


def verdict_charts(buckets: Sequence[VerdictBucket], until: datetime) -> tuple[StackedBars, StackedBars]:
    """Decisions by verdict, and outages apart from them: they are on a scale of their own, and no policy's doing."""
    shown = folded(buckets)
    ends = [*(one.start for one in shown[1:]), until]
    hours = len(shown) > 1 and shown[1].start - shown[0].start < timedelta(days=1)
    decided, held_up = [], []
    for one, end in zip(shown, ends, strict=True):
        label = f"{one.start:%d %b, %H:%M}" if hours else f"{one.start:%d %b %Y}"
        tick = f"{one.start:%H:%M}" if hours and len(shown) <= DAY_BARS else f"{one.start:%d %b}"
        span = {"since": rfc3339(one.start), "until": rfc3339(end, "seconds")}
        plain = max(one.admitted - one.excepted - one.break_glass, 0)
        values = (plain, one.excepted, one.break_glass, one.refused)
        decided.append(Column(label, tick, values, address("/decisions", **span)))
        link = address("/decisions", verdict="undecided", **span)
        held_up.append(Column(label, tick, (one.outages, one.pending), link))
    series = (_ADMITTED, _EXCEPTED, _BREAK_GLASS, _REFUSED)
    return (
        stacked_bars("verdicts", "Decisions by verdict", series, decided),
        stacked_bars("outages", "Held up by outages", (_OUTAGES, _PENDING), held_up, height=OUTAGE_HEIGHT),
    )


def top_policies(tallies: Sequence[PolicyTally]) -> tuple[TopPolicy, ...]:
    """Those that refuse most first, then those that would."""
    found: dict[str, TopPolicy] = {}
    for tally in tallies:
        known = found.get(tally.policy) or TopPolicy(tally.policy, 0, 0, 0, 0)
        denies = tally.mode == Mode.DENY
        found[tally.policy] = TopPolicy(
            name=tally.policy,
            refused=known.refused + (tally.violations if denies else 0),
            reported=known.reported + (0 if denies else tally.violations),
            excepted=known.excepted + tally.excepted,
            undecided=known.undecided + tally.undecided,
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.refused, -one.reported, -one.undecided, one.name)))


@router.get("/")
async def overview_page(request: Request, within: Annotated[str, Query(max_length=20)] = "24h") -> Response:
    """What was decided within a time."""
    chosen = RANGES.get(within)
    if chosen is None:
        raise PageProblem(
            400, "That time is not offered", f"within={within} is none of {', '.join(RANGES)}.", "Choose one of them."
        )
    parts, reader = parts_of(request), reader_of(request)
    now, visible, ledger = parts.clock.now(), reader.visible, parts.ledger
    span = lately(now, chosen.back)
    broken = RecordFilter(since=span.since, because=Because.BREAK_GLASS, visible=visible, limit=BREAK_GLASS_SHOWN)
    # One after the other: the webhook has the same processors, and each question its own time.
    buckets = await ledger.verdicts(span, visible)
    tallies = await ledger.policies(span, visible)
    namespaces = await ledger.namespaces(span, visible)
    extent = await ledger.extent(visible)
    emergencies = await ledger.page(broken)
    running = await running_now(parts, visible)
    checked = await _checked(parts, whole=visible is None)
    verdicts, outages = verdict_charts(buckets, span.until)
    standing = parts.current()
    return render(
        request,
        "overview.html.j2",
        area=AREA,
        chosen=chosen,
        ranges=RANGES.values(),
        totals=totals_of(buckets),
        verdicts=verdicts,
        outages=outages,
        policies=top_policies(tallies)[:TOP],
        namespaces=_top(namespaces),
        exceptions=[one for one in exception_rows(standing.exceptions.all, now, visible) if one.soon or one.ended],
        exceptions_count=len(exception_rows(standing.exceptions.all, now, visible)),
        emergencies=emergencies,
        running=running,
        extent=extent,
        checked=checked,
        whole=visible is None,
        installation=parts.installed() if visible is None else None,
        revision=standing.compiled.revision,
        policy_count=len(standing.compiled.policies),
    )


def _top(namespaces: Sequence[Counted]) -> Sequence[Counted]:
    return namespaces[:TOP]


async def _checked(parts: ReviewParts, *, whole: bool) -> Sequence[Checked]:
    """The checks of the health port. They are about the installation: for who sees all of it."""
    return (await parts.health()).checked if whole else ()
