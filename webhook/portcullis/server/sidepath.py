"""Paths beside ``/validate``, on which the API server asks about objects that are no workloads: their reviews are read
within the same bounds, and whatever goes wrong with them is answered here. The webhook entries that lead to them say
failurePolicy Ignore: what is not answered well is admitted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from portcullis.admission.review import parse_review, render_error
from portcullis.errors import ReviewError
from portcullis.limits import Limits
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.server.body import BodyReader, Budget, Ending
from portcullis.server.callers import Callers, is_path_of
from portcullis.server.http import Answer, Receive, Scope, Send, failure, send_answer, timeout_of
from portcullis.text import clean

_RESERVE_SECONDS: Final = 0.5
_SHOWN_CHARS: Final = 300

log = structlog.get_logger(__name__)


class SidePath:
    """One such path, as an ASGI handler.

    Args:
        word: the last of the path.
        answer: gives the AdmissionReview that answers a request, in bytes, before a deadline of the event loop's time.
        at_once: of how many reviews the largest may be in memory at once.
        callers: says who sent a review.
    """

    def __init__(
        self,
        *,
        word: str,
        answer: Callable[[AdmissionRequest, float], Awaitable[bytes]],
        at_once: int,
        limits: Limits,
        callers: Callers,
    ) -> None:
        self._word = word
        self._answer = answer
        self._limits = limits
        self._callers = callers
        self._budget = Budget(at_once * limits.review_bytes)
        self.in_hand = 0
        """Reviews that are not answered yet."""

    def serves(self, path: str) -> bool:
        """Whether ``path`` is ``/word`` or ``/…/word``."""
        return is_path_of(path, self._word)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = asyncio.get_running_loop().time()
        if scope["method"] != "POST":
            return await send_answer(failure(405, "method-not-allowed", "reviews are sent by POST"), send)
        seconds = timeout_of(scope["query_string"], self._limits)
        deadline = started + seconds - min(_RESERVE_SECONDS, seconds / 2)
        caller = self._callers.of(scope)
        share = self._callers.share(caller)
        reader = BodyReader(receive=receive, limits=self._limits, budget=self._budget, share=share)
        self.in_hand += 1
        try:
            body = await reader.read(deadline)
            if body.ending is Ending.GONE:
                return None
            if body.ending is not Ending.WHOLE:
                answer = failure(413, "too-large", "the review was not taken whole", close=True)
            else:
                answer = await self._read(body.content, caller, deadline)
        except Exception:
            log.exception("review not answered", path=self._word)
            answer = failure(503, "internal-error", "a fault in Portcullis itself; its log tells more", close=True)
        finally:
            self.in_hand -= 1
            reader.release()
        return await send_answer(answer, send)

    async def _read(self, body: bytes, caller: Caller, deadline: float) -> Answer:
        try:
            request = parse_review(body, limits=self._limits, caller=caller)
        except ReviewError as error:
            message = clean(error.message, _SHOWN_CHARS)
            if not error.uid:
                return failure(400, error.reason, message)
            return Answer(200, render_error(error.uid, code=400, reason=error.reason, message=message))
        return Answer(200, await self._answer(request, deadline))
