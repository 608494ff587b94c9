"""The gate's flow: what is asked when, and what becomes of what cannot be had.

The engine here is scripted, so that every outcome of the port can be put in its place; real Rego in a real OPA is
judged in tests/contract and tests/e2e. Registry and evidence are the in-memory registry and the real verifier.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fakes import samples
from fakes.engine import ScriptedEngine
from fakes.registry import AMD64, MemoryRegistry, image_config
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import REDACTED, Redactor
from portcullis.case import Case
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes, Override
from portcullis.errors import (
    ClusterError,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    InspectionBusy,
    InspectionError,
    LayerMalformed,
    NotFound,
    RegistryError,
    TooLarge,
    Unreachable,
)
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate, no_grants
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import Contents, Package
from portcullis.model.decision import Because, Decision, Stage, Verdict
from portcullis.model.image import Access, HistoryEntry, ImageReference, ImageUser, ResolvedImage, UserSource
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import LabelSelector, NamespaceFacts, Scope
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.model.ruling import (
    CompiledBundle,
    Mode,
    Need,
    PolicyFailure,
    PolicyInfo,
    RuleHit,
    Ruling,
)
from portcullis.ports import Inspector, Namespaces
from portcullis.spans import Span, Trace
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

CATALOGUE = load_catalogue(())
"""Read once: it takes longer than most decisions here."""
IMAGE = "registry.example/acme/web:1.4"
EARLY, LATE, SCAN = "image-source", "image-user", "scan-required"
SHELL, USER, LIST = "image-shell", "image-named-user", "image-packages"
TEAM, UNIQUE = "team-label", "unique-host"
NEEDS = {
    SHELL: frozenset({Need.REQUEST, Need.IMAGE, Need.CONTENTS}),
    USER: frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG, Need.USER}),
    LIST: frozenset({Need.REQUEST, Need.IMAGE, Need.CONTENTS, Need.PACKAGES}),
    TEAM: frozenset({Need.REQUEST, Need.NAMESPACE}),
    UNIQUE: frozenset({Need.REQUEST, Need.INVENTORY}),
    EARLY: frozenset({Need.REQUEST}),
    LATE: frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG}),
    SCAN: frozenset({Need.REQUEST, Need.IMAGE, Need.ATTESTATIONS}),
}


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def info(name: str) -> PolicyInfo:
    return PolicyInfo(
        name=name,
        title=name,
        description="",
        severity="high",
        mode=Mode.DENY,
        docs="",
        needs=NEEDS[name],
        rules=(Mode.DENY,),
    )


@dataclass
class Bench:
    """A gate with everything around it in the test's hands."""

    engine: ScriptedEngine
    registry: MemoryRegistry
    modes: Modes = field(default_factory=Modes)
    policies: Sequence[str] = (EARLY, LATE, SCAN)
    inspector: Inspector | None = None
    exceptions: Exceptions = field(default_factory=Exceptions)
    namespaces: Namespaces | None = None
    redactor: Redactor | None = None
    callers_told_apart: bool = False
    grants: Callable[[str], Grants] = no_grants

    def standing(self) -> Standing:
        return Standing(
            compiled=CompiledBundle(revision="sha256:p", policies=tuple(info(name) for name in self.policies)),
            modes=self.modes,
            exceptions=self.exceptions,
            config_revision="sha256:c",
        )

    def gate(self, registry: Any = None) -> Gate:
        source = registry or self.registry
        trust = Trust(signers=(), rules=())
        verifier = AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS)
        gatherer = EvidenceGatherer(
            registry=source, verifier=verifier, trust=trust, clock=Clock(), limits=DEFAULT_LIMITS
        )
        return Gate(
            reader=WorkloadReader(limits=DEFAULT_LIMITS),
            registry=source,
            gatherer=gatherer,
            inspector=self.inspector,
            catalogue=CATALOGUE,
            engine=self.engine,
            standing=Current(self.standing()),
            namespaces=self.namespaces,
            redactor=self.redactor,
            callers_told_apart=self.callers_told_apart,
            grants=self.grants,
            clock=Clock(),
            limits=DEFAULT_LIMITS,
        )

    async def decide(self, request: AdmissionRequest, seconds: float = 5.0, registry: Any = None) -> Decision:
        return await self.gate(registry).decide(request, asyncio.get_running_loop().time() + seconds)


@pytest.fixture
def bench() -> Bench:
    registry = MemoryRegistry()
    registry.add_image("registry.example/acme/web", "1.4", user="1000")
    return Bench(engine=ScriptedEngine(), registry=registry)


def pod(image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": image}], **spec},
    }


