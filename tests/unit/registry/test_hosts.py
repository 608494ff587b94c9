"""Lists of hosts, addresses, credentials: compared whole."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from portcullis.errors import NotAllowed
from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.registry.addresses import AddressRefused, is_public, public_socket
from portcullis.registry.hosts import HostRules, api_host, same_origin, split_host
from portcullis.registry.keychain import StaticKeychain, fingerprint


@pytest.mark.parametrize(
    ("entry", "registry", "allowed"),
    [
        ("registry.example", "registry.example", True),
        ("Registry.Example", "registry.example", True),
        ("registry.example", "registry.example:5000", True),
        ("registry.example:5000", "registry.example:5000", True),
        ("registry.example:443", "registry.example", True),
        ("registry.example:5000", "registry.example", False),
        ("registry.example:5000", "registry.example:5001", False),
        ("example", "registry.example", False),
        ("registry.example", "registry.example.attacker", False),
        ("registry.example", "xregistry.example", False),
        ("docker.io", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("[::1]:5000", "[::1]:5000", True),
        ("[::1]", "[::1]:5000", True),
        ("[::1]:5000", "[::2]:5000", False),
    ],
)
def test_a_closed_list(entry: str, registry: str, allowed: bool) -> None:
    rules = HostRules(allowed=(entry,))
    if allowed:
        rules.require_allowed(registry)
    else:
        with pytest.raises(NotAllowed):
            rules.require_allowed(registry)


def test_an_open_list_allows_any() -> None:
    HostRules().require_allowed("anything.example:1")


def test_docker_hub_is_served_elsewhere() -> None:
    rules = HostRules()
    assert api_host("docker.io") == "registry-1.docker.io"
    assert str(rules.origin("docker.io")) == "https://registry-1.docker.io"
    assert HostRules(private=frozenset({"docker.io"})).may_be_private(rules.origin("docker.io"))
    assert api_host("registry.example:5000") == "registry.example:5000"


def test_plain_http_only_where_it_is_listed() -> None:
    rules = HostRules(insecure=frozenset({"registry.example:5000"}))
    assert rules.origin("registry.example:5000").scheme == "http"
    assert rules.origin("registry.example").scheme == "https"
    assert not rules.is_insecure(URL("http://registry.example/"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://a.example:443/y?z=1", True),
        ("https://a.example/", "https://A.example./", True),
        ("https://a.example/", "http://a.example/", False),
        ("https://a.example/", "https://a.example:8443/", False),
        ("https://a.example/", "https://b.example/", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert same_origin(URL(one), URL(other)) is same


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.example", ("a.example", None)),
        ("a.example:5000", ("a.example", 5000)),
        ("[::1]", ("::1", None)),
        ("[::1]:80", ("::1", 80)),
        ("a.example:x", ("a.example:x", None)),
    ],
)
def test_hosts_taken_apart(text: str, parts: tuple[str, int | None]) -> None:
    assert split_host(text) == parts


REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1 127.255.255.255
169.254.0.1 169.254.169.254 168.63.129.16 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 :: ::1 ::2 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808
64:ff9b:1::1 100::1 2001::1 2001:10::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fe80::1%eth0 fec0::1 ff02::1 2606:4700::1%eth0 localhost 127.1 0x7f000001 2130706433
"""

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255
172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255
2001:200::1 2001:4860:4860::8888 2003::1 2606:4700::1111 2a00:1450:4001::1 3ffe::1
"""


@pytest.mark.parametrize("address", REFUSED.split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(AddressRefused) as caught:
        public_socket((family, socket.SOCK_STREAM, 6, "", (address, 443)))
    assert caught.value.address == address


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with public_socket((family, socket.SOCK_STREAM, 6, "", (address, 443))) as made:
        assert made.family == family


@given(st.ip_addresses())
def test_never_more_open_than_the_standard_library(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(str(address))


pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("configured", "asked", "found"),
    [
        ("registry.example", "registry.example", True),
        ("registry.example:5000", "registry.example:5000", True),
        ("registry.example", "registry.example:5000", False),
        ("registry.example", "registry.example.attacker", False),
        ("azurecr.io", "x.azurecr.io", False),
        ("x.azurecr.io", "x.azurecr.io.attacker", False),
        ("index.docker.io", "docker.io", True),
    ],
)
async def test_a_credential_goes_to_its_own_host_only(configured: str, asked: str, found: bool) -> None:
    credential = Credential("a", "b")
    keychain = StaticKeychain(credentials={configured: credential})
    answer = await keychain.credential(Repository(asked, "acme/web"), Access("any", "one"))
    assert answer == (credential if found else Anonymous())


def test_fingerprints_tell_credentials_apart() -> None:
    credentials: list[Credential | Anonymous] = [
        Anonymous(),
        Credential("a", "b"),
        Credential("a", "c"),
        Credential("ab", ""),
        Credential("", "ab"),
        Credential("1:a", "b"),
        Credential("anonymous", "\ud800"),
    ]
    prints = [fingerprint(credential) for credential in credentials]
    assert len(set(prints)) == len(prints)
    assert fingerprint(Credential("a", "b")) == fingerprint(Credential("a", "b"))
    assert "b" not in repr(Credential("a", "b")).replace("username", "")
