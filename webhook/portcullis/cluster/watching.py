"""Starts everything that is watched of a cluster, over one client."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from portcullis.cluster.breakglass import WatchedGrants
from portcullis.cluster.client import Configured, in_cluster
from portcullis.cluster.inventory import WatchedKind
from portcullis.cluster.keys import own_namespace
from portcullis.cluster.namespaces import NAMESPACES, WatchedNamespaces, namespace_facts
from portcullis.cluster.nodes import WatchedNodes
from portcullis.cluster.policymaps import PolicyMaps
from portcullis.cluster.pullsecrets import PullSecretPlace, WatchedPullSecrets, watches_needed
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change, Watch
from portcullis.errors import ConfigError
from portcullis.limits import Limits

_CONNECTIONS: Final = 200
"""For what else is watched, and for all that is asked for by name."""

_PAUSE_SECONDS: Final = 0.02
"""Between the begins of two watches."""

ObjectsChanged = Callable[[str, str, Sequence[Change]], None]
"""Group and version, kind, and what changed of such objects."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to watch.

    Args:
        namespaces: their labels and annotations.
        maps: namespaces whose ConfigMaps may hold policies, beside our own; None for none at all.
        kinds: resources for the inventory.
        nodes: their platforms.
        pull_secrets: namespaces with those that may be read.
        grants: the objects BreakGlass.
    """

    namespaces: bool = False
    maps: Sequence[str] | None = None
    kinds: Sequence[Resource] = ()
    nodes: bool = False
    pull_secrets: Sequence[PullSecretPlace] = ()
    grants: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched."""

    namespaces: WatchedNamespaces | None
    maps: PolicyMaps | None
    kinds: tuple[WatchedKind, ...]
    watches: tuple[Watch, ...]
    nodes: WatchedNodes | None = None
    pull_secrets: WatchedPullSecrets | None = None
    grants: WatchedGrants | None = None


@asynccontextmanager
async def watching(
    wanted: Wanted,
    limits: Limits,
    *,
    maps_changed: Callable[[], None],
    objects_changed: ObjectsChanged,
    cluster: Configured | None = None,
) -> AsyncIterator[Watched]:
    """Watches until the end of the block.

    Args:
        cluster: the one to watch, by the rights of a person; None: that of the pod, by its service account.

    Raises:
        ConfigError: ``pull_secrets`` take more watches than the limit.
        ClusterError: this is no pod, or its service account is not mounted.
    """
    needed = watches_needed(wanted.pull_secrets)
    if needed > limits.pull_secret_watches:
        raise ConfigError(
            f"cluster.pullSecrets takes {needed} watches, more than the limit pullSecretWatches of "
            f"{limits.pull_secret_watches}; a namespace without names takes two, whatever it holds"
        )
    configuration = copy.copy(cluster.configuration) if cluster is not None else in_cluster("cluster.watch")
    # Each watch keeps its connection: what is asked for by name must not wait for one.
    configuration.connection_pool_maxsize = needed + _CONNECTIONS
    async with ApiClient(configuration) as client:
        watched = _watched(client, wanted, limits, maps_changed, objects_changed)
        loops = [kind.run() for kind in watched.kinds]
        inner = {kind.watch for kind in watched.kinds}
        loops += [watch.run() for watch in watched.watches if watch not in inner]
        tasks = [asyncio.create_task(_begin(place, loop)) for place, loop in enumerate(loops)]
        try:
            yield watched
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _begin(place: int, loop: Coroutine[Any, Any, None]) -> None:
    """One after the other: two hundred connections at once would wait for each other, and be given up."""
    try:
        await asyncio.sleep(place * _PAUSE_SECONDS)
    except asyncio.CancelledError:
        loop.close()
        raise
    await loop


def _watched(
    client: ApiClient,
    wanted: Wanted,
    limits: Limits,
    maps_changed: Callable[[], None],
    objects_changed: ObjectsChanged,
) -> Watched:
    watches: list[Watch] = []
    namespaces, maps = None, None
    if wanted.namespaces:
        bounds = Bounds(
            objects=limits.watched_namespaces,
            object_bytes=limits.watched_namespace_bytes,
            names=("watchedNamespaces", "watchedNamespaceBytes"),
        )
        watches.append(Watch(client=client, resource=NAMESPACES, bounds=bounds, keep=namespace_facts))
        namespaces = WatchedNamespaces(watch=watches[0], client=client)
    if wanted.maps is not None:
        places = [own_namespace(who="policies.configMaps"), *wanted.maps]
        maps = PolicyMaps(client=client, namespaces=places, limits=limits, changed=maps_changed)
        watches += maps.watches
    nodes = WatchedNodes(client=client, limits=limits) if wanted.nodes else None
    watches += [nodes.watch] if nodes is not None else []
    pull_secrets = WatchedPullSecrets(client=client, places=wanted.pull_secrets, limits=limits)
    watches += pull_secrets.watches
    grants = WatchedGrants(client=client, limits=limits) if wanted.grants else None
    watches += [grants.watch] if grants is not None else []
    kinds = tuple(_kind(client, resource, limits, objects_changed) for resource in wanted.kinds)
    watches += [kind.watch for kind in kinds]
    return Watched(namespaces, maps, kinds, tuple(watches), nodes, pull_secrets, grants)


def _kind(client: ApiClient, resource: Resource, limits: Limits, changed: ObjectsChanged) -> WatchedKind:
    bounds = Bounds(
        objects=limits.inventory_objects,
        object_bytes=limits.inventory_bytes,
        names=("inventoryObjects", "inventoryBytes"),
    )
    return WatchedKind(
        client=client,
        resource=resource,
        bounds=bounds,
        changed=lambda kind, changes: changed(resource.group_version, kind, changes),
    )
