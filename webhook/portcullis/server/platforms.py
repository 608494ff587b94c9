"""The platforms that images are judged for: the configured ones, else those of the cluster's nodes, else two."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, overload

import structlog

from portcullis.errors import ClusterError
from portcullis.model.image import Platform
from portcullis.server.sections import platform_of
from portcullis.server.settings import Settings

DEFAULT: Final = (Platform("linux", "amd64"), Platform("linux", "arm64"))
"""Where nothing says what nodes there are: what nearly all of them are."""

log = structlog.get_logger(__name__)


def configured_platforms(settings: Settings) -> tuple[Platform, ...]:
    """Those of the configuration, else the default: for whoever is not in a cluster."""
    return tuple(platform_of(text) for text in settings.platforms) or DEFAULT


class Nodes(Protocol):
    """The nodes of a cluster (cluster/nodes.py). ``changed`` is called when their ``platforms`` are others."""

    changed: Callable[[], None]
    platforms: tuple[Platform, ...] | None

    async def known(self) -> tuple[Platform, ...]:
        """Raises ClusterError where they are not known soon."""
        ...


async def node_platforms(settings: Settings, nodes: Nodes | None) -> tuple[Platform, ...]:
    """Those of the cluster's nodes; the configured ones where there are some, or no cluster is.

    Args:
        nodes: None where they are not watched, and so are asked for once.

    Raises:
        ClusterError: the nodes cannot be listed.
    """
    if settings.platforms or settings.cluster.webhook is None:
        return configured_platforms(settings)
    if nodes is not None:
        return await nodes.known() or DEFAULT
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster.nodes import platforms_of_nodes

    return await platforms_of_nodes(settings.bounds()) or DEFAULT


class JudgedPlatforms(Sequence[Platform]):
    """The platforms that are judged now."""

    def __init__(self, platforms: tuple[Platform, ...]) -> None:
        self.now = platforms

    def __len__(self) -> int:
        return len(self.now)

    @overload
    def __getitem__(self, index: int) -> Platform: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Platform]: ...

    def __getitem__(self, index: int | slice) -> Platform | Sequence[Platform]:
        return self.now[index]

    def follow(self, nodes: Nodes, changed: Callable[[], None]) -> None:
        """Takes up the platforms that the nodes have now; ``changed`` is called where they are others."""
        found = nodes.platforms or DEFAULT
        if found != self.now:
            log.info("platforms of the nodes changed", judged=list(map(str, found)))
            self.now = found
            changed()


async def first_platforms(settings: Settings, nodes: Nodes | None) -> tuple[Platform, ...]:
    """As :func:`node_platforms`; the default where the nodes cannot be listed, which the log says."""
    try:
        return await node_platforms(settings, nodes)
    except ClusterError as error:
        log.warning("platforms of the nodes not known", problem=error.message, judged=list(map(str, DEFAULT)))
        return DEFAULT
