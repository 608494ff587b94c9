"""When a failed read is tried again, and which hosts are left alone.

Only what is safe to repeat comes here: GET and HEAD (RFC 9110, section 9.2.2). A wait is drawn at random from zero to a
bound that doubles ("full jitter"), so that those who failed together do not come back together.
"""

import asyncio
import email.utils
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from portcullis.errors import Throttled
from portcullis.limits import Limits
from portcullis.registry.faults import Passing

_Made = TypeVar("_Made")

_LONGEST_NUMBER: Final = 10
"""Digits of Retry-After: three hundred years in seconds."""


class Retries:
    """Repeats reads whose fault may pass.

    Args:
        limits: ``registry_attempts``, ``backoff_seconds``, ``retry_wait_seconds``.
        draw: a number from 0 to 1.
    """

    def __init__(self, *, limits: Limits, draw: Callable[[], float] = random.random) -> None:
        self._limits = limits
        self._draw = draw

    async def persist(self, work: Callable[[], Awaitable[_Made]], until: float) -> _Made:
        """What ``work`` makes, as often tried as it may be before ``until`` (a time of the running loop).

        Raises:
            RegistryError: what ``work`` raises, or what its last Passing fault carries.
        """
        attempt = 1
        while True:
            try:
                return await work()
            except Passing as fault:
                await self.wait(fault, attempt, until)
            attempt += 1

    async def wait(self, fault: Passing, attempt: int, until: float) -> None:
        """Returns when the attempt after number ``attempt`` (from 1) may begin.

        Raises:
            RegistryError: there will be none: the error of ``fault``.
        """
        delay = self.delay(attempt, fault.wait)
        if delay is None or asyncio.get_running_loop().time() + delay >= until:
            raise fault.error from fault
        await asyncio.sleep(delay)

    def delay(self, attempt: int, asked: float | None) -> float | None:
        """Seconds to wait after attempt number ``attempt``; None where there is no further one.

        Args:
            asked: what the host asked for; it is kept to in full, or not waited for at all.
        """
        limits = self._limits
        if attempt >= limits.registry_attempts or (asked or 0.0) > limits.retry_wait_seconds:
            return None
        bound: float = min(limits.retry_wait_seconds, limits.backoff_seconds * 2 ** (attempt - 1))
        return (asked or 0.0) + self._draw() * bound


class Pauses:
    """Hosts that answered 429 with Retry-After, and until when each is left alone: by host and credential, since
    registries count by account.

    Args:
        limits: ``throttle_seconds``, ``retry_wait_seconds``, ``backoff_seconds``, ``remembered_entries``.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._draw = draw
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def begin(self, host: str, who: str, seconds: float) -> None:
        """Leaves ``host`` alone for ``who`` (the fingerprint of a credential)."""
        key = (host, who)
        until = self._clock() + min(seconds, self._limits.throttle_seconds)
        self._until[key] = max(until, self._until.pop(key, until))
        while len(self._until) > self._limits.remembered_entries:
            self._until.popitem(last=False)

    def remaining(self, host: str, who: str) -> float:
        """Seconds that are left of the pause; 0 where there is none."""
        until = self._until.get((host, who))
        left = 0.0 if until is None else until - self._clock()
        if until is not None and left <= 0:
            del self._until[host, who]
        return max(left, 0.0)

    async def over(self, host: str, who: str) -> None:
        """Returns when the host may be asked again, where that is soon.

        Raises:
            Throttled: it is not soon; ``retry_after`` says when.
        """
        while left := self.remaining(host, who):
            if left > self._limits.retry_wait_seconds:
                raise Throttled(
                    f"{host} takes no more requests now (HTTP 429), and asks to be left alone for {left:.0f} s more",
                    retry_after=left,
                )
            await asyncio.sleep(left + self._draw() * self._limits.backoff_seconds)


def retry_after(text: str, now: datetime | None = None) -> float | None:
    """Seconds that a header Retry-After asks for (RFC 9110, section 10.2.3: seconds or an HTTP-date); None for what is
    neither, 0 for a time that is over."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:_LONGEST_NUMBER])
    try:
        moment = email.utils.parsedate_to_datetime(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max((moment - (now or datetime.now(UTC))).total_seconds(), 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
