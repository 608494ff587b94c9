"""POST /mutate in process: whatever comes is admitted, and tags have their digests where those can be had."""

import asyncio
import base64
import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.asgi import Answered, call, hanging
from fakes.callers import by_path
from fakes.jsonpatch import applied
from fakes.registry import MemoryRegistry
from fakes.reviews import UID, pod, review
from portcullis.admission.pinning import ANNOTATION
from portcullis.admission.workloads import WorkloadReader
from portcullis.errors import Denied, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, ImageReference, ResolvedImage
from portcullis.reference.parse import parse_reference
from portcullis.server.clock import SystemClock
from portcullis.server.mutate import OUTCOMES, PinHandler
from portcullis.server.telemetry import Metrics, configure_logging

pytestmark = pytest.mark.anyio

SEGMENT = "0123456789abcdef-secret"
PATH = f"/{SEGMENT}/mutate"
LIMITS = Limits(review_bytes=20_000, review_head_bytes=2_000, body_seconds=0.2)
WEB, TOOL, GONE = "registry.example/acme/web:1", "registry.example/acme/tool:2", "registry.example/acme/gone:3"
USER = {"username": "ada@example.test", "groups": []}
CONTROLLER = {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": []}


@dataclass
class Slow:
    """A registry that answers when it is told to, and remembers who asked."""

    behind: MemoryRegistry
    free: asyncio.Event
    accesses: list[Access] = field(default_factory=list)
    make: Callable[[ResolvedImage], ResolvedImage] = lambda image: image

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        self.accesses.append(access)
        await self.free.wait()
        return self.make(await self.behind.resolve(reference, access))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


class Bench:
    def __init__(self, limits: Limits = LIMITS, *, owners: bool = False, segment: str = SEGMENT) -> None:
        behind = MemoryRegistry()
        self.digests = {
            text: behind.add_image(text.rpartition(":")[0], text.rpartition(":")[2], user=text).digest
            for text in (WEB, TOOL)
        }
        self.registry = Slow(behind, asyncio.Event())
        self.registry.free.set()
        self.draining = False
        self.handler = PinHandler(
            reader=WorkloadReader(limits=limits),
            parse=functools.partial(parse_reference, limits=limits),
            registry=self.registry,
            clock=SystemClock(),
            limits=limits,
            callers=by_path(segment),
            owners=owners,
            draining=lambda: self.draining,
        )

    async def post(self, body: Any, path: str = PATH, **options: Any) -> Answered:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await call(self.handler, path, [sent], **options)

    async def pin(self, *images: str, **request: Any) -> tuple[Any, list[str]]:
        """The pod as it is afterwards, and the warnings."""
        made = pod(*images)
        response = (await self.post(review(made, **request))).response
        assert (response["uid"], response["allowed"]) == (UID, True)
        return applied(made, steps_of(response)), response.get("warnings", [])

    def pinned(self, text: str) -> str:
        return f"{text}@{self.digests[text]}"


def steps_of(response: Any) -> list[dict[str, Any]]:
    assert ("patch" in response) == ("patchType" in response)
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    found: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"], validate=True))
    assert found, "an empty patch is none"
    return found


def images(made: Any) -> list[str]:
    return [one["image"] for one in made["spec"]["containers"]]


async def test_tags_get_their_digests() -> None:
    bench = Bench()
    after, warnings = await bench.pin(WEB, TOOL, WEB, f"registry.example/acme/other@{bench.digests[WEB]}")
    other = f"registry.example/acme/other@{bench.digests[WEB]}"
    assert images(after) == [bench.pinned(WEB), bench.pinned(TOOL), bench.pinned(WEB), other]
    assert json.loads(after["metadata"]["annotations"][ANNOTATION]) == {"c0": WEB, "c1": TOOL, "c2": WEB}
    assert warnings == []
    assert len(bench.registry.accesses) == 2
    assert (bench.handler.outcomes["pinned"], bench.handler.pinned, bench.handler.seconds.count) == (1, 3, 1)


async def test_the_registry_is_asked_on_behalf_of_the_pod() -> None:
    bench = Bench()
    made = pod(WEB, serviceAccountName="builder", imagePullSecrets=[{"name": "login"}])
    await bench.post(review(made))
    assert bench.registry.accesses == [Access("shop", "builder", ("login",))]


async def test_nothing_to_do_is_no_patch_and_no_question() -> None:
    bench = Bench()
    for made in (pod(f"{WEB}@{bench.digests[WEB]}"), {"kind": "Deployment", "apiVersion": "apps/v1", "spec": {}}):
        response = (await bench.post(review(made))).response
        assert response == {"uid": UID, "allowed": True}
    assert bench.registry.accesses == []
    assert bench.handler.outcomes["nothing"] == 2


@pytest.mark.parametrize("owners", [True, False])
async def test_templates_only_where_owners_are_pinned(owners: bool) -> None:
    bench = Bench(owners=owners)
    made = {"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"template": {"spec": pod(WEB)["spec"]}}}
    response = (await bench.post(review(made))).response
    assert bool(steps_of(response)) is owners


@pytest.mark.parametrize(
    ("image", "error", "reason"),
    [
        (WEB, Unreachable("nobody answers"), "registry-unreachable"),
        (WEB, Denied("who are you"), "registry-denied"),
        (GONE, None, "image-not-found"),
        ("not//an image", None, "image-reference-invalid"),
        (f"registry.example/{'a' * 900}/b:1", None, "image-reference-invalid"),
    ],
)
async def test_what_cannot_be_pinned_stays_and_a_warning_says_why(
    image: str, error: Unreachable | None, reason: str
) -> None:
    bench = Bench()
    bench.registry.behind.fail(WEB, error)
    after, warnings = await bench.pin(image)
    assert after == pod(image)
    (warning,) = warnings
    assert warning.startswith("portcullis: ")
    assert f" is not pinned: [{reason}] " in warning
    assert len(warning) <= 256
    assert (bench.handler.outcomes["unpinned"], bench.handler.unpinned, bench.handler.pinned) == (1, {reason: 1}, 0)


async def test_the_others_are_pinned_all_the_same() -> None:
    bench = Bench()
    after, warnings = await bench.pin(WEB, GONE)
    assert images(after) == [bench.pinned(WEB), GONE]
    assert json.loads(after["metadata"]["annotations"][ANNOTATION]) == {"c0": WEB}
    assert len(warnings) == 1
    assert (bench.handler.outcomes["partly"], bench.handler.pinned) == (1, 1)


async def test_a_text_that_would_be_too_long_with_its_digest_stays() -> None:
    """The gate could not read it then."""
    bench = Bench(replace(LIMITS, reference_chars=len(WEB) + 71))
    after, (warning,) = await bench.pin(WEB)
    assert (images(after), "limits.referenceChars" in warning) == ([WEB], True)


async def test_a_digest_that_could_not_be_confirmed_is_pinned_and_said() -> None:
    bench = Bench()
    since = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
    bench.registry.make = lambda image: replace(image, stale_since=since)
    after, (warning,) = await bench.pin(WEB)
    assert images(after) == [bench.pinned(WEB)]
    assert "is pinned to what its tag named at 2026-11-27T20:00:00Z" in warning


async def test_many_warnings_are_counted() -> None:
    bench = Bench(replace(LIMITS, warnings=3))
    _, warnings = await bench.pin(*(f"{GONE}.{number}" for number in range(5)))
    assert [words.partition(" is ")[0].rpartition(" ")[2] for words in warnings[:2]] == [f"{GONE}.0", f"{GONE}.1"]
    assert warnings[2] == "portcullis: so it is with 3 more images"


async def test_more_images_than_the_gate_would_judge_are_not_asked_for() -> None:
    bench = Bench(replace(LIMITS, distinct_images=1))
    after, warnings = await bench.pin(WEB, TOOL)
    assert (after, len(warnings), bench.registry.accesses) == (pod(WEB, TOOL), 2, [])
    assert "[too-large] 2 different images; the limit distinctImages is 1" in warnings[0]


async def test_a_registry_that_does_not_answer_in_time() -> None:
    bench = Bench()
    bench.registry.free.clear()
    response = (await bench.post(review(pod(WEB)), query=b"timeout=250ms")).response
    assert (response["allowed"], steps_of(response)) == (True, [])
    assert "[deadline-exceeded]" in response["warnings"][0]


async def test_a_controller_does_not_wait_as_long_as_a_person() -> None:
    """One request of it waits on; the next one is answered after a moment (docs/adr/0007)."""
    bench = Bench(replace(LIMITS, moment_seconds=0.02))
    bench.registry.free.clear()
    first = asyncio.create_task(bench.pin(WEB, userInfo=CONTROLLER))
    async with asyncio.timeout(5):
        while len(bench.registry.accesses) < 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        after, (warning,) = await bench.pin(TOOL, userInfo=CONTROLLER)
        assert (images(after), "[deadline-exceeded]" in warning) == ([TOOL], True)
        bench.registry.free.set()
        assert images((await first)[0]) == [bench.pinned(WEB)]


@pytest.mark.parametrize("path", ["/mutate", "/another-word-0123456789/mutate"])
async def test_a_stranger_gets_nothing_done(path: str) -> None:
    bench = Bench()
    response = (await bench.post(review(pod(WEB)), path)).response
    assert (response["allowed"], steps_of(response), bench.registry.accesses) == (True, [], [])
    assert "did not come the API server's way" in response["warnings"][0]
    assert bench.handler.outcomes["stranger"] == 1


async def test_where_nobody_can_be_told_apart_everybody_is_served() -> None:
    assert steps_of((await Bench(segment="").post(review(pod(WEB)), "/mutate")).response)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (review({**pod(WEB), "spec": []}), "[workload-malformed] spec is a list"),
        ({**review(pod(WEB)), "apiVersion": "v2"}, "[review-malformed]"),
        (
            review(pod(WEB, hostname="x" * 30_000)),
            "[too-large] the review has more bytes than limits.reviewBytes allows",
        ),
    ],
)
async def test_what_cannot_be_read_is_admitted_as_it_is(body: Any, words: str) -> None:
    response = (await Bench().post(body)).response
    assert (response["uid"], response["allowed"], steps_of(response)) == (UID, True, [])
    assert words in response["warnings"][0]


