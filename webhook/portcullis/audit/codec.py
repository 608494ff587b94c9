"""AuditRecord as JSON: what the store and the journal keep. ``audit show -o json`` has a flatter form of its own
(cli/records.py), with the field names that ``check`` prints.

    {"apiVersion": "portcullis.dev/v1", "kind": "AuditRecord", "sequence": 7,
     "request": {"uid", "username", "groups", "operation", "kind", "apiVersion", "resource", …},
     "caller", "webhookVersion", "sampled": true where the record is a sketch of what a stranger sent,
     "decision": {"id", "verdict", …, "violations": [], "undecided": [], "problems": [], "images": [], "inputHash"},
     "input": the judged policy input, byte for byte}

The *body* is that without ``sequence`` and ``input``: the store keeps inputs apart, once per content, and
``inputHash`` ties the two together. The names in the tables below are the format; they do not follow the names
of the model. Unknown names are ignored and names with a default may be missing, so that an older and a newer
version read each other's records.

Everything but the input is ASCII, other characters as ``\\u`` escapes: the lone surrogates and NULs that a
review may hold come back as they were, and any database can keep the text.
"""

import base64
import binascii
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from portcullis.model.decision import Decision, UndecidedPolicy, Violation
from portcullis.model.record import AuditRecord

API_VERSION = "portcullis.dev/v1"
KIND = "AuditRecord"

SAMPLED_BODY = f'{{"apiVersion":"{API_VERSION}","kind":"{KIND}","sampled":true,'
"""How the body of a sampled record begins, and no other."""

_SEPARATOR = b"\0"
"""Between body and document in a packed record; the body, being ASCII JSON, cannot hold it."""


class CodecError(ValueError):
    """The bytes are not an audit record."""


@dataclass(frozen=True, slots=True)
class _Each:
    """The attribute is a tuple of dataclasses, written by these names."""

    attribute: str
    names: "_Names"


_Names = Mapping[str, "str | _Each"]

_PROBLEM: _Names = {
    "stage": "stage",
    "reason": "reason",
    "retryable": "retryable",
    "image": "image",
    "msg": "msg",
    "pending": "pending",
    "etaSeconds": "eta_seconds",
}
_VIOLATION: _Names = {
    "policy": "policy",
    "mode": "mode",
    "severity": "severity",
    "container": "container",
    "containerKind": "container_kind",
    "image": "image",
    "digest": "digest",
    "platform": "platform",
    "field": "field",
    "msg": "msg",
    "fix": "fix",
    "docs": "docs",
    "details": "details",
    "exception": "exception",
    "exceptedUntil": "excepted_until",
}
_UNDECIDED: _Names = {
    "policy": "policy",
    "mode": "mode",
    "problems": _Each("problems", _PROBLEM),
    "exception": "exception",
    "exceptedUntil": "excepted_until",
}
_GRANT: _Names = {
    "namespace": "namespace",
    "name": "name",
    "uid": "uid",
    "policies": "policies",
    "images": "images",
    "digests": "digests",
    "coversProblems": "covers_problems",
    "reason": "reason",
    "created": "created",
    "expires": "expires",
}
_DECISION: _Names = {
    "id": "id",
    "verdict": "verdict",
    "code": "code",
    "because": "because",
    "message": "message",
    "warnings": "warnings",
    "retryAfterSeconds": "retry_after_seconds",
    "violations": _Each("violations", _VIOLATION),
    "undecided": _Each("undecided", _UNDECIDED),
    "problems": _Each("problems", _PROBLEM),
    "images": _Each("images", {"written": "written", "digest": "digest", "staleSince": "stale_since"}),
    "policyRevision": "policy_revision",
    "configRevision": "config_revision",
    "decidedAt": "decided_at",
    "elapsedMs": "elapsed_ms",
    "timings": "timings",
    "masked": "masked",
    "maskedPlaces": "masked_places",
    "grants": _Each("grants", _GRANT),
}
_REQUEST: _Names = {
    "uid": "uid",
    "username": "username",
    "groups": "groups",
    "operation": "operation",
    "kind": "kind",
    "apiVersion": "api_version",
    "resource": "resource",
    "subResource": "sub_resource",
    "namespace": "namespace",
    "name": "name",
    "dryRun": "dry_run",
}
_RECORD: _Names = {"caller": "caller", "webhookVersion": "webhook_version"}


