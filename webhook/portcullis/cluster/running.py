"""What runs in the cluster, in groups of equal pods: the port Workloads.

1. Pods are listed in pages. Those that ended, that are being deleted, and those of exempt namespaces are left out. Of
   the others, those of one controller that are alike make one group (podlikeness.py).
2. ReplicaSets and Jobs are listed, their metadata alone: the owner of a pod is the object that people made, and groups
   of one owner that are alike become one.
3. The groups are given one by one, those whose first image is the same one after the other.

A group keeps one pod, as JSON; how many groups and how many bytes there may be is bounded. Pages are read in a thread:
they have some MiB, and reviews are answered meanwhile.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import aiohttp
import msgspec
from kubernetes.aio.client import AdmissionregistrationV1Api, ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, STATUS_BYTES, reason_of
from portcullis.cluster.podlikeness import controller_of, creation, images_of, likeness, part
from portcullis.cluster.registration import Reach, WebhookConfigurations
from portcullis.cluster.resources import Resource, ask
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.running import ObjectRef, RunningImage, RunningPods
from portcullis.tasks import aside

PAGE: Final = 500
PAGE_BYTES: Final = 32 * 1024 * 1024
"""A page with more is asked for again with fewer objects."""
PAGE_SECONDS: Final = 60.0
NAMES: Final = 10
"""Pods of a group that are known by name."""

_BETWEEN: Final = {
    "ReplicaSet": Resource("apps", "v1", "replicasets", metadata_only=True),
    "Job": Resource("batch", "v1", "jobs", metadata_only=True),
}
"""Controllers that other controllers make: whose they are is asked for where pods have them."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})

_Taken = TypeVar("_Taken")


class _TooLong(Exception):
    """A page has too many bytes."""


class _Expired(Exception):
    """The API server has forgotten the version of the list; it goes on from ``following``."""

    def __init__(self, following: str) -> None:
        super().__init__(following)
        self.following = following


@dataclass(frozen=True, slots=True)
class _Group:
    """Pods that are alike. ``maker`` is their controller; the pod itself where it has none. ``pod`` is one of them."""

    maker: ObjectRef
    pod: bytes
    images: tuple[RunningImage, ...]
    likeness: bytes
    names: tuple[str, ...]
    count: int = 1

    def with_those_of(self, other: "_Group") -> "_Group":
        names = tuple(sorted({*self.names, *other.names})[:NAMES])
        return replace(self, names=names, count=self.count + other.count)