def asking(
    obj: Mapping[str, Any] | None,
    *,
    old: Mapping[str, Any] | None = None,
    operation: Operation = Operation.CREATE,
    username: str = "dana",
) -> AdmissionRequest:
    raw = {"uid": "u-1", "operation": str(operation), "object": obj, "oldObject": old, "namespace": "shop"}
    return AdmissionRequest(
        uid="u-1",
        kind=GroupVersionKind("", "v1", "Pod"),
        resource=GroupVersionResource("", "v1", "pods"),
        sub_resource="",
        name="web",
        namespace="shop",
        operation=operation,
        user=UserInfo(username),
        object=obj,
        old_object=old,
        dry_run=False,
        raw=raw,
        caller=Caller.UNVERIFIED,
    )


def hit(policy: str, rule: Mode = Mode.DENY) -> RuleHit:
    return RuleHit(policy=policy, rule=rule, msg="is wrong", container="web")


class Counting:
    """A Registry that counts what passes through it."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.inner = registry
        self.resolved: list[str] = []
        self.accesses: list[Access] = []

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        self.resolved.append(str(reference))
        self.accesses.append(access)
        return await self.inner.resolve(reference, access)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Hanging(Counting):
    """A registry that does not answer; with ``named`` it names the image and then hangs."""

    def __init__(self, registry: MemoryRegistry, *, named: bool) -> None:
        super().__init__(registry)
        self.named = named

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        if not self.named:
            await asyncio.Event().wait()
        return await super().resolve(reference, access)

    async def referrers(self, *arguments: Any) -> Any:
        await asyncio.Event().wait()


class Broken(Counting):
    """A registry with a fault that is no RegistryError: a bug of ours."""

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        raise ZeroDivisionError


@dataclass
class ScriptedInspector:
    """An Inspector that says what the test says; ``user`` is what it makes of the image's USER."""

    error: Exception | None = None
    hanging: bool = False
    user: ImageUser | None = None
    package_faults: tuple[str, ...] = ()
    asked: int = 0

    async def inspect(self, image: ResolvedImage, access: Access) -> tuple[Contents, ...]:
        self.asked += 1
        if self.hanging:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        packages = None if self.package_faults else PACKAGES
        inside = samples.contents(packages=packages, package_faults=self.package_faults, user=self.user)
        return (inside,) * len(image.platforms)

    def remaining_seconds(self, image: ResolvedImage) -> float:
        return 17.0


async def test_a_good_pod_is_admitted_with_what_was_judged(bench: Bench) -> None:
    decision = await bench.decide(asking(pod()))
    assert (decision.verdict, decision.code, decision.because) == (Verdict.ADMITTED, 200, Because.JUDGED)
    assert [image.written for image in decision.images] == [IMAGE]
    assert decision.images[0].digest.startswith("sha256:")
    assert (decision.message, decision.problems, decision.undecided) == ("", (), ())
    assert (decision.policy_revision, decision.config_revision) == ("sha256:p", "sha256:c")
    assert msgspec.json.decode(decision.document) == bench.engine.documents[-1]
    assert set(decision.timings) == {Stage.ADMISSION, Stage.REGISTRY, Stage.POLICY, Stage.GATE}


async def test_each_step_of_an_image_and_each_stage_is_timed_and_traced(bench: Bench) -> None:
    bench.inspector = ScriptedInspector()
    bench.policies = (EARLY, LATE, SCAN, SHELL)
    gate, ended = bench.gate(), list[Span]()
    trace = Trace(ended=ended.append, spans=100)
    with trace.review("review"):
        decision = await gate.decide(asking(pod()), asyncio.get_running_loop().time() + 5)
    names = {one.span_id: one.name for one in ended}
    assert {(names.get(one.parent_id), one.name) for one in ended} == {
        (None, "review"),
        ("review", "admission"),
        ("review", "policy"),
        ("review", "registry"),
        ("registry", "image"),
        ("image", "resolve"),
        ("image", "evidence"),
        ("image", "layers"),
    }
    (image,) = [one for one in ended if one.name == "image"]
    assert image.attributes == {"image": IMAGE, "digest": decision.images[0].digest}
    assert {step: one.count for step, one in gate.seconds.items()} == {"resolve": 1, "evidence": 1, "layers": 1}


