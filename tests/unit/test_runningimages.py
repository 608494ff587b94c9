"""Which image a running container has, in the forms of containerd, cri-o and docker, and how often registries are asked
for it in a round."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes.rechecks import Rechecking, by_namespace, group_of
from fakes.registry import AMD64, ARM64, MemoryRegistry, image_config, sha256
from portcullis import runningimages
from portcullis.errors import InspectionBusy, NotFound, Unreachable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import Contents, OperatingSystem
from portcullis.model.decision import Verdict
from portcullis.model.image import Access, Digest, ImageReference, Platform, ResolvedImage
from portcullis.model.ruling import Need
from portcullis.model.running import RunningImage

pytestmark = pytest.mark.anyio

WEB = "registry.example/acme/web"
WRITTEN = f"{WEB}:1"
HEX = "ab" * 32


class Scene:
    """A tag that named an index, then a single image, and now another index."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        two = {AMD64: image_config("1000"), ARM64: image_config("1001")}
        self.first = self.registry.add_image(WEB, "1", configs=two)
        self.single = self.registry.add_image(WEB, "1", user="2000")
        self.now = self.registry.add_image(WEB, "1", configs={AMD64: image_config("3000"), ARM64: image_config("3001")})
        self.bench = Rechecking(registry=self.registry)

    async def judged(self, image_id: str, written: str = WRITTEN, judged: tuple[Digest, ...] = ()) -> None:
        group = group_of({written: image_id})
        (running,) = group.images
        found = await self.bench.images.facts(
            written, running, judged, frozenset({Need.IMAGE}), Access("shop"), deadline()
        )
        self.facts = found
        self.digest = found.resolved.digest if found.resolved is not None else None
        self.reasons = [problem.reason for problem in found.problems]


def deadline(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
def scene() -> Scene:
    return Scene()


def name(image: ResolvedImage) -> str:
    return f"{WEB}@{image.digest}"


Id = Callable[[Scene], str]


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        pytest.param(lambda s: name(s.first), lambda s: s.first, id="containerd, an index of before"),
        pytest.param(lambda s: name(s.single), lambda s: s.single, id="a single image of before"),
        pytest.param(lambda s: name(s.now), lambda s: s.now, id="what the tag names now"),
        pytest.param(lambda s: f"docker-pullable://{name(s.first)}", lambda s: s.first, id="docker"),
        pytest.param(lambda s: f"{WEB}@{s.now.platforms[1].digest}", lambda s: s.now, id="cri-o, of the index of now"),
        pytest.param(lambda s: s.now.platforms[0].config_digest, lambda s: s.now, id="a configuration of now"),
        pytest.param(lambda s: s.now.platforms[0].config_digest.hex, lambda s: s.now, id="cri-o, without its name"),
        pytest.param(lambda s: f"docker://{s.now.platforms[0].config_digest}", lambda s: s.now, id="docker, imported"),
        pytest.param(lambda _: "", lambda s: s.now, id="nothing yet"),
        pytest.param(lambda _: "something", lambda s: s.now, id="something else"),
    ],
)
async def test_what_runs_is_judged(scene: Scene, image_id: Id, expected: Callable[[Scene], ResolvedImage]) -> None:
    await scene.judged(image_id(scene))
    assert (scene.digest, scene.reasons) == (expected(scene).digest, [])
    assert (scene.facts.written, str(scene.facts.reference)) == (WRITTEN, WRITTEN), (
        "what people read is what they wrote"
    )


@pytest.mark.parametrize("place", ["pinned in the spec", "judged at the admission"])
@pytest.mark.parametrize("form", ["manifest", "configuration"])
async def test_an_index_that_the_tag_named_before_is_known_where_something_names_it(
    scene: Scene, place: str, form: str
) -> None:
    """Attestations are attached to the index, which cri-o does not report."""
    child = scene.first.platforms[0]
    image_id = f"{WEB}@{child.digest}" if form == "manifest" else str(child.config_digest)
    if place == "pinned in the spec":
        await scene.judged(image_id, f"{WRITTEN}@{scene.first.digest}")
    else:
        await scene.judged(image_id, judged=(Digest(f"sha256:{HEX}"), scene.first.digest))
    assert (scene.digest, scene.reasons) == (scene.first.digest, [])


async def test_a_manifest_whose_index_nobody_names_is_judged_by_itself(scene: Scene) -> None:
    await scene.judged(f"{WEB}@{scene.first.platforms[0].digest}")
    assert scene.digest == scene.first.platforms[0].digest


async def test_a_configuration_that_nothing_names_is_not_known(scene: Scene) -> None:
    await scene.judged(f"sha256:{HEX}")
    assert (scene.digest, scene.reasons) == (None, ["running-image-unknown"])
    assert not scene.facts.problems[0].retryable


