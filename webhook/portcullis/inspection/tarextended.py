"""What the data of a tar says of its own entries: records of pax headers, and maps of sparse files. As Go reads them
(src/archive/tar/reader.go and strconv.go, 1.26).

Sources: POSIX.1-2017 pax "pax Extended Header"; GNU tar manual, "Storing Sparse Files".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from portcullis.inspection.tarheader import BLOCK, MAX_INT64, Fault, Header, number

Region = tuple[int, int]
"""Offset and length of data in a sparse file."""

CAPABILITY: Final = b"SCHILY.xattr.security.capability"
_SPARSE_MAP: Final = b"GNU.sparse.map"
_SPARSE_PARTS: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_STRINGS: Final = frozenset({b"path", b"linkpath", b"uname", b"gname"})
_TIMES: Final = frozenset({b"mtime", b"atime", b"ctime"})

_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,40}")
_FRACTION: Final = re.compile(rb"[0-9]*")

_IN_HEADER: Final = 4
_IN_EXTENSION: Final = 21
"""Regions that a GNU header and each of its extension blocks have room for."""


def integer(text: bytes, what: str) -> int:
    """A decimal number, as strconv.ParseInt takes it.

    Raises:
        Fault: it is none, or does not fit into 64 bits.
    """
    if _INTEGER.fullmatch(text):
        value = int(text)
        if -MAX_INT64 - 1 <= value <= MAX_INT64:
            return value
    raise Fault(f"{what} is no number")


def read_records(body: bytes) -> dict[bytes, bytes]:
    """The records of one pax header. The last of several with one key counts.

    Raises:
        Fault: they are not records one behind the other, or one holds a NUL where none may be.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at, end = 0, len(body)
    while at < end:
        space = body.find(b" ", at)
        length = integer(body[at:space], "the length of a pax record") if space >= at else 0
        stop = at + length
        if length < 5 or stop > end or stop <= space + 1 or body[stop - 1] != 0x0A:
            raise Fault("a pax record has a wrong length")
        key, equals, value = body[space + 1 : stop - 1].partition(b"=")
        if not key or not equals or b"\0" in (value if key in _STRINGS else key):
            raise Fault("a pax record is not a key and a value")
        at = stop
        if key in _SPARSE_PARTS:
            # Format 0.0 has a pair of records for each region, which format 0.1 has in one.
            if key != _SPARSE_PARTS[len(sparse) % 2] or b"," in value:
                raise Fault("the pax records of a sparse map are out of order")
            sparse.append(value)
        else:
            records[key] = value
    if sparse:
        records[_SPARSE_MAP] = b",".join(sparse)
    return records


def apply_records(header: Header, records: Mapping[bytes, bytes]) -> None:
    """Puts what the records say in place of what the block said. An empty value leaves it as it was.

    Raises:
        Fault: a number or a time is none.
    """
    for key, value in records.items():
        if not value:
            continue
        if key == b"path":
            header.path = value
        elif key == b"linkpath":
            header.link = value
        elif key == b"size":
            header.size = integer(value, "the pax record size")
        elif key == b"uid":
            header.uid = integer(value, "the pax record uid")
        elif key == b"gid":
            header.gid = integer(value, "the pax record gid")
        elif key in _TIMES:
            seconds, _, fraction = value.partition(b".")
            integer(seconds, "a pax record of a time")
            if not _FRACTION.fullmatch(fraction):
                raise Fault("a pax record of a time is no number")


def sparse_version(records: Mapping[bytes, bytes]) -> tuple[int, int] | None:
    """Of the sparse map that goes with the records: (0, 1), which is 0.0, too, or (1, 0). None: the file is not
    sparse, or in a way that Go does not know either and takes for a plain file."""
    major, minor = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    if (major, minor) in {(b"0", b"0"), (b"0", b"1")}:
        return 0, 1
    if (major, minor) == (b"1", b"0"):
        return 1, 0
    if major or minor or not records.get(_SPARSE_MAP):
        return None
    return 0, 1


def apply_sparse_records(header: Header, records: Mapping[bytes, bytes]) -> None:
    """The real name and the real size of a sparse file.

    Raises:
        Fault: the size is no number.
    """
    header.path = records.get(b"GNU.sparse.name") or header.path
    size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize")
    if size:
        header.size = integer(size, "the real size of a sparse file")


def sparse_map_of(records: Mapping[bytes, bytes]) -> list[Region]:
    """The map of formats 0.0 and 0.1.

    Raises:
        Fault: it is none.
    """
    count = integer(records.get(b"GNU.sparse.numblocks", b""), "the count of a sparse map")
    text = records.get(_SPARSE_MAP, b"")
    values = text.split(b",") if text else []
    if count < 0 or len(values) != 2 * count:
        raise Fault("the sparse map has another length than is said")
    return _pairs(values)


class SparseText:
    """The map of format 1.0: lines at the beginning of the data, up to the end of a block."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._lines = 0
        self._count: int | None = None

    def add(self, block: bytes) -> bool:
        """Takes one block. Says whether the map is whole.

        Raises:
            Fault: its count is no number.
        """
        self._text += block
        self._lines += block.count(b"\n")
        if self._count is None and self._lines:
            self._count = integer(bytes(self._text[: self._text.index(b"\n")]), "the count of a sparse map")
            if self._count < 0:
                raise Fault("the count of a sparse map is negative")
        return self._count is not None and self._lines > 2 * self._count

    def regions(self) -> list[Region]:
        """
        Raises:
            Fault: a line is no number.
        """
        count = self._count or 0
        return _pairs(bytes(self._text).split(b"\n", 2 * count + 1)[1 : 2 * count + 1])


def old_sparse_map(block: bytes, regions: list[Region], *, extension: bool) -> bool:
    """Adds the regions of a GNU header, or of one of its extension blocks, to ``regions``. Says whether another
    extension block follows.

    Raises:
        Fault: one is no number.
    """
    start, count = (0, _IN_EXTENSION) if extension else (386, _IN_HEADER)
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            break
        regions.append((number(block[at : at + 12], "offset"), number(block[at + 12 : at + 24], "numbytes")))
    return block[start + 24 * count] > 0


def real_size(block: bytes) -> int:
    """Of a sparse file in a GNU header.

    Raises:
        Fault: it is no number.
    """
    return number(block[483:495], "realsize")


def check_regions(regions: Iterable[Region], *, size: int, stored: int) -> None:
    """
    Args:
        size: of the file, holes included.
        stored: bytes of data in the tar.

    Raises:
        Fault: regions are out of order, overlap or end behind the file, or need more or less data than there is.
    """
    last = total = 0
    for offset, length in regions:
        if length < 0 or offset < last or offset + length > size:
            raise Fault("the sparse map does not fit the file")
        last = offset + length
        total += length
    if size < 0 or total != stored:
        raise Fault("the sparse map does not fit the data")


def expanded(regions: Iterable[Region], data: bytes, limit: int) -> bytes:
    """The first ``limit`` bytes of a sparse file that has as many, and whose data begins with ``data``; holes are
    zeros."""
    content = bytearray()
    at = 0
    for offset, length in regions:
        if offset >= limit:
            break
        content.extend(bytes(offset - len(content)))
        content += data[at : at + length]
        at += length
    return bytes(content[:limit].ljust(limit, b"\0"))


def padded(size: int) -> int:
    """Bytes between the end of data of that size and the next block."""
    return -size % BLOCK


def _pairs(values: list[bytes]) -> list[Region]:
    numbers = [integer(value, "a part of a sparse map") for value in values]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