async def test_policies_of_the_request_alone_refuse_before_a_registry_is_asked(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    registry = Counting(bench.registry)
    decision = await bench.decide(asking(pod()), registry=registry)
    assert decision.code == 403
    assert registry.resolved == []
    assert bench.engine.asked == [[EARLY]]
    assert {policy.policy: policy.problems for policy in decision.undecided} == {LATE: (), SCAN: ()}


async def test_a_warning_of_theirs_does_not_end_the_road(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    bench.modes = Modes({EARLY: Mode.WARN})
    decision = await bench.decide(asking(pod()))
    assert decision.code == 200
    assert bench.engine.asked == [[EARLY], [LATE, SCAN]]
    assert decision.warnings == (f'[image-source] container "web" ({IMAGE}): is wrong.',)


async def test_facts_that_no_policy_needs_are_not_fetched(bench: Bench) -> None:
    registry = Counting(bench.registry)
    bench.policies = (EARLY,)
    await bench.decide(asking(pod()), registry=registry)
    assert registry.resolved == []
    bench.policies = (EARLY, LATE)
    decision = await bench.decide(asking(pod()), registry=Hanging(bench.registry, named=True))
    assert decision.code == 200


async def test_an_image_that_stands_twice_is_fetched_once(bench: Bench) -> None:
    registry = Counting(bench.registry)
    containers = [{"name": f"c{number}", "image": IMAGE} for number in range(8)]
    await bench.decide(asking(pod(containers=containers)), registry=registry)
    assert len(registry.resolved) == 1


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [
        (Unreachable("registry.example does not answer"), Verdict.UNDECIDED, 503),
        (NotFound("registry.example has no such image"), Verdict.REFUSED, 403),
    ],
)
async def test_a_fact_that_cannot_be_had_leaves_its_policies_undecided(
    bench: Bench, error: RegistryError, verdict: Verdict, code: int
) -> None:
    bench.registry.fail(IMAGE, error)
    decision = await bench.decide(asking(pod()))
    assert (decision.verdict, decision.code) == (verdict, code)
    assert [policy.policy for policy in decision.undecided] == [LATE, SCAN]
    assert {problem.reason for problem in decision.problems} == {error.reason}
    assert bench.engine.asked == [[EARLY]]
    assert error.reason in decision.message


async def test_a_reference_that_is_none_is_a_problem_of_its_image(bench: Bench) -> None:
    decision = await bench.decide(asking(pod("UPPER/Case:bad tag")))
    assert decision.code == 403
    assert [problem.reason for problem in decision.problems] == ["image-reference-invalid"]


async def test_a_registry_that_hangs_is_an_outage_before_the_deadline(bench: Bench) -> None:
    registry = Hanging(bench.registry, named=False)
    async with asyncio.timeout(5):
        decision = await bench.decide(asking(pod()), seconds=0.2, registry=registry)
    assert decision.code == 503
    assert [problem.reason for problem in decision.problems] == ["deadline-exceeded"]


@pytest.mark.parametrize(
    ("username", "retry"), [("dana", True), ("system:serviceaccount:kube-system:job-controller", False)]
)
async def test_work_that_goes_on_is_pending_and_only_people_are_told_when(
    bench: Bench, username: str, *, retry: bool
) -> None:
    registry = Hanging(bench.registry, named=True)
    decision = await bench.decide(asking(pod(), username=username), seconds=0.2, registry=registry)
    assert (decision.verdict, decision.code) == (Verdict.UNDECIDED, 429)
    assert (decision.retry_after_seconds is not None) is retry
    assert bench.engine.asked == [[EARLY], [LATE]]


async def test_controllers_do_not_wait_in_line_for_a_registry_that_hangs(bench: Bench) -> None:
    """One may; the others are told at once that the image is still being inspected, which is no outage yet."""
    gate = bench.gate(Hanging(bench.registry, named=False))
    name = "system:serviceaccount:kube-system:replicaset-controller"
    started = asyncio.get_running_loop().time()
    asked = [gate.decide(asking(pod(), username=name), started + 3.0) for _ in range(5)]
    decisions, ends = [], []
    for next_one in asyncio.as_completed(asked):
        decisions.append(await next_one)
        ends.append(asyncio.get_running_loop().time() - started)
    assert [decision.code for decision in decisions] == [429, 429, 429, 429, 503]
    assert [decision.problems[0].reason for decision in decisions] == ["inspection-pending"] * 4 + ["deadline-exceeded"]
    assert {decision.retry_after_seconds for decision in decisions} == {None}
    assert ends[3] < 1.5 < ends[4]


@pytest.mark.parametrize("error", [EngineUnavailable("OPA is down"), EngineTimeout("OPA is slow")])
async def test_without_an_engine_nothing_is_passed(bench: Bench, error: EngineError) -> None:
    bench.engine.error = error
    decision = await bench.decide(asking(pod()))
    assert (decision.verdict, decision.code) == (Verdict.UNDECIDED, 503)
    assert [policy.policy for policy in decision.undecided] == [EARLY, LATE, SCAN]


async def test_a_policy_that_fails_is_undecided_and_the_others_are_judged(bench: Bench) -> None:
    bench.engine.failed = [PolicyFailure(SCAN, "policy-failed", "to_number: not a number")]
    bench.modes = Modes({SCAN: Mode.AUDIT})
    decision = await bench.decide(asking(pod()))
    assert decision.code == 200
    assert [(policy.policy, policy.mode) for policy in decision.undecided] == [(SCAN, Mode.AUDIT)]
    bench.modes = Modes()
    assert (await bench.decide(asking(pod()))).code == 403


async def test_silence_about_a_policy_is_no_pass(bench: Bench) -> None:
    bench.engine.silent = frozenset({LATE})
    decision = await bench.decide(asking(pod()))
    assert decision.verdict is Verdict.REFUSED
    assert [problem.reason for problem in decision.problems] == ["policy-undefined"]


@pytest.mark.parametrize("fault", ["registry", "engine", "both", "bug", "hang"])
async def test_with_every_policy_in_audit_nothing_is_refused(bench: Bench, fault: str) -> None:
    bench.modes = Modes({"*": Mode.AUDIT})
    bench.engine.hits = [hit(EARLY), hit(LATE)]
    registry: Any = bench.registry
    if fault in ("registry", "both"):
        bench.registry.fail(IMAGE, Unreachable("down"))
    if fault in ("engine", "both"):
        bench.engine.error = EngineUnavailable("down")
    if fault == "bug":
        registry = Broken(bench.registry)
    if fault == "hang":
        registry = Hanging(bench.registry, named=False)
    decision = await bench.decide(asking(pod()), seconds=0.5, registry=registry)
    assert (decision.verdict, decision.code, decision.warnings) == (Verdict.ADMITTED, 200, ())
    assert decision.undecided
    assert not bench.gate().enforces("shop")


async def test_a_bug_of_ours_is_an_outage_and_no_pass(bench: Bench) -> None:
    decision = await bench.decide(asking(pod()), registry=Broken(bench.registry))
    assert (decision.verdict, decision.code) == (Verdict.UNDECIDED, 503)
    assert [problem.reason for problem in decision.problems] == ["internal-error"]


async def test_a_malformed_workload_is_refused(bench: Bench) -> None:
    decision = await bench.decide(asking({**pod(), "spec": "x"}))
    assert (decision.verdict, decision.code) == (Verdict.REFUSED, 403)
    assert [problem.reason for problem in decision.problems] == ["workload-malformed"]


async def test_an_unchanged_update_is_judged_on_its_request_alone(bench: Bench) -> None:
    old = pod()
    new = {**old, "metadata": {**old["metadata"], "resourceVersion": "2"}}
    registry = Counting(bench.registry)
    decision = await bench.decide(asking(new, old=old, operation=Operation.UPDATE), registry=registry)
    assert (decision.verdict, decision.because) == (Verdict.ADMITTED, Because.UNCHANGED)
    assert (registry.resolved, bench.engine.asked) == ([], [[EARLY]])
    bench.engine.hits = [hit(EARLY)]
    refused = await bench.decide(asking(new, old=old, operation=Operation.UPDATE))
    assert (refused.verdict, refused.because) == (Verdict.REFUSED, Because.UNCHANGED)


async def test_environment_values_are_neither_judged_nor_kept(bench: Bench) -> None:
    spec = {"containers": [{"name": "web", "image": IMAGE, "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}
    decision = await bench.decide(asking(pod(**spec)))
    assert decision.code == 200
    assert b"hunter2" not in decision.document
    assert b"PASSWORD" in decision.document


async def test_an_update_of_an_environment_value_is_a_change(bench: Bench) -> None:
    def with_value(value: str) -> dict[str, Any]:
        return pod(containers=[{"name": "web", "image": IMAGE, "env": [{"name": "A", "value": value}]}])

    decision = await bench.decide(asking(with_value("2"), old=with_value("1"), operation=Operation.UPDATE))
    assert decision.because is Because.JUDGED


async def test_a_delete_is_judged_on_its_request_alone(bench: Bench) -> None:
    registry = Counting(bench.registry)
    decision = await bench.decide(asking(None, old=pod(), operation=Operation.DELETE), registry=registry)
    assert (decision.code, decision.images, registry.resolved) == (200, (), [])


async def test_too_many_images_are_refused_and_not_fetched(bench: Bench) -> None:
    registry = Counting(bench.registry)
    containers = [{"name": f"c{number}", "image": f"{IMAGE}.{number}"} for number in range(101)]
    decision = await bench.decide(asking(pod(containers=containers)), registry=registry)
    assert (decision.code, registry.resolved) == (403, [])
    assert {problem.reason for problem in decision.problems} == {"too-large"}


async def test_a_volume_with_the_name_of_a_container_is_told_apart_by_its_image(bench: Bench) -> None:
    model = "registry.example/acme/model:1"
    bench.registry.add_image("registry.example/acme/model", "1")
    bench.engine.hits = [RuleHit(policy=LATE, rule=Mode.DENY, msg="is wrong", container="web", image=model)]
    spec = {**pod()["spec"], "volumes": [{"name": "web", "image": {"reference": model}}]}
    decision = await bench.decide(asking({**pod(), "spec": spec}))
    assert [(violation.container_kind, violation.image) for violation in decision.violations] == [("volume", model)]


# -- the look into layers ------------------------------------------------------------------------------------------

PACKAGES = (Package("dpkg", "bash", "5.2", "amd64"),)
ROOT = ImageUser(raw="app", uid=0, gid=0, name="app", source=UserSource.PASSWD, root=True)


def inside(decision: Decision) -> dict[str, Any]:
    """``contents`` of the one platform, as the policies saw it."""
    contents: dict[str, Any] = msgspec.json.decode(decision.document)["images"][IMAGE]["platforms"][0]["contents"]
    return contents


async def test_contents_are_looked_at_only_for_a_policy_that_needs_them(bench: Bench) -> None:
    inspector = ScriptedInspector()
    bench.inspector = inspector
    decision = await bench.decide(asking(pod()))
    assert (decision.code, inspector.asked) == (200, 0)
    assert inside(decision)["status"] == "skipped"
    bench.policies = (SHELL,)
    decision = await bench.decide(asking(pod()))
    assert (decision.code, inspector.asked) == (200, 1)
    assert inside(decision)["status"] == "complete"
    assert inside(decision)["packages"] is None


async def test_packages_are_shown_to_who_asks(bench: Bench) -> None:
    bench.inspector, bench.policies = ScriptedInspector(), (LIST,)
    assert inside(await bench.decide(asking(pod())))["packages"][0]["name"] == "bash"


async def test_a_list_of_packages_that_cannot_be_read_is_no_empty_one(bench: Bench) -> None:
    bench.inspector = ScriptedInspector(package_faults=("/var/lib/rpm/Packages is not read",))
    bench.policies = (SHELL, LIST)
    decision = await bench.decide(asking(pod()))
    assert (decision.code, [problem.reason for problem in decision.problems]) == (403, ["packages-unreadable"])
    assert [policy.policy for policy in decision.undecided] == [LIST]
    assert bench.engine.asked == [[SHELL]]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (LayerMalformed("no gzip"), 403, "layer-malformed"),
        (TooLarge("more than layerBytes"), 403, "too-large"),
        (InspectionError("it ended"), 503, "inspection-failed"),
        (Unreachable("no answer"), 503, "registry-unreachable"),
        (InspectionBusy("others first"), 429, "inspection-pending"),
    ],
)
async def test_what_cannot_be_looked_into(bench: Bench, error: Exception, code: int, reason: str) -> None:
    bench.inspector, bench.policies = ScriptedInspector(error=error), (SHELL, SCAN)
    decision = await bench.decide(asking(pod()))
    assert decision.code == code
    (undecided,) = decision.undecided
    assert (undecided.policy, [problem.reason for problem in undecided.problems]) == (SHELL, [reason])
    assert {problem.stage for problem in decision.problems} == {Stage.INSPECTION}
    assert bench.engine.asked == [[SCAN]]


async def test_a_switched_off_inspection_is_no_clean_image(bench: Bench) -> None:
    bench.policies = (SHELL,)
    decision = await bench.decide(asking(pod()))
    assert (decision.code, decision.problems[0].reason) == (403, "inspection-unavailable")


async def test_not_in_time_is_pending_and_says_how_long_it_may_take(bench: Bench) -> None:
    bench.inspector, bench.policies = ScriptedInspector(hanging=True), (SHELL, SCAN)
    decision = await bench.decide(asking(pod()), seconds=0.4)
    assert (decision.code, decision.verdict) == (429, Verdict.UNDECIDED)
    (problem,) = decision.problems
    assert (problem.stage, problem.pending, problem.eta_seconds) == (Stage.INSPECTION, True, 17.0)
    assert decision.retry_after_seconds == 3  # an eighth of it, for a person
    assert inside(decision)["status"] == "pending"
    assert bench.engine.asked == [[SCAN]]


async def test_a_named_user_is_looked_up(bench: Bench) -> None:
    bench.registry.add_image("registry.example/acme/web", "1.4", user="app")
    inspector = ScriptedInspector(user=ROOT)
    bench.inspector, bench.policies = inspector, (USER,)
    decision = await bench.decide(asking(pod()))
    user = msgspec.json.decode(decision.document)["containers"][0]["user"]
    assert (user["root"], user["uid"], user["name"], user["source"]) == (True, 0, "app", "image")
    assert inside(decision)["status"] == "skipped"
    assert inspector.asked == 1


async def test_a_user_that_is_a_number_needs_no_look(bench: Bench) -> None:
    inspector = ScriptedInspector()
    bench.inspector, bench.policies = inspector, (USER,)
    assert (await bench.decide(asking(pod()))).code == 200
    assert inspector.asked == 0


async def test_a_named_user_that_cannot_be_looked_up_yet(bench: Bench) -> None:
    """Only the policy that reads the user waits, not every one that reads the configuration."""
    bench.registry.add_image("registry.example/acme/web", "1.4", user="app")
    bench.inspector, bench.policies = ScriptedInspector(hanging=True), (USER, LATE)
    decision = await bench.decide(asking(pod()), seconds=0.4)
    assert decision.code == 429
    assert [problem.stage for problem in decision.problems] == [Stage.USER]
    assert bench.engine.asked == [[LATE]]


async def test_a_secret_in_the_history_is_shown_to_nobody(bench: Bench) -> None:
    lines = ("RUN |1 NPM_TOKEN=hunter2hunter2 /bin/sh -c npm ci # buildkit", "ENV DB_PASSWORD=hunter2hunter2")
    history = tuple(HistoryEntry(line, empty_layer=True) for line in lines)
    config = image_config("1000", history=history)
    bench.registry.add_image("registry.example/acme/web", "1.4", configs={AMD64: config})
    decision = await bench.decide(asking(pod()))
    assert b"hunter2" not in decision.document
    (platform,) = msgspec.json.decode(decision.document)["images"][IMAGE]["platforms"]
    first, second = platform["config"]["history"]
    assert "NPM_TOKEN=***" in first["createdBy"]
    assert (second["instruction"], second["arguments"]) == ("ENV", "DB_PASSWORD=***")


class Stale(Counting):
    """A registry that cannot be reached, in front of which somebody remembers what it said before."""

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        return dataclasses.replace(await super().resolve(reference, access), stale_since=BEFORE)


BEFORE = datetime(2026, 11, 24, 11, 30, tzinfo=UTC)


async def test_what_a_registry_said_before_its_outage_is_marked_everywhere(bench: Bench) -> None:
    decision = await bench.decide(asking(pod()), registry=Stale(bench.registry))
    assert decision.code == 200
    assert decision.images[0].stale_since == BEFORE
    assert [line.split("]")[0] for line in decision.warnings] == ["[registry-stale"]
    assert msgspec.json.decode(decision.document)["images"][IMAGE]["staleSince"] == "2026-11-24T11:30:00.000000Z"


# -- places and exceptions ---------------------------------------------------------------------------------------------


class Cluster:
    """Namespaces in the test's hands."""

    def __init__(self, labels: Mapping[str, str] | None) -> None:
        self.labels = labels
        self.asked: list[str] = []

    async def get(self, name: str) -> NamespaceFacts:
        self.asked.append(name)
        if self.labels is None:
            raise ClusterError("the API server is away")
        return NamespaceFacts(name, self.labels, {})


EXCEPTION = PolicyException(
    id="EX-12",
    policies=frozenset({EARLY, LATE}),
    scope=Scope(("shop",)),
    reason="moves in January",
    owner="payments",
    expires=datetime(2026, 12, 1, tzinfo=UTC),
)


async def test_an_excepted_violation_refuses_nothing_and_is_shown(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY), hit(LATE)]
    bench.exceptions = Exceptions([EXCEPTION])
    decision = await bench.decide(asking(pod()))
    assert decision.verdict is Verdict.ADMITTED
    assert decision.because is Because.EXCEPTION
    assert [(one.policy, one.mode, one.exception) for one in decision.violations] == [
        (EARLY, Mode.DENY, "EX-12"),
        (LATE, Mode.DENY, "EX-12"),
    ]
    assert decision.warnings[0].startswith(f"[{EARLY}] excepted by EX-12 until 2026-12-01T00:00Z: ")


async def test_what_an_exception_does_not_cover_refuses(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY), hit(SCAN)]
    bench.exceptions = Exceptions([EXCEPTION])
    decision = await bench.decide(asking(pod()))
    assert decision.verdict is Verdict.REFUSED
    assert decision.because is Because.JUDGED
    assert f"[{SCAN}]" in decision.message
    assert f"[{EARLY}]" not in decision.message


