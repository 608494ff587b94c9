"""Which hosts may be asked, and how: the operator's lists.

An entry is ``host`` or ``host:port`` (IPv6 in brackets). With a port it covers that port alone; without one, every
port of the host. Names are compared whole: ``example.com`` does not cover ``registry.example.com``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from yarl import URL

from portcullis.errors import NotAllowed
from portcullis.registry.proxy import Proxies, Proxy, is_inner_name
from portcullis.text import clean

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_ALIASES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_API: Final = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class HostRules:
    """The operator's lists of hosts.

    Args:
        allowed: registries that images may come from; empty means any. Where a registry redirects to, and where
            it sends for tokens, is governed by the address rule instead.
        insecure: hosts that are spoken to in plain HTTP, and only so.
        private: hosts that may have an address that is not public: loopback, private, link-local and the like.
        ca_files: files of certificate authorities in PEM, each of which counts for that host alone.
        proxies: what leads to hosts that are not asked directly.
    """

    allowed: tuple[str, ...] = ()
    insecure: frozenset[str] = field(default_factory=frozenset)
    private: frozenset[str] = field(default_factory=frozenset)
    ca_files: Mapping[str, Path] = field(default_factory=dict)
    proxies: Proxies = field(default_factory=Proxies)

    def require_allowed(self, registry: str) -> None:
        """``registry`` is the host of an image reference, with its port.

        Raises:
            NotAllowed: the list of registries is closed and this one is not on it.
        """
        if self.allowed and not _listed(self.allowed, *split_host(registry)):
            raise NotAllowed(
                f"the registry {clean(registry, 100)} is not one of those that the operator allows "
                "(registries.allowed in the configuration)"
            )

    def require_public(self, registry: str) -> None:
        """Raises:
        NotAllowed: the registry is one of those that may have an address that is not public.
        """
        if self.is_private(registry):
            raise NotAllowed(
                f"the registry {clean(registry, 100)} may have a private address (registries.hosts), and the review "
                "did not show that it comes from the API server (cluster.caller)"
            )

    def is_private(self, registry: str) -> bool:
        """Whether the registry may have an address that is not public."""
        return self.may_be_private(self.origin(registry))

    def origin(self, registry: str) -> URL:
        """Where the API of that registry is: scheme, host and port."""
        host = api_host(registry)
        scheme = "http" if _listed(self.insecure, *split_host(host)) else "https"
        return URL(f"{scheme}://{host}", encoded=True)

    def is_insecure(self, url: URL) -> bool:
        """Whether plain HTTP is right for that URL's host and port."""
        return _listed(self.insecure, _host(url), url.port)

    def may_be_private(self, url: URL) -> bool:
        """Whether that URL's host may have an address that is not public."""
        return _listed(self.private, _host(url), url.port)

    def proxy(self, url: URL) -> Proxy | None:
        """The proxy that leads to that URL's host, None for the direct way.

        Raises:
            NotAllowed: a proxy would be asked for a host that is plainly none of the public internet, and is not
                listed as private. Which address a name has is known to the proxy alone, so that no more than the
                name can be checked here.
        """
        proxy = self.proxies.of(url)
        if proxy is not None and not self.may_be_private(url) and is_inner_name(_host(url)):
            raise NotAllowed(
                f"{clean(url.raw_host or '', 100)} is no host of the public internet, and is not configured as private "
                "(registries.hosts); the proxy is not asked for it"
            )
        return proxy


def api_host(registry: str) -> str:
    """The host that serves the API of a registry as references name it.

    Source: Docker Hub's images are named docker.io, its API is at registry-1.docker.io
    (github.com/distribution/reference normalize.go, containerd docs/hosts.md).
    """
    return _DOCKER_HUB_API if registry == DOCKER_HUB else registry


def same_origin(one: URL, other: URL) -> bool:
    """Same scheme, host and port (RFC 6454)."""
    return (one.scheme, _host(one), one.port) == (other.scheme, _host(other), other.port)


def split_host(text: str) -> tuple[str, int | None]:
    """``host[:port]`` taken apart, the host in lower case and without brackets; a port that is no number is part
    of a host that nothing equals."""
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or not (port.isascii() and port.isdecimal()):
        name, port = text, ""
    host = name.lower().removeprefix("[").removesuffix("]")
    host = DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host
    return host, int(port) if port else None


def find_host(entries: Collection[str], url: URL) -> str | None:
    """The entry that covers that URL's host and port; one with a port wins over one without."""
    found = [entry for entry in entries if _listed((entry,), _host(url), url.port)]
    return min(found, key=lambda entry: split_host(entry)[1] is None, default=None)


def _listed(entries: Collection[str], host: str, port: int | None) -> bool:
    return any(
        entry_host == host and entry_port in {None, port if port is not None else 443}
        for entry_host, entry_port in map(split_host, entries)
    )


def _host(url: URL) -> str:
    host = (url.raw_host or "").lower().removesuffix(".")
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host
