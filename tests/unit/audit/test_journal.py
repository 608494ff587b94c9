"""The journal on a real file."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.records import a_decision, a_record
from portcullis.audit.frames import frame
from portcullis.audit.journal import Chunk, Journal, Opened
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord

ALL = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path=path)
    journal.open()
    yield journal
    journal.close()


def some(count: int) -> list[AuditRecord]:
    return [a_record(a_decision(f"d-{number}", document=b'{"n":%d}' % number)) for number in range(count)]


def records_of(chunk: Chunk) -> list[AuditRecord | None]:
    return [entry.record for entry in chunk.entries]


def read_all(journal: Journal) -> list[AuditRecord | None]:
    return records_of(journal.read(records=ALL, size=ALL))


def reopened(path: Path, expected: Opened) -> list[AuditRecord | None]:
    journal = Journal(path=path)
    try:
        assert journal.open() == expected
        assert journal.pending == expected.records
        return read_all(journal)
    finally:
        journal.close()


def test_records_come_back_in_order_after_a_restart(path: Path, journal: Journal) -> None:
    written = some(5)
    assert journal.append(written[:2]) == 2
    assert journal.append(written[2:]) == 3
    journal.close()
    assert reopened(path, Opened(records=5, torn=0, damaged=0)) == written


def test_file_and_directory_are_private(path: Path, journal: Journal) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_chunks_are_bounded_by_count_and_by_bytes(journal: Journal) -> None:
    written = some(5)
    journal.append(written)
    assert records_of(journal.read(records=2, size=ALL)) == written[:2]
    assert records_of(journal.read(records=ALL, size=1)) == written[:1]
    assert records_of(journal.read(records=5, size=ALL)) == written


def test_what_is_discarded_is_not_read_again_and_the_file_ends_empty(path: Path, journal: Journal) -> None:
    written = some(5)
    journal.append(written)
    journal.discard(journal.read(records=3, size=ALL))
    assert read_all(journal) == written[3:]
    assert journal.pending == 2
    more = [a_record()]
    journal.append(more)
    rest = journal.read(records=ALL, size=ALL)
    assert records_of(rest) == written[3:] + more
    journal.discard(rest)
    assert (journal.pending, journal.size, path.stat().st_size) == (0, 0, 0)
    assert read_all(journal) == []
    journal.append(more)
    assert read_all(journal) == more


def test_a_restart_before_the_end_of_a_replay_begins_it_anew(path: Path, journal: Journal) -> None:
    written = some(3)
    journal.append(written)
    journal.discard(journal.read(records=2, size=ALL))
    journal.close()
    assert reopened(path, Opened(records=3, torn=0, damaged=0)) == written


def test_a_torn_tail_is_cut_off(path: Path, journal: Journal) -> None:
    written = some(3)
    journal.append(written)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + frame(b"never finished")[:-1])
    assert reopened(path, Opened(records=3, torn=len(frame(b"never finished")) - 1, damaged=0)) == written
    assert path.read_bytes() == whole


def test_damage_in_the_middle_loses_only_the_damaged_record(path: Path, journal: Journal) -> None:
    written = some(3)
    journal.append(written[:1])
    first = path.stat().st_size
    journal.append(written[1:2])
    second = path.stat().st_size
    journal.append(written[2:])
    journal.close()
    content = bytearray(path.read_bytes())
    content[first + 40] ^= 1
    path.write_bytes(content)
    expected = Opened(records=2, torn=0, damaged=second - first)
    assert reopened(path, expected) == [written[0], written[2]]


def test_whole_bytes_that_are_no_record_are_told_apart(path: Path, journal: Journal) -> None:
    written = some(1)
    journal.append(written)
    journal.close()
    with path.open("ab") as file:
        file.write(frame(b"of another version"))
    assert reopened(path, Opened(records=2, torn=0, damaged=0)) == [*written, None]


def test_a_full_journal_keeps_what_fits_and_says_so(path: Path) -> None:
    written = some(4)
    probe = Journal(path=path)
    probe.open()
    probe.append(written[:2])
    two = probe.size
    probe.discard(probe.read(records=ALL, size=ALL))
    probe.close()

    journal = Journal(path=path, limits=Limits(journal_bytes=two + 10))
    journal.open()
    try:
        assert journal.append(written) == 2
        with pytest.raises(RecordsError, match=r"full.*journalBytes"):
            journal.append(written[2:])
        assert read_all(journal) == written[:2]
        journal.discard(journal.read(records=ALL, size=ALL))
        assert journal.append(written[2:]) == 2
    finally:
        journal.close()


def test_two_processes_cannot_share_a_journal(path: Path, journal: Journal) -> None:
    with pytest.raises(ConfigError, match="another process"):
        Journal(path=path).open()


@pytest.mark.parametrize("kind", ["directory", "device", "below a file"])
def test_a_path_that_can_never_be_a_journal(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "journal"
    if kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/full")
    else:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "journal"
    with pytest.raises(ConfigError, match=r"audit\.journal"):
        Journal(path=path).open()


def test_a_journal_that_is_not_open_keeps_nothing(path: Path) -> None:
    with pytest.raises(RecordsError, match="not open"):
        Journal(path=path).append(some(1))


def test_a_file_that_was_removed_takes_no_more_records(path: Path, journal: Journal) -> None:
    written = some(2)
    journal.append(written)
    path.unlink()
    with pytest.raises(RecordsError, match="removed"):
        journal.append(some(1))
    assert read_all(journal) == written, "what was answered for is still replayed"
    journal.discard(journal.read(records=ALL, size=ALL))
    journal.append(written)
    journal.close()
    assert reopened(path, Opened(records=2, torn=0, damaged=0)) == written


def test_a_file_that_was_shortened_by_somebody_ends_no_loop(path: Path, journal: Journal) -> None:
    journal.append(some(3))
    os.truncate(path, 10)
    journal.append([a_record()])
    chunk = journal.read(records=ALL, size=ALL)
    assert len(chunk.entries) == 1
    journal.discard(chunk)
    assert journal.pending == 0


def test_refused_entries_are_kept_apart(path: Path, journal: Journal) -> None:
    written = some(3)
    journal.append(written)
    chunk = journal.read(records=ALL, size=ALL)
    aside = journal.set_aside(chunk.entries[:1])
    journal.set_aside(chunk.entries[1:2])
    assert aside == path.with_name("journal.refused")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert reopened(aside, Opened(records=2, torn=0, damaged=0)) == written[:2]
