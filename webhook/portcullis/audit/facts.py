"""Facts in the audit store: they survive a restart, and are shared by all programs that use it.

A fact may have a hundred megabytes, and the audit records are written by the same thread into the same database. So
nothing here holds the writer for longer than one small step: contents are written and removed piece by piece, each in
a commit of its own, and records are committed in between.

How a fact comes and goes:

1. Its row is inserted without a key: a draft, which nobody finds, whose size counts already.
2. Room is made for it: the least recently used are removed, in steps.
3. Its pieces are inserted, one per commit.
4. Its key is set, unless another has it by now (then the draft is removed) or the draft itself was removed meanwhile.
   From here on it is found.
5. Who reads compares size and checksum. What does not fit is removed, and counts as not found.
6. A draft whose program died is removed when it is older than any fetch.

Another program on the same database may be between any two of these steps.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import fact_pieces, facts
from portcullis.audit.tables import key as stored_key
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.ports import Clock
from portcullis.text import clean

PIECE_BYTES: Final = 1024 * 1024
"""What is written or removed in one commit: about 10 ms."""

LARGEST_SHARE: Final = 4
"""One fact may take a quarter of the room at most, so that it does not drive out all others."""

ROW_BYTES: Final = 1024
"""What a fact takes beside its content; so the room bounds their number as well."""

USED_SECONDS: Final = 60.0
"""How often it is written down which facts were used. What was used by a program that dies in between looks older."""

_USED_KEYS: Final = 10_000
_USED_STEP: Final = 256
_REMOVED_STEP: Final = 64
_DRAFT_MILLISECONDS: Final = 3600 * 1000

log = logging.getLogger(__name__)


_Row = Mapping[str, int | str | bytes]


@dataclass(slots=True)
class FactCounters:
    """What happened since the start. ``kept`` counts facts that were added, ``too_large`` those that were not because
    they are more than a quarter of the room, ``evicted`` those that were removed for others, ``damaged`` those that
    were removed because they were no longer what had been put, ``failed`` calls that raised."""

    hits: int = 0
    misses: int = 0
    kept: int = 0
    too_large: int = 0
    evicted: int = 0
    damaged: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Damaged:
    id: int


class SqlFacts:
    """A Facts (ports.py) in an audit store.

    Args:
        records: the store; it is opened and closed by others, after ``aclose`` of this.
        limits: ``stored_fact_bytes``, ``fact_seconds``.
    """

    def __init__(self, *, records: SqlRecords, clock: Clock, limits: Limits) -> None:
        self._records = records
        self._clock = clock
        self._limits = limits
        self._used: dict[str, int] = {}
        self._written_at = clock.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self.counters = FactCounters()
        self.bytes = 0
        """What all facts take, as it was found when the last one was put."""

    async def aclose(self) -> None:
        """Writes down what was used, unless the store hangs: ``fact_seconds`` bound it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.fact_seconds):
                if self._writing is not None:
                    await self._writing
                await self._write_used()

    async def get(self, key: str) -> bytes | None:
        """As the port says.

        Raises:
            RecordsError: the store is down, or does not answer within ``fact_seconds``.
        """
        name = stored_key(key)
        most = self._limits.stored_fact_bytes // LARGEST_SHARE
        try:
            async with asyncio.timeout(self._limits.fact_seconds):
                found = await self._records.read(partial(_read, name=name, most=most))
        except TimeoutError:
            self.counters.failed += 1
            limit = f"the limit factSeconds of {self._limits.fact_seconds:g}"
            raise RecordsError(f"the audit store gave no fact within {limit}") from None
        except RecordsError:
            self.counters.failed += 1
            raise
        if isinstance(found, bytes):
            self.counters.hits += 1
            self.mark(key)
            return found
        self.counters.misses += 1
        if found is not None:
            await self._remove_damaged(found, name)
        return None

    async def put(self, key: str, content: bytes) -> None:
        """As the port says; returns when the fact is on disk.

        Raises:
            RecordsError: the store is down, or the room was needed for others before this was written.
        """
        if len(content) > self._limits.stored_fact_bytes // LARGEST_SHARE:
            self.counters.too_large += 1
            return
        name = stored_key(key)
        try:
            if await self._records.read(partial(_exists, name=name)):
                self.mark(key)
                return
            checksum = await asyncio.to_thread(_checksum, content)
            if await self._put(name, content, checksum):
                self.counters.kept += 1
        except RecordsError:
            self.counters.failed += 1
            raise

    def mark(self, key: str) -> None:
        """Remembers that a fact was used, here or in front of this. It is written down now and then, all at once."""
        name = stored_key(key)
        self._used.pop(name, None)
        self._used[name] = self._now()
        if len(self._used) > _USED_KEYS:
            del self._used[next(iter(self._used))]
        due = self._clock.monotonic() - self._written_at >= USED_SECONDS
        if due and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_used())

    async def _put(self, name: str, content: bytes, checksum: str) -> bool:
        now = self._now()
        row: _Row = {"size": len(content), "checksum": checksum, "used_at": now}
        draft = await self._records.change(partial(_insert_draft, row=row))  # 1
        await self._make_room(draft)  # 2
        for number, start in enumerate(range(0, len(content), PIECE_BYTES)):  # 3
            piece: _Row = {"fact": draft, "number": number, "content": content[start : start + PIECE_BYTES]}
            await self._records.change(partial(_insert_piece, piece=piece))
        if await self._records.change(partial(_publish, draft=draft, name=name, size=len(content), now=now)):  # 4
            return True
        await self._remove(draft)
        return False

    async def _make_room(self, draft: int) -> None:
        """Removes what is too much, in steps between which others write. What is too much is asked anew for each: other
        programs make room as well."""
        await self._write_used()
        abandoned = await self._records.read(partial(_abandoned, before=self._now() - _DRAFT_MILLISECONDS))
        for id_ in abandoned:  # 6
            await self._remove(id_)
        while True:
            self.bytes = await self._records.read(_total)
            excess = self.bytes - self._limits.stored_fact_bytes
            if excess <= 0:
                return
            freed, gone = await self._records.change(partial(_evict_step, excess=excess, draft=draft))
            self.counters.evicted += gone
            if not freed:
                return

    async def _remove(self, id_: int) -> None:
        while not (await self._records.change(partial(_remove_step, ids=[id_])))[1]:
            pass

    async def _remove_damaged(self, found: _Damaged, name: str) -> None:
        self.counters.damaged += 1
        self._used.pop(name, None)
        log.warning("the fact %s in the audit store is damaged and is removed", clean(name, 100))
        try:
            await self._remove(found.id)
        except RecordsError:  # it stays, and is found damaged again
            self.counters.failed += 1

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def _write_used(self) -> None:
        used, self._used = self._used, {}
        self._written_at = self._clock.monotonic()
        rows: list[_Row] = [{"name": name, "moment": moment} for name, moment in sorted(used.items())]
        for start in range(0, len(rows), _USED_STEP):
            step = rows[start : start + _USED_STEP]
            try:
                await self._records.change(partial(_use, rows=step))
            except RecordsError:  # they look older than they are, no more
                self.counters.failed += 1
                return


