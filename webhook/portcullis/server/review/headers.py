"""The headers of every answer of the audit pages."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from portcullis.server.http import Send

STATIC = "/static/"
"""Files that hold nothing of the log; their addresses have the hash of their content."""

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": (
            "accelerometer=(), camera=(), clipboard-read=(), display-capture=(), geolocation=(), microphone=(), "
            "payment=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=()"
        ),
        # Not no-referrer: under it browsers send `Origin: null` with a form, and the Origin is what we ask for. To any
        # other origin neither sends a thing. Source: https://fetch.spec.whatwg.org/#append-a-request-origin-header
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
)
_PAIRS = tuple((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items())
_NAMES = frozenset(name for name, _ in _PAIRS)


def with_headers(send: Send, path: str) -> Send:
    """``send`` that puts them on each answer, whatever the application says; pages are stored by nobody."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            lasting = path.startswith(STATIC) and message["status"] == 200
            replaced = _NAMES if lasting else _NAMES | {b"cache-control"}
            kept = [pair for pair in message["headers"] if pair[0].lower() not in replaced]
            own = _PAIRS if lasting else (*_PAIRS, (b"cache-control", b"no-store"))
            message = {**message, "headers": [*kept, *own]}
        await send(message)

    return sending
