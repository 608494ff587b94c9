"""Marks in the audit store: they survive a restart, and hold for all programs that use it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection, delete, func, select

from portcullis.audit.dialects import advancing
from portcullis.audit.memory import MemoryMarks
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import key as stored_key
from portcullis.audit.tables import marks as table
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.ports import Clock, Marks

STORED_SHARE: Final = 20
"""How many times more marks the store holds than the memory: two million by default, a few hundred megabytes."""

KEPT: Final = timedelta(days=400)
"""A mark that was not moved for so long may go: no scan that old should count."""

PRUNE_SECONDS: Final = 3600.0
"""How often it is looked for marks that may go, unless many are added."""

_STEP: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_Row = Mapping[str, str | int]


class SqlMarks:
    """A Marks (ports.py) in an audit store.

    A mark moves in one statement, which compares with what is stored: of two programs that move it at once the later
    instant stays, in whichever order they come.

    The table holds ``STORED_SHARE`` times ``marks`` rows and, for a while, as many more as were added since it was last
    looked after (``marks`` at most). Those go first that were not moved for the longest time; of an image whose mark is
    gone an older scan counts again, if newer ones were deleted.

    Args:
        records: the store; it is opened and closed by others.
        limits: ``marks``, ``fact_seconds``.
    """

    def __init__(self, *, records: SqlRecords, clock: Clock, limits: Limits) -> None:
        self._records = records
        self._clock = clock
        self._limits = limits
        self._pruned_at = clock.monotonic() - PRUNE_SECONDS
        self._added = 0

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        """As the port says.

        Raises:
            RecordsError: the store is down or damaged, or does not answer within ``fact_seconds``.
        """
        names = {key: stored_key(key) for key in keys}
        found: dict[str, datetime] = {}
        try:
            async with asyncio.timeout(self._limits.fact_seconds):
                for step in _steps(sorted(set(names.values()))):
                    found |= await self._records.read(partial(_read, names=step))
        except TimeoutError:
            raise self._late() from None
        return {key: found[name] for key, name in names.items() if name in found}

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        """As the port says; returns when the marks are on disk.

        Raises:
            RecordsError: the store is down, or does not answer within ``fact_seconds``; whether they moved is unknown.
        """
        moments: dict[str, int] = {}
        for key, moment in marks.items():
            name = stored_key(key)
            moments[name] = max(moments.get(name, _micros(moment)), _micros(moment))
        now = _millis(self._clock.now())
        try:
            async with asyncio.timeout(self._limits.fact_seconds):
                for step in _steps(sorted(moments)):
                    rows: list[_Row] = [{"key": name, "moment": moments[name], "advanced_at": now} for name in step]
                    await self._records.change(partial(_advance, rows=rows))
                    self._added += len(rows)
                await self._prune(now)
        except TimeoutError:
            raise self._late() from None

    async def _prune(self, now: int) -> None:
        due = self._clock.monotonic() - self._pruned_at >= PRUNE_SECONDS or self._added >= self._limits.marks
        if not due:
            return
        self._pruned_at, self._added = self._clock.monotonic(), 0
        excess = await self._records.read(_count) - STORED_SHARE * self._limits.marks
        while excess > 0:
            excess -= await self._records.change(partial(_remove, most=min(excess, _STEP))) or excess
        before = now - KEPT // timedelta(milliseconds=1)
        while await self._records.change(partial(_remove, most=_STEP, before=before)) == _STEP:
            pass

    def _late(self) -> RecordsError:
        limit = f"the limit factSeconds of {self._limits.fact_seconds:g}"
        return RecordsError(f"the audit store did not answer for marks within {limit}")


class LayeredMarks:
    """Marks in memory over those of a store.

    What is looked up must come from the store: another replica may have seen a newer scan, and a mark that is not known
    must not read as one that is not there. What is moved is in memory at once and counts for this program from then on.
    It is written to the store before ``advance`` returns; if the store fails, ``advance`` raises, and the next one
    writes it too.

    Args:
        memory: what this program saw.
        store: the marks that last, and that others share.
        limits: ``marks`` bounds what waits for the store as well; beyond it, what waits for the longest time is
            dropped, and counted.
    """

    def __init__(self, *, memory: MemoryMarks, store: Marks, limits: Limits) -> None:
        self._memory = memory
        self._store = store
        self._most = limits.marks
        self._waiting: dict[str, datetime] = {}
        self.failed = 0
        """Calls of the store that failed."""
        self.dropped = 0
        """Marks that never got into the store: too many waited."""

    @property
    def waiting(self) -> int:
        """Marks that are not in the store yet."""
        return len(self._waiting)

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        """As the port says: of each key the later of what memory and store know.

        Raises:
            RecordsError: the store does not answer, whatever memory knows.
        """
        try:
            stored = await self._store.get(keys)
        except RecordsError:
            self.failed += 1
            raise
        seen = await self._memory.get(keys)
        # A store that was emptied or restored from a backup gets back what this program saw.
        self._wait({key: seen[key] for key in seen if key not in stored or stored[key] < seen[key]})
        await self._memory.advance(stored)
        return {key: max(stored.get(key, moment), moment) for key, moment in (dict(stored) | dict(seen)).items()}

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        """As the port says. Marks that stand there already cost nothing.

        Raises:
            RecordsError: the store does not take them now. They count for this program, and wait for the next call.
        """
        seen = await self._memory.get(tuple(marks))
        self._wait({key: moment for key, moment in marks.items() if key not in seen or seen[key] < moment})
        await self._memory.advance(marks)
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        try:
            await self._store.advance(batch)
        except BaseException as error:
            # Also when the caller goes away: whether they were written is unknown, and to write them again is harmless.
            self.failed += isinstance(error, RecordsError)
            self._wait(batch)
            raise

    def _wait(self, marks: Mapping[str, datetime]) -> None:
        for key, moment in marks.items():
            self._waiting[key] = max(self._waiting.get(key, moment), moment)
        while len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1


# -- steps, each in one transaction --------------------------------------------------------------------------------


def _read(connection: Connection, names: Sequence[str]) -> Mapping[str, datetime]:
    rows = connection.execute(select(table.c.key, table.c.moment).where(table.c.key.in_(names))).all()
    return {row.key: _instant(row.moment) for row in rows}


def _advance(connection: Connection, rows: Sequence[_Row]) -> None:
    connection.execute(advancing(connection, table, "moment", ("advanced_at",)), rows)


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _remove(connection: Connection, most: int, before: int | None = None) -> int:
    """Removes of those that were not moved since ``before`` (None: of all) the ``most`` oldest: how many that were."""
    oldest = select(table.c.key).order_by(table.c.advanced_at).limit(most)
    chosen = oldest if before is None else oldest.where(table.c.advanced_at < before)
    return connection.execute(delete(table).where(table.c.key.in_(chosen))).rowcount


def _steps(names: Sequence[str]) -> Sequence[Sequence[str]]:
    return [names[start : start + _STEP] for start in range(0, len(names), _STEP)]


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _millis(moment: datetime) -> int:
    return _micros(moment) // 1000


def _instant(micros: object) -> datetime:
    """
    Raises:
        RecordsError: it is none; SQLite keeps any type in any column.
    """
    try:
        if isinstance(micros, int):
            return _EPOCH + micros * _MICROSECOND
    except OverflowError:
        pass
    raise RecordsError("a mark in the audit store is damaged")
