"""The sections of portcullis.yaml. Every model is strict, closed and frozen; keys are in camel case."""

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)

from portcullis.errors import InvalidReference
from portcullis.limits import Limits
from portcullis.model.image import Platform
from portcullis.model.ruling import Mode
from portcullis.reference.parse import parse_registry
from portcullis.server.livesections import PolicyBundleSource, PolicyConfigMaps
from portcullis.server.scoping import OverrideSection
from portcullis.server.sectionbase import OBJECT_NAME, ConfigPath, Section
from portcullis.server.segments import SEGMENT

_PATH = re.compile(r"[a-z0-9._-]+(/[a-z0-9._-]+)*")
_PLATFORM = re.compile(r"[a-z0-9]+(/[a-z0-9_.-]+){1,2}")


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class SelfManaged(Section):
    """The webhook makes its own CA and certificate, and renews both."""

    directory: ConfigPath | None = None
    """Where they are kept; ``ca.crt`` in it is what clients trust."""
    secret: Annotated[str, Field(pattern=OBJECT_NAME)] = ""
    """In a cluster: the Secret of the pod's namespace in which replicas keep them together."""
    names: tuple[str, ...] = ()
    """DNS names and addresses beside localhost and the address that is served."""
    ca_days: Annotated[int, Field(ge=2, le=3650)] = 365
    """How long a CA holds; the next one is made when a third of that is left."""
    leaf_days: Annotated[int, Field(ge=1, le=825)] = 90
    """How long a certificate holds; it is renewed when a third of that is left."""

    @model_validator(mode="after")
    def _one_place(self) -> "SelfManaged":
        if (self.directory is None) == (not self.secret):
            raise ValueError("either directory or secret")
        if self.leaf_days >= self.ca_days:
            raise ValueError("leafDays is less than caDays")
        return self


class Tls(Section):
    """The webhook's certificate: files, or self-managed."""

    cert_file: ConfigPath | None = None
    """PEM chain, leaf first. The pair is read again when the files change."""
    key_file: ConfigPath | None = None
    ca_file: ConfigPath | None = None
    """In a cluster: who signed it, in PEM, which the gate writes into the webhook configuration. Without it somebody
    else does."""
    self_managed: SelfManaged | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Tls":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile go together")
        if self.cert_file is not None and self.self_managed is not None:
            raise ValueError("either certFile and keyFile, or selfManaged")
        if self.ca_file is not None and self.cert_file is None:
            raise ValueError("caFile goes with certFile")
        return self

    @property
    def configured(self) -> bool:
        return self.cert_file is not None or self.self_managed is not None


class Server(Section):
    """The webhook and its health port."""

    address: str = "127.0.0.1"
    port: Port = 8443
    """0 takes any free port; the log names it."""
    path_segment: SecretStr = SecretStr("")
    """An unguessable word: reviews that come to /<segment>/validate are recorded as ``caller: path``."""
    health_address: str = "127.0.0.1"
    health_port: Port = 8081
    tls: Tls = Tls()
    stop_delay_seconds: Seconds = 5.0
    """After SIGTERM: how long requests are still accepted while readiness is off already, so that the cluster can
    take the pod out of the service. Ctrl-C does not wait."""
    drain_seconds: Annotated[int, Field(ge=1, le=3600)] = 20
    """How long requests in flight may take after that."""

    @field_validator("path_segment")
    @classmethod
    def _unguessable(cls, segment: SecretStr) -> SecretStr:
        text = segment.get_secret_value()
        if text and not SEGMENT.fullmatch(text):
            raise ValueError("16 to 128 letters, digits, '-' or '_' are expected")
        return segment


class Host(Section):
    """One registry host, ``host[:port]``."""

    insecure: bool = False
    """Plain HTTP is allowed."""
    private: bool = False
    """Private, loopback and link-local addresses are allowed."""
    ca_file: ConfigPath | None = None
    """Certificate authorities in PEM that are believed for this host beside those of the system; read again when the
    file changes."""
    username: str = ""
    password_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _whole_credential(self) -> "Host":
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and passwordFile go together")
        return self


