"""What came of judging again what runs, kept beside the audit log: a Findings (ports.py).

How a round comes and goes:

1. Its row is inserted. From now on it is the newest, and nothing is taken for any other.
2. What is left of rounds that did not end is removed.
3. Results are inserted, some at a time.
4. The row is told when the round ended. In that one statement its results take the place of the older ones: readers
   see those of the newest round that has ended.
5. The older ones are removed.

Records wait for the same thread, so removing and inserting go in steps, each in a commit of its own. Whoever loses the
lead while a round goes on is refused at the next step, as soon as another has begun one.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, insert, or_, select, tuple_, update

from portcullis.audit.asking import ask
from portcullis.audit.dialects import ignoring
from portcullis.audit.findingrows import RANKS, FindingRow, numbered, result_of, round_of, round_row, row_of
from portcullis.audit.sql import SqlRecords
from portcullis.audit.statistics import seen
from portcullis.audit.tables import finding_images, finding_policies, findings, key, rounds
from portcullis.errors import CursorInvalid, RecordsError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.record import Counted, PolicyTally, Visible
from portcullis.model.running import Condition, FindingFilter, FindingPage, Rejudged, Round

T = TypeVar("T")

STEP: Final = 50
"""Results that are inserted in one commit."""
REMOVED_STEP: Final = 500
"""Results that are removed in one commit: some milliseconds."""
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one page, compressed: it ends before its limit where results are large."""

_EVERYTHING: Final = FindingFilter()
_CURSOR_CHARS: Final = 8192
_CONDITIONS: Final = tuple(Condition)
_ORDER: Final = (findings.c.rank, findings.c.namespace, findings.c.kind, findings.c.name, findings.c.key)
_ENDED: Final = (
    select(func.max(rounds.c.number)).where(rounds.c.ended_at.is_not(None)).scalar_subquery()
)  # the newest that has


class SqlFindings:
    """A Findings in an audit store.

    Args:
        records: the store; it is opened and closed by others.
        limits: ``finding_bytes``, ``running_workloads``, ``search_rows``, ``read_seconds``.
    """

    def __init__(self, *, records: SqlRecords, limits: Limits = DEFAULT_LIMITS) -> None:
        self._records = records
        self._limits = limits

    async def begin(self, started: Round) -> None:
        await self._records.change(partial(_begin, started=started))
        await self._remove_others()

    async def put(self, round_id: str, results: Sequence[Rejudged]) -> None:
        for start in range(0, len(results), STEP):
            step = results[start : start + STEP]
            rows = await asyncio.to_thread(_rows, step, self._limits)
            most = self._limits.running_workloads
            await self._records.change(partial(_put, round_id=round_id, rows=rows, most=most))

    async def finish(self, ended: Round) -> None:
        if ended.ended_at is None:
            raise RecordsError("a round that is finished has an end")
        await self._records.change(partial(_finish, ended=ended))
        await self._remove_others()

    async def round(self) -> Round | None:
        return await self._read(partial(_round, which=rounds.c.number == _ENDED))

    async def under_way(self) -> Round | None:
        newer = rounds.c.number > func.coalesce(_ENDED, 0)
        return await self._read(partial(_round, which=newer))

    async def results(
        self, *, visible: Visible = None, query: FindingFilter = _EVERYTHING, after: str = "", limit: int = 50
    ) -> FindingPage:
        if not 1 <= limit <= self._limits.search_rows:
            raise RecordsError(
                f"{limit} rows asked for; one answer has 1 to {self._limits.search_rows} (limits.searchRows)"
            )
        statement = select(findings.c.body, *_ORDER).where(*_meeting(query, visible)).order_by(*_ORDER)
        if query.condition is not None:
            statement = statement.where(findings.c.rank == RANKS[query.condition])
        if after:
            statement = statement.where(tuple_(*_ORDER) > tuple_(*_place(after)))
        return await self._read(
            partial(_results, statement=statement.limit(limit + 1), limit=limit, limits=self._limits)
        )

    async def totals(self, visible: Visible = None, query: FindingFilter = _EVERYTHING) -> Mapping[Condition, int]:
        statement = select(findings.c.rank, func.count()).where(*_meeting(query, visible)).group_by(findings.c.rank)
        rows = await self._read(lambda connection: connection.execute(statement).all())
        found = {row.rank: row[1] for row in rows}
        return {condition: found.get(RANKS[condition], 0) for condition in _CONDITIONS}

    async def policies(self, visible: Visible = None) -> Sequence[PolicyTally]:
        own = finding_policies.c
        statement = (
            select(own.policy, own.mode, own.outcome, func.count())
            .join_from(finding_policies, findings)
            .where(*_meeting(_EVERYTHING, visible))
            .group_by(own.policy, own.mode, own.outcome)
        )
        rows = await self._read(lambda connection: connection.execute(statement).all())
        counts = {(policy, mode, outcome): count for policy, mode, outcome, count in rows}
        tallies = [
            PolicyTally(
                policy,
                mode,
                violations=counts.get((policy, mode, "violation"), 0),
                excepted=counts.get((policy, mode, "excepted"), 0),
                undecided=counts.get((policy, mode, "undecided"), 0),
            )
            for policy, mode in dict.fromkeys((policy, mode) for policy, mode, _ in counts)
        ]
        return tuple(sorted(tallies, key=lambda one: (-one.violations, -one.undecided, one.policy, one.mode)))

    async def namespaces(self, visible: Visible = None) -> Sequence[Counted]:
        statement = (
            select(findings.c.namespace, func.count())
            .where(*_meeting(_EVERYTHING, visible))
            .group_by(findings.c.namespace)
            .order_by(findings.c.namespace)
        )
        rows = await self._read(lambda connection: connection.execute(statement).all())
        return tuple(Counted(name, count) for name, count in rows)

    async def _remove_others(self) -> None:
        """All results that nobody sees or will see."""
        while await self._records.change(_remove_some):
            pass

    async def _read(self, read: Callable[[Connection], T]) -> T:
        return await ask(self._records, self._limits, lambda connection, _: read(connection))


