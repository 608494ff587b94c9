"""AdmissionReview of admission.k8s.io/v1: bytes to model, decision to bytes.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ and the Go types
of k8s.io/api/admission/v1. Reading is exact in case; fields that are not read here stay in ``raw``.

What is refused although it is JSON, because a later reader could understand it otherwise than the API server did:
a key that stands twice in one object, an integer outside 64 bits, half of a surrogate pair. The API server itself
sends none of them. An integer inside 64 bits stays the integer that it is, also above 2^53.
"""

import base64
import json
import re
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import msgspec

from portcullis.errors import ReviewError
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.json import JSONObject
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.text import clean, quoted

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"

STATUS_REASONS: Mapping[int, str] = {
    400: "BadRequest",
    403: "Forbidden",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
"""Code to StatusReason (k8s.io/apimachinery/pkg/apis/meta/v1)."""

_UID = re.compile(r"[!-~]{1,128}")
"""The API server sends a UUID. It is echoed and logged, so nothing that could break a line is taken for one."""

_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_STEPS = bytes.maketrans(b"{[}]", bytes([1, 1, 255, 255]))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_MARK = re.compile(rb'["{}\[\]:,]')


class _Kind(msgspec.Struct, kw_only=True):
    group: str = ""
    version: str
    kind: str


class _Resource(msgspec.Struct, kw_only=True):
    group: str = ""
    version: str
    resource: str


class _User(msgspec.Struct, kw_only=True):
    username: str = ""
    uid: str = ""
    groups: list[str] | None = None


class _Request(msgspec.Struct, kw_only=True, rename="camel"):
    uid: str
    kind: _Kind
    resource: _Resource
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    operation: Operation
    user_info: _User
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool | None = None


class _Review(msgspec.Struct, kw_only=True):
    request: _Request


def parse_review(body: bytes, *, limits: Limits, caller: Caller) -> AdmissionRequest:
    """Reads one AdmissionReview.

    Args:
        body: the HTTP body, UTF-8 JSON.
        caller: how the sender was told apart; handed through.

    Raises:
        ReviewError: with ``uid`` wherever one can be read, so that the answer can be a review as well.
    """
    if len(body) > limits.review_bytes:
        message = f"the review has {len(body)} bytes; limits.reviewBytes is {limits.review_bytes}"
        raise ReviewError(message, readable_uid(body, limits=limits))
    try:
        document = _decode(body, limits)
    except ReviewError as error:
        raise ReviewError(error.message, readable_uid(body, limits=limits)) from error
    uid = _uid_of(document)
    if not isinstance(document, dict):
        raise ReviewError("the body is JSON, but no object", uid)
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(key) != expected:
            raise ReviewError(f"{key} is {_shown(document.get(key))}, not {expected}", uid)
    if not uid:
        raise ReviewError("request.uid is missing, or is not 1 to 128 printable ASCII characters without blanks")
    try:
        parsed = msgspec.convert(document, _Review).request
    except msgspec.ValidationError as error:
        raise ReviewError(f"the review has a wrong shape: {clean(str(error), 300)}", uid) from error
    raw = document["request"]
    return AdmissionRequest(
        uid=uid,
        kind=GroupVersionKind(parsed.kind.group, parsed.kind.version, parsed.kind.kind),
        resource=GroupVersionResource(parsed.resource.group, parsed.resource.version, parsed.resource.resource),
        sub_resource=parsed.sub_resource,
        name=parsed.name,
        namespace=parsed.namespace,
        operation=parsed.operation,
        user=UserInfo(parsed.user_info.username, parsed.user_info.uid, tuple(parsed.user_info.groups or ())),
        object=raw.get("object"),
        old_object=raw.get("oldObject"),
        dry_run=bool(parsed.dry_run),
        raw=raw,
        caller=caller,
    )


def readable_uid(body: bytes, *, limits: Limits) -> str:
    """``request.uid`` of a review that is too large, too deep, cut off or otherwise no JSON; "" if there is none.

    Looks only at the first ``limits.review_head_bytes``: the API server writes the uid as the first field of the
    request. Linear in that length, without recursion.
    """
    head = body[: limits.review_head_bytes]
    depth, position = 0, 0
    keys = ["", ""]
    last, value_next = "", False
    while (mark := _MARK.search(head, position)) is not None:
        sign, position = mark.group(), mark.end()
        if sign == b'"':
            string = _STRING.match(head, mark.start())
            if string is None:
                return ""
            position = string.end()
            if depth in (1, 2):
                last = _text(string.group())
                if value_next and depth == 2 and keys == ["request", "uid"]:
                    return last if _UID.fullmatch(last) else ""
        elif sign in b"{[":
            depth += 1
        elif sign in b"}]":
            depth -= 1
        elif sign == b":" and depth in (1, 2):
            keys[depth - 1] = last
        value_next = sign == b":"
    return ""


def render_review(uid: str, decision: Decision) -> bytes:
    """The AdmissionReview that answers request ``uid``. Never raises for any text.

    Allowed only if verdict and code both say so. ``retryAfterSeconds`` goes out with 429 alone: with it, clients
    repeat the request by themselves.
    """
    response: dict[str, Any] = {"uid": uid}
    response["allowed"] = decision.verdict is Verdict.ADMITTED and decision.code == 200
    if not response["allowed"]:
        response["status"] = _status(decision.code, decision.message)
        if decision.code == 429 and decision.retry_after_seconds:
            response["status"]["details"] = {"retryAfterSeconds": decision.retry_after_seconds}
    warnings = [line for line in map(_line, decision.warnings) if line]
    if warnings:
        response["warnings"] = warnings
    response["auditAnnotations"] = {
        "decision-id": _line(decision.id),
        "policy-revision": _line(decision.policy_revision),
        "verdict": str(decision.verdict),
    }
    if decision.because is Because.BREAK_GLASS:
        response["auditAnnotations"]["break-glass"] = ", ".join(_line(grant.id) for grant in decision.grants)
    return _answer(response)


def render_error(uid: str, *, code: int, reason: str, message: str) -> bytes:
    """The AdmissionReview that refuses a request which could not be read or was not judged.

    Args:
        code: 400, 413, 429, 500 or 503.
        reason: a code of docs/reasons.md; it leads the message and is an audit annotation.
    """
    verdict = Verdict.REFUSED if code in (400, 403, 413) else Verdict.UNDECIDED
    return _answer(
        {
            "uid": uid,
            "allowed": False,
            "status": _status(code, f"[{reason}] {message}"),
            "auditAnnotations": {"reason": _line(reason), "verdict": str(verdict)},
        }
    )


def render_allowed(uid: str, warnings: Sequence[str] = (), patch: Sequence[JSONObject] = ()) -> bytes:
    """The AdmissionReview that admits a request which no decision is made on, changed by a JSON Patch if there is
    one."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(patch)).decode()
    if shown := [line for line in map(_line, warnings) if line]:
        response["warnings"] = shown
    return _answer(response)


def _lines(text: str) -> str:
    """Text for people, line by line: what could steer a terminal or turn the direction of writing is replaced."""
    return "\n".join(_line(line) for line in text.split("\n")).strip("\n")


def _line(text: str) -> str:
    """One line. The API server silently drops a warning that is empty or holds any control character."""
    return clean(text, len(text) + 1)


def _status(code: int, message: str) -> dict[str, Any]:
    if code not in STATUS_REASONS:
        code = 500
    return {
        "status": "Failure",
        "code": code,
        "reason": STATUS_REASONS[code],
        "message": _lines(message) or "refused without a reason, which is a bug of Portcullis",
    }


def _answer(response: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _shown(value: object) -> str:
    """A short printable form of an untrusted value."""
    if isinstance(value, str):
        return quoted(value)
    return "missing" if value is None else f"a {type(value).__name__}"


def _text(string: bytes) -> str:
    try:
        return msgspec.json.decode(string, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _uid_of(document: object) -> str:
    request = document.get("request") if isinstance(document, dict) else None
    uid = request.get("uid") if isinstance(request, dict) else None
    return uid if isinstance(uid, str) and _UID.fullmatch(uid) else ""


def _decode(body: bytes, limits: Limits) -> Any:
    """JSON to dicts and lists. Bounds are checked on the bytes, before anything is built from them."""
    outside = _outside_strings(body)
    brackets = outside.translate(_STEPS, _NOT_BRACKETS)
    depth = max(accumulate(array("b", brackets)), default=0)
    if depth > limits.review_depth:
        raise ReviewError(f"the review is nested {depth} deep; limits.reviewDepth is {limits.review_depth}")
    values = outside.count(b",") + outside.count(b"{") + outside.count(b"[")
    if values > limits.review_values:
        raise ReviewError(f"the review has about {values} values; limits.reviewValues is {limits.review_values}")
    try:
        document = msgspec.json.decode(body)
    except RecursionError as error:
        raise ReviewError("the review is nested deeper than this program can read") from error
    except UnicodeDecodeError as error:
        raise ReviewError(f"the body is not UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        if _SURROGATE.search(body) is not None and _has_lone_surrogate(body):
            raise ReviewError("the review holds half of a UTF-16 surrogate pair, which is no character") from error
        raise ReviewError(f"the body cannot be read as JSON: {clean(str(error), 200)}") from error
    keys, wide = _census(document)
    if keys != outside.count(b":"):
        raise ReviewError(f"the key {_duplicate(body)} stands twice in one object")
    if wide:
        raise ReviewError("the review holds an integer that does not fit into 64 bits")
    return document


def _outside_strings(body: bytes) -> bytes:
    """What is left of JSON without its strings. Escaped backslashes go first, then escaped quotes: then every
    quote that is left opens or closes a string."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def _census(document: Any) -> tuple[int, bool]:
    """How many keys the tree holds, and whether an integer in it needs more than 64 bits."""
    keys, wide = 0, False
    stack = [document]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is dict:
            keys += len(node)
            stack.extend(node.values())
        elif kind is list:
            stack.extend(node)
        elif kind is int and not -(2**63) <= node < 2**64:
            wide = True
    return keys, wide


def _has_lone_surrogate(body: bytes) -> bool:
    """Whether that is why the body was refused: Python's own decoder lets lone surrogates through."""
    try:
        json.dumps(json.loads(body.decode()), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _duplicate(body: bytes) -> str:
    """Names a key that stands twice, for the message."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in items:
            if key in seen:
                found.append(key)
            seen[key] = value
        return seen

    with suppress(ValueError, RecursionError):
        json.loads(body, object_pairs_hook=pairs)
    return _shown(found[0]) if found else "(one of them)"
