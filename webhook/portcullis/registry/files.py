"""Files under a folder, read without following a symbolic link: what image layouts and archives are read through.

Everything here blocks; who calls does so in a thread.
"""

import asyncio
import errno
import io
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final, Protocol

from portcullis.errors import Malformed, NotFound, RegistryError, TooLarge, Unreachable
from portcullis.limits import MIB
from portcullis.text import clean

PIECE_BYTES: Final = 1 * MIB
"""What is read at a time: large enough to cost no more than the reading itself, small enough to share a machine."""


class OpenFile(Protocol):
    """One file that is being read, from its beginning. ``size`` in bytes, as it was when it was opened."""

    size: int

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; b"" at the end. Raises RegistryError."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """Files by their names, which are relative and use slashes. ``place`` names the whole in messages."""

    place: str

    def open(self, name: str) -> OpenFile:
        """Raises NotFound where there is none of that name, Malformed where it is no regular file."""
        ...


class Folder:
    """Files of a folder on disk. The folder itself may be reached through symbolic links: whoever runs the command
    named it. Nothing below it may, because that was written by whoever made the image."""

    def __init__(self, path: Path) -> None:
        self.place = clean(str(path), 300)
        self._path = path

    def open(self, name: str) -> "OpenFile":
        """As Files says. Raises Unreachable where the system does not let it be read."""
        *folders, last = name.split("/")
        shown = f"{self.place}/{name}"
        where = self._root()
        try:
            for folder in folders:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
                os.close(where)
                where = inner
            # O_NONBLOCK: a named pipe would otherwise wait for its writer.
            number = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=where)
        except OSError as error:
            raise of_system(error, shown) from error
        finally:
            os.close(where)
        return DiskFile(regular(number, shown), shown)

    def _root(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError as error:
            raise Malformed(f"{self.place} is no folder") from error
        except OSError as error:
            raise of_system(error, self.place) from error


def regular(number: int, shown: str) -> io.FileIO:
    """A stream for an open descriptor, which belongs to it from now on.

    Raises:
        Malformed: it is no regular file: a named pipe or a device would give bytes without end.
    """
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Malformed(f"{shown} is no regular file")
    return io.FileIO(number)


class DiskFile:
    """A regular file."""

    def __init__(self, stream: io.FileIO, shown: str) -> None:
        self.size = os.fstat(stream.fileno()).st_size
        self._stream = stream
        self._shown = shown

    def read(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except OSError as error:
            raise of_system(error, self._shown) from error

    def close(self) -> None:
        self._stream.close()


class Bytes:
    """A file that is in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._left = memoryview(content)

    def read(self, count: int) -> bytes:
        piece, self._left = self._left[:count], self._left[count:]
        return bytes(piece)

    def close(self) -> None:
        pass


def of_system(error: OSError, shown: str) -> RegistryError:
    """What an OSError means for an image that is read from ``shown``."""
    if error.errno == errno.ENOENT:
        return NotFound(f"{shown} is not there")
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return Malformed(f"{shown} lies behind a symbolic link or a file, which is not followed")
    return Unreachable(f"{shown} cannot be read: {error.strerror or error}")


async def pieces(files: Files, name: str, limit: int, named: str) -> AsyncGenerator[bytes, None]:
    """The content of a file, read in a thread a piece at a time.

    Args:
        limit: how many bytes it may have; ``named`` are the words for that.

    Raises:
        RegistryError: as Files and OpenFile say; TooLarge before a byte is read where the size says so, and while
            reading where the file grows.
    """
    opened = await asyncio.to_thread(files.open, name)
    try:
        read = 0
        while True:
            if max(read, opened.size) > limit:
                raise TooLarge(f"{files.place}/{name} has more bytes than {named}")
            piece = await asyncio.to_thread(opened.read, min(PIECE_BYTES, limit + 1 - read))
            if not piece:
                return
            read += len(piece)
            if read <= limit:
                yield piece
    finally:
        opened.close()


async def whole(files: Files, name: str, limit: int, named: str) -> bytes:
    """The whole content of a file, at most ``limit`` bytes. Raises as :func:`pieces` does."""
    async with aclosing(pieces(files, name, limit, named)) as reading:
        return b"".join([piece async for piece in reading])
