"""AuditLog: group commit, and what happens when the store is late, down, full or picky."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fakes.records import InMemoryRecords, SystemClock, a_decision, a_record
from portcullis.audit.frames import frame
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords
from portcullis.audit.store import RecordRefused, Store
from portcullis.audit.writer import AuditLog, Health
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord, RecordFilter

pytestmark = pytest.mark.anyio

QUICK = Limits(append_seconds=0.1)
PATIENT = Limits(append_seconds=60)


class ScriptedStore(InMemoryRecords):
    """A Store in memory that can be held up, be down, or refuse records. ``batches`` are the ids of each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.refused: set[str] = set()
        self.batches: list[list[str]] = []
        self.called = asyncio.Event()
        self.wrong: Exception | None = None
        self.seconds = 0.0
        self.hangs_after: int | None = None

    async def start(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    async def aclose(self) -> None:
        return None

    async def append_many(self, records: Sequence[AuditRecord]) -> None:
        # As with a thread, what was begun goes on when the caller is cancelled.
        await asyncio.shield(asyncio.ensure_future(self._append_many(records)))

    async def _append_many(self, records: Sequence[AuditRecord]) -> None:
        self.called.set()
        if len(self.batches) == self.hangs_after:
            self.open.clear()
        await self.open.wait()
        await asyncio.sleep(self.seconds)
        if self.wrong is not None:
            raise self.wrong
        ids = [record.decision.id for record in records]
        if self.refused & set(ids):
            raise RecordRefused("one of them is refused")
        for record in records:
            await self.append(record)
        self.batches.append(ids)

    @property
    def ids(self) -> list[str]:
        return [record.decision.id for record in self.records]


Make = Callable[..., AuditLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def make(path: Path) -> AsyncIterator[Make]:
    made: list[AuditLog] = []

    def build(store: Store, limits: Limits = QUICK) -> AuditLog:
        made.append(
            AuditLog(store=store, journal=Journal(path=path, limits=limits), limits=limits, clock=SystemClock())
        )
        return made[-1]

    yield build
    for log in made:
        await log.aclose()


def numbered(first: int, last: int) -> list[AuditRecord]:
    return [a_record(a_decision(f"d-{number}")) for number in range(first, last)]


def ids(first: int, last: int) -> list[str]:
    return [f"d-{number}" for number in range(first, last)]


async def append_all(log: AuditLog, records: Sequence[AuditRecord]) -> None:
    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(log.append(record))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


# -- group commit ------------------------------------------------------------------------------------------------


async def test_concurrent_appends_share_commits(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, PATIENT)
    await log.start()
    await append_all(log, numbered(0, 200))
    assert store.batches == [ids(0, 200)]
    assert (log.counters.commits, log.counters.committed, log.health) == (1, 200, Health.OK)


async def test_what_arrives_during_a_commit_shares_the_next(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store, PATIENT)
    await log.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(log.append(numbered(0, 1)[0]))
        await store.called.wait()
        for record in numbered(1, 50):
            group.create_task(log.append(record))
        await until(lambda: log.queued == 49)
        assert store.ids == []
        store.open.set()
    assert store.batches == [ids(0, 1), ids(1, 50)]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        (Limits(append_seconds=60, commit_records=3), [ids(0, 3), ids(3, 6), ids(6, 8)]),
        (Limits(append_seconds=60, commit_bytes=2 * len(a_decision().document)), [ids(n, n + 2) for n in (0, 2, 4, 6)]),
        (Limits(append_seconds=60, commit_bytes=1), [ids(n, n + 1) for n in range(8)]),
    ],
)
async def test_a_commit_is_bounded_by_records_and_bytes(make: Make, limits: Limits, batches: list[list[str]]) -> None:
    store = ScriptedStore()
    log = make(store, limits)
    await log.start()
    await append_all(log, numbered(0, 8))
    assert store.batches == batches


async def test_append_returns_only_after_the_commit(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store, PATIENT)
    await log.start()
    append = asyncio.create_task(log.append(a_record()))
    await store.called.wait()
    await asyncio.sleep(0)
    assert not append.done()
    store.open.set()
    await append


# -- the journal takes over --------------------------------------------------------------------------------------


async def test_a_store_that_fails_costs_no_record_and_no_order(make: Make, path: Path) -> None:
    store = ScriptedStore()
    log = make(store)
    await log.start()
    await append_all(log, numbered(0, 3))
    store.wrong = RecordsError("the disk is full")
    await append_all(log, numbered(3, 6))
    assert log.health is Health.JOURNALING
    assert "the disk is full" in log.problem
    assert log.journal_records == 3
    assert b"d-5" in path.read_bytes()
    await append_all(log, numbered(6, 9))
    store.wrong = None
    await until(lambda: log.health is Health.OK)
    await append_all(log, numbered(9, 12))
    assert store.ids == ids(0, 12)
    assert path.stat().st_size == 0
    assert log.problem == ""
    assert (log.counters.journaled, log.counters.replayed, log.counters.failed) == (6, 6, 0)
    assert log.counters.committed == 12


