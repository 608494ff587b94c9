"""What of the cluster is watched: labels of namespaces, ConfigMaps with policies, objects for ``data.inventory``."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.decision import Problem, Stage
from portcullis.policy.inventory import Inventory
from portcullis.ports import Namespaces
from portcullis.server.health import Check
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics

if TYPE_CHECKING:
    from portcullis.cluster.policymaps import PolicyMaps
    from portcullis.cluster.watch import Change, Watch
    from portcullis.cluster.watching import Watched


class Watching:
    """What is watched; nothing where there is no cluster, or nobody asks for it.

    ``maps_changed`` is called when ConfigMaps with policies may have changed; who wants to know it assigns it.
    """

    def __init__(self, inventory: Inventory | None = None) -> None:
        self._watched: Watched | None = None
        self.inventory = inventory
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

    def attach(self, watched: "Watched") -> None:
        """What was begun."""
        self._watched = watched

    def check(self) -> Check | None:
        """Shown, not decisive: other replicas see the same; None where nothing is watched."""
        watched = self._watched
        if watched is None or not watched.watches:
            return None

        async def problems() -> str:
            return "; ".join([watch.problem for watch in watched.watches if watch.problem])

        def remark() -> str:
            return ", ".join(f"{watch.resource} {len(watch.objects)}" for watch in watched.watches)

        return Check("watching", problems, decisive=False, remark=remark)

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to the watches; the label holds resources that the operator names."""
        watched = self._watched
        if watched is None or not watched.watches:
            return

        def by(read: "Callable[[Watch], float]") -> Callable[[], Mapping[str, float]]:
            return lambda: {str(watch.resource): float(read(watch)) for watch in watched.watches}

        silent = by(lambda watch: watch.silent_seconds())
        metrics.gauge_by("watch_silent_seconds", "Since the API server was last heard of.", "resource", silent)
        kept = by(lambda watch: len(watch.objects))
        metrics.gauge_by("watch_objects", "Watched objects that are kept.", "resource", kept)
        metrics.gauge_by("watch_bytes", "These, as JSON.", "resource", by(lambda watch: watch.bytes))
        metrics.count_by("watch_lists", "Lists that were read whole.", "resource", by(lambda watch: watch.lists))
        metrics.count_by("watch_failures", "Watches that broke.", "resource", by(lambda watch: watch.cuts))


@asynccontextmanager
async def watching(settings: Settings, limits: Limits) -> AsyncIterator[Watching]:
    """Watches what the configuration asks for.

    Raises:
        ConfigError: it asks for ConfigMaps, and says of no cluster.
        ClusterError: this is no pod, or its service account is not mounted.
    """
    cluster, maps = settings.cluster, settings.policies.config_maps
    if maps is not None and cluster.webhook is None:
        raise ConfigError("policies.configMaps needs cluster.webhook, which says that there is a cluster")
    if cluster.webhook is None or not (maps is not None or cluster.inventory or cluster.watch.namespaces):
        yield Watching()
        return
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster import watching as cluster_watching
    from portcullis.cluster.resources import Resource

    inventory = Inventory(limits) if cluster.inventory else None
    ours = Watching(inventory)

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
    )

    def maps_changed() -> None:
        ours.maps_changed()  # whoever wants to know comes later

    opened = cluster_watching.watching(wanted, limits, maps_changed=maps_changed, objects_changed=objects_changed)
    async with opened as watched:
        ours.attach(watched)
        yield ours
