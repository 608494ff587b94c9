"""Fetches from registries that several wait for, and what is remembered of those that failed.

One flight per key: whoever asks while a fetch is under way waits for it. A flight belongs to nobody: where its
waiters give up at their deadlines, it goes on for ``flight_seconds`` at most and fills the cache for the next.

Failures are remembered by class, each as long as asking again would be in vain or rude:

* no such image: for a moment, since pods are often made just before a push ends;
* denied: longer, since a corrected credential has keys of its own (facts.py), and registries lock accounts out that
  fail too often;
* throttled: as long as the registry says;
* malformed or too large: as long as a tag is believed, since only another push mends that;
* unreachable, and a credential that cannot be had: for a moment.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from portcullis.errors import Denied, Malformed, NotAllowed, NotFound, RegistryError, Throttled, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.ports import Clock
from portcullis.registry.caches import Key, Recent, weight

_Value = TypeVar("_Value")

MINUTE: Final = 60.0


class OutOfRoom(Unreachable):
    """The registry was not even asked: as many fetches as may be are under way, or the program is stopping. No outage
    of the registry, so no reason to make do with what is stale."""


class StillUnderWay(Unreachable):
    """The caller's patience is over; the fetch goes on."""


@dataclass(slots=True)
class FlightCounters:
    """What happened since the start. ``joined`` counts those that waited for a fetch which others began, ``failed``
    fetches, ``refused`` those that were not begun because as many as may be were under way."""

    started: int = 0
    joined: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Flight:
    task: asyncio.Task[Any]
    began: float