# -- steps, each in one transaction --------------------------------------------------------------------------------


def _rows(results: Sequence[Rejudged], limits: Limits) -> Sequence[FindingRow]:
    return [row_of(result, limits) for result in results]


def _begin(connection: Connection, started: Round) -> None:
    connection.execute(insert(rounds), round_row(started))


def _put(connection: Connection, round_id: str, rows: Sequence[FindingRow], most: int) -> None:
    number = _going_on(connection, round_id)
    there = connection.execute(select(func.count()).where(findings.c.round == number)).scalar_one()
    if there + len(rows) > most:
        raise RecordsError(f"a round has at most {most} groups of running pods (limits.runningWorkloads)")
    given = [{**row.finding, "round": number} for row in rows]
    statement = ignoring(connection, findings, "round", "key").returning(findings.c.key, findings.c.number)
    numbers = {row.key: row.number for row in connection.execute(statement, given)}
    new = [(row, numbers[row.finding["key"]]) for row in rows if row.finding["key"] in numbers]
    for table, parts in (
        (finding_images, [one for row, finding in new for one in numbered(row.images, finding)]),
        (finding_policies, [one for row, finding in new for one in numbered(row.policies, finding)]),
    ):
        if parts:
            connection.execute(insert(table), parts)


def _finish(connection: Connection, ended: Round) -> None:
    number = _going_on(connection, ended.id)
    connection.execute(update(rounds).where(rounds.c.number == number), round_row(ended))


def _going_on(connection: Connection, round_id: str) -> int:
    """The number of that round.

    Raises:
        RecordsError: another was begun since, or it has ended.
    """
    newest = select(rounds.c.number, rounds.c.id, rounds.c.ended_at).order_by(rounds.c.number.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    if row is None or row.id != key(round_id) or row.ended_at is not None:
        raise RecordsError("the round is not the one that goes on: it has ended, or another was begun since")
    return int(row.number)


def _remove_some(connection: Connection) -> bool:
    """Removes some results of a round that is neither the newest nor the newest that has ended, or the round itself
    when it has none. False: there is no such round."""
    newest = select(func.max(rounds.c.number)).scalar_subquery()
    shown = func.coalesce(_ENDED, 0)
    other = select(func.min(rounds.c.number)).where(rounds.c.number != newest, rounds.c.number != shown)
    number = connection.execute(other).scalar_one()
    if number is None:
        return False
    some = select(findings.c.number).where(findings.c.round == number).limit(REMOVED_STEP)
    removed = connection.execute(delete(findings).where(findings.c.number.in_(some))).rowcount
    if removed < REMOVED_STEP:
        connection.execute(delete(rounds).where(rounds.c.number == number))
    return True


# -- questions -----------------------------------------------------------------------------------------------------


def _round(connection: Connection, which: ColumnElement[bool]) -> Round | None:
    row = connection.execute(select(rounds).where(which).order_by(rounds.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else round_of(row)


def _results(connection: Connection, statement: Select[Any], limit: int, limits: Limits) -> FindingPage:
    taken: list[Any] = []
    size = 0
    for row in connection.execute(statement):
        if len(taken) == limit or (taken and size + len(row.body) > PAGE_BYTES):
            return FindingPage(tuple(result_of(one.body, limits) for one in taken), _cursor(taken[-1]))
        taken.append(row)
        size += len(row.body)
    return FindingPage(tuple(result_of(one.body, limits) for one in taken))


def _meeting(query: FindingFilter, visible: Visible) -> list[ColumnElement[bool]]:
    """Conditions on a result, of the round that is shown; that on its condition is the caller's."""
    own = findings.c
    conditions = [own.round == _ENDED, seen(own.namespace, visible)]
    for column, wanted in ((own.namespace, query.namespace), (own.kind, query.kind), (own.name, query.name)):
        if wanted:
            conditions.append(column == key(wanted))
    if query.moved:
        conditions.append(own.moved.is_(True))
    if query.break_glass:
        conditions.append(own.break_glass != "")
    if query.policy:
        policy = finding_policies.c
        conditions.append(exists().where(policy.finding == own.number, policy.policy == key(query.policy)))
    if query.image:
        image, wanted = finding_images.c, key(query.image)
        begins = func.substr(image.written, 1, len(wanted)) == wanted
        conditions.append(exists().where(image.finding == own.number, or_(image.digest == wanted, begins)))
    return conditions


def _cursor(row: Any) -> str:
    place = json.dumps([row.rank, row.namespace, row.kind, row.name, row.key], separators=(",", ":"))
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(after: str) -> Sequence[Any]:
    """What the cursor names.

    Raises:
        CursorInvalid: it is none of ours.
    """
    try:
        if len(after) > _CURSOR_CHARS:
            raise ValueError("too long")
        place = json.loads(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
        rank, *texts = place
        if not 0 <= rank < len(_CONDITIONS) or [type(rank), *map(type, texts)] != [int, str, str, str, str]:
            raise ValueError("another form")
        return (rank, *map(key, texts))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise CursorInvalid("the place in the list of what runs is none of ours: begin at its first page") from None
