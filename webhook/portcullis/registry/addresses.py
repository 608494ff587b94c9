"""Which addresses may be connected to.

The check is made where the socket is made, after names were resolved, on the very address that is then connected
to: a name that is public when it is looked at and private when it is used gains nothing (DNS rebinding), and
literal addresses take the same way.

Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890, RFC 8190) as of 2026-11.
The standard library's ``is_global`` differs between Python releases, hence a table of our own.
"""

import ipaddress
import socket
from typing import Any, Final

_REFUSED_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared by carriers, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # Azure's platform services, reachable from every virtual machine there
        "169.254.0.0/16",  # link-local and the clouds' metadata, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and broadcast, RFC 1112
    )
)

# All that is not global unicast is refused at once: loopback, unspecified, link-local, unique local, multicast,
# and the forms that carry an IPv4 address (mapped ::ffff:0:0/96, compatible ::/96, NAT64 64:ff9b::/96 and
# 64:ff9b:1::/48).
_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo and ORCHID, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, which carries an IPv4 address, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
    )
)


class AddressRefused(OSError):
    """The address is not public. The text is the same for every address, so that a name with several of them
    still ends in this error; ``address`` is one of them."""

    def __init__(self, address: str) -> None:
        super().__init__("the address is not public")
        self.address = address


def is_public(address: str) -> bool:
    """Whether ``address`` (the text of an IPv4 or IPv6 address, perhaps with a zone) is one of the public
    internet. False for text that is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    if parsed.scope_id is not None or parsed not in _GLOBAL_UNICAST_V6:
        return False
    return not any(parsed in network for network in _REFUSED_V6)


def public_socket(addr_info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
    """A socket for that address and no other: aiohttp calls this right before it connects.

    Raises:
        AddressRefused: the address is not public.
    """
    family, kind, protocol, _, address = addr_info
    if not is_public(str(address[0])):
        raise AddressRefused(str(address[0]))
    return socket.socket(family=family, type=kind, proto=protocol)
