"""The webhook's TLS: what is negotiated, and certificates that change under way."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from portcullis.cluster.certificate import Pair
from portcullis.errors import ConfigError
from portcullis.server.sections import Server
from portcullis.server.tls import ServerTls, files_source, pair_source

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0


def issued(authority: trustme.CA, **options: datetime) -> Pair:
    leaf = authority.issue_cert("localhost", **options)
    return Pair(b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes())


def write(folder: Path, pair: Pair) -> None:
    (folder / "tls.crt").write_bytes(pair.certificate_pem)
    (folder / "tls.key").write_bytes(pair.key_pem)


def serving(folder: Path, pair: Pair, clock: Clock | None = None) -> ServerTls:
    write(folder, pair)
    return ServerTls(source=files_source(folder / "tls.crt", folder / "tls.key"), clock=clock or Clock())


def handshake(server: ssl.SSLContext, authority: trustme.CA, **client: object) -> ssl.SSLObject:
    """The client's side of a handshake in memory; raises what the client raises."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for name, value in client.items():
        if name == "alpn":
            context.set_alpn_protocols(value)  # type: ignore[arg-type]
        else:
            setattr(context, name, value)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (ours, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    return ours


def serial(tls: ServerTls, authority: trustme.CA) -> int:
    certificate = handshake(tls.context, authority).getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def serial_of(pair: Pair) -> int:
    return x509.load_pem_x509_certificates(pair.certificate_pem)[0].serial_number


async def test_http2_is_not_offered(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = serving(tmp_path, issued(authority))
    assert handshake(tls.context, authority, alpn=["h2", "http/1.1"]).selected_alpn_protocol() == "http/1.1"
    assert handshake(tls.context, authority, alpn=["h2"]).selected_alpn_protocol() is None
    assert handshake(tls.context, authority).version() == "TLSv1.3"


async def test_old_versions_are_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = serving(tmp_path, issued(authority))
    assert handshake(tls.context, authority, maximum_version=ssl.TLSVersion.TLSv1_2).version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises(ssl.SSLError):
        handshake(
            tls.context, authority, minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1
        )


async def test_a_new_pair_is_taken_up_by_new_connections(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = serving(tmp_path, issued(authority))
    second = issued(other)
    write(tmp_path, second)
    await tls.refresh()
    assert serial(tls, other) == serial_of(second)
    assert tls.state.problem == ""


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"", None, "no PEM certificate"),
        (b"garbage", None, "no PEM certificate"),
        (None, b"", "cannot be used together"),
        (None, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be used together"),
        (b"other", None, "cannot be used together"),
        (b"x" * 300_000, None, "more than"),
    ],
)
async def test_broken_files_leave_the_old_pair(
    tmp_path: Path, certificate: bytes | None, key: bytes | None, problem: str
) -> None:
    """Above all a certificate whose key has not been written yet: loading it would leave no pair at all."""
    authority = trustme.CA()
    first = issued(authority)
    tls = serving(tmp_path, first)
    if certificate is not None:
        content = issued(authority).certificate_pem if certificate == b"other" else certificate
        (tmp_path / "tls.crt").write_bytes(content)
    if key is not None:
        (tmp_path / "tls.key").write_bytes(key)
    await tls.refresh()
    assert problem in tls.state.problem
    assert serial(tls, authority) == serial_of(first)
    write(tmp_path, first)
    await tls.refresh()
    assert tls.state.problem == ""


async def test_files_that_vanish_leave_the_old_pair(tmp_path: Path) -> None:
    authority = trustme.CA()
    first = issued(authority)
    tls = serving(tmp_path, first)
    (tmp_path / "tls.key").unlink()
    await tls.refresh()
    assert "server.tls.keyFile: " in tls.state.problem
    assert serial(tls, authority) == serial_of(first)


async def test_an_expired_pair_does_not_replace_a_good_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    first = issued(authority)
    clock = Clock()
    tls = serving(tmp_path, first, clock)
    old = issued(authority, not_before=NOW - timedelta(days=10), not_after=NOW - timedelta(days=1))
    write(tmp_path, old)
    await tls.refresh()
    assert "which is not now" in tls.state.problem
    assert serial(tls, authority) == serial_of(first)


@pytest.mark.parametrize("content", [b"", b"garbage"])
async def test_without_a_usable_pair_there_is_no_start(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError):
        serving(tmp_path, Pair(content, content))


async def test_an_encrypted_key_asks_nobody_for_its_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    pair = issued(trustme.CA())
    locked = load_pem_private_key(pair.key_pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ConfigError, match="cannot be used together"):
        serving(tmp_path, Pair(pair.certificate_pem, locked))


async def test_self_managed_pairs_are_renewed_while_serving(tmp_path: Path) -> None:
    clock = Clock()
    managed = {"directory": str(tmp_path), "names": ["b.example"]}
    section = Server.model_validate_json(json.dumps({"address": "gate.example", "tls": {"selfManaged": managed}}))
    tls = ServerTls(source=pair_source(section), clock=clock)
    until = tls.state.not_after
    clock.time += timedelta(days=70)
    await tls.refresh()
    assert tls.state.not_after > until
    leaf = x509.load_pem_x509_certificates((tmp_path / "tls.crt").read_bytes())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "gate.example", "b.example"} <= set(names.get_values_for_type(x509.DNSName))


async def test_no_certificate_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"server\.tls is missing"):
        pair_source(Server())