async def test_an_image_that_was_pulled_by_another_name_first(scene: Scene) -> None:
    """containerd reports the first name by which an image was pulled, with that one's digest."""
    configs = {one.platform: one.config for one in scene.now.platforms}
    other = scene.registry.add_image("mirror.example/copy", "9", configs=configs, layers=(b"packed otherwise",))
    await scene.judged(f"mirror.example/copy@{other.digest}")
    assert (scene.digest, scene.reasons) == (scene.now.digest, [])
    stranger = scene.registry.add_image("mirror.example/copy", "9", user="77")
    await scene.judged(f"mirror.example/copy@{stranger.digest}")
    assert (scene.digest, scene.reasons) == (None, ["image-not-found"])


@pytest.mark.parametrize("written", [WRITTEN, "UPPER/case"])
async def test_what_cannot_be_had_is_a_problem_of_what_is_written(scene: Scene, written: str) -> None:
    scene.registry.fail(WEB, Unreachable("registry.example does not answer"))
    await scene.judged(f"{WEB}@sha256:{HEX}", written)
    assert [problem.image for problem in scene.facts.problems] == [written]
    assert scene.reasons == ["registry-unreachable" if written == WRITTEN else "image-reference-invalid"]


async def test_a_registry_that_does_not_answer_ends_at_the_deadline(scene: Scene) -> None:
    class Hanging(MemoryRegistry):
        async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
            await asyncio.Event().wait()
            raise AssertionError

    scene.bench = Rechecking(registry=Hanging(), limits=replace(DEFAULT_LIMITS, recheck_seconds=0.1))
    result = await scene.bench.rechecker.judge(group_of({WRITTEN: f"{WEB}@sha256:{HEX}"}))
    assert result.decision.verdict is Verdict.UNDECIDED
    assert {problem.reason for problem in result.decision.problems} == {"deadline-exceeded"}


SAME = [
    pytest.param(lambda s: name(s.first), True, id="itself"),
    pytest.param(lambda s: f"{WEB}@{s.first.platforms[0].digest}", True, id="a manifest of it"),
    pytest.param(lambda s: str(s.first.platforms[1].config_digest), True, id="a configuration of it"),
    pytest.param(lambda s: name(s.single), False, id="another image"),
    pytest.param(lambda s: name(s.now), False, id="another index"),
    pytest.param(lambda s: f"{WEB}@{s.now.platforms[0].digest}", False, id="a manifest of another index"),
    pytest.param(lambda s: str(s.now.platforms[0].config_digest), False, id="another configuration"),
    pytest.param(lambda _: f"{WEB}@sha256:{HEX}", False, id="what is gone"),
    pytest.param(
        lambda s: name(s.registry.add_image(WEB, "x", configs=configs_of(s.first), layers=(b"packed otherwise",))),
        True,
        id="the same, packed otherwise",
    ),
    pytest.param(
        lambda s: name(s.registry.add_image(WEB, "x", configs=configs_of(s.first, "4000"))),
        False,
        id="half of it another",
    ),
    pytest.param(lambda s: name(s.registry.add_index([s.first, s.single], "x")), False, id="more than it"),
]


def configs_of(image: ResolvedImage, last: str = "") -> dict[Platform, Any]:
    found = {one.platform: one.config for one in image.platforms}
    return {**found, ARM64: image_config(last)} if last else found


@pytest.mark.parametrize(("image_id", "expected"), SAME)
async def test_whether_it_is_what_was_judged(scene: Scene, image_id: Id, expected: bool) -> None:
    (running,) = group_of({WRITTEN: image_id(scene)}).images
    assert await scene.bench.images.same(WRITTEN, running, scene.first.digest, Access("shop")) is expected


async def test_a_platform_that_is_not_judged_is_a_part_of_its_index(scene: Scene) -> None:
    registry = MemoryRegistry(platforms=(AMD64,))
    image = registry.add_image(WEB, "1", configs={AMD64: image_config("1"), ARM64: image_config("2")})
    arm = next(
        manifest.digest
        for manifest in registry.manifests_of(image.reference.repository)
        if manifest.digest not in (image.digest, image.platforms[0].digest)
    )
    bench = Rechecking(registry=registry)
    running = RunningImage(WRITTEN, f"{WEB}@{arm}", arm)
    assert await bench.images.same(WRITTEN, running, image.digest, Access("shop"))


async def test_what_was_judged_and_is_gone_is_another_image(scene: Scene) -> None:
    (running,) = group_of({WRITTEN: name(scene.now)}).images
    assert not await scene.bench.images.same(WRITTEN, running, Digest(f"sha256:{HEX}"), Access("shop"))


async def test_whether_it_is_the_same_is_not_guessed_while_a_registry_is_down(scene: Scene) -> None:
    scene.registry.fail(WEB, Unreachable("registry.example does not answer"))
    (running,) = group_of({WRITTEN: name(scene.now)}).images
    with pytest.raises(Unreachable):
        await scene.bench.images.same(WRITTEN, running, scene.first.digest, Access("shop"))


