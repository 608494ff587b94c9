"""The databases of rpm: SQLite since rpm 4.16, ndb at SUSE, Berkeley DB before.

All three keep one header for each package under its number. A header (rpm docs, format_header; lib/header.c) is two
counts, an index of (tag, type, offset, count) and a store that the offsets point into, in network byte order.

* ``rpmdb.sqlite``: the table ``Packages(hnum, blob)``.
* ``Packages.db`` (rpm lib/backend/ndb/rpmpkg.c): pages of slots, and blobs in blocks of 16 bytes; little-endian.
* ``Packages`` (Berkeley DB 4 to 6, dbinc/db_page.h): a hash of pages, whose values are headers, in a chain of overflow
  pages where they are larger than a page is; in the byte order of the machine that made it.

The files come from strangers: SQLite opens a copy in memory, trusts no schema, and counts its steps.
"""

import contextlib
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from portcullis.inspection.faults import DatabaseFault

_Row = tuple[bytes, bytes, bytes]

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE = 1000, 1001, 1002, 1003, 1022
_INT32, _STRING, _I18NSTRING = 4, 6, 9
_TAGS: Final = 65_536
"""Entries of one header's index; rpm's own bound (HEADER_TAGS_MAX)."""
_INDEX: Final = struct.Struct(">IIII")

_SQLITE_STEPS: Final = 50_000_000
"""Instructions of SQLite's machine; a database of 3,000 packages takes 20,000."""
_SQLITE_EVERY: Final = 100_000

_PAGE: Final = 4096
_NDB_MAGIC: Final = 0x506D7052  # "RpmP"
_SLOT_MAGIC: Final = 0x746F6C53  # "Slot"
_BLOB_MAGIC: Final = 0x53626C42  # "BlbS"

_DB_HASH_MAGIC: Final = 0x061561
_DB_HASH, _DB_HASH_UNSORTED, _DB_OVERFLOW = 13, 2, 7
_DB_HEAD: Final = 26
_DB_KEYDATA, _DB_OFFPAGE = 1, 3


def parse_header(blob: bytes) -> _Row:
    """Name, version (``epoch:version-release``) and architecture of one package.

    Raises:
        DatabaseFault: it is no header, or names nothing.
    """
    if len(blob) < 8:
        raise DatabaseFault("has a header that is cut off")
    count, size = struct.unpack_from(">II", blob)
    store = 8 + count * _INDEX.size
    if count > _TAGS or store + size > len(blob):
        raise DatabaseFault("has a header that is cut off")
    texts: dict[int, bytes] = {}
    epoch = 0
    for at in range(8, store, _INDEX.size):
        tag, kind, offset, _ = _INDEX.unpack_from(blob, at)
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE):
            continue
        place = store + offset
        if kind == _INT32 and tag == _EPOCH and offset + 4 <= size:
            (epoch,) = struct.unpack_from(">I", blob, place)
        elif kind in (_STRING, _I18NSTRING) and offset < size:
            end = blob.find(b"\0", place, store + size)
            if end < 0:
                raise DatabaseFault("has a header whose text does not end")
            texts[tag] = blob[place:end]
    if not texts.get(_NAME):
        raise DatabaseFault("has a package without a name")
    version = texts.get(_VERSION, b"")
    if texts.get(_RELEASE):
        version += b"-" + texts[_RELEASE]
    if epoch:
        version = b"%d:%s" % (epoch, version)
    return texts[_NAME], version, texts.get(_ARCHITECTURE, b"")


def _parsed(blobs: Iterable[bytes], body: bytes) -> Iterator[_Row]:
    """The headers of one database. No two share bytes, so together they are no longer than it: one that says otherwise
    would take for ever."""
    room = len(body)
    for blob in blobs:
        room -= len(blob)
        if room < 0:
            raise DatabaseFault("has packages that overlap")
        yield parse_header(blob)


# -- SQLite ----------------------------------------------------------------------------------------------------


def read_sqlite(body: bytes) -> Iterator[_Row]:
    """Raises DatabaseFault."""
    return _parsed(_sqlite_blobs(body), body)


def _sqlite_blobs(body: bytes) -> Iterator[bytes]:
    if not body.startswith(b"SQLite format 3\0") or len(body) < 100:  # its header has 100 bytes
        raise DatabaseFault("is no SQLite database")
    if 2 in body[18:20]:
        # A database that was used with a write-ahead log asks for one, which none in memory can have. Whether it is
        # empty is for the caller to see (sqlite.org, sqlite3_deserialize).
        body = body[:18] + b"\1\1" + body[20:]
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += _SQLITE_EVERY
        return int(steps > _SQLITE_STEPS)

    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.set_progress_handler(count, _SQLITE_EVERY)
        try:
            connection.deserialize(body)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            kinds = connection.execute("SELECT type FROM sqlite_schema WHERE name = 'Packages'").fetchall()
            if kinds != [("table",)]:
                raise DatabaseFault("has no table of packages")
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                if not isinstance(blob, bytes):
                    raise DatabaseFault("has a package that is no header")
                yield blob
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            raise DatabaseFault(f"cannot be read by SQLite: {error}") from None


