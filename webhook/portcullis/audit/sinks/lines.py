"""Records as lines of JSON: to the standard output, and to files that are rotated."""

import contextlib
import os
import select
from collections.abc import Sequence
from pathlib import Path

from portcullis.audit.exporting import export_line
from portcullis.audit.files import identity, open_private, sync_directory
from portcullis.audit.sinks.outlet import SinkError
from portcullis.errors import ConfigError
from portcullis.model.record import AuditRecord
from portcullis.text import clean


class StdoutSink:
    """Lines on a descriptor of its own.

    Args:
        document: whether the judged input is written as well.
        descriptor: where to; the standard output by default.
    """

    def __init__(self, *, document: bool, descriptor: int = 1) -> None:
        self._document = document
        try:
            self._descriptor = os.dup(descriptor)
        except OSError as error:
            raise ConfigError(f"the standard output is closed: {error.strerror}") from None
        self._torn = False
        """Whether the last line was cut off."""

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Raises SinkError: nobody reads any more. Lines that are out may come once more then."""
        content = b"".join(export_line(record, document=self._document) for record in records)
        view = memoryview(b"\n" + content if self._torn else content)
        whole = len(view)
        try:
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    select.select((), (self._descriptor,), ())
        except OSError as error:
            self._torn = self._torn or len(view) < whole
            raise SinkError(f"the standard output cannot be written: {error.strerror}") from None
        self._torn = False

    def close(self) -> None:
        os.close(self._descriptor)


class FileSink:
    """Lines in a file, mode 0600, that is renamed to ``.1`` when it is full, ``.1`` to ``.2`` and so on.

    A line is in one file, whole. The file is written at once and synced when it is full and at the end: what a crash of
    the machine takes is in the store. A file that somebody else has moved or removed is made anew with the next line.

    Args:
        document: whether the judged input is written as well.
        size: bytes of one file; one longer line has a file of its own.
        files: how many there are, this one included.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, document: bool, size: int, files: int) -> None:
        self.path = path
        self._document = document
        self._limit = size
        self._files = files
        self._descriptor = -1
        self._size = 0
        try:
            self._open()
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Raises SinkError; lines that went into an older file may come once more then."""
        before = self._size
        try:
            self._reopen_if_gone()
            before = self._size
            waiting: list[bytes] = []
            size = self._size
            for record in records:
                line = export_line(record, document=self._document)
                if size and size + len(line) > self._limit:
                    self._append(b"".join(waiting))
                    self._rotate()
                    waiting, size, before = [], 0, 0
                waiting.append(line)
                size += len(line)
            self._append(b"".join(waiting))
        except OSError as error:
            self._cut_back(before)
            raise SinkError(f"{self.path}: {clean(str(error.strerror or error), 120)}") from None

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = open_private(self.path, os.O_RDWR | os.O_APPEND)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # a line that a crash cut off ends here

    def _reopen_if_gone(self) -> None:
        if self._descriptor >= 0:
            mine = os.fstat(self._descriptor)
            if identity(self.path) == (mine.st_dev, mine.st_ino):
                return
            self.close()
        self._open()

    def _append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(content)

    def _rotate(self) -> None:
        self.close()
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, self._files))]
        for older, newer in zip(reversed(names), [*reversed(names)][1:], strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if self._files == 1:
            self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        self._open()

    def _cut_back(self, size: int) -> None:
        """What was begun of a batch goes again; where that fails too, the next open ends the line."""
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, size)
                self._size = size
