"""Design rule 12, over a real OPA: what the gate decided and recorded is decided again alike from the record, and what
cannot be is said to be inexact."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.registry import MemoryRegistry
from portcullis.admission.workloads import WorkloadReader
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes, Override
from portcullis.errors import EngineUnavailable, Unreachable
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate, no_grants
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.image import Access, ImageReference, ResolvedImage
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import LabelSelector, NamespaceFacts, Scope
from portcullis.model.record import AuditRecord
from portcullis.model.request import Operation
from portcullis.model.ruling import CompiledBundle, Mode, PolicySource
from portcullis.policy.batch import Asked, BatchEngine
from portcullis.rejudging import (
    ENGINE_DOWN,
    INVENTORY,
    NEVER_FETCHED,
    NO_DOCUMENT,
    NO_LABELS,
    OTHER_DOCUMENT,
    OUR_FAULT,
    RAW_VALUES,
    Inexact,
    Rejudgement,
    begin,
)
from portcullis.server.clock import SystemClock
from portcullis.standing import Current, Standing
from portcullis.takeover import Takeover
from unit.test_gate import asking as bare_request
from unit.test_gate import pod

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

EARLY = opa.policy(
    "no-host-network",
    'deny contains {"msg": "uses the network of the node", "container": "web"} if input.workload.podSpec.hostNetwork',
)
USER = opa.policy(
    "not-root",
    'deny contains {"msg": "runs as root", "container": c.name, "image": c.image} if {\n'
    "\tsome c in input.containers\n\tnot good(c)\n}\ngood(c) if c.user.root == false",
)
SIGNED = opa.policy(
    "signed",
    'warn contains {"msg": "is not signed", "image": written} if {\n'
    "\tsome written, image in input.images\n\tcount(image.attestations) == 0\n}",
)
WORDS = opa.policy(
    "words",
    "deny contains data.portcullis.parameters.words.say if data.portcullis.parameters.words.say\n"
    'audit contains sprintf("%v", [time.now_ns() > 0])',
)
BROKEN = opa.policy("broken", 'deny contains "x" if to_number(input.workload.name) > 1')
LABELLED = opa.policy("labelled", 'deny contains "no team" if not input.namespace.labels.team')

SOURCES = (EARLY, USER, SIGNED, WORDS, BROKEN)
SOFT = {"broken": Mode.WARN}
LEGACY = PolicyException(
    id="EX-1",
    policies=frozenset({"not-root"}),
    scope=Scope(("shop",)),
    reason="moves soon",
    owner="shop",
    expires=datetime(2100, 1, 1, tzinfo=UTC),
    images=(parse_pattern("registry.example/acme/old"),),
)


def asking(obj: Mapping[str, Any], **fields: Any) -> Any:
    """A request whose raw form is whole, as the API server sends it."""
    request = bare_request(obj, **fields)
    raw = {
        **request.raw,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "name": request.name,
        "userInfo": {"username": request.user.username},
    }
    return dataclasses.replace(request, raw=raw)


@dataclasses.dataclass
class Place:
    """A gate over a real OPA, and what judges its records again."""

    engine: BatchEngine
    compiled: CompiledBundle
    registry: Any
    standing: Standing
    namespaces: Any = None
    asked: Sequence[str] = ()
    grants: Callable[[str], Grants] = no_grants

    async def record(self, request: Any) -> AuditRecord:
        trust = Trust(signers=(), rules=())
        verifier = AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS)
        gate = Gate(
            reader=WorkloadReader(limits=DEFAULT_LIMITS),
            registry=self.registry,
            gatherer=EvidenceGatherer(
                registry=self.registry, verifier=verifier, trust=trust, clock=SystemClock(), limits=DEFAULT_LIMITS
            ),
            inspector=None,
            catalogue=load_catalogue(()),
            engine=self.engine._engine,
            standing=Current(self.standing),
            namespaces=self.namespaces,
            grants=self.grants,
            clock=SystemClock(),
            limits=DEFAULT_LIMITS,
        )
        decision = await gate.decide(request, asyncio.get_running_loop().time() + 20)
        return recorded(request, decision)

    async def again(
        self, record: AuditRecord, standing: Standing | None = None, takeover: Takeover | None = None
    ) -> Decision | Inexact:
        begun = begin(record, standing or self.standing, self.compiled, DEFAULT_LIMITS, takeover)
        if not isinstance(begun, Rejudgement):
            return begun
        question = begun.question
        self.asked = question.policies
        if not question.policies:
            return begun.decided()
        asked = Asked(question.policies, question.document, question.parameters)
        compiled = (standing or self.standing).compiled
        (ruling,) = await self.engine.evaluate(compiled, [asked])
        assert not isinstance(ruling, Exception)
        return begun.decided(ruling)


def recorded(request: Any, decision: Decision) -> AuditRecord:
    return AuditRecord(
        uid=request.uid,
        username=request.user.username,
        groups=(),
        operation=str(request.operation),
        kind=request.kind.kind,
        api_version=request.kind.api_version,
        resource="pods",
        sub_resource=request.sub_resource,
        namespace=request.namespace,
        name=request.name,
        dry_run=False,
        caller=request.caller,
        webhook_version="0",
        decision=decision,
    )


@asynccontextmanager
async def placed(
    opa_binary: Path,
    sources: Sequence[PolicySource] = SOURCES,
    modes: Modes | None = None,
    *,
    registry: Any = None,
    **more: Any,
) -> AsyncIterator[Place]:
    engine = BatchEngine(binary=opa_binary, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        compiled = await engine.compile(opa.bundle(*sources))
        standing = Standing(compiled=compiled, modes=modes or Modes(SOFT), **more)
        yield Place(engine, compiled, registry or images(), standing)
    finally:
        await engine.aclose()


def images() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.add_image("registry.example/acme/web", "1.4", user="1000")
    registry.add_image("registry.example/acme/root", "1.4", user="0")
    registry.add_image("registry.example/acme/old", "1.4", user="0")
    return registry


class Down:
    """A registry that cannot be reached."""

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        raise Unreachable(f"no route to {reference.repository.registry}")


def alike(decision: Decision) -> Mapping[str, Any]:
    """All of it but what time it took."""
    tree = {field.name: getattr(decision, field.name) for field in dataclasses.fields(decision)}
    del tree["elapsed_ms"], tree["timings"]
    return tree


def requests() -> Iterator[tuple[str, Any, Verdict]]:
    yield "good", asking(pod()), Verdict.ADMITTED
    yield "root", asking(pod("registry.example/acme/root:1.4")), Verdict.REFUSED
    yield "excepted", asking(pod("registry.example/acme/old:1.4")), Verdict.ADMITTED
    yield "early", asking(pod("registry.example/acme/root:1.4", hostNetwork=True)), Verdict.REFUSED
    yield "missing", asking(pod("registry.example/acme/nowhere:1")), Verdict.REFUSED
    yield "no reference", asking(pod("NOT AN IMAGE")), Verdict.REFUSED
    yield (
        "unchanged",
        asking(
            pod("registry.example/acme/root:1.4"), old=pod("registry.example/acme/root:1.4"), operation=Operation.UPDATE
        ),
        Verdict.ADMITTED,
    )
    yield (
        "malformed",
        asking({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": 7}}),
        Verdict.REFUSED,
    )
    yield (
        "two images",
        asking(
            {
                **pod(),
                "spec": {
                    "containers": [
                        {"name": "web", "image": "registry.example/acme/web:1.4"},
                        {"name": "side", "image": "registry.example/acme/root:1.4"},
                    ]
                },
            }
        ),
        Verdict.REFUSED,
    )


CASES = {name: (request, verdict) for name, request, verdict in requests()}


@pytest.mark.parametrize("name", CASES)
async def test_a_record_is_decided_again_alike(name: str, opa_binary: Path) -> None:
    request, verdict = CASES[name]
    async with placed(opa_binary, exceptions=Exceptions((LEGACY,))) as place:
        record = await place.record(request)
        assert record.decision.verdict is verdict, record.decision.message
        again = await place.again(record)
    assert isinstance(again, Decision), again
    assert alike(again) == alike(record.decision)


ASKED_AGAIN = {
    "good": {"words", "broken"},
    "root": {"words", "broken"},
    "excepted": {"words", "broken"},
    "early": {"words", "broken"},
    "missing": {"words", "broken"},
    "no reference": {"words", "broken"},
    "unchanged": {"words", "broken"},
    "malformed": set[str](),
    "two images": {"words", "broken"},
}
"""``broken`` fails, and of a violation of ``words``, which has two rules, the record does not tell by which."""


@pytest.mark.parametrize("name", CASES)
async def test_rulings_that_are_taken_over_make_the_same_decision(name: str, opa_binary: Path) -> None:
    """As all policies evaluated do: by the same set, and by other modes without the exception."""
    request, _ = CASES[name]
    async with placed(opa_binary, exceptions=Exceptions((LEGACY,))) as place:
        record = await place.record(request)
        draft = dataclasses.replace(place.standing, modes=Modes({"*": Mode.WARN}), exceptions=Exceptions())
        for standing in (place.standing, draft):
            whole = await place.again(record, standing)
            taken = await place.again(record, standing, Takeover(place.standing, standing, DEFAULT_LIMITS))
            assert set(place.asked) == ASKED_AGAIN[name]
            assert isinstance(whole, Decision | Inexact)
            if isinstance(whole, Inexact):
                assert taken == whole
            else:
                assert isinstance(taken, Decision)
                assert alike(taken) == alike(whole)


async def test_outages_stay_outages(opa_binary: Path) -> None:
    async with placed(opa_binary, registry=Down()) as place:
        record = await place.record(asking(pod()))
        assert record.decision.verdict is Verdict.UNDECIDED
        again = await place.again(record)
        warned = dataclasses.replace(place.standing, modes=Modes({"*": Mode.WARN}))
        softer = await place.again(record, warned)
    assert isinstance(again, Decision)
    assert alike(again) == alike(record.decision)
    assert isinstance(softer, Decision)
    assert softer.verdict is Verdict.ADMITTED
    assert {(one.policy, one.mode) for one in softer.undecided} == {
        (name, Mode.WARN) for name in ("broken", "not-root", "signed")
    }


async def test_modes_parameters_and_exceptions_of_the_draft(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        record = await place.record(asking(pod("registry.example/acme/old:1.4")))
        assert record.decision.verdict is Verdict.REFUSED
        excepted = await place.again(record, dataclasses.replace(place.standing, exceptions=Exceptions((LEGACY,))))
        late = dataclasses.replace(LEGACY, expires=record.decision.decided_at)
        expired = await place.again(record, dataclasses.replace(place.standing, exceptions=Exceptions((late,))))
        saying = Override(Scope(("sh*",)), parameters={"words": {"say": "no"}})
        worded = await place.again(
            record, dataclasses.replace(place.standing, modes=Modes({"*": Mode.WARN}, overrides=(saying,)))
        )
    assert isinstance(excepted, Decision)
    assert (excepted.verdict, excepted.because) == (Verdict.ADMITTED, Because.EXCEPTION)
    assert isinstance(expired, Decision)
    assert expired.verdict is Verdict.REFUSED
    assert isinstance(worded, Decision)
    assert "no" in [violation.msg for violation in worded.violations]


class Cluster:
    async def get(self, name: str) -> NamespaceFacts:
        return NamespaceFacts(name, {"team": "shop"}, {})


async def test_labels_of_the_namespace_are_those_of_the_record(opa_binary: Path) -> None:
    async with placed(opa_binary, (LABELLED, WORDS)) as place:
        place.namespaces = Cluster()
        record = await place.record(asking(pod()))
        assert record.decision.verdict is Verdict.ADMITTED
        again = await place.again(record)
        scope = Scope(labels=LabelSelector({"team": "shop"}))
        hard = Modes(overrides=(Override(scope, parameters={"words": {"say": "no"}}),))
        scoped = await place.again(record, dataclasses.replace(place.standing, modes=hard))
    assert isinstance(again, Decision)
    assert alike(again) == alike(record.decision)
    assert isinstance(scoped, Decision)
    assert scoped.verdict is Verdict.REFUSED


async def test_what_was_never_looked_up_is_inexact(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        early = await place.record(asking(pod(hostNetwork=True)))
        soft = dataclasses.replace(place.standing, modes=Modes({"no-host-network": Mode.WARN, "broken": Mode.WARN}))
        found = await place.again(early, soft)
        plain = await place.record(asking(pod()))
        scope = Scope(labels=LabelSelector({"team": "shop"}))
        by_labels = Modes(overrides=(Override(scope, modes={"*": Mode.DENY}),))
        unlabelled = await place.again(plain, dataclasses.replace(place.standing, modes=by_labels))
    assert isinstance(found, Inexact)
    assert found.reason == NEVER_FETCHED
    assert "not-root" in found.detail
    assert unlabelled == Inexact(NO_LABELS)


async def test_needs_of_a_draft_that_nobody_had_then(opa_binary: Path) -> None:
    async with placed(opa_binary, (USER,)) as place:
        record = await place.record(asking(pod()))
        only_user = place.compiled
    async with placed(opa_binary, (USER, SIGNED)) as draft:
        draft.compiled = only_user
        found = await draft.again(record)
    assert isinstance(found, Inexact)
    assert (found.reason, found.detail) == (NEVER_FETCHED, "attestations, which signed would need")


async def test_other_reasons_why_a_record_is_inexact(opa_binary: Path) -> None:
    async with placed(opa_binary, (EARLY,)) as place:
        good = await place.record(asking(pod()))

        def changed(**fields: Any) -> AuditRecord:
            return dataclasses.replace(good, decision=dataclasses.replace(good.decision, **fields))

        engine_down = changed(problems=(problem("policy", EngineUnavailable.reason),))
        ours = changed(problems=(problem("gate", "internal-error"),))
        older = changed(document=good.decision.document.replace(b'"pinned"', b'"pined"'))
        found = [await place.again(one) for one in (changed(document=b""), engine_down, ours, older)]
        policies = place.compiled.policies
        asks = dataclasses.replace(policies[0], reads_secrets=True)
        secret = dataclasses.replace(place.standing, compiled=dataclasses.replace(place.compiled, policies=(asks,)))
        found.append(await place.again(good, secret))
    reasons = [one.reason for one in found if isinstance(one, Inexact)]
    assert reasons == [NO_DOCUMENT, ENGINE_DOWN, OUR_FAULT, OTHER_DOCUMENT, RAW_VALUES]


def problem(stage: str, reason: str) -> Any:
    from portcullis.model.decision import Problem, Stage

    return Problem(Stage(stage), reason, retryable=True, msg="it was so")


async def test_inventory_makes_a_record_inexact(opa_binary: Path) -> None:
    source = opa.policy("unique", 'deny contains "twice" if data.inventory.cluster')
    async with placed(opa_binary, (EARLY,)) as place:
        record = await place.record(asking(pod()))
        reads = dataclasses.replace(
            place.compiled.policies[0], needs=place.compiled.policies[0].needs | {need("inventory")}
        )
        standing = dataclasses.replace(place.standing, compiled=dataclasses.replace(place.compiled, policies=(reads,)))
        found = await place.again(record, standing)
    assert found == Inexact(INVENTORY, "no-host-network")
    assert "inventory" in source.text


def need(name: str) -> Any:
    from portcullis.model.ruling import Need

    return Need(name)


async def test_a_batch_is_judged_as_each_alone(opa_binary: Path) -> None:
    """Also where one document makes the whole batch fail."""
    async with placed(opa_binary, (USER, WORDS, BROKEN)) as place:
        documents = [
            (await place.record(asking(pod(f"registry.example/acme/{name}:1.4")))).decision.document
            for name in ("web", "root", "old")
        ]
        for names in (("not-root", "words"), ("not-root", "broken")):
            asked = [Asked(names, document, {}) for document in documents]
            together = await place.engine.evaluate(place.compiled, asked)
            alone = [(await place.engine.evaluate(place.compiled, [one]))[0] for one in asked]
            assert together == alone
