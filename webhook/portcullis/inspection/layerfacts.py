"""What is kept of one layer: every entry of its tar, and the little that was read of bodies.

Names are bytes, as they are in the tar: a layer may hold any. They are clean: no leading slash, no empty part, no
``.`` and no ``..``; the root is ``b""``. Entries stand in the order of the tar, a repeated name too (the last one
counts), because runtimes unpack them in that order.
"""

from enum import IntEnum

import msgspec

from portcullis.inspection import packing

VERSION = 1
"""Part of the key under which layer facts are kept; raised whenever their meaning changes."""


class EntryKind(IntEnum):
    FILE = 0
    HARD_LINK = 1
    SYMLINK = 2
    CHARACTER_DEVICE = 3
    BLOCK_DEVICE = 4
    FOLDER = 5
    FIFO = 6


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False, omit_defaults=True):
    """One entry of the tar.

    ``mode`` holds the permission bits (0o7777). ``size`` is that of the file's content; of a sparse file the
    whole, holes included. ``link`` is the target of a symlink as written, and of a hard link the clean name.
    ``device`` is (major, minor) of a device. ``capability`` is the raw xattr ``security.capability``.
    ``marks`` are what the probes said of the body.
    """

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    capability: bytes = b""
    marks: tuple[str, ...] = ()


class PackageRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    name: str
    version: str
    architecture: str


class PackageDatabase(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The packages that one database file names. ``fault`` says why it could not be read, "" where it could."""

    path: bytes
    manager: str
    packages: tuple[PackageRow, ...] = ()
    fault: str = ""


class LayerFacts(msgspec.Struct, frozen=True):
    """One layer, its digest and diffID verified.

    Args:
        digest, diff_id: of the blob and of the tar in it.
        compressed_bytes, plain_bytes: their sizes.
        entries: see :class:`Entry`; whiteouts are entries like any other here.
        bodies: by clean name, those that were kept whole (passwd, group, os-release and what was asked for).
        oversized: names of bodies that would have been kept and are longer than their cap.
        databases: the package databases, already read.
    """

    digest: str
    diff_id: str
    compressed_bytes: int
    plain_bytes: int
    entries: tuple[Entry, ...]
    bodies: dict[bytes, bytes] = {}
    oversized: tuple[bytes, ...] = ()
    databases: tuple[PackageDatabase, ...] = ()


_PACKED_BYTES = 512 * 1024 * 1024
"""Of the facts of one layer before they are compressed: ``Limits.layer_entries`` with long names stay below."""


def pack(facts: LayerFacts) -> bytes:
    """The facts as they are kept: MessagePack, compressed."""
    return packing.pack(facts)


def unpack(content: bytes) -> LayerFacts:
    """What :func:`pack` made.

    Raises:
        ValueError: it is not that.
    """
    return packing.unpack(content, LayerFacts, most=_PACKED_BYTES, what="facts of a layer")
