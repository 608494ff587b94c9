"""High-water marks: an older scan does not come back where a newer one was deleted."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from fakes import attached
from fakes.registry import MemoryRegistry, image_config
from portcullis.audit.memory import MemoryMarks
from portcullis.errors import RecordsError
from portcullis.evidence.marks import AHEAD, mark_key, marks_of
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Evidence, PredicateClass
from portcullis.model.image import Digest, Repository, ResolvedImage
from portcullis.ports import Marks
from vectors import attestations as made
from vectors.gathering import AMD64, ARM64, NAME, NOW, ago, attach, gather, signed

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
VULNERABILITY = PredicateClass.VULNERABILITY


class Broken:
    """Marks whose store is down."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        raise RecordsError("the store is down")

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        raise RecordsError("the store is down")


class Watched(MemoryMarks):
    """``asked`` are the keys of each question."""

    def __init__(self) -> None:
        super().__init__(limits=DEFAULT_LIMITS)
        self.asked: list[Sequence[str]] = []

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        self.asked.append(keys)
        return await super().get(keys)


def store() -> MemoryMarks:
    return MemoryMarks(limits=DEFAULT_LIMITS)


def scan(subject: Digest, at: str | None, **said: Any) -> bytes:
    return signed(subject, {"vulnerability": [{"at": at, **said}]})


def seen(evidence: Evidence) -> list[tuple[datetime | None, bool]]:
    return [(one.newer_seen, one.mark_known) for one in evidence.scans]


async def admitted(registry: MemoryRegistry, image: ResolvedImage, marks: Marks) -> Evidence:
    """What the gate does: gathers and, once the request is through, writes the marks."""
    evidence = await gather(registry, image, marks=marks)
    await marks.advance(marks_of([evidence], NOW))
    return evidence


async def test_a_newer_scan_that_was_deleted_is_missed() -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, ago(hours=5)))
    assert seen(await admitted(registry, image, marks)) == [(None, True)]
    attach(registry, image, scan(image.digest, ago(hours=1), ids=["CVE-1"]))
    assert seen(await admitted(registry, image, marks)) == [(None, True), (None, True)]

    del registry._referrers[PLACE, image.digest][1]

    assert seen(await admitted(registry, image, marks)) == [(NOW - timedelta(hours=1), True)]
    # the mark stays where it is, and a scan that is newer still ends it
    attach(registry, image, scan(image.digest, ago(minutes=5)))
    assert seen(await gather(registry, image, marks=marks)) == [(None, True), (None, True)]


async def test_it_is_remembered_by_digest_and_not_by_name() -> None:
    """A copy of the image with the old attestation, in another repository, is the same image."""
    registry, marks = MemoryRegistry(), store()
    image, copy = registry.add_image(NAME), registry.add_image("registry.example/acme/copy")
    old = scan(image.digest, ago(hours=5))
    attach(registry, image, old)
    attach(registry, image, scan(image.digest, ago(hours=1)))
    await admitted(registry, image, marks)
    attach(registry, copy, old)
    assert seen(await gather(registry, copy, marks=marks)) == [(NOW - timedelta(hours=1), True)]


@pytest.mark.parametrize(
    ("newer", "missed"),
    [
        ({"scanner": "grype"}, False),
        ({"platform": "linux/arm64"}, False),
        ({"platform": "linux/amd64"}, True),
    ],
)
async def test_what_another_scanner_said_or_of_another_platform_is_not_it(newer: dict[str, Any], missed: bool) -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME, configs={AMD64: image_config("1"), ARM64: image_config("2")})
    attach(registry, image, scan(image.digest, ago(hours=5), platform="linux/amd64"))
    attach(registry, image, scan(image.digest, ago(hours=1), **newer))
    await admitted(registry, image, marks)
    del registry._referrers[PLACE, image.digest][1]
    found = seen(await gather(registry, image, marks=marks))
    assert found == [(NOW - timedelta(hours=1) if missed else None, True)]


