"""POST /validate in process: every kind of request gets its answer, and a record before it."""

import asyncio
import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.asgi import Answered, call, hanging
from fakes.callers import by_path
from fakes.records import InMemoryRecords, SystemClock, a_decision
from fakes.reviews import UID, pod, review
from portcullis.audit.redact import Redactor
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Verdict
from portcullis.model.record import AuditRecord
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.ruling import CompiledBundle
from portcullis.server.app import Webhook
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.telemetry import Metrics, configure_logging
from portcullis.server.validate import ReviewHandler
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

SEGMENT = "0123456789abcdef-secret"
STANDING = Standing(CompiledBundle("sha256:p", ()), config_revision="c")
LIMITS = Limits(review_bytes=20_000, review_head_bytes=2_000, body_seconds=0.2)
GOOD = json.dumps(review(pod("registry.example/acme/web:1"))).encode()


@dataclass
class Gate:
    """Decides what the test says."""

    make: Callable[[AdmissionRequest], Decision] = lambda _: a_decision()
    enforcing: bool = True
    wait: asyncio.Event | None = None
    asked: list[tuple[AdmissionRequest, float]] = field(default_factory=list)

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision:
        self.asked.append((request, deadline))
        if self.wait is not None:
            await self.wait.wait()
        return self.make(request)

    def enforces(self, namespace: str) -> bool:
        return self.enforcing


class HangingRecords(InMemoryRecords):
    """A store that takes records and never says so."""

    async def append(self, record: AuditRecord) -> None:
        await asyncio.Event().wait()


