"""POST /validate: bytes of an AdmissionReview to bytes of its answer, within the caller's time.

A bare ASGI handler, since FastAPI's own way would cost more than the rest of it. What is answered:

* HTTP 200 with an AdmissionReview to all whose request.uid could be read, also where it is too large or no review;
* HTTP 400, 408 or 413 with a Status where it could not: nothing else can be answered;
* HTTP 503 with a Status, at once, to what is over the number of reviews or bytes in flight.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import structlog

from portcullis.admission.review import parse_review, readable_uid, render_error, render_review
from portcullis.errors import DeadlineExceeded, PortcullisError, RecordsError, ReviewError
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Stage
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.ports import Clock
from portcullis.server.body import Body, BodyReader, Budget, Ending
from portcullis.server.callers import Callers, is_path_of
from portcullis.server.http import Answer, Receive, Scope, Send, failure, header, send_answer, timeout_of
from portcullis.server.recording import Recorder
from portcullis.server.seldom import Seldom
from portcullis.server.telemetry import Metrics
from portcullis.server.tracing import Tracing, untraced
from portcullis.spans import span
from portcullis.text import clean

_WORD = "validate"
_SHOWN = 300

log = structlog.get_logger(__name__)


class Decider(Protocol):
    """What the webhook asks of the Gate."""

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision: ...

    def enforces(self, namespace: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Times:
    """Instants of Clock.monotonic: until when the body is read, it is decided, and it is recorded."""

    started: float
    body: float
    decide: float
    record: float


class ReviewHandler:
    """The ASGI handler.

    Args:
        gate: decides.
        recorder: makes each outcome durable before it is answered.
        callers: says who sent a review.
        tracing: says which reviews are traced; without it none is.
    """

    def __init__(
        self,
        *,
        gate: Decider,
        recorder: Recorder,
        clock: Clock,
        limits: Limits,
        metrics: Metrics,
        callers: Callers,
        tracing: Tracing | None = None,
    ) -> None:
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._callers = callers
        self._tracing = tracing or untraced()
        self._budget = Budget(limits.in_flight_bytes)
        self._judging = 0
        self._say_crowded = Seldom(functools.partial(log.warning, "too many reviews in flight"), clock=clock)
        gone = "the client has gone before its review was whole"
        self._say_gone = Seldom(functools.partial(log.info, gone), clock=clock)
        self.listening = False
        """Set once the port is open."""
        self.draining = False
        """Set when the program stops: every answer then closes its connection, so that clients go elsewhere."""

    @staticmethod
    def serves(path: str) -> bool:
        """Whether ``path`` is of the form ``/validate`` or ``/…/validate``."""
        return is_path_of(path, _WORD)

    @property
    def in_flight(self) -> int:
        return self._judging

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._clock.monotonic()
        given = timeout_of(scope["query_string"], self._limits)
        try:
            answer = await self._answer(scope, receive, started, given)
        except Exception:
            log.exception("webhook failed")
            answer = failure(503, "internal-error", "a fault in Portcullis itself; its log tells more", close=True)
        if answer is None:
            return
        if self.draining and not answer.close:
            answer = Answer(answer.status, answer.body, True, answer.headers)
        await send_answer(answer, send)
        self._metrics.answered(answer.status, self._clock.monotonic() - started, given)

    async def _answer(self, scope: Scope, receive: Receive, started: float, given: float) -> Answer | None:
        """The answer; None where nobody waits for it any more."""
        if scope["method"] != "POST":
            return failure(405, "method-not-allowed", "reviews are sent by POST")
        if header(scope, b"content-encoding").lower() not in (b"", b"identity"):
            return failure(415, "encoding-unsupported", "reviews are sent without Content-Encoding", close=True)
        caller = self._callers.of(scope)
        share = self._callers.share(caller)
        if self._judging >= self._limits.in_flight * share:
            return self._crowded()
        times = self._times(started, given)
        reader = BodyReader(receive=receive, limits=self._limits, budget=self._budget, share=share)
        try:
            body = await reader.read(times.body)
            if body.ending is Ending.GONE:
                self._say_gone()
                return None
            if body.ending is Ending.CROWDED or self._judging >= self._limits.in_flight * share:
                return self._crowded(close=body.unread)
            self._count(+1)
            try:
                with self._tracing.review(scope, caller, self._clock.monotonic() - started):
                    return await self._review(body, caller, times)
            finally:
                self._count(-1)
        finally:
            reader.release()

    async def _review(self, body: Body, caller: Caller, times: _Times) -> Answer:
        uid = ""
        try:
            if body.ending is not Ending.WHOLE:
                return await self._refuse_unread(body, caller, times)
            try:
                request = parse_review(body.content, limits=self._limits, caller=caller)
            except ReviewError as error:
                return await self._refuse(error.uid, 400, error, caller, times)
            uid = request.uid
            with structlog.contextvars.bound_contextvars(uid=clean(uid, 128)):
                return await self._judge(request, times)
        except Exception:
            log.exception("webhook failed", uid=clean(uid, 128))
            message = "a fault in Portcullis itself; its log tells more"
            if not uid:
                return failure(503, "internal-error", message, close=body.unread)
            return Answer(200, render_error(uid, code=503, reason="internal-error", message=message))

    async def _judge(self, request: AdmissionRequest, times: _Times) -> Answer:
        decision = await self._gate.decide(request, times.decide)
        self._metrics.reviewed(request.caller, decision.verdict)
        if not self._callers.is_stranger(request.caller):
            self._metrics.decided(decision)
        self._tracing.decided(request, decision)
        decided = self._clock.monotonic()
        try:
            with span(Stage.AUDIT):
                await self._recorder.keep(request, decision, times.record)
        except RecordsError as error:
            enforced = self._gate.enforces(request.namespace)
            self._recorder.lost(request, decision, error, answered=not enforced)
            if enforced:
                message = f"the decision could not be recorded, so it is not given: {error.message}"
                return Answer(200, render_error(request.uid, code=503, reason=error.reason, message=message))
        self._metrics.stages({Stage.AUDIT: (self._clock.monotonic() - decided) * 1000})
        return Answer(200, render_review(request.uid, decision))

    async def _refuse_unread(self, body: Body, caller: Caller, times: _Times) -> Answer:
        """A review of which only the beginning is there."""
        uid = readable_uid(body.content, limits=self._limits)
        error: PortcullisError
        if body.ending is Ending.TOO_LARGE:
            limit = self._limits.review_bytes
            error = ReviewError(f"the review has more bytes than limits.reviewBytes allows, which is {limit}", uid)
            return await self._refuse(uid, 413, error, caller, times, close=body.unread)
        error = DeadlineExceeded("the review did not arrive in time")
        return await self._refuse(uid, 503 if uid else 408, error, caller, times, close=True)

    async def _refuse(
        self, uid: str, code: int, error: PortcullisError, caller: Caller, times: _Times, *, close: bool = False
    ) -> Answer:
        """Answers what is no review, and records that it came."""
        reason = "too-large" if code == 413 else error.reason
        message = clean(error.message, _SHOWN)
        with structlog.contextvars.bound_contextvars(uid=clean(uid, 128)):
            await self._recorder.keep_refusal(
                uid=uid, code=code, reason=reason, message=message, caller=caller, deadline=times.record
            )
        if uid:
            return Answer(200, render_error(uid, code=code, reason=reason, message=message), close)
        return failure(code, reason, message, close=close)

    def _times(self, started: float, timeout: float) -> _Times:
        reserve = min(self._limits.deadline_reserve_seconds, timeout / 2)
        decide = started + timeout - reserve
        # A fifth of the reserve is for the way back.
        return _Times(
            started=started,
            body=min(decide, started + self._limits.body_seconds),
            decide=decide,
            record=started + timeout - reserve / 5,
        )

    def _crowded(self, *, close: bool = False) -> Answer:
        self._metrics.shed()
        self._say_crowded(in_flight=self._judging, bytes=self._budget.held)
        return failure(503, "too-many-reviews", "too many reviews are in flight; try again", close=close)

    def _count(self, change: int) -> None:
        self._judging += change
        self._metrics.in_flight(self._judging)
