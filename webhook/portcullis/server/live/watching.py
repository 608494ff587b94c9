"""What of the cluster is watched: labels of namespaces, ConfigMaps with policies, objects for ``data.inventory``,
platforms of nodes, pull secrets, grants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from portcullis.decision.grants import NO_GRANTS, Grants
from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import Problem, Stage
from portcullis.model.grant import Grant
from portcullis.policy.inventory import Inventory
from portcullis.ports import Namespaces
from portcullis.registry.keychain import PullSecretKeychain
from portcullis.server.health import Check
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics

if TYPE_CHECKING:
    from portcullis.cluster.breakglass import WatchedGrants
    from portcullis.cluster.client import Configured
    from portcullis.cluster.nodes import WatchedNodes
    from portcullis.cluster.policymaps import PolicyMaps
    from portcullis.cluster.watch import Change, Watch
    from portcullis.cluster.watching import Watched

_SHOWN: Final = 5
"""Problems that are shown one by one."""


class Watching:
    """What is watched; nothing where there is no cluster, or nobody asks for it.

    ``maps_changed`` is called when ConfigMaps with policies may have changed; who wants to know it assigns it.

    Args:
        limits: those of pull secrets.
        text: takes secrets out of what somebody wrote as the reason of a grant.
    """

    def __init__(
        self,
        inventory: Inventory | None = None,
        limits: Limits = DEFAULT_LIMITS,
        text: Callable[[str], str] = lambda said: said,
    ) -> None:
        self._watched: Watched | None = None
        self._limits = limits
        self._text = text
        self.inventory = inventory
        self.keychain: PullSecretKeychain | None = None
        """Of the pull secrets of workloads; None where no cluster is watched."""
        self._grants: dict[str, tuple[Sequence[Grant], Grants]] = {}
        """By namespace, as they were asked for last: what is watched, and the same with their patterns read."""
        self.maps_changed: Callable[[], None] = lambda: None

    @property
    def namespaces(self) -> Namespaces | None:
        return self._watched.namespaces if self._watched is not None else None

    @property
    def namespace_names(self) -> Callable[[], Collection[str]] | None:
        """Gives the names of all namespaces; raises ClusterError while they are not known. None where none are
        watched."""
        found = self._watched.namespaces if self._watched is not None else None
        return found.names if found is not None else None

    @property
    def maps(self) -> "PolicyMaps | None":
        return self._watched.maps if self._watched is not None else None

    @property
    def nodes(self) -> "WatchedNodes | None":
        return self._watched.nodes if self._watched is not None else None

    def inventory_problem(self, engine_problem: str) -> Problem | None:
        """Why ``data.inventory`` cannot be counted on now; None where it can.

        Args:
            engine_problem: why OPA may not have it; "" where it does.
        """
        if self._watched is None or self.inventory is None:
            return None
        over = next((kind.watch.problem for kind in self._watched.kinds if kind.watch.over), "")
        if too_large := self.inventory.too_large or over:
            message = f"the objects of cluster.inventory are too many: {too_large}"
            return Problem(Stage.INVENTORY, "inventory-too-large", retryable=False, msg=message)
        if why := next((kind.problem for kind in self._watched.kinds if kind.problem), "") or engine_problem:
            message = f"the objects of cluster.inventory are not known: {why}"
            return Problem(Stage.INVENTORY, "inventory-unavailable", retryable=True, msg=message)
        return None

    def grants(self, namespace: str) -> Grants:
        """What the gate asks for, once per decision; none where they are not watched, or were not heard of for so long
        that one may have been revoked."""
        if self._watched is None or self._watched.grants is None:
            return NO_GRANTS
        found = tuple(self._watched.grants.of(namespace))
        if not found:
            self._grants.pop(namespace, None)
            return NO_GRANTS
        known = self._grants.get(namespace)
        if known is None or known[0] != found:
            self._grants[namespace] = known = (found, Grants(map(self._told, found)))
        return known[1]

    def grants_now(self) -> Sequence[Grant]:
        """All that are in force now, by namespace and name."""
        if self._watched is None or self._watched.grants is None:
            return ()
        return [self._told(grant) for grant in self._watched.grants.all()]

    def _told(self, grant: Grant) -> Grant:
        """As it is shown and recorded."""
        return replace(grant, reason=self._text(grant.reason))

    def grants_check(self) -> Check | None:
        """Says why grants do not count; None where none are watched."""
        if self._watched is None or self._watched.grants is None:
            return None
        grants = self._watched.grants

        async def problems() -> str:
            if grants.problem:
                return f"no grant counts: {grants.problem}"
            found = [f"{namespace} has more grants than grantsPerNamespace" for namespace in grants.crowded()]
            found += [f"{namespace}/{name} grants nothing: {why}" for (namespace, name), why in grants.invalid.items()]
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            return "; ".join(found[:_SHOWN] + more)

        return Check("break-glass", problems, decisive=False, remark=lambda: f"{len(grants.all())} in force")

    def attach(self, watched: "Watched") -> None:
        """What was begun."""
        self._watched = watched
        if watched.pull_secrets is not None:
            self.keychain = PullSecretKeychain(secrets=watched.pull_secrets, limits=self._limits)

    async def listed(self, seconds: float) -> str:
        """Waits until everything that is watched was listed once, so long at most; why something was not, "" where all
        is."""
        watches = self._watched.watches if self._watched is not None else ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(watch.synced.wait() for watch in watches))
        return next((watch.problem for watch in watches if not watch.synced.is_set()), "")

    def check(self) -> Check | None:
        """Shown, not decisive: other replicas see the same; None where nothing is watched."""
        watched = self._watched
        if watched is None or not watched.watches:
            return None

        async def problems() -> str:
            found = [watch.problem for watch in watched.watches if watch.problem]
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            return "; ".join(found[:_SHOWN] + more)

        def remark() -> str:
            counts = _by_kind(watched.watches, lambda watch: len(watch.objects), sum)
            return ", ".join(f"{kind} {count:.0f}" for kind, count in counts.items())

        return Check("watching", problems, decisive=False, remark=remark)

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to the watches. The label is a resource, of those that the program and the operator name:
        several watches of one resource, by namespace or by name, make one series, so that nobody who makes namespaces
        makes series. It shows the one that is silent for longest, and else what there is in all."""
        watched = self._watched
        if watched is None or not watched.watches:
            return
        if watched.grants is not None:
            self._observe_grants(metrics, watched.grants)

        def by(
            read: "Callable[[Watch], float]", of: Callable[[Iterable[float]], float] = sum
        ) -> Callable[[], Mapping[str, float]]:
            return lambda: _by_kind(watched.watches, read, of)

        silent = by(lambda watch: watch.silent_seconds(), max)
        metrics.gauge_by("watch_silent_seconds", "Since the API server was last heard of.", "resource", silent)
        kept = by(lambda watch: len(watch.objects))
        metrics.gauge_by("watch_objects", "Watched objects that are kept.", "resource", kept)
        metrics.gauge_by("watch_bytes", "These, as JSON.", "resource", by(lambda watch: watch.bytes))
        broken = by(lambda watch: bool(watch.problem))
        metrics.gauge_by("watch_broken", "Watches that do not work now.", "resource", broken)
        metrics.count_by("watch_lists", "Lists that were read whole.", "resource", by(lambda watch: watch.lists))
        metrics.count_by("watch_failures", "Watches that broke.", "resource", by(lambda watch: watch.cuts))
        if watched.pull_secrets is not None:
            asked = watched.pull_secrets
            text = "Pull secrets and service accounts that were asked for by name."
            metrics.count_function("pull_secret_lookups", text, lambda: asked.asked)

    def _observe_grants(self, metrics: Metrics, grants: "WatchedGrants") -> None:
        text = "Grants (BreakGlass) that are in force now."
        metrics.gauge("grants_in_force", text).set_function(lambda: float(len(grants.all())))
        text = "Objects BreakGlass that grant nothing, because something in them is wrong."
        metrics.gauge("grants_invalid", text).set_function(lambda: float(len(grants.invalid)))


