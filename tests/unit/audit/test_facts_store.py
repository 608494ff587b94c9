"""Facts in the audit store: beside the records, beside other programs, and whatever happens to the file."""

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine

from fakes.clock import StandingClock
from fakes.oldlog import insert_old
from fakes.records import a_decision, a_record
from portcullis.audit.database import MIGRATIONS, migrate
from portcullis.audit.facts import PIECE_BYTES, USED_SECONDS, SqlFacts
from portcullis.audit.memory import LayeredFacts, MemoryFacts
from portcullis.audit.sql import SqlRecords
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
LIMITS = Limits(stored_fact_bytes=40 * MIB, memory_fact_bytes=40 * MIB, append_seconds=20)
CONTENT = b"0123456789abcdef" * (PIECE_BYTES // 8)  # two pieces


@dataclass
class House:
    path: Path
    records: SqlRecords
    facts: SqlFacts
    clock: StandingClock

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Asks or changes the file from outside."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @property
    def pieces(self) -> int:
        ((count,),) = self.query("SELECT count(*) FROM fact_pieces")
        assert isinstance(count, int)
        return count

    def used_at(self, key: str) -> object:
        ((moment,),) = self.query("SELECT used_at FROM facts WHERE key = ?", key)
        return moment


@contextlib.asynccontextmanager
async def house(path: Path, limits: Limits = LIMITS) -> AsyncIterator[House]:
    records, clock = SqlRecords(url=f"sqlite:///{path}", limits=limits), StandingClock()
    await records.start()
    facts = SqlFacts(records=records, clock=clock, limits=limits)
    try:
        yield House(path, records, facts, clock)
    finally:
        await facts.aclose()
        await records.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
async def at(path: Path) -> AsyncIterator[House]:
    async with house(path) as at:
        yield at


async def test_two_replicas_that_put_one_fact_at_once(postgres_url: str) -> None:
    """The other is quicker by the length of a transaction: its fact stays, ours leaves nothing behind."""
    records = SqlRecords(url=postgres_url, limits=LIMITS)
    await records.start()
    facts = SqlFacts(records=records, clock=StandingClock(), limits=LIMITS)
    with contextlib.closing(psycopg.connect(postgres_url)) as other:
        other.execute("INSERT INTO facts (key, size, checksum, used_at) VALUES ('layer/1', 0, 'x', 1)")
        putting = asyncio.create_task(facts.put("layer/1", b"ours"))
        while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            await asyncio.sleep(0.01)
        other.commit()
        await putting
        assert other.execute("SELECT key, checksum FROM facts").fetchall() == [("layer/1", "x")]
        assert other.execute("SELECT 1 FROM fact_pieces").fetchall() == []
    assert (facts.counters.kept, facts.counters.failed) == (0, 0)
    await records.aclose()


async def begun(at: House, pieces: int = 1) -> None:
    while at.pieces < pieces:
        await asyncio.sleep(0)


# -- records come first ----------------------------------------------------------------------------------------------


async def test_a_record_waits_for_one_piece_of_a_fact_at_most(at: House) -> None:
    """Nine pieces are being written when the record comes; it is on disk before they are."""
    writing = asyncio.create_task(at.facts.put("layer/1", b"x" * 9 * PIECE_BYTES))
    await begun(at)
    await at.records.append(a_record(a_decision("decision")))
    assert not writing.done()
    assert await at.facts.get("layer/1") is None
    await writing
    assert await at.records.get("decision") is not None
    assert await at.facts.get("layer/1") == b"x" * 9 * PIECE_BYTES


async def test_a_record_waits_for_one_piece_of_a_removal_at_most(at: House) -> None:
    for key in "abcd":
        await at.facts.put(key, b"x" * 9 * PIECE_BYTES)
    before = at.pieces
    writing = asyncio.create_task(at.facts.put("e", b"x" * 9 * PIECE_BYTES))
    while at.pieces == before:
        await asyncio.sleep(0)
    await at.records.append(a_record(a_decision("decision")))
    assert not writing.done()
    assert at.pieces > before - 4
    await writing
    assert [key for key in "abcde" if await at.facts.get(key)] == ["b", "c", "d", "e"]


async def test_reading_a_fact_writes_nothing_for_a_minute(at: House) -> None:
    await at.facts.put("a", b"x")
    first = at.used_at("a")
    for _ in range(5):
        at.clock.seconds += USED_SECONDS / 6
        await at.facts.get("a")
        assert at.used_at("a") == first
    at.clock.seconds += USED_SECONDS
    await at.facts.get("a")
    while at.used_at("a") == first:
        await asyncio.sleep(0)
    assert at.used_at("a") == int(at.clock.seconds * 1000)


# -- what happens to a fact ------------------------------------------------------------------------------------------

DAMAGE = {
    "a byte": "UPDATE fact_pieces SET content = CAST(x'79' || substr(content, 2) AS BLOB) WHERE number = 1",
    "a text": "UPDATE fact_pieces SET content = CAST(content AS TEXT) WHERE number = 1",
    "no number": "UPDATE facts SET size = 'many'",
    "cut off": "UPDATE fact_pieces SET content = substr(content, 2) WHERE number = 1",
    "a piece is missing": "DELETE FROM fact_pieces WHERE number = 0",
    "a piece too many": "INSERT INTO fact_pieces SELECT fact, 2, content FROM fact_pieces WHERE number = 0",
    "pieces exchanged": "UPDATE fact_pieces SET number = 2 WHERE number = 0",
    "another checksum": "UPDATE facts SET checksum = 'sha256:00'",
    "another size": "UPDATE facts SET size = size - 1",
    "larger than anything that is kept": "UPDATE facts SET size = 1 << 40",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_fact_is_not_found_and_removed(at: House, damage: str) -> None:
    await at.facts.put("layer/1", CONTENT[:-1] + b"!")
    at.query(damage)
    assert await at.facts.get("layer/1") is None
    assert (at.facts.counters.damaged, at.pieces) == (1, 0)
    await at.facts.put("layer/1", CONTENT)
    assert await at.facts.get("layer/1") == CONTENT
    assert at.facts.counters.damaged == 1


async def test_what_was_half_written_is_never_found(path: Path) -> None:
    """Its program ended; the next one writes it anew, and the rest is removed when it can be nobody's any more."""
    async with house(path) as at:
        writing = asyncio.create_task(at.facts.put("layer/1", b"x" * 9 * PIECE_BYTES))
        await begun(at)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    async with house(path) as at:
        left = at.pieces
        assert 0 < left < 9
        assert await at.facts.get("layer/1") is None
        await at.facts.put("layer/1", CONTENT)
        assert at.pieces == left + 2
        at.clock.seconds += 3601
        await at.facts.put("layer/2", CONTENT)
        assert at.pieces == 4
        assert await at.facts.get("layer/1") == CONTENT


# -- other programs on the same file ---------------------------------------------------------------------------------


async def test_two_programs_share_their_facts(at: House) -> None:
    async with house(at.path) as other:
        await at.facts.put("layer/1", CONTENT)
        assert await other.facts.get("layer/1") == CONTENT
        await other.facts.put("layer/1", b"other")
        assert await at.facts.get("layer/1") == CONTENT


async def test_two_programs_put_the_same_at_once(at: House) -> None:
    async with house(at.path) as other:
        await asyncio.gather(at.facts.put("layer/1", CONTENT), other.facts.put("layer/1", CONTENT))
        assert at.facts.counters.kept + other.facts.counters.kept == 1
        assert at.pieces == 2
        assert await other.facts.get("layer/1") == await at.facts.get("layer/1") == CONTENT


async def test_two_programs_make_room_at_once(at: House) -> None:
    """Neither removes more than is needed for both, save for the step that the other is at."""
    for number in range(36):
        at.clock.seconds += 1
        await at.facts.put(f"old/{number}", b"x" * MIB)
    async with house(at.path) as other:
        other.clock.seconds = at.clock.seconds = at.clock.seconds + 1
        await asyncio.gather(
            *(at.facts.put(f"at/{number}", b"x" * MIB) for number in range(5)),
            *(other.facts.put(f"other/{number}", b"x" * MIB) for number in range(5)),
        )
        names = [str(name) for (name,) in at.query("SELECT key FROM facts")]
        assert len([name for name in names if not name.startswith("old/")]) == 10
        assert 27 <= len(names) <= 39


async def test_what_another_program_removed_meanwhile_is_no_fact(at: House) -> None:
    writing = asyncio.create_task(at.facts.put("layer/1", b"x" * 9 * PIECE_BYTES))
    await begun(at)
    at.query("DELETE FROM fact_pieces")
    at.query("DELETE FROM facts")
    with pytest.raises(RecordsError):
        await writing
    assert await at.facts.get("layer/1") is None
    assert at.facts.counters.failed == 1
    await at.facts.put("layer/1", CONTENT)
    assert await at.facts.get("layer/1") == CONTENT


async def test_a_draft_of_which_another_program_removed_a_part_is_no_fact(at: House) -> None:
    writing = asyncio.create_task(at.facts.put("layer/1", b"x" * 9 * PIECE_BYTES))
    await begun(at)
    at.query("UPDATE facts SET size = size - 1")
    with pytest.raises(RecordsError, match="storedFactBytes"):
        await writing
    assert await at.facts.get("layer/1") is None


# -- a store that is down --------------------------------------------------------------------------------------------


async def test_a_store_that_is_down_is_said_to_be(path: Path) -> None:
    records = SqlRecords(url=f"sqlite:///{path}", limits=LIMITS)
    facts = SqlFacts(records=records, clock=StandingClock(), limits=LIMITS)
    for _ in range(2):
        with pytest.raises(RecordsError):
            await facts.get("a")
        with pytest.raises(RecordsError):
            await facts.put("a", b"x")
        await records.aclose()
    assert facts.counters.failed == 4


async def test_a_store_that_was_removed_takes_nothing(at: House) -> None:
    at.path.unlink()
    with pytest.raises(RecordsError):
        await at.facts.put("a", b"x")


async def test_a_store_that_hangs_is_not_waited_for(path: Path) -> None:
    async with house(path, Limits(fact_seconds=0.05)) as at:
        await at.facts.put("a", b"x")
        end = threading.Event()
        hanging = [asyncio.create_task(at.records.read(lambda _: end.wait())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RecordsError, match=r"the limit factSeconds of 0\.05"):
            await at.facts.get("a")
        end.set()
        await asyncio.gather(*hanging)
        assert at.facts.counters.failed == 1
        assert await at.facts.get("a") == b"x"


async def test_the_end_does_not_wait_for_a_store_that_hangs(path: Path) -> None:
    async with house(path, Limits(fact_seconds=0.05)) as at:
        await at.facts.put("a", b"x")
        await at.facts.get("a")
        end = threading.Event()
        busy = asyncio.create_task(at.records.change(lambda _: end.wait()))
        await asyncio.sleep(0)
        await at.facts.aclose()
        assert not busy.done()
        end.set()
        await busy


async def test_layers_do_not_wait_for_the_store(at: House) -> None:
    """What is put while the store is busy is found at once, and is in the store later."""
    layers = LayeredFacts(memory=MemoryFacts(limits=LIMITS), store=at.facts, limits=LIMITS)
    end = threading.Event()
    busy = asyncio.create_task(at.records.change(lambda _: end.wait()))
    await asyncio.sleep(0)
    await layers.put("a", CONTENT)
    assert await layers.get("a") == CONTENT
    assert layers.waiting_bytes > len(CONTENT)
    end.set()
    await busy
    await layers.aclose()
    assert await at.facts.get("a") == CONTENT
    assert (layers.waiting_bytes, layers.dropped) == (0, 0)


async def test_what_is_used_in_memory_counts_as_used_in_the_store(at: House) -> None:
    layers = LayeredFacts(memory=MemoryFacts(limits=LIMITS), store=at.facts, limits=LIMITS)
    await layers.put("a", b"x")
    await layers.aclose()
    at.clock.seconds += 10
    await layers.get("a")
    await at.facts.aclose()
    assert at.used_at("a") == int(at.clock.seconds * 1000)


async def test_layers_bound_what_waits_for_the_store(at: House) -> None:
    small = Limits(memory_fact_bytes=8 * MIB)
    layers = LayeredFacts(memory=MemoryFacts(limits=small), store=at.facts, limits=small)
    end = threading.Event()
    busy = asyncio.create_task(at.records.change(lambda _: end.wait()))
    await asyncio.sleep(0)
    for number in range(6):
        await layers.put(f"layer/{number}", b"x" * 2 * MIB)
    end.set()
    await busy
    await layers.aclose()
    assert layers.dropped == 3
    assert [number for number in range(6) if await at.facts.get(f"layer/{number}")] == [0, 1, 2]


async def test_layers_live_with_a_store_that_is_down(path: Path) -> None:
    records = SqlRecords(url=f"sqlite:///{path}", limits=LIMITS)
    store = SqlFacts(records=records, clock=StandingClock(), limits=LIMITS)
    layers = LayeredFacts(memory=MemoryFacts(limits=LIMITS), store=store, limits=LIMITS)
    await layers.put("a", b"x")
    await layers.aclose()
    assert await layers.get("a") == b"x"
    assert layers.dropped == 1
    with pytest.raises(RecordsError):
        await layers.get("b")
    await records.aclose()


# -- the tables ------------------------------------------------------------------------------------------------------


async def test_a_store_of_the_first_schema_is_brought_up_to_date(path: Path, tmp_path: Path) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(
        MIGRATIONS,
        before,
        ignore=shutil.ignore_patterns("__pycache__", "r0002_*", "r0003_*", "r0004_*", "r0005_*", "r0006_*"),
    )
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        migrate(connection, str(path), before)
        with connection.begin():
            insert_old(connection, a_record())
    engine.dispose()
    async with house(path) as at:
        assert len(await at.records.search(RecordFilter())) == 1
        await at.facts.put("a", b"x")
        assert await at.facts.get("a") == b"x"


async def test_the_oldest_are_found_and_the_sum_is_made_along_an_index(at: House) -> None:
    """So that making room costs no more in a full store than in an empty one."""
    oldest = at.query("EXPLAIN QUERY PLAN SELECT id, size FROM facts WHERE id != 1 ORDER BY used_at LIMIT 64")
    total = at.query("EXPLAIN QUERY PLAN SELECT coalesce(sum(size + 1024), 0) FROM facts")
    for plan in (oldest, total):
        assert "USING COVERING INDEX ix_facts_used_at_size" in str(plan)
        assert "TEMP B-TREE" not in str(plan)
