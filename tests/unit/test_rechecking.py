"""How a running workload stands: by the ways of the gate, by its tags, and by how it was let in."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from fakes.decisions import open_grant
from fakes.rechecks import NOW, GivenAdmissions, Rechecking, admitted, group_of
from fakes.registry import MemoryRegistry
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes
from portcullis.errors import RecordsError, Unreachable
from portcullis.model.decision import Because, Verdict
from portcullis.model.grant import Grant
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import Scope
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode, RuleHit
from portcullis.model.running import Condition, MovedTag, Rejudged
from portcullis.rechecking import USER, creation_of

pytestmark = pytest.mark.anyio

WEB, SIDE = "registry.example/acme/web", "registry.example/acme/side"
WRITTEN = f"{WEB}:1"
EXCEPTION = PolicyException(
    id="EX-1",
    policies=frozenset({"image-user"}),
    scope=Scope(("shop",)),
    reason="moves soon",
    owner="shop",
    expires=NOW + timedelta(hours=1),
    images=(parse_pattern("registry.example/**"),),
)
GRANT = open_grant(created=NOW - timedelta(minutes=5), expires=NOW + timedelta(hours=1))


class Scene(Rechecking):
    """An image that runs, and the one that its tag names now."""

    def __init__(self) -> None:
        super().__init__(registry=MemoryRegistry())
        self.before = self.registry.add_image(WEB, "1", user="1000")
        self.now = self.registry.add_image(WEB, "1", user="2000")
        self.running = f"{WEB}@{self.before.digest}"

    async def judge(self, image_id: str = "", **arguments: Any) -> Rejudged:
        return await self.rechecker.judge(group_of({WRITTEN: image_id or self.running}, **arguments))

    def violated(self, policy: str = "image-user") -> None:
        self.engine.hits = [RuleHit(policy=policy, rule=Mode.DENY, msg="is wrong", container="c0", image=WRITTEN)]

    def let_in(self, *rows: Any) -> None:
        self.admissions = GivenAdmissions(rows)

    def outage(self) -> None:
        self.registry.fail("registry.example", Unreachable("registry.example does not answer"))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_what_runs_is_judged_as_if_it_were_created_now(scene: Scene) -> None:
    result = await scene.judge(pods=("web-1", "web-2"))
    assert (result.condition, result.count, result.pods) == (Condition.GOOD, 2, ("web-1", "web-2"))
    assert result.passed == ("team-label", "image-user", "scan-required")
    assert [(image.written, image.digest) for image in result.decision.images] == [(WRITTEN, scene.before.digest)]
    document = scene.engine.documents[-1]
    (container,) = document["containers"]
    assert (container["image"], container["digest"], container["pinned"]) == (WRITTEN, scene.before.digest, False)
    request = document["request"]
    assert (request["operation"], request["userInfo"]["username"]) == ("CREATE", USER.username)
    assert (request["namespace"], request["object"]["metadata"]["name"]) == ("shop", "web-1")
    assert "nodeName" not in request["object"]["spec"]
    assert result.judged_at == NOW


def test_the_request_is_nobodys() -> None:
    request = creation_of({"metadata": {"name": "web", "namespace": "shop"}})
    assert (request.caller, request.user.is_person) == (Caller.RECHECK, False)
    assert not request.dry_run


ALL_WARN = Modes(modes={"*": Mode.WARN})
ENDED = Exceptions((replace(EXCEPTION, expires=NOW),))


@dataclass(frozen=True)
class Given:
    """What is violated ("" for nothing), whether the registry is down, and what the operator says."""

    violated: str = ""
    outage: bool = False
    modes: Modes = field(default_factory=Modes)
    exceptions: Exceptions = field(default_factory=Exceptions)
    grants: tuple[Grant, ...] = ()


EXCEPTED = Given("image-user", exceptions=Exceptions((EXCEPTION,)))
CONDITIONS = {
    "violated": (Given("image-user"), Condition.FAILING),
    "refused before its images are looked at": (Given("team-label"), Condition.FAILING),
    "an outage": (Given(outage=True), Condition.UNKNOWN),
    "warned": (Given("image-user", modes=ALL_WARN), Condition.WARNED),
    "not known, in mode warn": (Given(outage=True, modes=ALL_WARN), Condition.WARNED),
    "excepted": (EXCEPTED, Condition.EXCEPTED),
    "an exception that ends at this instant": (replace(EXCEPTED, exceptions=ENDED), Condition.FAILING),
    "excepted where it would warn": (replace(EXCEPTED, modes=ALL_WARN), Condition.GOOD),
    "break-glass": (Given("image-user", grants=(GRANT,)), Condition.BREAK_GLASS),
    "break-glass in an outage": (Given(outage=True, grants=(GRANT,)), Condition.BREAK_GLASS),
    "a grant that has ended": (Given("image-user", grants=(replace(GRANT, expires=NOW),)), Condition.FAILING),
    "a grant of another namespace": (
        Given("image-user", grants=(replace(GRANT, namespace="bank"),)),
        Condition.FAILING,
    ),
}


@pytest.mark.parametrize(("given", "condition"), CONDITIONS.values(), ids=CONDITIONS.keys())
async def test_conditions(scene: Scene, given: Given, condition: Condition) -> None:
    scene.modes, scene.exceptions, scene.grants = given.modes, given.exceptions, Grants(given.grants)
    if given.violated:
        scene.violated(given.violated)
    if given.outage:
        scene.outage()
    result = await scene.judge()
    assert result.condition is condition
    by_grant = condition is Condition.BREAK_GLASS
    assert result.break_glass == (GRANT.id if by_grant else "")
    assert (result.decision.because is Because.BREAK_GLASS) is by_grant


async def test_only_what_was_evaluated_has_passed(scene: Scene) -> None:
    scene.violated("team-label")
    result = await scene.judge()
    assert result.passed == ()
    assert [one.policy for one in result.decision.undecided] == ["image-user", "scan-required"]


async def test_a_tag_that_moved_fails(scene: Scene) -> None:
    """A container was started again, and got another image than was judged when its pod was let in."""
    scene.let_in(admitted("web-1", WRITTEN, scene.before.digest))
    running = await scene.judge()
    assert (running.condition, running.moved) == (Condition.GOOD, ())
    moved = await scene.judge(f"{WEB}@{scene.now.digest}")
    assert moved.condition is Condition.FAILING
    assert moved.moved == (MovedTag("c0", WRITTEN, scene.before.digest, scene.now.digest, "decision-of-web-1"),)
    assert moved.decision.verdict is Verdict.ADMITTED, "the policies have nothing against it"


async def test_pods_count_before_their_owner(scene: Scene) -> None:
    """A pod is made long after its Deployment, and judged anew."""
    scene.let_in(
        admitted("web-1", WRITTEN, scene.before.digest), admitted("web", WRITTEN, scene.now.digest, kind="Deployment")
    )
    assert (await scene.judge()).moved == ()
    assert scene.admissions is not None
    assert scene.admissions.asked == [["Pod/web-1", "Deployment/web"]]


@pytest.mark.parametrize("row", [None, admitted("web-1", WRITTEN, ""), admitted("web-1", SIDE, "sha256:" + "1" * 64)])
async def test_the_owner_counts_where_its_pods_say_nothing(scene: Scene, row: Any) -> None:
    owner = admitted("web", WRITTEN, scene.now.digest, kind="Deployment")
    scene.let_in(*([row] if row is not None else []), owner)
    (moved,) = (await scene.judge()).moved
    assert (moved.judged, moved.decision_id) == (scene.now.digest, "decision-of-web")


async def test_one_pod_of_several_that_runs_something_else(scene: Scene) -> None:
    scene.let_in(admitted("web-1", WRITTEN, scene.before.digest), admitted("web-2", WRITTEN, scene.now.digest))
    (moved,) = (await scene.judge(pods=("web-1", "web-2"))).moved
    assert moved.decision_id == "decision-of-web-2"


async def test_a_pod_of_nobody_is_its_own_owner(scene: Scene) -> None:
    scene.let_in()
    group = group_of({WRITTEN: scene.running})
    await scene.rechecker.judge(replace(group, owner=replace(group.owner, api_version="v1", kind="Pod", name="web-1")))
    assert scene.admissions is not None
    assert scene.admissions.asked == [["Pod/web-1"]]


async def test_without_a_record_nothing_is_reported(scene: Scene) -> None:
    assert (await scene.judge(f"{WEB}@{scene.now.digest}")).moved == ()
    scene.let_in()
    assert (await scene.judge()).moved == ()


async def test_what_runs_nowhere_yet_has_not_moved(scene: Scene) -> None:
    scene.let_in(admitted("web-1", WRITTEN, scene.before.digest))
    result = await scene.rechecker.judge(group_of({WRITTEN: ""}))
    assert (result.condition, result.moved) == (Condition.GOOD, ())


async def test_whether_a_tag_moved_is_not_guessed(scene: Scene) -> None:
    """What runs is another manifest; whether it belongs to what was judged only the registry can tell."""
    scene.let_in(admitted("web-1", WRITTEN, scene.now.digest))
    scene.registry.fail(f"{WEB}@{scene.now.digest}", Unreachable("registry.example does not answer"))
    scene.modes = ALL_WARN
    result = await scene.judge()
    assert (result.condition, result.moved) == (Condition.UNKNOWN, ())


async def test_an_audit_log_that_is_down_is_said(scene: Scene) -> None:
    scene.admissions = GivenAdmissions(error=RecordsError("the audit store is down"))
    result = await scene.judge()
    assert (result.condition, scene.rechecker.unasked) == (Condition.GOOD, "the audit store is down")
    scene.rechecker.begin()
    assert scene.rechecker.unasked == ""


async def test_two_images_under_one_name_in_one_pod(scene: Scene) -> None:
    """The tag moved between the starts of two containers: the one that nobody judged is judged."""
    scene.let_in(admitted("web-1", WRITTEN, scene.before.digest))
    both = [scene.running, f"{WEB}@{scene.now.digest}"]
    for order in (both, both[::-1]):
        group = group_of({WRITTEN: order[0]})
        (first,) = group.images
        (second,) = group_of({WRITTEN: order[1]}).images
        result = await scene.rechecker.judge(replace(group, images=(first, replace(second, container="c1"))))
        assert [image.digest for image in result.decision.images] == [scene.now.digest]
        assert [moved.running for moved in result.moved] == [scene.now.digest]


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
async def test_what_break_glass_let_in_is_reported_until_it_is_gone(scene: Scene, kind: str) -> None:
    """Also when the grant has ended and the policies have nothing against it any more."""
    name = "web-1" if kind == "Pod" else "web"
    scene.let_in(admitted(name, WRITTEN, scene.before.digest, kind=kind, break_glass=GRANT.id))
    result = await scene.judge()
    assert (result.condition, result.break_glass) == (Condition.BREAK_GLASS, GRANT.id)
    scene.violated()
    result = await scene.judge()
    assert (result.condition, result.break_glass) == (Condition.FAILING, GRANT.id)


async def test_a_new_set_of_policies_is_judged_by_at_once_and_as_a_whole(scene: Scene) -> None:
    assert len((await scene.judge()).passed) == 3
    scene.policies = {"image-user": scene.policies["image-user"]}
    assert (await scene.judge()).passed == ("image-user",)


async def test_many_at_once(scene: Scene) -> None:
    scene.let_in(admitted("web-1", WRITTEN, scene.before.digest))
    results = await asyncio.gather(*(scene.judge(owner=f"web-{number}") for number in range(30)))
    assert {result.condition for result in results} == {Condition.GOOD}
