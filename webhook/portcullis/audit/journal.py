"""The journal: keeps records on the local disk while the store is down, in order, until the store has them.

One append-only file of :mod:`portcullis.audit.frames`. What ``append`` returned for is on disk (fsync); what a crash
cut off in mid write is cut at the next open. Records leave only after the store has committed them, by truncating
the file when it is used up: a crash at any moment leaves either all of them or none, and replaying a record twice
does nothing, for a decision is stored once.

Everything here blocks and belongs in one worker thread; the figures may be read from anywhere.
"""

import fcntl
import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from portcullis.audit import codec
from portcullis.audit.files import identity, open_private
from portcullis.audit.frames import HEAD_BYTES, frame, next_frame, scan
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.record import AuditRecord
from portcullis.text import clean


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found at open: ``records`` to replay; ``torn`` bytes that were cut off at the end; ``damaged`` bytes
    in the middle that are no record any more."""

    records: int
    torn: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One journaled record. ``record`` is None where the bytes are whole but not a record of this version."""

    payload: bytes
    record: AuditRecord | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries in order, and where the next one begins."""

    entries: tuple[Entry, ...]
    end: int


class Journal:
    """A bounded journal in one file, mode 0600; no two processes can use it at once.

    Args:
        path: the file; made on the first ``open``. Best on another disk than the store.
        limits: ``journal_bytes``.
    """

    def __init__(self, *, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.path = path
        self._limit = limits.journal_bytes
        self._descriptor = -1
        self._opened = False
        self._begin = 0
        self._end = 0
        self._pending = 0

    @property
    def pending(self) -> int:
        """Records that the store does not have yet."""
        return self._pending

    @property
    def size(self) -> int:
        """Bytes in the file; what is discarded counts until the file is emptied."""
        return self._end

    def open(self) -> Opened:
        """Opens the file, cuts off what a crash left unfinished, counts what is to be replayed.

        Raises:
            ConfigError: the path can never be a journal, or another process has it.
        """
        self._release()
        self._opened = True
        try:
            self._descriptor = open_private(self.path, os.O_RDWR | os.O_APPEND)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise ConfigError(f"audit.journal: {self.path} is not a regular file")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._recover()
        except BlockingIOError:
            self._release()
            raise ConfigError(f"audit.journal: {self.path} is in use by another process") from None
        except OSError as error:
            self._release()
            raise ConfigError(f"audit.journal: cannot open {self.path}: {error.strerror}") from error
        except ConfigError:
            self._release()
            raise

    def append(self, records: Sequence[AuditRecord]) -> int:
        """Returns when the records are on disk: how many of them, from the first. Fewer than all only where the
        journal is full now.

        Raises:
            RecordsError: none is kept: the journal is full, or cannot be written.
        """
        if not self._opened:
            raise RecordsError(f"the journal {self.path} is not open")
        frames: list[bytes] = []
        try:
            self._check_still_there()
            size = self._end
            for record in records:
                frames.append(frame(codec.pack(record)))
                size += len(frames[-1])
                if size > self._limit:
                    frames.pop()
                    break
            if not frames:
                raise RecordsError(f"the journal {self.path} is full ({self._limit} bytes, limits.journalBytes)")
            self._write(b"".join(frames))
        except OSError as error:
            self._cut_back()
            raise self._fault("cannot write", error) from error
        self._pending += len(frames)
        return len(frames)

    def read(self, *, records: int, size: int) -> Chunk:
        """The next entries that are not discarded: at most ``records``, and no more once ``size`` bytes are reached.

        Raises:
            RecordsError: the file cannot be read.
        """
        entries: list[Entry] = []
        at = self._begin
        try:
            with self._mapped() as content:
                while len(entries) < records and at - self._begin < size:
                    found = next_frame(content, at)
                    if found is None:
                        at = self._end
                        break
                    start, at = found
                    entries.append(_entry(content[start + HEAD_BYTES : at]))
        except OSError as error:
            raise self._fault("cannot read", error) from error
        return Chunk(entries=tuple(entries), end=at)

    def discard(self, chunk: Chunk) -> None:
        """Forgets the entries of ``chunk``, which the store has now. The file is emptied when all are gone.

        Raises:
            RecordsError: the file cannot be emptied; the entries will be replayed once more.
        """
        self._begin = chunk.end
        self._pending = max(self._pending - len(chunk.entries), 0)
        if self._begin >= self._end:
            self._pending = 0
            try:
                os.ftruncate(self._descriptor, 0)
                os.fsync(self._descriptor)
            except OSError as error:
                raise self._fault("cannot empty", error) from error
            self._begin = self._end = 0

    def set_aside(self, entries: Sequence[Entry]) -> Path:
        """Keeps entries that the store will never take in a file of their own, so that they hold nothing up.

        Raises:
            RecordsError: they cannot be written there.
        """
        aside = self.path.with_name(self.path.name + ".refused")
        content = b"".join(frame(entry.payload) for entry in entries)
        try:
            descriptor = open_private(aside, os.O_RDWR | os.O_APPEND)
            try:
                if os.fstat(descriptor).st_size + len(content) > self._limit:
                    raise RecordsError(f"{aside} is full ({self._limit} bytes, limits.journalBytes)")
                _write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._fault(f"cannot write {aside.name}", error) from error
        return aside

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        self._opened = False
        self._release()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _recover(self) -> Opened:
        self._begin = self._end = self._pending = 0
        with self._mapped() as content:
            found = scan(content)
        if found.torn:
            os.ftruncate(self._descriptor, found.end)
            os.fsync(self._descriptor)
        self._end, self._pending = found.end, found.frames
        return Opened(records=found.frames, torn=found.torn, damaged=found.damaged)

    def _mapped(self) -> "mmap.mmap | _Empty":
        """The whole file; it is ours alone, so that nobody can shorten it meanwhile."""
        if os.fstat(self._descriptor).st_size == 0:
            return _Empty()
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)

    def _write(self, content: bytes) -> None:
        # After a failure the file may be longer than what was answered for; what is behind the end is cut first.
        if os.fstat(self._descriptor).st_size != self._end:
            os.ftruncate(self._descriptor, self._end)
        _write_all(self._descriptor, content)
        os.fsync(self._descriptor)
        self._end += len(content)

    def _check_still_there(self) -> None:
        """A file that was removed takes bytes as if nothing had happened, and loses them with this process."""
        if self._descriptor >= 0:
            mine = os.fstat(self._descriptor)
            if identity(self.path) == (mine.st_dev, mine.st_ino):
                return
            if self._pending:
                raise RecordsError(f"the journal {self.path} was removed or replaced while in use")
        try:
            self.open()
        except ConfigError as error:
            raise RecordsError(error.message) from error

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            return  # the next write tries again, and a half-written frame is no frame

    def _fault(self, doing: str, error: OSError) -> RecordsError:
        return RecordsError(f"the journal {self.path}: {doing}: {clean(str(error.strerror or error), 120)}")


class _Empty(bytes):
    """An empty file, which cannot be mapped."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _entry(payload: bytes) -> Entry:
    try:
        return Entry(payload=payload, record=codec.unpack(payload))
    except codec.CodecError:
        return Entry(payload=payload, record=None)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
