"""Credentials that somebody lends for a while: a cloud, a credential helper.

One flight per key: whoever asks while a credential is on its way waits for that one. A flight belongs to nobody, so a
requester that gives up at its deadline does not make the next one begin anew. A failure is remembered for a moment:
a cloud that is down is not asked with every request.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from portcullis.errors import CredentialUnavailable, RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Anonymous, RegistryCredential
from portcullis.text import clean

_EARLY_SECONDS: Final = 300.0
"""How long before its end a credential is no longer used, so that none ends on its way; a tenth of a short life."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A credential and for how many seconds from now it holds. Anonymous: the lender has none for that registry."""

    credential: RegistryCredential | Anonymous
    seconds: float


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: RegistryCredential | Anonymous | RegistryError
    until: float


class Leases:
    """Keeps what is lent until shortly before its end.

    Args:
        borrow: gets a new one for a key; raises RegistryError, and what a cloud's client makes of garbage. It is
            cancelled after ``credential_seconds``.
        lender: who lends, for messages.
        limits: ``credential_seconds``, ``credential_entries``, ``failure_seconds``.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        borrow: Callable[[str], Awaitable[Lease]],
        lender: str,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._borrow = borrow
        self._lender = lender
        self._limits = limits
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._flights: dict[str, asyncio.Task[RegistryCredential | Anonymous | RegistryError]] = {}

    async def aclose(self) -> None:
        """Ends what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def get(self, key: str) -> RegistryCredential | Anonymous:
        """The credential for ``key``, kept or new.

        Raises:
            RegistryError: that of ``borrow``.
            CredentialUnavailable: ``borrow`` takes too long, or too many are under way.
        """
        kept = self._kept.get(key)
        if kept is not None and kept.until > self._clock():
            self._kept.move_to_end(key)
            return _opened(kept.outcome)
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._limits.credential_entries:
                raise CredentialUnavailable(
                    f"{self._lender} is being asked for as many credentials as the limit credentialEntries of "
                    f"{self._limits.credential_entries} allows"
                )
            flight = self._flights[key] = asyncio.create_task(self._fly(key))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        try:
            return _opened(await asyncio.shield(flight))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.cancelled() and not (task is not None and task.cancelling()):
                raise CredentialUnavailable(f"the request to {self._lender} was ended by a shut-down") from None
            raise

    async def _fly(self, key: str) -> RegistryCredential | Anonymous | RegistryError:
        """An error is handed over as a value: several may wait, or nobody any more."""
        try:
            async with asyncio.timeout(self._limits.credential_seconds):
                lease = await self._borrow(key)
        except TimeoutError:
            late = f"{self._lender} gave no credential for {clean(key, 100)} within the limit credentialSeconds of "
            return self._keep(
                key, CredentialUnavailable(f"{late}{self._limits.credential_seconds:g}"), self._limits.failure_seconds
            )
        except RegistryError as error:
            return self._keep(key, error, self._limits.failure_seconds)
        except Exception as error:  # noqa: BLE001 - clouds' clients stumble over garbage with errors of any kind
            # Only the kind of error is told: what it says may hold parts of an answer.
            garbled = f"the answer of {self._lender} for {clean(key, 100)} cannot be read ({type(error).__name__})"
            return self._keep(key, CredentialUnavailable(garbled), self._limits.failure_seconds)
        early = min(_EARLY_SECONDS, lease.seconds / 10)
        return self._keep(key, lease.credential, lease.seconds - early)

    def _keep(
        self, key: str, outcome: RegistryCredential | Anonymous | RegistryError, seconds: float
    ) -> RegistryCredential | Anonymous | RegistryError:
        self._kept.pop(key, None)
        self._kept[key] = _Kept(outcome, self._clock() + seconds)
        while len(self._kept) > self._limits.credential_entries:
            self._kept.popitem(last=False)
        return outcome


def _opened(outcome: RegistryCredential | Anonymous | RegistryError) -> RegistryCredential | Anonymous:
    if isinstance(outcome, RegistryError):
        # A new one of the same kind: one that is raised several times would gather the stacks of all who saw it.
        raise type(outcome)(outcome.message)
    return outcome
