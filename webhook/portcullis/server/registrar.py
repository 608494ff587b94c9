"""Keeps the cluster's webhook configuration in step with the life of this program.

1. At the start the CA of the self-managed certificate and the path by which the API server is told apart are written
   into it: a replica that the API server cannot trust is not ready (design rule 14).
2. Where the program that ran before has stopped the webhooks in good order, they are called again once this one has
   been ready for so long that the cluster has noticed.
3. While it runs, all of that is looked after: an object that was deleted and made anew gets its CA again, and CAs that
   are changed are changed in the order that server.sharing says.
4. When its pod is being deleted, and it is the last one, the webhooks are stopped first, if the configuration says so.
   A crash stops nothing, and neither does a signal for another reason: whoever can overload a gate until its container
   is restarted must not open it.
5. Where tags are pinned, the object that has them pinned follows at each look (server.following).
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from portcullis.cluster.certificate import CertificateFolder
from portcullis.errors import ClusterError, ConfigError
from portcullis.ports import Clock
from portcullis.server.following import Follower, has
from portcullis.server.health import Report
from portcullis.server.settings import Settings
from portcullis.server.sharing import Sharing, Store, Wanted
from portcullis.times import parse_rfc3339

if TYPE_CHECKING:
    from portcullis.cluster.ownpod import Namespace
    from portcullis.cluster.registration import Registration, Written

POLL_SECONDS = 5.0
HURRY_SECONDS = 0.5
UNASKED_SECONDS = 30.0
"""A program that is ready and whose /readyz nobody asks for is called again all the same after this time."""
STOP_ATTEMPTS = 5
"""How often it is tried to stop the webhooks, where others change the object at the same time."""

log = structlog.get_logger(__name__)


class Configurations(Protocol):
    """What is asked of cluster.registration.WebhookConfigurations. Raises only ClusterError."""

    async def read(self) -> "Registration | None": ...

    async def write(self, found: "Registration", written: "Written") -> "Registration | None": ...


class Release(Protocol):
    """What is asked of cluster.ownpod.OwnPod. Raises only ClusterError."""

    async def leaving(self) -> bool: ...

    async def namespace(self) -> "Namespace": ...


class Registrar:
    """Looks after the webhook configuration.

    Args:
        configurations: None where no cluster calls this program; then nothing is done.
        sharing: this replica's part in what replicas share.
        store: keeps that; None where nothing is shared.
        release: where this program runs; None where that is not known.
        stand_down: whether the webhooks are stopped when the last pod goes.
        settle_seconds: how long the cluster needs to notice that a pod is ready.
        pinning: looks after the object by which the cluster has tags pinned.
    """

    def __init__(
        self,
        *,
        configurations: Configurations | None,
        sharing: Sharing,
        store: Store | None,
        release: Release | None,
        stand_down: bool,
        settle_seconds: float,
        clock: Clock,
        pinning: Follower | None = None,
    ) -> None:
        self.pinning = pinning or Follower()
        self._configurations = configurations
        self._sharing = sharing
        self._store = store
        self._release = release
        self._stand_down = stand_down
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._ready_since: float | None = None
        self._reported_at: float | None = None
        self._lock = asyncio.Lock()
        self._stopping = False
        self._covered = False
        self._owner: Namespace | None = None
        self._ownerless = ""
        """Why the namespace could not be read."""
        self.active = configurations is not None
        self.problem = "not looked at yet"
        """Why the API server cannot call this replica, "" if it can."""
        self.remark = ""
        self.found: Registration | None = None
        """The webhook configuration as it was read last; None if there is none, or that is not known."""
        self.registered = False
        """Whether the cluster calls this gate and trusts its certificate."""

    @property
    def rules(self) -> Sequence[Mapping[str, Any]] | None:
        """What the cluster sends to the gate ({apiGroups, resources}); None where that is not known."""
        return self.found.rules if self.found is not None else None

    @property
    def certifies(self) -> bool:
        """Whether the certificate and its CA are made here, together with the other replicas."""
        return self._sharing.certifies

    @property
    def authorities(self) -> int:
        """How many CAs clients are told to trust."""
        return len(self._sharing.authorities)

    @property
    def authorities_until(self) -> datetime | None:
        """When the CA ends that signed what is served; None where it is not made here, or there is none yet."""
        issuer = self._sharing.issuer
        return issuer.not_valid_after_utc if issuer is not None else None

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
                    done = self._stopping or await self.look(examine)
            except Exception:  # a fault of ours must not end the looking
                log.exception("webhook configuration not looked after")
            await asyncio.sleep(poll if done else hurry)

    async def stop(self) -> None:
        """The program ends. Where that is wanted and it is the last one, the webhooks are not called from now on."""
        async with self._lock:
            self._stopping = True
            if self._configurations is None or self._release is None or not self._stand_down:
                return
            try:
                if not await self._release.leaving():
                    log.info("webhooks not stopped", problem="the pod stays, or others do")
                    return
                await self._stop(self._configurations)
            except (ClusterError, ConfigError) as error:
                log.error("webhooks not stopped", problem=error.message)

    async def _stop(self, configurations: Configurations) -> None:
        for _ in range(STOP_ATTEMPTS):
            found = await configurations.read()
            if found is None:
                return
            written = replace(await self._as_found(found), stopped_at=self._clock.now())
            if await configurations.write(found, written) is not None:
                log.warning("webhooks stopped", webhooks=sorted(found.ca_bundles))
                return
        log.error("webhooks not stopped", problem="others change the webhook configuration all the time")

    async def look(self, examine: Callable[[], Awaitable[Report]]) -> bool:
        """One look, and what it takes; whether nothing is left to be done."""
        if self._configurations is None:
            return True
        try:
            return await self._look(self._configurations, examine)
        except (ClusterError, ConfigError) as error:
            self._fail(error.message)
            return False

    async def _look(self, configurations: Configurations, examine: Callable[[], Awaitable[Report]]) -> bool:
        found = self.found = await configurations.read()
        await self.pinning.read()
        sharing = self._sharing
        wanted = await sharing.step(self._store, found) if self._store is not None else sharing.alone(found)
        followed = wanted is not None and await self.pinning.write(await self._for_all(wanted))
        if found is None:
            self._say(registered=False, remark="there is none, so nothing calls this gate")
            return False
        self._covered = not self._sharing.problem
        if wanted is None:
            return False
        start = bool(found.stopped) and await self._settled(examine)
        written = await self._written(found, wanted, start=start)
        if start or not has(found, written):
            changed = await configurations.write(found, written)
            if changed is None:
                self._say(registered=False, remark="")
                return False
            self._tell(found, changed, written)
            found = self.found = changed
            if self._store is not None:
                self._sharing.read_back(found)
        self._covered = not self._sharing.problem
        stopped = bool(found.stopped)
        self._say(registered=not stopped and self._covered, remark="its webhooks are stopped" if stopped else "")
        return not stopped and self._covered and followed

    async def _written(self, found: "Registration", wanted: Wanted, *, start: bool) -> "Written":
        """What this look leaves in the object."""
        return replace(await self._for_all(wanted), stopped_at=None if start else self._since(found))

    async def _for_all(self, wanted: Wanted) -> "Written":
        """What every object that calls this gate gets."""
        from portcullis.cluster.registration import Written

        return Written(ca_bundle=wanted.ca_bundle, segment=wanted.segment, owner=await self._namespace())

    async def _as_found(self, found: "Registration") -> "Written":
        """What is left out is taken away: whoever changes one thing only says the others as they are."""
        from portcullis.cluster.registration import Written

        bundles = list(dict.fromkeys(found.ca_bundles.values()))
        return Written(
            ca_bundle=b"".join(bundles) if self._sharing.names_authorities else None,
            segment=next(iter(found.segments), "") if self._sharing.names_path else "",
            owner=await self._namespace(),
        )

    async def _namespace(self) -> "Namespace | None":
        """With whose end the webhook configuration goes. Without the right to read it, that is nobody's."""
        if self._owner is None and self._release is not None:
            try:
                self._owner = await self._release.namespace()
            except ClusterError as error:
                if error.message != self._ownerless:
                    log.warning("webhook configuration without owner", problem=error.message)
                self._ownerless = error.message
        return self._owner

    @staticmethod
    def _tell(found: "Registration", changed: "Registration", written: "Written") -> None:
        if found.ca_bundles != changed.ca_bundles:
            log.info("webhook configuration has the CA")
        if found.paths != changed.paths:
            log.info("webhook configuration has the path")
        if found.stopped and written.stopped_at is None:
            log.info("webhooks called again", stopped_since=sorted(set(found.stopped.values())))

    def _say(self, *, registered: bool, remark: str) -> None:
        self.problem, self.remark, self.registered = self._sharing.problem, remark, registered

    def _fail(self, problem: str) -> None:
        """An API server that is away for a while makes no replica unready that it trusted before."""
        if problem != self.remark:
            log.error("webhook configuration not looked after", problem=problem)
        self.problem, self.remark = ("" if self._covered else problem), problem

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
async def registered(settings: Settings, sharing: Sharing, clock: Clock) -> AsyncIterator[Registrar]:
    """The registrar that the configuration asks for.

    Raises:
        ClusterError: it asks for one, and this is no pod.
    """
    section, mutation = settings.cluster.webhook, settings.cluster.mutation
    async with AsyncExitStack() as stack:
        configurations, release, store, mutating = None, None, None, None
        if section is not None:
            # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
            from portcullis.cluster.registration import connected, mutating_of
            from portcullis.cluster.sharedsecret import shared_secret

            client, configurations, pod = await stack.enter_async_context(
                connected(section.name, section.pod, section.deployment)
            )
            release = pod if section.pod else None
            store = store_of(settings, functools.partial(shared_secret, client))
            mutating = mutating_of(client, mutation.webhook) if mutation is not None else None
        yield Registrar(
            configurations=configurations,
            sharing=sharing,
            store=store,
            release=release,
            stand_down=section is not None and section.stand_down,
            settle_seconds=settings.server.stop_delay_seconds,
            clock=clock,
            pinning=Follower(mutating),
        )


def store_of(settings: Settings, secret: "Callable[[str], Store]") -> "Store | None":
    """Where the configuration says that replicas share; None where they share nothing. ``secret`` gives the Secret of
    a name."""
    managed = settings.server.tls.self_managed
    name = settings.shared_secret
    if name:
        return secret(name)
    return CertificateFolder(managed.directory) if managed is not None and managed.directory is not None else None