@dataclass
class Bench:
    gate: Gate = field(default_factory=Gate)
    records: InMemoryRecords = field(default_factory=InMemoryRecords)
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = LIMITS
    segment: str = ""
    per_minute: int = 60
    told: list[AuditRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = SystemClock()
        sampling = Sampling(verifying=bool(self.segment), per_minute=self.per_minute, clock=clock, metrics=self.metrics)
        recorder = Recorder(
            records=self.records,
            clock=clock,
            metrics=self.metrics,
            standing=Current(STANDING),
            text=Redactor().text,
            sampling=sampling,
            also=self.told.append,
        )
        self.handler = ReviewHandler(
            gate=self.gate,
            recorder=recorder,
            clock=clock,
            limits=self.limits,
            metrics=self.metrics,
            callers=by_path(self.segment),
        )
        self.app = Webhook(reviews=self.handler, maps=None, standing=Current(STANDING))

    async def post(self, body: bytes = GOOD, path: str = "/validate", **options: Any) -> Answered:
        return await call(self.app, path, [body], **options)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_review_is_decided_recorded_and_answered() -> None:
    bench = Bench()
    answered = await bench.post()
    assert answered.response["uid"] == UID
    assert answered.response["allowed"] is True
    (record,) = bench.records.records
    assert (record.uid, record.username, record.namespace, record.name) == (UID, "ada@example.test", "shop", "web")
    assert (record.kind, record.api_version, record.operation) == ("Pod", "v1", "CREATE")
    assert record.decision.id == answered.response["auditAnnotations"]["decision-id"]
    assert bench.metric("portcullis_decisions_total", verdict="admitted", code="200", because="judged") == 1


async def test_a_body_may_come_in_pieces() -> None:
    bench = Bench()
    answered = await call(bench.app, "/validate", [GOOD[i : i + 7] for i in range(0, len(GOOD), 7)])
    assert answered.response["allowed"] is True


async def test_a_refusal_keeps_its_code_and_text() -> None:
    bench = Bench()
    bench.gate.make = lambda _: a_decision(verdict=Verdict.REFUSED, code=403, denied=["image-user"])
    answered = await bench.post()
    assert answered.response["allowed"] is False
    assert answered.response["status"]["code"] == 403
    assert answered.response["status"]["message"].startswith("1 policy refuses")


DEEP = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","x":%s}}'
HEAD = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",'


def changed(**fields: Any) -> bytes:
    return json.dumps({**review(pod("a")), **fields}).encode()


@pytest.mark.parametrize(
    ("body", "uid", "code", "reason"),
    [
        (b"", "", 400, "review-malformed"),
        (b"{", "", 400, "review-malformed"),
        (b"null", "", 400, "review-malformed"),
        (b"\xff\xfe", "", 400, "review-malformed"),
        (b"GET / HTTP/1.1", "", 400, "review-malformed"),
        (changed(apiVersion="admission.k8s.io/v1beta1"), UID, 400, "review-malformed"),
        (changed(kind="Pod"), UID, 400, "review-malformed"),
        (changed(request={**review(pod("a"))["request"], "uid": ""}), "", 400, "review-malformed"),
        (changed(request={**review(pod("a"))["request"], "uid": "a\nb"}), "", 400, "review-malformed"),
        (changed(request=None), "", 400, "review-malformed"),
        (DEEP % (b"[" * 9_000 + b"]" * 9_000), "u-1", 400, "review-malformed"),
        (HEAD + b'"x":"\\ud800"}}', "u-1", 400, "review-malformed"),
        (HEAD + b'"x":123456789012345678901234567890}}', "u-1", 400, "review-malformed"),
        (HEAD + b'"x":"' + b"a" * 30_000 + b'"}}', "u-1", 413, "too-large"),
        (b"[" + b"1," * 15_000 + b"1]", "", 413, "too-large"),
    ],
)
async def test_what_is_no_review_is_answered_and_recorded(body: bytes, uid: str, code: int, reason: str) -> None:
    bench = Bench()
    answered = await bench.post(body)
    status = answered.response["status"] if uid else answered.json
    assert status["code"] == code
    assert status["message"].startswith(f"[{reason}] ")
    if uid:
        assert answered.response["uid"] == uid
        assert answered.response["allowed"] is False
    else:
        assert answered.status == code
        assert status["kind"] == "Status"
    (record,) = bench.records.records
    assert (record.uid, record.decision.code, record.decision.verdict) == (uid, code, Verdict.REFUSED)
    assert [problem.reason for problem in record.decision.problems] == [reason]
    assert not bench.gate.asked


@pytest.mark.parametrize(
    "image", ["web\x00", "a" * 10_000, "EVIL\u202e:x", "b\nc", "http://x/y", "$(IMG)"], ids=lambda text: repr(text[:9])
)
async def test_hostile_names_are_the_gates_business(image: str) -> None:
    """They are reviews, so they are decided; NUL and integers above 2^53 are stored by real clusters."""
    bench = Bench()
    answered = await bench.post(json.dumps(review({**pod(image), "big": 2**53 + 1})).encode())
    assert answered.response["uid"] == UID
    assert len(bench.gate.asked) == 1


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    bench = Bench()
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        yield HEAD
        while True:
            sent += 10_000
            yield b"x" * 10_000

    answered = await call(bench.app, "/validate", endless())
    assert answered.response["status"]["code"] == 413
    assert answered.headers["connection"] == "close"
    assert sent <= 3 * LIMITS.review_bytes


async def test_a_large_body_is_read_to_its_end_so_that_its_answer_is_seen() -> None:
    answered = await Bench().post(HEAD + b" " * LIMITS.review_bytes + b"}}")
    assert answered.response["status"]["code"] == 413
    assert "connection" not in answered.headers


@pytest.mark.parametrize(
    ("pieces", "uid", "code"), [((HEAD,), "u-1", 503), ((b'{"apiVersion":',), "", 408), ((), "", 408)]
)
async def test_a_body_that_does_not_come_is_answered_in_time(pieces: tuple[bytes, ...], uid: str, code: int) -> None:
    bench = Bench()
    answered = await call(bench.app, "/validate", hanging(*pieces))
    status = answered.response["status"] if uid else answered.json
    assert (status["code"], status["message"]) == (code, "[deadline-exceeded] the review did not arrive in time")
    assert answered.headers["connection"] == "close"
    assert bench.records.records[0].decision.problems[0].retryable


async def test_a_client_that_has_gone_gets_nothing() -> None:
    bench = Bench()
    answered = await call(bench.app, "/validate", [HEAD], gone=True)
    assert answered.status == 0
    assert not bench.records.records


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "POST", {}, 404),
        ("/validate/", "POST", {}, 404),
        ("/validate/x", "POST", {}, 404),
        ("/x/y/validate", "POST", {}, 404),
        ("//validate", "POST", {}, 404),
        ("/docs", "GET", {}, 404),
        ("/openapi.json", "GET", {}, 404),
        ("/validate", "GET", {}, 405),
        (f"/{SEGMENT}/validate", "PUT", {}, 405),
        ("/version", "POST", {}, 405),
        ("/validate", "POST", {"Content-Encoding": "gzip"}, 415),
    ],
)
async def test_what_is_not_served(path: str, method: str, headers: dict[str, str], status: int) -> None:
    bench = Bench(segment=SEGMENT)
    answered = await bench.post(path=path, method=method, headers=headers)
    assert answered.status == answered.json["code"] == status
    assert answered.json["kind"] == "Status"
    assert not bench.gate.asked


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
async def test_any_content_type_will_do(kind: str) -> None:
    assert (await Bench().post(headers={"Content-Type": kind})).response["allowed"] is True


