"""Where this program runs: its pod, the Deployment that makes such pods, and their namespace.

The gate asks when it is told to stop: only the last replica may switch the webhooks off.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from kubernetes.aio.client import AppsV1Api, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, reason_of
from portcullis.errors import ClusterError

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Namespace:
    """An object of its name, which another one of that name is not."""

    name: str
    uid: str


class OwnPod:
    """The pod that this program runs in. Every method raises only ClusterError, at the latest after ``seconds`` for
    each object that it reads.

    Args:
        pod: ``namespace/name``.
        deployment: makes the pods of the gate; "" where this is the only one.
    """

    def __init__(
        self, *, api: CoreV1Api, apps: AppsV1Api, pod: str, deployment: str = "", seconds: float = REQUEST_SECONDS
    ) -> None:
        self._api = api
        self._apps = apps
        self._namespace, _, self._name = pod.partition("/")
        self._deployment = deployment
        self._seconds = seconds

    async def leaving(self) -> bool:
        """Whether the pod is being deleted, and no other comes in its place or stays: by an upgrade, an eviction, or
        somebody's hand where it is the only one; with its Deployment or namespace, or because that is scaled to
        nothing, where it is one of several. A container that is only restarted, because it does not answer or uses
        too much memory, is no reason to open anything.

        Raises:
            ClusterError: that is not known.
        """
        pod = await self._read(self._api.read_namespaced_pod(self._name, self._namespace), f"the pod {self._place}")
        if pod is None:
            raise ClusterError(f"the pod {self._place} cannot be read: the API server answered 404 Not Found")
        if pod.metadata is None or pod.metadata.deletion_timestamp is None:
            return False
        return not self._deployment or await self._ended() or await self._closing()

    async def namespace(self) -> Namespace:
        """The namespace of the pod.

        Raises:
            ClusterError: it cannot be read.
        """
        found = await self._read(self._api.read_namespace(self._namespace), f"the namespace {self._namespace}")
        if found is None or found.metadata is None or not found.metadata.uid:
            raise ClusterError(f"the namespace {self._namespace} cannot be read: there is none")
        return Namespace(self._namespace, found.metadata.uid)

    async def _ended(self) -> bool:
        """Whether the Deployment makes no more pods."""
        place = f"{self._namespace}/{self._deployment}"
        asking = self._apps.read_namespaced_deployment(self._deployment, self._namespace)
        found = await self._read(asking, f"the Deployment {place}")
        if found is None:
            return True
        deleted = found.metadata is not None and found.metadata.deletion_timestamp is not None
        return deleted or (found.spec is not None and found.spec.replicas == 0)

    async def _closing(self) -> bool:
        """Whether the namespace is being deleted."""
        found = await self._read(self._api.read_namespace(self._namespace), f"the namespace {self._namespace}")
        return found is None or (found.metadata is not None and found.metadata.deletion_timestamp is not None)

    async def _read(self, asking: Awaitable[_Found], what: str) -> _Found | None:
        """What is asked for; None if there is no such object."""
        try:
            async with asyncio.timeout(self._seconds):
                return await asking
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 404:
                return None
            raise ClusterError(f"{what} cannot be read: {reason_of(error, self._seconds)}") from error

    @property
    def _place(self) -> str:
        return f"{self._namespace}/{self._name}"
