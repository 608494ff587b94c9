"""Reviews that anybody may have sent: bounded in number and size where verified ones can be told apart."""

import asyncio
import io
import json
from dataclasses import replace

import pytest

from fakes.clock import StandingClock
from fakes.records import InMemoryRecords, a_decision
from fakes.reviews import pod, request
from portcullis.audit import codec
from portcullis.audit.redact import Redactor
from portcullis.model.decision import Decision, JudgedImage, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.request import AdmissionRequest, Caller, UserInfo
from portcullis.model.ruling import CompiledBundle, Mode
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.telemetry import Metrics, configure_logging
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

LONG = "x" * 5000
TOKEN = "ghp_" + "Ab1" * 12


class Bench:
    def __init__(self, *, verifying: bool = True, per_minute: int = 5, minute: float = 60.0) -> None:
        self.clock = StandingClock()
        self.records = InMemoryRecords()
        self.metrics = Metrics()
        self.told: list[AuditRecord] = []
        self.log = io.StringIO()
        configure_logging(self.log)
        self.recorder = Recorder(
            records=self.records,
            clock=self.clock,
            metrics=self.metrics,
            standing=Current(Standing(CompiledBundle("sha256:p", ()), config_revision="c")),
            text=Redactor().text,
            sampling=Sampling(
                verifying=verifying, per_minute=per_minute, clock=self.clock, metrics=self.metrics, minute=minute
            ),
            also=self.told.append,
        )

    async def keep(self, number: int, caller: Caller, decision: Decision | None = None) -> None:
        asked = replace(hostile(), caller=caller)
        made = replace(decision or large(), id=f"d-{number}")
        await self.recorder.keep(asked, made, asyncio.get_running_loop().time() + 5)

    @property
    def left_out(self) -> float:
        return self.metrics.registry.get_sample_value("portcullis_audit_unverified_left_out_total") or 0.0

    def lines(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def hostile() -> AdmissionRequest:
    """As large as whoever sends it likes."""
    return replace(
        request(pod("web")),
        name=LONG,
        namespace=LONG,
        sub_resource=LONG,
        user=UserInfo(LONG, groups=(LONG,) * 100),
    )


def large() -> Decision:
    problem = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg=LONG, image=LONG)
    return replace(
        a_decision(document=b"x" * 100_000),
        message=LONG,
        warnings=(LONG,) * 15,
        violations=(Violation("p", Mode.DENY, "high", LONG, image=LONG, fix=LONG, details={"a": LONG}),) * 1000,
        undecided=(UndecidedPolicy("p", Mode.DENY, (problem,) * 100),) * 100,
        problems=(problem,) * 100,
        images=(JudgedImage(LONG, "sha256:aa"),) * 100,
        masked=(LONG,) * 20,
        masked_places=20,
    )


async def test_a_flood_of_unverified_reviews_leaves_few_small_records() -> None:
    bench = Bench(per_minute=5)
    for number in range(300):
        await bench.keep(number, Caller.UNVERIFIED)
    kept = await bench.records.search(RecordFilter(limit=1000))
    assert [record.decision.id for record in reversed(kept)] == [f"d-{number}" for number in range(5)]
    assert sum(len(codec.encode(record)) for record in bench.told) < 5 * 8000
    assert all(record.decision.document == b"" and record.caller is Caller.UNVERIFIED for record in bench.told)
    assert [record.decision.id for record in bench.told] == [f"d-{number}" for number in range(5)]
    assert all(record.sampled for record in bench.told)
    assert "sha256:aa" not in repr(bench.told), "which image was seen where is told by others"
    assert bench.left_out == 295
    assert len(bench.lines("decision")) == 5
    bench.clock.seconds += 60
    await bench.keep(300, Caller.UNVERIFIED)
    assert bench.left_out == 295


async def test_what_is_left_out_is_said_once_a_minute() -> None:
    bench = Bench(per_minute=1, minute=0.05)
    for number in range(10):
        await bench.keep(number, Caller.UNVERIFIED)
    await asyncio.sleep(0.2)
    said = bench.lines("unverified reviews not recorded")
    assert [(line["count"], line["recorded_per_minute"]) for line in said] == [(9, 1)]


@pytest.mark.parametrize(
    ("verifying", "caller"),
    [(True, Caller.PATH), (True, Caller.CERTIFICATE), (False, Caller.UNVERIFIED), (False, Caller.LOCAL)],
)
async def test_all_others_are_recorded_whole(verifying: bool, caller: Caller) -> None:
    bench = Bench(verifying=verifying, per_minute=0)
    for number in range(20):
        await bench.keep(number, caller)
    kept = await bench.records.search(RecordFilter(limit=1000))
    assert [len(record.decision.document) for record in bench.told] == [100_000] * 20
    assert len(kept[0].decision.violations) == 1000
    assert not any(record.sampled for record in bench.told)
    assert bench.left_out == 0


async def test_junk_is_sampled_with_them() -> None:
    bench = Bench(per_minute=3)
    for caller in [Caller.UNVERIFIED] * 10 + [Caller.PATH]:
        await bench.recorder.keep_refusal(
            uid="u", code=400, reason="review-malformed", message=f"the key {TOKEN} stands twice", caller=caller,
            deadline=asyncio.get_running_loop().time() + 5,
        )  # fmt: skip
    kept = await bench.records.search(RecordFilter(limit=1000))
    assert [str(record.caller) for record in kept] == ["path", "unverified", "unverified", "unverified"]
    assert TOKEN not in repr(kept) + bench.log.getvalue()
    assert [record.sampled for record in kept] == [False, True, True, True]
    assert bench.left_out == 7
    told = bench.metrics.registry.get_sample_value
    assert told("portcullis_reviews_total", {"caller": "unverified", "verdict": "refused"}) == 10
    decided = {"verdict": "refused", "code": "400", "because": "judged"}
    assert told("portcullis_decisions_total", decided) == 1, "strangers' are no figures of the cluster"


async def test_names_beside_the_document_hold_no_secret() -> None:
    bench = Bench()
    asked = replace(
        request(pod("web")), name=TOKEN, namespace=f"password={TOKEN}", user=UserInfo(TOKEN, groups=(TOKEN,)),
        caller=Caller.PATH,
    )  # fmt: skip
    await bench.recorder.keep(asked, a_decision(), asyncio.get_running_loop().time() + 5)
    (record,) = await bench.records.search(RecordFilter(limit=1000))
    assert (record.name, record.username, record.groups) == ("[redacted]",) * 2 + (("[redacted]",),)
    assert record.namespace == "password=[redacted]"
    assert TOKEN not in bench.log.getvalue()
