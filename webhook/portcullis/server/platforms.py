"""The platforms that images are judged for: the configured ones, else those of the cluster's nodes, else two."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, overload

import structlog

from portcullis.errors import ClusterError
from portcullis.model.image import Platform
from portcullis.server.sections import platform_of
from portcullis.server.settings import Settings

DEFAULT: Final = (Platform("linux", "amd64"), Platform("linux", "arm64"))
"""Where nothing says what nodes there are: what nearly all of them are."""

LOOK_SECONDS: Final = 300.0
"""How often the nodes are listed again: a pool of another architecture joins by somebody's hand, not by itself."""

log = structlog.get_logger(__name__)


def configured_platforms(settings: Settings) -> tuple[Platform, ...]:
    """Those of the configuration, else the default: for whoever is not in a cluster."""
    return tuple(platform_of(text) for text in settings.platforms) or DEFAULT


async def node_platforms(settings: Settings) -> tuple[Platform, ...]:
    """Those of the cluster's nodes; the configured ones where there are some, or no cluster is.

    Raises:
        ClusterError: the nodes cannot be listed.
    """
    if settings.platforms or settings.cluster.webhook is None:
        return configured_platforms(settings)
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster.nodes import nodes

    async with nodes() as listed:
        return await listed.platforms() or DEFAULT


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


async def first_platforms(settings: Settings) -> tuple[Platform, ...]:
    """As :func:`node_platforms`; the default where the nodes cannot be listed, which the log says."""
    try:
        return await node_platforms(settings)
    except ClusterError as error:
        log.warning("platforms of the nodes not known", problem=error.message, judged=list(map(str, DEFAULT)))
        return DEFAULT


async def watch_platforms(settings: Settings, judged: JudgedPlatforms, changed: Callable[[], None]) -> None:
    """Lists the nodes now and then; where their platforms are others, those are judged and ``changed`` is called. Ends
    at once where the configuration names platforms or there is no cluster; else runs until it is cancelled."""
    if settings.platforms or settings.cluster.webhook is None:
        return
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(ClusterError):
            found = await node_platforms(settings)
            if found != judged.now:
                log.info("platforms of the nodes changed", judged=list(map(str, found)))
                judged.now = found
                changed()
