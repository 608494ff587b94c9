"""Strict decoding of what was signed: one meaning per byte string, or a refusal."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from portcullis.evidence.refusal import ATTESTATION_INVALID, TOO_LARGE, EvidenceError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.strictjson import StrictJsonError, check_json, load_json
from portcullis.text import clean

_FAULT_CHARS = 200
_LONG_BYTES = 32 * 1024
"""From which a payload is taken out of its envelope before that is parsed: below, it takes longer than it saves."""
_NEEDLE = 256

_Typed = TypeVar("_Typed")


def parse_json(data: bytes, *, limits: Limits, what: str) -> Any:
    """The JSON tree in ``data``.

    Args:
        data: JSON text in UTF-8 without a byte order mark; its size is bounded by who read it.
        limits: ``json_depth`` and ``json_values``.
        what: what it is, for messages ("the envelope").

    Raises:
        EvidenceError: it is no JSON, or it can be read in two ways, or it is nested too deep.
    """
    _bound_values(data, limits, what)
    try:
        return load_json(data, max_depth=limits.json_depth)
    except StrictJsonError as error:
        raise _not_strict(error, what) from None


def require_strict(data: bytes, *, limits: Limits, what: str) -> None:
    """That ``data`` is JSON with one meaning, as :func:`parse_json` has it, without making a tree of it.

    Whoever reads it afterwards need not look for keys that stand twice (:func:`decode_typed`).

    Raises:
        EvidenceError: as there, with the same words.
    """
    _bound_values(data, limits, what)
    try:
        check_json(data, max_depth=limits.json_depth)
    except StrictJsonError as error:
        raise _not_strict(error, what) from None


def parse_object(data: bytes, *, limits: Limits, what: str) -> JSONObject:
    """As :func:`parse_json`, where the root must be an object."""
    return as_object(parse_json(data, limits=limits, what=what), what)


def decode_typed(data: bytes, kind: type[_Typed], what: str) -> _Typed:
    """``data`` as ``kind`` (msgspec types), unknown fields passed over.

    Args:
        data: JSON whose strictness was proven before (:func:`parse_json`, or what the verifier does with a payload):
            here nothing looks for duplicate keys.
        what: what it is, for messages; the place of a fault is added.

    Raises:
        EvidenceError: it has another shape (attestation-invalid).
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{what} has another shape than expected: {clean(str(error), _FAULT_CHARS)}") from None
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise EvidenceError(f"{what} is no JSON that can be read: {clean(str(error), _FAULT_CHARS)}") from None


@dataclass(frozen=True, slots=True)
class LongText:
    """A long text of JSON, as it stands there between its quotes, which are with it. It has no escapes."""

    quoted: bytes = field(repr=False)


class _Envelope(msgspec.Struct):
    payload: msgspec.Raw = msgspec.Raw()


class _Carrier(msgspec.Struct, rename="camel"):
    payload: msgspec.Raw = msgspec.Raw()
    dsse_envelope: _Envelope = msgspec.field(default_factory=_Envelope)


def parse_carrier(data: bytes, *, limits: Limits, what: str) -> JSONObject:
    """As :func:`parse_object`, for an envelope or what holds one under ``dsseEnvelope``: where its ``payload`` is long
    it is a :class:`LongText`, which :func:`decode_base64` takes. Reading it as a text takes as long as all the rest.

    The proof that nothing else is read than :func:`parse_object` would:

    (1) what is cut out is one string, from quote to quote, and an empty one is put into its place;
    (3) it is the empty string now, which it was not before: so that is what was cut out, and nothing else changed.
    (3) it is the empty string now, which it was not before: so it is what was cut out, and nothing else changed.
    """
    # (1) the string, wherever it stands
    payload, enveloped = _long_payload(data)
    at = data.find(payload[:_NEEDLE]) if payload else -1
    if at < 0 or data[at : at + len(payload)] != payload:
        return parse_object(data, limits=limits, what=what)
    # (2) the rest
    document = parse_object(data[:at] + b'""' + data[at + len(payload) :], limits=limits, what=what)
    # (3) that it was the payload
    place = document.get("dsseEnvelope") if enveloped else document
    if isinstance(place, dict) and place.get("payload") == "":
        place["payload"] = LongText(payload)
        return document
    return parse_object(data, limits=limits, what=what)


def _long_payload(data: bytes) -> tuple[bytes, bool]:
    """The payload with its quotes, and whether it is that of a ``dsseEnvelope``; b"" where there is none that is long,
    a text, and free of escapes."""
    if len(data) < _LONG_BYTES:
        return b"", False
    try:
        carrier = msgspec.json.decode(data, type=_Carrier)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return b"", False
    own, inner = bytes(carrier.payload), bytes(carrier.dsse_envelope.payload)
    enveloped = len(inner) > len(own)
    payload = inner if enveloped else own
    is_text = payload[:1] == b'"' and payload.count(b'"') == 2 and b"\\" not in payload
    return (payload if is_text and len(payload) >= _LONG_BYTES // 2 else b""), enveloped


def decode_base64(value: object, what: str) -> bytes:
    """Bytes from standard, padded base64 (RFC 4648 section 4) in its one canonical spelling.

    Lenient decoders skip what is no base64 and ignore the last bits, so that many texts mean the same bytes.

    Raises:
        EvidenceError: it is no text, holds other characters (those of URL-safe base64 too), or lacks padding.
    """
    if isinstance(value, LongText):
        return _decode_long(value.quoted, what)
    encoded = as_text(value, what)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceError(f"{what} is not standard base64") from None
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise EvidenceError(f"{what} is not canonical base64")
    return decoded


def _decode_long(quoted: bytes, what: str) -> bytes:
    """msgspec decodes the same language three times as fast as :mod:`base64` does. Other spellings of the same bytes
    differ in the last four characters only, where bits are unused."""
    try:
        decoded = msgspec.json.decode(quoted, type=bytes)
    except (msgspec.MsgspecError, ValueError):
        raise EvidenceError(f"{what} is not standard base64") from None
    last = len(decoded) % 3 or 3
    if base64.b64encode(decoded[-last:]) != quoted[-5:-1]:
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


def _bound_values(data: bytes, limits: Limits, what: str) -> None:
    """Counted before anything is built. Commas in texts count too, which the limit has room for."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > limits.json_values:
        raise EvidenceError(f"{what} has more values than the limit jsonValues ({limits.json_values})", TOO_LARGE)


def _not_strict(error: StrictJsonError, what: str) -> EvidenceError:
    return EvidenceError(f"{what} {error.problem}", TOO_LARGE if error.too_deep else ATTESTATION_INVALID)


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
