"""When a read is tried again, and how long a host is left alone."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.errors import NotFound, Throttled, Unreachable
from portcullis.limits import Limits
from portcullis.registry.faults import Passing
from portcullis.registry.retries import Pauses, Retries, retry_after

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LIMITS = Limits(registry_attempts=4, backoff_seconds=0.5, retry_wait_seconds=5.0, throttle_seconds=100.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),  # over
        ("Tuesday, 24-Nov-26 12:01:00 GMT", 60.0),  # obsolete forms that RFC 9110 wants read
        ("Tue Nov 24 12:00:10 2026", 10.0),
        ("9" * 400, 9_999_999_999.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("١", None),
        ("Tue, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_what_a_header_asks_for(text: str, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


@given(st.text(max_size=200))
def test_any_header_is_seconds_or_nothing(text: str) -> None:
    seconds = retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("attempt", "asked", "longest"),
    [
        (1, None, 0.5),
        (2, None, 1.0),
        (3, None, 2.0),
        (4, None, None),  # the last one
        (1, 5.0, 5.5),
        (1, 5.1, None),  # more than is waited for
        (4, 1.0, None),
    ],
)
def test_the_wait_before_the_next_attempt(attempt: int, asked: float | None, longest: float | None) -> None:
    """All of the jitter is drawn: from none at all to the longest. What was asked for is kept to in full."""
    assert Retries(limits=LIMITS, draw=lambda: 1.0).delay(attempt, asked) == longest
    assert Retries(limits=LIMITS, draw=lambda: 0.0).delay(attempt, asked) == (None if longest is None else asked or 0.0)


def test_the_wait_has_a_ceiling() -> None:
    limits = Limits(registry_attempts=50, backoff_seconds=1.0, retry_wait_seconds=3.0)
    assert Retries(limits=limits, draw=lambda: 1.0).delay(40, None) == 3.0


async def attempts(faults: list[Exception], until: float = 1e9, **limits: float) -> tuple[int, object]:
    """How often the work was tried, and what came of it."""
    tried = 0

    async def work() -> str:
        nonlocal tried
        tried += 1
        if tried <= len(faults):
            raise faults[tried - 1]
        return "made"

    retries = Retries(limits=Limits(**{"backoff_seconds": 1e-6, **limits}))  # type: ignore[arg-type]
    try:
        return tried, await retries.persist(work, asyncio.get_running_loop().time() + until)
    except (NotFound, Unreachable) as error:
        return tried, type(error)


OUTAGE = Passing(Unreachable("down"))


async def test_what_may_pass_is_tried_again_so_often() -> None:
    assert (await attempts([]))[1] == "made"
    assert (await attempts([OUTAGE, OUTAGE]))[1] == "made"
    assert await attempts([OUTAGE] * 5) == (3, Unreachable)
    assert await attempts([OUTAGE] * 5, registry_attempts=1) == (1, Unreachable)


async def test_what_does_not_pass_is_not_tried_again() -> None:
    assert await attempts([NotFound("none")]) == (1, NotFound)
    assert await attempts([OUTAGE, Unreachable("no TLS")]) == (2, Unreachable)


async def test_no_attempt_begins_after_the_end() -> None:
    """The wait would last longer than the time that is left, so the error comes now."""
    assert await attempts([Passing(Unreachable("down"), 4.0)], until=2.0) == (1, Unreachable)
    assert await attempts([OUTAGE], until=0.0) == (1, Unreachable)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_pause_is_of_one_host_and_one_credential() -> None:
    clock = Clock()
    pauses = Pauses(limits=LIMITS, clock=clock)
    pauses.begin("a.example", "ci", 30.0)
    assert pauses.remaining("a.example", "ci") == 30.0
    assert pauses.remaining("a.example", "other") == pauses.remaining("b.example", "ci") == 0.0
    clock.now += 30.0
    assert pauses.remaining("a.example", "ci") == 0.0


def test_a_pause_is_never_shortened_nor_without_end() -> None:
    clock = Clock()
    pauses = Pauses(limits=LIMITS, clock=clock)
    pauses.begin("a.example", "ci", 50.0)
    pauses.begin("a.example", "ci", 1.0)
    assert pauses.remaining("a.example", "ci") == 50.0
    pauses.begin("a.example", "ci", 1e12)
    assert pauses.remaining("a.example", "ci") == LIMITS.throttle_seconds


def test_only_so_many_pauses_are_remembered() -> None:
    pauses = Pauses(limits=Limits(remembered_entries=2), clock=Clock())
    for host in ("a", "b", "c"):
        pauses.begin(host, "ci", 10.0)
    assert [pauses.remaining(host, "ci") for host in ("a", "b", "c")] == [0.0, 10.0, 10.0]


async def test_a_long_pause_is_not_waited_for() -> None:
    pauses = Pauses(limits=LIMITS, clock=Clock())
    await pauses.over("a.example", "ci")
    pauses.begin("a.example", "ci", 5.5)
    with pytest.raises(Throttled, match="left alone for 6 s more") as caught:
        await pauses.over("a.example", "ci")
    assert caught.value.retry_after == 5.5


async def test_a_short_pause_is() -> None:
    pauses = Pauses(limits=Limits(backoff_seconds=1e-6))
    pauses.begin("a.example", "ci", 0.01)
    await pauses.over("a.example", "ci")
    assert pauses.remaining("a.example", "ci") == 0.0
