"""What a POST brings: a small form, read whole before any page sees it."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from portcullis.limits import Limits
from portcullis.server.http import Receive, Scope
from portcullis.server.review.refusals import Refusal

FIELDS = 20
_TYPE = b"application/x-www-form-urlencoded"


async def read_form(scope: Scope, receive: Receive, limits: Limits) -> tuple[bytes, Mapping[str, str]]:
    """The body, and the fields in it; a field that stands there twice is refused.

    Raises:
        Refusal: it is no form, too large, too slow, or broken off.
    """
    types = [value.partition(b";")[0].strip().lower() for name, value in scope["headers"] if name == b"content-type"]
    if types != [_TYPE]:
        raise _unreadable(415, reason="form-malformed", sentence="it is no application/x-www-form-urlencoded")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _body(receive, limits.form_bytes)
    except TimeoutError:
        raise _unreadable(
            408, reason="form-malformed", sentence=f"it took more than {limits.body_seconds:g} s"
        ) from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError:
        raise _unreadable(
            400, reason="form-malformed", sentence=f"it is not UTF-8, or has more than {FIELDS} fields"
        ) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _unreadable(400, reason="form-malformed", sentence="a field stands there twice")
    return body, fields


def replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` of a request whose body was read already."""
    given = False

    async def receiving() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


async def _body(receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _unreadable(400, reason="form-malformed", sentence="it was broken off")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _unreadable(413, reason="too-large", sentence=f"it has more bytes than limits.formBytes ({limit})")
        if not message.get("more_body", False):
            return b"".join(pieces)


def _unreadable(status: int, *, reason: str, sentence: str) -> Refusal:
    return Refusal(
        status,
        reason=reason,
        title="That form cannot be read",
        sentence=f"The form cannot be read: {sentence}.",
        advice="Open the page again and send the form from there.",
        headers={"connection": "close"},
    )
