"""A Registry that remembers (design rule 6): facts by digest for long, tags and lists for a moment, failures for a
shorter one. Decisions are never kept.

The keys, and why nothing passes from one tenant to another:

* Every key holds the repository and the fingerprint of the credential that is used for it. What one credential
  fetched is never shown to another, nor is a denial, nor a fetch that is under way. Two service accounts with the
  same credential share, which is what the registry itself would do.
* ``(resolved, repository, digest, fingerprint)`` -> ResolvedImage, ``(manifest, …)`` and ``(blob, …)`` -> bytes.
  They cannot change, so they stay until the room is needed (least recently used first, by bytes). A fact gets
  there only by a fetch of that very credential, digests checked.
* ``(tag, repository, tag, fingerprint)`` -> digest, and ``(referrers, repository, digest, artifact type,
  fingerprint)`` -> list: for ``tag_seconds``.
* the key of any fetch -> its failure, as it was: for ``failure_seconds``.

One flight per key: whoever asks while a fetch is under way waits for it. A flight belongs to nobody: where its
waiters give up at their deadlines, it goes on for ``flight_seconds`` at most and fills the cache for the next.
"""

import asyncio
import dataclasses
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from portcullis.errors import NotAllowed, RegistryError, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Descriptor, Digest, ImageReference, Manifest, Repository, ResolvedImage
from portcullis.ports import Clock, Keychain, Registry
from portcullis.registry.keychain import fingerprint

_Value = TypeVar("_Value")
_Key = tuple[Hashable, ...]

_Listing = tuple[CarrierKind, Sequence[Descriptor]]

_LARGEST_SHARE = 4
"""One fact may take a quarter of the room at most, so that it does not drive out all others."""


