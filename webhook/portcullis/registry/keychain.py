"""Credentials of registries: where they come from, and which one is for a repository."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from portcullis.errors import ConfigError, CredentialUnavailable, RegistryError, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import (
    Access,
    Anonymous,
    Credential,
    IdentityToken,
    NoPullSecret,
    RegistryCredential,
    Repository,
)
from portcullis.ports import Keychain
from portcullis.registry.dockerconfig import DockerConfig, parse_docker_config
from portcullis.registry.prefixes import Prefix, longest
from portcullis.registry.watched import UnreadableFile, Unusable, WatchedFile
from portcullis.tasks import aside, together
from portcullis.text import clean

_Value = TypeVar("_Value")

ANONYMOUS = "anonymous"
STRANGER = "stranger"
"""Who asks on nobody's behalf shares nothing, not even with others that have no credential: what is remembered would
tell him what runs here."""
_DEFAULT_ACCOUNT: Final = "default"
_NAME_CHARS: Final = 260
_SHOWN: Final = 5
"""Pull secrets that a message says something of."""


class StaticKeychain:
    """Credentials that are known from the start.

    Args:
        credentials: by ``host[:port]`` or ``host[:port]/path``, as references name them (``docker.io``,
            ``registry.example:5000/acme``); the longest that covers a repository counts. Hosts are compared whole,
            port included, and paths by whole segments: a credential never goes to a name that merely begins or ends
            alike.
    """

    def __init__(self, *, credentials: Mapping[str, RegistryCredential]) -> None:
        self._credentials = tuple((Prefix.of(place), credential) for place, credential in credentials.items())

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Who asks makes no difference. Raises nothing."""
        return longest(self._credentials, repository) or Anonymous()


class PasswordFileKeychain:
    """One credential, for whatever is asked: its password stands in a file, which is read again when it changes.

    Raises:
        ConfigError: at the start, where the file cannot be used.
    """

    def __init__(self, *, username: str, path: Path, limits: Limits) -> None:
        self._username = username
        self._file = WatchedFile(path=path, limit=limits.credential_bytes, named="credentialBytes", read=_password_line)
        _at_the_start(self._file.value)

    async def credential(self, repository: Repository, access: Access) -> Credential:  # noqa: ARG002
        """Raises CredentialUnavailable where the file cannot be used any more."""
        return Credential(self._username, _later(self._file.value))


class DockerConfigKeychain:
    """The logins of a docker config file, which is read again when it changes. Its credential helpers are not run.

    Raises:
        ConfigError: at the start, where the file cannot be used, or names helpers: whoever relies on them would
            wait in vain.
    """

    def __init__(self, *, path: Path, limits: Limits) -> None:
        self._file = watched_docker_config(path, limits)
        if _at_the_start(self._file.value).names_helpers:
            raise ConfigError(
                f"{path} names credential helpers (credHelpers, credsStore), which only commands run; "
                "write the login into auths, or configure a provider"
            )

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Raises CredentialUnavailable where the file cannot be used any more."""
        return longest(_later(self._file.value).logins, repository) or Anonymous()


class PullSecrets(Protocol):
    """Reads pull secrets of a cluster. Raises CredentialUnavailable where the cluster does not answer."""

    def unread(self, namespace: str) -> str:
        """Why the pull secrets of that namespace are not read at all, as a clause for people; "" where they are. Only
        then the others are asked."""
        ...

    async def secret(self, namespace: str, name: str) -> bytes | NoPullSecret:
        """``.dockerconfigjson`` of a Secret of type kubernetes.io/dockerconfigjson, or what an older one says in that
        form."""
        ...

    async def of_service_account(self, namespace: str, name: str) -> Sequence[str]:
        """Names of ``imagePullSecrets`` of a service account, none where it does not exist."""
        ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What pull secrets have for a repository; ``why`` says where that comes from, or why there is nothing."""

    credential: RegistryCredential | Anonymous
    why: str


