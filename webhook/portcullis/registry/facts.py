"""A Registry that remembers (design rule 6): facts by digest for long, tags and lists for a moment, failures for a
shorter one. Decisions are never kept.

The keys, and why nothing passes from one tenant to another:

* Every key holds the repository and the fingerprint of the credential that is used for it. What one credential
  fetched is never shown to another, nor is a denial, nor a fetch that is under way. Two service accounts with the
  same credential share, which is what the registry itself would do. Strangers share with strangers alone.
* ``(resolved, repository, digest, fingerprint)`` -> ResolvedImage, ``(manifest, …)`` and ``(blob, …)`` -> bytes.
  They cannot change, so they stay until the room is needed (least recently used first, by bytes). A fact gets
  there only by a fetch of that very credential, digests checked.
* ``(tag, repository, tag, fingerprint)`` -> digest, and ``(referrers, repository, digest, artifact type,
  fingerprint)`` -> list: for ``tag_seconds``.
* ``(tagged, repository, tag, fingerprint)`` -> what a tag names, be it no image, or that there is no such tag: for
  ``tag_seconds`` as well. Most images lack the tags that are asked for, so that lack is no failure.
* the key of any fetch -> its failure, as it was: by class (flights.py).

The credential of the key is the one that the whole fetch uses (pinning.py). What a failure has to do with the pull
secrets of who asks is said to him alone, and not kept.

**Stale facts.** Off unless the operator allows it. Where a registry cannot be reached or throttles, a tag's digest and
a list that are older than ``tag_seconds`` and younger than ``stale_seconds`` are used in its place, and say so. Never
after the registry denied, had no such image, or sent nonsense: any answer of that kind forgets what was known. A
registry that does not answer within ``stale_wait_seconds`` is one that cannot be reached: who asked would be at his
deadline before the fetch gives up. It goes on, and what it brings is used by the next.
"""

import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from portcullis.errors import CredentialUnavailable, Denied, NotFound, RegistryError, Unreachable
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Descriptor, Digest, ImageReference, Manifest, Repository, ResolvedImage
from portcullis.model.stale import StaleDescriptors, StaleManifest
from portcullis.ports import Clock, Keychain, Registry
from portcullis.registry.caches import CacheCounters, FactCache, Key, Recent, Remembered, weight
from portcullis.registry.flights import FlightCounters, OutOfRoom
from portcullis.registry.known import KnownContent
from portcullis.registry.pinning import pinned

_Value = TypeVar("_Value")
_Made = TypeVar("_Made")

Explain = Callable[[Repository, Access], Awaitable[str]]

_Listing = tuple[CarrierKind, Sequence[Descriptor]]