async def test_an_exception_that_has_ended_covers_nothing(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    bench.exceptions = Exceptions([dataclasses.replace(EXCEPTION, expires=Clock().now())])
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


async def test_an_exception_for_images_covers_violations_of_these(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    for pattern, verdict in (("registry.example/acme/**", Verdict.ADMITTED), ("other.example/**", Verdict.REFUSED)):
        bench.exceptions = Exceptions([dataclasses.replace(EXCEPTION, images=(parse_pattern(pattern),))])
        assert (await bench.decide(asking(pod()))).verdict is verdict


async def test_a_policy_can_forbid_exceptions(bench: Bench) -> None:
    bench.exceptions = Exceptions([EXCEPTION])
    forbidding = dataclasses.replace(info(EARLY), exceptions_forbidden=True)
    case = Case(asking(pod()), standing=bench.standing(), clock=Clock(), limits=DEFAULT_LIMITS)
    case.take([forbidding], Ruling(frozenset({EARLY}), (hit(EARLY),)))
    assert case.conclude().verdict is Verdict.REFUSED


async def test_an_exception_excuses_no_outage(bench: Bench) -> None:
    bench.engine.error = EngineUnavailable("OPA is down")
    bench.exceptions = Exceptions([EXCEPTION])
    assert (await bench.decide(asking(pod()))).code == 503


SHOPS = Scope((), LabelSelector({"team": "shop"}))


async def test_labels_of_the_namespace_decide_modes(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    bench.modes = Modes(overrides=(Override(SHOPS, {"*": Mode.WARN}),))
    for labels, verdict in (({"team": "shop"}, Verdict.ADMITTED), ({"team": "x"}, Verdict.REFUSED)):
        bench.namespaces = Cluster(labels)
        assert (await bench.decide(asking(pod()))).verdict is verdict
    bench.namespaces = Cluster(None)
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


async def test_labels_that_nobody_needs_are_not_asked_for(bench: Bench) -> None:
    bench.namespaces = cluster = Cluster({})
    await bench.decide(asking(pod()))
    assert cluster.asked == []
    assert bench.engine.documents[0]["namespace"] == {"name": "shop", "labels": None, "annotations": None}


async def test_labels_are_in_the_document_where_somebody_needs_them(bench: Bench) -> None:
    bench.modes = Modes(overrides=(Override(SHOPS, {"*": Mode.WARN}),))
    bench.namespaces = Cluster({"team": "shop"})
    await bench.decide(asking(pod()))
    assert bench.engine.documents[0]["namespace"] == {"name": "shop", "labels": {"team": "shop"}, "annotations": {}}


@pytest.mark.parametrize(("namespaces", "code"), [(Cluster(None), 503), (None, 403)])
async def test_parameters_that_hang_on_unknown_labels_leave_the_policy_undecided(
    bench: Bench, namespaces: Cluster | None, code: int
) -> None:
    """An outage where there is a cluster; where there is none, waiting will not help."""
    bench.policies = (EARLY,)
    bench.modes = Modes(overrides=(Override(SHOPS, parameters={EARLY: {"more": 1}}),))
    bench.namespaces = namespaces
    decision = await bench.decide(asking(pod()))
    assert decision.code == code
    assert [(one.policy, one.problems[0].reason) for one in decision.undecided] == [(EARLY, "namespace-unknown")]
    assert bench.engine.asked == []


async def test_parameters_of_the_place_are_asked_with(bench: Bench) -> None:
    bench.policies = (EARLY,)
    bench.modes = Modes(
        parameters={EARLY: {"a": 1, "b": 1}}, overrides=(Override(Scope(("sh*",)), parameters={EARLY: {"b": 2}}),)
    )
    await bench.decide(asking(pod()))
    assert bench.engine.parameters == [{EARLY: {"a": 1, "b": 2}}]


async def test_a_namespace_that_is_created_is_not_looked_for(bench: Bench) -> None:
    """Policies see the labels that it is to have; the operator's overrides do not go by them."""
    bench.engine.hits = [hit(EARLY)]
    bench.modes = Modes(overrides=(Override(SHOPS, {"*": Mode.WARN}),))
    bench.namespaces = cluster = Cluster({"team": "shop"})
    created = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "shop"}}}
    asked = dataclasses.replace(asking(created), kind=GroupVersionKind("", "v1", "Namespace"))
    assert (await bench.decide(asked)).verdict is Verdict.REFUSED
    assert cluster.asked == []
    assert bench.engine.documents[0]["namespace"] == {"name": "shop", "labels": {"team": "shop"}, "annotations": {}}
    bench.engine.documents.clear()
    changed = dataclasses.replace(asked, operation=Operation.UPDATE)
    assert (await bench.decide(changed)).verdict is Verdict.ADMITTED
    assert cluster.asked == ["shop"]