class Flights:
    """One fetch per key at a time.

    Args:
        limits: ``flight_seconds``, ``flights``, ``flights_per_host``, ``stranger_seconds``, ``stranger_fetches``,
            ``remembered_entries``, ``remembered_bytes``, ``failure_seconds``, ``missing_failure_seconds``,
            ``denied_failure_seconds``, ``throttled_failure_seconds``, ``throttle_seconds``,
            ``malformed_failure_seconds``.
    """

    def __init__(self, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._flights: dict[Key, _Flight] = {}
        self._to: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        """Those of them that strangers asked for."""
        self._minute = (clock.monotonic(), 0)
        """When the minute began, and how many fetches strangers have begun since."""
        self.failures: Recent[RegistryError] = Recent(
            clock=clock, entries=limits.remembered_entries, room=limits.remembered_bytes
        )
        self.counters = FlightCounters()

    @property
    def under_way(self) -> int:
        """Fetches that have not ended."""
        return len(self._flights)

    async def aclose(self) -> None:
        """Ends every fetch that is under way."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def fly(
        self,
        key: Key,
        registry: str,
        fetch: Callable[[], Awaitable[_Value]],
        *,
        patience: float | None = None,
        part: bool = False,
        stranger: bool = False,
    ) -> _Value:
        """The outcome of the flight for ``key``, started here if there is none, or its failure of just now.

        Args:
            registry: the host that is asked.
            patience: seconds from the begin of the flight that are waited; None: until it ends.
            part: the fetch is part of another flight, by which it is bounded: it has its place already.
            stranger: on behalf of a stranger, with whom nobody shares a key: he has half of the places, and the flight
                ends after ``stranger_seconds``.

        Raises:
            RegistryError: that of ``fetch``; OutOfRoom; StillUnderWay.
        """
        failed = self.failures.get(key)
        if failed is not None:
            raise _remembered(failed.value, failed.remaining)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key, registry, fetch, part=part, stranger=stranger)
        else:
            self.counters.joined += 1
        timeout = None if patience is None else max(flight.began + patience - self._clock.monotonic(), 0.0)
        done, _ = await asyncio.wait({flight.task}, timeout=timeout)
        if not done:
            raise StillUnderWay(f"{registry} has not answered yet")
        if flight.task.cancelled():
            raise OutOfRoom(f"the fetch from {registry} was ended by a shut-down")
        outcome = flight.task.result()
        if isinstance(outcome, RegistryError):
            raise copy.copy(outcome)
        return outcome  # type: ignore[no-any-return]  # the key says which kind of fetch it is

    def _take_off(
        self, key: Key, registry: str, fetch: Callable[[], Awaitable[_Value]], *, part: bool, stranger: bool
    ) -> _Flight:
        """A new flight, where there is room for it: in all, and to its registry."""
        places = [self._to, self._strangers] if stranger else [self._to]
        if not part:
            self._check_room(registry, self._to)
            if stranger:
                self._check_room(registry, self._strangers, share=2)
                self._check_pace()
            for taken in places:
                taken[registry] += 1
        self.counters.started += 1
        seconds = self._limits.flight_seconds
        if stranger:
            seconds = min(seconds, self._limits.stranger_seconds)
        task = asyncio.create_task(self._fetch(key, registry, fetch, seconds))
        flight = self._flights[key] = _Flight(task, self._clock.monotonic())

        def land(_: object) -> None:
            self._flights.pop(key, None)
            if not part:
                for taken in places:
                    taken[registry] -= 1
                    if not taken[registry]:
                        del taken[registry]

        task.add_done_callback(land)
        return flight

    def _check_room(self, registry: str, taken: Counter[str], share: int = 1) -> None:
        count, there = taken.total(), taken[registry]
        if count >= self._limits.flights // share:
            self.counters.refused += 1
            raise OutOfRoom(f"{count} fetches from registries are under way, as many as may be (the limit flights)")
        if there >= self._limits.flights_per_host // share:
            self.counters.refused += 1
            raise OutOfRoom(
                f"{there} fetches from {registry} are under way, as many as may be (the limit flightsPerHost)"
            )

    def _check_pace(self) -> None:
        """Counts one more fetch for a stranger, where this minute has room for it."""
        now, (began, count) = self._clock.monotonic(), self._minute
        if now - began >= MINUTE:
            began, count = now, 0
        if count >= self._limits.stranger_fetches:
            self.counters.refused += 1
            raise OutOfRoom(
                f"{count} fetches were begun within a minute for reviews whose caller is not verified, as many as may "
                "be (the limit strangerFetches)"
            )
        self._minute = (began, count + 1)

    async def _fetch(
        self, key: Key, registry: str, fetch: Callable[[], Awaitable[_Value]], seconds: float
    ) -> _Value | RegistryError:
        """An error is handed over as a value: several may wait, or nobody any more."""
        try:
            async with asyncio.timeout(seconds):
                return await fetch()
        except TimeoutError:
            named = "flightSeconds" if seconds == self._limits.flight_seconds else "strangerSeconds"
            error: RegistryError = Unreachable(f"{registry} did not answer within the limit {named} of {seconds:g}")
        except RegistryError as raised:
            error = raised
        self.counters.failed += 1
        # What was decided here came at no cost, and the next try may be decided otherwise.
        if not isinstance(error, NotAllowed | OutOfRoom):
            kept = copy.copy(error)
            self.failures.put(key, kept, weight(kept.message), seconds=failure_seconds(kept, self._limits))
        return error


def failure_seconds(error: RegistryError, limits: Limits) -> float:
    """How long a failure is remembered."""
    if isinstance(error, Throttled):
        if error.retry_after is not None:
            return min(error.retry_after, limits.throttle_seconds)
        return limits.throttled_failure_seconds
    if isinstance(error, NotFound):
        return limits.missing_failure_seconds
    if isinstance(error, Denied):
        return limits.denied_failure_seconds
    if isinstance(error, Malformed | TooLarge):
        return limits.malformed_failure_seconds
    return limits.failure_seconds


def _remembered(error: RegistryError, remaining: float) -> RegistryError:
    """A new error of the same kind: one that is raised several times would gather the stacks of all who saw it."""
    again = copy.copy(error)
    if isinstance(again, Throttled) and again.retry_after is not None:
        again.retry_after = remaining
    return again
