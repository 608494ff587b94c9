"""Mirrors: other places that an image may be read from before the registry that its name says.

A mirror stands in front of a registry, or of repositories under a prefix: what a name has beyond the prefix follows
the mirror's endpoint. With ``docker.io: [mirror.example/hub]``, ``docker.io/library/nginx`` is first asked for as
``mirror.example/hub/library/nginx``.

What a mirror may do, and what not:

1. Content that is asked for by digest has that digest, wherever it comes from. A mirror cannot change it.
2. What a tag means, and which attestations there are, a mirror decides, as it does for the nodes that pull through it;
   but for one with ``tags: false``, which is asked by digest only. An empty list of attestations says nothing: mirrors
   that pull through often do not know them, so the next place is asked.
3. Whatever fails at a mirror, the next is asked, and the registry itself at last: its error is the one that counts.
4. The credential for a mirror is that of the mirror's own name. The registry's is never sent there.
5. A mirror does not open what is closed: whether a registry may be asked is decided by its own name.
6. Where a host is listed as private, so that it may have an address that is not public, it is asked for nothing on
   behalf of a stranger: he may be kept from it by the cluster's network, and it may ask nobody for a credential.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from portcullis.errors import ConfigError, DigestMismatch, NotFound, RegistryError, Throttled, Unreachable
from portcullis.limits import MIB, Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Anonymous,
    Credential,
    Descriptor,
    Digest,
    ImageReference,
    Manifest,
    RegistryCredential,
    Repository,
    ResolvedImage,
)
from portcullis.ports import Keychain, Registry
from portcullis.registry.hosts import HostRules
from portcullis.registry.keychain import fingerprint
from portcullis.registry.prefixes import Prefix, longest
from portcullis.text import clean

_Made = TypeVar("_Made")

_HELD_BYTES: Final = 16 * MIB
"""A blob of at most so many is held until its digest is checked, so that the next place can still be asked."""
_SHOWN: Final = 160


@dataclass(frozen=True, slots=True)
class Mirror:
    """``endpoint`` is ``host[:port][/path]``; ``tags``: whether it is asked for what changes: tags, attestations."""

    endpoint: str
    tags: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """One mirror's name for a repository."""

    repository: Repository
    tags: bool


class Mirrors:
    """The operator's list.

    Args:
        mirrors: by ``host[:port]`` or ``host[:port]/path``; of several that cover a repository the longest counts
            alone. Mirrors are asked in their order.

    Raises:
        ConfigError: a mirror of a path has no path, so that the repository of just that name would have none.
    """

    def __init__(self, mirrors: Mapping[str, Sequence[Mirror]]) -> None:
        for prefix, listed in mirrors.items():
            for mirror in listed:
                if "/" in prefix.rstrip("/") and "/" not in mirror.endpoint.rstrip("/"):
                    raise ConfigError(
                        f"registries.mirrors.{prefix}: {mirror.endpoint} needs a path, which stands for that of "
                        f"{prefix}: {mirror.endpoint}/{prefix.partition('/')[2]}, for instance"
                    )
        self._mirrors = tuple(
            (prefix, (prefix, tuple(listed))) for prefix, listed in ((Prefix.of(key), mirrors[key]) for key in mirrors)
        )

    def places(self, repository: Repository) -> Sequence[Place]:
        """Where else the repository may be read, in order; nowhere where no prefix covers it."""
        found = longest(self._mirrors, repository)
        if found is None:
            return ()
        prefix, listed = found
        beyond = repository.path.split("/")[len(prefix.path) :]
        return tuple(_place(mirror, beyond) for mirror in listed)


def _place(mirror: Mirror, beyond: Sequence[str]) -> Place:
    host, _, path = mirror.endpoint.rstrip("/").partition("/")
    return Place(Repository(host, "/".join([*path.split("/"), *beyond] if path else beyond)), mirror.tags)


