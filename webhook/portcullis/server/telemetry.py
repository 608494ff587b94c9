"""Logs and metrics: one JSON object per line on stderr, and Prometheus metrics whose labels are words of our own.

Text from outside may be in a log line (a name, an error's message): every string is shortened and every line is
ASCII, so that nothing in it can end a line or drive a terminal.
"""

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from portcullis import __version__
from portcullis.measuring import SECONDS, Durations
from portcullis.model.decision import Because, Decision, Problem, Stage, Verdict
from portcullis.model.grant import is_grant
from portcullis.model.request import Caller

LOGGED_CHARS = 2000
"""Longest string of a log line."""
LOGGED_TRACEBACK_CHARS = 20_000

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of the time that the caller gave."""
SERIES = 1000
"""Of one counter whose labels come from decisions; what comes after that many is counted as ``other``."""
OTHER = "other"
ANOTHER_REFUSES = "another-refuses"
"""Why a policy was not evaluated where no fact was missing."""

_REASON = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MAX_REASONS = 200
_ANSWERED = {True: "as-decided", False: "audit-unavailable"}


def configure_logging(stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Sends structlog and the standard library's loggers to ``stream`` (stderr) as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _bounded,
                structlog.processors.JSONRenderer(ensure_ascii=True, sort_keys=False, default=_shown),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Their own words on starting and stopping say less than ours.
    for name in ("uvicorn.error", "asyncio", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _bounded(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Shortens every string, and puts first what every line has."""
    bounded: dict[str, Any] = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    bounded.update(event)
    for key, value in bounded.items():
        if isinstance(value, str):
            limit = LOGGED_TRACEBACK_CHARS if key == "exception" else LOGGED_CHARS
            if len(value) > limit:
                bounded[key] = f"{value[: limit - 1]}…"
    return bounded


def _shown(value: Any) -> str:
    return repr(value)[:LOGGED_CHARS]


class _Counted(Collector):
    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self._read())


class _Labelled(Collector):
    """A counter or gauge for each value of its labels."""

    def __init__(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._kind, self._name, self._text, self._labels, self._read = kind, name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = self._kind(self._name, self._text, labels=self._labels)
        for values, count in self._read().items():
            family.add_metric(values, count)
        yield family


class _Timed(Collector):
    """A histogram for each value of one label, or, where the label is "", one."""

    def __init__(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, Durations]]) -> None:
        self._name, self._text, self._label, self._read = name, text, label, read

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label] if self._label else [])
        for value, durations in self._read().items():
            buckets = [(bound, float(count)) for bound, count in durations.cumulative()]
            family.add_metric([value] if self._label else [], buckets, durations.total)
        yield family


class _Bounded:
    """A counter that keeps to so many series, whatever its labels are asked to hold."""

    def __init__(self, counter: Counter, width: int) -> None:
        self._counter = counter
        self._other = (OTHER,) * width
        self._known: set[tuple[str, ...]] = set()

    def count(self, *values: str) -> None:
        if values not in self._known:
            if len(self._known) >= SERIES:
                values = self._other
            self._known.add(values)
        self._counter.labels(*values).inc()


class _Info(Collector):
    """One series of value 1, whose labels say something that may change."""

    def __init__(self, name: str, text: str, labels: Sequence[str], read: Callable[[], Sequence[str] | None]) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        if (values := self._read()) is not None:
            family.add_metric(values, 1)
        yield family