@pytest.mark.parametrize(
    ("told_apart", "caller", "stranger"),
    [
        (True, Caller.UNVERIFIED, True),
        (True, Caller.PATH, False),
        (True, Caller.CERTIFICATE, False),
        (True, Caller.LOCAL, False),
        (False, Caller.UNVERIFIED, False),
    ],
)
async def test_a_stranger_asks_for_nobody(bench: Bench, told_apart: bool, caller: Caller, stranger: bool) -> None:
    bench.callers_told_apart = told_apart
    registry = Counting(bench.registry)
    secretive = pod(serviceAccountName="builder", imagePullSecrets=[{"name": "regcred"}])
    await bench.decide(dataclasses.replace(asking(secretive), caller=caller), registry=registry)
    expected = Access(stranger=True) if stranger else Access("shop", "builder", ("regcred",))
    assert registry.accesses == [expected]


async def test_a_stranger_is_shown_nothing_of_the_cluster(bench: Bench) -> None:
    """Neither labels, by which a policy or a mode goes, nor other objects."""
    bench.modes = Modes(overrides=(Override(SHOPS, {"*": Mode.WARN}),))
    bench.namespaces = cluster = Cluster({"team": "shop"})
    bench.policies = (EARLY, TEAM, UNIQUE)
    bench.engine.hits = [hit(EARLY)]
    bench.callers_told_apart = True
    decision = await bench.decide(asking(pod()))
    assert cluster.asked == []
    assert bench.engine.asked == [[EARLY]]
    assert {one.policy: [problem.reason for problem in one.problems] for one in decision.undecided} == {
        TEAM: ["namespace-unknown"],
        UNIQUE: ["inventory-unavailable"],
    }
    assert decision.violations[0].mode is Mode.DENY
    assert "did not show that it is the API server" in decision.problems[0].msg
    verified = await bench.decide(dataclasses.replace(asking(pod()), caller=Caller.PATH))
    assert (cluster.asked, verified.violations[0].mode) == (["shop"], Mode.WARN)


