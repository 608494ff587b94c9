"""How fast work in the background goes."""

import asyncio
from dataclasses import dataclass

import pytest

from fakes.clock import StandingClock
from portcullis.server import pacing
from portcullis.server.clock import SystemClock
from portcullis.server.pacing import Courtesy, Pace

pytestmark = pytest.mark.anyio


@dataclass
class SleepingClock(StandingClock):
    """Whoever sleeps moves it."""

    slept: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepingClock:
    made = SleepingClock()
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


def pace(clock: SleepingClock, per_second: float = 5.0, slowest: float = 10.0) -> Pace:
    return Pace(per_second, slowest_seconds=slowest, clock=clock)


async def test_there_are_so_many_turns_a_second_and_the_first_is_at_once(clock: SleepingClock) -> None:
    one = pace(clock)
    await one.turn()
    assert clock.slept == 0
    for _ in range(10):
        await one.turn()
    assert clock.slept == pytest.approx(2.0)


async def test_time_that_was_not_used_makes_no_burst(clock: SleepingClock) -> None:
    one = pace(clock)
    await one.turn()
    clock.seconds += 3600
    for _ in range(11):
        await one.turn()
    assert clock.slept == pytest.approx(2.0)


async def test_a_turn_that_takes_its_time_is_not_waited_for_twice(clock: SleepingClock) -> None:
    one = pace(clock)
    await one.turn()
    clock.seconds += 0.15
    await one.turn()
    assert clock.slept == pytest.approx(0.05)


async def test_it_slows_down_with_each_failure_to_a_bound_and_comes_back(clock: SleepingClock) -> None:
    one = pace(clock, per_second=1.0, slowest=5.0)
    gaps = []
    for well in (False, False, False, False, True, True, True, True):
        one.went(well=well)
        gaps.append(one.seconds)
    assert gaps == [2.0, 4.0, 5.0, 5.0, 2.5, 1.25, 1.0, 1.0]


async def test_one_that_is_slower_than_the_bound_stays_as_slow_as_it_was_asked_to_be(clock: SleepingClock) -> None:
    one = pace(clock, per_second=0.05, slowest=10.0)
    one.went(well=False)
    assert one.seconds == 20.0
    one.went(well=True)
    assert one.seconds == 20.0


async def test_courtesy_ends_when_nobody_waits_any_more(clock: SleepingClock) -> None:
    ends = clock.seconds + 1
    one = Courtesy(most_seconds=60, clock=clock)
    one.waiting = lambda: int(clock.seconds < ends)
    await one.wait()
    assert one.seconds == pytest.approx(1.0, abs=pacing.POLL_SECONDS)
    await one.wait()
    assert one.seconds == pytest.approx(1.0, abs=pacing.POLL_SECONDS)


async def test_courtesy_has_a_bound(clock: SleepingClock) -> None:
    one = Courtesy(most_seconds=2, clock=clock)
    one.waiting = lambda: 1
    await one.wait()
    await one.wait()
    assert one.seconds == pytest.approx(4.0, abs=3 * pacing.POLL_SECONDS)


async def test_turns_are_those_of_the_running_clock() -> None:
    """Of the tests' own clock nothing is learned about the program's."""
    one = Pace(1000, slowest_seconds=1, clock=SystemClock())
    started = SystemClock().monotonic()
    for _ in range(21):
        await one.turn()
    assert SystemClock().monotonic() - started >= 0.02
