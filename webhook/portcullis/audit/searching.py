"""How decisions are found that meet a filter, the newest first, in a log of any size and in bounded time.

1. Times become bounds of sequences (the table ``hours``), so that a range of time walks no more than its hours.
2. Of all indexes that hold what is searched for (:func:`portcullis.audit.query.ways`), the one is walked that thins
   out most: it is asked where its so-many-th newest entry lies. Neither database knows how common a value is of late.
3. It is walked backwards in steps. Each step reads sequences out of the index and asks which of them meet the other
   conditions. Steps grow as long as little is found, so that few suffice.
4. When the time is over, or a step is cut short, what was found so far is the answer, with the sequence at which the
   search goes on.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from portcullis.audit.query import Way, is_empty, meeting, ways
from portcullis.audit.tables import decisions, hours
from portcullis.audit.timelimit import TimeIsUp, within
from portcullis.model.record import RecordFilter

FIRST_STEP = 400
LAST_STEP = 16_384
"""Entries of an index that one step reads. The last takes about a tenth of a second."""
GROWTH = 4

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Found:
    """Sequences, the newest first. ``next`` is where the search goes on (a ``before``), None where all was looked at;
    ``late`` says that it stopped there for want of time and not because enough was found."""

    sequences: tuple[int, ...]
    next: int | None = None
    late: bool = False


def search(
    connection: Connection, query: RecordFilter, *, until: float, pause: float = math.inf, above: int = 0
) -> Found:
    """The newest ``query.limit`` decisions that meet the query, as far as they are found in time.

    Args:
        connection: outside of a transaction or in one that may be given up.
        until: an instant of :func:`time.monotonic` at which a step is cut short.
        pause: an instant after which no further step is begun.
        above: nothing at or below this sequence is looked for.

    Raises:
        TimeIsUp: before anything was looked at.
    """
    walk = Walk(connection, query, above=above, until=until)
    found: list[int] = []
    begun, late = walk.next, False
    while walk.next is not None and len(found) <= query.limit and not late:
        try:
            found += walk.step(query.limit + 1 - len(found))
            late = time.monotonic() >= min(until, pause)
        except TimeIsUp:
            if walk.next == begun:
                raise
            late = True
    if len(found) > query.limit:
        return Found(tuple(found[: query.limit]), next=found[query.limit - 1])
    return Found(tuple(found), next=walk.next, late=walk.next is not None)


def bodies(connection: Connection, sequences: Sequence[int]) -> Sequence[Any]:
    """Sequence, body and input hash of those decisions, the newest first."""
    statement = (
        select(decisions.c.sequence, decisions.c.body, decisions.c.input_hash)
        .where(decisions.c.sequence.in_(sequences))
        .order_by(decisions.c.sequence.desc())
    )
    return connection.execute(statement).all() if sequences else ()


class Walk:
    """A walk through the log, step by step.

    Args:
        connection: as :func:`search` takes it.
        query: what is searched for; its ``limit`` is not looked at.
        above: nothing at or below this sequence.
        until: when a step is cut short.
    """

    def __init__(self, connection: Connection, query: RecordFilter, *, above: int, until: float) -> None:
        self._connection = connection
        self._query = query
        self._until = until
        self._ways = ways(query)
        self._rows = FIRST_STEP
        self._low, self._high = (0, 0) if is_empty(query) else self._bounds(above + 1)

    @property
    def next(self) -> int | None:
        """Below which sequence nothing was looked at yet; None where there is nothing."""
        return self._high if self._high > self._low else None

    @property
    def bounds(self) -> tuple[int, int]:
        """What is still to be looked at: from the first sequence on, below the second."""
        return self._low, self._high

    def step(self, wanted: int) -> list[int]:
        """What is found in the next step, newest first; it may be more than is wanted.

        Raises:
            TimeIsUp: nothing of this step counts.
        """
        with within(self._connection, self._until):
            way = self._thinnest()
            alone = not meeting(self._query, decisions.c.sequence, way.meets)
            rows = wanted if alone else self._rows
            entries = self._read(way.newest(self._low, self._high, rows))
            low = entries[-1] if len(entries) == rows else self._low
            found = entries if alone or not entries else self._read(self._meeting(way, entries[-1], rows))
        self._high = low
        self._adapt(len(found), wanted)
        return sorted(set(found), reverse=True)

    def _meeting(self, way: Way, low: int, rows: int) -> Select[Any]:
        """Which of the entries from ``low`` on meet the other conditions.

        They are bounded by sequences, for rows may have come between two statements; the limit, which cuts nothing,
        keeps both databases from reading along another index than this one.
        """
        entries = way.newest(low, self._high, 2 * rows).subquery()
        sequence = entries.c.sequence
        return select(sequence).where(*meeting(self._query, sequence, way.meets))

    def _thinnest(self) -> Way:
        """The way on which a step reaches furthest back."""
        if len(self._ways) == 1:
            return self._ways[0]
        furthest, reached = self._ways[0], self._high
        for way in self._ways:
            entry = self._read(way.newest(self._low, self._high, 1, skip=self._rows))
            if not entry:
                return way
            if entry[0] < reached:
                furthest, reached = way, entry[0]
        return furthest

    def _adapt(self, found: int, wanted: int) -> None:
        """As many rows as should be enough; more of them, as long as there is little to be found."""
        enough = self._rows * (wanted - found) * 2 // found if found else self._rows * GROWTH
        self._rows = max(self._rows, min(enough, self._rows * GROWTH, LAST_STEP))

    def _bounds(self, low: int) -> tuple[int, int]:
        """Sequences from the first on, below the second, in which all lies that the query asks for."""
        query = self._query
        newest = self._scalar(select(func.max(decisions.c.sequence)))
        high = newest + 1 if query.before is None else min(query.before, newest + 1)
        if query.since is not None:
            since = select(func.min(hours.c.first_sequence)).where(hours.c.start > query.since.timestamp() - HOUR)
            low = max(low, self._scalar(since, default=high))
        if query.until is not None:
            until = select(func.max(hours.c.last_sequence)).where(hours.c.start < query.until.timestamp())
            high = min(high, self._scalar(until) + 1)
        return low, high

    def _scalar(self, statement: Select[Any], default: int = 0) -> int:
        with within(self._connection, self._until):
            found = self._connection.execute(statement).scalar_one()
        return default if found is None else int(found)

    def _read(self, statement: Select[Any]) -> list[int]:
        return list(self._connection.execute(statement).scalars())