async def test_a_stranger_takes_no_turn_of_the_controller_that_he_says_he_is(bench: Bench) -> None:
    bench.callers_told_apart = True
    gate = bench.gate(Hanging(bench.registry, named=False))
    deadline = asyncio.get_running_loop().time() + 1.0
    controller = asking(pod(), username="system:serviceaccount:kube-system:replicaset-controller")
    forged = [asyncio.create_task(gate.decide(controller, deadline)) for _ in range(3)]
    await asyncio.sleep(DEFAULT_LIMITS.moment_seconds + 0.1)  # now the turns are taken
    true = await gate.decide(dataclasses.replace(controller, caller=Caller.PATH), deadline)
    assert {problem.reason for problem in true.problems} == {"deadline-exceeded"}, "it waited to the end"
    await asyncio.gather(*forged)


TOKEN = "ghp_" + "Ab1" * 12


async def test_policies_and_the_record_see_no_secret(bench: Bench) -> None:
    judged = pod()
    judged["spec"]["containers"][0]["args"] = ["--token", TOKEN]
    decision = await bench.decide(asking(judged))
    assert decision.verdict is Verdict.ADMITTED
    assert TOKEN.encode() not in decision.document
    assert json.loads(decision.document)["containers"][0]["spec"]["args"] == ["--token", REDACTED]
    assert (decision.masked, decision.masked_places) == (("/request/object/spec/containers/0/args/1",), 1)


