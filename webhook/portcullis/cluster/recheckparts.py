"""What judging again asks of the cluster that this program is a pod of: one client, and what goes by it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio.client import ApiClient

from portcullis.cluster.client import in_cluster
from portcullis.cluster.keys import own_namespace
from portcullis.cluster.lease import Lease
from portcullis.cluster.reports import PolicyReports
from portcullis.cluster.running import RunningWorkloads
from portcullis.limits import Limits
from portcullis.ports import Clock

KEY = "cluster.recheck"


@dataclass(frozen=True, slots=True)
class RecheckParts:
    """``reports`` is None where none are wanted."""

    lease: Lease
    workloads: RunningWorkloads
    reports: PolicyReports | None


@asynccontextmanager
async def recheck_parts(
    lease: str, *, webhook: str, holder: str, lasts: int, reports: bool, clock: Clock, limits: Limits
) -> AsyncIterator[RecheckParts]:
    """Connects with the service account of the pod.

    Args:
        lease: by its name, in the namespace of this pod.
        webhook: the ValidatingWebhookConfiguration that says of which namespaces anything is judged.
        holder: names this replica.
        lasts: seconds, of the Lease.
        reports: whether any are wanted.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    namespace = own_namespace(who=KEY)
    async with ApiClient(in_cluster(KEY)) as client:
        yield RecheckParts(
            lease=Lease(client=client, namespace=namespace, name=lease, holder=holder, clock=clock, lasts=lasts),
            workloads=RunningWorkloads(client=client, limits=limits, webhook=webhook),
            reports=PolicyReports(client=client, limits=limits) if reports else None,
        )