class Metrics:
    """The metrics of one program, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reasons: set[str] = set()
        build = Gauge("portcullis_build_info", "The running version.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._decisions = self._bounded("decisions", "Decisions.", "verdict", "code", "because")
        self._reviews = self._counter("reviews", "Reviews by how their caller was known.", "caller", "verdict")
        self._problems = self._bounded("problems", "Facts that could not be had.", "stage", "reason")
        self._violations = self._bounded("violations", "Violations by policy.", "policy", "mode")
        self._excepted = self._bounded(
            "violations_excepted", "Violations that an exception covers.", "policy", "exception"
        )
        self._undecided = self._bounded(
            "undecided", "Policies that were not evaluated, and why.", "policy", "mode", "reason"
        )
        self._answers = self._counter("http_answers", "Answers on the webhook port.", "status")
        self._shed = self._counter("reviews_shed", "Reviews refused because too many were in flight.")
        self._left_out = self._counter("audit_unverified_left_out", "Unverified reviews of which no record was kept.")
        self._unrecorded = self._counter("decisions_unrecorded", "Decisions that could not be recorded.", "answered")
        for answered in _ANSWERED.values():
            self._unrecorded.labels(answered)  # so that its first is an increase
        self._seconds = Histogram(
            "portcullis_review_seconds",
            "From the first byte of a review to its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._share = Histogram(
            "portcullis_review_time_share",
            "Part of the time that the caller gave until the answer.",
            buckets=SHARES,
            registry=self.registry,
        )
        self._stages = Histogram(
            "portcullis_stage_seconds", "Time per stage.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._in_flight = Gauge("portcullis_reviews_in_flight", "Reviews being judged.", registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"portcullis_{name}", text, labels, registry=self.registry)

    def _bounded(self, name: str, text: str, *labels: str) -> _Bounded:
        return _Bounded(self._counter(name, text, *labels), len(labels))

    def gauge(self, name: str, text: str) -> Gauge:
        """A gauge whose value the caller sets, or binds with ``set_function``."""
        return Gauge(f"portcullis_{name}", text, registry=self.registry)

    def count_function(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A counter that somebody else counts."""
        self.registry.register(_Counted(f"portcullis_{name}", text, read))

    def count_by(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Counters that somebody else counts, by the value of ``label``: words of ours."""
        self.count_each(name, text, [label], lambda: {(value,): count for value, count in read().items()})

    def count_each(
        self, name: str, text: str, labels: Sequence[str], read: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        """The same by the values of several labels."""
        self.registry.register(_Labelled(CounterMetricFamily, f"portcullis_{name}", text, labels, read))

    def gauge_by(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Gauges that are read when they are asked for, by the value of ``label``: words of ours."""

        def each() -> Mapping[tuple[str, ...], float]:
            return {(value,): count for value, count in read().items()}

        self.registry.register(_Labelled(GaugeMetricFamily, f"portcullis_{name}", text, [label], each))

    def time_by(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, Durations]]) -> None:
        """Histograms that somebody else counts, by the value of ``label``: words of ours; without one where it is
        ""."""
        self.registry.register(_Timed(f"portcullis_{name}", text, label, read))

    def info(self, name: str, text: str, labels: Sequence[str], read: Callable[[], Sequence[str] | None]) -> None:
        """One series whose labels are read when they are asked for; None: there is nothing to say yet."""
        self.registry.register(_Info(f"portcullis_{name}", text, labels, read))

    def count_fields(self, prefix: str, texts: Mapping[str, str], counters: Callable[[], object]) -> None:
        """A counter ``<prefix>_<name>`` for each field of ``counters()`` that ``texts`` describes."""
        for name, text in texts.items():
            self.count_function(f"{prefix}_{name}", text, functools.partial(_field, counters, name))

    def reviewed(self, caller: Caller, verdict: Verdict) -> None:
        """One more review. Where strangers can be told apart, theirs are counted here and in :meth:`answered` alone:
        the other figures are those of the cluster."""
        self._reviews.labels(str(caller), str(verdict)).inc()

    def decided(self, decision: Decision) -> None:
        self._decisions.count(str(decision.verdict), str(decision.code), str(decision.because))
        for problem in decision.problems:
            self.problem(problem)
        for violation in decision.violations:
            # Policy names are those of the compiled set, so they are few.
            self._violations.count(violation.policy, str(violation.mode))
            if violation.exception:  # as are the ids of exceptions: those of the configuration, and one for all grants
                by = Because.BREAK_GLASS.value if is_grant(violation.exception) else violation.exception
                self._excepted.count(violation.policy, by)
        for policy in decision.undecided:
            reason = self._reason(policy.problems[0].reason) if policy.problems else ANOTHER_REFUSES
            self._undecided.count(policy.policy, str(policy.mode), reason)
        self.stages(decision.timings)

    def problem(self, problem: Problem) -> None:
        self._problems.count(str(problem.stage), self._reason(problem.reason))

    def stages(self, timings: Mapping[str, float]) -> None:
        """Milliseconds per stage."""
        for stage, milliseconds in timings.items():
            if stage in Stage.__members__.values():
                self._stages.labels(str(stage)).observe(milliseconds / 1000)

    def answered(self, status: int, seconds: float, given: float) -> None:
        """``given``: seconds after which the caller would have given up."""
        self._answers.labels(str(status)).inc()
        self._seconds.observe(seconds)
        self._share.observe(seconds / given)

    def shed(self) -> None:
        self._shed.inc()

    def unrecorded(self, *, answered: bool) -> None:
        """``answered``: the decision was given all the same, because nothing is enforced there."""
        self._unrecorded.labels(_ANSWERED[answered]).inc()

    def left_out(self) -> None:
        self._left_out.inc()

    def in_flight(self, count: int) -> None:
        self._in_flight.set(count)

    def page(self) -> bytes:
        """Text format 0.0.4."""
        return generate_latest(self.registry)

    def _reason(self, reason: str) -> str:
        """Reasons are codes of ours; should one ever hold something else, the label stays bounded."""
        if reason in self._reasons:
            return reason
        if not _REASON.fullmatch(reason) or len(self._reasons) >= _MAX_REASONS:
            return OTHER
        self._reasons.add(reason)
        return reason


def _field(counters: Callable[[], object], name: str) -> float:
    return float(getattr(counters(), name))
