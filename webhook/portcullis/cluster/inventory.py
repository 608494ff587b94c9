"""Objects of the kinds that the operator lists, watched for policies that read them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, reason_of
from portcullis.cluster.namespaces import STALE_SECONDS
from portcullis.cluster.resources import Resource, ask
from portcullis.cluster.watch import Bounds, Change, Watch
from portcullis.model.json import JSONObject

_DISCOVERY_BYTES: Final = 4 * 1024 * 1024
_RETRY_SECONDS: Final = 5.0
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

Changed = Callable[[str, Sequence[Change]], None]
"""The kind of the objects, and what changed of them."""


class WatchedKind:
    """One kind of objects.

    Args:
        changed: is called with what changed.
    """

    def __init__(
        self, *, client: ApiClient, resource: Resource, bounds: Bounds, changed: Changed, retry: float = _RETRY_SECONDS
    ) -> None:
        self.resource = resource
        self._client = client
        self._retry = retry
        self._kind = ""
        self._why = "not asked for yet"
        self.watch = Watch(
            client=client,
            resource=resource,
            bounds=bounds,
            changed=lambda changes: changed(self._kind, changes),
            keep=_without_last_applied,
        )

    @property
    def problem(self) -> str:
        """Why what is known of them may not be what there is; "" where it is."""
        if not self._kind:
            return f"{self.resource}: {self._why}"
        if not self.watch.synced.is_set():
            return self.watch.problem
        if self.watch.silent_seconds() > STALE_SECONDS:
            return self.watch.problem or f"{self.resource}: the API server is silent"
        return ""

    async def run(self) -> None:
        """Watches until cancelled; the API server says first what kind the resource is."""
        while not self._kind:
            try:
                self._kind = await self._find_kind()
            except FAULTS as error:
                self._why = reason_of(error, REQUEST_SECONDS)
                await asyncio.sleep(self._retry)
        await self.watch.run()

    async def _find_kind(self) -> str:
        path = Resource(self.resource.group, self.resource.version, "").path.rstrip("/")
        async with asyncio.timeout(REQUEST_SECONDS):
            response = await ask(self._client, "GET", path, silence_seconds=REQUEST_SECONDS)
            async with response:
                found: Any = await bounded_json(response, _DISCOVERY_BYTES, "the list of resources")
        for entry in found.get("resources") or () if isinstance(found, dict) else ():
            if isinstance(entry, dict) and entry.get("name") == self.resource.plural and entry.get("kind"):
                return str(entry["kind"])
        raise ValueError(f"{self.resource.group_version} has no such resource")


def _without_last_applied(found: JSONObject) -> JSONObject:
    """Without kubectl's copy of the whole object."""
    metadata = found.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict) or _LAST_APPLIED not in annotations:
        return found
    kept = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return {**found, "metadata": {**metadata, "annotations": kept}} if isinstance(metadata, dict) else found
