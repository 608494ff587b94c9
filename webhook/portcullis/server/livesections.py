"""The parts of portcullis.yaml that are about what changes while the gate runs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from portcullis.server.sectionbase import ConfigPath, Section

_NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_HTTP = r"^https?://[^/@\s?#]+(/[^\s#]*)?$"

NamespaceName = Annotated[str, Field(pattern=_NAMESPACE)]


class PolicyConfigMaps(Section):
    """ConfigMaps with the label ``portcullis.dev/policy: "true"``, in the gate's own namespace and in these."""

    namespaces: tuple[NamespaceName, ...] = ()
    """Namespaces beside the gate's own. Whoever may write ConfigMaps there makes policies."""


class BundleSignature(Section):
    """How OPA proves the signature of a bundle (``.signatures.json``)."""

    key_file: ConfigPath
    """The public key in PEM; for HS256, HS384 and HS512 the shared secret."""
    algorithm: Literal[
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512"
    ] = "RS256"
    key_id: Annotated[str, Field(max_length=200)] = ""
    """That the signature names; "" where it names none."""
    scope: Annotated[str, Field(max_length=200)] = ""
    """That the signature is made for; "" for none."""


class PolicyBundleSource(Section):
    """An OPA bundle that is fetched by HTTP."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    """How messages name it."""
    url: Annotated[str, Field(pattern=_HTTP)]
    """Of the ``.tar.gz``. Redirects are not followed."""
    poll_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """How often it is asked for; ETag spares the transfer."""
    ca_file: ConfigPath | None = None
    """Certificate authorities in PEM beside those of the system."""
    token_file: ConfigPath | None = None
    """A bearer token, read before each request."""
    signature: BundleSignature | None = None
    """Without it the bundle is believed as it comes, which takes https and a server that you trust."""

    @model_validator(mode="after")
    def _no_naked_secrets(self) -> "PolicyBundleSource":
        plain = self.url.startswith("http:")
        if plain and self.token_file is not None:
            raise ValueError("tokenFile needs https: the token would be readable on its way")
        if plain and self.signature is None:
            raise ValueError("a bundle by http needs a signature: anybody on the way could replace it")
        return self


class WatchSection(Section):
    """What of the cluster is watched."""

    namespaces: bool = True
    """Labels and annotations of namespaces, for policies, modes and exceptions that hang on them."""


class InventoryResource(Section):
    """A kind of object that policies see under ``data.inventory``."""

    group: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")] = ""
    """"" for the core (pods, services)."""
    version: Annotated[str, Field(pattern=r"^v[0-9]+((alpha|beta)[0-9]+)?$")] = "v1"
    resource: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    """Its name in the plural, as in RBAC: ``ingresses``."""

    @model_validator(mode="after")
    def _no_secrets(self) -> "InventoryResource":
        if (self.group, self.resource) == ("", "secrets"):
            raise ValueError("Secrets are never watched: every policy could read them")
        return self


class PullSecretsSection(Section):
    """A namespace whose pull secrets are read for its own workloads."""

    namespace: NamespaceName
    names: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")], ...] = ()
    """Of the Secrets that may be read; none means every Secret of type kubernetes.io/dockerconfigjson there."""