class RunningWorkloads:
    """Implements the port Workloads.

    Args:
        client: of somebody who may list pods, and the metadata of ReplicaSets and Jobs.
        limits: ``running_workloads``, ``running_bytes``.
        exempt: namespaces whose pods are left out.
        webhook: a ValidatingWebhookConfiguration; namespaces that none of its webhooks is called for are left out too.
        namespace: the only one that is looked at, exempt or not; "": all of them.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        limits: Limits,
        exempt: Collection[str] = (),
        webhook: str = "",
        namespace: str = "",
    ) -> None:
        self._client = client
        self._limits = limits
        self._named = frozenset(exempt)
        self._webhook = webhook
        self._namespace = namespace
        self._reaches: Sequence[Reach] = ()
        self.exempt: frozenset[str] = frozenset()
        """Namespaces that are left out, by name, as of the last look."""
        self.count = 0
        """How many groups there are, from the first one on."""

    async def groups(self) -> AsyncIterator[RunningPods]:
        """See :class:`portcullis.ports.Workloads`. The first one is given when everything is listed."""
        await self._look_around()
        listed = await self._listed()
        owners = await self._owners({one.maker for one in listed})
        merged: dict[tuple[ObjectRef, bytes], _Group] = {}
        for one in listed:
            place = (owners.get(one.maker, one.maker), one.likeness)
            known = merged.get(place)
            merged[place] = one if known is None else known.with_those_of(one)
        listed.clear()
        self.count = len(merged)
        for owner, alike in sorted(merged, key=lambda place: _order(place[0], merged[place].images)):
            yield _running(owner, merged.pop((owner, alike)))

    async def _look_around(self) -> None:
        """Which namespaces are left out."""
        self._reaches, self.exempt = (), frozenset()
        if self._namespace:
            return
        self.exempt = self._named
        if self._webhook:
            api = AdmissionregistrationV1Api(self._client)
            found = await WebhookConfigurations(api=api, name=self._webhook).read()
            if found is None:
                raise ClusterError(f"there is no ValidatingWebhookConfiguration {self._webhook}")
            self._reaches = tuple(found.reaches.values())
            exempt = [reach.exempt for reach in self._reaches]
            self.exempt |= frozenset.intersection(*exempt) if exempt else frozenset()

    def _left_out(self, namespace: str) -> bool:
        reached = not self._reaches or any(reach.judges(namespace) for reach in self._reaches)
        return namespace in self.exempt or not reached

    async def _listed(self) -> list[_Group]:
        """The groups by their direct controllers."""
        groups: dict[tuple[ObjectRef, bytes], _Group] = {}
        size = 0
        async for page in self._pages(Resource("", "v1", "pods", self._namespace), self._alone):
            for one in page:
                place = (one.maker, one.likeness)
                known = groups.get(place)
                groups[place] = one if known is None else known.with_those_of(one)
                size += len(one.pod) if known is None else 0
                self._check(len(groups), size)
        return list(groups.values())

    def _alone(self, pod: JSONObject) -> _Group | None:
        """A group of one; None for a pod that is not judged."""
        metadata, status = part(pod, "metadata"), part(pod, "status")
        namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        ended = metadata.get("deletionTimestamp") is not None or status.get("phase") in _ENDED
        if ended or self._left_out(namespace) or not name:
            return None
        images = images_of(pod)
        return _Group(
            maker=controller_of(metadata) or ObjectRef("v1", "Pod", namespace, name, str(metadata.get("uid") or "")),
            pod=msgspec.json.encode(creation(pod)),
            images=images,
            likeness=likeness(pod, images),
            names=(name,),
        )

    def _check(self, groups: int, size: int) -> None:
        limits = self._limits
        if groups > limits.running_workloads:
            raise ClusterError(f"more workloads run than the limit runningWorkloads ({limits.running_workloads})")
        if size > limits.running_bytes:
            raise ClusterError(f"the pods that run exceed the limit runningBytes ({limits.running_bytes})")

    async def _owners(self, makers: Collection[ObjectRef]) -> Mapping[ObjectRef, ObjectRef]:
        """Who made those that made pods, as far as somebody did."""
        found: dict[ObjectRef, ObjectRef] = {}
        for kind, resource in _BETWEEN.items():
            wanted = {one.uid: one for one in makers if one.kind == kind}
            if not wanted:
                continue
            async for page in self._pages(replace(resource, namespace=self._namespace), _owned):
                found |= {wanted[uid]: owner for uid, owner in page if uid in wanted}
        return found

    async def _pages(
        self, resource: Resource, take: Callable[[JSONObject], _Taken | None]
    ) -> AsyncIterator[list[_Taken]]:
        """What ``take`` makes of the objects of a list, page by page.

        A list that takes longer than etcd keeps its version goes on at the newest one, behind the last object that was
        read. Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks.
        """
        following, size = "", PAGE
        while True:
            try:
                content = await self._page(resource, following, size)
            except _Expired as error:
                following = error.following
                continue
            except _TooLong:
                if size == 1:
                    raise ClusterError(
                        f"the {resource} cannot be listed: one of them has more than {PAGE_BYTES} bytes"
                    ) from None
                size = max(1, size // 4)
                continue
            try:
                taken, following = await aside(len(content), lambda content=content: _read(content, take))  # type: ignore[misc]
            except ValueError as error:
                raise ClusterError(f"the {resource} cannot be listed: {error}") from error
            yield taken
            if not following:
                return

    async def _page(self, resource: Resource, following: str, size: int) -> bytes:
        query: dict[str, str | int] = {"limit": size, **({"continue": following} if following else {})}
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                response = await ask(
                    self._client,
                    "GET",
                    resource.path,
                    query=query,
                    accept=resource.accept(listed=True),
                    silence_seconds=PAGE_SECONDS,
                )
                async with response:
                    return await _content(response, following)
        except FAULTS as error:
            denied = isinstance(error, ApiException) and error.status in (401, 403)
            hint = f"; who asks needs the right to list {resource.kind}" if denied else ""
            reason = reason_of(error, PAGE_SECONDS)
            raise ClusterError(f"the {resource} cannot be listed: {reason}{hint}") from error


async def _content(response: aiohttp.ClientResponse, following: str) -> bytes:
    """The bytes of a page.

    Raises:
        _Expired, _TooLong, ApiException.
    """
    if response.status != 200:
        said = await response.content.read(STATUS_BYTES)
        if response.status == 410 and (then := _continue(said)) and then != following:
            raise _Expired(then)
        error = ApiException(status=response.status, reason=response.reason)
        error.body = said.decode(errors="replace")
        raise error
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > PAGE_BYTES:
            raise _TooLong
    return bytes(content)


def _continue(status: bytes) -> str:
    """Where a list may go on whose version is forgotten, as a Status says; "" where it says nothing."""
    try:
        found = json.loads(status)
    except (ValueError, RecursionError):
        return ""
    return str(part(found, "metadata").get("continue") or "") if isinstance(found, dict) else ""


def _read(content: bytes, take: Callable[[JSONObject], _Taken | None]) -> tuple[list[_Taken], str]:
    """What is taken of a page, and where the next one begins. Raises ValueError."""
    try:
        page = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the API server sent no JSON ({error})") from error
    items = page.get("items") if isinstance(page, dict) else None
    if not isinstance(items, list):
        raise ValueError("the API server answered no list")
    taken = (take(item) for item in items if isinstance(item, dict))
    return [one for one in taken if one is not None], str(part(page, "metadata").get("continue") or "")


def _owned(found: JSONObject) -> tuple[str, ObjectRef] | None:
    """An object's uid, and what controls it; None where nothing does."""
    metadata = part(found, "metadata")
    owner = controller_of(metadata)
    return None if owner is None else (str(metadata.get("uid")), owner)


def _order(owner: ObjectRef, images: tuple[RunningImage, ...]) -> tuple[str, ObjectRef]:
    first = images[0] if images else None
    return (str(first.digest or first.written) if first is not None else "", owner)


def _running(owner: ObjectRef, group: _Group) -> RunningPods:
    named = json.dumps([owner.api_version, owner.kind, owner.namespace, owner.name, group.likeness.hex()])
    return RunningPods(
        owner=owner,
        pod=msgspec.json.decode(group.pod),
        names=group.names,
        count=group.count,
        images=group.images,
        key=hashlib.sha256(named.encode()).hexdigest()[:32],
    )
