"""Files of a tar on disk, read where they lie: nothing is unpacked.

The headers are read once, for where each file begins. A tar that is compressed with gzip is inflated anew, up to the
file that is asked for, each time: that is slower, and needs no room.
"""

import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from isal import igzip, igzip_lib

from portcullis.errors import Malformed, NotFound, TooLarge
from portcullis.limits import KIB, Limits
from portcullis.registry.files import Bytes, OpenFile, of_system, regular
from portcullis.text import clean

_GZIP: Final = b"\x1f\x8b"
_HEADER_BYTES: Final = 16 * KIB
"""The longest name or PAX header. tarfile reads them whole, and up to Python 3.11.9 in time that grows with the square
of their length (CVE-2024-6232)."""
_INFLATING: Final = cast(type[Exception], igzip_lib.IsalError)  # typed there as an instance
_DAMAGED: Final = (tarfile.TarError, _INFLATING, EOFError, ValueError, IndexError, OverflowError, RecursionError)
"""What tarfile and igzip raise at bytes that are no tar, or no gzip."""


class _Seekable(Protocol):
    def read(self, count: int, /) -> bytes | None: ...
    def seek(self, position: int, /) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Region:
    """Where a file lies in the tar, once inflated."""

    offset: int
    size: int


class TarFiles:
    """Files (files.py) of a tar, and others that are in memory.

    Args:
        place: names the tar in messages.
        regions: where its files lie, by their names.
        made: files that are not in the tar.
    """

    def __init__(
        self, *, path: Path, place: str, regions: Mapping[str, Region], made: Mapping[str, bytes], limits: Limits
    ) -> None:
        self.place = place
        self.regions = regions
        self._path = path
        self._made = made
        self._limits = limits

    def open(self, name: str) -> OpenFile:
        """As Files says."""
        if name in self._made:
            return Bytes(self._made[name])
        if name not in self.regions:
            raise NotFound(f"{self.place} has no {clean(name, 200)}")
        tar = _Plain(self._path, self.place, self._limits)
        try:
            return self._region(tar, name)
        except BaseException:
            tar.close()
            raise

    @contextmanager
    def in_order(self) -> Iterator[Callable[[str], OpenFile]]:
        """Opens files of the tar that are read one after another, in the order in which they lie: none of them is
        closed, and none is read when the next one is open."""
        with closing(_Plain(self._path, self.place, self._limits)) as tar:
            yield lambda name: self._region(tar, name)

    def laid_out(self, regions: Mapping[str, Region], made: Mapping[str, bytes]) -> "TarFiles":
        """The same tar with its files under other names, and with others."""
        return TarFiles(path=self._path, place=self.place, regions=regions, made=made, limits=self._limits)

    def _region(self, tar: "_Plain", name: str) -> "_TarFile":
        return _TarFile(tar, self.regions[name], f"{self.place}/{name}")


class _TarFile:
    """One file of a tar, which is closed with it."""

    def __init__(self, tar: "_Plain", region: Region, shown: str) -> None:
        self.size = region.size
        self._tar = tar
        self._left = region.size
        self._shown = clean(shown, 400)
        tar.seek(region.offset)

    def read(self, count: int) -> bytes:
        piece = self._tar.read(min(count, self._left))
        if not piece and self._left and count:
            raise Malformed(f"{self._shown} is cut short")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._tar.close()


class _Plain:
    """The bytes of the tar. Those of a compressed one are inflated, up to the limit archivePlainBytes."""

    def __init__(self, path: Path, place: str, limits: Limits) -> None:
        self._place = place
        self._limit = limits.archive_plain_bytes
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise of_system(error, place) from error
        self._disk = regular(number, place)
        with self._reading():
            self.compressed = self._disk.read(len(_GZIP)) == _GZIP
            self._disk.seek(0)
        self._stream: _Seekable = self._disk
        if self.compressed:
            self._stream = igzip.IGzipFile(fileobj=self._disk, mode="rb")  # type: ignore[no-untyped-call]
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._check(position)
        with self._reading():
            self._position = self._stream.seek(position)
        return self._position

    def read(self, count: int) -> bytes:
        self._check(self._position + count)
        with self._reading():
            piece = self._stream.read(count) or b""
        self._position += len(piece)
        return piece

    def close(self) -> None:
        self._stream.close()
        self._disk.close()

    def _check(self, position: int) -> None:
        """What is not compressed costs nothing to pass over."""
        if self.compressed and position > self._limit:
            raise TooLarge(
                f"{self._place} has more bytes, once inflated, than the limit archivePlainBytes of {self._limit}; "
                "gunzip it first"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise Malformed(f"{self._place} is damaged: {clean(str(error), 200)}") from error
        except OSError as error:
            if error.errno:
                raise of_system(error, self._place) from error
            raise Malformed(f"{self._place} is damaged: {clean(str(error), 200)}") from error  # BadGzipFile


class _Headers:
    """The tar as tarfile sees it: to be read a header at a time."""

    def __init__(self, tar: _Plain, place: str) -> None:
        self._tar = tar
        self._place = place
        self.tell = tar.tell
        self.seek = tar.seek

    def read(self, count: int) -> bytes:
        if not 0 <= count <= _HEADER_BYTES:
            raise TooLarge(f"{self._place} has a name or a header of more than {_HEADER_BYTES} bytes")
        return self._tar.read(count)


def open_tar(path: Path, place: str, limits: Limits) -> TarFiles:
    """The files of a tar. Links between them are followed one step: ``docker save`` writes one where two images share
    a layer. What is neither file nor link is passed over.

    Args:
        limits: ``archive_entries``, ``archive_plain_bytes``.

    Raises:
        Malformed: it is no tar, or one name stands for two files.
        TooLarge: a limit is crossed.
        NotFound, Unreachable: it cannot be read.
    """
    regions: dict[str, Region] = {}
    links: dict[str, str] = {}
    with closing(_Plain(path, place, limits)) as tar:
        for number, member in enumerate(_members(tar, place)):
            if number >= limits.archive_entries:
                raise TooLarge(f"{place} has more entries than the limit archiveEntries of {limits.archive_entries}")
            name = posixpath.normpath(member.name)
            if min(member.size, member.offset_data) < 0:
                raise Malformed(f"{place} has {clean(name, 200)} with a negative size")
            if name in regions or name in links:
                raise Malformed(f"{place} has {clean(name, 200)} twice")
            if member.isreg() and not member.issparse():
                regions[name] = Region(member.offset_data, member.size)
            elif member.issym():
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname)
    regions |= {name: regions[target] for name, target in links.items() if target in regions}
    return TarFiles(path=path, place=place, regions=regions, made={}, limits=limits)


def _members(tar: _Plain, place: str) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.TarFile(fileobj=_Headers(tar, place), mode="r") as reader:  # type: ignore[arg-type]
            yield from reader
    except _DAMAGED as error:
        raise Malformed(f"{place} is no tar archive, or a damaged one: {clean(str(error), 200)}") from error
