"""The platforms of a cluster's nodes: those that images are judged for where the configuration names none.

Only the metadata of nodes is asked for (PartialObjectMetadata), a fiftieth of the whole, and two labels of it are kept:
the kubelet keeps ``kubernetes.io/os`` and ``kubernetes.io/arch`` of its node true. Its heartbeats change neither, so
they are read and forgotten.
Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kubernetes.aio.client import ApiClient

from portcullis.cluster.client import REQUEST_SECONDS, in_cluster
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change, Watch
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.image import Platform
from portcullis.model.json import JSONObject

NODES: Final = Resource("", "v1", "nodes", metadata_only=True)
_OS: Final = "kubernetes.io/os"
_ARCHITECTURE: Final = "kubernetes.io/arch"
_NODE_BYTES: Final = 200
"""What is kept of one; real ones take 40."""


def node_platform(found: JSONObject) -> JSONObject | None:
    """What is kept of a node; a node without these labels counts for nothing."""
    metadata = found.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    if not isinstance(labels, Mapping):
        return None
    system, architecture = labels.get(_OS), labels.get(_ARCHITECTURE)
    if not (isinstance(system, str) and isinstance(architecture, str) and system and architecture):
        return None
    return {"os": system, "architecture": architecture}


class WatchedNodes:
    """The platforms that the nodes have now.

    ``changed`` is called when they are others than before, and when they become known; who wants to know it assigns it.
    """

    def __init__(self, *, client: ApiClient, limits: Limits) -> None:
        count = limits.watched_nodes
        self.watch = Watch(
            client=client,
            resource=NODES,
            bounds=Bounds(count, count * _NODE_BYTES, names=("watchedNodes", "watchedNodes, in bytes")),
            changed=self._look,
            keep=node_platform,
        )
        self.changed: Callable[[], None] = lambda: None
        self.platforms: tuple[Platform, ...] | None = None
        """Each once, in order; None until they are known for the first time. What was known last stays while they
        are not known any more."""

    async def known(self, seconds: float = REQUEST_SECONDS) -> tuple[Platform, ...]:
        """The platforms, as soon as they are known.

        Raises:
            ClusterError: they are not within ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.watch.synced.wait()
        except TimeoutError:
            raise ClusterError(f"the platforms of the nodes are not known: {self.watch.problem}") from None
        return self.platforms or ()

    def _look(self, _: Sequence[Change]) -> None:
        if not self.watch.synced.is_set():  # a bound is crossed, and nothing is kept any more
            return
        kept = {(node["os"], node["architecture"]) for node in self.watch.objects.values()}
        found = tuple(sorted(Platform(*platform) for platform in kept))
        if found != self.platforms:
            self.platforms = found
            self.changed()


async def platforms_of_nodes(limits: Limits) -> tuple[Platform, ...]:
    """Those of the cluster that this program is a pod of, asked for once.

    Raises:
        ClusterError: this is no pod, its service account is not mounted, or the nodes cannot be listed.
    """
    async with ApiClient(in_cluster("platforms of the cluster's nodes")) as client:
        nodes = WatchedNodes(client=client, limits=limits)
        listing = asyncio.create_task(nodes.watch.run())
        try:
            return await nodes.known()
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
