"""PolicyReports (wgpolicyk8s.io) and Reports (OpenReports): what runs and would not be admitted now, for kubectl and
whatever else reads them in the cluster.

A namespace has pages ``portcullis-1``, ``portcullis-2`` and so on, each far below what the API server stores in one
object. Where the results stand now is read from the pages themselves: nothing is remembered from round to round or
handed from one replica to the next, and what others changed is put right.

1. Only objects with LABEL and such a name are read, changed or deleted. Where somebody else has a name, the next number
   is taken.
2. A change names the resourceVersion that was read: what was changed meanwhile is read again.
3. A page that says the same is not written. A result keeps the time at which it was first found.
4. Whether the cluster has these kinds is asked once a minute at most, which is once in most rounds; a kind that is not
   there is no error.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (discovery, chunks of lists, preconditions).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, bounded_json, reason_of
from portcullis.cluster.reportobjects import (
    APIS,
    LABEL,
    Content,
    Page,
    ReportApi,
    Wanted,
    contents,
    free,
    name_of,
    pages_of,
)
from portcullis.cluster.reportpages import divide
from portcullis.cluster.reportresults import passes, results_of
from portcullis.cluster.resources import Resource, ask
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.running import Rejudged

SECONDS: Final = 10.0
"""For one request: a page is as large as a hundred other objects."""
ATTEMPTS: Final = 3
"""How often what others change meanwhile is read again."""
NAMES: Final = 20
"""Of others, that one page goes out of the way of."""
DISCOVERY_SECONDS: Final = 60.0

_CHUNK: Final = 2
"""Pages of one answer: more would be read for longer than an admission should wait. Any of them somebody may have made
as large as the API server takes."""
_NAMES_CHUNK: Final = 5
"""The same of their metadata, which may be as large."""
_CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Five of the largest that the API server takes."""
_ANSWER_BYTES: Final = 4 * 1024 * 1024
_MERGE: Final = "application/merge-patch+json"
_VERBS: Final = "list, create, patch, delete"


@dataclass(slots=True)
class ReportCounters:
    """Pages since the start."""

    written: int = 0
    unchanged: int = 0
    deleted: int = 0


class _Changed(Exception):
    """Somebody else changed what was read."""