def decision_json(decision: Decision) -> dict[str, Any]:
    """The decision as a JSON tree, without its document; ``inputHash`` is "" where there is none."""
    return {**_tree(decision, _DECISION), "inputHash": input_hash(decision.document)}


def part_json(part: Violation | UndecidedPolicy) -> dict[str, Any]:
    """A part of a decision as it stands in the decision's tree."""
    return _tree(part, _VIOLATION if isinstance(part, Violation) else _UNDECIDED)


def decision_of(tree: Any) -> Decision:
    """The decision of :func:`decision_json`, without its document.

    Raises:
        CodecError: a field is missing or has a wrong form.
    """
    try:
        return msgspec.convert({**_attributes(tree, _DECISION), "document": b""}, Decision)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CodecError(f"a field of the decision is missing or has a wrong form: {error}") from None


def request_json(record: AuditRecord) -> dict[str, Any]:
    """What was asked and by whom, as a JSON tree."""
    return _tree(record, _REQUEST)


def input_hash(document: bytes) -> str:
    """``sha256:<hex>`` of a judged input; "" for none."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}" if document else ""


def encode_body(record: AuditRecord) -> bytes:
    """The record without its sequence and input, as ASCII JSON. Never raises for what the model allows."""
    return dump(_body(record))


def decode_body(body: bytes, *, document: bytes = b"", sequence: int = 0) -> AuditRecord:
    """The record of a body. The document is not compared with ``inputHash``: searches leave it out.

    Raises:
        CodecError: the body is not what :func:`encode_body` makes.
    """
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"the record is not JSON: {error}") from None
    return _record(tree, document, sequence)


def encode(record: AuditRecord) -> bytes:
    """The whole record as JSON text. A document that is no JSON text of its own (there should be none) stands
    under ``inputBase64`` instead of ``input``."""
    tree = _body(record)
    head = {"apiVersion": tree.pop("apiVersion"), "kind": tree.pop("kind"), "sequence": record.sequence}
    text = dump({**head, **tree})
    document = record.decision.document
    if not document:
        return text
    if _is_json_text(document):
        return text[:-1] + b',"input":' + document + b"}"
    return text[:-1] + b',"inputBase64":"' + base64.b64encode(document) + b'"}'


def decode(data: bytes) -> AuditRecord:
    """The record that :func:`encode` wrote, the input byte for byte.

    Raises:
        CodecError: not such a record, or its input is not the one that ``inputHash`` names.
    """
    tree, document = _split(data)
    record = _record(tree, document, tree.get("sequence", 0))
    claimed = tree["decision"].get("inputHash")
    if claimed != input_hash(document):
        raise CodecError(f"the input has the hash {input_hash(document)!r}, the record says {str(claimed)[:80]!r}")
    return record


def pack(record: AuditRecord) -> bytes:
    """Body and document in one piece, for the journal: nothing is parsed or copied twice."""
    return encode_body(record) + _SEPARATOR + record.decision.document


def unpack(packed: bytes) -> AuditRecord:
    """The record that :func:`pack` wrote.

    Raises:
        CodecError: not such a record.
    """
    body, separator, document = packed.partition(_SEPARATOR)
    if not separator:
        raise CodecError("the record is cut off")
    return decode_body(body, document=document)


# -- writing -----------------------------------------------------------------------------------------------------


def _body(record: AuditRecord) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        **({"sampled": True} if record.sampled else {}),
        "request": _tree(record, _REQUEST),
        **_tree(record, _RECORD),
        "decision": decision_json(record.decision),
    }


def _tree(value: Any, names: _Names) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, place in names.items():
        if isinstance(place, _Each):
            tree[name] = [_tree(one, place.names) for one in getattr(value, place.attribute)]
        else:
            plain = getattr(value, place)
            tree[name] = _instant(plain) if isinstance(plain, datetime) else plain
    return tree


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def dump(tree: Mapping[str, Any]) -> bytes:
    """The tree as one line of ASCII JSON. Never raises for what the model allows."""
    try:
        return _compact(tree)
    except (ValueError, TypeError, RecursionError):
        # Only a policy's ``details`` hold values that are not ours: Infinity (what 1e999 is read as), integers
        # of thousands of digits, nesting without end. The record must be kept all the same.
        return _compact(_writable(tree, depth=0))


def _compact(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, separators=(",", ":"), allow_nan=False, default=_plain_mapping).encode("ascii")


def _plain_mapping(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_DEPTH = 100
_INTEGER_BITS = 8192


def _writable(value: Any, depth: int) -> Any:
    """``value`` with what JSON cannot carry replaced by a text that names it."""
    if isinstance(value, Mapping | list | tuple) and depth > _DEPTH:
        return "(nested too deeply to be kept)"
    if isinstance(value, Mapping):
        return {str(key): _writable(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one, depth + 1) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        return f"(an integer of {value.bit_length()} bits)"
    if value is None or isinstance(value, str | int | float):
        return value
    return f"({type(value).__name__})"


def _is_json_text(document: bytes) -> bool:
    """Whether the document can stand inside another JSON text and come out as it went in."""
    try:
        json.loads(document.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return document.strip() == document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# -- reading -----------------------------------------------------------------------------------------------------

_BLANK = re.compile(r"[ \t\n\r]*")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The members of the top-level object, and the exact text of its input.

    The standard scanner is used member by member, for it alone says where a value ends and reads the lone
    surrogates that a record may hold (msgspec refuses them).
    """
    try:
        text = data.decode()
        tree: dict[str, Any] = {}
        document = b""
        scanner = json.JSONDecoder()
        at = _after(text, 0, "{")
        while True:
            key, at = scanner.raw_decode(text, at)
            start = _after(text, at, ":")
            value, at = scanner.raw_decode(text, start)
            tree[str(key)] = value
            if key == "input":
                document = text[start:at].encode()
            elif key == "inputBase64":
                document = base64.b64decode(value, validate=True)
            end = _skip(text, at)
            if text[end : end + 1] == "}" and not text[end + 1 :].strip():
                return tree, document
            at = _after(text, at, ",")
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise CodecError(f"the record is not JSON: {error}") from None


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _after(text: str, at: int, wanted: str) -> int:
    """The place behind ``wanted`` and the blanks around it."""
    at = _skip(text, at)
    if text[at : at + 1] != wanted:
        raise ValueError(f"{wanted!r} expected at character {at}")
    return _skip(text, at + 1)


