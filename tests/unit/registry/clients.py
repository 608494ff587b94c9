"""A client of faulty servers, for the tests beside it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from fakes.faulty import FaultyServer
from fakes.registry import AMD64, ARM64
from portcullis.errors import RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Access, Credential, Digest, ImageReference, Repository, ResolvedImage
from portcullis.ports import Registry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain

NOBODY = Access()
QUICK: dict[str, Any] = {"flight_seconds": 20.0, "backoff_seconds": 0.001}


@dataclass
class Client:
    registry: Registry
    host: str

    def reference(self, tag: str | None = "1", digest: Digest | None = None) -> ImageReference:
        return ImageReference(Repository(self.host, "acme/web"), tag, digest)

    async def resolve(self, digest: Digest | None = None) -> ResolvedImage:
        return await self.registry.resolve(self.reference("1", digest), NOBODY)

    async def failure(self) -> RegistryError:
        with pytest.raises(RegistryError) as caught:
            await self.resolve()
        return caught.value

    async def blob(self, digest: Digest, limit: int = 10**9) -> list[bytes]:
        return [piece async for piece in self.registry.blob(self.reference().repository, digest, limit, NOBODY)]


@contextlib.asynccontextmanager
async def client(
    server: FaultyServer,
    *,
    host: str = "",
    rules: HostRules | None = None,
    credential: Credential | None = None,
    **limits: Any,
) -> AsyncIterator[Client]:
    """Asks ``server`` for acme/web, by ``host`` or else its address; it is private and without TLS."""
    names = frozenset({server.host, server.name})
    host = host or server.host
    registry = HttpRegistry(
        keychain=StaticKeychain(credentials={host: credential} if credential else {}),
        hosts=rules or HostRules(insecure=names, private=names),
        platforms=(AMD64, ARM64),
        limits=Limits(**(QUICK | limits)),
    )
    try:
        yield Client(registry, host)
    finally:
        await registry.aclose()
