"""Bad layers, each with a name and a defined outcome: the facts that it gives, or the error that says what is wrong.

An outcome is what a node does (containerd, Docker): what would be refused there is refused here, too, and what would
be unpacked is seen as it would be unpacked.
"""

import gzip
import hashlib
from dataclasses import dataclass, replace

import pytest
from backports import zstd

from portcullis.errors import DigestMismatch, LayerMalformed, LayerUnsupported, PortcullisError, TooLarge
from portcullis.inspection.layerfacts import EntryKind
from portcullis.limits import DEFAULT_LIMITS, MIB, Limits
from portcullis.model.image import Digest
from unit.inspection.tars import (
    END,
    GNU,
    PLAIN,
    Layer,
    Wanted,
    base256,
    entry,
    header,
    long_name,
    members,
    pax,
    sha256,
    tar,
)

ONE = tar(entry(b"app", data=b"x" * 1000))
DEEP = b"d/" * 50_000


@dataclass(frozen=True, slots=True)
class Refused:
    error: type[PortcullisError]
    message: str


Names = list[tuple[bytes, EntryKind, bytes]]
"""Of the entries, with their targets."""


def file(name: bytes) -> tuple[bytes, EntryKind, bytes]:
    return name, EntryKind.FILE, b""


def of(*parts: bytes) -> Layer:
    return Layer.of(tar(*parts))