# -- steps, each in one transaction --------------------------------------------------------------------------------


def _insert_draft(connection: Connection, row: _Row) -> int:
    return int(connection.execute(insert(facts).returning(facts.c.id), row).scalar_one())


def _insert_piece(connection: Connection, piece: _Row) -> None:
    connection.execute(insert(fact_pieces), piece)


def _use(connection: Connection, rows: Sequence[_Row]) -> None:
    found = update(facts).where(facts.c.key == bindparam("name"), facts.c.used_at < bindparam("moment"))
    connection.execute(found.values(used_at=bindparam("moment")), rows)


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute(select(facts.c.id).where(facts.c.key == name)).first() is not None


def _total(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(facts.c.size + ROW_BYTES), 0))).scalar_one())


def _read(connection: Connection, name: str, most: int) -> bytes | _Damaged | None:
    """5: nothing is read that is larger than what could have been put."""
    row = connection.execute(select(facts.c.id, facts.c.size, facts.c.checksum).where(facts.c.key == name)).first()
    if row is None:
        return None
    pieces = fact_pieces.c
    held = select(func.coalesce(func.sum(func.length(pieces.content)), 0)).where(pieces.fact == row.id)
    if not isinstance(row.size, int) or row.size > most or connection.execute(held).scalar_one() != row.size:
        return _Damaged(row.id)
    chosen = select(pieces.content).where(pieces.fact == row.id).order_by(pieces.number)
    read: Sequence[object] = connection.execute(chosen).scalars().all()
    content = b"".join(piece for piece in read if isinstance(piece, bytes))  # SQLite keeps any type in any column
    return content if _checksum(content) == row.checksum else _Damaged(row.id)


