"""From the blob to the tar: what is decompressed how, and what stops."""

import bz2
import gzip
import lzma
import random
import struct
from dataclasses import replace

import pytest
from backports import zstd

from portcullis.errors import LayerMalformed, LayerUnsupported, TooLarge
from portcullis.inspection.inflate import inflated
from portcullis.limits import DEFAULT_LIMITS, Limits
from unit.inspection.tars import cut, members

CONTENT = random.Random(1).randbytes(300_000) + bytes(700_000) + b"end"
SKIPPABLE = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
LONG_NAME = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 300_000 + b"\0"
"""The header of a gzip member with a file name over several pieces."""


def plain(blob: bytes, step: int = 4096, limits: Limits = DEFAULT_LIMITS) -> bytes:
    return b"".join(inflated(cut(blob, step), limits=limits, what="the layer"))


BLOBS = {
    "as it is": CONTENT,
    "gzip": gzip.compress(CONTENT),
    "gzip, stored": gzip.compress(CONTENT, 0),
    "gzip with a long file name": LONG_NAME + gzip.compress(CONTENT)[10:],
    "gzip in 7 members": members(CONTENT, 7),
    "gzip, an empty member between": gzip.compress(CONTENT[:9]) + gzip.compress(b"") + gzip.compress(CONTENT[9:]),
    "zstd": zstd.compress(CONTENT),
    "zstd in 3 frames": b"".join(zstd.compress(part) for part in cut(CONTENT, 400_000)),
    "zstd, a skippable frame first": SKIPPABLE + zstd.compress(CONTENT),
    "zstd, skippable frames between and last": (
        zstd.compress(CONTENT[:9]) + SKIPPABLE + zstd.compress(CONTENT[9:]) + SKIPPABLE
    ),
}


@pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS)
@pytest.mark.parametrize("step", [1000, 65_537, 10_000_000])
def test_the_plain_bytes_come_out_however_the_blob_is_cut(blob: bytes, step: int) -> None:
    assert plain(blob, step) == CONTENT


@pytest.mark.parametrize(
    ("blob", "content"),
    [
        (b"", b""),
        (b"x", b"x"),
        (gzip.compress(b"abc", mtime=0), b"abc"),
        (zstd.compress(b"abc"), b"abc"),
        (SKIPPABLE, b""),
    ],
)
def test_the_first_bytes_are_found_in_pieces_of_one_byte(blob: bytes, content: bytes) -> None:
    assert plain(blob, 1) == content


def test_empty_pieces_are_no_end() -> None:
    assert b"".join(inflated(iter([b"", b"ab", b"", b"c" * 20, b"", b"d"]), limits=DEFAULT_LIMITS, what="x")) == (
        b"ab" + b"c" * 20 + b"d"
    )


def test_pieces_stay_small_however_much_one_byte_inflates_to() -> None:
    for blob in (gzip.compress(bytes(20_000_000)), zstd.compress(bytes(20_000_000))):
        sizes = [len(piece) for piece in inflated(iter([blob]), limits=DEFAULT_LIMITS, what="x")]
        assert sum(sizes) == 20_000_000
        assert max(sizes) <= 256 * 1024


GZ, ZST = gzip.compress(CONTENT), zstd.compress(CONTENT, options={zstd.CompressionParameter.checksum_flag: 1})
DAMAGED = {
    "gzip cut off in its data": (GZ[:-100], "cut off in gzip member 1"),
    "gzip cut off in its trailer": (GZ[:-1], "cut off in gzip member 1"),
    "gzip cut off in its header": (GZ[:10], "cut off in gzip member 1"),
    "gzip, the second member cut off": (GZ + GZ[:-100], "cut off in gzip member 2"),
    "gzip, the second member's header cut off": (GZ + GZ[:3], "cut off in gzip member 2"),
    "gzip with a wrong checksum": (GZ[:-8] + bytes(4) + GZ[-4:], "gzip member 1 cannot"),
    "gzip with a wrong length": (GZ[:-4] + bytes(4), "gzip member 1 cannot"),
    "gzip with other data": (GZ[:1000] + bytes(50) + GZ[1050:], "gzip member 1 cannot"),
    "gzip, then text": (GZ + b"more than ten bytes", "gzip member 2 cannot"),
    "gzip, then zeros": (GZ + bytes(512), "gzip member 2 cannot"),
    "gzip, then zstd": (GZ + ZST, "gzip member 2 cannot"),
    "no more than the magic bytes": (b"\x1f\x8b\x08", "cut off in gzip member 1"),
    "zstd cut off": (ZST[:-1], "cut off in zstd frame 1"),
    "zstd, a skippable frame cut off": (ZST + SKIPPABLE[:-1], "cut off in zstd frame 2"),
    "zstd with a wrong checksum": (ZST[:-4] + bytes(4), "zstd frame 1 cannot"),
    "zstd, then zeros": (ZST + bytes(512), "zstd frame 2 cannot"),
    "zstd, then gzip": (ZST + GZ, "zstd frame 2 cannot"),
}


@pytest.mark.parametrize(("blob", "message"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("step", [10, 65_536, 10_000_000])
def test_what_is_damaged_is_refused(blob: bytes, message: str, step: int) -> None:
    with pytest.raises(LayerMalformed, match=message):
        plain(blob, step)


@pytest.mark.parametrize(
    ("blob", "name"),
    [(bz2.compress(b"x"), "bzip2"), (lzma.compress(b"x"), "xz"), (b"\x04\x22\x4d\x18" + bytes(9), "lz4")],
)
def test_other_compressions_are_named(blob: bytes, name: str) -> None:
    with pytest.raises(LayerUnsupported, match=name):
        plain(blob)


@pytest.mark.parametrize(
    ("blob", "name"),
    [(gzip.compress(b"", mtime=0) * 101, "gzip member"), (SKIPPABLE * 101, "zstd frame")],
)
def test_members_and_frames_are_counted(blob: bytes, name: str) -> None:
    assert plain(blob, limits=replace(DEFAULT_LIMITS, layer_members=101)) == b""
    with pytest.raises(TooLarge, match=f"more {name}s than the limit layerMembers allows, which is 100"):
        plain(blob, limits=replace(DEFAULT_LIMITS, layer_members=100))


def test_a_window_of_zstd_is_bounded() -> None:
    streamed = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 20})
    blob = streamed.compress(CONTENT) + streamed.flush()  # one that does not know its end keeps its window
    assert plain(blob, limits=replace(DEFAULT_LIMITS, layer_window_bytes=2**20)) == CONTENT
    with pytest.raises(TooLarge, match=r"zstd frame 1 .* layerWindowBytes allows, which is 524288"):
        plain(blob, limits=replace(DEFAULT_LIMITS, layer_window_bytes=2**19))
