"""Strict decoding of what was signed: one meaning per byte string, or a refusal."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from portcullis.evidence.refusal import ATTESTATION_INVALID, TOO_LARGE, EvidenceError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.strictjson import StrictJsonError, load_json


def parse_json(data: bytes, *, limits: Limits, what: str) -> Any:
    """The JSON tree in ``data``.

    Args:
        data: JSON text in UTF-8 without a byte order mark; its size is bounded by who read it.
        limits: ``json_depth`` and ``json_values``.
        what: what it is, for messages ("the envelope").

    Raises:
        EvidenceError: it is no JSON, or it can be read in two ways, or it is nested too deep.
    """
    # Counted before anything is built. Commas in texts count too, which the limit has room for.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > limits.json_values:
        raise EvidenceError(f"{what} has more values than the limit jsonValues ({limits.json_values})", TOO_LARGE)
    try:
        return load_json(data, max_depth=limits.json_depth)
    except StrictJsonError as error:
        reason = TOO_LARGE if error.too_deep else ATTESTATION_INVALID
        raise EvidenceError(f"{what} {error.problem}", reason) from None


def parse_object(data: bytes, *, limits: Limits, what: str) -> JSONObject:
    """As :func:`parse_json`, where the root must be an object."""
    return as_object(parse_json(data, limits=limits, what=what), what)


def decode_base64(value: object, what: str) -> bytes:
    """Bytes from standard, padded base64 (RFC 4648 section 4) in its one canonical spelling.

    Lenient decoders skip what is no base64 and ignore the last bits, so that many texts mean the same bytes.

    Raises:
        EvidenceError: it is no text, holds other characters (those of URL-safe base64 too), or lacks padding.
    """
    encoded = as_text(value, what)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceError(f"{what} is not standard base64") from None
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise EvidenceError(f"{what} is not canonical base64")
    return decoded


def as_object(value: object, what: str) -> JSONObject:
    if not isinstance(value, dict):
        raise EvidenceError(f"{what} is {_kind(value)}, not an object")
    return value


def as_list(value: object, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise EvidenceError(f"{what} is {_kind(value)}, not an array")
    return value


def as_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise EvidenceError(f"{what} is {_kind(value)}, not a string")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing or null"
        case bool():
            return "a boolean"
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return "a string"
        case _:
            return "a number"
