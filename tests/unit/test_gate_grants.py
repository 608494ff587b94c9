"""Break-glass through the gate: what a grant lets in, and what it does not, with everything around it down."""

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from fakes.decisions import open_grant
from fakes.engine import ScriptedEngine
from fakes.registry import MemoryRegistry
from portcullis.admission.review import render_review
from portcullis.case import Case
from portcullis.decision.exceptions import Exceptions
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes
from portcullis.errors import EngineUnavailable, Unreachable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.grant import Grant
from portcullis.model.image import Access, ImageReference, ResolvedImage
from portcullis.model.request import AdmissionRequest, Caller, GroupVersionKind, Operation
from portcullis.model.ruling import Mode, PolicyFailure, RuleHit, Ruling
from unit.test_gate import (
    EARLY,
    EXCEPTION,
    IMAGE,
    LATE,
    SCAN,
    Bench,
    Broken,
    Clock,
    Counting,
    asking,
    hit,
    info,
    pod,
)

pytestmark = pytest.mark.anyio

NOW: datetime = Clock().now()
OTHER = "registry.example/other/tool:1"
GRANT = open_grant(created=NOW - timedelta(minutes=5), expires=NOW + timedelta(hours=1))
VIOLATIONS_ALONE = dataclasses.replace(GRANT, name="violations", covers_problems=False)
UNTIL, WEB = "break-glass:shop/down until 2026-11-24T13:00Z", f'container "web" ({IMAGE})'
FOR_WEB = dataclasses.replace(GRANT, name="web", images=("registry.example/acme/web",))


@pytest.fixture
def bench() -> Bench:
    registry = MemoryRegistry()
    for repository, tag in (("acme/web", "1.4"), ("other/tool", "1")):
        registry.add_image(f"registry.example/{repository}", tag, user="1000")
    return Bench(engine=ScriptedEngine(), registry=registry)


def granting(*grants: Grant) -> Callable[[str], Grants]:
    """As what is watched gives them: those of the namespace alone."""
    return lambda namespace: Grants(one for one in grants if one.namespace == namespace)


def two_images(first: str = IMAGE, second: str = OTHER) -> dict[str, Any]:
    return pod(containers=[{"name": "web", "image": first}, {"name": "tool", "image": second}])


class Unreached(Counting):
    """A registry that cannot be reached, of all images or of these."""

    def __init__(self, registry: MemoryRegistry, *images: str) -> None:
        super().__init__(registry)
        self.images = images

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        if not self.images or str(reference) in self.images:
            raise Unreachable("registry.example: no answer")
        return await super().resolve(reference, access)


def covered(decision: Decision) -> list[tuple[str, str]]:
    return [(one.policy, one.exception) for one in decision.covered]


# -- what it lets in -------------------------------------------------------------------------------------------------


async def test_violations_are_let_through_recorded_and_told(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY), hit(LATE)]
    bench.grants = granting(GRANT)
    decision = await bench.decide(asking(pod()))
    assert (decision.verdict, decision.code, decision.because) == (Verdict.ADMITTED, 200, Because.BREAK_GLASS)
    assert covered(decision) == [(EARLY, GRANT.id), (LATE, GRANT.id)]
    assert {one.excepted_until for one in decision.covered} == {GRANT.expires}
    assert decision.grants == (GRANT,)
    assert bench.engine.asked == [[EARLY], [LATE, SCAN]]
    assert decision.warnings == (
        "[break-glass] shop/down until 2026-11-24T13:00Z: lets 2 violations pass. payments must go out.",
        f"[image-source] excepted by {UNTIL}: {WEB}: is wrong.",
        f"[image-user] excepted by {UNTIL}: {WEB}: is wrong.",
    )
    answer = json.loads(render_review("u-1", decision))["response"]
    assert answer["allowed"]
    assert answer["auditAnnotations"] == {
        "break-glass": "break-glass:shop/down",
        "decision-id": decision.id,
        "policy-revision": "sha256:p",
        "verdict": "admitted",
    }


async def test_with_opa_and_registry_down(bench: Bench) -> None:
    bench.engine.error = EngineUnavailable("OPA is not there")
    bench.grants = granting(GRANT)
    decision = await bench.decide(asking(pod()), registry=Unreached(bench.registry))
    assert (decision.verdict, decision.because) == (Verdict.ADMITTED, Because.BREAK_GLASS)
    assert covered(decision) == [(EARLY, GRANT.id), (LATE, GRANT.id), (SCAN, GRANT.id)]
    assert {problem.reason for problem in decision.problems} == {"engine-unavailable", "registry-unreachable"}
    first, *others = decision.warnings
    assert "lets 3 policies that could not be evaluated pass" in first
    assert len(others) == 2
    assert all(line.endswith("Covered by break-glass:shop/down.") for line in others)