async def test_a_fault_of_the_store_that_is_no_error_of_ours_costs_no_record_either(make: Make) -> None:
    store = ScriptedStore()
    log = make(store)
    await log.start()
    store.wrong = ZeroDivisionError("a bug")
    await append_all(log, numbered(0, 2))
    store.wrong = None
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 2)


async def test_a_late_commit_that_succeeds_is_not_doubled(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store)
    await log.start()
    await append_all(log, numbered(0, 3))
    await append_all(log, numbered(3, 5))
    assert log.health is Health.JOURNALING
    assert log.journal_records == 5
    store.open.set()
    await until(lambda: log.health is Health.OK)
    await append_all(log, numbered(5, 6))
    assert store.ids == ids(0, 6)
    assert log.counters.late == 1


async def test_a_late_commit_that_fails_is_made_good(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store)
    await log.start()
    await append_all(log, numbered(0, 3))
    store.wrong = RecordsError("locked")
    store.open.set()
    await until(lambda: log.problem == "locked")
    assert store.ids == []
    store.wrong = None
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 3)


async def test_while_the_store_hangs_new_records_do_not_wait_for_it(make: Make) -> None:
    """After the first had to wait, append_seconds is spent no more: a hundred times would be minutes."""
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=1.0))
    await log.start()
    store.open.clear()
    await log.append(numbered(0, 1)[0])
    async with asyncio.timeout(20):
        for record in numbered(1, 100):
            await log.append(record)
    assert log.journal_records == 100
    store.open.set()


async def test_many_records_in_the_journal_keep_their_order_under_load(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=5, commit_records=4))
    await log.start()
    store.wrong = RecordsError("down")
    await append_all(log, numbered(0, 40))
    store.wrong = None
    for number in range(40, 200):
        await log.append(numbered(number, number + 1)[0])
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 200)


async def test_a_slow_store_is_caught_up_with_while_records_keep_coming(make: Make) -> None:
    """Without a moment in which new records wait for the last piece, the journal would never be empty."""
    store = ScriptedStore()
    log = make(store, PATIENT)
    await log.start()
    store.wrong = RecordsError("down")
    await append_all(log, numbered(0, 10))
    store.wrong, store.seconds = None, 0.02
    numbers = itertools.count(10)

    async def client() -> None:
        while log.health is not Health.OK:
            await log.append(a_record(a_decision(f"d-{next(numbers)}")))

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())
    assert store.ids == ids(0, len(store.ids))


async def test_a_store_that_hangs_in_the_replay_keeps_no_new_record_waiting(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, PATIENT)
    await log.start()
    store.wrong = RecordsError("down")
    await append_all(log, numbered(0, 1))
    store.wrong = None
    store.open.clear()
    store.called.clear()
    await store.called.wait()
    async with asyncio.timeout(20):
        await append_all(log, numbered(1, 3))
    assert log.journal_records == 3
    store.open.set()
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 3)


async def test_new_records_do_not_wait_for_the_end_of_a_long_replay(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=60, commit_records=1))
    await log.start()
    store.wrong = RecordsError("down")
    await append_all(log, numbered(0, 200))
    store.wrong, store.seconds = None, 0.01
    await until(lambda: len(store.ids) > 2)
    await log.append(numbered(200, 201)[0])
    assert log.journal_records > 0
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 201)


async def test_a_store_that_hangs_again_after_a_piece_of_the_replay(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=0.1, commit_records=1))
    await log.start()
    store.wrong = RecordsError("down")
    await append_all(log, numbered(0, 3))
    store.wrong, store.hangs_after = None, 2
    await until(lambda: len(store.ids) == 2 and not store.open.is_set())
    async with asyncio.timeout(20):
        await append_all(log, numbered(3, 6))
    assert log.journal_records == 4
    store.hangs_after = None
    store.open.set()
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 6)


async def test_a_crowded_queue_does_not_wait_for_a_hanging_store(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store, Limits(append_seconds=600, queued_records=10))
    await log.start()
    first = asyncio.create_task(log.append(numbered(0, 1)[0]))
    await store.called.wait()
    async with asyncio.timeout(20):
        await append_all(log, numbered(1, 6))
        await first
    assert log.journal_records == 6
    store.open.set()


