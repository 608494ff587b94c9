"""Manifests and small blobs by digest: fetched once for all tags and indexes that name them.

What is kept under a digest was hashed by whoever fetched it. It is found only with the fingerprint of the credential
that fetched it, and under its repository (facts.py says why).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from portcullis.errors import TooLarge
from portcullis.limits import Limits
from portcullis.model.image import Access, Descriptor, Digest, Manifest, Repository
from portcullis.ports import Clock, Keychain
from portcullis.registry.caches import LARGEST_SHARE, FactCache, Key
from portcullis.registry.flights import Flights
from portcullis.registry.keychain import STRANGER, fingerprint
from portcullis.registry.resolving import Content
from portcullis.text import clean


class KnownContent:
    """The cache of facts by digest, and the fetches that fill it.

    Args:
        keychain: the one that fetches use; gives the fingerprints.
        limits: ``fact_cache_bytes``, and those of :class:`Flights`.
    """

    def __init__(self, *, keychain: Keychain, clock: Clock, limits: Limits) -> None:
        self._keychain = keychain
        self._room = limits.fact_cache_bytes
        self.facts = FactCache(limits.fact_cache_bytes)
        self.flights = Flights(clock=clock, limits=limits)

    async def aclose(self) -> None:
        """Ends every fetch that is under way."""
        await self.flights.aclose()

    async def who(self, repository: Repository, access: Access) -> str:
        """The fingerprint of the credential that is used. Raises RegistryError."""
        if access.stranger:
            return STRANGER
        return fingerprint(await self._keychain.credential(repository, access))

    def may_keep(self, size: int) -> bool:
        """Whether something of ``size`` bytes would be kept at all."""
        return size <= self._room // LARGEST_SHARE

    async def manifest(
        self,
        repository: Repository,
        digest: Digest,
        access: Access,
        fetch: Callable[[], Awaitable[Manifest]],
        *,
        apart: str = "",
        part: bool = False,
    ) -> Manifest:
        """The manifest of that digest, fetched if it is not known.

        Args:
            apart: keeps what is asked for under other rules (of a mirror, say) from what is asked for directly.
            part: see :meth:`Flights.fly`.

        Raises:
            RegistryError: that of ``fetch``.
        """
        key: Key = ("manifest", repository, digest, await self.who(repository, access), apart)
        known = self.facts.get(key, Manifest)
        if known is not None:
            return known

        async def fetched() -> Manifest:
            found = await fetch()
            self.facts.put(key, found, len(found.content))
            return found

        return await self.flights.fly(key, repository.registry, fetched, part=part, stranger=access.stranger)

    async def blob(
        self,
        repository: Repository,
        digest: Digest,
        limit: int,
        access: Access,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        apart: str = "",
        part: bool = False,
    ) -> bytes:
        """The blob of that digest, fetched if it is not known; other arguments as in :meth:`manifest`.

        Raises:
            TooLarge: it has more than ``limit`` bytes.
            RegistryError: that of ``fetch``.
        """
        key: Key = ("blob", repository, digest, await self.who(repository, access), apart)
        content = self.facts.get(key, bytes)

        async def fetched() -> bytes:
            found = await fetch()
            self.facts.put(key, found, len(found))
            return found

        if content is None:
            # The limit is part of the key: who asks with a small one must not fail who asks with a large one.
            content = await self.flights.fly(
                (*key, limit), repository.registry, fetched, part=part, stranger=access.stranger
            )
        if len(content) > limit:
            where = clean(str(repository), 300)
            raise TooLarge(f"the blob {digest} of {where} has {len(content)} bytes, more than the {limit} read")
        return content


@dataclass(frozen=True, slots=True)
class SharedContent:
    """A Content (resolving.py) over another one, which is asked for what is not known. All of it is part of the fetch
    of an image.

    Args:
        apart: as for :meth:`KnownContent.manifest`.
    """

    content: Content
    known: KnownContent
    repository: Repository
    access: Access
    apart: str = ""

    async def manifest(self, digest: Digest) -> Manifest:
        return await self.known.manifest(
            self.repository, digest, self.access, lambda: self.content.manifest(digest), apart=self.apart, part=True
        )

    async def small_blob(self, digest: Digest, limit: int, named: str) -> bytes:
        return await self.known.blob(
            self.repository,
            digest,
            limit,
            self.access,
            lambda: self.content.small_blob(digest, limit, named),
            apart=self.apart,
            part=True,
        )

    async def present(self, children: Sequence[Descriptor]) -> Sequence[Descriptor]:
        return await self.content.present(children)
