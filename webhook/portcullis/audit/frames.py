"""Frames: pieces of bytes in an append-only file that survive a write which was cut off.

    frame = marker (4 bytes) + length (4) + crc32 of length and payload (4) + payload        (big endian)

The length is under the checksum and never 0, so that the zeros that a file system may leave at the end of a file
after a power failure are no frame. The marker begins with 0xFF, which UTF-8 text never holds: behind a damaged
frame the next whole one is found, and nothing inside a record can pose as a frame.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Protocol

MARKER = b"\xffPJ1"
_HEAD = struct.Struct(">4sII")
HEAD_BYTES = _HEAD.size


class Bytes(Protocol):
    """What is read: bytes, or a mapped file."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def find(self, wanted: bytes, start: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Scan:
    """What a file holds: ``frames`` whole frames; ``end`` of the last of them; ``damaged`` bytes before that end
    that belong to none (they were whole once: the disk or somebody changed them); ``torn`` bytes after it, of a
    write that was never finished and so never answered for."""

    frames: int
    end: int
    damaged: int
    torn: int


def frame(payload: bytes) -> bytes:
    """The frame of a payload that is not empty."""
    return _HEAD.pack(MARKER, len(payload), _checksum(payload)) + payload


def next_frame(content: Bytes, at: int) -> tuple[int, int] | None:
    """The first whole frame at or behind ``at`` as (start, end); None where there is none.

    Its payload is ``content[start + HEAD_BYTES : end]``.
    """
    size = len(content)
    while (at := content.find(MARKER, at)) >= 0:
        head = content[at : at + HEAD_BYTES]
        if len(head) < HEAD_BYTES:
            return None
        _, length, checksum = _HEAD.unpack(head)
        end = at + HEAD_BYTES + length
        if length > 0 and end <= size and _checksum(content[at + HEAD_BYTES : end]) == checksum:
            return at, end
        at += 1
    return None


def scan(content: Bytes) -> Scan:
    """Walks over all frames."""
    frames = end = damaged = 0
    while (found := next_frame(content, end)) is not None:
        frames += 1
        damaged += found[0] - end
        end = found[1]
    return Scan(frames=frames, end=end, damaged=damaged, torn=len(content) - end)


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack(">I", len(payload))))
