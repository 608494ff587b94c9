"""What commands that ask registries need of the gate, without its policies: no OPA is started for it."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from portcullis.cli.ondisk import is_on_disk
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.image import ImageReference
from portcullis.ports import Registry
from portcullis.reference.parse import parse_reference
from portcullis.registry.http import HttpRegistry
from portcullis.registry.mirrors import MirroringRegistry
from portcullis.registry.push import Pusher
from portcullis.server.clock import SystemClock
from portcullis.server.credentials import open_keychain
from portcullis.server.network import host_rules_of, mirrors_of
from portcullis.server.platforms import configured_platforms
from portcullis.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Clients:
    """Ways to read from registries and to write to them, under the configuration's rules and credentials.

    ``registry`` asks mirrors first, as the gate does; ``origin`` does not: for what is then written there.
    """

    settings: Settings
    limits: Limits
    clock: SystemClock
    registry: Registry
    origin: Registry
    pusher: Pusher

    def parse(self, text: str) -> ImageReference:
        """Raises InvalidReference."""
        return parse_reference(text, default_registry=self.settings.registries.default, limits=self.limits)


@asynccontextmanager
async def open_clients(settings: Settings, *, environ: Mapping[str, str] | None = None) -> AsyncIterator[Clients]:
    """The clients of the user who runs the command: the docker config of the user counts beside the configuration.

    Args:
        environ: of the user; None: that of the process.

    Raises:
        ConfigError: a credential cannot be read.
    """
    limits = settings.bounds()
    hosts = host_rules_of(settings)
    platforms = configured_platforms(settings)
    async with AsyncExitStack() as stack:
        user = os.environ if environ is None else environ
        keychain = await stack.enter_async_context(open_keychain(settings, hosts=hosts, user=user))
        http = HttpRegistry(keychain=keychain, hosts=hosts, platforms=platforms, limits=limits)
        stack.push_async_callback(http.aclose)
        mirrors = mirrors_of(settings)
        registry = MirroringRegistry(
            origin=http, mirror=http.for_mirrors(), mirrors=mirrors, hosts=hosts, limits=limits
        )
        pusher = Pusher(keychain=keychain, hosts=hosts, limits=limits)
        stack.push_async_callback(pusher.aclose)
        yield Clients(settings, limits, SystemClock(), registry, http, pusher)


def require_image_name(text: str) -> None:
    """Refuses images on disk by a word of their own, for commands that need a registry.

    Raises:
        ConfigError: ``text`` names a folder or an archive.
    """
    if is_on_disk(text):
        place = text.partition(":")[0]
        raise ConfigError(f"{place} is no registry, which is needed here\ngive an image in one: registry/name:tag")
