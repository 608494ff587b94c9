"""Certificate authorities of one host, read from a file that may change."""

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from yarl import URL

from fakes.faulty import Answer, FaultyServer, serve_faulty
from fakes.oci import config_bytes, image_routes, manifest_bytes
from fakes.registry import sha256
from portcullis.errors import ConfigError, Unreachable
from portcullis.registry.hosts import HostRules
from portcullis.registry.tls import Authorities
from unit.registry.clients import client

pytestmark = pytest.mark.anyio

DIGEST = sha256(manifest_bytes(config_bytes()))


@contextlib.asynccontextmanager
async def behind(ca: trustme.CA) -> AsyncIterator[FaultyServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    async with serve_faulty(image_routes(), tls=context) as server:
        yield server


def rules(*servers: FaultyServer, **ca_files: Path) -> HostRules:
    """All are private; ``ca_files`` by the place of a server, ``_0`` and so on."""
    return HostRules(
        private=frozenset(server.name for server in servers),
        ca_files={servers[int(place[1:])].name: path for place, path in ca_files.items()},
    )


def written(path: Path, *authorities: trustme.CA) -> Path:
    path.write_bytes(b"".join(ca.cert_pem.bytes() for ca in authorities))
    return path


async def test_a_private_authority_of_one_host(tmp_path: Path) -> None:
    """It vouches for that host, and for no other: not even for where that host redirects to."""
    ca = trustme.CA()
    path = written(tmp_path / "ca.pem", ca)
    async with behind(ca) as server, behind(ca) as other:
        listed = rules(server, other, _0=path)
        async with client(server, host=server.name, rules=listed) as asking:
            assert (await asking.resolve()).digest == DIGEST
            server.routes["/v2/acme/web/manifests/1"] = Answer(307, {"Location": f"https://{other.name}/x"})
            error = await asking.failure()
        assert type(error) is Unreachable
        assert f"{other.name} has a certificate that is not trusted" in error.message
        assert other.asked == []


async def test_the_other_ones_stay_believed(tmp_path: Path) -> None:
    """The file adds to the system's authorities; it does not take their place."""
    found = Authorities(ca_files={"a.example": written(tmp_path / "ca.pem", trustme.CA())}, limit=10**6)
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert found.of(URL("https://a.example")).cert_store_stats()["x509_ca"] == system + 1
    assert found.of(URL("https://b.example")).cert_store_stats()["x509_ca"] == system


async def test_a_file_that_changes_counts_at_once(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    path = written(tmp_path / "ca.pem", old)
    async with (
        behind(new) as server,
        client(server, host=server.name, rules=rules(server, _0=path)) as asking,
    ):
        assert type(await asking.failure()) is Unreachable
        written(path, old, new)
        assert (await asking.resolve()).digest == DIGEST


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
async def test_a_change_that_cannot_be_used_changes_nothing(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = trustme.CA()
    path = written(tmp_path / "ca.pem", ca)
    async with (
        behind(ca) as server,
        client(server, host=server.name, rules=rules(server, _0=path)) as asking,
    ):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert (await asking.resolve()).digest == DIGEST
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


def test_the_context_is_the_same_until_the_file_changes(tmp_path: Path) -> None:
    """Else no connection would be used twice."""
    path = written(tmp_path / "ca.pem", trustme.CA())
    found = Authorities(ca_files={"a.example": path}, limit=10**6)
    before = found.of(URL("https://a.example"))
    assert found.of(URL("https://a.example:5000")) is before
    written(path, trustme.CA(), trustme.CA())
    assert found.of(URL("https://a.example")) is not before


def test_an_entry_with_a_port_wins(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, trustme.CA()) for name in ("one.pem", "other.pem"))
    found = Authorities(ca_files={"a.example": one, "a.example:5000": other}, limit=10**6)
    contexts = [found.of(URL(f"https://a.example:{port}")) for port in (443, 5000, 5001)]
    assert contexts[0] is contexts[2]
    assert contexts[0] is not contexts[1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n\xff", "cannot be read"),
        (b"#" * 2001, "limit caFileBytes of 2000"),
    ],
)
def test_a_file_that_cannot_be_used(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        Authorities(ca_files={"a.example": path}, limit=2000)
    assert "registries.hosts.a.example.caFile" in caught.value.message