class CachingRegistry:
    """A Registry (ports.py) over another one, which it does not close.

    Args:
        keychain: the one that ``registry`` uses; gives the fingerprints.
        limits: ``fact_cache_bytes``, ``remembered_entries``, ``tag_seconds``, ``failure_seconds``,
            ``flight_seconds``, ``flights``, ``flights_per_host``.
    """

    def __init__(self, *, registry: Registry, keychain: Keychain, clock: Clock, limits: Limits) -> None:
        self._registry = registry
        self._keychain = keychain
        self._limits = limits
        self._facts = _Facts(limits.fact_cache_bytes)
        self._tags: _Recent[Digest] = _Recent(clock, limits.tag_seconds, limits.remembered_entries)
        self._lists: _Recent[_Listing] = _Recent(clock, limits.tag_seconds, limits.remembered_entries)
        self._failures: _Recent[RegistryError] = _Recent(clock, limits.failure_seconds, limits.remembered_entries)
        self._flights: dict[_Key, asyncio.Task[Any]] = {}
        self._flights_to: Counter[str] = Counter()

    async def aclose(self) -> None:
        """Ends every fetch that is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says."""
        repository = reference.repository
        who = await self._fingerprint(repository, access)
        tag_key: _Key = ("tag", repository, reference.tag, who)
        digest = reference.digest or self._tags.get(tag_key)
        if digest is not None:
            known = self._facts.get(("resolved", repository, digest, who), ResolvedImage)
            if known is not None:
                return replace(known, reference=reference)

        async def fetch() -> ResolvedImage:
            image = await self._registry.resolve(reference, access)
            self._facts.put(("resolved", repository, image.digest, who), image, _weight(image))
            if reference.digest is None:
                self._tags.put(tag_key, image.digest)
            return image

        key = ("resolved", repository, reference.digest, who) if reference.digest is not None else tag_key
        return replace(await self._fly(key, repository, fetch), reference=reference)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says."""
        repository = image.reference.repository
        key: _Key = ("referrers", repository, image.digest, artifact_type, await self._fingerprint(repository, access))
        known = self._lists.get(key)
        if known is not None:
            return known

        async def fetch() -> _Listing:
            found = await self._registry.referrers(image, artifact_type, access)
            self._lists.put(key, found)
            return found

        return await self._fly(key, repository, fetch)

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says."""
        key: _Key = ("manifest", repository, digest, await self._fingerprint(repository, access))
        known = self._facts.get(key, Manifest)
        if known is not None:
            return known

        async def fetch() -> Manifest:
            found = await self._registry.manifest(repository, digest, access)
            self._facts.put(key, found, len(found.content))
            return found

        return await self._fly(key, repository, fetch)

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says. A blob that may be too large to be kept is passed through as it comes."""
        if limit > self._limits.fact_cache_bytes // _LARGEST_SHARE:
            async for piece in self._registry.blob(repository, digest, limit, access):
                yield piece
            return
        who = await self._fingerprint(repository, access)
        key: _Key = ("blob", repository, digest, who)
        content = self._facts.get(key, bytes)

        async def fetch() -> bytes:
            whole = bytearray()
            async for piece in self._registry.blob(repository, digest, limit, access):
                whole += piece
            self._facts.put(key, bytes(whole), len(whole))
            return bytes(whole)

        if content is None:
            # The limit is part of the key: who asks with a small one must not fail who asks with a large one.
            content = await self._fly((*key, limit), repository, fetch)
        if len(content) > limit:
            raise TooLarge(f"the blob {digest} of {repository} has {len(content)} bytes, more than the {limit} read")
        yield content

    async def _fingerprint(self, repository: Repository, access: Access) -> str:
        return fingerprint(await self._keychain.credential(repository, access))

    async def _fly(self, key: _Key, repository: Repository, fetch: Callable[[], Awaitable[_Value]]) -> _Value:
        """The outcome of the flight for ``key``, started here if there is none, or its failure of just now."""
        failed = self._failures.get(key)
        if failed is not None:
            raise _again(failed)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key, repository, fetch)
        try:
            outcome = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled() and not _is_cancelled():
                raise Unreachable(f"the fetch from {repository.registry} was ended by a shut-down") from None
            raise
        if isinstance(outcome, RegistryError):
            raise _again(outcome)
        return outcome  # type: ignore[no-any-return]  # the key says which kind of fetch it is

    def _take_off(
        self, key: _Key, repository: Repository, fetch: Callable[[], Awaitable[_Value]]
    ) -> "asyncio.Task[_Value | RegistryError]":
        """A new flight, where there is room for it: in all, and to its registry."""
        registry = repository.registry
        if len(self._flights) >= self._limits.flights:
            raise Unreachable(f"{len(self._flights)} fetches from registries are under way, as many as may be")
        if self._flights_to[registry] >= self._limits.flights_per_host:
            count = self._flights_to[registry]
            raise Unreachable(f"{count} fetches from {registry} are under way, as many as may be")
        flight = asyncio.create_task(self._fetch(key, repository, fetch))
        self._flights[key] = flight
        self._flights_to[registry] += 1

        def land(_: object) -> None:
            self._flights.pop(key, None)
            self._flights_to[registry] -= 1
            if not self._flights_to[registry]:
                del self._flights_to[registry]

        flight.add_done_callback(land)
        return flight

    async def _fetch(
        self, key: _Key, repository: Repository, fetch: Callable[[], Awaitable[_Value]]
    ) -> _Value | RegistryError:
        """An error is handed over as a value: several may wait, or nobody any more."""
        try:
            async with asyncio.timeout(self._limits.flight_seconds):
                return await fetch()
        except TimeoutError:
            late = f"{repository.registry} did not answer within the limit flightSeconds of "
            error: RegistryError = Unreachable(late + f"{self._limits.flight_seconds:g}")
        except RegistryError as raised:
            error = raised
        if not isinstance(error, NotAllowed):  # decided here at no cost
            self._failures.put(key, _again(error))
        return error


class _Facts:
    """Values by key, the least recently used dropped when their bytes are more than ``room``."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._values: OrderedDict[_Key, tuple[Any, int]] = OrderedDict()

    def get(self, key: _Key, kind: type[_Value]) -> _Value | None:
        value, _ = self._values.get(key, (None, 0))
        if not isinstance(value, kind):
            return None
        self._values.move_to_end(key)
        return value

    def put(self, key: _Key, value: Any, size: int) -> None:
        size += _ENTRY_BYTES
        if size > self._room // _LARGEST_SHARE + _ENTRY_BYTES:
            return
        _, before = self._values.pop(key, (None, 0))
        self._values[key] = (value, size)
        self._used += size - before
        while self._used > self._room:
            _, (_, dropped) = self._values.popitem(last=False)
            self._used -= dropped


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_Value]):
    value: _Value
    expires: float


class _Recent(Generic[_Value]):
    """Values that are believed for ``seconds``; the oldest are dropped when there are more than ``room``."""

    def __init__(self, clock: Clock, seconds: float, room: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._room = room
        self._entries: OrderedDict[_Key, _Entry[_Value]] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock.monotonic():
            del self._entries[key]
            return None
        return entry.value

    def put(self, key: _Key, value: _Value) -> None:
        self._entries.pop(key, None)
        self._entries[key] = _Entry(value, self._clock.monotonic() + self._seconds)
        while len(self._entries) > self._room:
            self._entries.popitem(last=False)


_ENTRY_BYTES = 512
"""A key and what holds it."""


def _weight(value: object) -> int:
    """About how many bytes of memory a tree of dataclasses takes."""
    if isinstance(value, str | bytes):
        return 64 + len(value)
    if isinstance(value, Mapping):
        return 64 + sum(_weight(name) + _weight(item) for name, item in value.items())
    if isinstance(value, tuple):
        return 64 + sum(map(_weight, value))
    if dataclasses.is_dataclass(value):
        return 64 + sum(_weight(getattr(value, part.name)) for part in dataclasses.fields(value))
    return 32


def _again(error: RegistryError) -> RegistryError:
    """A new error of the same kind: one that is raised several times would gather the stacks of all who saw it."""
    return type(error)(error.message)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