def _by_kind(
    watches: "Sequence[Watch]", read: "Callable[[Watch], float]", of: Callable[[Iterable[float]], float]
) -> dict[str, float]:
    """What ``of`` makes of the figures of all watches of one resource."""
    found: dict[str, list[float]] = {}
    for watch in watches:
        found.setdefault(watch.resource.kind, []).append(float(read(watch)))
    return {kind: of(figures) for kind, figures in found.items()}


@asynccontextmanager
async def watching(
    settings: Settings,
    limits: Limits,
    asked: "Configured | None" = None,
    *,
    text: Callable[[str], str] = lambda said: said,
) -> AsyncIterator[Watching]:
    """Watches what the configuration asks for.

    Args:
        asked: the cluster that a command is about; None: that of the pod.
        text: takes secrets out of what somebody wrote.

    Raises:
        ConfigError: it asks for ConfigMaps, and says of no cluster; or for too many pull secrets.
        ClusterError: this is no pod, or its service account is not mounted.
    """
    cluster, maps = settings.cluster, settings.policies.config_maps
    if maps is not None and cluster.webhook is None:
        raise ConfigError("policies.configMaps needs cluster.webhook, which says that there is a cluster")
    if cluster.webhook is None:
        yield Watching()
        return
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster import watching as cluster_watching
    from portcullis.cluster.pullsecrets import PullSecretPlace
    from portcullis.cluster.resources import Resource

    inventory = Inventory(limits) if cluster.inventory else None
    ours = Watching(inventory, limits, text)

    def objects_changed(group_version: str, kind: str, changes: "Sequence[Change]") -> None:
        assert inventory is not None
        for change in changes:
            namespace, name = change.key
            if change.now is None:
                inventory.remove(group_version, kind, namespace, name)
            else:
                inventory.put(group_version, kind, namespace, name, change.now)

    wanted = cluster_watching.Wanted(
        namespaces=cluster.watch.namespaces,
        maps=maps.namespaces if maps is not None else None,
        kinds=[Resource(one.group, one.version, one.resource) for one in cluster.inventory],
        nodes=not settings.platforms,
        pull_secrets=[PullSecretPlace(one.namespace, one.names) for one in cluster.pull_secrets],
        grants=cluster.break_glass,
    )

    def maps_changed() -> None:
        ours.maps_changed()  # whoever wants to know comes later

    opened = cluster_watching.watching(
        wanted, limits, maps_changed=maps_changed, objects_changed=objects_changed, cluster=asked
    )
    async with opened as watched:
        ours.attach(watched)
        yield ours
