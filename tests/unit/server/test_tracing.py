"""Traces of reviews: which there are, what they say and never say, and a collector that is slow, full or away."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.asgi import call
from fakes.callers import by_path
from fakes.collector import Collector, collecting
from fakes.records import InMemoryRecords, SystemClock, a_decision
from fakes.reviews import pod, review
from portcullis.audit.redact import Redactor
from portcullis.errors import ConfigError, NotFound, Unreachable
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Verdict
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.ruling import CompiledBundle
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.settings import load_settings
from portcullis.server.telemetry import Metrics, configure_logging
from portcullis.server.telemetrysections import Telemetry, Traces
from portcullis.server.tracesink import NAMES, SpanSink
from portcullis.server.tracing import HEADER, Tracing, open_tracing, parent_of
from portcullis.server.validate import ReviewHandler
from portcullis.spans import NO_SPAN, Span, Trace, current, span
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
LIMITS = Limits(sink_flush_seconds=5.0)
SECRET = "hunter2-in-an-environment-variable"


def scope(*values: bytes) -> dict[str, Any]:
    return {"headers": [(b"host", b"x"), *((HEADER, value) for value in values)]}


@pytest.mark.parametrize(
    ("values", "parent"),
    [
        ([SAMPLED], (int(TRACE, 16), int(SPAN, 16), True)),
        ([f"00-{TRACE}-{SPAN}-00".encode()], (int(TRACE, 16), int(SPAN, 16), False)),
        ([f"00-{TRACE}-{SPAN}-03".encode()], (int(TRACE, 16), int(SPAN, 16), True)),
        # Of a later version what is known of it counts.
        ([f"cc-{TRACE}-{SPAN}-01-more".encode()], (int(TRACE, 16), int(SPAN, 16), True)),
        ([], None),
        ([SAMPLED, SAMPLED], None),
        ([SAMPLED + b"-more"], None),
        ([SAMPLED.upper()], None),
        ([f"ff-{TRACE}-{SPAN}-01".encode()], None),
        ([f"00-{'0' * 32}-{SPAN}-01".encode()], None),
        ([f"00-{TRACE}-{'0' * 16}-01".encode()], None),
        ([f"cc-{TRACE}-{SPAN}-01-".encode() + b"x" * 600], None),
        ([b"\xff" * 55], None),
        ([b""], None),
    ],
)
def test_traceparent(values: list[bytes], parent: tuple[int, int, bool] | None) -> None:
    found = parent_of(scope(*values))
    assert (found and (found.trace_id, found.span_id, found.sampled)) == parent


def tracing(ended: list[Span], *, ratio: float = 1.0, told_apart: bool = True, limits: Limits = LIMITS) -> Tracing:
    return Tracing(
        ended=ended.append,
        ratio=ratio,
        is_stranger=lambda caller: told_apart and caller is Caller.UNVERIFIED,
        text=Redactor().text,
        limits=limits,
    )


@pytest.mark.parametrize(
    ("caller", "told_apart", "header", "ratio", "trace_id"),
    [
        (Caller.PATH, True, SAMPLED, 0.0, TRACE),
        (Caller.CERTIFICATE, True, SAMPLED, 0.0, TRACE),
        (Caller.PATH, True, f"00-{TRACE}-{SPAN}-00".encode(), 1.0, None),
        (Caller.PATH, True, b"", 1.0, "another"),
        (Caller.PATH, True, b"", 0.0, None),
        (Caller.PATH, True, b"nonsense", 1.0, "another"),
        # A stranger's word counts for nothing, and where he is known as one, he gets no trace.
        (Caller.UNVERIFIED, True, SAMPLED, 1.0, None),
        (Caller.UNVERIFIED, False, SAMPLED, 1.0, "another"),
        (Caller.UNVERIFIED, False, SAMPLED, 0.0, None),
    ],
)
def test_whose_reviews_are_traced(
    caller: Caller, told_apart: bool, header: bytes, ratio: float, trace_id: str | None
) -> None:
    ended: list[Span] = []
    with tracing(ended, ratio=ratio, told_apart=told_apart).review(scope(header), caller, 0.0) as one:
        assert (one is NO_SPAN) is (trace_id is None)
    if trace_id is None:
        assert ended == []
        return
    (kept,) = ended
    believed = trace_id == TRACE
    assert (f"{kept.trace_id:032x}" == TRACE) is believed
    assert (f"{kept.parent_id:016x}" == SPAN) is believed


def test_the_ratio_is_kept() -> None:
    ended: list[Span] = []
    some = tracing(ended, ratio=0.25)
    for _ in range(2000):
        with some.review(scope(), Caller.PATH, 0.0):
            pass
    assert 400 < len(ended) < 600


def test_spans_over_the_limit_of_one_review_are_counted() -> None:
    ended: list[Span] = []
    some = tracing(ended, limits=Limits(trace_spans=3))
    with some.review(scope(), Caller.PATH, 0.0):
        for _ in range(5):
            with span("registry-request"):
                pass
    assert (len(ended), some.cut) == (3, 3)


# -- to the collector ----------------------------------------------------------------------------------------------


class Judge:
    """Asks a registry, as the gate would, and decides."""

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision:
        with span("registry"), span("image", image="registry.example/acme/web:1", digest="sha256:aa"):
            for host, error in (("a.example", NotFound("m")), ("b.example", Unreachable(SECRET))):
                try:
                    with span("registry-request", host=host, method="GET") as one:
                        one.set(status=404)
                        raise error
                except (NotFound, Unreachable):
                    continue
        assert current() is not NO_SPAN
        return a_decision("d-1", verdict=Verdict.REFUSED, code=403, denied=["image-user"])

    def enforces(self, namespace: str) -> bool:
        return True


async def post(handler: ReviewHandler, headers: Mapping[str, str]) -> None:
    pods = pod("registry.example/acme/web:1")
    pods["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": SECRET}]
    body = json.dumps(review(pods)).encode()
    answered = await call(handler, "/0123456789abcdef/validate", [body], headers=headers)
    assert answered.response["status"]["code"] == 403


async def traced(section: Telemetry, metrics: Metrics) -> None:
    """One review through the handler of the webhook."""
    clock = SystemClock()
    standing = Current(Standing(CompiledBundle("sha256:p", ())))
    async with open_tracing(
        section, is_stranger=lambda _: False, text=Redactor().text, metrics=metrics, limits=LIMITS
    ) as made:
        recorder = Recorder(
            records=InMemoryRecords(),
            clock=clock,
            metrics=metrics,
            standing=standing,
            text=Redactor().text,
            sampling=Sampling(verifying=False, per_minute=1, clock=clock, metrics=metrics),
            also=lambda _: None,
        )
        handler = ReviewHandler(
            gate=Judge(),
            recorder=recorder,
            clock=clock,
            limits=LIMITS,
            metrics=metrics,
            callers=by_path("0123456789abcdef"),
            tracing=made,
        )
        await post(handler, {"traceparent": SAMPLED.decode()})


def values_of(one: Any) -> dict[str, Any]:
    found = {}
    for attribute in one.attributes:
        kind = attribute.value.WhichOneof("value")
        found[attribute.key] = getattr(attribute.value, kind)
    return found


async def test_a_review_is_one_trace_below_that_of_the_api_server() -> None:
    log = io.StringIO()
    configure_logging(log)
    metrics = Metrics()
    with collecting() as collector:
        await traced(Telemetry(traces=Traces(endpoint=collector.traces_url, ratio=0.0)), metrics)
    by_name = {one.name: one for one in collector.spans}
    assert set(by_name) == {"review", "registry", "image", "registry-request", "audit"}
    assert {one.trace_id.hex() for one in collector.spans} == {TRACE}
    root = by_name["review"]
    assert (root.parent_span_id.hex(), root.kind) == (SPAN, 2)
    assert values_of(root) == {
        "portcullis.decision.id": "d-1",
        "portcullis.verdict": "refused",
        "portcullis.code": 403,
        "portcullis.because": "judged",
        "portcullis.policy_revision": "sha256:policies",
        "portcullis.operation": "CREATE",
        "portcullis.kind": "Pod",
        "k8s.namespace.name": "shop",
        "portcullis.caller": "path",
    }
    asked = {values_of(one)["server.address"]: one for one in collector.spans if one.name == "registry-request"}
    assert values_of(asked["b.example"])["error.type"] == "registry-unreachable"
    assert {host: (one.kind, one.status.code) for host, one in asked.items()} == {
        "a.example": (3, 0),
        "b.example": (3, 2),
    }
    assert by_name["image"].parent_span_id == by_name["registry"].span_id
    assert all(root.start_time_unix_nano <= one.start_time_unix_nano for one in collector.spans)
    assert all(one.end_time_unix_nano <= root.end_time_unix_nano for one in collector.spans)
    assert abs(root.end_time_unix_nano / 1e9 - time.time()) < 60
    assert all(SECRET not in str(one) and "0123456789abcdef" not in str(one) for one in collector.spans)
    assert collector.resources[0]["service.name"] == "portcullis"
    (line,) = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "decision"]
    assert (line["trace_id"], line["decision"]) == (TRACE, "d-1")
    assert metrics.registry.get_sample_value("portcullis_trace_spans_sent_total") == 6
    assert metrics.registry.get_sample_value("portcullis_trace_spans_dropped_total") == 0


async def test_without_traces_nothing_is_made_of_the_header() -> None:
    log = io.StringIO()
    configure_logging(log)
    metrics = Metrics()
    async with open_tracing(Telemetry(), is_stranger=lambda _: False, text=str, metrics=metrics, limits=LIMITS) as made:
        with made.review(scope(SAMPLED), Caller.PATH, 0.0) as one:
            assert one is NO_SPAN
            with span("image") as other:
                assert other is NO_SPAN
    assert b"trace_spans" not in metrics.page()


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    """But for its bare interface, which FastAPI imports where it finds it."""
    words = (
        "import asyncio, sys\n"
        "import portcullis.server.app\n"
        "from portcullis.limits import Limits\n"
        "from portcullis.server.telemetry import Metrics\n"
        "from portcullis.server.telemetrysections import Telemetry\n"
        "from portcullis.server.tracing import open_tracing\n"
        "async def main():\n"
        "    async with open_tracing(Telemetry(), is_stranger=bool, text=str, metrics=Metrics(), limits=Limits()):\n"
        "        pass\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def some_spans(number: int) -> list[Span]:
    ended: list[Span] = []
    trace = Trace(ended=ended.append, spans=number)
    with trace.review("review"):
        for _ in range(number - 1):
            with span("image"):
                pass
    return ended


def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def sink(collector: Collector, limits: Limits = LIMITS, **more: str) -> SpanSink:
    return SpanSink(section(endpoint=collector.traces_url, **more), limits)


def section(**keys: str) -> Traces:
    return Traces.model_validate_json(json.dumps(keys))


def test_a_collector_that_is_away_costs_spans_and_nothing_else() -> None:
    """A closed port, and then one that answers and refuses."""
    away = SpanSink(Traces(endpoint="http://127.0.0.1:9/v1/traces"), Limits(sink_flush_seconds=0.1, waiting_spans=10))
    began = time.monotonic()
    for one in some_spans(1000):
        away.offer(one)
    assert time.monotonic() - began < 1.0
    away.close()
    away._thread.join()
    assert (away.dropped, away.sent) == (1000, 0)
    with collecting() as collector:
        collector.status = 400
        refused = sink(collector)
        for one in some_spans(3):
            refused.offer(one)
        until(lambda: refused.dropped == 3)
        collector.status = 200
        for one in some_spans(2):
            refused.offer(one)
        refused.close()
        assert (refused.sent, len(collector.spans)) == (2, 2)


def test_what_waits_is_sent_at_the_end() -> None:
    with collecting() as collector:
        one = sink(collector)
        for ended in some_spans(1500):
            one.offer(ended)
        one.close()
        assert (one.sent, one.dropped, len(collector.spans)) == (1500, 0, 1500)


def test_headers_are_read_again(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("authorization: Bearer one\n")
    with collecting() as collector:
        one = sink(collector, headersFile=str(headers))
        one.offer(some_spans(1)[0])
        until(lambda: one.sent == 1)
        headers.write_text("authorization: Bearer two\n")
        one.offer(some_spans(1)[0])
        until(lambda: one.sent == 2)
        headers.write_text("nonsense\n")
        one.offer(some_spans(1)[0])
        until(lambda: one.dropped == 1)
        one.close()
        assert [found["authorization"] for found in collector.headers] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "telemetry.traces.endpoint: is required"),
        ("{endpoint: collector}", "https://host:port/v1/traces is expected"),
        ("{endpoint: 'http://collector.example:4318/v1/traces'}", "needs insecure: true"),
        ("{endpoint: 'https://c.example/v1/traces', ratio: 1.5}", "telemetry.traces.ratio"),
        ("{endpoint: 'https://c.example/v1/traces', rate: 1}", "did you mean ratio?"),
    ],
)
def test_slips_in_the_configuration(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text(f"telemetry:\n  traces: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert problem in caught.value.message
    assert f"{path}:2" in caught.value.message


def test_traces_are_no_part_of_the_revision(tmp_path: Path) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text("{}")
    before = load_settings(path, {}).revision
    path.write_text("telemetry: {traces: {endpoint: 'https://c.example/v1/traces', ratio: 0.5}}")
    assert load_settings(path, {}).revision == before


def test_a_file_of_headers_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    missing = section(endpoint="https://c.example/v1/traces", headersFile=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"telemetry\.traces\.headersFile: .*none cannot be read"):
        SpanSink(missing, LIMITS)


def test_every_attribute_has_a_name() -> None:
    """What is said in a span anywhere in the program."""
    source = "".join(path.read_text() for path in (Path(__file__).parents[3] / "webhook").rglob("*.py"))
    for name in NAMES:
        assert f"{name}=" in source, name
