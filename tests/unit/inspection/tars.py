"""Tars made by hand, byte by byte: what no writer would write."""

import gzip
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from portcullis.inspection.layer import read_layer
from portcullis.inspection.layerfacts import LayerFacts
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Digest

USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
V7 = bytes(8)
END = bytes(1024)

PLAIN = "application/vnd.oci.image.layer.v1.tar"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """A GNU number: two's complement, the first bit set."""
    number = (value & ((1 << (8 * width)) - 1)) | (1 << (8 * width - 1))
    return number.to_bytes(width)


def header(
    name: bytes = b"file",
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: bytes = octal(1_700_000_000, 12),
    link: bytes = b"",
    magic: bytes = USTAR,
    device: tuple[int | bytes, int | bytes] = (0, 0),
    prefix: bytes = b"",
    tail: bytes = b"",
    checksum: bytes | None = None,
    signed: bool = False,
) -> bytes:
    """One block. Numbers are given as they are or as the bytes of the field; the checksum is right where none is
    given, of signed bytes where asked for."""

    def number(value: int | bytes, width: int) -> bytes:
        return value if isinstance(value, bytes) else octal(value, width)

    block = _FIELDS.pack(
        name,
        number(mode, 8),
        number(uid, 8),
        number(gid, 8),
        number(size, 12),
        mtime,
        b" " * 8,
        kind,
        link,
        magic,
        b"root",
        b"root",
        number(device[0], 8),
        number(device[1], 8),
        prefix,
        tail,
    )
    if checksum is None:
        total = sum(byte - 256 * (signed and byte > 127) for byte in block)
        checksum = b"%06o\0 " % total
    return block[:148] + checksum.ljust(8, b"\0") + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def entry(name: bytes = b"file", kind: bytes = b"0", *, data: bytes = b"", **fields: object) -> bytes:
    """A header, and the data that goes with it."""
    return header(name, kind, **{"size": len(data), **fields}) + padded(data)  # type: ignore[arg-type]


def record(key: bytes, value: bytes) -> bytes:
    """One pax record, its length right."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x", name: bytes = b"PaxHeaders/file") -> bytes:
    return entry(name, kind, data=b"".join(record(key, value) for key, value in records))


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return entry(b"././@LongLink", kind, data=name + b"\0", magic=GNU)


def tar(*parts: bytes) -> bytes:
    return b"".join(parts) + END


def members(content: bytes, count: int) -> bytes:
    """The content as gzip members, one behind the other."""
    step = -(-len(content) // count)
    return b"".join(gzip.compress(content[at : at + step], mtime=0) for at in range(0, len(content), step))


def sha256(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


@dataclass(frozen=True, slots=True)
class FirstBytes:
    """Marks a file with its first bytes."""

    limit: int

    def marks(self, body: bytes) -> tuple[str, ...]:
        return (body.decode("latin-1"),)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Keeps the files that it names, each with its cap, and probes those that it names, each with its limit."""

    kept: dict[bytes, int] = field(default_factory=dict)
    probed: dict[bytes, int] = field(default_factory=dict)

    def keep(self, path: bytes) -> int:
        return self.kept.get(path, 0)

    def probe(self, path: bytes, mode: int, size: int) -> FirstBytes | None:
        return FirstBytes(self.probed[path]) if path in self.probed else None


NOTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob as a manifest and a configuration describe it; right, unless it is changed."""

    blob: bytes
    digest: Digest
    diff_id: Digest
    media_type: str = GZIP

    @classmethod
    def of(cls, content: bytes, blob: bytes | None = None, media_type: str = GZIP) -> "Layer":
        """``content`` is the tar, ``blob`` what it is compressed to: as it is where it is not given."""
        packed = content if blob is None else blob
        return cls(packed, sha256(packed), sha256(content), media_type)

    def but(self, **changes: object) -> "Layer":
        return replace(self, **changes)  # type: ignore[arg-type]

    def read(
        self, reading: Wanted = NOTHING, limits: Limits = DEFAULT_LIMITS, pieces: Iterable[bytes] | None = None
    ) -> LayerFacts:
        return read_layer(
            cut(self.blob, 100_000) if pieces is None else pieces,
            media_type=self.media_type,
            digest=self.digest,
            diff_id=self.diff_id,
            reading=reading,
            limits=limits,
            what="the layer under test",
        )


def cut(content: bytes, step: int) -> Iterator[bytes]:
    """In pieces of that length."""
    for at in range(0, len(content), step):
        yield content[at : at + step]


def read(*parts: bytes, reading: Wanted = NOTHING, limits: Limits = DEFAULT_LIMITS) -> LayerFacts:
    """What is in a tar of these parts."""
    return Layer.of(tar(*parts)).read(reading, limits)
