"""Objects of one resource, kept as the API server has them: list, watch, and list again where that broke off.

1. The list is read in pages, at one resource version.
2. From that version on the API server sends every change, one line of JSON each; bookmarks move the version forward
   where nothing changes. A connection that ends is made again from the last version, without listing.
3. A version that the API server has forgotten (410), a line that is no event, or an object over a bound begins at 1.
4. Whatever fails is tried again later and later, up to 30 s, with jitter.

`kubernetes`' own Watch repeats a 410 once with the version that it knew, and has no pause between two attempts
(kubernetes/aio/watch/watch.py), so this loop is our own over its client.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import structlog
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, bounded_json, reason_of
from portcullis.cluster.resources import Resource, ask, without_managed_fields
from portcullis.model.json import JSONObject
from portcullis.text import clean

PAGE: Final = 500
PAGE_BYTES: Final = 32 * 1024 * 1024
"""A page with more is asked for again with fewer objects."""
LINE_BYTES: Final = 8 * 1024 * 1024
"""One event. etcd takes objects of 1.5 MiB, which JSON may make twice as long."""
WATCH_SECONDS: Final = 240
"""After which the API server is asked to end a watch, plus a random part of it: the load moves between replicas."""
SILENCE_SECONDS: Final = 150.0
"""Without a byte the connection is dead: bookmarks come about once a minute."""
LIST_SECONDS: Final = 60.0
FIRST_DELAY_SECONDS: Final = 0.5
LAST_DELAY_SECONDS: Final = 30.0
SHORT_WATCH_SECONDS: Final = 1.0
"""A watch that ends sooner counts as a failure, so that a server which hangs up at once is not asked all the time."""

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace ("" for what has none) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is there (``now``), or is there no longer (None)."""

    key: Key
    now: JSONObject | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one watch may keep."""

    objects: int
    object_bytes: int
    names: tuple[str, str] = ("objects", "bytes")
    """The limits that these are, for the message."""


class _Forgotten(Exception):
    """The API server no longer has the version that was asked for."""


class _Busy(ApiException):
    """The API server asks to be left alone for ``seconds``."""

    def __init__(self, status: int, reason: str | None, seconds: float) -> None:
        super().__init__(status=status, reason=reason)
        self.seconds = seconds


class _TooMuch(Exception):
    """The objects cross a bound."""


class Watch:
    """Keeps the objects of one resource. Belongs to the event loop that :meth:`run` runs in.

    Args:
        changed: is called with what changed, after :attr:`objects` has it. The first call is made when the first list
            is whole, also where it is empty.
        keep: what is kept of an object; managedFields never are. None: it is as if the object were not there.
        bounds: over them nothing at all is kept, and :attr:`problem` says so.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        resource: Resource,
        bounds: Bounds,
        changed: Callable[[Sequence[Change]], None] = lambda _: None,
        keep: Callable[[JSONObject], JSONObject | None] = lambda found: found,
        first_delay: float = FIRST_DELAY_SECONDS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self.resource = resource
        self._client = client
        self._bounds = bounds
        self._changed = changed
        self._keep = keep
        self._first_delay = first_delay
        self._silence = silence
        self._objects: dict[Key, JSONObject] = {}
        self._sizes: dict[Key, int] = {}
        self._version = ""
        self._seen_at: float | None = None
        self._failures = 0
        self.synced = asyncio.Event()
        """Set once the first list is whole; cleared while a bound is crossed."""
        self.problem = "not listed yet"
        """Why :attr:`objects` may not be those of the API server, "" where they are."""
        self.over = False
        """Whether a bound is crossed."""
        self.bytes = 0
        self.lists = 0
        """How often the list was read whole."""
        self.cuts = 0
        """How often something failed."""

    @property
    def objects(self) -> Mapping[Key, JSONObject]:
        return MappingProxyType(self._objects)

    def silent_seconds(self) -> float:
        """Since the last sign of life of the API server; infinite before the first."""
        return float("inf") if self._seen_at is None else time.monotonic() - self._seen_at

    def fresh(self, key: Key, seconds: float) -> JSONObject | None:
        """What is kept of an object, where the API server was heard of within so many seconds; None where it was not,
        or nothing is known of the object."""
        return self._objects.get(key) if self.silent_seconds() < seconds else None

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            wait = 0.0
            try:
                if not self._version:
                    await self._list()
                began = time.monotonic()
                await self._follow()
                short = time.monotonic() - began < SHORT_WATCH_SECONDS
                self._failures = self._failures + 1 if short else 0
                wait = self._delay() if short else 0.0
            except _Forgotten:
                self._version = ""
                self._failures += 1
                wait = self._delay() if self._failures > 1 else 0.0
            except _TooMuch as error:
                self._drop(str(error))
                wait = LAST_DELAY_SECONDS
            except Exception as error:  # noqa: BLE001 - also a fault of ours must not end the watching
                if isinstance(error, ValueError) or not isinstance(error, FAULTS):
                    self._version = ""  # what could not be read may have been a change
                wait = self._failed(error)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    def _delay(self) -> float:
        return min(LAST_DELAY_SECONDS, self._first_delay * 2.0 ** min(self._failures - 1, 16))

    def _failed(self, error: Exception) -> float:
        """Notes it; how long to wait, as long as the API server asks for at least."""
        self._failures += 1
        self.cuts += 1
        why = clean(reason_of(error, self._silence), 300)
        self.problem = f"{self.resource} cannot be watched: {why}"
        if self._failures in (1, 5):
            log.warning("watch broken", resource=str(self.resource), problem=why, failures=self._failures)
        asked = error.seconds if isinstance(error, _Busy) else 0.0
        return max(self._delay(), min(asked, LAST_DELAY_SECONDS))

    def _drop(self, problem: str) -> None:
        """Nothing is kept of what is too much: half of the objects would be worse than none."""
        self.synced.clear()
        if self.problem != problem:
            log.error("watch over its bounds", resource=str(self.resource), problem=problem)
        self.problem, self.over, self._version = problem, True, ""
        gone = [Change(key, None) for key in self._objects]
        self._objects.clear()
        self._sizes.clear()
        self.bytes = 0
        self._changed(gone)

    async def _list(self) -> None:
        found: dict[Key, JSONObject] = {}
        sizes: dict[Key, int] = {}
        version = following = ""
        total, size = 0, PAGE
        while True:
            page = None
            while page is None:
                page = await self._page(following, size)
                if page is None and size == 1:
                    raise ValueError(f"one of the {self.resource} has more than {PAGE_BYTES} bytes")
                size = size if page is not None else max(1, size // 4)
            for item in page["items"]:
                key, kept, length = self._take(item)
                if kept is None:
                    continue
                total += length
                found[key], sizes[key] = kept, length
                self._check(len(found), total)
            metadata = page.get("metadata") or {}
            version, following = str(metadata.get("resourceVersion") or ""), metadata.get("continue") or ""
            if not following:
                break
        if not version:
            raise ValueError("the list has no resourceVersion")
        before = self._objects
        changes = [Change(key, now) for key, now in found.items() if before.get(key) != now]
        changes += [Change(key, None) for key in before if key not in found]
        self._objects, self._sizes, self.bytes, self._version = found, sizes, total, version
        self.lists += 1
        self._alive()
        first = not self.synced.is_set()
        self.synced.set()
        if changes or first:
            self._changed(changes)

    async def _page(self, following: str, size: int) -> dict[str, Any] | None:
        """One page of the list; None where it has too many bytes."""
        query: dict[str, str | int] = {"limit": size}
        if following:
            query["continue"] = following
        try:
            async with asyncio.timeout(LIST_SECONDS):
                response = await self._ask(query)
                async with response:
                    if (response.content_length or 0) > PAGE_BYTES:
                        return None
                    page = await bounded_json(response, PAGE_BYTES, f"a page of {self.resource}")
        except ApiException as error:
            if error.status == 410:
                raise _Forgotten from None
            raise
        except json.JSONDecodeError:
            raise
        except ValueError:  # too long
            if size > 1:
                return None
            raise
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            raise ValueError("the API server answered no list")
        return page

    async def _follow(self) -> None:
        """Takes changes until the API server ends the watch."""
        seconds = WATCH_SECONDS + random.randint(0, WATCH_SECONDS // 4)  # noqa: S311 - jitter, no secret
        query: dict[str, str | int] = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": seconds,
        }
        response = await self._ask(query)
        async with response:
            if response.status == 410:
                raise _Forgotten
            if response.status != 200:
                raise ApiException(status=response.status, reason=response.reason)
            self._alive()
            async for line in _lines(response):
                self._take_event(line)
                self._alive()
                self._failures = 0

    def _take_event(self, line: bytes) -> None:
        event = json.loads(line)
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            raise ValueError("an event of the watch has no object")
        kind, found = event.get("type"), event["object"]
        if kind == "ERROR":
            if found.get("code") == 410:
                raise _Forgotten
            raise ApiException(status=found.get("code") or 0, reason=clean(str(found.get("message")), 200))
        metadata = found.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not isinstance(version, str) or not version:
            raise ValueError("an event of the watch has no resourceVersion")
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            self._apply(kind, found)
        elif kind != "BOOKMARK":
            raise ValueError("the watch sent an event of an unknown type")
        self._version = version

    def _apply(self, kind: str, found: JSONObject) -> None:
        key, kept, length = self._take(found)
        before = self._objects.get(key)
        total = self.bytes - self._sizes.get(key, 0)
        if kind == "DELETED" or kept is None:
            if self._objects.pop(key, None) is not None:
                del self._sizes[key]
                self.bytes = total
                self._changed([Change(key, None)])
            return
        self._check(len(self._objects) + (before is None), total + length)
        self._objects[key], self._sizes[key], self.bytes = kept, length, total + length
        if kept != before:
            self._changed([Change(key, kept)])

    def _take(self, found: Any) -> tuple[Key, JSONObject | None, int]:
        """What is kept of an object, if anything, with its key and its length as JSON."""
        metadata = found.get("metadata") if isinstance(found, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not name:
            raise ValueError("an object has no name")
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        kept = self._keep(without_managed_fields(found))
        length = 0 if kept is None else len(json.dumps(kept, separators=(",", ":")))
        return (namespace if isinstance(namespace, str) else "", name), kept, length

    def _check(self, objects: int, size: int) -> None:
        for count, limit, name in zip(
            (objects, size), (self._bounds.objects, self._bounds.object_bytes), self._bounds.names, strict=True
        ):
            if count > limit:
                raise _TooMuch(f"{self.resource} exceed the limit {name} ({limit})")

    async def _ask(self, query: Mapping[str, str | int]) -> aiohttp.ClientResponse:
        response = await ask(
            self._client,
            "GET",
            self.resource.path,
            query={**query, **self.resource.selectors},
            accept=self.resource.accept(listed="watch" not in query),
            silence_seconds=self._silence,
        )
        if response.status in (429, 503) and (asked := response.headers.get("Retry-After", "")).isdecimal():
            response.release()
            raise _Busy(response.status, response.reason, float(asked[:6]))
        return response

    def _alive(self) -> None:
        self._seen_at = time.monotonic()
        if self.problem:
            self.problem, self.over = "", False


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a body, each within its bound. Raises ValueError for a longer one; a last one that is cut off is
    not given."""
    rest = bytearray()
    async for piece in response.content.iter_any():
        rest += piece
        if b"\n" in piece:
            *whole, tail = rest.split(b"\n")
            rest = tail
            for line in whole:
                if line.strip():
                    yield bytes(line)
        if len(rest) > LINE_BYTES:
            raise ValueError(f"an event of the watch has more than {LINE_BYTES} bytes")
