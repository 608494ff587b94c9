"""The audit log as the gate sees it: durable before answered, whatever the store does.

    append -> queue -> one commit for all that wait -> the store
                  `--> the journal, while the store is down --> replayed in order --> the store

Why it holds:

1. ``append`` returns only after its record was committed by the store or fsynced by the journal.
2. One task moves all records, so that their order is that of ``append``. At most one operation of the store runs.
3. While the journal holds records, new ones follow them there. They go to the store again only when the last of
   the journal is committed.
4. A commit that does not come in time is not given up: its records go to the journal as well, and if it succeeds
   later, the replay finds them stored and skips them (a decision is stored once).
5. A record that the store refuses for itself holds nothing up: it is set aside in a file, and counted.

There is no delay to gather records: while one commit runs, the next ones gather by themselves.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from portcullis.audit.journal import Entry, Journal
from portcullis.audit.lag import Behind
from portcullis.audit.store import RecordRefused, Store
from portcullis.audit.workers import Workers
from portcullis.errors import PortcullisError, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.ports import Clock
from portcullis.text import clean

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
"""How long after a failure the store is tried again: doubled each time, up to the last."""

CLOSE_SECONDS = 5.0
"""How long closing the store may take: SQLite moves its write-ahead log into the database first."""

EMPTY_SECONDS = 3.0
"""How long the end waits for the store to take what is in the journal, which may go with the pod."""

Last = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class Health(StrEnum):
    OK = "ok"
    JOURNALING = "journaling"
    """The store is down or being caught up with; no record is lost."""
    UNAVAILABLE = "unavailable"
    """The last record could be kept nowhere."""


@dataclass(slots=True)
class Counters:
    """What happened since the start. ``failed`` counts records whose append raised, ``late`` commits that came
    after their records were journaled (and are counted as replayed), ``set_aside`` records that the store refused
    for good."""

    committed: int = 0
    commits: int = 0
    journaled: int = 0
    replayed: int = 0
    failed: int = 0
    late: int = 0
    set_aside: int = 0
    outages: int = 0


@dataclass(slots=True)
class _Waiting:
    record: AuditRecord
    since: float
    kept: asyncio.Future[None]


class AuditLog:
    """A Records with group commit over a store, and a journal for when the store is down.

    Args:
        store: where records are kept; started and closed with the log.
        journal: what takes over; opened and closed with the log.
        limits: ``commit_records``, ``commit_bytes``, ``queued_records``, ``append_seconds``.
        last: is called when it closes and all records are kept, before the store closes; raises nothing.
    """

    def __init__(
        self, *, store: Store, journal: Journal, limits: Limits, clock: Clock, last: Last | None = None
    ) -> None:
        self._store = store
        self._last = last
        self._journal = journal
        self._disk = Workers(name="audit-journal")
        self._limits = limits
        self._clock = clock
        self.counters = Counters()
        self._queue: deque[_Waiting] = deque()
        self._taken: list[_Waiting] = []
        self._behind = Behind()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        # What wakes the task: a full enough queue, the end of the store's operation, a point in time.
        self._waker: asyncio.Future[None] | None = None
        self._crowd = 1
        self._crowded = max(limits.queued_records // 2, 1)
        # The store's operation under way: a commit, or while journaling a late commit or a replay.
        self._job: asyncio.Task[None] | None = None
        self._job_is_late = False
        self._holding = False
        self._proven = False
        self._store_started = False
        self._journaling = False
        self._lost = False
        self._retry_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self.problem = ""
        """Why the health is not ok, in a sentence; "" while it is."""

    @property
    def health(self) -> Health:
        if self._task is None or self._closing or self._lost:
            return Health.UNAVAILABLE
        return Health.JOURNALING if self._journaling else Health.OK

    @property
    def queued(self) -> int:
        """Records that wait for their commit."""
        return len(self._queue)

    @property
    def journal_records(self) -> int:
        """Records that are in the journal and not in the store yet; searches do not find them."""
        return self._journal.pending

    @property
    def journal_bytes(self) -> int:
        return self._journal.size

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that the store does not have, queued or in the journal; 0 where there is none."""
        waiting = next((one.since for one in (*self._taken[:1], *self._queue) if not one.kept.done()), None)
        queued = 0.0 if waiting is None else self._clock.monotonic() - waiting
        since = self._behind.since
        journaled = 0.0 if since is None else (self._clock.now() - since).total_seconds()
        return max(queued, journaled, 0.0)

    async def start(self) -> None:
        """Opens journal and store. A store that is down is no reason not to start: the journal takes over.

        Raises:
            ConfigError: one of them can never be used as configured.
        """
        opened = await self._disk.run(self._journal.open)
        if opened.torn:
            log.warning("journal %s: cut off %d bytes of an unfinished record", self._journal.path, opened.torn)
        if opened.damaged:
            log.error("journal %s: %d bytes are damaged and were skipped", self._journal.path, opened.damaged)
        try:
            await self._store.start()
            self._store_started = True
        except RecordsError as error:
            self._begin_outage(error)
        except BaseException:
            await self._disk.run(self._journal.close)
            self._disk.close()
            raise
        if opened.records:
            log.info("journal %s: %d records are to be replayed", self._journal.path, opened.records)
            self._journaling = True
            await self._find_lag()
        self._task = asyncio.create_task(self._run(), name="audit-log")

    async def _find_lag(self) -> None:
        """From the first record that an earlier run has left."""
        try:
            first = await self._disk.run(lambda: self._journal.read(records=1, size=1))
        except RecordsError as error:
            log.warning("the age of the journal is not known: %s", clean(error.message, 300))
        else:
            self._behind.found(first.entries, self._clock.now())

    async def aclose(self) -> None:
        """Keeps what is queued, in the store or in the journal, and closes both. Appends raise from now on. What is in
        the journal goes to the store if it answers."""
        task, self._task = self._task, None
        if task is None:
            return
        self._closing = True
        self._wake()
        await task
        if self._job is not None:
            await asyncio.wait({self._job}, timeout=self._limits.append_seconds)
            self._job.cancel()
        await self._empty_journal()
        for step in (self._last, self._store.aclose):
            try:
                if step is not None:
                    await asyncio.wait_for(step(), CLOSE_SECONDS)
            except (TimeoutError, PortcullisError) as error:
                log.warning("the audit store did not close: %s", clean(str(error), 200) or "it hangs")
        await self._disk.run(self._journal.close)
        self._disk.close()

    async def append(self, record: AuditRecord) -> None:
        """Returns once the record is durable.

        A caller that gives up waiting (its deadline) does not take the record back: it was decided, and is kept.

        Raises:
            RecordsError: the record is not kept: the journal is full or cannot be written either, too many records
                wait, or the log is closed.
        """
        if self._task is None or self._closing:
            raise RecordsError("the audit log is closed")
        if len(self._queue) >= self._limits.queued_records:
            self.counters.failed += 1
            raise RecordsError(f"{len(self._queue)} records wait for the audit store (limits.queuedRecords)")
        waiting = _Waiting(record, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if len(self._queue) >= self._crowd:
            self._wake()
        await waiting.kept

    async def get(self, decision_id: str) -> AuditRecord | None:
        """From the store, where journaled records come later. Raises RecordsError."""
        return await self._store.get(decision_id)

    async def search(self, query: RecordFilter) -> Sequence[AuditRecord]:
        """From the store, where journaled records come later. Raises RecordsError."""
        return await self._store.search(query)

    # -- the one task --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while self._queue or not self._closing:
            try:
                if self._journaling:
                    await self._keep_in_journal()
                elif self._queue:
                    await self._commit(self._take())
                else:
                    await self._pause()
            except Exception:  # a fault of ours must not leave callers waiting for ever
                log.exception("the audit log failed")
                self._fail(self._taken, RecordsError("a fault in Portcullis itself; the log of the webhook tells more"))
                await asyncio.sleep(FIRST_RETRY_SECONDS)

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Has the store commit the batch, or else journals it."""
        job = self._job = asyncio.create_task(self._store.append_many([one.record for one in batch]))
        until = batch[0].since + self._limits.append_seconds
        while not job.done() and self._clock.monotonic() < until and len(self._queue) < self._crowded:
            await self._pause(until=until, crowd=self._crowded)
        if not job.done():
            self._job_is_late = True
            self._begin_outage(RecordsError(f"no commit within {self._limits.append_seconds} s (limits.appendSeconds)"))
            await self._to_journal(batch)
            return
        self._job = None
        error = _error_of(job)
        if error is None:
            self.counters.commits += 1
            self.counters.committed += len(batch)
            self._settle(batch)
        else:
            self._begin_outage(error)
            await self._to_journal(batch)

    async def _keep_in_journal(self) -> None:
        """One step while the store is behind: journal what is queued, and replay beside it.

        New records wait while a piece of the journal is replayed. Between two pieces they follow into the journal,
        but not before the last: then they go to the store again. Without that wait, a steady stream of records could
        keep ahead of the replay for ever; with it, the stream is as slow as the store. They do not wait for a store
        that has not answered since it failed, which may hang once more.
        """
        now = self._clock.monotonic()
        if self._job is not None and self._job.done():
            self._finish_job(self._job)
            return
        if self._job is None and now >= self._retry_at and not self._closing:
            if self._queue and self._journal.pending > self._limits.commit_records:
                await self._to_journal(self._take())
            self._holding = self._proven
            self._job = asyncio.create_task(self._replay())
        if not self._queue:
            await self._pause(until=self._retry_at if self._job is None else None)
            return
        overdue_at = self._queue[0].since + self._limits.append_seconds
        in_time = now < overdue_at and len(self._queue) < self._crowded and not self._closing
        if self._holding and in_time:
            await self._pause(until=overdue_at, crowd=self._crowded)
        else:
            await self._to_journal(self._take())

    async def _to_journal(self, batch: list[_Waiting]) -> None:
        records = [one.record for one in batch]
        try:
            kept = await self._disk.run(lambda: self._journal.append(records))
        except RecordsError as error:
            kept, problem = 0, error
        else:
            problem = RecordsError(f"the journal {self._journal.path} is full (limits.journalBytes)")
        self._behind.took(records[:kept])
        self.counters.journaled += kept
        self._settle(batch[:kept])
        self._lost = kept < len(batch)
        if self._lost:
            self.problem = problem.message
            log.error("the audit log cannot keep records: %s", clean(problem.message, 300))
            self._fail(batch[kept:], problem)
            self._retry_at = min(self._retry_at, self._clock.monotonic() + FIRST_RETRY_SECONDS)

    async def _replay(self) -> None:
        """Brings the next records of the journal to the store; without any, asks whether it is there again."""
        if not self._store_started:
            await self._store.start()
            self._store_started = True
        limits = self._limits
        chunk = await self._disk.run(
            lambda: self._journal.read(records=limits.commit_records, size=limits.commit_bytes)
        )
        unreadable = [entry for entry in chunk.entries if entry.record is None]
        records = [entry.record for entry in chunk.entries if entry.record is not None]
        try:
            await self._store.append_many(records)
        except RecordRefused:
            unreadable += await self._replay_one_by_one(chunk.entries)
        if unreadable:
            aside = await self._disk.run(lambda: self._journal.set_aside(unreadable))
            self.counters.set_aside += len(unreadable)
            log.error("%d journaled records are refused by the store; they are kept in %s", len(unreadable), aside)
        await self._disk.run(lambda: self._journal.discard(chunk))
        self._behind.gave(chunk.entries, self._journal.pending)
        self.counters.replayed += len(chunk.entries) - len(unreadable)
        self.counters.committed += len(chunk.entries) - len(unreadable)

    async def _replay_one_by_one(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that the store refuses."""
        refused: list[Entry] = []
        for entry in entries:
            if entry.record is not None:
                try:
                    await self._store.append_many([entry.record])
                except RecordRefused:
                    refused.append(entry)
        return refused

    async def _empty_journal(self) -> None:
        """At the end: brings what is journaled to the store, as far as it takes it now. The rest stays for the next
        start; what a replay that is given up has brought there is skipped then."""
        until = self._clock.monotonic() + EMPTY_SECONDS
        try:
            while self._journal.pending and (left := until - self._clock.monotonic()) > 0:
                await asyncio.wait_for(self._replay(), left)
        except (TimeoutError, PortcullisError) as error:
            self.problem = clean(str(error), 200) or "the store does not answer"
        if self._journal.pending:
            log.warning("%d records stay in the journal %s", self._journal.pending, self._journal.path)

    # -- state ---------------------------------------------------------------------------------------------------

    def _finish_job(self, job: asyncio.Task[None]) -> None:
        """Draws the conclusions from a late commit or a replay that has ended."""
        late, error, now = self._job_is_late, _error_of(job), self._clock.monotonic()
        self._job, self._job_is_late, self._holding = None, False, False
        self._proven = error is None
        if error is not None:
            self.problem = _sentence(error)
            self._retry_at = now + self._retry_seconds
            self._retry_seconds = min(self._retry_seconds * 2, LAST_RETRY_SECONDS)
            return
        self._retry_at = now
        self._retry_seconds = FIRST_RETRY_SECONDS
        if late:
            self.counters.late += 1
        elif self._journal.pending == 0:
            self._journaling = self._lost = False
            self.problem = ""
            log.info("the audit store has all records again")

    def _begin_outage(self, error: BaseException) -> None:
        self._journaling = True
        self._proven = False
        self.counters.outages += 1
        self.problem = _sentence(error)
        self._retry_at = self._clock.monotonic() + self._retry_seconds
        log.error("the journal takes over from the audit store: %s", clean(self.problem, 300))

    def _take(self) -> list[_Waiting]:
        """The next records that share a commit."""
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < self._limits.commit_records and size < self._limits.commit_bytes:
            batch.append(self._queue.popleft())
            size += len(batch[-1].record.decision.document)
        self._taken = batch
        return batch

    def _settle(self, batch: Sequence[_Waiting]) -> None:
        for one in batch:
            if not one.kept.done():
                one.kept.set_result(None)

    def _fail(self, batch: Sequence[_Waiting], error: RecordsError) -> None:
        for one in batch:
            if not one.kept.done():
                self.counters.failed += 1
                one.kept.set_exception(error)

    async def _pause(self, *, until: float | None = None, crowd: int = 1) -> None:
        """Until ``crowd`` records wait, the store's operation ends, the instant ``until``, or the log closes."""
        self._crowd = crowd
        self._waker = asyncio.get_running_loop().create_future()
        events: set[asyncio.Future[None]] = {self._waker}
        if self._job is not None:
            events.add(self._job)
        timeout = None if until is None else max(until - self._clock.monotonic(), 0.0)
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


def _error_of(job: asyncio.Task[None]) -> BaseException | None:
    if job.cancelled():
        return RecordsError("the store's operation was cancelled")
    return job.exception()


def _sentence(error: BaseException) -> str:
    return error.message if isinstance(error, PortcullisError) else f"{type(error).__name__}: {clean(str(error), 200)}"