def _repositories(text: str) -> str:
    registry, _, path = text.partition("/")
    try:
        parse_registry(registry)
    except InvalidReference as error:
        raise ValueError(error.message) from None
    if path and not _PATH.fullmatch(path):
        raise ValueError("host, host:port or either with the first segments of a path is expected: r.example/acme")
    return text


class CredentialSource(Section):
    """One source of credentials: a user name with a password file, a docker config, or a cloud."""

    match: Annotated[str, AfterValidator(_repositories)] = ""
    """What it is for: ``host[:port]``, or that with whole first segments of a path (``registry.example/acme``)."""
    username: str = ""
    password_file: ConfigPath | None = None
    docker_config: ConfigPath | None = None
    """A file as ``docker login`` writes it, or ``.dockerconfigjson`` of a Secret; it says itself what it is for."""
    provider: Literal["ecr", "gcp", "acr"] | None = None
    """Amazon ECR, Google Artifact Registry, Azure Container Registry: with the identity of the program's surroundings.
    Without ``match`` for all of that cloud's hosts."""
    key_file: ConfigPath | None = None
    """For gcp: the key of a service account (JSON) in place of that identity."""

    @model_validator(mode="after")
    def _one_source(self) -> "CredentialSource":
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and passwordFile go together")
        if sum((bool(self.username), self.docker_config is not None, self.provider is not None)) != 1:
            raise ValueError("either username and passwordFile, or dockerConfig, or provider")
        if self.username and not self.match:
            raise ValueError("match says what the credential is for")
        if self.docker_config is not None and self.match:
            raise ValueError("dockerConfig has no match: the file says what its logins are for")
        if self.key_file is not None and self.provider != "gcp":
            raise ValueError("keyFile goes with the provider gcp")
        return self


class MirrorEndpoint(Section):
    """One mirror."""

    endpoint: Annotated[str, AfterValidator(_repositories)]
    """``host[:port]``, or that with a path."""
    tags: bool = True
    """Whether it decides what a tag means; without, it is asked by digest only."""


class ProxySection(Section):
    """The proxy that leads to registries. Where this section stands, the environment's variables do not count."""

    https: str = ""
    """Proxy for hosts with TLS: ``http://host:port``."""
    http: str = ""
    """Proxy for insecure hosts."""
    no_proxy: tuple[str, ...] = ()
    """Asked directly: ``host``, which takes in its subdomains, ``.host`` for these alone, an address, a network, or
    ``*``."""
    username: str = ""
    password_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _whole_credential(self) -> "ProxySection":
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and passwordFile go together")
        return self


class Registries(Section):
    """Which registries may be asked, and as whom."""

    default: str = "docker.io"
    """The registry of images that name none."""
    allowed: tuple[str, ...] = ()
    """The only hosts that may be asked; empty means any public address."""
    stale_seconds: Annotated[float, Field(ge=0, le=604_800)] = 0.0
    """How old a tag's digest and a list of attestations may be that are used while the registry cannot be reached or
    throttles. 0: they are not used."""
    hosts: dict[str, Host] = Field(default_factory=dict)
    mirrors: dict[
        Annotated[str, AfterValidator(_repositories)],
        tuple[Annotated[str, AfterValidator(_repositories)] | MirrorEndpoint, ...],
    ] = Field(default_factory=dict)
    """Where images are looked for first, in order: by registry, or by registry and first segments of a path."""
    proxy: ProxySection | None = None
    credentials: tuple[CredentialSource, ...] = ()
    """Credentials beside those of ``hosts``. The longest match wins; those without one come after all that have one,
    in order."""

    @property
    def mirror_endpoints(self) -> dict[str, tuple[MirrorEndpoint, ...]]:
        """``mirrors``, each written out."""
        return {
            prefix: tuple(MirrorEndpoint(endpoint=one) if isinstance(one, str) else one for one in listed)
            for prefix, listed in self.mirrors.items()
        }

    @field_validator("default")
    @classmethod
    def _host(cls, default: str) -> str:
        try:
            parse_registry(default)
        except InvalidReference as error:
            raise ValueError(error.message) from None
        return default


def _distinct_names(bundles: tuple[PolicyBundleSource, ...]) -> tuple[PolicyBundleSource, ...]:
    names = [bundle.name for bundle in bundles]
    if double := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"there are two bundles named {double}")
    return bundles


