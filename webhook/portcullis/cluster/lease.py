"""The Lease by which the replicas of a gate agree on the one that does what one of them is enough for.

Somebody else makes the object (the chart does, empty); the gate may ``get`` and ``update`` this one by its name and
create none. Who holds it writes itself into it again and again. Another one takes it when it has not changed for as
long as it says that it lasts: as measured by the one who looks, from when it saw the last change. The times in the
object are for people and never compared with a clock, so that clocks which differ between machines harm nothing, as in
client-go (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection). Each write names the resourceVersion that was
read: of two replicas that take it at once, one is refused (409).

What a Lease is not is a lock: one that held it may still be at work for a moment when the next one begins, if its
machine slept. So it gives up well before others may take it (``RENEWED_SHARE``), and what is done under it must bear to
be done twice.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.errors import ClusterError
from portcullis.ports import Clock
from portcullis.times import rfc3339

KEY: Final = "cluster.recheck.lease"
RENEWED_SHARE: Final = 2 / 3
"""Of the Lease's time: who has not renewed it for so long holds it no more, in its own opinion; as 10 s of 15 s are in
client-go."""

_LEASE_BYTES: Final = 256 * 1024
"""A Lease has some hundred bytes; its annotations may have as many as this."""
_MOST_SECONDS: Final = 300
"""How long a Lease lasts at most, whatever it says: who wrote more into it would keep everybody from the work."""
_HOLDER_CHARS: Final = 253


class Lease:
    """The Lease ``name`` in ``namespace``, as one replica sees it.

    Args:
        holder: names this replica, and no other.
        lasts: seconds for which others leave it alone after the last change.
        seconds: for each request.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        namespace: str,
        name: str,
        holder: str,
        clock: Clock,
        lasts: int,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._client = client
        self._place = f"{namespace}/{name}"
        self._path = f"{Resource('coordination.k8s.io', 'v1', 'leases', namespace).path}/{quote(name, safe='')}"
        self._holder = holder[:_HOLDER_CHARS]
        self._clock = clock
        self._lasts = lasts
        self._seconds = seconds
        self._seen: Mapping[str, Any] | None = None
        """What stood in it when it changed last."""
        self._seen_at = 0.0
        self._held_until = 0.0
        self.leader = ""
        """Who holds it, as far as that is known; "" for nobody."""

    @property
    def held(self) -> bool:
        """Whether this replica may count on it now."""
        return self.held_seconds > 0

    @property
    def held_seconds(self) -> float:
        """For how long this replica may count on it, if it is not renewed; 0 if it holds it not."""
        return max(0.0, self._held_until - self._clock.monotonic())

    async def take(self) -> bool:
        """Takes the Lease, or renews it, where no other holds it; whether this replica holds it then.

        Raises:
            ClusterError: it can neither be read nor changed; one that was held is held for as long as it was.
        """
        asked = self._clock.monotonic()
        found = await self._read()
        spec = _spec_of(found)
        self._notice(spec)
        if not self._free(spec):
            self._held_until = 0.0
            return False
        written = await self._write(found, self._renewed(spec))
        if written is None:
            return self.held  # who was quicker may have changed a label, and the next look tells
        self._notice(_spec_of(written))
        # From before the first question: by then nobody else can have seen a later change than this one.
        self._held_until = asked + self._lasts * RENEWED_SHARE
        return True

    async def give_up(self) -> None:
        """Lets another one take it at once, if this replica has it.

        Raises:
            ClusterError: it cannot be read or changed; the next one waits until it is over.
        """
        self._held_until = 0.0
        found = await self._read()
        spec = _spec_of(found)
        if spec.get("holderIdentity") == self._holder:
            await self._write(found, {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now})
        self.leader = ""

    def _notice(self, spec: Mapping[str, Any]) -> None:
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._clock.monotonic()
        self.leader = _holder_of(spec)

    def _free(self, spec: Mapping[str, Any]) -> bool:
        """Whether it is ours, or nobody's any more."""
        holder, lasts = _holder_of(spec), spec.get("leaseDurationSeconds")
        if holder in ("", self._holder):
            return True
        seconds = lasts if isinstance(lasts, int) and 0 < lasts <= _MOST_SECONDS else _MOST_SECONDS
        return self._clock.monotonic() >= self._seen_at + seconds

    def _renewed(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        now, turns = self._now, spec.get("leaseTransitions")
        made = {**spec, "holderIdentity": self._holder, "leaseDurationSeconds": self._lasts, "renewTime": now}
        if spec.get("holderIdentity") != self._holder:
            made |= {"acquireTime": now, "leaseTransitions": turns + 1 if isinstance(turns, int) else 0}
        return made

    @property
    def _now(self) -> str:
        """MicroTime of the API takes six digits, no more and no less."""
        return rfc3339(self._clock.now(), "microseconds")

    async def _read(self) -> dict[str, Any]:
        try:
            return await self._send("GET")
        except FAULTS as error:
            raise self._error("read", error) from error

    async def _write(self, found: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """The object as it is then; None where somebody else was quicker, and nothing was changed."""
        try:
            return await self._send("PUT", {**found, "spec": dict(spec)})
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 409:
                return None
            raise self._error("changed", error) from error

    async def _send(self, method: str, body: Any = None) -> dict[str, Any]:
        """As JSON: the client's own Lease writes whole seconds without the digits that MicroTime wants."""
        async with asyncio.timeout(self._seconds):
            response = await ask(self._client, method, self._path, body=body, silence_seconds=self._seconds)
            async with response:
                return _lease(await bounded_json(response, _LEASE_BYTES, "it"))

    def _error(self, verb: str, error: Exception) -> ClusterError:
        what = f"{KEY}: the Lease {self._place}"
        if isinstance(error, ApiException) and error.status == 404:
            return ClusterError(f"{what} is not there; make it (the chart does), the gate may only change it")
        return ClusterError(f"{what} cannot be {verb}: {reason_of(error, self._seconds)}")


def _lease(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.get("kind") != "Lease" or not isinstance(found.get("metadata"), dict):
        raise ValueError("the API server answered no Lease")
    return found


def _spec_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = found.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _holder_of(spec: Mapping[str, Any]) -> str:
    holder = spec.get("holderIdentity")
    return holder if isinstance(holder, str) else ""
