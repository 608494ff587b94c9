"""Half-written and damaged SQLite files: a clear error or what was committed, and never another record in silence."""

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes.chains import url_of, verified
from fakes.records import a_decision, a_record
from portcullis.audit.sql import SqlRecords
from portcullis.audit.verification import Verdict
from portcullis.errors import ConfigError, PortcullisError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord, RecordFilter

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=0.1)
RECORDS = 60
PER_COMMIT = 3
CUTS = 24
"""Places at which a file is cut off, or has a byte changed."""


@dataclass(frozen=True, slots=True)
class Files:
    """A database as a crash leaves it. ``records`` were committed in this order."""

    folder: Path
    records: Sequence[AuditRecord]

    def copy(self, folder: Path) -> Path:
        """The database among copies of the files."""
        shutil.copytree(self.folder, folder)
        return folder / "audit.db"


@pytest.fixture
async def log(tmp_path: Path) -> Files:
    """All is in the write-ahead log, tables and records."""
    return await _written(tmp_path, moved=False)


@pytest.fixture
async def moved(tmp_path: Path) -> Files:
    """All is in the database, as after an orderly end."""
    return await _written(tmp_path, moved=True)


async def _written(folder: Path, *, moved: bool) -> Files:
    written, left = folder / "written", folder / "left"
    store = SqlRecords(url=f"sqlite:///{written}/audit.db", limits=LIMITS)
    await store.start()
    made = [_record(number) for number in range(RECORDS)]
    for first in range(0, RECORDS, PER_COMMIT):
        await store.append_many(made[first : first + PER_COMMIT])
    if moved:
        await store.aclose()
        shutil.copytree(written, left)
    else:
        shutil.copytree(written, left)
        await store.aclose()
    return Files(left, made)


def _record(number: int) -> AuditRecord:
    # Documents that do not compress, so that records fill pages and overflow into others.
    text = "".join(random.Random(number).choices("0123456789abcdef", k=3000))
    decision = a_decision(
        f"d-{number}", images=[("web", "sha256:aa")], denied=["image-user"], document=b'{"x":"%s"}' % text.encode()
    )
    return a_record(decision, name=f"name-{number}")


async def read(database: Path) -> Sequence[AuditRecord]:
    """All records, oldest first, with their inputs.

    Raises:
        PortcullisError: what the store says.
    """
    store = SqlRecords(url=f"sqlite:///{database}", limits=LIMITS, read_only=True)
    try:
        await store.start()
        found = []
        for record in await store.search(RecordFilter(limit=1000)):
            whole = await store.get(record.decision.id)
            assert whole is not None
            found.append(replace(whole, sequence=0))
        return found[::-1]
    finally:
        await store.aclose()


async def read_or_nothing(database: Path) -> Sequence[AuditRecord]:
    """The same; nothing where the tables themselves were in what is lost."""
    try:
        return await read(database)
    except ConfigError as error:
        if "has the schema none" not in error.message:
            raise
        return []


async def write(database: Path) -> None:
    """Goes on writing to it."""
    store = SqlRecords(url=f"sqlite:///{database}", limits=LIMITS)
    try:
        await store.start()
        await store.append(a_record(a_decision("d-new")))
    finally:
        await store.aclose()


def places(size: int) -> list[int]:
    """From the first byte to the last but one: even steps, each moved by chance, for pages are even, too."""
    chance = random.Random(size)
    return [min(step * size // CUTS + chance.randrange(size // CUTS), size - 1) for step in range(CUTS)]


def cut(file: Path, place: int) -> None:
    os.truncate(file, place)


def flip(file: Path, place: int) -> None:
    """Changes one bit."""
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1 << place % 8]))


@pytest.mark.parametrize("damage", [cut, flip])
async def test_a_log_is_right_up_to_its_first_damage(
    log: Files, tmp_path: Path, damage: Callable[[Path, int], None]
) -> None:
    """Whole commits and their order: SQLite's checksums cover every frame and those before it
    (https://www.sqlite.org/walformat.html). Writing goes on behind them."""
    counts = []
    for place in places((log.folder / "audit.db-wal").stat().st_size):
        database = log.copy(tmp_path / f"at-{place}")
        damage(database.with_name("audit.db-wal"), place)
        found = await read_or_nothing(database)
        assert found == log.records[: len(found)]
        assert len(found) % PER_COMMIT == 0
        counts.append(len(found))
        await write(database)
        assert [record.decision.id for record in await read(database)] == [
            *(record.decision.id for record in found),
            "d-new",
        ]
    assert counts == sorted(counts)
    assert len(set(counts)) > CUTS // 3


async def test_a_database_that_is_cut_off_anywhere_is_not_used(moved: Files, tmp_path: Path) -> None:
    for place in places((moved.folder / "audit.db").stat().st_size):
        database = moved.copy(tmp_path / f"at-{place}")
        cut(database, place)
        before = database.read_bytes()
        for use in (read, write):
            with pytest.raises(PortcullisError, match=r"cut off|not a SQLite database") as raised:
                await use(database)
            assert str(database) in raised.value.message
        assert database.read_bytes() == before, "what could be saved from it must not be overwritten"


async def test_a_changed_bit_of_a_database_is_an_error_or_found_by_verify(moved: Files, tmp_path: Path) -> None:
    """SQLite's pages have no checksums; the chain is one over all that was recorded. What is read is what was
    committed, or reading is an error, or the log is not proven."""
    noticed: Counter[str] = Counter()
    content = (moved.folder / "audit.db").read_bytes()
    bodies = [found.start() for found in re.finditer(rb"runs as root", content)][:: RECORDS // 4]
    for place in (*places(len(content)), *bodies):
        database = moved.copy(tmp_path / f"at-{place}")
        flip(database, place)
        try:
            found = await read(database)
            proven = (await verified(url_of(database))).verdict
        except PortcullisError:
            noticed["error"] += 1
            continue
        assert proven is Verdict.TAMPERED or found == moved.records
        noticed[proven] += 1
    assert set(noticed) == {"error", *Verdict} - {Verdict.UNVERIFIED}