class PolicyReports:
    """The port Reporter.

    Args:
        seconds: for one request.
    """

    kinds: Final = APIS
    """All that there may be."""

    def __init__(
        self,
        *,
        client: ApiClient,
        limits: Limits,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._limits = limits
        self._seconds = seconds
        self._clock = clock
        self._asked_until = float("-inf")
        self.served: tuple[ReportApi, ...] | None = None
        """Kinds that the cluster has; None before it was asked."""
        self.counters = ReportCounters()
        self.failing: dict[str, str] = {}
        """Namespaces whose reports could not be written, and why."""
        self.left_out: dict[str, int] = {}
        """By namespace, how many results have no room."""

    async def publish(self, namespace: str, results: Sequence[Rejudged], at: datetime) -> None:
        """The reports of the namespace are those of ``results`` from now on. One that is being deleted has none.

        Raises:
            ClusterError: they are not, or that is not known.
        """
        try:
            await self._publish(namespace, results, at)
        except (*FAULTS, _Changed) as error:
            why = self.failing[namespace] = self._why(error)
            raise ClusterError(f"the reports of the namespace {namespace} cannot be written: {why}") from error
        self.failing.pop(namespace, None)

    async def clear(self, namespaces: Collection[str]) -> None:
        """Deletes the reports of every other namespace.

        Raises:
            ClusterError: not all of them, or that is not known.
        """
        kept = frozenset(namespaces)
        for told in (self.failing, self.left_out):
            for gone in told.keys() - kept:
                told.pop(gone)
        try:
            for api in await self._apis():
                async for page in self._listed(replace(api.resource, metadata_only=True), _NAMES_CHUNK):
                    if page.namespace not in kept:
                        await self._delete(api.resource, page)
        except (*FAULTS, _Changed) as error:
            raise ClusterError(
                f"reports of namespaces in which nothing runs cannot be deleted: {self._why(error)}"
            ) from error

    async def _publish(self, namespace: str, rejudged: Sequence[Rejudged], at: datetime) -> None:
        # In a thread: thousands of results take longer than an admission should wait.
        results = await asyncio.to_thread(results_of, rejudged)
        apis = await self._apis()
        self.left_out.pop(namespace, None)
        for api in apis:
            second, passed = int(at.timestamp()), passes(rejudged)
            wanted = Wanted(api, namespace, results, passed, second, looked_at=bool(rejudged))
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._replace(wanted)
                    break
                except _Changed:
                    if attempt == ATTEMPTS:
                        raise

    async def _replace(self, wanted: Wanted) -> None:
        """Makes the pages of one kind in one namespace what they are to be."""
        resource = replace(wanted.api.resource, namespace=wanted.namespace)
        found = {page.number: page async for page in self._listed(resource, _CHUNK)}
        old = {number: [traits for traits, _ in page.results] for number, page in found.items()}
        division = await asyncio.to_thread(
            divide, wanted.results, old, namespace=wanted.namespace, limits=self._limits, taken=wanted.taken
        )
        if division.left_out:
            self.left_out[wanted.namespace] = division.left_out
        made = await asyncio.to_thread(contents, wanted, division, found)
        used = {*found, *made}
        for number, content in made.items():
            page = found.pop(number, None)
            if page is None:
                if not await self._make(wanted, resource, number, content, used):
                    return
            elif page.says(content):
                self.counters.unchanged += 1
            else:
                await self._change(resource, page, content)
        for page in found.values():
            await self._delete(resource, page)

    async def _make(self, wanted: Wanted, resource: Resource, number: int, content: Content, used: set[int]) -> bool:
        """Under this number, or the next that nobody has; False where the namespace is going, or has gone."""
        for _ in range(NAMES):
            metadata = {"name": name_of(number), "namespace": wanted.namespace, "labels": dict([LABEL])}
            whole = {
                "apiVersion": resource.group_version,
                "kind": wanted.api.kind,
                "metadata": metadata,
                **content.body,
            }
            status, said = await self._send("POST", resource.path, whole)
            if status == 404 or (status == 403 and b"NamespaceTerminating" in said):
                return False
            if status != 409:
                _expect(201, status, said)
                self.counters.written += 1
                return True
            wanted.taken.add(number)
            used.add(number)
            number = free(used)
            used.add(number)
        raise _Changed

    async def _change(self, resource: Resource, page: Page, content: Content) -> None:
        patch = {"metadata": {"resourceVersion": page.version}, **content.body}
        status, said = await self._send("PATCH", f"{resource.path}/{quote(page.name, safe='')}", patch)
        if status in (404, 409):
            raise _Changed
        _expect(200, status, said)
        self.counters.written += 1

    async def _delete(self, resource: Resource, page: Page) -> None:
        path = f"{replace(resource, namespace=page.namespace).path}/{quote(page.name, safe='')}"
        precondition = {"uid": page.uid, "resourceVersion": page.version}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": precondition}
        status, said = await self._send("DELETE", path, options)
        if status == 404:
            return
        if status == 409:
            raise _Changed
        _expect(200, status, said)
        self.counters.deleted += 1

    async def _send(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        """The status and what was said, at most so many times a second."""
        started = self._clock()
        content_type = _MERGE if method == "PATCH" else "application/json"
        async with asyncio.timeout(self._seconds):
            response = await ask(
                self._client, method, path, body=body, content_type=content_type, silence_seconds=self._seconds
            )
            async with response:
                # A page comes back as it was written, and what of it is not read would end the connection.
                said = b""
                while len(said) < _ANSWER_BYTES and (more := await response.content.read(_ANSWER_BYTES)):
                    said += more
        await asyncio.sleep(max(0.0, 1 / self._limits.report_writes_per_second - (self._clock() - started)))
        return response.status, said

    async def _apis(self) -> tuple[ReportApi, ...]:
        """Kinds that the cluster has now."""
        if self.served is None or self._clock() >= self._asked_until:
            self.served = tuple([api for api in APIS if await self._is_served(api)])
            self._asked_until = self._clock() + DISCOVERY_SECONDS
        return self.served

    async def _is_served(self, api: ReportApi) -> bool:
        async with asyncio.timeout(self._seconds):
            response = await ask(self._client, "GET", api.discovery, silence_seconds=self._seconds)
            async with response:
                if response.status == 404:
                    return False
                found = await bounded_json(response, _ANSWER_BYTES, "the list of resources")
        resources = found.get("resources") if isinstance(found, dict) else None
        names = [one.get("name") for one in resources or [] if isinstance(one, dict)]
        return api.resource.plural in names

    async def _listed(self, resource: Resource, chunk: int) -> AsyncIterator[Page]:
        """Our own objects, in one namespace or in all."""
        query: dict[str, str | int] = {"labelSelector": "=".join(LABEL), "limit": chunk}
        accept = resource.accept(listed=True)
        while True:
            async with asyncio.timeout(self._seconds):
                response = await ask(
                    self._client, "GET", resource.path, query=query, accept=accept, silence_seconds=self._seconds
                )
                async with response:
                    found = await bounded_json(response, _CHUNK_BYTES, "a list of reports")
            pages, following = await asyncio.to_thread(pages_of, found, self._limits.report_page_results)
            for page in pages:
                yield page
            if not following:
                return
            query["continue"] = following

    def _why(self, error: Exception) -> str:
        """What is said of it. What the cluster has is asked anew after that."""
        self._asked_until = float("-inf")
        if isinstance(error, _Changed):
            return "others change them all the time"
        if isinstance(error, ApiException) and error.status == 403:
            rules = ", ".join(f"{api.resource.kind} [{_VERBS}]" for api in self.served or APIS)
            return f"{reason_of(error, self._seconds)}; the gate's service account needs a ClusterRole for {rules}"
        return reason_of(error, self._seconds)


def _expect(wanted: int, status: int, said: bytes) -> None:
    if status != wanted:
        error = ApiException(status=status)
        error.body = said.decode(errors="replace")
        raise error