@pytest.mark.parametrize(
    ("request_", "registry"),
    [
        pytest.param(asking({**pod(), "spec": "x"}), MemoryRegistry, id="a malformed workload"),
        pytest.param(asking(pod()), lambda: Broken(MemoryRegistry()), id="a fault of ours"),
        pytest.param(asking(pod("UPPER/Case:bad tag")), MemoryRegistry, id="a name that cannot be read"),
    ],
)
async def test_whatever_keeps_policies_from_being_evaluated(
    bench: Bench, request_: AdmissionRequest, registry: Callable[[], Any]
) -> None:
    bench.grants = granting(GRANT)
    assert (await bench.decide(request_, registry=registry())).because is Because.BREAK_GLASS
    bench.grants = granting(FOR_WEB if "UPPER" in str(request_.object) else VIOLATIONS_ALONE)
    assert (await bench.decide(request_, registry=registry())).verdict is not Verdict.ADMITTED


async def test_a_single_policy_that_fails(bench: Bench) -> None:
    bench.engine.failed = [PolicyFailure(LATE, "policy-failed", "a builtin failed")]
    bench.grants = granting(dataclasses.replace(GRANT, policies=(LATE,)))
    assert (await bench.decide(asking(pod()))).because is Because.BREAK_GLASS
    bench.grants = granting(dataclasses.replace(GRANT, policies=(SCAN,)))
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


async def test_an_update_that_changed_nothing_and_would_be_refused(bench: Bench) -> None:
    """Policies of the request alone still run; what they would have refused is break-glass, and no unchanged."""
    bench.engine.hits = [hit(EARLY)]
    update = asking(pod(), old=pod(), operation=Operation.UPDATE)
    assert (await bench.decide(update)).code == 403
    bench.grants = granting(GRANT)
    decision = await bench.decide(update)
    assert (decision.because, decision.grants) == (Because.BREAK_GLASS, (GRANT,))
    bench.engine.hits = []
    assert (await bench.decide(update)).because is Because.UNCHANGED


async def test_where_nothing_needed_it_nothing_is_said_of_it(bench: Bench) -> None:
    bench.grants = granting(GRANT)
    decision = await bench.decide(asking(pod()))
    assert (decision.because, decision.grants, decision.warnings) == (Because.JUDGED, (), ())
    assert "break-glass" not in json.loads(render_review("u-1", decision))["response"]["auditAnnotations"]


async def test_a_grant_that_covers_what_would_only_have_warned_lets_nobody_in(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    bench.modes = Modes({EARLY: Mode.WARN})
    bench.grants = granting(GRANT)
    decision = await bench.decide(asking(pod()))
    assert (decision.because, decision.grants) == (Because.JUDGED, (GRANT,))


async def test_what_is_refused_all_the_same_is_no_break_glass(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY), hit(LATE)]
    bench.grants = granting(dataclasses.replace(GRANT, policies=(EARLY,)))
    decision = await bench.decide(asking(pod()))
    assert (decision.verdict, decision.because) == (Verdict.REFUSED, Because.JUDGED)
    assert f"[{LATE}]" in decision.message
    assert f"[{EARLY}]" not in decision.message
    assert decision.grants[0].policies == (EARLY,)


async def test_two_that_let_it_in_together_are_both_named(bench: Bench) -> None:
    """Each covers another violation wholly; with one of them it would be refused."""
    bench.engine.hits = [hit(EARLY), hit(LATE)]
    ones = [dataclasses.replace(GRANT, name=policy, policies=(policy,)) for policy in (LATE, EARLY)]
    bench.grants = granting(*ones)
    decision = await bench.decide(asking(pod()))
    annotations = json.loads(render_review("u-1", decision))["response"]["auditAnnotations"]
    assert annotations["break-glass"] == f"break-glass:shop/{EARLY}, break-glass:shop/{LATE}"
    assert [line.split(" until")[0] for line in decision.warnings[:2]] == [
        f"[break-glass] shop/{EARLY}",
        f"[break-glass] shop/{LATE}",
    ]
    bench.grants = granting(ones[0])
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


# -- what it does not let in -----------------------------------------------------------------------------------------


