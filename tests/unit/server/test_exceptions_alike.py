"""One exception, and one grant, by every way on which something is judged: the webhook, a command, the re-check (which
is what ``scan`` does too), and the replay; up to the instant of its end, and from then on."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fakes.asgi import call
from fakes.callers import by_path
from fakes.engine import ScriptedEngine
from fakes.records import InMemoryRecords
from fakes.registry import MemoryRegistry
from fakes.reviews import pod, request, review
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import Redactor
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.grants import Grants
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import no_inventory
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.grant import Grant
from portcullis.model.image import Access, Repository
from portcullis.model.place import Scope
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo, RuleHit
from portcullis.model.running import Condition, ObjectRef, Rejudged, RunningImage, RunningPods
from portcullis.rejudging import Rejudgement, begin
from portcullis.server.judging import judging
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics
from portcullis.server.validate import ReviewHandler
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio

END = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
IMAGE = "registry.example/acme/web:1.4"
USER, OTHER = "image-user", "image-shell"
CATALOGUE = load_catalogue(())

EXCEPTION = PolicyException(
    id="EX-1", policies=frozenset({USER}), scope=Scope(("shop",)), reason="moves soon", owner="shop", expires=END
)
GRANT = Grant(
    namespace="shop",
    name="inc",
    uid="u",
    policies=("*",),
    images=("registry.example/acme/**",),
    digests=(),
    covers_problems=False,
    reason="checkout is down",
    created=END - timedelta(hours=1),
    expires=END,
)


def policy(name: str) -> PolicyInfo:
    needs = frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG})
    return PolicyInfo(name, "", "", "high", Mode.DENY, "", needs, (Mode.DENY,))


@dataclass
class Clock:
    instant: datetime = END - TICK

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


async def one_credential(repository: Repository, access: Access) -> str:
    return "same"


@dataclass
class Ways:
    """All ways, over one registry, engine and clock, put together as the program does it."""

    exceptions: tuple[PolicyException, ...] = (EXCEPTION,)
    grants: tuple[Grant, ...] = ()
    broken: tuple[str, ...] = (USER,)
    clock: Clock = field(default_factory=Clock)
    told: list[AuditRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        registry = MemoryRegistry()
        self.digest = registry.add_image("registry.example/acme/web", "1.4", user="0").digest
        hits = [RuleHit(policy=name, rule=Mode.DENY, msg="is wrong", container="c0") for name in self.broken]
        self.engine = ScriptedEngine(hits=hits)
        trust = Trust(signers=(), rules=())
        self.gate, self.rechecker = judging(
            Settings(),
            reader=WorkloadReader(limits=DEFAULT_LIMITS),
            registry=registry,
            identify=one_credential,
            gatherer=EvidenceGatherer(
                registry=registry,
                verifier=AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS),
                trust=trust,
                clock=self.clock,
                limits=DEFAULT_LIMITS,
            ),
            inspector=None,
            catalogue=CATALOGUE,
            engine=self.engine,
            standing=self.standing,
            namespaces=None,
            inventory=no_inventory,
            admissions=None,
            remembering=None,
            grants=lambda namespace: Grants([one for one in self.grants if one.namespace == namespace]),
            redactor=Redactor(),
            clock=self.clock,
            limits=DEFAULT_LIMITS,
        )
        metrics = Metrics()
        recorder = Recorder(
            records=InMemoryRecords(),
            clock=self.clock,
            metrics=metrics,
            standing=self.standing,
            text=Redactor().text,
            sampling=Sampling(verifying=False, per_minute=5, clock=self.clock, metrics=metrics),
            also=self.told.append,
        )
        self.handler = ReviewHandler(
            gate=self.gate,
            recorder=recorder,
            clock=self.clock,
            limits=DEFAULT_LIMITS,
            metrics=metrics,
            callers=by_path(),
        )

    def standing(self) -> Standing:
        compiled = CompiledBundle("sha256:p", (policy(USER), policy(OTHER)))
        return Standing(compiled, exceptions=Exceptions(self.exceptions), config_revision="c")

    async def webhook(self) -> tuple[Mapping[str, Any], AuditRecord]:
        """The answer to the API server, and its record."""
        answer = await call(self.handler, "/validate", [json.dumps(review(pod(IMAGE))).encode()], query=b"timeout=10s")
        return answer.response, self.told[-1]

    async def command(self) -> Decision:
        """As ``check`` asks."""
        asked = replace(request(pod(IMAGE)), caller=Caller.LOCAL)
        return await self.gate.decide(asked, self.clock.monotonic() + 10)

    async def recheck(self) -> Rejudged:
        """As a round, or ``scan``, asks."""
        running = RunningImage(IMAGE, f"registry.example/acme/web@{self.digest}", self.digest, container="c0")
        owner = ObjectRef("v1", "Pod", "shop", "web")
        self.rechecker.begin()
        return await self.rechecker.judge(RunningPods(owner, pod(IMAGE), ("web",), 1, (running,), "key"))

    async def replay(self, record: AuditRecord, standing: Standing | None = None) -> Decision:
        judged_by = standing or self.standing()
        begun = begin(record, judged_by, self.standing().compiled, DEFAULT_LIMITS)
        assert isinstance(begun, Rejudgement), begun
        question = begun.question
        ruling = await self.engine.evaluate(judged_by.compiled, question.policies, question.document, 0.0)
        decision = begun.decided(ruling)
        assert isinstance(decision, Decision), decision
        return decision


COVERED = [
    pytest.param({"exceptions": (EXCEPTION,)}, Because.EXCEPTION, "EX-1", Condition.EXCEPTED, id="exception"),
    pytest.param(
        {"exceptions": (), "grants": (GRANT,)},
        Because.BREAK_GLASS,
        "break-glass:shop/inc",
        Condition.BREAK_GLASS,
        id="grant",
    ),
]


@pytest.mark.parametrize(("made", "because", "covering", "condition"), COVERED)
async def test_every_way_honours_it_to_its_last_instant(
    made: dict[str, Any], because: Because, covering: str, condition: Condition
) -> None:
    ways = Ways(**made)
    response, record = await ways.webhook()
    assert response["allowed"]
    rejudged = await ways.recheck()
    decisions = [record.decision, await ways.command(), rejudged.decision, await ways.replay(record)]
    assert [decision.because for decision in decisions] == [because] * 4
    for decision in decisions:
        assert [(one.policy, one.exception, one.excepted_until) for one in decision.violations] == [
            (USER, covering, END)
        ]
    assert rejudged.condition is condition


@pytest.mark.parametrize(("made", "because", "covering", "condition"), COVERED)
async def test_from_its_end_on_no_way_does(
    made: dict[str, Any], because: Because, covering: str, condition: Condition
) -> None:
    ways = Ways(**made)
    _, before = await ways.webhook()
    ways.clock.instant = END
    response, record = await ways.webhook()
    assert (response["allowed"], response["status"]["code"]) == (False, 403)
    rejudged = await ways.recheck()
    decisions = [record.decision, await ways.command(), rejudged.decision, await ways.replay(record)]
    for decision in decisions:
        assert (decision.verdict, decision.because) == (Verdict.REFUSED, Because.JUDGED)
        assert [(one.policy, one.exception) for one in decision.violations] == [(USER, "")]
    assert rejudged.condition is Condition.FAILING
    # What was admitted before is judged by the instant at which it was.
    assert (await ways.replay(before)).because is because


@pytest.mark.parametrize(("made", "because", "covering", "condition"), COVERED[:1])
async def test_another_policy_refuses_by_every_way_whatever_is_excepted(
    made: dict[str, Any], because: Because, covering: str, condition: Condition
) -> None:
    ways = Ways(**made, broken=(USER, OTHER))
    response, record = await ways.webhook()
    assert not response["allowed"]
    rejudged = await ways.recheck()
    for decision in (record.decision, await ways.command(), rejudged.decision, await ways.replay(record)):
        assert decision.verdict is Verdict.REFUSED
        assert {one.policy: one.exception for one in decision.violations} == {USER: covering, OTHER: ""}


async def test_a_replay_shows_what_an_exception_would_let_through_and_what_its_loss_would_refuse() -> None:
    without = Ways(exceptions=())
    _, refused = await without.webhook()
    assert refused.decision.verdict is Verdict.REFUSED
    draft = Ways().standing()
    assert (await without.replay(refused, draft)).because is Because.EXCEPTION
    _, admitted = await Ways().webhook()
    assert (await without.replay(admitted)).verdict is Verdict.REFUSED
