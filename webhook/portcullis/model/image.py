"""Images: references, digests, and what a registry says of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
"""A digest that is read, whoever wrote it (image-spec descriptor.md, "Registered algorithms")."""


class Digest(str):
    """A digest such as ``sha256:<64 hex>``. Made by :func:`portcullis.reference.parse.parse_digest` or from
    hashing; a str, so that it compares, hashes and serialises as what it is."""

    __slots__ = ()

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """``registry`` is the host with its port (``docker.io``, ``[::1]:5000``); ``path`` the repository in it."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A normalised reference: two spellings of one image are equal, whatever was written.

    ``tag`` is ``latest`` where neither tag nor digest was written; None where only a digest was.
    With both, the digest decides what runs and the tag is kept for people.
    """

    repository: Repository
    tag: str | None
    digest: Digest | None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.repository}{tag}{digest}"

    @property
    def pinned(self) -> bool:
        return self.digest is not None


@dataclass(frozen=True, slots=True)
class Access:
    """On whose behalf a registry is asked; part of every cache key that is not a digest (design rule 6).

    ``stranger``: on nobody's (design rule 13). No credential is used, no host with a private address is asked, nothing
    is shared with others, and no work goes on for long.
    """

    namespace: str = ""
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """Name and password (RFC 7617): for a registry, or for its token endpoint."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A refresh token (``identitytoken`` of a docker config): the registry's token endpoint gives access tokens for it
    (https://distribution.github.io/distribution/spec/auth/oauth/)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegistryToken:
    """An access token (``registrytoken`` of a docker config): it is shown to the registry as it is."""

    token: str = field(repr=False)


RegistryCredential = Credential | IdentityToken | RegistryToken
"""What proves to a registry who asks."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credential is configured for that repository."""


@dataclass(frozen=True, slots=True)
class NoPullSecret:
    """A pull secret that gives nothing. ``why`` is a clause for people that names it, and holds no part of it."""

    why: str


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def fits(self, other: "Platform") -> bool:
        """Whether two spellings may mean one platform: the variant is often left out."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (self.variant == other.variant or not self.variant or not other.variant)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """OCI content descriptor (image-spec descriptor.md). ``size`` in bytes."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str = ""
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as fetched: ``content`` hashes to ``digest``."""

    media_type: str
    digest: Digest
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    created_by: str
    empty_layer: bool


@dataclass(frozen=True, slots=True)
class BuildStep:
    """A line of the history as an instruction of a Dockerfile, as far as it can be told.

    Args:
        created_by: the line as the builder wrote it.
        empty_layer: it made no layer.
        instruction: ``RUN``, ``COPY`` and so on; "" where the line is of no known form.
        arguments: what follows it.
        layer_index: the layer that it made, counted from 0; None where it made none, or the history does not fit
            the layers.
    """

    created_by: str
    empty_layer: bool
    instruction: str = ""
    arguments: str = ""
    layer_index: int | None = None


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Image configuration (image-spec config.md). ``user`` is the text of USER, "" where unset; environment
    variables by name only."""

    user: str
    created: datetime | None
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    working_dir: str
    env_names: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    volumes: tuple[str, ...]
    labels: Mapping[str, str]
    healthcheck: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    diff_ids: tuple[Digest, ...] = ()
    """Digests of the layers' tars, in order (``rootfs.diff_ids``)."""


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """One platform's image: its manifest's digest, its configuration, its layers in order."""

    platform: Platform
    digest: Digest
    config_digest: Digest
    config: ImageConfig
    layers: tuple[Descriptor, ...]

    @property
    def compressed_bytes(self) -> int:
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """What a reference names now. ``digest`` is that of the index or, without one, of the manifest: it is what
    a kubelet pulls, what attestations are looked up for and what a pin pins."""

    reference: ImageReference
    digest: Digest
    media_type: str
    is_index: bool
    platforms: tuple[PlatformImage, ...]
    stale_since: datetime | None = None
    """When the tag was last seen to name this digest, where that could not be confirmed now; None where it was."""


class UserSource(StrEnum):
    """Where the user of an image or container comes from."""

    CONTAINER = "container"
    POD = "pod"
    IMAGE = "image"
    NUMERIC = "numeric"
    PASSWD = "passwd"  # noqa: S105 - the file /etc/passwd
    UNSET = "unset"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class ImageUser:
    """The USER of an image. ``root`` is None where it cannot be known: policies see "unknown"."""

    raw: str
    uid: int | None
    gid: int | None
    name: str
    source: UserSource
    root: bool | None


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """The user that a container's first process gets, the security contexts and the image considered."""

    uid: int | None
    gid: int | None
    name: str
    source: UserSource
    root: bool | None
    run_as_non_root: bool | None
    """What runAsNonRoot says (container over pod); None where neither says anything."""
