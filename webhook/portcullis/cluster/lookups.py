"""Objects that are asked for by name, because a watch does not have them: made a moment ago, or not there at all.

What the API server said is believed for a moment, also that there is no such object: whoever makes up names makes no
load. A watch that has the object comes first, so that this moment delays nothing where the watch works.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.cluster.watch import Change
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

LOOKS: Final = 8
"""Objects of one collection that are asked for at once."""
_OBJECT_BYTES: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Nothing else names an object (DNS subdomain, RFC 1123): ``..`` would lead elsewhere."""
_NAMES: Final = 256
"""Names of one collection whose answers are remembered."""


class Absent(StrEnum):
    """Why there is no object."""

    MISSING = "missing"
    """It does not exist."""
    FORBIDDEN = "forbidden"
    """It may not be read."""


Looked = JSONObject | Absent
"""What is kept of an object."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    found: Looked
    size: int
    until: float


class Lookups:
    """Objects of one collection.

    Args:
        resource: the collection, without selectors.
        kind: of its objects: ``Secret``.
        keep: what is remembered of an object.
        room: bytes of what is remembered, as JSON.
        limits: ``lookup_seconds``.
        seconds: for one question.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        resource: Resource,
        kind: str,
        keep: Callable[[JSONObject], JSONObject],
        room: int,
        limits: Limits,
        seconds: float = REQUEST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._resource = resource
        self._kind = kind
        self._keep = keep
        self._room = room
        self._believed = limits.lookup_seconds
        self._seconds = seconds
        self._clock = clock
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._used = 0
        self._places = asyncio.Semaphore(LOOKS)
        self.asked = 0
        """How often the API server was asked."""

    async def get(self, name: str) -> Looked:
        """What is kept of the object, just asked for or remembered.

        Raises:
            ClusterError: the API server does not answer as it should.
        """
        if not _NAME.fullmatch(name):
            return Absent.MISSING
        try:
            async with asyncio.timeout(self._seconds), self._places:
                # Others may have asked while this one waited for its place.
                known = self._remembered.get(name)
                if known is not None and known.until > self._clock():
                    return known.found
                return self._remember(name, await self._ask(name))
        except FAULTS as error:
            raise ClusterError(f"the API server gives no answer: {reason_of(error, self._seconds)}") from error

    def forget(self, changes: Sequence[Change]) -> None:
        """They have changed, as a watch of the collection says."""
        for change in changes:
            self._forget(change.key[1])

    def _forget(self, name: str) -> None:
        known = self._remembered.pop(name, None)
        self._used -= known.size if known is not None else 0

    async def _ask(self, name: str) -> Looked:
        self.asked += 1
        path = f"{self._resource.path}/{quote(name, safe='')}"
        response = await ask(self._client, "GET", path, silence_seconds=self._seconds)
        async with response:
            if response.status == 404:
                return Absent.MISSING
            if response.status == 403:
                return Absent.FORBIDDEN
            if response.status != 200:
                raise ApiException(status=response.status, reason=response.reason)
            found = await bounded_json(response, _OBJECT_BYTES, "it")
        if not isinstance(found, dict) or found.get("kind") != self._kind:
            raise ValueError(f"what it sent is no {self._kind}")
        return self._keep(found)

    def _remember(self, name: str, found: Looked) -> Looked:
        size = len(json.dumps(found))
        self._forget(name)
        self._remembered[name] = _Remembered(found, size, self._clock() + self._believed)
        self._used += size
        while self._used > self._room or len(self._remembered) > _NAMES:
            _, dropped = self._remembered.popitem(last=False)
            self._used -= dropped.size
        return found
