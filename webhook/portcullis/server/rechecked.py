"""The judging again that the configuration asks for, over the cluster that this program is a pod of."""

import functools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from portcullis.server.compose import Parts
from portcullis.server.health import Check
from portcullis.server.pacing import Pace
from portcullis.server.recheck import Recheck
from portcullis.server.reporting import Reporting
from portcullis.server.telemetry import Metrics


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
async def rechecked(parts: Parts) -> AsyncIterator[Recheck | NoRecheck]:
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
        webhook=cluster.webhook.name,
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
            workloads=ours.workloads,
            judge=parts.rechecker,
            images=images,
            findings=parts.findings,
            reporter=ours.reports,
            reporting=functools.partial(Reporting, ours.reports) if ours.reports is not None else None,
            replica=replica,
            clock=clock,
            limits=limits,
        )