async def test_without_a_uid_there_is_no_review_to_answer() -> None:
    answered = await Bench().post(b"no review")
    assert (answered.status, answered.json["reason"]) == (400, "BadRequest")


async def test_a_fault_of_ours_refuses_nothing() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    bench = Bench()

    def fault(_: ResolvedImage) -> ResolvedImage:
        raise RuntimeError("a bug")

    bench.registry.make = fault
    response = (await bench.post(review(pod(WEB)))).response
    assert (response["allowed"], steps_of(response)) == (True, [])
    assert "[internal-error]" in response["warnings"][0]
    assert bench.handler.outcomes["failed"] == 1
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "nothing pinned"


async def test_other_methods_and_other_paths() -> None:
    bench = Bench()
    assert (await bench.post(b"", method="GET")).status == 405
    served = {"/mutate": True, "/word/mutate": True, "//mutate": False, "/a/b/mutate": False, "/validate": False}
    assert {path: bench.handler.serves(path) for path in served} == served


async def test_a_body_that_does_not_come_and_a_client_that_has_gone() -> None:
    bench = Bench()
    head = json.dumps(review(pod(WEB))).encode()[:-10]
    late = await call(bench.handler, PATH, hanging(head))
    assert late.response["allowed"] is True
    assert late.headers["connection"] == "close"
    assert (await call(bench.handler, PATH, [head], gone=True)).status == 0


