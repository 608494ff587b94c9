"""Verdicts that are remembered: for how long, how many, and for whom."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from fakes.clock import StandingClock
from portcullis.errors import Unreachable
from portcullis.evidence.verdicts import SECONDS, Judged, ReadClass, VerdictKey, Verdicts, annotations_digest
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import PredicateClass, Rejected, Signer, Statement, Verified
from portcullis.model.image import Digest, Repository
from vectors.attestations import OTHER, SUBJECT

pytestmark = pytest.mark.anyio

KEY = VerdictKey(
    Repository("registry.example", "acme/web"), SUBJECT, "a/b", annotations_digest({}), SUBJECT, "", signed=True
)
VERDICT = Verified(Statement("https://example.test/x", b'{"much": "text"}'), (Signer("ci", "key"),), payload="p")
JUDGED = Judged(VERDICT, (ReadClass(PredicateClass.OTHER),))


@dataclass
class House:
    """``made`` are the keys that were judged anew."""

    verdicts: Verdicts
    clock: StandingClock
    made: list[VerdictKey] = field(default_factory=list)

    async def judge(self, key: VerdictKey = KEY, judged: Judged = JUDGED, size: int = 1000) -> Judged:
        async def make() -> tuple[Judged, int]:
            self.made.append(key)
            await asyncio.sleep(0)
            return judged, size

        return await self.verdicts.judge(key, make)


def house(**limits: int) -> House:
    clock = StandingClock()
    return House(Verdicts(clock=clock, limits=replace(DEFAULT_LIMITS, **limits)), clock)


def numbered(number: int) -> VerdictKey:
    return replace(KEY, content=Digest(f"sha256:{number:064x}"))


async def test_a_verdict_is_made_once_in_its_time() -> None:
    at = house()
    assert await at.judge() == JUDGED
    at.clock.seconds += SECONDS - 1
    known = await at.judge()
    assert (known.verdict, known.classes) == (
        replace(VERDICT, statement=Statement("https://example.test/x", b"")),
        JUDGED.classes,
    )
    assert at.made == [KEY]
    at.clock.seconds += 2  # a certificate may have expired
    await at.judge()
    assert at.made == [KEY] * 2
    assert (at.verdicts.counters.hits, at.verdicts.counters.misses) == (1, 2)


async def test_a_refusal_is_remembered_too() -> None:
    at = house()
    refused = Judged(Rejected("attestation-invalid", "no"))
    for _ in range(2):
        assert await at.judge(judged=refused) == refused
    assert at.made == [KEY]


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, repository=Repository("registry.example", "acme/other")),
        replace(KEY, content=OTHER),
        replace(KEY, media_type="a/c"),
        replace(KEY, annotations=annotations_digest({"dev.cosignproject.cosign/signature": "x"})),
        replace(KEY, subject=OTHER),
        replace(KEY, report="application/sarif+json"),
        replace(KEY, signed=False),
        replace(KEY, vouched=True),
    ],
)
async def test_what_differs_in_anything_is_judged_for_itself(other: VerdictKey) -> None:
    at = house()
    await at.judge()
    await at.judge(other)
    assert at.made == [KEY, other]


def test_annotations_are_told_apart() -> None:
    ones = [{}, {"a": "b"}, {"a": "b", "c": "d"}, {"ab": ""}, {"a": "", "b": ""}, {"b": "a"}]
    assert len({annotations_digest(one) for one in ones}) == len(ones)
    assert annotations_digest({"a": "1", "b": "2"}) == annotations_digest({"b": "2", "a": "1"})


async def test_no_more_than_so_many_are_kept() -> None:
    at = house(known_verdicts=3)
    for number in (1, 2, 3):
        await at.judge(numbered(number))
    await at.judge(numbered(1))  # used again
    await at.judge(numbered(4))
    assert len(at.verdicts) == 3
    at.made.clear()
    for number in (1, 3, 4, 2):
        await at.judge(numbered(number))
    assert at.made == [numbered(2)]


async def test_no_more_bytes_than_the_limit_are_kept() -> None:
    at = house(known_verdict_bytes=10_000)
    for number in range(10):
        await at.judge(numbered(number), size=2000)
        assert at.verdicts.bytes <= 10_000
    assert 0 < len(at.verdicts) < 10
    await at.judge(numbered(99), size=20_000)  # too large to be kept, and drives nothing out
    assert len(at.verdicts) > 0
    at.made.clear()
    await at.judge(numbered(9), size=2000)
    assert at.made == []


async def test_the_room_of_what_expired_is_free_again() -> None:
    at = house()
    await at.judge()
    before = at.verdicts.bytes
    at.clock.seconds += SECONDS
    await at.judge()
    assert (at.verdicts.bytes, len(at.verdicts)) == (before, 1)


async def test_who_asks_meanwhile_waits() -> None:
    at = house()
    found = await asyncio.gather(*(at.judge() for _ in range(10)))
    assert at.made == [KEY]
    assert {judged.verdict.__class__ for judged in found} == {Verified}


async def test_what_fails_is_not_remembered_and_holds_nobody_up() -> None:
    at = house()

    async def fail() -> tuple[Judged, int]:
        await asyncio.sleep(0)
        raise Unreachable("down")

    found = await asyncio.gather(*(at.verdicts.judge(KEY, fail) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [Unreachable] * 3
    assert await at.judge() == JUDGED


async def test_who_gives_up_leaves_it_to_the_next() -> None:
    at = house()
    begun = asyncio.Event()

    async def hang() -> tuple[Judged, int]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    first = asyncio.create_task(at.verdicts.judge(KEY, hang))
    await begun.wait()
    second = asyncio.create_task(at.judge())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == JUDGED
