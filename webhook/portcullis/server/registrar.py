"""Keeps the cluster's webhook configuration in step with the life of this program.

1. At the start the CA of the self-managed certificate is written into it: a replica that the API server cannot trust
   is not ready (design rule 14).
2. Where the program that ran before has stopped the webhooks in good order, they are called again once this one has
   been ready for so long that the cluster has noticed.
3. While it runs, both are looked after: an object that was deleted and made anew gets its CA again.
4. When its pod is being deleted the webhooks are stopped first, if the configuration says so. A crash stops nothing,
   and neither does a signal for another reason: whoever can overload a gate until its container is restarted must not
   open it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from portcullis.cluster.certificate import CA_FILE
from portcullis.errors import ClusterError, ConfigError
from portcullis.ports import Clock
from portcullis.server.health import Report
from portcullis.server.settings import Settings
from portcullis.server.tls import read_certificate_file
from portcullis.times import parse_rfc3339

if TYPE_CHECKING:
    from portcullis.cluster.registration import Registration

POLL_SECONDS = 5.0
HURRY_SECONDS = 0.5
UNASKED_SECONDS = 30.0
"""A program that is ready and whose /readyz nobody asks for is called again all the same after this time."""

log = structlog.get_logger(__name__)


class Configurations(Protocol):
    """What is asked of cluster.registration.WebhookConfigurations. Raises only ClusterError."""

    async def read(self) -> "Registration | None": ...

    async def write(self, found: "Registration", *, ca_bundle: bytes | None, stopped_at: datetime | None) -> None: ...


class Registrar:
    """Looks after the webhook configuration.

    Args:
        configurations: None where no cluster calls this program; then nothing is done.
        ca_file: what the API server has to trust; None where somebody else writes that.
        leaving: whether this program's pod is being deleted, asked when it stops; raises ClusterError. None: the
            webhooks are never stopped.
        settle_seconds: how long the cluster needs to notice that a pod is ready.
    """

    def __init__(
        self,
        *,
        configurations: Configurations | None,
        ca_file: Path | None,
        leaving: Callable[[], Awaitable[bool]] | None,
        settle_seconds: float,
        clock: Clock,
    ) -> None:
        self._configurations = configurations
        self._ca_file = ca_file
        self._leaving = leaving
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._ready_since: float | None = None
        self._reported_at: float | None = None
        self._lock = asyncio.Lock()
        self._stopping = False
        self._covered = False
        self.active = configurations is not None
        self.problem = "not looked at yet"
        """Why the API server cannot call this replica, "" if it can."""
        self.remark = ""
        self.rules: Sequence[Mapping[str, Any]] | None = None
        """What the cluster sends to the gate ({apiGroups, resources}); None where that is not known."""
        self.registered = False
        """Whether the cluster calls this gate and trusts its certificate."""

    def reported(self) -> None:
        """Somebody outside was told that this replica is ready."""
        if self._reported_at is None:
            self._reported_at = self._clock.monotonic()

    async def watch(
        self, examine: Callable[[], Awaitable[Report]], *, poll: float = POLL_SECONDS, hurry: float = HURRY_SECONDS
    ) -> None:
        """Looks after it until cancelled.

        Args:
            examine: says whether this replica could decide now.
            poll, hurry: seconds between looks, and as long as something is still to be done.
        """
        while self._configurations is not None:
            done = False
            try:
                async with self._lock:
                    done = self._stopping or await self._look(self._configurations, examine)
            except Exception:  # a fault of ours must not end the looking
                log.exception("webhook configuration not looked after")
            await asyncio.sleep(poll if done else hurry)

    async def stop(self) -> None:
        """The program ends. Where that is wanted and its pod is going away, the webhooks are not called from now on."""
        async with self._lock:
            self._stopping = True
            if self._configurations is None or self._leaving is None:
                return
            try:
                if not await self._leaving():
                    log.info("webhooks not stopped", problem="the pod stays")
                    return
                found = await self._configurations.read()
                if found is None:
                    return
                await self._configurations.write(found, ca_bundle=self._ca(), stopped_at=self._clock.now())
                log.warning("webhooks stopped", webhooks=sorted(found.ca_bundles))
            except (ClusterError, ConfigError) as error:
                log.error("webhooks not stopped", problem=error.message)

    async def _look(self, configurations: Configurations, examine: Callable[[], Awaitable[Report]]) -> bool:
        """One look, and what it takes; whether nothing is left to be done."""
        try:
            found = await configurations.read()
            if found is None:
                self._say(registered=False, remark="there is none, so nothing calls this gate")
                return False
            self.rules = found.rules
            ca_bundle = self._ca()
            covered = ca_bundle is None or found.covered_by(ca_bundle)
            start = bool(found.stopped) and await self._settled(examine)
            self._covered = covered
            if start or not covered:
                await configurations.write(found, ca_bundle=ca_bundle, stopped_at=None if start else self._since(found))
                self._covered = True
                if not covered:
                    log.info("webhook configuration has the CA")
                if start:
                    log.info("webhooks called again", stopped_since=sorted(set(found.stopped.values())))
            stopped = bool(found.stopped) and not start
            self._say(registered=not stopped, remark="its webhooks are stopped" if stopped else "")
        except (ClusterError, ConfigError) as error:
            self._fail(error.message)
            return False
        return not stopped

    def _say(self, *, registered: bool, remark: str) -> None:
        self.problem, self.remark, self.registered = "", remark, registered

    def _fail(self, problem: str) -> None:
        """An API server that is away for a while makes no replica unready that it trusted before."""
        if problem != self.remark:
            log.error("webhook configuration not looked after", problem=problem)
        self.problem, self.remark = ("" if self._covered else problem), problem

    def _ca(self) -> bytes | None:
        return read_certificate_file(self._ca_file, "ca.crt") if self._ca_file is not None else None

    def _since(self, found: "Registration") -> datetime | None:
        """Since when it has been stopped; None if it is not."""
        if not found.stopped:
            return None
        try:
            return parse_rfc3339(min(found.stopped.values())) or self._clock.now()
        except ValueError:
            return self._clock.now()

    async def _settled(self, examine: Callable[[], Awaitable[Report]]) -> bool:
        now = self._clock.monotonic()
        if not (await examine()).ready:
            self._ready_since = self._reported_at = None
            return False
        if self._ready_since is None:
            self._ready_since = now
        if self._reported_at is not None and now - self._reported_at >= self._settle_seconds:
            return True
        return now - self._ready_since >= max(UNASKED_SECONDS, self._settle_seconds)


@asynccontextmanager
async def registered(settings: Settings, clock: Clock) -> AsyncIterator[Registrar]:
    """The registrar that the configuration asks for.

    Raises:
        ClusterError: it asks for one, and this is no pod.
    """
    section, managed = settings.cluster.webhook, settings.server.tls.self_managed
    async with AsyncExitStack() as stack:
        configurations, leaving = None, None
        if section is not None:
            # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
            from portcullis.cluster.registration import connected

            configurations, pod = await stack.enter_async_context(connected(section.name, section.pod))
            leaving = pod.leaving if section.stand_down else None
        yield Registrar(
            configurations=configurations,
            ca_file=managed.directory / CA_FILE if managed is not None else None,
            leaving=leaving,
            settle_seconds=settings.server.stop_delay_seconds,
            clock=clock,
        )
