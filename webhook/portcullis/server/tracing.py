"""Which reviews are traced, and what their spans say.

The API server sends ``traceparent`` where it traces (https://www.w3.org/TR/trace-context/). It is believed from
verified callers only: anybody else could put spans into traces of others, and have as many made as he likes. Where the
API server can be told apart, reviews of others are not traced at all.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass

import structlog

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import Decision
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.server.http import Scope
from portcullis.server.telemetry import Metrics
from portcullis.server.telemetrysections import Telemetry
from portcullis.spans import NO_SPAN, Span, Trace, current
from portcullis.text import clean

HEADER = b"traceparent"
NAME_CHARS = 260
"""As of the names in records."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_LOW = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of the caller, and whether it is kept."""

    trace_id: int
    span_id: int
    sampled: bool


class Tracing:
    """Begins the traces of reviews.

    Args:
        ended: takes spans; None where there are no traces.
        ratio: the part of the reviews that is traced where the caller has not decided it.
        is_stranger: whether a caller could have shown that it is the API server, and did not.
        text: takes secrets out of a name.
        limits: ``trace_spans``.
    """

    def __init__(
        self,
        *,
        ended: Callable[[Span], None] | None,
        ratio: float,
        is_stranger: Callable[[Caller], bool],
        text: Callable[[str], str],
        limits: Limits,
    ) -> None:
        self._ended = ended
        self._threshold = int(ratio * (_LOW + 1))
        self._is_stranger = is_stranger
        self._text = text
        self._limits = limits
        self.cut = 0
        """Spans that were too many for one review."""

    def review(self, scope: Scope, caller: Caller, seconds: float) -> AbstractContextManager[Span]:
        """The time in which the review is worked on.

        Args:
            seconds: since it began to arrive.
        """
        if self._ended is None or self._is_stranger(caller):
            return nullcontext(NO_SPAN)
        parent = None if caller is Caller.UNVERIFIED else parent_of(scope)
        if parent is None:
            trace = Trace(ended=self._ended, spans=self._limits.trace_spans)
            # As OpenTelemetry's TraceIdRatioBased sampler decides, so that others decide the same.
            kept = trace.id & _LOW < self._threshold
        else:
            trace = Trace(
                ended=self._ended, spans=self._limits.trace_spans, trace_id=parent.trace_id, parent_id=parent.span_id
            )
            kept = parent.sampled
        return self._traced(trace, seconds) if kept else nullcontext(NO_SPAN)

    @contextmanager
    def _traced(self, trace: Trace, seconds: float) -> Iterator[Span]:
        with structlog.contextvars.bound_contextvars(trace_id=f"{trace.id:032x}"):
            try:
                with trace.review("review", seconds) as span:
                    yield span
            finally:
                self.cut += trace.dropped

    def decided(self, request: AdmissionRequest, decision: Decision) -> None:
        """Says in the span of the review what came of it."""
        span = current()
        if span is NO_SPAN:
            return
        span.set(
            decision=decision.id,
            verdict=str(decision.verdict),
            code=decision.code,
            because=str(decision.because),
            revision=decision.policy_revision,
            operation=str(request.operation),
            kind=self._name(request.kind.kind),
            namespace=self._name(request.namespace),
            caller=str(request.caller),
        )

    def _name(self, name: str) -> str:
        return clean(self._text(name[:NAME_CHARS]), NAME_CHARS)


def untraced() -> Tracing:
    """Where there are no traces."""
    return Tracing(ended=None, ratio=0.0, is_stranger=lambda _: False, text=str, limits=DEFAULT_LIMITS)


def parent_of(scope: Scope) -> Parent | None:
    """The caller's span; None where there is no such header, more than one, or one that says nothing."""
    values = [value for key, value in scope["headers"] if key == HEADER]
    if len(values) != 1 or len(values[0]) > 512:
        return None
    found = _TRACEPARENT.fullmatch(values[0].decode("ascii", "replace"))
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return Parent(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED)) if trace_id and span_id else None


@asynccontextmanager
async def open_tracing(
    section: Telemetry,
    *,
    is_stranger: Callable[[Caller], bool],
    text: Callable[[str], str],
    metrics: Metrics,
    limits: Limits,
) -> AsyncIterator[Tracing]:
    """What the configuration asks for; nothing of OpenTelemetry is imported where that is nothing.

    Raises:
        ConfigError: its packages are not there, or a file cannot be used.
    """
    traces = section.traces
    if traces is None:
        yield untraced()
        return
    from portcullis.server.tracesink import SpanSink

    sink = SpanSink(traces, limits)
    tracing = Tracing(ended=sink.offer, ratio=traces.ratio, is_stranger=is_stranger, text=text, limits=limits)
    metrics.count_function("trace_spans_sent", "Spans that the collector took.", lambda: sink.sent)
    metrics.count_function(
        "trace_spans_dropped", "Spans that the collector did not get.", lambda: sink.dropped + tracing.cut
    )
    try:
        yield tracing
    finally:
        await asyncio.to_thread(sink.close)