async def test_a_grant_for_one_image_lets_nothing_else_through(bench: Bench) -> None:
    bench.engine.hits = [
        RuleHit(policy=LATE, rule=Mode.DENY, msg="is wrong", container="web"),
        RuleHit(policy=LATE, rule=Mode.DENY, msg="is wrong", container="tool"),
    ]
    bench.grants = granting(FOR_WEB)
    decision = await bench.decide(asking(two_images()))
    assert decision.verdict is Verdict.REFUSED
    assert [(one.container, one.exception) for one in decision.violations] == [("web", FOR_WEB.id), ("tool", "")]
    assert (await bench.decide(asking(two_images(second=IMAGE)))).because is Because.BREAK_GLASS


async def test_nor_a_violation_of_the_whole_pod(bench: Bench) -> None:
    bench.engine.hits = [RuleHit(policy=EARLY, rule=Mode.DENY, msg="uses the network of the node")]
    bench.grants = granting(FOR_WEB)
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


async def test_nor_an_image_that_only_the_policy_names(bench: Bench) -> None:
    """What a policy says of images that are none of the request's covers nothing."""
    bench.engine.hits = [RuleHit(policy=EARLY, rule=Mode.DENY, msg="is wrong", image="registry.example/acme/web:9")]
    bench.grants = granting(FOR_WEB)
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("images", "down", "verdict"),
    [
        pytest.param((IMAGE, IMAGE), (), Verdict.ADMITTED, id="the image, and nothing can be reached"),
        pytest.param((IMAGE, OTHER), (IMAGE,), Verdict.UNDECIDED, id="another one beside it, which can be"),
        pytest.param((IMAGE, OTHER), (), Verdict.UNDECIDED, id="neither can be"),
    ],
)
async def test_nor_the_outage_of_another_one(
    bench: Bench, images: tuple[str, str], down: tuple[str, ...], verdict: Verdict
) -> None:
    bench.grants = granting(FOR_WEB)
    decision = await bench.decide(asking(two_images(*images)), registry=Unreached(bench.registry, *down))
    assert decision.verdict is verdict


async def test_a_grant_for_a_digest_needs_that_digest(bench: Bench) -> None:
    bench.engine.hits = [hit(LATE)]
    web = bench.registry.add_image("registry.example/acme/web", "1.4", user="1000").digest
    tool = bench.registry.add_image("registry.example/other/tool", "1", user="1000").digest
    for digest, verdict in ((web, Verdict.ADMITTED), ("sha256:" + "0" * 64, Verdict.REFUSED)):
        bench.grants = granting(dataclasses.replace(GRANT, digests=(digest,)))
        assert (await bench.decide(asking(pod()))).verdict is verdict
    bench.grants = granting(dataclasses.replace(GRANT, digests=(web, tool)))
    down = Unreached(bench.registry)
    pinned = f"registry.example/acme/web@{web}"
    assert (await bench.decide(asking(pod(pinned)), registry=down)).because is Because.BREAK_GLASS
    assert (await bench.decide(asking(pod()), registry=down)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("error", [None, EngineUnavailable("OPA is not there")], ids=["violated", "OPA is down"])
@pytest.mark.parametrize(
    "grant",
    [
        pytest.param(dataclasses.replace(GRANT, namespace="shop-2"), id="another namespace"),
        pytest.param(dataclasses.replace(GRANT, expires=NOW), id="it ends now"),
        pytest.param(dataclasses.replace(GRANT, policies=(SCAN,)), id="another policy"),
    ],
)
async def test_one_that_does_not_hold(bench: Bench, grant: Grant, error: Exception | None) -> None:
    bench.engine.hits, bench.engine.error = [hit(EARLY), hit(LATE)], error
    bench.grants = lambda _: Grants([grant])
    decision = await bench.decide(asking(pod()))
    assert decision.verdict is not Verdict.ADMITTED
    assert not decision.grants or grant.policies == (SCAN,)


async def test_one_that_covers_no_problems_excuses_no_outage(bench: Bench) -> None:
    bench.engine.error = EngineUnavailable("OPA is not there")
    bench.grants = granting(VIOLATIONS_ALONE)
    assert (await bench.decide(asking(pod()))).code == 503


async def test_a_policy_that_forbids_exceptions_is_covered_by_no_grant() -> None:
    forbidding = dataclasses.replace(info(EARLY), exceptions_forbidden=True)
    for take in (
        lambda case: case.take([forbidding], Ruling(frozenset({EARLY}), (hit(EARLY),))),
        lambda case: case.take([forbidding], Ruling(frozenset(), (), (PolicyFailure(EARLY, "policy-failed", "no"),))),
    ):
        case = Case(
            asking(pod()),
            standing=Bench(ScriptedEngine(), MemoryRegistry()).standing(),
            clock=Clock(),
            limits=DEFAULT_LIMITS,
        )
        case.grants = Grants([GRANT])
        take(case)
        assert case.conclude().verdict is Verdict.REFUSED


@pytest.mark.parametrize("about", [("", "Namespace"), ("rbac.authorization.k8s.io", "ClusterRole")])
async def test_what_lies_in_no_namespace_is_covered_by_none(bench: Bench, about: tuple[str, str]) -> None:
    """The request of a namespace names it, as if it lay in itself."""
    group, kind = about
    bench.engine.error = EngineUnavailable("OPA is not there")
    bench.grants = lambda _: Grants([GRANT])
    namespace = "shop" if kind == "Namespace" else ""
    made = asking({"apiVersion": f"{group}/v1".strip("/"), "kind": kind, "metadata": {"name": "shop"}})
    request = dataclasses.replace(made, kind=GroupVersionKind(group, "v1", kind), namespace=namespace)
    assert (await bench.decide(request)).code == 503


async def test_a_stranger_is_told_of_no_grant(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY)]
    bench.callers_told_apart = True
    bench.grants = granting(GRANT)
    assert (await bench.decide(asking(pod()))).verdict is Verdict.REFUSED
    known = dataclasses.replace(asking(pod()), caller=Caller.PATH)
    assert (await bench.decide(known)).because is Because.BREAK_GLASS


