"""Retention: removes the oldest records, so that what is left can still be proven.

1. Only a beginning of a chain is ever removed: up to the last record before the first that is to stay. A record that
   is dated wrongly, in the future, keeps those behind it.
2. A checkpoint says how far, and which hash stands there, before anything is removed. It is signed where the chain's
   checkpoints are; without the key such a chain is not pruned.
3. Records go in small steps, each a transaction that also moves ``pruned_position`` and ``pruned_hash`` of the chain:
   at any moment what is left follows from where it says that it begins. So a prune may die anywhere; the next one goes
   on to where the last checkpoint said.
4. With a record goes all that is kept beside it, its input where no other record has it, and its share of the tallies.
   Policy sets and configurations that no record names any more go at the end.

Records from before chains (``chain`` NULL) go in the same way, without a checkpoint: nothing proves them anyway.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, select

from portcullis.audit.checkpointing import add_checkpoint, last_checkpoint
from portcullis.audit.checkpoints import CheckpointError, Place, Signed, Signer, read_body
from portcullis.audit.prunesteps import Gone, remove_bundles, remove_checkpoints, remove_step, revisions_between
from portcullis.audit.sizes import log_bytes, oldest_through
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import chains, decisions
from portcullis.errors import ConfigError, RecordsError
from portcullis.ports import Clock

FRESH = timedelta(minutes=1)
"""What is younger is removed only where somebody names the time."""
STEP_SECONDS = 0.02
"""What one step should take: a record waits no longer for it."""
FIRST_STEP, LARGEST_STEP = 20, 500
"""Records of one step."""
SCAN_ROWS = 5000
SIZE_ROUNDS = 10
"""How often the size is measured and something removed; each round comes nearer."""


@dataclass(frozen=True, slots=True)
class Target:
    """How far a chain is to be pruned. ``chain`` is the number of its row, None for records in no chain, whose
    positions are their sequences."""

    chain: int | None
    id: str
    replica: str
    begins: int
    through: Place

    @property
    def records(self) -> int:
        """At most: for records in no chain, whose sequences have gaps."""
        return self.through.position - self.begins + 1


@dataclass(slots=True)
class Pruned:
    """What was, or would be, removed."""

    before: datetime
    targets: list[Target] = field(default_factory=list)
    checkpoints: list[Signed] = field(default_factory=list)
    records: int = 0
    inputs: int = 0
    bundles: int = 0
    bytes: int | None = None
    """What the log takes afterwards, where retention goes by size."""


class Pruner:
    """Prunes an audit log, beside whoever writes it.

    Args:
        store: open for writing.
        in_use: revisions that are kept although no record names them.
        published: is told each checkpoint as soon as it is kept.
    """

    def __init__(
        self,
        store: SqlRecords,
        *,
        signer: Signer,
        clock: Clock,
        in_use: Callable[[], Collection[str]] = tuple,
        published: Callable[[Signed], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._in_use = in_use
        self._published = published
        self._progress = progress
        self.removed = 0
        """Records, since the start."""

    async def plan(self, before: datetime) -> Pruned:
        """What :meth:`prune` would remove.

        Raises:
            RecordsError: the store is down.
        """
        targets = await self._targets(before)
        return Pruned(before=before, targets=targets, records=sum(one.records for one in targets))

    async def prune(self, before: datetime) -> Pruned:
        """Removes the records that were decided before that time, and finishes what an earlier prune began.

        Raises:
            ConfigError: a chain is signed, and there is no key to sign with.
            RecordsError: the store is down; what is removed then is proven to be.
        """
        pruned = Pruned(before=before, targets=await self._targets(before))
        await self._require_key(pruned.targets)
        gone = Gone()
        for target in pruned.targets:
            if target.chain is not None:
                await self._announce(target, pruned)  # (2)
            await self._remove(target, gone)  # (3)
        pruned.records, pruned.inputs = gone.records, gone.inputs
        pruned.bundles = await self._remove_bundles(gone.revisions)  # (4)
        return pruned

    async def cutoff(self, most: int) -> datetime | None:
        """Before which time records would have to go for the log to take ``most`` bytes; None where it does already.
        An estimate: records have many sizes.

        Raises:
            ConfigError: it is less than a minute ago.
            RecordsError: the store is down.
        """
        size = await self.size()
        if size <= most:
            return None
        share = min((size - most) / size, 1.0)
        before = await self._store.read(lambda connection: oldest_through(connection, share), patient=True)
        if before is None or before > self._clock.now() - FRESH:
            raise ConfigError(
                f"the log takes {size} bytes, and even without the records that are older than a minute it would not "
                f"come below {most}; name the time with --before to remove newer ones"
            )
        return before

    async def prune_to(self, most: int) -> Pruned | None:
        """Removes the oldest records until the log takes no more than ``most`` bytes; None where it does already.

        Raises:
            ConfigError: as :meth:`cutoff` and :meth:`prune`.
            RecordsError: as there.
        """
        whole: Pruned | None = None
        for _ in range(SIZE_ROUNDS):
            before = await self.cutoff(most)
            if before is None:
                break
            pruned = await self.prune(before)
            if whole is not None:
                pruned.targets = [*whole.targets, *pruned.targets]
                pruned.checkpoints = [*whole.checkpoints, *pruned.checkpoints]
                pruned.records += whole.records
                pruned.inputs += whole.inputs
                pruned.bundles += whole.bundles
            stuck, whole = not pruned.targets, pruned
            if stuck:
                break
        if whole is not None:
            whole.bytes = await self.size()
        return whole

    async def size(self) -> int:
        """Bytes that the records take with all that is kept beside them; :mod:`portcullis.audit.sizes` says how they
        are counted.

        Raises:
            RecordsError: the store is down.
        """
        return await self._store.read(log_bytes, patient=True)

    # -- how far -------------------------------------------------------------------------------------------------

    async def _targets(self, before: datetime) -> list[Target]:
        rows = await self._store.read(
            lambda connection: connection.execute(select(chains).order_by(chains.c.number)).all()
        )
        targets: list[Target] = []
        if (through := await self._through(None, 0, before)) is not None:
            first = await self._store.read(_first_unchained, patient=True)
            targets.append(Target(None, "", "", first, through))
        for row in rows:
            begun = await self._begun(row.number)
            through = await self._through(row.number, row.pruned_position, before)
            if begun is not None and (through is None or through.position < begun.position):
                through = begun
            if through is not None and through.position > row.pruned_position:
                targets.append(Target(row.number, row.id, row.replica, row.pruned_position + 1, through))
        return targets

    async def _begun(self, chain: int) -> Place | None:
        """How far an earlier prune said that it would go."""
        last = await self._store.read(lambda connection: last_checkpoint(connection, chain))
        try:
            return None if last is None else read_body(last.body.encode("utf-8", "surrogatepass")).pruned
        except CheckpointError:
            raise RecordsError(
                "the newest checkpoint of a chain was changed: `portcullis audit verify` says which; nothing is removed"
            ) from None

    async def _through(self, chain: int | None, after: int, before: datetime) -> Place | None:
        """The last record before the first that is to stay (1); None where the first stays."""
        place = decisions.c.position if chain is not None else decisions.c.sequence
        statement = select(place.label("place"), decisions.c.decided_at, decisions.c.hash).where(
            decisions.c.chain == chain if chain is not None else decisions.c.chain.is_(None)
        )
        last: Place | None = None
        while True:
            page = statement.where(place > after).order_by(place).limit(SCAN_ROWS)
            rows = await self._store.read(partial(_rows, statement=page))
            for row in rows:
                if row.decided_at >= before:
                    return last
                last = Place(row.place, (row.hash or b"").hex())
            if len(rows) < SCAN_ROWS:
                return last
            after = rows[-1].place

    # -- removing ------------------------------------------------------------------------------------------------

    async def _require_key(self, targets: Sequence[Target]) -> None:
        """(2)"""
        if self._signer.key:
            return
        for target in targets:
            if target.chain is None:
                continue
            last = await self._store.read(partial(last_checkpoint, chain=target.chain))
            if last is not None and last.key:
                raise ConfigError(
                    f"the chain {target.id} has signed checkpoints, so what is removed of it must be signed as well: "
                    "audit.checkpoints.keyFile names no key"
                )

    async def _announce(self, target: Target, pruned: Pruned) -> None:
        assert target.chain is not None
        number = target.chain
        if await self._begun(number) == target.through:
            return  # an earlier prune, which died, has said so
        now = self._clock.now()
        signed = await self._store.change(
            lambda connection: add_checkpoint(connection, number, self._signer, now, pruned=target.through)
        )
        pruned.checkpoints.append(signed)
        if self._published is not None:
            self._published(signed)

    async def _remove(self, target: Target, gone: Gone) -> None:
        """(3): as many records at once as take STEP_SECONDS, and as long a pause behind each step."""
        rows = FIRST_STEP
        while True:
            begun = time.monotonic()
            step = await self._store.change(
                partial(remove_step, chain=target.chain, through=target.through.position, most=rows)
            )
            took = time.monotonic() - begun
            gone.add(step)
            self.removed += step.records
            if self._progress is not None:
                self._progress(gone.records)
            if step.records < rows:
                break
            rows = min(rows * 2, LARGEST_STEP) if took < STEP_SECONDS else max(rows // 2, FIRST_STEP)
            await asyncio.sleep(took)
        if target.chain is not None:
            await self._store.change(partial(remove_checkpoints, chain=target.chain))

    async def _remove_bundles(self, revisions: Collection[str]) -> int:
        """Those of ``revisions`` that no record names. They are looked for from the oldest record on, where one that is
        still in use is met at once."""
        unused = {one for one in revisions if one} - set(self._in_use())
        after: int | None = 0
        while unused and after is not None:
            found, after = await self._store.read(partial(revisions_between, after=after), patient=True)
            unused -= found
        if not unused:
            return 0
        return await self._store.change(lambda connection: remove_bundles(connection, unused))


def _rows(connection: Connection, statement: Select[Any]) -> Sequence[Any]:
    return connection.execute(statement).all()


def _first_unchained(connection: Connection) -> int:
    statement = select(decisions.c.sequence).where(decisions.c.chain.is_(None)).order_by(decisions.c.sequence).limit(1)
    return connection.execute(statement).scalar_one_or_none() or 0
