"""One header block of a tar, read as Go's archive/tar reads it: that is what unpacks layers on a node, in containerd,
Docker and CRI-O. Where POSIX, GNU tar and Go differ, Go is followed; what Go refuses is refused.

Sources: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; Go src/archive/tar/reader.go,
format.go and strconv.go (1.26).
"""

import struct
from typing import Final, TypeVar
from zlib import adler32

import msgspec

BLOCK: Final = 512
MAX_INT64: Final = (1 << 63) - 1

_FIELDS: Final = struct.Struct("100s 24s 12s 12s 8s B 100s 8s 64x 16s 155s 8x 4s")
"""name; mode, uid and gid; size; mtime; checksum; type; link; magic and version; devices; prefix; trailer."""
_GNU: Final = b"ustar  \x00"
_USTAR: Final = b"ustar\x00"
_STAR: Final = b"tar\x00"
_STAR_PREFIX: Final = 131
_ENDS: Final = b" \0"
_REMEMBERED: Final = 4096
"""Fields that were read before: owners, times and devices of one layer are few. Forgotten when there are more."""

T = TypeVar("T")


class Fault(Exception):
    """What is wrong, as the end of a sentence whose beginning says where."""


class Header(msgspec.Struct, gc=False):
    """What the block says. Extended headers may change it afterwards.

    ``type`` is the byte of the field typeflag; ``size`` that of the data that follows, whether or not such an entry
    has any; ``gnu`` whether the block may hold a sparse map of the old GNU format.
    """

    type: int
    path: bytes
    link: bytes
    size: int
    mode: int
    uid: int
    gid: int
    device: tuple[int, int]
    gnu: bool


class HeaderReader:
    """Reads header blocks, and remembers fields that come again."""

    def __init__(self) -> None:
        self._owners: dict[bytes, tuple[int, int, int]] = {}
        self._times: dict[bytes, int] = {}
        self._devices: dict[bytes, tuple[int, int]] = {}

    def read(self, block: bytes) -> Header:
        """
        Args:
            block: of 512 bytes, not all of them zero.

        Raises:
            Fault: the checksum is wrong, or a number cannot be read.
        """
        name, owner, size, time, checksum, kind, link, magic, device, prefix, trailer = _FIELDS.unpack(block)
        _verify(block, checksum)
        path: bytes = name.split(b"\0", 1)[0]
        mode, uid, gid = self._owners.get(owner) or _remember(self._owners, owner, _owner(owner))
        if time not in self._times:
            _remember(self._times, time, number(time, "mtime"))
        devices = (0, 0)
        gnu = False
        if magic[:5] == b"ustar":  # any other magic is of Unix V7, which has none of what follows
            star = magic[:6] == _USTAR and trailer == _STAR
            gnu = magic == _GNU
            if gnu or magic[:6] == _USTAR:
                devices = self._devices.get(device) or _remember(self._devices, device, _device(device))
                if prefix[0] or (gnu and prefix[12]):
                    path = _prefixed(path, block, star=star, gnu=gnu)
                if star:
                    number(block[476:488], "atime")
                    number(block[488:500], "ctime")
        return Header(
            kind,
            path,
            link.split(b"\0", 1)[0] if link[0] else b"",
            number(size, "size"),
            mode,
            uid,
            gid,
            devices,
            gnu,
        )


def number(field: bytes, name: str) -> int:
    """A numeric field: octal digits between blanks and NULs, or base 256 (a two's complement number in big-endian
    order behind a set bit); empty is 0. It may be negative.

    Raises:
        Fault: it is neither, or does not fit into 64 bits.
    """
    if field[0] & 0x80:
        return _base256(field, name)
    return _octal(field, name)


def _octal(field: bytes, name: str) -> int:
    plain = field[:-1]
    if plain.isdigit() and field[-1] in _ENDS:  # as nearly all writers write it
        try:
            return int(plain, 8)
        except ValueError:
            raise _not_a_number(name) from None
    digits = field.strip(b" \0")
    if b"\0" in digits:
        digits = digits.split(b"\0", 1)[0]
    if not digits:
        return 0
    if digits.isdigit():  # int() would take signs, blanks and underscores, too
        try:
            return int(digits, 8)
        except ValueError:
            pass
    raise _not_a_number(name)


def _base256(field: bytes, name: str) -> int:
    bits = 8 * len(field)
    value = int.from_bytes(field)
    negative = bool(field[0] & 0x40)
    if negative:
        value ^= (1 << bits) - 1
    value &= (1 << (bits - 1)) - 1
    if value > MAX_INT64:
        raise _not_a_number(name)
    return ~value if negative else value


def _not_a_number(name: str) -> Fault:
    return Fault(f"the field {name} of the header is no number")


def _verify(block: bytes, field: bytes) -> None:
    """The sum of the bytes, the checksum's own taken as blanks; some old writers took bytes as signed.

    Adler-32 holds the sum in its low half, modulo 65521: no half of a block comes up to that.
    """
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2 - sum(field) + 8 * 0x20
    if field == b"%06o\0 " % total:  # as nearly all writers write it
        return
    value = _octal(field, "chksum")
    if value == total:
        return
    rest = block[:148] + block[156:]
    if value != total - 256 * sum(byte >> 7 for byte in rest):
        raise Fault("the checksum of the header is wrong")


def _owner(field: bytes) -> tuple[int, int, int]:
    return number(field[:8], "mode"), number(field[8:16], "uid"), number(field[16:], "gid")


def _device(field: bytes) -> tuple[int, int]:
    return number(field[:8], "devmajor"), number(field[8:], "devminor")


def _prefixed(path: bytes, block: bytes, *, star: bool, gnu: bool) -> bytes:
    """With the first part of a long name. GNU has two times there; the writer of Go before 1.8 put a name there all the
    same, which is recognised by times that are none (golang.org/issue/12594)."""
    field = block[345 : 345 + _STAR_PREFIX] if star else block[345:500]
    prefix = field.split(b"\0", 1)[0]
    if gnu:
        try:
            for at in (0, 12):
                if field[at]:
                    number(field[at : at + 12], "atime")
            return path
        except Fault:
            if not prefix.isascii():
                return path
    return prefix + b"/" + path if prefix else path


def _remember(known: dict[bytes, T], field: bytes, value: T) -> T:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[field] = value
    return value
