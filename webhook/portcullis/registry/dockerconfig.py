"""Docker config files: ``~/.docker/config.json``, and ``.dockerconfigjson`` of a Kubernetes Secret.

Sources: github.com/docker/cli cli/config/configfile/file.go and cli/config/types/authconfig.go (the fields);
https://kubernetes.io/docs/concepts/containers/images/#config-json (paths and patterns in keys). Stricter than the
kubelet in one thing: a path in a key covers whole segments.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from portcullis.limits import Limits
from portcullis.model.image import Credential, IdentityToken, RegistryCredential, RegistryToken
from portcullis.registry.challenges import is_token
from portcullis.registry.hosts import DOCKER_HUB
from portcullis.registry.prefixes import Prefix
from portcullis.registry.watched import Unusable
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean

_DEPTH: Final = 20
"""Nesting; the format itself has three levels, other settings of docker's client a few more."""
_API_SEGMENTS: Final = frozenset({"v1", "v2"})
"""What docker's client writes behind the host of an index (``https://index.docker.io/v1/``)."""


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What a docker config says of credentials.

    Args:
        logins: those of ``auths``, in order; entries without a credential, which mark that a helper has it, are left
            out.
        helpers: name of the credential helper by host (``credHelpers``).
        store: name of the helper for all other hosts (``credsStore``), or "".
    """

    logins: tuple[tuple[Prefix, RegistryCredential], ...] = field(default=(), repr=False)
    helpers: Mapping[Prefix, str] = field(default_factory=dict)
    store: str = ""

    @property
    def names_helpers(self) -> bool:
        return bool(self.helpers or self.store)


def parse_docker_config(content: bytes, limits: Limits) -> DockerConfig:
    """Reads a docker config; keys that say nothing of credentials are passed over.

    Raises:
        Unusable: it is none, or too large; the text holds no part of a credential.
    """
    if len(content) > limits.docker_config_bytes:
        raise Unusable(f"has more bytes than the limit dockerConfigBytes of {limits.docker_config_bytes}")
    try:
        document = load_json(content, max_depth=_DEPTH)
    except StrictJsonError as error:
        raise Unusable("is nested too deep" if error.too_deep else error.problem) from None
    tree = _object(document, "it")
    auths, helpers = ({} if tree.get(key) is None else _object(tree[key], key) for key in ("auths", "credHelpers"))
    if len(auths) + len(helpers) > limits.docker_config_entries:
        raise Unusable(f"has more entries than the limit dockerConfigEntries of {limits.docker_config_entries}")
    logins = []
    for key, entry in auths.items():
        login = _login(_object(entry, _at(key)), _at(key))
        if login is not None:
            logins.append((_prefix(key), login))
    return DockerConfig(
        logins=tuple(logins),
        helpers={_prefix(key): _text(helpers, key, "credHelpers") for key in helpers},
        store=_text(tree, "credsStore", "it"),
    )


def helper_server(registry: str) -> str:
    """What credential helpers call a registry: its host, and Docker Hub by the address of its first API."""
    return "https://index.docker.io/v1/" if registry == DOCKER_HUB else registry


def _prefix(key: str) -> Prefix:
    """A key is a host, a host with a path, or a URL of either."""
    scheme, mark, rest = key.partition("://")
    registry, _, path = (rest if mark and scheme in {"http", "https"} else key).partition("/")
    segments = path.strip("/").split("/")
    if segments[0] in _API_SEGMENTS:
        del segments[0]
    return Prefix.of("/".join([registry, *segments]))


def _login(entry: Mapping[str, object], where: str) -> RegistryCredential | None:
    """The strongest of what an entry holds, in the order of docker's client (registry/auth.go of moby)."""
    if token := _text(entry, "registrytoken", where):
        if not is_token(token):
            raise Unusable(f"has a registrytoken {where} that holds characters no token has")
        return RegistryToken(token)
    if token := _text(entry, "identitytoken", where):
        return IdentityToken(token)
    username, password = _text(entry, "username", where), _text(entry, "password", where)
    if auth := _text(entry, "auth", where):
        username, password = _decoded(auth, where)
    if not username and not password:
        return None
    if ":" in username:
        raise Unusable(f"has a username {where} with a colon, which Basic cannot say")
    return Credential(username, password)


def _decoded(auth: str, where: str) -> tuple[str, str]:
    """Name and password of base64(``name:password``), padded or not as the kubelet takes it."""
    packed = "".join(auth.split())
    try:
        plain = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unusable(f"has an auth {where} that is no base64 of UTF-8") from None
    username, colon, password = plain.partition(":")
    if not colon:
        raise Unusable(f"has an auth {where} without a colon between name and password")
    return username, password.strip("\x00")  # docker's client writes no zeros, and takes them off


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Unusable(f"is no docker config: {where} is no object")
    return value


def _text(entry: Mapping[str, object], key: str, where: str) -> str:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise Unusable(f"is no docker config: {clean(key, 100)} in {where} is no text")
    return value or ""


def _at(key: str) -> str:
    return f'at "{clean(key, 100)}"'
