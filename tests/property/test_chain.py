"""Whatever happens between appends, a chain gets no hole and no fork, and no record that was answered for is missing.

The faults are real ones, of a real file: it is moved away while it is written to, locked by another program, replaced
by a backup, or by nothing; clocks go back; records are replayed; a second replica of the same name writes beside.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.chains import KEY, made, url_of, verified
from fakes.records import NOON
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.audit.sql import SqlRecords
from portcullis.audit.verification import Verdict, Wrong
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord

QUICK = Limits(append_seconds=0.02)
FAULTS = ("none", "moved away", "locked", "replayed", "checkpoint", "restarted")
EXCHANGES = ("backup", "nothing")

steps = st.lists(
    st.tuples(
        st.sampled_from(FAULTS),
        st.integers(0, 1),
        st.integers(1, 3),
        st.sampled_from([0.0, -400.0, 30.0]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A log without a record: to migrate one for each example takes longer than the example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.db"

        async def make() -> None:
            store = SqlRecords(url=url_of(path))
            await store.start()
            await store.aclose()

        asyncio.run(make())
        yield path


class Run:
    """Two programs of one name that write to one log, and what they were told is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stores: list[SqlRecords] = []
        self.kept: set[str] = set()
        self.published: list[Signed] = []
        self.left: set[str] = set()
        self._number = 0

    async def start(self, at: int, stack: AsyncExitStack) -> None:
        store = SqlRecords(url=url_of(self.path), limits=QUICK, replica="gate")
        await store.start()
        stack.push_async_callback(store.aclose)
        self.stores[at:] = [store, *self.stores[at + 1 :]]

    def records(self, number: int, days: float) -> list[AuditRecord]:
        self._number += number
        return [made(one, days=days) for one in range(self._number - number, self._number)]

    async def append(self, store: SqlRecords, records: list[AuditRecord]) -> bool:
        """Whether the outcome is known to be good."""
        try:
            await store.append_many(records)
        except RecordsError:
            return False
        self.kept |= {record.decision.id for record in records}
        return True

    async def insist(self, store: SqlRecords, records: list[AuditRecord]) -> None:
        """As the journal does: until the store has them."""
        async with asyncio.timeout(20):
            while not await self.append(store, records):
                await asyncio.sleep(0.01)

    async def step(self, fault: str, at: int, records: list[AuditRecord], stack: AsyncExitStack) -> None:
        store = self.stores[at]
        if fault == "moved away" and self.path.exists():
            with self.away():  # committed, into the file that is elsewhere now: the program cannot know
                await self.append(store, records)
        elif fault == "locked":
            with self.locked():
                await self.append(store, records)
        elif fault == "replayed":
            await self.insist(store, records)
        elif fault == "checkpoint":
            with contextlib.suppress(RecordsError):
                self.published.append(await store.checkpoint(Signer(KEY), NOON))
        elif fault == "restarted":
            await store.aclose()
            await self.start(at, stack)
            store = self.stores[at]
        await self.insist(store, records)

    def files(self) -> list[Path]:
        named = [self.path.with_name(f"{self.path.name}{end}") for end in ("", "-wal", "-shm")]
        return [one for one in named if one.exists()]

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        moved = [(one, one.rename(one.with_name(f"{one.name}.away"))) for one in self.files()]
        try:
            yield
        finally:
            for one in self.files():
                one.unlink()
            for place, one in moved:
                one.rename(place)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def exchange(self, backup: Path | None) -> None:
        for one in self.files():
            one.unlink()
        if backup is not None:
            shutil.copy(backup, self.path)

    def copied(self) -> Path:
        backup = self.path.with_name("backup")
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        return backup

    def stored(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM decisions")]


async def play(run: Run, plan: list[tuple[str, int, int, float]], stack: AsyncExitStack) -> None:
    for fault, at, number, days in plan:
        await run.step(fault, at, run.records(number, days), stack)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps)
def test_no_fault_makes_a_hole_or_a_fork(template: Path, plan: list[tuple[str, int, int, float]]) -> None:
    async def go(folder: Path) -> None:
        run = Run(folder / "audit.db")
        shutil.copy(template, run.path)
        async with AsyncExitStack() as stack:
            await run.start(0, stack)
            await run.start(1, stack)
            await play(run, plan, stack)
            for store in run.stores:
                run.published.append(await store.checkpoint(Signer(KEY), NOON))
        stored = run.stored()
        assert len(stored) == len(set(stored))
        assert run.kept <= set(stored)
        found = await verified(url_of(run.path), keys=[KEY.public_key()], published=run.published)
        assert found.findings == []
        assert found.records == len(stored)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder)))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=steps, between=steps, after=steps, exchange=st.sampled_from(EXCHANGES))
def test_a_store_that_was_exchanged_is_told_from_the_one_before(
    template: Path,
    before: list[tuple[str, int, int, float]],
    between: list[tuple[str, int, int, float]],
    after: list[tuple[str, int, int, float]],
    exchange: str,
) -> None:
    """Records between the backup and its return are gone. That is said; and what there is, is a log without holes."""

    async def go(folder: Path) -> None:
        run = Run(folder / "audit.db")
        shutil.copy(template, run.path)
        async with AsyncExitStack() as stack:
            await run.start(0, stack)
            await run.start(1, stack)
            await play(run, before[:4], stack)
            backup = run.copied() if exchange == "backup" else None
            await play(run, between[:4], stack)
            writers = {store.chain.opened.chain for store in run.stores if store.chain.opened is not None}
            run.exchange(backup)
            await play(run, [*after[:4], ("none", 0, 1, 0.0), ("none", 1, 1, 0.0)], stack)
        stored = run.stored()
        assert len(stored) == len(set(stored))
        found = await verified(url_of(run.path))
        assert found.verdict is Verdict.TAMPERED
        assert {one.what for one in found.findings} <= {Wrong.CUT_OFF, Wrong.VANISHED}
        assert writers & {one.chain for one in found.findings}
        known = {one.chain for one in found.findings}
        assert (await verified(url_of(run.path), lost=known)).verdict is Verdict.PROVEN

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder)))
