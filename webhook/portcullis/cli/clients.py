"""What commands that ask registries need of the gate, without its policies: no OPA is started for it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.image import ImageReference
from portcullis.reference.parse import parse_reference
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher
from portcullis.server.clock import SystemClock
from portcullis.server.compose import credentials_of, host_rules_of
from portcullis.server.sections import platform_of
from portcullis.server.settings import Settings

# Places that later versions read images from; a reference never begins so.
_NOT_YET = ("oci-layout:", "docker-archive:")


@dataclass(frozen=True, slots=True)
class Clients:
    """Ways to read from registries and to write to them, under the configuration's rules and credentials."""

    settings: Settings
    limits: Limits
    clock: SystemClock
    registry: HttpRegistry
    pusher: Pusher

    def parse(self, text: str) -> ImageReference:
        """Raises InvalidReference."""
        return parse_reference(text, default_registry=self.settings.registries.default, limits=self.limits)


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    """Raises ConfigError where a credential cannot be read."""
    limits = settings.bounds()
    keychain = StaticKeychain(credentials=credentials_of(settings))
    hosts = host_rules_of(settings)
    platforms = tuple(platform_of(text) for text in settings.platforms)
    async with AsyncExitStack() as stack:
        registry = HttpRegistry(keychain=keychain, hosts=hosts, platforms=platforms, limits=limits)
        stack.push_async_callback(registry.aclose)
        pusher = Pusher(keychain=keychain, hosts=hosts, limits=limits)
        stack.push_async_callback(pusher.aclose)
        yield Clients(settings, limits, SystemClock(), registry, pusher)


def require_image_name(text: str) -> None:
    """Refuses images on disk by a word of their own.

    Raises:
        ConfigError: ``text`` names a folder or an archive.
    """
    if text.startswith(_NOT_YET):
        place = text.partition(":")[0]
        raise ConfigError(f"{place} is not read by this version\ngive an image in a registry: registry/name:tag")
