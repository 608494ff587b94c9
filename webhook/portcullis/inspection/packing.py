"""How values travel between processes and are kept: MessagePack of declared types, compressed where they are kept.

Reading never runs code of whoever wrote: what is read is of the type that was asked for, or an error.
"""

from typing import Any, Final, TypeVar

import msgspec
from isal import igzip_lib, isal_zlib

from portcullis.model.image import Digest

T = TypeVar("T")

ISAL_ERROR: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub has an instance
"""What isal raises for bytes that it cannot inflate."""


def encode(value: object) -> bytes:
    """MessagePack of a struct or dataclass."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def decode(content: bytes, kind: Any) -> Any:
    """A value of that type.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.msgpack.decode(content, type=kind, dec_hook=_digest)


def pack(value: object) -> bytes:
    """The value as it is kept."""
    return isal_zlib.compress(encode(value), 1)


def unpack(content: bytes, kind: type[T], *, most: int, what: str) -> T:
    """What :func:`pack` made.

    Args:
        most: bytes that it may have before it was compressed.
        what: it is, in the plural, for the message.

    Raises:
        ValueError: it is not that.
    """
    inflater = isal_zlib.decompressobj()
    try:
        plain = inflater.decompress(content, most)
        if not inflater.eof or inflater.unused_data:
            raise ValueError(f"{what} are cut off, or are followed by something else")
        found: T = decode(plain, kind)
    except (ISAL_ERROR, msgspec.DecodeError) as error:
        raise ValueError(f"{what} cannot be read: {error}") from None
    return found


def _plain(value: object) -> object:
    if isinstance(value, str):  # a Digest
        return str(value)
    raise TypeError(f"{type(value).__name__} does not travel")


def _digest(kind: type, value: object) -> object:
    if kind is Digest and isinstance(value, str):
        return Digest(value)
    raise TypeError(f"{kind.__name__} does not travel")