def zeros_in_zstd(size: int) -> bytes:
    writer = zstd.ZstdCompressor(level=19)
    return b"".join([*(writer.compress(bytes(MIB)) for _ in range(size // MIB)), writer.flush()])


def many(count: int) -> bytes:
    return b"".join(header(b"f%d" % number) for number in range(count)) + END


SMALL = replace(DEFAULT_LIMITS, layer_entries=1000, layer_plain_bytes=8 * MIB, layer_ratio_above_bytes=MIB)
"""The bounds of production, made small enough to be crossed within a test."""

VECTORS: dict[str, tuple[Layer, Names | Refused]] = {
    # -- bombs
    "zip bomb by ratio, gzip": (
        Layer.of(ONE + bytes(4 * MIB), gzip.compress(ONE + bytes(4 * MIB))),
        Refused(TooLarge, "layerRatio"),
    ),
    "zip bomb by ratio, zstd": (
        Layer.of(bytes(4 * MIB), zeros_in_zstd(4 * MIB)),
        Refused(TooLarge, "layerRatio"),
    ),
    "zip bomb by total": (
        Layer.of(bytes(9 * MIB)),
        Refused(TooLarge, "layerPlainBytes"),
    ),
    "zip bomb in the data of one file": (
        Layer.of(tar(entry(b"big", data=bytes(4 * MIB))), gzip.compress(tar(entry(b"big", data=bytes(4 * MIB))))),
        Refused(TooLarge, "layerRatio"),
    ),
    "zip bomb in a file of another archive behind the end": (
        Layer.of(ONE + ONE + bytes(4 * MIB), gzip.compress(ONE) + gzip.compress(ONE + bytes(4 * MIB))),
        Refused(TooLarge, "layerRatio"),
    ),
    "entries without end": (Layer.of(many(1001), gzip.compress(many(1001))), Refused(TooLarge, "layerEntries")),
    "entries of nothing without end": (of(header(b".", b"5") * 1001), Refused(TooLarge, "layerEntries")),
    # -- names
    "a path of 100 kB, pax": (of(pax((b"path", DEEP)), header()), Refused(TooLarge, "a name of 100000 bytes")),
    "a path of 100 kB, GNU": (of(long_name(DEEP), header()), Refused(TooLarge, "a name of 100000 bytes")),
    "a target of 100 kB": (of(long_name(DEEP, b"K"), header(kind=b"2")), Refused(TooLarge, "a name of 100000 bytes")),
    "a path of 100 kB that comes to nothing": (
        of(pax((b"path", b"./" * 50_000 + b"x")), header()),
        Refused(TooLarge, "a name of 100001 bytes"),
    ),
    "a pax header of 2 MiB": (
        of(pax((b"comment", bytes(2 * MIB))), header()),
        Refused(TooLarge, "layerHeaderBytes"),
    ),
    "up and out": (of(header(b"../../../etc/shadow")), [file(b"etc/shadow")]),
    "down, up and out": (of(header(b"a/b/../../../../etc/shadow")), [file(b"etc/shadow")]),
    "absolute": (of(header(b"/etc/shadow"), header(b"//etc//shadow")), [file(b"etc/shadow")] * 2),
    "no name": (of(header(b""), header(b"next")), [file(b"next")]),
    "the root as a file": (of(entry(b"./", data=b"x"), header(b"next")), [file(b"next")]),
    "the root as a link": (of(header(b".", b"2", link=b"/etc"), header(b"next")), [file(b"next")]),
    "a NUL in a name": (of(pax((b"path", b"a\0b")), header()), Refused(LayerMalformed, "pax record")),
    "not UTF-8": (of(header(b"\xff\xfe\x80")), [file(b"\xff\xfe\x80")]),
    "control characters": (of(header(b"\x1b[2J\n\r")), [file(b"\x1b[2J\n\r")]),
    "a name twice": (of(header(b"a"), header(b"a", b"2", link=b"b")), [file(b"a"), (b"a", EntryKind.SYMLINK, b"b")]),
    "a name twice, spelled differently": (of(header(b"a/b"), header(b"./a//b")), [file(b"a/b")] * 2),
    "whiteouts are entries": (of(header(b".wh.a"), header(b".wh..wh..opq")), [file(b".wh.a"), file(b".wh..wh..opq")]),
    # -- links and devices
    "a device": (of(header(b"dev/sda", b"4", device=(8, 0))), [(b"dev/sda", EntryKind.BLOCK_DEVICE, b"")]),
    "a device whose number is negative": (
        of(header(b"null", b"3", device=(base256(-1, 8), 0))),
        [(b"null", EntryKind.CHARACTER_DEVICE, b"")],
    ),
    "a symlink to itself": (of(header(b"a", b"2", link=b"a")), [(b"a", EntryKind.SYMLINK, b"a")]),
    "a symlink to each other": (
        of(header(b"a", b"2", link=b"b"), header(b"b", b"2", link=b"a")),
        [(b"a", EntryKind.SYMLINK, b"b"), (b"b", EntryKind.SYMLINK, b"a")],
    ),
    "a symlink out": (
        of(header(b"a", b"2", link=b"../../../etc/shadow")),
        [(b"a", EntryKind.SYMLINK, b"../../../etc/shadow")],
    ),
    "a symlink to nothing": (of(header(b"a", b"2")), Refused(LayerMalformed, "a symlink to nothing")),
    "a hard link out": (of(header(b"a", b"1", link=b"../../x")), [(b"a", EntryKind.HARD_LINK, b"x")]),
    "a hard link to itself": (of(header(b"a", b"1", link=b"a")), [(b"a", EntryKind.HARD_LINK, b"a")]),
    "a hard link to the root": (of(header(b"a", b"1", link=b"..")), Refused(LayerMalformed, "hard link to the root")),
    "a hard link up from a folder": (
        of(header(b"a", b"1", link=b"link/../etc/shadow")),
        Refused(LayerMalformed, "goes up from a folder"),
    ),
    "a hard link with a body": (
        of(header(b"a", b"1", link=b"b", size=512), header(b"hidden")),
        [(b"a", EntryKind.HARD_LINK, b"b"), file(b"hidden")],
    ),
    "an owner that chown(2) takes for root": (
        of(header(uid=base256(2**32, 8))),
        Refused(LayerMalformed, "owned by 4294967296:0"),
    ),
    # -- what readers disagree about
    "a size in pax and another in the header": (
        of(pax((b"size", b"0")), header(b"a", size=512), header(b"hidden")),
        [file(b"a"), file(b"hidden")],
    ),
    "a pax path and a GNU long name": (of(pax((b"path", b"a")), long_name(b"b"), header()), [file(b"b")]),
    "records before a global header": (
        of(pax((b"path", b"a")), pax((b"comment", b"x"), kind=b"g", name=b"g"), header(b"b")),
        [file(b"b")],
    ),
    "a global header that would remove a file": (
        of(header(b"a"), pax((b"comment", b"x"), kind=b"g", name=b"a")),
        Refused(LayerMalformed, "a global header has the name of this entry"),
    ),
    "an archive behind the end": (Layer.of(ONE + tar(header(b"hidden"))), [file(b"app")]),
    "an entry behind one block of zeros": (
        Layer.of(ONE[:1536] + bytes(512) + header(b"hidden")),
        Refused(LayerMalformed, "a block of zeros is followed"),
    ),
    "a negative size": (of(header(size=base256(-512, 12))), Refused(LayerMalformed, "its size is negative")),
    "a type of another tar": (of(header(kind=b"M", magic=GNU)), Refused(LayerMalformed, "its type, 'M', is not known")),
    "a wrong checksum": (of(header(checksum=b"012345\0")), Refused(LayerMalformed, "the checksum of the header")),
    # -- compression
    "gzip members": (Layer.of(ONE, members(ONE, 5)), [file(b"app")]),
    "a gzip member cut off": (Layer.of(ONE, gzip.compress(ONE)[:-9]), Refused(LayerMalformed, "gzip member 1")),
    "the last of gzip members cut off": (
        Layer.of(ONE, members(ONE, 5)[:-1]),
        Refused(LayerMalformed, "cut off in gzip member 5"),
    ),
    "gzip with zeros behind": (
        Layer.of(ONE, gzip.compress(ONE) + bytes(100)),
        Refused(LayerMalformed, "gzip member 2 cannot"),
    ),
    "gzip where a plain tar is said": (Layer.of(ONE, gzip.compress(ONE), PLAIN), [file(b"app")]),
    "a plain tar where gzip is said": (Layer.of(ONE), [file(b"app")]),
    "gzip in gzip": (
        Layer.of(gzip.compress(ONE), gzip.compress(gzip.compress(ONE))),
        Refused(LayerMalformed, "the header is cut off"),
    ),
    "bzip2": (Layer.of(b"BZh91AY&SY" + bytes(90)), Refused(LayerUnsupported, "bzip2")),
    # -- descriptors
    "another digest": (Layer.of(ONE).but(digest=sha256(b"")), Refused(DigestMismatch, "its digest")),
    "another diffID": (Layer.of(ONE).but(diff_id=sha256(b"")), Refused(DigestMismatch, "diffID")),
    "the diffID of the blob": (
        Layer.of(ONE, gzip.compress(ONE)).but(diff_id=sha256(gzip.compress(ONE))),
        Refused(DigestMismatch, "diffID"),
    ),
    "a foreign layer": (
        Layer.of(ONE).but(media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        Refused(LayerUnsupported, "foreign"),
    ),
    "an encrypted layer": (
        Layer.of(ONE).but(media_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        Refused(LayerUnsupported, "encrypted"),
    ),
    "no layer": (
        Layer.of(ONE).but(media_type="application/vnd.in-toto+json"),
        Refused(LayerUnsupported, "in-toto"),
    ),
    "a page of a proxy": (
        Layer.of(b"<html>Please sign in</html>" * 99),
        Refused(LayerMalformed, "at 0 in the tar"),
    ),
}


def outcome(layer: Layer, limits: Limits) -> Names:
    facts = layer.read(Wanted(kept={b"etc/shadow": 1}), limits)
    return [(one.path, EntryKind(one.kind), one.link) for one in facts.entries]


@pytest.mark.parametrize(("layer", "expected"), VECTORS.values(), ids=VECTORS)
def test_bad_layers(layer: Layer, expected: Names | Refused) -> None:
    if isinstance(expected, Refused):
        with pytest.raises(expected.error, match=expected.message) as caught:
            outcome(layer, SMALL)
        assert type(caught.value) is expected.error
        assert caught.value.message.startswith("the layer under test")
    else:
        assert outcome(layer, SMALL) == expected


def test_a_million_entries() -> None:
    """In the bounds of production, which stop at half of them."""
    block = header(b"f") * 1000
    digest = hashlib.sha256()
    for _ in range(1000):
        digest.update(block)
    name = Digest(f"sha256:{digest.hexdigest()}")
    with pytest.raises(TooLarge, match="more entries than the limit layerEntries allows, 500000"):
        Layer(b"", name, name).read(pieces=(block for _ in range(1000)))
