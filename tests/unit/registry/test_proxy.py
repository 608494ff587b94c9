"""Which proxy leads where, and what passes through one."""

import base64
import contextlib
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from fakes.faulty import Answer, serve_faulty
from fakes.oci import config_bytes, image_routes, manifest_bytes
from fakes.proxy import serve_proxy
from fakes.registry import sha256
from portcullis.errors import ConfigError, NotAllowed, RegistryError, Unreachable
from portcullis.registry.hosts import HostRules
from portcullis.registry.proxy import (
    Proxies,
    Proxy,
    environment_proxies,
    is_inner_name,
    parse_exempt,
    parse_proxy,
    with_credential,
)
from unit.registry.clients import client

pytestmark = pytest.mark.anyio

PASSWORD = "correct-horse"
BASIC = "Basic " + base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
MANIFEST_PATH = "/v2/acme/web/manifests/1"
DIGEST = sha256(manifest_bytes(config_bytes()))


@pytest.mark.parametrize(
    ("text", "url", "authorization"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", ""),
        ("proxy.example:3128", "http://proxy.example:3128", ""),
        ("proxy.example", "http://proxy.example", ""),
        ("https://proxy.example/path?x", "https://proxy.example", ""),
        (f"http://ci:{PASSWORD}@proxy.example:3128/", "http://proxy.example:3128", BASIC),
        ("http://ci:correct%2Dhorse@10.0.0.1", "http://10.0.0.1", BASIC),
        ("http://ci@[::1]:1", "http://[::1]:1", "Basic " + base64.b64encode(b"ci:").decode()),
    ],
)
def test_addresses_of_proxies(text: str, url: str, authorization: str) -> None:
    proxy = parse_proxy(text, "x")
    assert (proxy.url, proxy.authorization) == (URL(url), authorization)
    assert PASSWORD not in repr(proxy)
    assert BASIC not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    ["socks5://proxy.example", "http://", "http://:80", f"ftp://ci:{PASSWORD}@x", f"http://ci:{PASSWORD}@x:99999"],
)
def test_what_is_no_address_of_a_proxy(text: str) -> None:
    with pytest.raises(ConfigError, match="the variable HTTPS_PROXY is no address") as caught:
        environment_proxies({"HTTPS_PROXY": text})
    assert PASSWORD not in caught.value.message