def asked(registry: MemoryRegistry, word: str) -> int:
    return sum(call.startswith(word) for call in registry.calls)


async def test_one_image_is_looked_at_once_in_a_round(scene: Scene) -> None:
    """Whatever its tags and namespaces are, and also where all are judged at once."""
    scene.registry.add_image(WEB, "2", configs=configs_of(scene.now))
    groups = [
        group_of({f"{WEB}:{number % 2 + 1}": name(scene.now)}, namespace=f"team-{number}", owner=f"web-{number}")
        for number in range(20)
    ]
    await asyncio.gather(*(scene.bench.rechecker.judge(group) for group in groups))
    assert asked(scene.registry, f"referrers {scene.now.digest}") == 1
    assert scene.bench.images.count == 1
    scene.bench.rechecker.begin()
    assert scene.bench.images.count == 0
    await scene.bench.rechecker.judge(groups[0])
    assert asked(scene.registry, f"referrers {scene.now.digest}") == 2, "a new round looks anew"


async def test_nothing_passes_from_one_credential_to_another(scene: Scene) -> None:
    scene.bench.identify = by_namespace
    for namespace in ("shop", "shop", "bank"):
        await scene.bench.rechecker.judge(group_of({WRITTEN: name(scene.now)}, namespace=namespace))
    assert asked(scene.registry, f"referrers {scene.now.digest}") == 2


async def test_a_tag_is_asked_for_once_in_a_round(scene: Scene) -> None:
    for child in scene.now.platforms:
        await scene.bench.rechecker.judge(group_of({WRITTEN: f"{WEB}@{child.digest}"}, owner=str(child.platform)))
    assert asked(scene.registry, f"resolve {WRITTEN}") == 1


async def test_facts_beyond_the_room_are_fetched_again(scene: Scene) -> None:
    scene.bench.limits = replace(DEFAULT_LIMITS, running_images=1)
    for image in (scene.single, scene.single, scene.now, scene.single):
        await scene.bench.rechecker.judge(group_of({WRITTEN: name(image)}))
    assert asked(scene.registry, f"referrers {scene.single.digest}") == 2


async def test_a_failing_registry_is_not_asked_for_each_workload(scene: Scene) -> None:
    group = group_of({WRITTEN: name(scene.now)})
    scene.registry.fail(scene.now.digest, Unreachable("registry.example does not answer"))
    for _ in range(5):
        assert (await scene.bench.rechecker.judge(group)).decision.verdict is Verdict.UNDECIDED
    assert asked(scene.registry, f"referrers {scene.now.digest}") == 1
    scene.registry.fail(scene.now.digest, None)
    scene.bench.clock.passed = 61.0
    assert (await scene.bench.rechecker.judge(group)).decision.verdict is Verdict.ADMITTED


async def test_the_pace_is_kept_before_each_new_image(scene: Scene) -> None:
    turns: list[str] = []

    async def turn() -> None:
        turns.append("turn")

    scene.bench.images.pace = turn
    for image in (scene.now, scene.now, scene.single, scene.now):
        await scene.bench.rechecker.judge(group_of({WRITTEN: name(image)}))
    assert len(turns) == 2


class Busy:
    """An Inspector that has others to look at first."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def inspect(self, image: ResolvedImage, access: Access) -> tuple[Contents, ...]:
        self.times -= 1
        if self.times >= 0:
            raise InspectionBusy("others are inspected first")
        return tuple(Contents(1, 1, OperatingSystem("", ""), (), {}) for _ in image.platforms)

    def remaining_seconds(self, image: ResolvedImage) -> float:
        return 1.0


async def test_an_inspection_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runningimages, "_POLL_SECONDS", 0.001)
    scene.bench.inspector = inspector = Busy(3)
    scene.bench.policies = {"image-shell": frozenset({Need.REQUEST, Need.IMAGE, Need.CONTENTS})}
    result = await scene.bench.rechecker.judge(group_of({WRITTEN: name(scene.single)}))
    assert (result.decision.verdict, inspector.times) == (Verdict.ADMITTED, -1)


async def test_an_inspection_that_does_not_end_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runningimages, "_POLL_SECONDS", 0.001)
    scene.bench.inspector = Busy(1_000_000)
    scene.bench.limits = replace(DEFAULT_LIMITS, recheck_seconds=0.2)
    scene.bench.policies = {"image-shell": frozenset({Need.REQUEST, Need.IMAGE, Need.CONTENTS})}
    result = await scene.bench.rechecker.judge(group_of({WRITTEN: name(scene.single)}))
    assert {problem.reason for problem in result.decision.problems} == {"inspection-pending"}


async def test_an_image_that_is_gone_is_no_outage(scene: Scene) -> None:
    scene.registry.fail(WEB, NotFound("registry.example has no such image"))
    await scene.judged(f"{WEB}@{sha256(b'gone')}")
    assert scene.reasons == ["image-not-found"]
