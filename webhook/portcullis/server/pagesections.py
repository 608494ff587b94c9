"""The part of portcullis.yaml that says where the audit pages are, and who may read them."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from portcullis.server.sectionbase import ConfigPath, Section

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_LONGEST_HOST = 260
_OWN_HEADERS = frozenset({"authorization", "cookie", "host", "origin", "content-length", "content-type"})


def _host(text: str) -> str:
    if len(text) > _LONGEST_HOST or not _HOST.fullmatch(text):
        raise ValueError("a host in lower case is expected, with or without a port: audit.example.com, [::1]:8082")
    return text


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text) or text.lower() in _OWN_HEADERS:
        raise ValueError("the name of a header is expected that HTTP does not use itself: letters, digits and dashes")
    return text


HostText = Annotated[str, AfterValidator(_host)]
HeaderName = Annotated[str, AfterValidator(_header)]
Prefix = Annotated[str, Field(max_length=200)]


class PagesTls(Section):
    """The certificate of the pages' port: files, or the webhook's."""

    webhook: bool = False
    """The certificate that ``server.tls`` has."""
    cert_file: ConfigPath | None = None
    """PEM chain, leaf first. The pair is read again when the files change."""
    key_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "PagesTls":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile go together")
        if self.webhook == (self.cert_file is not None):
            raise ValueError("either webhook: true, or certFile and keyFile")
        return self


class ProxySection(Section):
    """An authenticating proxy stands before the pages and says who reads."""

    secret_file: ConfigPath
    """What proves that the proxy asks: one line of at least 16 characters, or several, each of which counts, so that
    it can be changed without a gap. Read again when the file changes."""
    secret_header: HeaderName = "X-Portcullis-Proxy-Secret"  # noqa: S105 - a name
    """The header in which the proxy sends it."""
    user_header: HeaderName = "X-Forwarded-User"
    groups_header: HeaderName = "X-Forwarded-Groups"
    """Names of groups, with commas between them."""
    user_prefix: Prefix = ""
    """What the API server puts before names of users from that source (``--oidc-username-prefix``)."""
    groups_prefix: Prefix = ""
    readers: Literal["reviewed", "all"] = "reviewed"
    """``reviewed``: the API server says which namespaces somebody may read. ``all``: whoever the proxy lets through
    reads everything."""

    @model_validator(mode="after")
    def _different_headers(self) -> "ProxySection":
        names = {self.secret_header.lower(), self.user_header.lower(), self.groups_header.lower()}
        if len(names) < 3:
            raise ValueError("secretHeader, userHeader and groupsHeader must differ")
        return self


class TokensSection(Section):
    """Readers log in with a token of Kubernetes, made for the audience ``portcullis.dev/audit``."""

    session_key_file: ConfigPath | None = None
    """At least 32 characters by chance, by which sessions are sealed: all replicas need the same. Without it each start
    has a key of its own, and ends all sessions."""
    session_hours: Annotated[float, Field(gt=0, le=24)] = 8.0
    """How long a session lasts at most; never longer than its token."""


class PagesSection(Section):
    """The audit pages and their JSON API."""

    enabled: bool = True
    address: str = "127.0.0.1"
    """Beyond loopback it takes ``proxy`` or ``tokens``, and TLS."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8082
    """0 takes any free port; the log names it."""
    allowed_hosts: tuple[HostText, ...] = ()
    """Host headers that are answered beside localhost, 127.0.0.1 and [::1]; without a port, any port counts."""
    tls: PagesTls | None = None
    insecure: bool = False
    """Plain HTTP beyond loopback, where TLS ends in front of the gate."""
    proxy: ProxySection | None = None
    tokens: TokensSection | None = None

    @property
    def on_loopback(self) -> bool:
        """Whether only this host, and who may ``kubectl port-forward`` to it, reach the port."""
        if self.address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @property
    def reviewed(self) -> bool:
        """Whether the API server is asked about readers."""
        return self.tokens is not None or (self.proxy is not None and self.proxy.readers == "reviewed")

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> "PagesSection":
        if not self.enabled or self.on_loopback:
            return self
        if self.proxy is None and self.tokens is None:
            raise ValueError(
                f"the address {self.address} is reached by others than this host, and nothing says who may read: "
                "proxy (an authenticating proxy) or tokens (a login with a Kubernetes token) is needed"
            )
        if self.tls is None and not self.insecure:
            raise ValueError(
                f"the address {self.address} is reached over the network: tls is needed (certFile and keyFile, or "
                "webhook: true for the webhook's certificate), or insecure: true where TLS ends in front of the gate"
            )
        if not self.allowed_hosts:
            raise ValueError("allowedHosts is needed beyond loopback: the names by which readers reach the pages")
        return self