class MirroringRegistry:
    """A Registry (ports.py) that asks mirrors first, in front of one that it does not close.

    Args:
        origin: reads from the registries that references name.
        mirror: reads from mirrors (:meth:`portcullis.registry.http.HttpRegistry.for_mirrors`).
        hosts: whether a registry may be asked.
        limits: ``mirror_rest_seconds``: a mirror that could not be reached, or that lied, is passed over for so long;
            ``flight_seconds``, of which all mirrors of a repository together get half.
    """

    def __init__(
        self,
        *,
        origin: Registry,
        mirror: Registry,
        mirrors: Mirrors,
        hosts: HostRules,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin = origin
        self._mirror = mirror
        self._mirrors = mirrors
        self._hosts = hosts
        self._limits = limits
        self._clock = clock
        self._resting: dict[str, float] = {}  # by host: as many as the configuration names

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """As the port says. All of an image comes from one place."""

        async def at(registry: Registry, repository: Repository) -> ResolvedImage:
            image = await registry.resolve(replace(reference, repository=repository), access)
            return replace(image, reference=reference)

        return await self._first(reference.repository, access, at, changes=reference.digest is None)

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """As the port says."""
        origin = image.reference.repository

        async def at(registry: Registry, repository: Repository) -> tuple[CarrierKind, Sequence[Descriptor]]:
            there = replace(image, reference=replace(image.reference, repository=repository))
            kind, found = await registry.referrers(there, artifact_type, access)
            if not found and repository != origin:
                raise NotFound(f"{repository.registry} has no referrers of {image.digest}")
            return kind, found

        return await self._first(origin, access, at, changes=True)

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """As the port says. A tag that a mirror does not have says nothing, as an empty list of referrers does not."""
        return await self._first(
            repository, access, lambda registry, place: registry.tagged(place, tag, access), changes=True
        )

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """As the port says."""
        return await self._first(repository, access, lambda registry, place: registry.manifest(place, digest, access))

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """As the port says. A large blob is passed on as it comes: where a mirror fails in the midst of one, this
        ends with Unreachable, the mirror is passed over from then on, and the next try has it from the next place."""
        if limit <= _HELD_BYTES:

            async def whole(registry: Registry, place: Repository) -> Sequence[bytes]:
                return [piece async for piece in registry.blob(place, digest, limit, access)]

            for piece in await self._first(repository, access, whole):
                yield piece
            return
        async for piece in self._streamed(repository, digest, limit, access):
            yield piece

    async def _streamed(
        self, repository: Repository, digest: Digest, limit: int, access: Access
    ) -> AsyncIterator[bytes]:
        failures: list[str] = []
        failure: RegistryError | None = None
        awake = self._awake(repository, access, changes=False)
        passed_over = [one for one in self._places(repository, access, changes=False) if one not in awake]
        for place in (*awake, repository, *passed_over):
            at_mirror, begun = place is not repository, False
            try:
                async for piece in (self._mirror if at_mirror else self._origin).blob(place, digest, limit, access):
                    begun = True
                    yield piece
                return
            except RegistryError as error:
                if at_mirror:
                    self._failed(place, error, lied=begun)
                    failures.append(_noted(place, error))
                    if begun:
                        raise Unreachable(
                            f"{error.message}; that is a mirror, and the next try passes it over"
                        ) from error
                elif begun or not isinstance(error, Unreachable):
                    raise _with_notes(error, failures) from error
                else:
                    failure = error
        assert failure is not None  # the registry itself was among them
        raise _with_notes(failure, failures) from failure

    async def _first(
        self,
        repository: Repository,
        access: Access,
        work: Callable[[Registry, Repository], Awaitable[_Made]],
        *,
        changes: bool = False,
    ) -> _Made:
        """What the first place gives that does not fail; the error of the registry itself where none does.

        Args:
            changes: whether what is asked for may change, so that only mirrors with ``tags`` are asked.
        """
        failures: list[str] = []
        awake = self._awake(repository, access, changes=changes)
        for place in awake:
            try:
                return await self._at_mirror(place, work, share=len(awake))
            except RegistryError as error:
                failures.append(_noted(place, error))
        try:
            return await work(self._origin, repository)
        except RegistryError as error:
            failure = error
        if isinstance(failure, Unreachable):  # then a mirror that was passed over is better than nothing
            listed = self._places(repository, access, changes=changes)
            for place in (one for one in listed if one not in awake):
                try:
                    return await self._at_mirror(place, work, share=len(listed))
                except RegistryError as error:
                    failures.append(_noted(place, error))
        raise _with_notes(failure, failures) from failure

    async def _at_mirror(
        self, place: Repository, work: Callable[[Registry, Repository], Awaitable[_Made]], *, share: int
    ) -> _Made:
        """``work`` at one mirror, within its share of the time, so that the registry itself has the rest."""
        seconds = self._limits.flight_seconds / 2 / share
        try:
            try:
                async with asyncio.timeout(seconds):
                    return await work(self._mirror, place)
            except TimeoutError as error:
                raise Unreachable(
                    f"{place.registry} did not answer within {seconds:g} s, a mirror's share of the limit flightSeconds"
                ) from error
        except RegistryError as error:
            self._failed(place, error)
            raise

    def _places(self, repository: Repository, access: Access, *, changes: bool) -> Sequence[Repository]:
        self._hosts.require_allowed(repository.registry)  # 5
        places = [place.repository for place in self._mirrors.places(repository) if place.tags or not changes]
        if access.stranger:  # 6
            self._hosts.require_public(repository.registry)
            return [place for place in places if not self._hosts.is_private(place.registry)]
        return places

    def _awake(self, repository: Repository, access: Access, *, changes: bool) -> Sequence[Repository]:
        now = self._clock()
        listed = self._places(repository, access, changes=changes)
        return [place for place in listed if self._resting.get(place.registry, 0.0) <= now]

    def _failed(self, place: Repository, error: RegistryError, *, lied: bool = False) -> None:
        """Throttled is of one credential, and the host is left alone for that one already."""
        unreached = isinstance(error, Unreachable) and not isinstance(error, Throttled)
        if unreached or lied or isinstance(error, DigestMismatch):
            self._resting[place.registry] = self._clock() + self._limits.mirror_rest_seconds


class MirrorFingerprints:
    """A Keychain for caches alone, which ask it to tell credentials apart.

    A fact that came from a mirror was fetched with the mirror's credential, and must not be shown to who shares only
    the registry's (design rule 6). Where a repository has mirrors, what this gives therefore differs as soon as any of
    the credentials does. It is none of them, and no registry ever sees it.
    """

    def __init__(self, *, keychain: Keychain, mirrors: Mirrors) -> None:
        self._keychain = keychain
        self._mirrors = mirrors

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """As the port says, for the registry itself where there are no mirrors."""
        origin = await self._keychain.credential(repository, access)
        places = self._mirrors.places(repository)
        if not places:
            return origin
        prints = [fingerprint(origin)] + [await self._of(place.repository, access) for place in places]
        return Credential("mirrors", hashlib.sha256("\n".join(prints).encode()).hexdigest())

    async def _of(self, place: Repository, access: Access) -> str:
        try:
            return fingerprint(await self._keychain.credential(place, access))
        except RegistryError:  # of the mirror alone; who shares a fact with whom is then not known, so nobody does
            return repr(access)


def _noted(place: Repository, error: RegistryError) -> str:
    return f"the mirror {clean(place.registry, 100)} failed before ({error.reason}: {clean(error.message, _SHOWN)})"


def _with_notes(error: RegistryError, notes: Sequence[str]) -> RegistryError:
    """The registry's own error, which says in short why no mirror helped."""
    if not notes:
        return error
    message = "; ".join([error.message, *notes])
    return Throttled(message, error.retry_after) if isinstance(error, Throttled) else type(error)(message)