@pytest.mark.parametrize("deleted", ["of the index", "of the platform"])
async def test_statements_of_an_index_and_of_its_platform_are_about_one_thing(deleted: str) -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME, configs={AMD64: image_config("1"), ARM64: image_config("2")})
    platform = image.platforms[0].digest
    ages = {image.digest: 1, platform: 5} if deleted == "of the index" else {image.digest: 5, platform: 1}
    for subject, hours in ages.items():
        content = scan(subject, ago(hours=hours), platform="linux/amd64")
        attached.attach_to(registry, PLACE, subject, content, made.BUNDLE)
    assert [newer for newer, _ in seen(await admitted(registry, image, marks))] == [None, None]
    del registry._referrers[PLACE, image.digest if deleted == "of the index" else platform]
    assert seen(await gather(registry, image, marks=marks)) == [(NOW - timedelta(hours=1), True)]


async def test_a_scan_without_a_time_is_not_the_newer_one() -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, ago(hours=1)))
    await admitted(registry, image, marks)
    registry._referrers.clear()
    attach(registry, image, scan(image.digest, None))
    assert seen(await admitted(registry, image, marks)) == [(NOW - timedelta(hours=1), True)]


async def test_a_scan_from_the_future_moves_no_mark_and_hides_none() -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, ago(hours=1)))
    await admitted(registry, image, marks)
    registry._referrers.clear()
    attach(registry, image, scan(image.digest, (NOW + AHEAD + timedelta(seconds=1)).isoformat()))
    attach(registry, image, scan(image.digest, ago(hours=5)))
    assert seen(await admitted(registry, image, marks)) == [(NOW - timedelta(hours=1), True)] * 2


@pytest.mark.parametrize("ahead", [timedelta(), AHEAD])
async def test_a_clock_that_is_a_little_ahead_is_none_of_the_future(ahead: timedelta) -> None:
    registry, marks = MemoryRegistry(), store()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, (NOW + ahead).isoformat()))
    assert list(marks_of([await admitted(registry, image, marks)], NOW).values()) == [NOW + ahead]


@pytest.mark.parametrize("how", ["by a stranger", "wrong role", "another image"])
async def test_only_what_is_accepted_moves_a_mark(how: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    key = {"by a stranger": made.STRANGER, "wrong role": made.RELEASE, "another image": made.CI}[how]
    said = {"digests": [made.OTHER]} if how == "another image" else {}
    attach(registry, image, signed(image.digest, {"vulnerability": [{"at": ago(hours=1), **said}]}, key=key))
    assert marks_of([await gather(registry, image)], NOW) == {}


async def test_gathering_alone_moves_nothing() -> None:
    registry, marks = MemoryRegistry(), Watched()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, ago(hours=1)))
    evidence = await gather(registry, image, marks=marks)
    keys = list(marks_of([evidence], NOW))
    assert await marks.get(keys) == {}
    assert set(keys) <= set(marks.asked[0])


async def test_a_store_that_is_down_fails_nothing_and_is_said() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, ago(hours=1)))
    assert seen(await gather(registry, image, marks=Broken())) == [(None, False)]
    assert seen(await gather(registry, image)) == [(None, False)]


async def test_an_image_without_scans_asks_for_no_marks() -> None:
    registry, marks = MemoryRegistry(), Watched()
    await gather(registry, registry.add_image(NAME), marks=marks)
    assert marks.asked == []


def test_keys_are_told_apart() -> None:
    parts = [
        (made.SUBJECT, VULNERABILITY, "trivy", AMD64),
        (made.OTHER, VULNERABILITY, "trivy", AMD64),
        (made.SUBJECT, PredicateClass.LINT, "trivy", AMD64),
        (made.SUBJECT, VULNERABILITY, "trivy2", AMD64),
        (made.SUBJECT, VULNERABILITY, "trivy", ARM64),
        (made.SUBJECT, VULNERABILITY, "trivy", None),
        (made.SUBJECT, VULNERABILITY, "trivylinux/amd64", None),
        (made.SUBJECT, VULNERABILITY, "\ud800", None),
        (made.SUBJECT, VULNERABILITY, "", None),
    ]
    keys = [mark_key(*one) for one in parts]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {64}