async def test_more_records_than_may_wait_are_refused(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=60, queued_records=10))
    await log.start()
    outcomes = await asyncio.gather(*(log.append(one) for one in numbered(0, 12)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes if outcome] == [
        "10 records wait for the audit store (limits.queuedRecords)"
    ] * 2
    assert store.ids == ids(0, 10)
    assert log.counters.failed == 2


async def test_the_journal_of_a_killed_process_is_replayed_first(make: Make, path: Path) -> None:
    left = Journal(path=path)
    left.open()
    left.append(numbered(0, 3))
    left.close()
    with path.open("ab") as file:
        file.write(frame(b"torn")[:-1])
    store = ScriptedStore()
    await store.append(numbered(0, 1)[0])  # a commit that had succeeded without the process knowing
    log = make(store)
    await log.start()
    await append_all(log, numbered(3, 5))
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 5)


async def test_the_lag_is_the_age_of_the_oldest_record_that_the_store_does_not_have(make: Make, path: Path) -> None:
    """In the queue, in the journal, and in one that an earlier run has left."""
    now = SystemClock().now()
    aged = [a_record(a_decision(f"d-{hours}", decided_at=now - timedelta(hours=hours))) for hours in (5, 4, 3, 2)]
    left = Journal(path=path)
    left.open()
    left.append(aged[:1])
    left.close()
    store = ScriptedStore()
    store.wrong = RecordsError("down")
    log = make(store, Limits(append_seconds=0.1, commit_records=1))
    assert log.lag_seconds == 0
    await log.start()
    assert hours_of(log) == 5
    for record in aged[1:]:
        await log.append(record)
    assert hours_of(log) == 5
    store.wrong, store.hangs_after = None, 2  # takes two of them
    await until(lambda: len(store.ids) == 2)
    await until(lambda: hours_of(log) == 4)
    store.hangs_after = None
    store.open.set()
    await until(lambda: log.health is Health.OK)
    assert log.lag_seconds == 0
    store.open.clear()
    waiting = asyncio.create_task(log.append(numbered(9, 10)[0]))
    await until(lambda: log.lag_seconds > 0)
    assert log.lag_seconds < 60  # by when it was queued, whatever its own time
    store.open.set()
    await waiting
    assert log.lag_seconds == 0


def hours_of(log: AuditLog) -> int:
    return round(log.lag_seconds / 3600)


async def test_a_store_that_is_down_at_the_start_is_no_reason_not_to_start(make: Make) -> None:
    store = ScriptedStore()
    store.wrong = RecordsError("no route to host")
    log = make(store)
    await log.start()
    assert log.health is Health.JOURNALING
    await append_all(log, numbered(0, 2))
    store.wrong = None
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 2)


async def test_a_store_that_can_never_be_used_stops_the_start(make: Make, path: Path) -> None:
    store = ScriptedStore()
    store.wrong = ConfigError("of a newer version")
    with pytest.raises(ConfigError, match="newer"):
        await make(store).start()
    store.wrong = None
    await make(store).start()  # and the journal is free again


# -- records that the store refuses ------------------------------------------------------------------------------


async def test_a_refused_record_holds_nothing_up_and_is_set_aside(make: Make, path: Path) -> None:
    store = ScriptedStore()
    store.refused = {"d-2"}
    log = make(store)
    await log.start()
    await append_all(log, numbered(0, 5))
    await until(lambda: log.health is Health.OK)
    assert store.ids == ["d-0", "d-1", "d-3", "d-4"]
    assert log.counters.set_aside == 1
    aside = path.with_name("journal.refused").read_bytes()
    assert b"d-2" in aside
    assert b"d-3" not in aside


async def test_a_journal_entry_of_another_version_is_set_aside(make: Make, path: Path) -> None:
    left = Journal(path=path)
    left.open()
    left.append(numbered(0, 1))
    left.close()
    with path.open("ab") as file:
        file.write(frame(b"of another version"))
    store = ScriptedStore()
    log = make(store)
    await log.start()
    await until(lambda: log.health is Health.OK)
    assert store.ids == ids(0, 1)
    assert b"of another version" in path.with_name("journal.refused").read_bytes()


# -- nowhere to keep it ------------------------------------------------------------------------------------------


async def test_only_a_full_journal_beside_a_dead_store_refuses_and_it_heals(make: Make) -> None:
    store = ScriptedStore()
    log = make(store, Limits(append_seconds=0.1, journal_bytes=4000))
    await log.start()
    store.wrong = RecordsError("down")
    outcomes = await asyncio.gather(*(log.append(one) for one in numbered(0, 10)), return_exceptions=True)
    kept = [index for index, outcome in enumerate(outcomes) if outcome is None]
    assert 0 < len(kept) < 10
    assert kept == list(range(len(kept)))
    assert all(isinstance(outcome, RecordsError) for outcome in outcomes if outcome is not None)
    assert log.health is Health.UNAVAILABLE
    assert "full" in log.problem
    assert log.counters.failed == 10 - len(kept)

    store.wrong = None
    await until(lambda: log.health is Health.OK)
    await append_all(log, numbered(10, 12))
    assert store.ids == [*(f"d-{number}" for number in kept), "d-10", "d-11"]


