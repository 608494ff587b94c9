"""Fields of which only a later look says what type they have: kept as JSON text, where they are there."""

from typing import TypeVar

import msgspec

from portcullis.evidence.decode import decode_typed

_Typed = TypeVar("_Typed")


def is_given(raw: msgspec.Raw) -> bool:
    """Whether the field stands in the document and is not null; its default is an empty text."""
    return bytes(raw) not in {b"", b"null"}


def decode_given(raw: msgspec.Raw, kind: type[_Typed], what: str) -> _Typed | None:
    """The field as ``kind``; None where it is not given.

    Raises:
        EvidenceError: it has another shape (attestation-invalid).
    """
    return decode_typed(bytes(raw), kind, what) if is_given(raw) else None
