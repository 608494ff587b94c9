"""How the gate and the processes that read layers speak: frames over pipes, and what is in them.

The gate sends a :class:`Setup` and then jobs, one at a time. To a :class:`LayerJob` belong pieces of the blob, ended
by an empty frame (or by ``ABANDON``, where the blob could not be had); to an :class:`ImageJob` as many frames of
layer facts as it says. Each job is answered by one frame, an :class:`Answer`.

What the gate reads is MessagePack of declared types and never anything that could run code: a process that read a
hostile layer may have been taken over.
"""

import struct
from typing import Final

import msgspec

from portcullis.limits import Limits
from portcullis.model.image import PlatformImage

HEAD: Final = struct.Struct(">I")
"""Length of the frame in bytes."""

ABANDON: Final = 0xFFFFFFFF
"""Instead of a length: there will be no more pieces, and the job is to be forgotten."""

PIECE_BYTES: Final = 1024 * 1024
"""Of a blob, in one frame."""


class Setup(msgspec.Struct, frozen=True):
    """What every job of a process shares. ``catalogues`` are the operator's, (name, TOML text) each."""

    limits: Limits
    catalogues: tuple[tuple[str, str], ...]


class LayerJob(msgspec.Struct, frozen=True, tag="layer"):
    """Read one layer. ``extra`` are names of files whose content is kept, beside the usual ones."""

    media_type: str
    digest: str
    diff_id: str
    what: str
    extra: tuple[bytes, ...] = ()


class ImageJob(msgspec.Struct, frozen=True, tag="image"):
    """Merge layers and look for what the catalogue describes."""

    image: PlatformImage
    layers: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """``content`` is compressed facts of a layer, or encoded contents of an image."""

    content: bytes


class Missing(msgspec.Struct, frozen=True, tag="missing"):
    """An image cannot be judged before layers were read again, each with the names of files that are wanted."""

    wanted: dict[str, tuple[bytes, ...]]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """``kind`` is the name of an error of errors.py."""

    kind: str
    message: str


class Abandoned(msgspec.Struct, frozen=True, tag="abandoned"):
    """The job was forgotten, as asked."""


Answer = Done | Missing | Failed | Abandoned


def framed(content: bytes) -> bytes:
    return HEAD.pack(len(content)) + content