def _publish(connection: Connection, draft: int, name: str, size: int, now: int) -> bool:
    """Gives a draft its key. False: another has it. The size of a draft that is being removed is no longer its own.

    Raises:
        RecordsError: the draft was removed.
    """
    if _exists(connection, name):
        return False
    ready = update(facts).where(facts.c.id == draft, facts.c.key.is_(None), facts.c.size == size)
    try:
        with connection.begin_nested():
            published = connection.execute(ready.values(key=name, used_at=now)).rowcount == 1
    except IntegrityError:  # another program was quicker by the length of a transaction
        return False
    if not published:
        raise RecordsError("the room for facts in the audit store was needed for others (limits.storedFactBytes)")
    return True


def _abandoned(connection: Connection, before: int) -> Sequence[int]:
    drafts = select(facts.c.id).where(facts.c.used_at < before, facts.c.key.is_(None)).limit(_REMOVED_STEP)
    return connection.execute(drafts).scalars().all()


def _evict_step(connection: Connection, excess: int, draft: int) -> tuple[int, int]:
    """Removes of the least recently used what is too much, or a part of it: bytes that were freed, and facts."""
    oldest = select(facts.c.id, facts.c.size).where(facts.c.id != draft).order_by(facts.c.used_at).limit(_REMOVED_STEP)
    chosen: list[int] = []
    for row in connection.execute(oldest):
        if excess <= 0:
            break
        chosen.append(row.id)
        excess -= _bytes(row.size) + ROW_BYTES
    return _remove_step(connection, chosen)


def _remove_step(connection: Connection, ids: Sequence[int]) -> tuple[int, int]:
    """Removes facts in their order until that is a piece's worth: bytes that were freed, and facts that are gone.

    A fact of which a part is gone has no key any more, and the size of what is left.
    """
    budget, freed, gone = PIECE_BYTES, 0, 0
    for id_ in ids:
        if budget <= 0:
            break
        # Locked where there are other writers (SQLite has none): two that free the same fact take turns.
        size = connection.execute(select(facts.c.size).where(facts.c.id == id_).with_for_update()).scalar_one_or_none()
        if size is None:
            gone += 1
            continue
        pieces = connection.execute(
            select(fact_pieces.c.number, func.length(fact_pieces.c.content).label("size"))
            .where(fact_pieces.c.fact == id_)
            .order_by(fact_pieces.c.number.desc())
        ).all()
        taken = [piece for position, piece in enumerate(pieces) if position * PIECE_BYTES < budget]
        if len(taken) == len(pieces):
            connection.execute(delete(facts).where(facts.c.id == id_))  # and, by the foreign key, its pieces
            freed, gone = freed + _bytes(size) + ROW_BYTES, gone + 1
        else:
            part = sum(piece.size for piece in taken)
            connection.execute(
                delete(fact_pieces).where(
                    fact_pieces.c.fact == id_, fact_pieces.c.number.in_([piece.number for piece in taken])
                )
            )
            connection.execute(
                update(facts).where(facts.c.id == id_).values(key=None, size=max(_bytes(size) - part, 0))
            )
            freed += part
        budget -= sum(piece.size for piece in taken)
    return freed, gone


def _bytes(size: object) -> int:
    """SQLite keeps any type in any column, and a damaged row must be removable too."""
    return size if isinstance(size, int) else 0


def _checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
