"""The few words of HTTP and of Kubernetes' Status that the webhook port speaks."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from portcullis.admission.review import STATUS_REASONS
from portcullis.limits import Limits
from portcullis.text import clean

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SHORTEST_SECONDS = 0.25
"""A shorter time-out is taken for this one: the answer would come too late anyway."""
LONGEST_SECONDS = 30.0
"""Kubernetes allows timeoutSeconds from 1 to 30."""
_MESSAGE_CHARS = 1000
_QUERY_BYTES = 1024

_REASONS = {404: "NotFound", 405: "MethodNotAllowed", 408: "Timeout", 415: "UnsupportedMediaType", **STATUS_REASONS}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern}){{1,8}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; ``close`` ends the connection after it, as part of the request may be unread."""

    status: int
    body: bytes
    close: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def send_answer(answer: Answer, send: Send) -> None:
    """Never with Retry-After: the API server would repeat the call until its time is over."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    if answer.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def failure(status: int, reason: str, message: str, *, close: bool = False) -> Answer:
    """An answer outside AdmissionReview: a Status (meta/v1), whose message the API server shows.

    Args:
        reason: a code of docs/reasons.md.
    """
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": clean(f"[{reason}] {message}", _MESSAGE_CHARS),
        "reason": _REASONS.get(status, "InternalError"),
        "code": status,
    }
    headers = ((b"allow", b"POST"),) if status == 405 else ()
    return Answer(status, msgspec.json.encode(document), close, headers)


def timeout_of(query: bytes, limits: Limits) -> float:
    """Seconds of ``?timeout=``, a duration as Go writes it (``10s``, ``1m0s``), between the bounds; the default
    where there is none that can be read, or more than one."""
    try:
        values = parse_qs(query[:_QUERY_BYTES].decode("ascii"), max_num_fields=20).get("timeout", [])
    except ValueError:
        values = []
    seconds = limits.default_timeout_seconds
    if len(values) == 1 and len(values[0]) <= 64 and _DURATION.fullmatch(values[0]):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(values[0]))
    return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)


def header(scope: Scope, name: bytes) -> bytes:
    """The value of the first such header, b"" without one."""
    value: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return value
