"""Errors of the JSON API, as RFC 9457 has them: ``application/problem+json`` with a reason code."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.responses import JSONResponse

from portcullis.server.review.refusals import Refusal
from portcullis.text import clean

MEDIA_TYPE = "application/problem+json"
_CHARS = 1000


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def problem(
    status: int,
    *,
    reason: str,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> ProblemResponse:
    """The answer.

    Args:
        reason: a code of docs/reasons.md.
        detail: a sentence; may hold text from outside.
        errors: what is wrong with which parameter, each ``{parameter, message}``.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": clean(detail, _CHARS),
        "reason": reason,
    }
    if errors:
        content["errors"] = [dict(error) for error in errors]
    return ProblemResponse(content, status, headers=dict(headers))


def problem_of(refusal: Refusal) -> ProblemResponse:
    return problem(refusal.status, reason=refusal.reason, detail=refusal.sentence, headers=refusal.headers)
