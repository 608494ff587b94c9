"""Strict decoding of what was signed: one meaning per byte string, or a refusal."""

import base64
import binascii
import re
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
_PAYLOAD = re.compile(rb'"payload"\s*:\s*"')
_INSTEAD = 7_041_776_018_340_925_163
"""A number that nobody else writes; who does is read without haste."""
_NO_VALUES = bytes(set(range(256)) - set(b",[{"))

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


def parse_carrier(data: bytes, *, limits: Limits, what: str) -> JSONObject:
    """As :func:`parse_object`, for an envelope or what holds one under ``dsseEnvelope``: where its ``payload`` is long
    it is a :class:`LongText`, which :func:`decode_base64` takes. Reading it as a text takes as long as all the rest.

    The proof that nothing else is read than :func:`parse_object` would:

    (1) what is cut out goes from a quote to the next one and has no escapes, and a number is put into its place that
        stands nowhere else;
    (2) a line break is put before that number, which no text of JSON may hold: what is left is strict JSON, so the
        number stands outside of texts, and what was cut out is one text;
    (3) the number is the payload now, so that text was.

    Of what is in the text nothing is said but that: :func:`decode_base64` looks at each character.
    """
    cut = _long_payload(data)
    if cut is None:
        return parse_object(data, limits=limits, what=what)
    # (1) the text, wherever it stands
    before, after = data[: cut.start], data[cut.stop :]
    number = b"%d" % _INSTEAD
    # (2) the rest
    document: Any = parse_object(b"%b\n%b\n%b" % (before, number, after), limits=limits, what=what)
    # (3) that it was the payload
    for place in (document, document.get("dsseEnvelope")):
        payload = place.get("payload") if isinstance(place, dict) else None
        if type(payload) is int and payload == _INSTEAD and number not in before and number not in after:
            place["payload"] = LongText(data[cut])
            return as_object(document, what)
    return parse_object(data, limits=limits, what=what)


def _long_payload(data: bytes) -> slice | None:
    """Where a long text without escapes stands, with its quotes, that seems to be the payload."""
    if len(data) < _LONG_BYTES:
        return None
    for found in _PAYLOAD.finditer(data):
        end = data.find(b'"', found.end()) + 1
        if end - found.end() >= _LONG_BYTES // 2:
            return None if data.find(b"\\", found.end(), end) >= 0 else slice(found.end() - 1, end)
    return None


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
    if len(data) > limits.json_values and len(data.translate(None, _NO_VALUES)) > limits.json_values:
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