@pytest.mark.parametrize(
    ("segment", "path", "caller"),
    [
        ("", "/validate", Caller.UNVERIFIED),
        (SEGMENT, "/validate", Caller.UNVERIFIED),
        (SEGMENT, f"/{SEGMENT}/validate", Caller.PATH),
        # The answer does not tell that the word is a wrong one.
        ("", f"/{SEGMENT}/validate", Caller.UNVERIFIED),
        (SEGMENT, f"/{SEGMENT}x/validate", Caller.UNVERIFIED),
        (SEGMENT, f"/{SEGMENT[:-1]}/validate", Caller.UNVERIFIED),
        (SEGMENT, "/\u202e/validate", Caller.UNVERIFIED),
    ],
)
async def test_the_caller_is_told_by_the_path(segment: str, path: str, caller: Caller) -> None:
    bench = Bench(segment=segment)
    await bench.post(path=path)
    assert bench.records.records[0].caller is bench.gate.asked[0][0].caller is caller
    await bench.post(b"{", path=path)
    assert bench.records.records[1].caller is caller


async def test_the_deadline_leaves_time_for_the_record() -> None:
    bench = Bench(limits=Limits(deadline_reserve_seconds=0.5))
    now = SystemClock().monotonic()
    await bench.post(query=b"timeout=4s")
    await bench.post(query=b"timeout=500ms")
    first, second = (deadline - now for _, deadline in bench.gate.asked)
    assert 3.5 <= first < 4.0
    assert 0.25 <= second < 0.5, "at most half of a short time is kept"


async def test_without_a_record_there_is_no_decision() -> None:
    bench = Bench()
    bench.records.failing = True
    answered = await bench.post()
    assert answered.response["allowed"] is False
    assert answered.response["status"]["code"] == 503
    assert answered.response["status"]["message"].startswith("[audit-unavailable] ")
    assert bench.metric("portcullis_decisions_unrecorded_total", answered="audit-unavailable") == 1


async def test_a_store_that_hangs_does_not_take_the_callers_time() -> None:
    answered = await Bench(records=HangingRecords()).post(query=b"timeout=250ms")
    assert answered.response["status"]["message"].startswith("[audit-unavailable] ")


async def test_where_nothing_is_enforced_a_lost_record_refuses_nothing() -> None:
    log = io.StringIO()
    configure_logging(log)
    bench = Bench(gate=Gate(enforcing=False))
    bench.records.failing = True
    answered = await bench.post()
    assert answered.response["allowed"] is True
    lost = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "decision not recorded"]
    assert [(line["uid"], line["verdict"], line["namespace"], line["level"]) for line in lost] == [
        (UID, "admitted", "shop", "error")
    ]


async def test_what_is_no_review_is_refused_as_such_also_without_a_record() -> None:
    bench = Bench()
    bench.records.failing = True
    answered = await bench.post(b"{")
    assert answered.json["code"] == 400


