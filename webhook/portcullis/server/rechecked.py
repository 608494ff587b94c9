"""The judging again that the configuration asks for, over the cluster that this program is a pod of."""

import functools
import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Protocol

from portcullis.errors import ClusterError
from portcullis.model.running import RunningPods
from portcullis.ports import Workloads
from portcullis.server.compose import Parts
from portcullis.server.health import Check
from portcullis.server.pacing import Pace
from portcullis.server.recheck import Recheck
from portcullis.server.registrar import Registrar
from portcullis.server.reporting import Reporting
from portcullis.server.telemetry import Metrics


class Reach(Protocol):
    """What is asked of cluster.registration.Reach: what one webhook is called for."""

    def judges(self, namespace: str) -> bool: ...


class Judged:
    """A Workloads: those of another one that the webhook is called for.

    Args:
        reaches: of the webhooks that judge, as the cluster has them; none where that is not known.
    """

    def __init__(self, workloads: Workloads, reaches: Callable[[], Collection[Reach]]) -> None:
        self._workloads = workloads
        self._reaches = reaches
        self._known: Collection[Reach] = ()

    async def groups(self) -> AsyncIterator[RunningPods]:
        """See :class:`portcullis.ports.Workloads`. Where the webhook configuration was deleted, what it said counts."""
        self._known = known = self._reaches() or self._known
        if not known:
            raise ClusterError("the webhook configuration is not known, so neither is which namespaces are judged")
        async for group in self._workloads.groups():
            if any(reach.judges(group.owner.namespace) for reach in known):
                yield group


class NoRecheck:
    """Where nothing that runs is judged again."""

    async def run(self) -> None:
        """Returns at once."""

    def defer_to(self, waiting: Callable[[], int]) -> None:
        """There is nothing that could go last."""

    def checks(self) -> list[Check]:
        """None."""
        return []

    def observe(self, metrics: Metrics) -> None:
        """There is nothing to be told."""


@asynccontextmanager
async def rechecked(parts: Parts, registrar: Registrar) -> AsyncIterator[Recheck | NoRecheck]:
    """What the configuration asks for; it begins when it is run.

    Raises:
        ClusterError: it asks for it, and this is no pod.
    """
    cluster, clock, limits = parts.settings.cluster, parts.clock, parts.limits
    section = cluster.recheck
    if section is None or cluster.webhook is None or parts.findings is None:
        yield NoRecheck()
        return
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster.recheckparts import recheck_parts

    replica = cluster.webhook.pod.partition("/")[2] or socket.gethostname()
    images = Pace(section.images_per_second, slowest_seconds=limits.recheck_slowest_seconds, clock=clock)
    parts.rechecker.images.pace = images.turn
    opened = recheck_parts(
        section.lease,
        holder=replica,
        lasts=section.lease_seconds,
        reports=section.reports,
        clock=clock,
        limits=limits,
    )
    async with opened as ours:
        yield Recheck(
            section=section,
            lease=ours.lease,
            workloads=Judged(ours.workloads, lambda: _reaches(registrar)),
            judge=parts.rechecker,
            images=images,
            findings=parts.findings,
            reporter=ours.reports,
            reporting=functools.partial(Reporting, ours.reports) if ours.reports is not None else None,
            replica=replica,
            clock=clock,
            limits=limits,
        )


def _reaches(registrar: Registrar) -> Collection[Reach]:
    return registrar.found.reaches.values() if registrar.found is not None else ()
