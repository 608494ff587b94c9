"""The proxy on the way to a registry: that of the configuration, else that of the environment.

``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``, in upper case first, are read as programs in Go read them, because
kubelets and container runtimes are set up by the same variables
(https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config).
"""

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from portcullis.errors import ConfigError
from portcullis.registry.addresses import is_public

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_INNER: Final = ("localhost", "local", "internal")
"""Last labels of names that never mean a host of the public internet (RFC 6761, RFC 6762, ICANN for .internal)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. ``url`` holds no credential; ``authorization`` is the header Proxy-Authorization, "" for none."""

    url: URL
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Which proxy leads to which host.

    Args:
        https, http: by the scheme of what is asked for.
        exempt: entries of NO_PROXY: ``*``, a name (its subdomains, too), ``.name`` (only those), an address, or a
            network; each may have a port, but for networks. Loopback is always exempt.
    """

    https: Proxy | None = None
    http: Proxy | None = None
    exempt: tuple[str, ...] = ()

    def of(self, url: URL) -> Proxy | None:
        """The proxy for that URL, None for the direct way."""
        proxy = self.https if url.scheme == "https" else self.http
        return None if proxy is None or self._is_exempt(url) else proxy

    def _is_exempt(self, url: URL) -> bool:
        host = (url.raw_host or "").lower().removesuffix(".")
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_covers(entry, host, address, url.port) for entry in self.exempt)


def parse_proxy(text: str, where: str) -> Proxy:
    """``http://[user:password@]host[:port]``; ``http://`` may be left out, ``https://`` is possible.

    Raises:
        ConfigError: it is no such address. The message names ``where`` it stands and not the text, which may hold a
            password.
    """
    try:
        url = URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in {"http", "https"} and bool(url.raw_host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{where} is no address of a proxy: http://host:port is expected")
    authorization = ""
    if url.user is not None:
        authorization = _basic(url.user, url.password or "")
    return Proxy(url.with_user(None).origin(), authorization)


def with_credential(proxy: Proxy, username: str, password: str) -> Proxy:
    """The same proxy, asked as that user."""
    return Proxy(proxy.url, _basic(username, password))


def environment_proxies(environment: Mapping[str, str]) -> Proxies:
    """As the environment says.

    Raises:
        ConfigError: a variable is no address of a proxy.
    """

    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.lower()) or ""

    def proxy(name: str) -> Proxy | None:
        return parse_proxy(value(name), f"the variable {name}") if value(name) else None

    return Proxies(
        https=proxy("HTTPS_PROXY"), http=proxy("HTTP_PROXY"), exempt=parse_exempt(value("NO_PROXY").split(","))
    )


def parse_exempt(entries: Sequence[str]) -> tuple[str, ...]:
    """Entries of NO_PROXY without blanks and empty ones."""
    return tuple(entry.strip().lower() for entry in entries if entry.strip())


def is_inner_name(host: str) -> bool:
    """Whether ``host`` (without port and brackets) is plainly none of the public internet: an address that is not
    public, or written in an odd way, or a name that only means something nearby.

    Behind a proxy that is all that can be checked: the proxy resolves names, and connects.
    """
    host = host.lower().removesuffix(".")
    last = host.rpartition(".")[2]
    if _address(host) is not None:
        return not is_public(host)
    # What ends in a number is an address to many resolvers: 127.1, 0x7f.1, 2130706433 (WHATWG URL, "ends in a number").
    return "." not in host or last in _INNER or _NUMBER.fullmatch(last) is not None or ":" in host


def _basic(username: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode('ascii')}"


def _covers(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int | None
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isascii() and digits.isdecimal() and (":" not in name or name.startswith("[")):
        if port != int(digits):
            return False
        entry = name
    entry = entry.removeprefix("[").removesuffix("]").removeprefix("*")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or (address is None and host.endswith(f".{entry}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
