"""From the bytes of a blob to those of its tar: gzip, zstd, or as they are; never more at once than is asked for.

What a layer is compressed with is told by its first bytes and not by its media type, because that is what unpacks it
on a node: containerd looks at them for its Docker types and for those that end in ``+gzip`` or ``+zstd``, Docker and
CRI-O for all (containerd pkg/archive/compression, moby go-archive compression). Where one of them would refuse what
another reads, it is read.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from isal import igzip_lib

from portcullis.errors import LayerMalformed, LayerUnsupported, TooLarge
from portcullis.inspection.packing import ISAL_ERROR
from portcullis.limits import Limits

if sys.version_info >= (3, 14):
    from compression import zstd  # deptry: ignore[DEP001]
else:
    from backports import zstd

_HEAD: Final = 10
"""Bytes that containerd looks at."""
_IN: Final = 128 * 1024
"""Compressed bytes in one step. What follows the end of a member is copied, once for each member: were all of a big
piece handed in at once, many small members in it would cost its square."""
_OUT: Final = 256 * 1024
"""Plain bytes in one step: they stay in the processor's cache until they are hashed and walked."""

_GZIP: Final = b"\x1f\x8b\x08"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ERRORS: Final = (ISAL_ERROR, zstd.ZstdError)
_OTHERS: Final = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "lz4"}
"""What Docker and CRI-O may read, or what could be expected."""


class _Decompressor(Protocol):
    """Of one gzip member (RFC 1952) or zstd frame (RFC 8878)."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


def inflated(pieces: Iterator[bytes], *, limits: Limits, what: str) -> Iterator[bytes]:
    """The plain bytes, in pieces of at most 256 KiB where they are compressed, and as they came where not.

    Several gzip members or zstd frames, one behind the other, are one stream; skippable frames hold nothing. No byte
    may follow the last of them: Go's readers refuse it, zeros too. No byte at all is an empty tar, as for containerd.

    Raises:
        LayerMalformed: what is compressed is damaged, is cut off, or is followed by something else.
        LayerUnsupported: it is compressed in another way.
        TooLarge: layerMembers or layerWindowBytes are crossed.
    """
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _HEAD:
            break
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise LayerUnsupported(f"{what} is compressed with {name}, which is not read")
    if head.startswith(_GZIP):
        yield from _members(head, pieces, _gzip_member, "gzip member", limits, what)
    elif head.startswith(_ZSTD) or _is_skippable(head):
        window = max(limits.layer_window_bytes.bit_length() - 1, 10)
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: window}
        yield from _members(head, pieces, lambda: zstd.ZstdDecompressor(options=options), "zstd frame", limits, what)
    else:
        if head:
            yield head
        yield from filter(None, pieces)


def _is_skippable(head: bytes) -> bool:
    """RFC 8878 section 3.1.2."""
    return len(head) >= 8 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"


def _gzip_member() -> _Decompressor:
    # Header and trailer are read, and the checksum is compared.
    decompressor: _Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decompressor


def _members(
    head: bytes, pieces: Iterator[bytes], new: Callable[[], _Decompressor], name: str, limits: Limits, what: str
) -> Iterator[bytes]:
    decompressor: _Decompressor | None = None
    members = 0
    try:
        for data in _steps(head, pieces):
            left: bytes | memoryview = data
            while left:
                if decompressor is None:
                    decompressor = new()
                    members += 1
                    if members > limits.layer_members:
                        raise TooLarge(
                            f"{what} has more {name}s than the limit layerMembers allows, which is"
                            f" {limits.layer_members}"
                        )
                plain = decompressor.decompress(left, _OUT)
                while True:
                    if plain:
                        yield plain
                    if decompressor.eof or decompressor.needs_input:
                        break
                    plain = decompressor.decompress(b"", _OUT)
                left = b""
                if decompressor.eof:
                    left = decompressor.unused_data
                    decompressor = None
    except _ERRORS as error:
        if "too much memory" in str(error):
            raise TooLarge(
                f"{what}: zstd frame {members} needs a larger window than the limit layerWindowBytes allows, which is"
                f" {limits.layer_window_bytes}"
            ) from None
        raise LayerMalformed(f"{what}: {name} {members} cannot be decompressed: {error}") from None
    if decompressor is not None:
        raise LayerMalformed(f"{what} is cut off in {name} {members}")


def _steps(head: bytes, pieces: Iterator[bytes]) -> Iterator[memoryview]:
    piece: bytes | None = head
    while piece is not None:
        view = memoryview(piece)
        for at in range(0, len(view), _IN):
            yield view[at : at + _IN]
        piece = next(pieces, None)
