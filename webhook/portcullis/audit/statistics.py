"""What was decided, counted.

From the tables of tallies, which every record keeps up (:mod:`portcullis.audit.counting`). All of it blocks. Nothing of
a namespace that the reader may not see goes into any number.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, false, func, select, true

from portcullis.audit.counting import DAY, HOUR
from portcullis.audit.searching import search
from portcullis.audit.tables import decisions, images, key, policy_tallies, tallies, violations
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import (
    Counted,
    Extent,
    PolicyBucket,
    PolicyTally,
    RecordFilter,
    Span,
    VerdictBucket,
    Visible,
)

HOURLY = timedelta(days=7)
"""Longest span that is shown by hour."""

TOP = 10
"""Namespaces or images of one policy."""
NEWEST = 1000
"""Decisions that are looked at for what no table counts."""

_PENDING = 429


def seen(column: ColumnElement[str], visible: Visible) -> ColumnElement[bool]:
    """That the reader may see that namespace."""
    if visible is None:
        return true()
    return column.in_(sorted(map(key, visible))) if visible else false()


class Buckets:
    """The hours or days of a span, whole ones."""

    def __init__(self, span: Span, limits: Limits) -> None:
        if span.until <= span.since:
            raise RecordsError("a span ends after it begins")
        if span.until - span.since > timedelta(days=limits.span_days):
            raise RecordsError(f"a span has at most {limits.span_days} days (limits.spanDays)")
        self.width = HOUR if span.until - span.since <= HOURLY else DAY
        self.first = int(span.since.timestamp()) // self.width * self.width
        self.end = span.until.timestamp()

    def within(
        self, table: Table, visible: Visible, namespace: str = "", *, each: bool = False
    ) -> Iterator[ColumnElement[bool]]:
        """Rows of these hours or days that count for the reader; ``each``: namespace by namespace, also for one who
        sees all."""
        together = visible is None and not namespace and not each
        yield table.c.width == (-self.width if together else self.width)
        yield table.c.start >= self.first
        yield table.c.start < self.end
        if not together:
            yield seen(table.c.namespace, visible)
        if namespace:
            yield table.c.namespace == key(namespace)

    def starts(self) -> Iterator[int]:
        start = self.first
        while start < self.end:
            yield start
            start += self.width


def verdicts(
    connection: Connection, span: Span, visible: Visible, namespace: str, limits: Limits
) -> Sequence[VerdictBucket]:
    """See :meth:`portcullis.ports.Ledger.verdicts`."""
    buckets = Buckets(span, limits)
    columns = (tallies.c.start, tallies.c.verdict, tallies.c.code, tallies.c.because, tallies.c.dry_run)
    statement = select(*columns, _total(tallies)).where(*buckets.within(tallies, visible, namespace)).group_by(*columns)
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in connection.execute(statement):
        for name in _names(row):
            counts[row.start][name] += int(row.total)
    return tuple(VerdictBucket(_moment(start), **counts.get(start, {})) for start in buckets.starts())


def _names(row: Any) -> Iterator[str]:
    """The fields of VerdictBucket in which a row counts."""
    if row.dry_run:
        yield "dry_runs"
    elif row.verdict == Verdict.UNDECIDED:
        yield "pending" if row.code == _PENDING else "outages"
    elif row.verdict == Verdict.REFUSED:
        yield "refused"
    else:
        yield "admitted"
        if row.because == Because.EXCEPTION:
            yield "excepted"
        elif row.because == Because.BREAK_GLASS:
            yield "break_glass"


def namespaces(connection: Connection, span: Span, visible: Visible, limits: Limits) -> Sequence[Counted]:
    """See :meth:`portcullis.ports.Ledger.namespaces`."""
    namespace, total = tallies.c.namespace, _total(tallies)
    statement = (
        select(namespace.label("name"), total)
        .where(
            tallies.c.verdict == Verdict.REFUSED,
            tallies.c.dry_run.is_(False),
            *Buckets(span, limits).within(tallies, visible, each=True),
        )
        .group_by(namespace)
    )
    return _top(connection, statement)


def policies(connection: Connection, span: Span, visible: Visible, limits: Limits) -> Sequence[PolicyTally]:
    """See :meth:`portcullis.ports.Ledger.policies`."""
    buckets = Buckets(span, limits)
    columns = (policy_tallies.c.policy, policy_tallies.c.mode, policy_tallies.c.outcome)
    statement = (
        select(*columns, _total(policy_tallies)).where(*buckets.within(policy_tallies, visible)).group_by(*columns)
    )
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in connection.execute(statement):
        counts[(row.policy, row.mode)][_OUTCOMES[row.outcome]] = int(row.total)
    found = (PolicyTally(policy, mode, **count) for (policy, mode), count in counts.items())
    return tuple(sorted(found, key=lambda one: (-one.violations, -one.excepted - one.undecided, one.policy, one.mode)))


_OUTCOMES = {"violation": "violations", "excepted": "excepted", "undecided": "undecided"}


def policy(connection: Connection, name: str, span: Span, visible: Visible, limits: Limits) -> Sequence[PolicyBucket]:
    """See :meth:`portcullis.ports.Ledger.policy`."""
    buckets = Buckets(span, limits)
    columns = (policy_tallies.c.start, policy_tallies.c.outcome)
    statement = (
        select(*columns, _total(policy_tallies))
        .where(policy_tallies.c.policy == key(name), *buckets.within(policy_tallies, visible))
        .group_by(*columns)
    )
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(statement):
        counts[row.start][_OUTCOMES[row.outcome]] = int(row.total)
    return tuple(PolicyBucket(_moment(start), **counts.get(start, {})) for start in buckets.starts())


def policy_namespaces(
    connection: Connection, name: str, span: Span, visible: Visible, limits: Limits
) -> Sequence[Counted]:
    """See :meth:`portcullis.ports.Ledger.policy_namespaces`."""
    namespace, total = policy_tallies.c.namespace, _total(policy_tallies)
    statement = (
        select(namespace.label("name"), total)
        .where(
            policy_tallies.c.policy == key(name),
            policy_tallies.c.outcome == "violation",
            *Buckets(span, limits).within(policy_tallies, visible, each=True),
        )
        .group_by(namespace)
    )
    return _top(connection, statement)


def policy_images(connection: Connection, name: str, span: Span, visible: Visible, until: float) -> Sequence[Counted]:
    """See :meth:`portcullis.ports.Ledger.policy_images`."""
    query = RecordFilter(policy=name, since=span.since, until=span.until, visible=visible, dry_run=False, limit=NEWEST)
    found = search(connection, query, until=until)
    violated = select(violations.c.decision).where(
        violations.c.decision.in_(found.sequences), violations.c.policy == key(name), violations.c.undecided.is_(False)
    )
    statement = (
        select(images.c.digest.label("name"), func.count(images.c.decision.distinct()).label("total"))
        .where(images.c.decision.in_(violated), images.c.digest != "")
        .group_by(images.c.digest)
    )
    return _top(connection, statement)


def extent(connection: Connection, visible: Visible, until: float) -> Extent:
    """See :meth:`portcullis.ports.Ledger.extent`. For a reader of some namespaces ``oldest`` is known to the hour."""
    # One by one: SQLite reads all rows for both at once.
    first, last = (connection.execute(select(end(decisions.c.sequence))).scalar_one() for end in (func.min, func.max))
    if first is None:
        return Extent(0, None, None)
    oldest = _decided(connection, first)
    if visible is None:
        return Extent(last - first + 1, oldest, _decided(connection, last))
    newest = search(connection, RecordFilter(visible=visible, limit=1), until=until).sequences
    if not newest:
        return Extent(0, None, None)
    mine = seen(tallies.c.namespace, visible)
    days = (tallies.c.width == DAY, tallies.c.start > oldest.timestamp() - DAY, mine)
    records = connection.execute(select(_total(tallies)).where(*days)).scalar_one() or 0
    hours = (tallies.c.width == HOUR, tallies.c.start > oldest.timestamp() - HOUR, mine)
    hour = connection.execute(select(func.min(tallies.c.start)).where(*hours)).scalar_one()
    begins = oldest if hour is None else max(oldest, _moment(hour))
    return Extent(int(records), begins, _decided(connection, newest[0]))


def _decided(connection: Connection, sequence: int) -> datetime:
    moment: datetime = connection.execute(
        select(decisions.c.decided_at).where(decisions.c.sequence == sequence)
    ).scalar_one()
    return moment


def _top(connection: Connection, counting: Select[Any]) -> Sequence[Counted]:
    """The most frequent, by name where several are."""
    rows = connection.execute(counting).all()
    most = sorted(rows, key=lambda row: (-row.total, row.name))[:TOP]
    return tuple(Counted(row.name, int(row.total)) for row in most)


def _total(table: Table) -> ColumnElement[int]:
    return func.sum(table.c.count).label("total")


def _moment(start: int) -> datetime:
    return datetime.fromtimestamp(start, UTC)
