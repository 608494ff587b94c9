"""Spans to a collector, by OTLP over HTTP in protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

A bounded queue and a thread stand before the collector: nobody waits for it. What finds the queue full, and a batch
that is not taken, is dropped and counted. The packages come with the extra ``otlp`` and are imported by whoever makes
this.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from portcullis.audit.sinks.collector import Collector
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.server.telemetrysections import Traces
from portcullis.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

BATCH_SPANS: Final = 512
GATHER_SECONDS: Final = 1.0
"""How long spans gather before they are sent."""

SERVED: Final = "review"
ASKED: Final = frozenset({"opa", "registry-request"})
"""Spans of requests that are answered by somebody else."""
FOUND_MISSING: Final = frozenset({"image-not-found"})
"""No failure of the work: most images have no attestation under each name that is looked at."""

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "decision": "portcullis.decision.id",
        "verdict": "portcullis.verdict",
        "code": "portcullis.code",
        "because": "portcullis.because",
        "revision": "portcullis.policy_revision",
        "operation": "portcullis.operation",
        "kind": "portcullis.kind",
        "namespace": "k8s.namespace.name",
        "caller": "portcullis.caller",
        "image": "portcullis.image",
        "digest": "portcullis.image.digest",
        "policies": "portcullis.policies",
        "bytes": "portcullis.document_bytes",
        "host": "server.address",
        "method": "http.request.method",
        "status": "http.response.status_code",
    }
)
"""Attributes as OpenTelemetry names them, where it does (https://opentelemetry.io/docs/specs/semconv/)."""

log = logging.getLogger(__name__)


class SpanSink:
    """Sends spans to the collector that the configuration names.

    Raises:
        ConfigError: the packages are not there, or the file of headers cannot be used.
    """

    def __init__(self, section: Traces, limits: Limits) -> None:
        self.sent = 0
        self.dropped = 0
        """Spans that the collector did not get."""
        self._limits = limits
        self._collector = Collector(
            _exporter,
            who="telemetry.traces",
            endpoint=section.endpoint,
            headers_file=section.headers_file,
            ca_file=section.ca_file,
            headers_key="telemetry.traces.headersFile",
        )
        self._queue: deque[Span] = deque()
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._down = False
        # A collector that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def offer(self, span: Span) -> None:
        """Queues the span, or drops it. Never waits."""
        with self._lock:
            if len(self._queue) >= self._limits.waiting_spans:
                self.dropped += 1
                return
            self._queue.append(span)
        self._some.set()

    def close(self) -> None:
        """Gives the collector ``sink_flush_seconds`` for the rest; what is left then is dropped. Blocks."""
        self._stopping.set()
        self._some.set()
        self._thread.join(self._limits.sink_flush_seconds)
        with self._lock:
            self.dropped += len(self._queue)
            self._queue.clear()

    def _run(self) -> None:
        while not (self._stopping.is_set() and not self._queue):
            self._some.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._some.clear()
            while batch := self._batch():
                self._send(batch)
        self._collector.close()

    def _batch(self) -> list[Span]:
        with self._lock:
            return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_SPANS))]

    def _send(self, batch: Sequence[Span]) -> None:
        try:
            taken = self._taken(batch)
        except Exception:  # a fault of a library must not end the thread
            log.exception("spans could not be sent")
            taken = False
        if taken:
            self.sent += len(batch)
        else:
            with self._lock:
                self.dropped += len(batch)
        if taken is self._down:
            self._down = not taken
            log.warning("the collector of traces %s", "takes spans again" if taken else "does not take spans")

    def _taken(self, batch: Sequence[Span]) -> bool:
        """Whether the collector took them."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            said = self._collector.export([_readable(span, self._collector.resource) for span in batch])
        except ConfigError as error:
            log.error("spans are not sent: %s", error.message)
            return False
        return said is SpanExportResult.SUCCESS


def _exporter() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter


def _readable(span: Span, resource: "Resource") -> "ReadableSpan":
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(span_id: int) -> SpanContext:
        return SpanContext(span.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    attributes = {NAMES[key]: value for key, value in span.attributes.items()}
    if span.problem:
        attributes["error.type"] = span.problem
    failed = bool(span.problem) and span.problem not in FOUND_MISSING
    kind = SpanKind.SERVER if span.name == SERVED else SpanKind.CLIENT if span.name in ASKED else SpanKind.INTERNAL
    return ReadableSpan(
        name=span.name,
        context=context(span.span_id),
        parent=context(span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=attributes,
        kind=kind,
        status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
        start_time=span.started,
        end_time=span.ended,
    )