# -- ndb -------------------------------------------------------------------------------------------------------


def read_ndb(body: bytes) -> Iterator[_Row]:
    """Raises DatabaseFault."""
    return _parsed(_ndb_blobs(body), body)


def _ndb_blobs(body: bytes) -> Iterator[bytes]:
    if len(body) < _PAGE:
        raise DatabaseFault("is no ndb database")
    magic, version, _, pages = struct.unpack_from("<IIII", body)
    if magic != _NDB_MAGIC or version != 0:
        raise DatabaseFault("is no ndb database of version 0")
    if not 0 < pages <= len(body) // _PAGE:
        raise DatabaseFault("has slots beyond its end")
    for at in range(32, pages * _PAGE, 16):  # two slots are the header's
        slot, index, block, blocks = struct.unpack_from("<IIII", body, at)
        if slot != _SLOT_MAGIC:
            raise DatabaseFault("has a slot that is none")
        if not index or not block:
            continue
        start = block * 16
        if start + 16 > len(body):
            raise DatabaseFault("has a package beyond its end")
        head, owner, _, length = struct.unpack_from("<IIII", body, start)
        if head != _BLOB_MAGIC or owner != index or start + 16 + length > len(body) or length > blocks * 16:
            raise DatabaseFault("has a package that is cut off")
        yield body[start + 16 : start + 16 + length]


# -- Berkeley DB -----------------------------------------------------------------------------------------------


def read_berkeley(body: bytes) -> Iterator[_Row]:
    """Raises DatabaseFault."""
    return _parsed(_berkeley_blobs(body), body)


def _berkeley_blobs(body: bytes) -> Iterator[bytes]:
    if len(body) < 512:  # the smallest page
        raise DatabaseFault("is no Berkeley DB")
    order = next((order for order in "<>" if struct.unpack_from(order + "I", body, 12)[0] == _DB_HASH_MAGIC), "")
    if not order:
        raise DatabaseFault("is no Berkeley DB hash")
    (size,) = struct.unpack_from(order + "I", body, 20)
    if body[24]:
        raise DatabaseFault("is an encrypted Berkeley DB")
    if size not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536) or len(body) % size:
        raise DatabaseFault("is a Berkeley DB that is cut off")
    for page in range(size, len(body), size):
        kind = body[page + 25]
        if kind in (_DB_HASH, _DB_HASH_UNSORTED):
            yield from _hash_page(body, page, size, order)


def _hash_page(body: bytes, page: int, size: int, order: str) -> Iterator[bytes]:
    """Keys and values by turns; the values are packages, but for a short one that counts them."""
    (entries,) = struct.unpack_from(order + "H", body, page + 20)
    if entries % 2 or _DB_HEAD + 2 * entries > size:
        raise DatabaseFault("has a page that is no page of a hash")
    offsets = struct.unpack_from(f"{order}{entries}H", body, page + _DB_HEAD)
    for at in range(1, entries, 2):
        offset, end = offsets[at], offsets[at - 1]  # items are laid down from the end of the page
        if not _DB_HEAD <= offset < end <= size:
            raise DatabaseFault("has an item outside its page")
        kind = body[page + offset]
        if kind == _DB_OFFPAGE and offset + 12 <= size:
            first, length = struct.unpack_from(order + "II", body, page + offset + 4)
            yield _overflow(body, first, length, size, order)
        elif kind == _DB_KEYDATA:
            value = body[page + offset + 1 : page + end]
            if len(value) > 8:  # the next number, under the key 0, has four bytes
                yield value
        else:
            raise DatabaseFault("has an item of an unknown kind")


def _overflow(body: bytes, number: int, length: int, size: int, order: str) -> bytes:
    """An item in a chain of pages."""
    if length > len(body):
        raise DatabaseFault("has an item that is longer than the file")
    pieces: list[bytes] = []
    have = 0
    while number and have < length:
        page = number * size
        if page + size > len(body) or body[page + 25] != _DB_OVERFLOW:
            raise DatabaseFault("has an item that leads out of it")
        (following,) = struct.unpack_from(order + "I", body, page + 16)
        (used,) = struct.unpack_from(order + "H", body, page + 22)
        if not 0 < used <= size - _DB_HEAD:
            raise DatabaseFault("has an item with a page that holds nothing")
        pieces.append(body[page + _DB_HEAD : page + _DB_HEAD + used])
        have += used
        number = following
    if have != length:
        raise DatabaseFault("has an item that is cut off")
    return b"".join(pieces)