class PullSecretKeychain:
    """The pull secrets of the workload, as its node will use them.

    Which ones: those of the pod; where it names none, those of its service account (the admission plug-in
    ServiceAccount does the same when the pod is made), which is ``default`` where it names none. Only Secrets of the
    namespace that asks are read, so that no tenant is served with the credential of another (design rule 6).

    As the kubelet does, a Secret that is not there or holds no docker config is passed over: the image may be public.
    The kubelet tries all logins that fit one after the other; here the longest prefix counts, and of two equals that
    of the Secret that is named first.
    """

    def __init__(self, *, secrets: PullSecrets, limits: Limits) -> None:
        self._secrets = secrets
        self._limits = limits

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """Raises:
        CredentialUnavailable: the cluster does not answer.
        TooLarge: more pull secrets than the limit pullSecrets.
        """
        return (await self._look(repository, access)).credential

    async def explain(self, repository: Repository, access: Access) -> str:
        """Which pull secret was used, or why none was: a clause for whoever asks, who may read it as he named them.
        "" where there is nothing to say. Raises nothing."""
        try:
            return (await self._look(repository, access)).why
        except RegistryError as error:
            return error.message

    async def _look(self, repository: Repository, access: Access) -> _Look:
        if access.stranger or not access.namespace:
            return _Look(Anonymous(), "")
        if unread := self._secrets.unread(access.namespace):
            return _Look(Anonymous(), unread)
        names, of_whom = await self._names(access)
        if not names:
            return _Look(Anonymous(), f"{of_whom} names no pull secret")
        if len(names) > self._limits.pull_secrets:
            raise TooLarge(
                f"the workload names {len(names)} pull secrets, more than the limit pullSecrets of "
                f"{self._limits.pull_secrets}"
            )
        read = await together(names, lambda name: self._read(access.namespace, name))
        logins = [
            (prefix, (name, login))
            for name, found in zip(names, read, strict=True)
            if isinstance(found, DockerConfig)
            for prefix, login in found.logins
        ]
        if (used := longest(logins, repository)) is not None:
            return _Look(used[1], f'the login of the pull secret "{clean(used[0], _NAME_CHARS)}" was used')
        missing = [found.why for found in read if isinstance(found, NoPullSecret)]
        if len(missing) < len(names):
            missing.append(f"no pull secret of {of_whom} has a login for {clean(repository.registry, 100)}")
        return _Look(Anonymous(), "; ".join(missing[:_SHOWN]) + ("; …" if len(missing) > _SHOWN else ""))

    async def _names(self, access: Access) -> tuple[Sequence[str], str]:
        """The pull secrets that count, each once, and whose they are."""
        if access.pull_secrets:
            return tuple(dict.fromkeys(access.pull_secrets)), "the pod"
        account = access.service_account or _DEFAULT_ACCOUNT
        names = await self._secrets.of_service_account(access.namespace, account)
        return tuple(dict.fromkeys(names)), f"the service account {clean(account, _NAME_CHARS)}"

    async def _read(self, namespace: str, name: str) -> DockerConfig | NoPullSecret:
        content = await self._secrets.secret(namespace, name)
        if isinstance(content, NoPullSecret):
            return content
        try:
            return await aside(len(content), lambda: parse_docker_config(content, self._limits))
        except Unusable as error:
            return NoPullSecret(f'the Secret "{clean(name, _NAME_CHARS)}" {error.problem}')


class PrefixKeychain:
    """Keychains by what they are for: the one with the longest prefix is asked, and no other."""

    def __init__(self, *, keychains: Sequence[tuple[Prefix, Keychain]]) -> None:
        self._keychains = tuple(keychains)

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """As the port says."""
        keychain = longest(self._keychains, repository)
        return Anonymous() if keychain is None else await keychain.credential(repository, access)


class FirstKeychain:
    """Several keychains in order: the first that has a credential counts. One that fails ends the search, so that
    an outage never shows as the credential of somebody else. For a stranger none of them is asked."""

    def __init__(self, *, keychains: Sequence[Keychain]) -> None:
        self._keychains = tuple(keychains)

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """As the port says."""
        if access.stranger:
            return Anonymous()
        for keychain in self._keychains:
            found = await keychain.credential(repository, access)
            if not isinstance(found, Anonymous):
                return found
        return Anonymous()


def fingerprint(credential: RegistryCredential | Anonymous) -> str:
    """Tells credentials apart in cache keys without holding them (design rule 6)."""
    if isinstance(credential, Anonymous):
        return ANONYMOUS
    if isinstance(credential, Credential):
        secret = f"{len(credential.username)}:{credential.username}{credential.password}"
    else:  # no length begins with a letter
        secret = f"{'identity' if isinstance(credential, IdentityToken) else 'registry'}:{credential.token}"
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def watched_docker_config(path: Path, limits: Limits) -> WatchedFile[DockerConfig]:
    """The docker config at ``path`` as it is now."""
    return WatchedFile(
        path=path,
        limit=limits.docker_config_bytes,
        named="dockerConfigBytes",
        read=lambda content: parse_docker_config(content, limits),
    )


def _password_line(content: bytes) -> str:
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Unusable("is no text") from None
    if not password:
        raise Unusable("is empty")
    return password


def _at_the_start(read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except UnreadableFile as error:
        raise ConfigError(error.problem) from None


def _later(read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except UnreadableFile as error:
        raise CredentialUnavailable(f"the credential cannot be read: {error.problem}") from None
