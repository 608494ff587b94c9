"""Namespaces with their labels and annotations, as the API server knows them.

They are watched; one that is not there yet, because it was made a moment ago, is asked for by name before it counts as
unknown. What was not heard of for too long counts for nothing: it is asked for anew.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.cluster.watch import Watch
from portcullis.errors import ClusterError
from portcullis.model.json import JSONObject
from portcullis.model.place import NamespaceFacts, texts_of
from portcullis.text import clean

NAMESPACES: Final = Resource("", "v1", "namespaces")
STALE_SECONDS: Final = 180.0
"""Bookmarks come about once a minute: after this the watch is dead."""
LOOKS: Final = 8
"""Namespaces asked for by name at once: whoever makes up names makes no load."""
_NAMESPACE_BYTES: Final = 4 * 1024 * 1024
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def namespace_facts(found: JSONObject) -> JSONObject:
    """What is kept of a namespace."""
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    annotations = {key: text for key, text in texts_of(metadata.get("annotations")).items() if key != _LAST_APPLIED}
    return {"labels": texts_of(metadata.get("labels")), "annotations": annotations}


class WatchedNamespaces:
    """Implements the port Namespaces.

    Args:
        watch: of NAMESPACES, keeping :func:`namespace_facts`; somebody runs it.
        client: for those that it does not have.
    """

    def __init__(
        self, *, watch: Watch, client: ApiClient, seconds: float = REQUEST_SECONDS, stale_seconds: float = STALE_SECONDS
    ) -> None:
        self._watch = watch
        self._client = client
        self._seconds = seconds
        self._stale_seconds = stale_seconds
        self._looks = asyncio.Semaphore(LOOKS)
        self.asked = 0
        """Namespaces that were asked for by name."""

    async def get(self, name: str) -> NamespaceFacts:
        """See :class:`portcullis.ports.Namespaces`."""
        known = self._watch.fresh(("", name), self._stale_seconds)
        return _facts(name, known if known is not None else await self._look(name))

    def names(self) -> Collection[str]:
        """Of all that there are. Raises ClusterError until the first list is whole, and while a bound is crossed."""
        if not self._watch.synced.is_set():
            raise ClusterError(f"the namespaces are not known: {self._watch.problem}")
        return tuple(name for _, name in self._watch.objects)

    async def _look(self, name: str) -> JSONObject:
        self.asked += 1
        return await look(self._client, name, self._seconds, self._looks)


class AskedNamespaces:
    """Implements the port Namespaces for a command: each namespace is asked for once.

    Args:
        client: of somebody who may get namespaces.
    """

    def __init__(self, *, client: ApiClient, seconds: float = REQUEST_SECONDS) -> None:
        self._client = client
        self._seconds = seconds
        self._looks = asyncio.Semaphore(LOOKS)
        self._known: dict[str, JSONObject] = {}

    async def get(self, name: str) -> NamespaceFacts:
        """See :class:`portcullis.ports.Namespaces`."""
        if name not in self._known:
            self._known[name] = await look(self._client, name, self._seconds, self._looks)
        return _facts(name, self._known[name])


async def look(client: ApiClient, name: str, seconds: float, places: asyncio.Semaphore) -> JSONObject:
    """What is kept of a namespace that is asked for by name, in one of the places, within so many seconds.

    Raises:
        ClusterError: there is none, or it cannot be read.
    """
    try:
        async with asyncio.timeout(seconds), places:
            path = f"{NAMESPACES.path}/{quote(name, safe='')}"
            response = await ask(client, "GET", path, silence_seconds=seconds)
            async with response:
                found = await bounded_json(response, _NAMESPACE_BYTES, "it")
    except FAULTS as error:
        if isinstance(error, ApiException) and error.status == 404:
            raise ClusterError(f"there is no namespace {clean(name, 70)}") from None
        reason = reason_of(error, seconds)
        raise ClusterError(f"the namespace {clean(name, 70)} cannot be read: {reason}") from error
    if not isinstance(found, dict) or found.get("kind") != "Namespace":
        raise ClusterError(f"the namespace {clean(name, 70)} cannot be read: the API server answered none")
    return namespace_facts(found)


def _facts(name: str, kept: JSONObject) -> NamespaceFacts:
    return NamespaceFacts(name=name, labels=kept["labels"], annotations=kept["annotations"])
