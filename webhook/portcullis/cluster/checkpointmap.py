"""Checkpoints of the audit log in a ConfigMap, out of reach of who can only write to the database.

One key for each chain, named by its id, with the newest checkpoint as JSON. The replicas of a gate share the object:
each change is made to what was read, and is made again where somebody else was quicker (a write with the
resourceVersion that was read is refused then, with 409).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from kubernetes.aio.client import ApiClient, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, in_cluster, reason_of
from portcullis.cluster.keys import own_namespace
from portcullis.errors import ClusterError

KEY: Final = "audit.checkpoints.configMap"
MOST_CHAINS: Final = 100
"""Keys of the object, those of the newest checkpoints: each has about 800 bytes, and an object 1 MiB at most."""
ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 0.05
"""Before the second attempt, at most; doubled for each."""


class CheckpointMap:
    """The ConfigMap ``name`` in ``namespace``, which somebody else makes.

    Args:
        seconds: for each request.
    """

    def __init__(self, *, api: CoreV1Api, namespace: str, name: str, seconds: float = REQUEST_SECONDS) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._seconds = seconds

    async def write(self, checkpoint: Mapping[str, Any]) -> None:
        """Puts a checkpoint in the place of an older one of its chain.

        Args:
            checkpoint: as it is published, with ``chain``, ``position`` and ``at``.

        Raises:
            ClusterError: it is not written.
        """
        for attempt in range(ATTEMPTS):
            try:
                async with asyncio.timeout(self._seconds):
                    await self._write(checkpoint)
                return
            except FAULTS as error:
                lost = isinstance(error, ApiException) and error.status == 409
                if not lost or attempt == ATTEMPTS - 1:
                    raise self._error(error) from error
            await asyncio.sleep(random.uniform(0, PAUSE_SECONDS * 2**attempt))  # noqa: S311 - to part two writers

    async def _write(self, checkpoint: Mapping[str, Any]) -> None:
        found = await self._api.read_namespaced_config_map(self._name, self._namespace)
        data = dict(found.data or {})
        there = _read(data.get(checkpoint["chain"], ""))
        if (there.get("position", -1), there.get("at", "")) > (checkpoint["position"], checkpoint["at"]):
            return
        data[checkpoint["chain"]] = json.dumps(checkpoint, separators=(",", ":"))
        found.data = _newest(data, checkpoint["chain"])
        await self._api.replace_namespaced_config_map(self._name, self._namespace, found)

    def _error(self, error: Exception) -> ClusterError:
        what = f"{KEY}: the ConfigMap {self._namespace}/{self._name}"
        if isinstance(error, ApiException) and error.status == 404:
            return ClusterError(f"{what} is not there; make it (the chart does), the gate may only change it")
        return ClusterError(f"{what} cannot be changed: {reason_of(error, self._seconds)}")


@asynccontextmanager
async def checkpoint_map(name: str) -> AsyncIterator[CheckpointMap]:
    """The ConfigMap of that name in the namespace of this pod, with its service account.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    namespace = own_namespace(who=KEY)
    async with ApiClient(in_cluster(KEY)) as client:
        yield CheckpointMap(api=CoreV1Api(client), namespace=namespace, name=name)


def _newest(data: Mapping[str, str], own: str) -> dict[str, str]:
    """MOST_CHAINS of the keys, ``own`` among them. What is no checkpoint is the first to go."""
    if len(data) <= MOST_CHAINS:
        return dict(data)
    others = sorted((chain for chain in data if chain != own), key=lambda chain: str(_read(data[chain]).get("at", "")))
    kept = {own, *others[len(others) - MOST_CHAINS + 1 :]}
    return {chain: text for chain, text in data.items() if chain in kept}


def _read(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) and isinstance(tree.get("position"), int) else {}