# -- callers that go, logs that close ----------------------------------------------------------------------------


async def test_a_caller_that_gives_up_does_not_take_its_record_back(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store, PATIENT)
    await log.start()
    held, queued, stays = (asyncio.create_task(log.append(one)) for one in numbered(0, 3))
    await store.called.wait()
    held.cancel()
    queued.cancel()
    store.open.set()
    await stays
    assert store.ids == ids(0, 3)
    assert held.cancelled()
    assert queued.cancelled()


async def test_closing_keeps_what_is_queued(make: Make) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store, Limits(append_seconds=60, commit_records=2))
    await log.start()
    appends = [asyncio.create_task(log.append(one)) for one in numbered(0, 9)]
    await store.called.wait()
    assert log.queued == 7
    closing_log = asyncio.create_task(log.aclose())
    await asyncio.sleep(0)
    store.open.set()
    await closing_log
    await asyncio.gather(*appends)
    assert store.ids == ids(0, 9)
    with pytest.raises(RecordsError, match="closed"):
        await log.append(a_record())
    assert log.health is Health.UNAVAILABLE


async def test_closing_while_the_store_hangs_leaves_the_records_in_the_journal(make: Make, path: Path) -> None:
    store = ScriptedStore()
    store.open.clear()
    log = make(store)
    await log.start()
    appends = [asyncio.create_task(log.append(one)) for one in numbered(0, 5)]
    await until(lambda: log.queued == 0 and store.called.is_set())
    async with asyncio.timeout(30):
        await log.aclose()
    await asyncio.gather(*appends)
    left = Journal(path=path)
    assert left.open().records == 5
    left.close()
    store.open.set()


async def test_closing_brings_what_is_journaled_to_a_store_that_answers_again(make: Make, path: Path) -> None:
    """The journal may go with the pod; the store stays."""
    store = ScriptedStore()
    store.wrong = RecordsError("the store is down")
    log = make(store, Limits(commit_records=2))
    await log.start()
    await append_all(log, numbered(0, 5))
    assert (log.journal_records, store.ids) == (5, [])
    closing_log = asyncio.create_task(log.aclose())
    store.wrong = None
    await closing_log
    assert store.ids == ids(0, 5)
    left = Journal(path=path)
    assert left.open().records == 0
    left.close()


async def test_a_log_that_was_not_started_keeps_nothing(make: Make) -> None:
    log = make(ScriptedStore())
    with pytest.raises(RecordsError):
        await log.append(a_record())
    assert log.health is Health.UNAVAILABLE


# -- with the real store -----------------------------------------------------------------------------------------


async def test_a_locked_database(make: Make, tmp_path: Path) -> None:
    database = tmp_path / "audit.db"
    log = make(SqlRecords(url=f"sqlite:///{database}", limits=QUICK))
    await log.start()
    await append_all(log, numbered(0, 5))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await append_all(log, numbered(5, 10))
        await append_all(log, numbered(10, 15))
        assert log.health is Health.JOURNALING
        assert "locked" in log.problem
        assert len(await log.search(RecordFilter())) == 5
        other.execute("ROLLBACK")
    await until(lambda: log.health is Health.OK)
    await append_all(log, numbered(15, 20))
    found = await log.search(RecordFilter())
    assert [record.decision.id for record in reversed(found)] == ids(0, 20)


async def test_a_database_that_is_removed(make: Make, tmp_path: Path) -> None:
    database = tmp_path / "store" / "audit.db"
    log = make(SqlRecords(url=f"sqlite:///{database}", limits=PATIENT), PATIENT)
    await log.start()
    await append_all(log, numbered(0, 5))
    for file in database.parent.iterdir():
        file.unlink()
    database.parent.rmdir()
    await append_all(log, numbered(5, 10))
    await until(lambda: log.health is Health.OK)
    found = await log.search(RecordFilter())
    assert [record.decision.id for record in reversed(found)] == ids(5, 10), "what was answered after it is all there"


async def test_a_half_written_database(make: Make, tmp_path: Path) -> None:
    database = tmp_path / "audit.db"
    store = SqlRecords(url=f"sqlite:///{database}", limits=QUICK)
    await store.start()
    await store.append_many(numbered(0, 100))
    await store.aclose()
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])

    log = make(SqlRecords(url=f"sqlite:///{database}", limits=QUICK))
    await log.start()
    assert log.health is Health.JOURNALING
    assert "cut off" in log.problem
    await append_all(log, numbered(100, 105))
    database.write_bytes(whole)  # restored from a backup, under the running server
    await until(lambda: log.health is Health.OK)
    found = await log.search(RecordFilter(limit=200))
    assert [record.decision.id for record in reversed(found)] == ids(0, 105)