@given(st.text(max_size=100))
def test_any_text_is_a_proxy_or_a_wrong_configuration(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_proxy(text, "x").url.user is None


def test_the_variables_of_the_environment() -> None:
    found = environment_proxies(
        {
            "https_proxy": "lower:1",
            "HTTPS_PROXY": "upper:1",
            "http_proxy": "plain:2",
            "no_proxy": " .a.example ,,10.0.0.0/8",
        }
    )
    assert found.of(URL("https://r.example")) == Proxy(URL("http://upper:1"))
    assert found.of(URL("http://r.example")) == Proxy(URL("http://plain:2"))
    assert found.exempt == (".a.example", "10.0.0.0/8")
    assert environment_proxies({"HTTPS_PROXY": "", "OTHER": "x"}) == Proxies()


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("", "https://r.example", False),
        ("*", "https://r.example", True),
        ("r.example", "https://r.example", True),
        ("R.Example", "https://r.example", True),
        ("r.example", "https://R.EXAMPLE.", True),
        ("r.example", "https://deep.r.example", True),
        ("r.example", "https://evilr.example", False),
        ("r.example", "https://r.example.attacker", False),
        (".r.example", "https://r.example", False),
        (".r.example", "https://deep.r.example", True),
        ("*.r.example", "https://deep.r.example", True),
        ("r.example:5000", "https://r.example:5000", True),
        ("r.example:5000", "https://r.example", False),
        ("10.1.2.3", "https://10.1.2.3:5000", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("1.2.3", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://r.example", False),
        ("10.0.0.0/99", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::1]:5000", True),
        ("fd00::1", "https://[fd00::1]", True),
        ("[fd00::1]:5000", "https://[fd00::1]:5000", True),
        ("[fd00::1]:5000", "https://[fd00::1]", False),
        ("", "https://localhost:5000", True),  # loopback always, as in Go
        ("", "https://127.0.0.2", True),
        ("", "https://[::1]", True),
    ],
)
def test_what_is_asked_directly(exempt: str, url: str, direct: bool) -> None:
    proxies = Proxies(https=Proxy(URL("http://p")), http=Proxy(URL("http://p")), exempt=parse_exempt(exempt.split(",")))
    assert (proxies.of(URL(url)) is None) is direct


@pytest.mark.parametrize(
    ("host", "inner"),
    [
        ("registry.example", False),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
        ("10.0.0.1", True),
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("printer.local", True),
        ("metadata.google.internal", True),
        ("METADATA.google.Internal.", True),
        ("registry", True),  # found by a search list, if at all
        ("127.1", True),
        ("0x7f.1", True),
        ("0177.0.0.01", True),
        ("1.2.3.0x4", True),
        ("2130706433", True),
    ],
)
def test_names_that_a_proxy_is_not_asked_for(host: str, inner: bool) -> None:
    assert is_inner_name(host) is inner


def rules(
    proxy: str, *, insecure: str = "", private: str = "", authorization: bool = False, **more: object
) -> HostRules:
    through = parse_proxy(proxy, "x")
    through = with_credential(through, "ci", PASSWORD) if authorization else through
    return HostRules(
        insecure=frozenset({insecure} if insecure else ()),
        private=frozenset({private} if private else ()),
        proxies=Proxies(https=through, http=through),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("authorization", [False, True])
async def test_a_host_without_tls(authorization: bool) -> None:
    """The name means nothing here: only the proxy knows a way."""
    host = "registry.example:80"
    demands = BASIC if authorization else ""
    async with (
        serve_faulty(image_routes()) as server,
        serve_proxy({"registry.example": server.port}, demands=demands) as proxy,
    ):
        through = rules(proxy.address, insecure=host, authorization=authorization)
        async with client(server, host=host, rules=through) as asking:
            assert (await asking.resolve()).digest == DIGEST
        assert proxy.asked[0] == f"GET http://registry.example{MANIFEST_PATH} HTTP/1.1"
        assert set(proxy.authorizations) == {demands}


@pytest.mark.parametrize("authorization", [False, True])
async def test_a_host_with_tls(authorization: bool, tmp_path: Path) -> None:
    """The proxy sees no more than the name; the registry does not see the proxy's credential."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("registry.example").configure_cert(context)
    demands = BASIC if authorization else ""
    async with (
        serve_faulty(image_routes(), tls=context) as server,
        serve_proxy({"registry.example:443": server.port}, demands=demands) as proxy,
    ):
        through = rules(proxy.address, authorization=authorization, ca_files={"registry.example": tmp_path / "ca.pem"})
        async with client(server, host="registry.example", rules=through) as asking:
            assert (await asking.resolve()).digest == DIGEST
        assert set(proxy.asked) == {"CONNECT registry.example:443 HTTP/1.1"}
        assert set(proxy.authorizations) == {demands}
        assert all("proxy-authorization" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize(("host", "insecure"), [("registry.example", ""), ("registry.example:80", "registry.example")])
@pytest.mark.parametrize(
    ("demands", "says"),
    [("", "proxy 127.0.0.1|HTTP 502"), ("Basic other", "wants another credential")],
)
async def test_a_proxy_that_does_not_help(host: str, insecure: str, demands: str, says: str) -> None:
    async with serve_faulty() as server, serve_proxy(demands=demands) as proxy:
        through = rules(proxy.address, insecure=insecure, authorization=True)
        async with client(server, host=host, rules=through) as asking:
            error = await asking.failure()
    _is_outage(error, says)


async def test_no_proxy_there() -> None:
    async with serve_proxy() as proxy:
        pass
    async with serve_faulty() as server:
        through = rules(proxy.address, authorization=True)
        async with client(server, host="registry.example", rules=through) as asking:
            _is_outage(await asking.failure(), f"no connection to the proxy {proxy.address}: Connection refused")


def _is_outage(error: RegistryError, says: str) -> None:
    assert type(error) is Unreachable
    assert any(part in error.message for part in says.split("|"))
    assert PASSWORD not in error.message
    assert BASIC not in error.message


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "metadata.google.internal", "registry", "[fd00::1]"])
async def test_the_proxy_is_not_asked_for_what_lies_inside(host: str) -> None:
    """Neither by an image's name, nor by a redirect."""
    async with serve_faulty() as server, serve_proxy({"registry.example:80": server.port}) as proxy:
        async with client(server, host=host, rules=rules(proxy.address)) as asking:
            error = await asking.failure()
        assert type(error) is NotAllowed
        assert proxy.asked == []
        server.routes[MANIFEST_PATH] = Answer(307, {"Location": f"https://{host}/x"})
        proxy.ways["registry.example"] = server.port
        through = rules(proxy.address, insecure="registry.example:80")
        async with client(server, host="registry.example:80", rules=through) as asking:
            assert type(await asking.failure()) is NotAllowed
        assert len(proxy.asked) == 1


async def test_a_listed_host_is_asked_through_the_proxy_as_well() -> None:
    async with serve_faulty(image_routes()) as server, serve_proxy({"registry:80": server.port}) as proxy:
        proxy.ways["registry"] = server.port
        through = rules(proxy.address, insecure="registry:80", private="registry")
        async with client(server, host="registry:80", rules=through) as asking:
            assert (await asking.resolve()).digest == DIGEST
        assert proxy.asked


async def test_an_exempt_host_is_asked_directly_and_its_address_checked() -> None:
    async with serve_faulty(image_routes()) as server, serve_proxy() as proxy:
        through = Proxies(https=parse_proxy(proxy.address, "x"), http=parse_proxy(proxy.address, "x"))
        names = frozenset({server.host})
        async with client(server, rules=HostRules(insecure=names, private=names, proxies=through)) as asking:
            assert (await asking.resolve()).digest == DIGEST
        async with client(server, rules=HostRules(insecure=names, proxies=through)) as asking:
            assert type(await asking.failure()) is NotAllowed
        assert proxy.asked == []
