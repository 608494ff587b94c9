"""The keychain of the configuration: every source of credentials that it names, in their order."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.ports import Keychain
from portcullis.registry.helpers import UserKeychain
from portcullis.registry.hosts import HostRules
from portcullis.registry.keychain import (
    DockerConfigKeychain,
    FirstKeychain,
    PasswordFileKeychain,
    PrefixKeychain,
    watched_docker_config,
)
from portcullis.registry.prefixes import Prefix
from portcullis.registry.providers.acr import AcrKeychain
from portcullis.registry.providers.ecr import EcrKeychain
from portcullis.registry.providers.gcp import GcpKeychain
from portcullis.registry.watched import UnreadableFile
from portcullis.server.sections import CredentialSource
from portcullis.server.settings import Settings


@asynccontextmanager
async def open_keychain(
    settings: Settings,
    *,
    hosts: HostRules,
    user: Mapping[str, str] | None = None,
    pull_secrets: Keychain | None = None,
) -> AsyncIterator[Keychain]:
    """The credentials of ``registries.hosts`` and ``registries.credentials``.

    1. The pull secrets of the workload come before all others, as for the kubelet, which tries them before those of its
       node. A registry may show each account other images under one name: what is judged is to be what the node pulls.
       And what one tenant's credential fetched is kept for that one alone.
    2. Then what has a ``match``, the longest before the others; then the sources without one, in order. They are what
       the nodes have by themselves, or what the gate has in their place: every namespace is judged with them.
    3. Then the docker config of the user.

    Source for the order: pkg/credentialprovider/secrets/secrets.go of Kubernetes (MakeDockerKeyring).

    Args:
        user: the environment of who runs a command: the user's own docker config counts too, and credential helpers
            may run. None in the server, which runs none.
        pull_secrets: those of workloads; None outside of a cluster.

    Raises:
        ConfigError: a file cannot be used, an extra is not installed, or two sources are for the same.
    """
    limits = settings.bounds()
    async with AsyncExitStack() as stack:
        builder = _Builder(hosts=hosts, limits=limits, user=user, stack=stack)
        matched: dict[Prefix, Keychain] = {}
        others: list[Keychain] = []

        def add(match: str, keychain: Keychain, key: str) -> None:
            prefix = Prefix.of(match)
            if prefix in matched:
                raise ConfigError(f"{key}: there is another credential for {match}")
            matched[prefix] = keychain

        for host, section in settings.registries.hosts.items():
            if section.password_file is not None:
                key = f"registries.hosts.{host}.passwordFile"
                add(host, builder.password(section.username, section.password_file, key), key)
        for at, source in enumerate(settings.registries.credentials):
            key = f"registries.credentials.{at}"
            keychain = builder.keychain(source, key)
            if source.match:
                add(source.match, keychain, f"{key}.match")
            else:
                others.append(keychain)
        if user is not None and (path := _user_config(user)) is not None:
            others.append(builder.user_config(path, user))
        first = [pull_secrets] if pull_secrets is not None else []
        yield FirstKeychain(keychains=[*first, PrefixKeychain(keychains=list(matched.items())), *others])


class _Builder:
    """Makes keychains that are closed with ``stack``."""

    def __init__(
        self, *, hosts: HostRules, limits: Limits, user: Mapping[str, str] | None, stack: AsyncExitStack
    ) -> None:
        self._hosts = hosts
        self._limits = limits
        self._user = user
        self._stack = stack

    def password(self, username: str, path: Path, key: str) -> Keychain:
        try:
            return PasswordFileKeychain(username=username, path=path, limits=self._limits)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error.message}") from None

    def user_config(self, path: Path, environ: Mapping[str, str]) -> Keychain:
        keychain = UserKeychain(path=path, environ=environ, limits=self._limits)
        self._stack.push_async_callback(keychain.aclose)
        return keychain

    def keychain(self, source: CredentialSource, key: str) -> Keychain:
        """Raises ConfigError that names ``key``."""
        if source.password_file is not None:
            return self.password(source.username, source.password_file, f"{key}.passwordFile")
        if source.docker_config is not None:
            return self._docker_config(source.docker_config, f"{key}.dockerConfig")
        try:
            return self._provider(source)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error.message}") from None

    def _docker_config(self, path: Path, key: str) -> Keychain:
        """One that the configuration names must be there, unlike that of the user."""
        try:
            if self._user is None:
                return DockerConfigKeychain(path=path, limits=self._limits)
            watched_docker_config(path, self._limits).value()
        except (ConfigError, UnreadableFile) as error:
            raise ConfigError(f"{key}: {error}") from None
        return self.user_config(path, self._user)

    def _provider(self, source: CredentialSource) -> Keychain:
        keychain: EcrKeychain | GcpKeychain | AcrKeychain
        match source.provider:
            case "ecr":
                keychain = EcrKeychain(limits=self._limits)
            case "gcp":
                keychain = GcpKeychain(limits=self._limits, key_file=source.key_file)
            case _:
                keychain = AcrKeychain(hosts=self._hosts, limits=self._limits)
        if source.match and not keychain.covers(source.match.partition("/")[0]):
            raise ConfigError(f"{source.match} is no registry of the provider {source.provider}")
        self._stack.push_async_callback(keychain.aclose)
        return keychain


def _user_config(environ: Mapping[str, str]) -> Path | None:
    """Where docker's client keeps its configuration; None where the user has no home.
    Source: https://docs.docker.com/reference/cli/docker/#environment-variables"""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder) / "config.json"
    home = environ.get("HOME")
    return Path(home) / ".docker" / "config.json" if home else None