async def test_over_what_may_be_in_flight() -> None:
    bench = Bench(replace(LIMITS, in_flight=1))
    bench.registry.free.clear()
    first = asyncio.create_task(bench.pin(WEB))
    async with asyncio.timeout(5):
        while not bench.registry.accesses:
            await asyncio.sleep(0.001)
        answered = await bench.post(review(pod(WEB)))
        assert (answered.status, "too-many-reviews" in answered.json["message"]) == (503, True)
        assert "retry-after" not in answered.headers
        bench.registry.free.set()
        assert images((await first)[0]) == [bench.pinned(WEB)]
    assert images((await bench.pin(WEB))[0]) == [bench.pinned(WEB)]


async def test_over_what_bodies_may_hold() -> None:
    """Their part of limits.inFlightBytes is a fourth."""
    body = json.dumps(review(pod(WEB))).encode()
    for room, status in ((4 * len(body), 200), (4 * len(body) - 4, 503)):
        assert (await Bench(replace(LIMITS, in_flight_bytes=room)).post(body)).status == status


async def test_connections_are_closed_while_the_program_stops() -> None:
    bench = Bench()
    assert "connection" not in (await bench.post(review(pod(WEB)))).headers
    bench.draining = True
    answered = await bench.post(review(pod(WEB)))
    assert (answered.headers["connection"], bool(steps_of(answered.response))) == ("close", True)


async def test_metrics() -> None:
    bench, metrics = Bench(), Metrics()
    bench.handler.observe(metrics)
    await bench.pin(WEB, GONE)
    page = metrics.page().decode()
    for outcome in OUTCOMES:
        assert f'portcullis_mutations_total{{outcome="{outcome}"}} {1.0 if outcome == "partly" else 0.0}\n' in page
    assert "portcullis_images_pinned_total 1.0\n" in page
    assert 'portcullis_images_unpinned_total{reason="image-not-found"} 1.0\n' in page
    assert "portcullis_mutation_seconds_count 1.0\n" in page
