"""How images are read: the client, mirrors before it, and what is remembered in front of both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from portcullis.inspection.inspector import Identify
from portcullis.limits import Limits
from portcullis.ports import Clock, Keychain
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.known import KnownContent
from portcullis.registry.mirrors import MirrorFingerprints, MirroringRegistry
from portcullis.registry.pinning import PinningKeychain
from portcullis.registry.traffic import Traffic
from portcullis.server.live.watching import Watching
from portcullis.server.network import mirrors_of, named_hosts
from portcullis.server.platforms import JudgedPlatforms, first_platforms
from portcullis.server.settings import Settings


@dataclass(frozen=True, slots=True)
class OpenRegistry:
    """``registry`` is what everybody asks; ``identify`` tells the credentials apart that it uses; ``traffic`` is what
    it asks of hosts."""

    registry: CachingRegistry
    traffic: Traffic
    identify: Identify


@asynccontextmanager
async def open_registry(
    settings: Settings,
    *,
    keychain: Keychain,
    hosts: HostRules,
    clock: Clock,
    limits: Limits,
    watched: Watching,
) -> AsyncIterator[OpenRegistry]:
    """Registries as the configuration says, until the end of the block.

    Args:
        watched: of the cluster. Platforms of its nodes are judged, also when they change; what is denied is explained
            by its pull secrets.

    Raises:
        ConfigError: a mirror cannot be used.
    """
    keychain, nodes = PinningKeychain(keychain=keychain), watched.nodes
    mirrors = mirrors_of(settings)
    prints = MirrorFingerprints(keychain=keychain, mirrors=mirrors)
    known = KnownContent(keychain=prints, clock=clock, limits=limits)
    judged = JudgedPlatforms(await first_platforms(settings, nodes))
    traffic = Traffic(named_hosts(settings))
    http = HttpRegistry(keychain=keychain, hosts=hosts, platforms=judged, limits=limits, known=known, traffic=traffic)
    await http.start()
    mirroring = MirroringRegistry(
        origin=http, mirror=http.for_mirrors(), mirrors=mirrors, hosts=hosts, limits=limits, clock=clock.monotonic
    )
    registry = CachingRegistry(
        registry=mirroring,
        keychain=prints,
        clock=clock,
        limits=limits,
        known=known,
        stale_seconds=settings.registries.stale_seconds,
        explain=watched.keychain.explain if watched.keychain is not None else None,
    )
    if nodes is not None:
        nodes.changed = lambda: judged.follow(nodes, registry.forget_images)
        nodes.changed()  # they may have changed since they were known

    try:
        yield OpenRegistry(registry, traffic, known.who)
    finally:
        await registry.aclose()
        await http.aclose()