async def test_more_than_the_limit_in_flight_are_refused_at_once() -> None:
    wait = asyncio.Event()
    bench = Bench(gate=Gate(wait=wait), limits=dataclasses.replace(LIMITS, in_flight=2))
    busy = [asyncio.create_task(bench.post()) for _ in range(2)]
    while len(bench.gate.asked) < 2:
        await asyncio.sleep(0)
    assert bench.metric("portcullis_reviews_in_flight") == 2
    crowded = await bench.post()
    assert crowded.status == crowded.json["code"] == 503
    assert crowded.json["message"].startswith("[too-many-reviews] ")
    assert "retry-after" not in crowded.headers
    wait.set()
    assert all(answered.response["allowed"] for answered in await asyncio.gather(*busy))
    assert (await bench.post()).response["allowed"] is True
    assert bench.metric("portcullis_reviews_shed_total") == 1


async def test_strangers_cannot_crowd_out_the_api_server() -> None:
    wait = asyncio.Event()
    bench = Bench(gate=Gate(wait=wait), limits=dataclasses.replace(LIMITS, in_flight=2), segment=SEGMENT)
    stranger = asyncio.create_task(bench.post())
    while not bench.gate.asked:
        await asyncio.sleep(0)
    assert (await bench.post()).status == 503
    known = asyncio.create_task(bench.post(path=f"/{SEGMENT}/validate"))
    while len(bench.gate.asked) < 2:
        await asyncio.sleep(0)
    wait.set()
    assert (await known).response["allowed"] is True
    assert (await stranger).response["allowed"] is True


async def test_bodies_share_a_budget() -> None:
    bench = Bench(limits=dataclasses.replace(LIMITS, in_flight_bytes=len(GOOD) + 50, body_seconds=30))
    waiting = asyncio.create_task(call(bench.app, "/validate", hanging(b"x" * 100)))
    await asyncio.sleep(0.01)
    assert (await bench.post()).json["message"].startswith("[too-many-reviews] ")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await bench.post()).response["allowed"] is True, "what was held is given back"


async def test_a_fault_of_ours_is_no_http_500() -> None:
    log = io.StringIO()
    configure_logging(log)
    bench = Bench()

    def broken(_: AdmissionRequest) -> Decision:
        raise RuntimeError("oops \x1b[31m")

    bench.gate.make = broken
    answered = await bench.post()
    assert answered.response["uid"] == UID
    assert answered.response["allowed"] is False
    assert answered.response["status"]["code"] == 503
    assert answered.response["status"]["message"].startswith("[internal-error] ")
    assert "oops" not in answered.body.decode()
    assert "oops" in log.getvalue()
    assert "\x1b" not in log.getvalue()
    assert bench.handler.in_flight == 0


async def test_nothing_hostile_reaches_the_log_or_a_header() -> None:
    log = io.StringIO()
    configure_logging(log)
    bench = Bench()
    hostile = 'x\r\nSet-Cookie: a=b\x1b[2J\u202e"}\n{"event":"forged'
    user = {"username": hostile, "groups": [hostile]}
    body = json.dumps(review(pod(hostile), name=hostile, namespace=hostile, userInfo=user)).encode()
    answered = await bench.post(body)
    assert answered.response["uid"] == UID
    assert set(answered.headers) == {"content-type", "content-length"}
    lines = log.getvalue().splitlines()
    assert log.getvalue().isascii()
    assert all(json.loads(line)["event"] != "forged" for line in lines)
    assert "\x1b" not in log.getvalue()
    bench.gate.make = lambda _: a_decision()
    await bench.post(json.dumps({"apiVersion": hostile}).encode())
    assert log.getvalue().isascii()


async def test_while_stopping_each_answer_closes_its_connection() -> None:
    bench = Bench()
    assert "connection" not in (await bench.post()).headers
    bench.handler.draining = True
    answered = await bench.post()
    assert answered.headers["connection"] == "close"
    assert answered.response["allowed"] is True


async def test_version_tells_what_is_in_force() -> None:
    answered = await Bench().post(path="/version", method="GET")
    assert answered.json["policyRevision"] == "sha256:p"
