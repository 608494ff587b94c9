"""Kubernetes Events about what was refused, where ``kubectl describe`` shows them.

Written through events.k8s.io/v1, which the API server shows as core/v1 too. Of an Event that is there, nothing may
change but its series (how often, and when last). Its name is made of what it is about, so that all replicas of a gate,
and a gate that was restarted, count on in one and the same Event. Two writers are kept apart by its resourceVersion; it
is read by a patch that changes nothing, so that the gate needs no right to read what else happens in the cluster.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ and
pkg/apis/core/validation/events.go of Kubernetes (bounds of the fields, what is immutable, and that Events about what
lives in no namespace belong in ``default``).
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, in_cluster, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.errors import ClusterError
from portcullis.model.notice import Notice
from portcullis.times import rfc3339

CONTROLLER: Final = "portcullis"
"""Shown by ``kubectl describe`` as what the Event is from."""
ACTION: Final = "Admitting"
NOTE_BYTES: Final = 1024
ATTEMPTS: Final = 4
_INSTANCE_CHARS: Final = 128
_ANSWER_BYTES: Final = 64 * 1024
_NAME_CHARS: Final = 200
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MERGE: Final = "application/merge-patch+json"


class Events:
    """Writes Events.

    Args:
        instance: which replica writes.
        seconds: for one Event.
    """

    def __init__(self, *, client: ApiClient, instance: str, seconds: float = REQUEST_SECONDS) -> None:
        self._client = client
        self._instance = instance[:_INSTANCE_CHARS]
        self._seconds = seconds

    async def write(self, notice: Notice, *, count: int, last: datetime) -> None:
        """Makes the Event, or counts on in the one that is there.

        Args:
            count: how often it happened since it was written last, 1 at least.
            last: when last.

        Raises:
            ClusterError: it is not written, or that is not known.
        """
        collection = Resource("events.k8s.io", "v1", "events", _namespace(notice)).path
        try:
            async with asyncio.timeout(self._seconds):
                for _ in range(ATTEMPTS):
                    if await self._write(collection, notice, count, last):
                        return
        except FAULTS as error:
            raise _error(notice, reason_of(error, self._seconds)) from error
        raise _error(notice, "others change it all the time")

    async def _write(self, collection: str, notice: Notice, count: int, last: datetime) -> bool:
        """False where somebody else was quicker."""
        path = f"{collection}/{quote(name_of(notice), safe='')}"
        found = await self._send("PATCH", path, {}, other=404)
        if found is None:
            made = self._event(notice, count, last)
            return await self._send("POST", collection, made, other=409) is not None
        metadata, series = found.get("metadata"), found.get("series")
        before = series.get("count") if isinstance(series, Mapping) else None
        counted = (before if isinstance(before, int) else 1) + count
        version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
        patch = {"metadata": {"resourceVersion": version}, "series": _series(counted, last)}
        return await self._send("PATCH", path, patch, other=409) is not None

    def _event(self, notice: Notice, count: int, last: datetime) -> dict[str, Any]:
        about = notice.regarding
        regarding = {"apiVersion": about.api_version, "kind": about.kind, "name": about.name, "uid": about.uid}
        made: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name_of(notice), "namespace": _namespace(notice)},
            "eventTime": _micro(notice.first),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": ACTION,
            "reason": notice.reason,
            "regarding": {**regarding, "namespace": about.namespace} if about.namespace else regarding,
            "note": cut_lines(notice.note, NOTE_BYTES),
            "type": "Warning",
        }
        return {**made, "series": _series(count, last)} if count > 1 else made

    async def _send(self, method: str, path: str, body: Any, *, other: int) -> Mapping[str, Any] | None:
        """What the API server answers; None where that has the status ``other``."""
        content_type = _MERGE if method == "PATCH" else "application/json"
        response = await ask(
            self._client, method, path, body=body, content_type=content_type, silence_seconds=self._seconds
        )
        async with response:
            if response.status == other:
                return None
            found = await bounded_json(response, _ANSWER_BYTES, "the Event")
        if not isinstance(found, dict):
            raise ApiException(status=response.status, reason="with no Event")
        return found


@asynccontextmanager
async def events(instance: str) -> AsyncIterator[Events]:
    """Those of the cluster that this program is a pod of.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    async with ApiClient(in_cluster("cluster.events")) as client:
        yield Events(client=client, instance=instance)


def name_of(notice: Notice) -> str:
    """The Event's name: that of the object, which people recognise, and a hash of what is told of it."""
    about = notice.regarding
    words = "\n".join([about.uid, notice.reason, notice.cause])
    name = about.name[:_NAME_CHARS].rstrip("-.")
    shown = name if _NAME.fullmatch(name) and ".." not in name else CONTROLLER
    return f"{shown}.{hashlib.sha256(words.encode(errors='replace')).hexdigest()[:16]}"


def cut_lines(text: str, limit: int) -> str:
    """The first lines of ``text``, and always its last (which names the decision), in ``limit`` bytes of UTF-8."""
    if len(text.encode(errors="replace")) <= limit:
        return text
    *lines, last = text.splitlines()
    room = limit - len(last.encode(errors="replace")) - len("\n…\n".encode())
    head = "\n".join(lines).encode(errors="replace")
    if room <= 0 or not lines:
        return text.encode(errors="replace")[:limit].decode(errors="ignore")
    shown = head[:room].decode(errors="ignore")
    # By whole lines where more than one fits.
    whole = shown if len(head) <= room else shown.rpartition("\n")[0] or shown
    return f"{whole}\n…\n{last}"


def _namespace(notice: Notice) -> str:
    return notice.regarding.namespace or "default"


def _series(count: int, last: datetime) -> dict[str, Any]:
    return {"count": count, "lastObservedTime": _micro(last)}


def _micro(moment: datetime) -> str:
    """MicroTime of the API takes six digits, no more and no less."""
    return rfc3339(moment, "microseconds")


def _error(notice: Notice, why: str) -> ClusterError:
    about = notice.regarding
    return ClusterError(f"an Event about {about.kind} {about.namespace}/{about.name} cannot be written: {why}")