async def test_without_redaction_nothing_is_judged_and_no_input_is_kept(bench: Bench) -> None:
    bench.redactor = Redactor(limits=Limits(suspect_chars=100))
    judged = pod()
    judged["metadata"]["annotations"] = {"note": f"password=hunter2 {TOKEN} " * 20}
    asked = dataclasses.replace(asking(judged), name=TOKEN)
    decision = await bench.decide(asked)
    assert (decision.verdict, decision.code, decision.document) == (Verdict.REFUSED, 403, b"")
    assert {policy.policy for policy in decision.undecided} == {EARLY, LATE, SCAN}
    assert [problem.reason for problem in decision.problems] == ["redaction-failed"]
    assert TOKEN not in repr(decision)
    assert bench.engine.asked == []
    bench.modes = Modes(modes={"*": Mode.AUDIT})
    assert (await bench.decide(asked)).verdict is Verdict.ADMITTED


async def test_an_image_says_no_secret_of_itself(bench: Bench) -> None:
    said = image_config(
        "1000", cmd=("--password=hunter2", TOKEN), labels={"api-token": "hunter2", "note": f"a {TOKEN}"}
    )
    plain = image_config("1000", cmd=("--verbose",))
    bench.registry.add_image("registry.example/acme/web", "2", configs={AMD64: said})
    bench.registry.add_image("registry.example/acme/web", "3", configs={AMD64: plain})
    judged = pod("registry.example/acme/web:2")
    judged["spec"]["containers"].append({"name": "b", "image": "registry.example/acme/web:3"})
    for _ in range(2):  # from the registry, and as it is remembered
        decision = await bench.decide(asking(judged))
        images = json.loads(decision.document)["images"]
        first, second = (images[f"registry.example/acme/web:{tag}"]["platforms"][0]["config"] for tag in "23")
        assert first["cmd"] == [f"--password={REDACTED}", REDACTED]
        assert first["labels"] == {"api-token": REDACTED, "note": f"a {REDACTED}"}
        assert (second["cmd"], second["entrypoint"]) == (["--verbose"], ["/app/server"])
    bench.redactor = Redactor(limits=Limits(suspect_chars=10))
    decision = await bench.decide(asking(judged))
    assert {problem.reason for problem in decision.problems} == {"redaction-failed"}
    assert {policy.policy for policy in decision.undecided} == {LATE, SCAN}