class Policies(Section):
    """Which policies there are, and what each does."""

    folders: tuple[ConfigPath, ...] = ()
    """Folders of policies beside the built-in ones."""
    config_maps: PolicyConfigMaps | None = None
    """In a cluster: policies in ConfigMaps, watched."""
    bundles: Annotated[tuple[PolicyBundleSource, ...], AfterValidator(_distinct_names)] = ()
    """OPA bundles by HTTP."""
    reload_seconds: Seconds = 5.0
    """How often the folders are looked at; 0: only at the start."""
    builtin: bool = True
    profile: Annotated[str, Field(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$")] = ""
    """A list of built-in policies with their modes: baseline, restricted or python-service. Of the built-in policies
    only those count then, and those of ``enabled``; ``modes`` and ``parameters`` go before what the profile says."""
    enabled: tuple[str, ...] = ()
    """Names of the policies that count; empty means all."""
    modes: dict[str, Mode] = Field(default_factory=dict)
    """Mode by policy name, ``*`` for every policy."""
    namespaces: dict[str, dict[str, Mode]] = Field(default_factory=dict)
    """The same by namespace, which wins."""
    overrides: tuple[OverrideSection, ...] = ()
    """Modes and parameters for namespaces by glob and label; the first that says something of a policy counts.
    ``namespaces`` goes before them, ``modes`` and ``parameters`` after."""
    parameters: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Settings by policy name; each policy's page says which it knows."""


_OPA_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}|unix:///.+")
_LOOPBACK = re.compile(r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\]):[0-9]+")


class Opa(Section):
    """The policy engine: one that the webhook starts and watches, or one at an address."""

    binary: ConfigPath | None = None
    """The opa program; without it, the one on PATH. Needed with an address too: policies are checked here."""
    address: str = ""
    """``https://host:port``, ``http://127.0.0.1:port`` or ``unix:///path`` of an OPA of others; it is believed."""
    insecure: bool = False
    """Plain HTTP to another machine is allowed: whoever stands between can answer for OPA."""
    token_file: ConfigPath | None = None
    """A bearer token for it, read again as it changes."""
    ca_file: ConfigPath | None = None
    """The authorities in PEM that its certificate is believed for, and no others."""

    @model_validator(mode="after")
    def _reachable(self) -> "Opa":
        if not self.address:
            if self.insecure or self.token_file is not None or self.ca_file is not None:
                raise ValueError("insecure, tokenFile and caFile are for the OPA at an address")
            return self
        if not _OPA_ADDRESS.fullmatch(self.address):
            raise ValueError("address: https://host:port, http://127.0.0.1:port or unix:///path is expected")
        if self.address.startswith("http:") and not self.insecure and not _LOOPBACK.fullmatch(self.address):
            raise ValueError("address: plain HTTP to another machine needs insecure: true")
        if self.ca_file is not None and not self.address.startswith("https:"):
            raise ValueError("caFile is for https")
        return self


class Inspection(Section):
    """The look into the layers of images."""

    enabled: bool = True
    """Without it, policies that need the contents of images are undecided, and so is the user of an image that names
    it."""
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that read layers, and so layers that are read at once. Each takes a processor while it reads."""
    catalogue: tuple[ConfigPath, ...] = ()
    """Files of rules beside the built-in catalogue of what is looked for; a rule of the same id replaces that one."""


def _platform(text: str) -> str:
    if not _PLATFORM.fullmatch(text):
        raise ValueError("os/architecture or os/architecture/variant is expected, such as linux/arm64")
    return text


PlatformText = Annotated[str, AfterValidator(_platform)]


def platform_of(text: str) -> Platform:
    """The platform of a validated ``os/architecture[/variant]``."""
    return Platform(*text.split("/"))


class LimitsSection(Section):
    """Every bound of limits.py under its name in camel case."""

    def bounds(self) -> Limits:
        return Limits(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Limits)})


def _limits_model() -> type[LimitsSection]:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(Limits):
        assert isinstance(field.type, type)
        fields[field.name] = (Annotated[field.type, Field(gt=0)], field.default)
    return create_model("Limits", __base__=LimitsSection, __doc__=LimitsSection.__doc__, **fields)


LimitsModel = _limits_model()