def _record(tree: Any, document: bytes, sequence: Any) -> AuditRecord:
    if not isinstance(tree, Mapping) or tree.get("apiVersion") != API_VERSION or tree.get("kind") != KIND:
        raise CodecError(f"not a {KIND} of {API_VERSION}")
    try:
        decision = {**_attributes(tree["decision"], _DECISION), "document": b""}
        fields = {
            **_attributes(tree["request"], _REQUEST),
            **_attributes(tree, _RECORD),
            "sampled": tree.get("sampled", False),
            "decision": decision,
            "sequence": sequence,
        }
        record = msgspec.convert(fields, AuditRecord)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CodecError(f"a field of the record is missing or has a wrong form: {error}") from None
    if not document:
        return record
    return dataclasses.replace(record, decision=dataclasses.replace(record.decision, document=document))


def _attributes(tree: Any, names: _Names) -> dict[str, Any]:
    """The names of the model for those of the format."""
    if not isinstance(tree, Mapping):
        raise TypeError(f"an object expected, not {type(tree).__name__}")
    attributes: dict[str, Any] = {}
    for name, place in names.items():
        if name not in tree:
            continue
        if isinstance(place, _Each):
            attributes[place.attribute] = [_attributes(one, place.names) for one in tree[name]]
        else:
            attributes[place] = tree[name]
    return attributes