async def test_they_are_asked_for_once_and_a_fault_in_it_admits_nothing(bench: Bench) -> None:
    asked: list[str] = []

    def counting(namespace: str) -> Grants:
        asked.append(namespace)
        return Grants([GRANT]) if len(asked) == 1 else Grants()

    bench.engine.hits = [hit(EARLY), hit(LATE)]
    bench.grants = counting
    assert (await bench.decide(asking(pod()))).because is Because.BREAK_GLASS
    assert asked == ["shop"]

    def broken(_: str) -> Grants:
        raise ZeroDivisionError

    bench.grants = broken
    decision = await bench.decide(asking(pod()))
    assert (decision.code, decision.problems[0].reason) == (503, "internal-error")


# -- with exceptions -------------------------------------------------------------------------------------------------


async def test_exceptions_come_first_and_a_grant_is_used_for_the_rest(bench: Bench) -> None:
    bench.engine.hits = [hit(EARLY), hit(SCAN)]
    bench.exceptions = Exceptions([EXCEPTION])
    bench.grants = granting(GRANT)
    decision = await bench.decide(asking(pod()))
    assert covered(decision) == [(EARLY, "EX-12"), (SCAN, GRANT.id)]
    assert (decision.because, decision.grants) == (Because.BREAK_GLASS, (GRANT,))
    bench.engine.hits = [hit(EARLY)]
    decision = await bench.decide(asking(pod()))
    assert (covered(decision), decision.because, decision.grants) == ([(EARLY, "EX-12")], Because.EXCEPTION, ())


async def test_warnings_of_grants_come_before_all_others(bench: Bench) -> None:
    bench.engine.hits = [hit(LATE)] * 40
    bench.modes = Modes({LATE: Mode.WARN})
    bench.engine.failed = [PolicyFailure(SCAN, "policy-failed", "a builtin failed")]
    bench.grants = granting(dataclasses.replace(GRANT, policies=(SCAN,), reason="x\u202ey\n" * 100))
    decision = await bench.decide(asking(pod()))
    assert decision.warnings[0].startswith("[break-glass] shop/down until 2026-11-24T13:00Z: lets 1 policy that could")
    assert len(decision.warnings) == DEFAULT_LIMITS.warnings
    assert "\u202e" not in decision.warnings[0]


async def test_thousands_of_violations_and_the_most_grants_take_no_time_of_others(bench: Bench) -> None:
    """Each grant reads its patterns once, and compares each repository once."""
    many = [
        dataclasses.replace(
            GRANT, name=f"{number}", images=tuple(f"registry.example/{number}/{at}/**" for at in range(16))
        )
        for number in range(50)
    ]
    grants = Grants(many)
    bench.grants = lambda _: grants
    bench.engine.hits = [hit(LATE)] * 5000
    await bench.decide(asking(pod()))
    assert {len(read._known) for read in grants._read} == {1}