@dataclass(frozen=True, slots=True)
class _Tagged:
    """What a tag names, None where there is no such tag; ``since`` where that could not be confirmed."""

    manifest: Manifest | None
    problem: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class CacheState:
    """One cache as it is now: what happened since the start, and what it holds."""

    counters: CacheCounters
    bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What a CachingRegistry remembers and does just now.

    Args:
        caches: by name: content (facts by digest), tags, tagged (what is no image), referrers, failures.
        flights: what happened since the start.
        under_way: fetches that have not ended.
        stale_tags, stale_lists: how often a stale tag or list was used since the start.
    """

    caches: dict[str, CacheState]
    flights: FlightCounters
    under_way: int
    stale_tags: int
    stale_lists: int


class CachingRegistry:
    """A Registry (ports.py) over another one, which it does not close.

    Args:
        keychain: the one that ``registry`` uses; gives the fingerprints.
        limits: ``tag_seconds``, ``remembered_entries``, ``remembered_bytes``, ``stale_wait_seconds``, and those of
            :class:`KnownContent`.
        known: what ``registry`` shares by digest, if it does; closed with this.
        stale_seconds: how old a tag or a list may be that is used while its registry cannot be reached. 0: never.
        explain: says what a denial has to do with the pull secrets of who asks, "" for nothing.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        keychain: Keychain,
        clock: Clock,
        limits: Limits,
        known: KnownContent | None = None,
        stale_seconds: float = 0.0,
        explain: Explain | None = None,
    ) -> None:
        self._registry = registry
        self._explain = explain
        self._limits = limits
        self._grace = stale_seconds
        self._known = known or KnownContent(keychain=keychain, clock=clock, limits=limits)
        self._facts, self._flights = self._known.facts, self._known.flights
        entries, room = limits.remembered_entries, limits.remembered_bytes
        self._tags: Recent[Digest] = Recent(clock=clock, entries=entries, room=room)
        self._lists: Recent[_Listing] = Recent(clock=clock, entries=entries, room=room)
        self._tagged: Recent[_Tagged] = Recent(clock=clock, entries=entries, room=room)
        self._stale: Counter[str] = Counter({"tag": 0, "tagged": 0, "referrers": 0})

    async def aclose(self) -> None:
        """Ends every fetch that is under way."""
        await self._known.aclose()

    def state(self) -> RegistryState:
        """For metrics."""
        caches: dict[str, FactCache | Recent[Digest] | Recent[_Tagged] | Recent[_Listing] | Recent[RegistryError]] = {
            "content": self._facts,
            "tags": self._tags,
            "tagged": self._tagged,
            "referrers": self._lists,
            "failures": self._flights.failures,
        }
        return RegistryState(
            caches={name: CacheState(cache.counters, cache.bytes, len(cache)) for name, cache in caches.items()},
            flights=self._flights.counters,
            under_way=self._flights.under_way,
            stale_tags=self._stale["tag"] + self._stale["tagged"],
            stale_lists=self._stale["referrers"],
        )

    def forget_images(self) -> None:
        """What references resolve to is found out anew, from manifests that stay known: other platforms are judged now.
        A resolution that is under way may still be of the platforms before."""
        self._facts.drop("resolved")

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says. ``stale_since`` is set where the tag could not be confirmed, and its digest is that of
        then."""
        try:
            with pinned():
                return await self._resolve(reference, access)
        except (Denied, NotFound) as error:
            why = await self._why(error, reference.repository, access)
            if not why:
                raise
            told = copy.copy(error)  # that of the flight belongs to all who wait for it
            told.message = f"{error.message}; {why}"
        raise told

    async def _resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        repository = reference.repository
        who = await self._known.who(repository, access)
        if reference.digest is not None:
            return replace(await self._by_digest(reference, reference.digest, access, who), reference=reference)
        key: Key = ("tag", repository, reference.tag, who)
        tag = self._tags.get(key)
        known = self._resolved(repository, tag.value, who) if tag is not None else None
        if known is not None:
            return replace(known, reference=reference)

        async def fetch() -> ResolvedImage:
            image = await self._registry.resolve(reference, access)
            self._keep(image, who)
            self._tags.put(key, image.digest, weight(image.digest), seconds=self._limits.tag_seconds, grace=self._grace)
            return image

        def then(tag: Remembered[Digest]) -> ResolvedImage | None:
            known = self._resolved(repository, tag.value, who)
            return None if known is None else replace(known, stale_since=tag.since)

        return replace(await self._fly(key, self._tags, repository, access, fetch, then), reference=reference)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says. The list is a :class:`StaleDescriptors` where it could not be confirmed."""
        with pinned():
            return await self._referrers(image, artifact_type, access)

    async def _referrers(self, image: ResolvedImage, artifact_type: str | None, access: Access) -> _Listing:
        repository = image.reference.repository
        key: Key = ("referrers", repository, image.digest, artifact_type, await self._known.who(repository, access))
        known = self._lists.get(key)
        if known is not None:
            return known.value

        async def fetch() -> _Listing:
            found = await self._registry.referrers(image, artifact_type, access)
            self._lists.put(key, found, weight(found), seconds=self._limits.tag_seconds, grace=self._grace)
            return found

        def then(list_: Remembered[_Listing]) -> _Listing:
            kind, descriptors = list_.value
            return kind, StaleDescriptors(descriptors, list_.since)

        return await self._fly(key, self._lists, repository, access, fetch, then)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """As the port says. It is a :class:`StaleManifest`, or NotFound has a ``stale_since``, where that could not be
        confirmed."""
        with pinned():
            found = await self._find_tagged(repository, tag, access)
        if found.manifest is None:
            raise NotFound(found.problem, found.since)
        if found.since is None:
            return found.manifest
        return StaleManifest(found.manifest.media_type, found.manifest.digest, found.manifest.content, found.since)

    async def _find_tagged(self, repository: Repository, tag: str, access: Access) -> _Tagged:
        key: Key = ("tagged", repository, tag, await self._known.who(repository, access))
        known = self._tagged.get(key)
        if known is not None:
            return known.value
        fetch = self._tag_fetch(key, repository, tag, access)
        return await self._fly(key, self._tagged, repository, access, fetch, _stale)

    def _tag_fetch(
        self, key: Key, repository: Repository, tag: str, access: Access
    ) -> Callable[[], Awaitable[_Tagged]]:
        async def fetch() -> _Tagged:
            try:
                found = _Tagged(await self._registry.tagged(repository, tag, access))
            except NotFound as error:
                found = _Tagged(None, error.message)
            self._tagged.put(key, found, weight(found), seconds=self._limits.tag_seconds, grace=self._grace)
            return found

        return fetch

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says."""
        with pinned():
            return await self._known.manifest(
                repository, digest, access, lambda: self._registry.manifest(repository, digest, access)
            )

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says. A blob that may be too large to be kept is passed through as it comes."""
        if not self._known.may_keep(limit):
            async for piece in self._registry.blob(repository, digest, limit, access):
                yield piece
            return

        async def fetch() -> bytes:
            whole = bytearray()
            async for piece in self._registry.blob(repository, digest, limit, access):
                whole += piece
            return bytes(whole)

        with pinned():  # and not around the yield: a generator shares the context of who reads it
            content = await self._known.blob(repository, digest, limit, access, fetch)
        yield content

    async def _why(self, error: RegistryError, repository: Repository, access: Access) -> str:
        """What it has to do with pull secrets. Registries also deny by saying that there is no such image; whoever
        names no pull secret has misspelt it."""
        if self._explain is None or (isinstance(error, NotFound) and not access.pull_secrets):
            return ""
        return await self._explain(repository, access)

    async def _by_digest(self, reference: ImageReference, digest: Digest, access: Access, who: str) -> ResolvedImage:
        repository = reference.repository
        known = self._resolved(repository, digest, who)
        if known is not None:
            return known

        async def fetch() -> ResolvedImage:
            image = await self._registry.resolve(reference, access)
            self._keep(image, who)
            return image

        key: Key = ("resolved", repository, digest, who)
        return await self._flights.fly(key, repository.registry, fetch, stranger=access.stranger)

    def _resolved(self, repository: Repository, digest: Digest, who: str) -> ResolvedImage | None:
        return self._facts.get(("resolved", repository, digest, who), ResolvedImage)

    def _keep(self, image: ResolvedImage, who: str) -> None:
        self._facts.put(("resolved", image.reference.repository, image.digest, who), image, weight(image))

    async def _fly(
        self,
        key: Key,
        recent: Recent[_Value],
        repository: Repository,
        access: Access,
        fetch: Callable[[], Awaitable[_Made]],
        then: Callable[[Remembered[_Value]], _Made | None],
    ) -> _Made:
        """The outcome of a flight; where the registry cannot be reached, what ``then`` makes of what it said last."""

        async def watched() -> _Made:
            try:
                return await fetch()
            except RegistryError as error:
                if not isinstance(error, Unreachable | CredentialUnavailable):
                    recent.forget(key)  # the registry has spoken: what it said before no longer holds
                raise

        def stale() -> _Made | None:
            said = recent.get_stale(key) if self._grace else None
            return None if said is None else then(said)

        patience = None if stale() is None else self._limits.stale_wait_seconds
        try:
            return await self._flights.fly(
                key, repository.registry, watched, patience=patience, stranger=access.stranger
            )
        except OutOfRoom:
            raise
        except Unreachable:
            found = stale()
            if found is None:
                raise
            self._stale[str(key[0])] += 1
            return found


def _stale(said: Remembered[_Tagged]) -> _Tagged:
    return replace(said.value, since=said.since)
