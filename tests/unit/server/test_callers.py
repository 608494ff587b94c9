"""Who called: client certificates over real connections, the path, and both."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.request import Caller
from portcullis.server.callers import Callers, callers_of, is_path_of
from portcullis.server.clientcertificates import ClientCertificates
from portcullis.server.clock import SystemClock
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.lifecycle import bound, running, server
from portcullis.server.segments import PathSegments
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics
from portcullis.server.tls import ServerTls, files_source

pytestmark = pytest.mark.anyio

SEGMENT = "0123456789abcdef"
NAME = "kube-apiserver"
NOW = datetime.now(UTC)


@dataclass
class Clock:
    time: datetime = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0


def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


class Client:
    """Certificate and key of a client, signed by ``by``; as many common names as are given."""

    def __init__(self, by: trustme.CA, *names: str, end: datetime = NOW + timedelta(days=1)) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(by.cert_pem.bytes())
        signer = serialization.load_pem_private_key(by.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=2))
            .not_valid_after(end)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.pem = certificate.public_bytes(pem) + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def configure_cert(self, context: ssl.SSLContext, folder: Path) -> None:
        path = folder / f"{threading.get_ident()}-{id(self)}.pem"
        path.write_bytes(self.pem)
        context.load_cert_chain(path)


@dataclass
class Port:
    """The webhook's port, with a handler that says who called."""

    folder: Path
    ours: trustme.CA = field(default_factory=authority)
    """Signs what the port shows."""
    theirs: trustme.CA = field(default_factory=authority)
    """Signs what clients show."""
    clock: Clock = field(default_factory=Clock)
    segment: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        leaf = self.ours.issue_cert("localhost")
        pair = self.folder / "tls.crt", self.folder / "tls.key"
        pair[0].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        pair[1].write_bytes(leaf.private_key_pem.bytes())
        self.ca = self.folder / "clients.crt"
        self.trust(self.theirs)
        self.tls = ServerTls(source=files_source(*pair), clock=SystemClock())
        self.certificates = ClientCertificates(path=self.ca, names=[NAME], limits=DEFAULT_LIMITS, clock=self.clock)
        self.certificates.ask(self.tls.context)
        self.callers = Callers(segments=PathSegments(self.segment), certificates=self.certificates)

    def trust(self, *authorities: trustme.CA) -> None:
        self.ca.write_bytes(b"# clients\n" + b"\n".join(one.cert_pem.bytes() for one in authorities))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = str(self.callers.of(scope)).encode()
        await receive()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Port"]:
        with bound("127.0.0.1", 0) as listener:
            async with running(server(self.app, self.tls.context, drain_seconds=1, limits=DEFAULT_LIMITS), listener):
                self.number = listener.getsockname()[1]
                yield self

    async def connect(self, client: Client | None = None) -> "Connection":
        context = ssl.create_default_context()
        self.ours.configure_trust(context)
        if client is not None:
            client.configure_cert(context, self.folder)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.number, ssl=context, server_hostname="localhost"
        )
        return Connection(reader, writer)

    async def caller(self, client: Client | None = None, path: str = "/validate") -> str:
        """Who the port says that called; raises where it gives no connection."""
        connection = await self.connect(client)
        try:
            return await connection.ask(path)
        finally:
            await connection.close()


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, path: str = "/validate") -> str:
        self.writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        return (await self.reader.readexactly(int(length.partition(b":")[2]))).decode()

    async def close(self) -> None:
        self.writer.close()


REFUSED = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)
"""What a client sees of a connection that it does not get. In TLS 1.3 it hears of it when it reads."""


async def test_a_certificate_is_the_api_servers_by_its_authority_and_its_name(tmp_path: Path) -> None:
    async with Port(tmp_path).open() as port:
        theirs = port.theirs
        for client, caller in (
            (Client(theirs, NAME), Caller.CERTIFICATE),
            (None, Caller.UNVERIFIED),
            (Client(theirs, "kubelet"), Caller.UNVERIFIED),
            (Client(theirs, NAME.upper()), Caller.UNVERIFIED),
            (Client(theirs, f"{NAME} "), Caller.UNVERIFIED),
            (Client(theirs, f"{NAME}.evil.example"), Caller.UNVERIFIED),
            (Client(theirs, NAME, "kubelet"), Caller.UNVERIFIED),
            (Client(theirs, "kubelet", NAME), Caller.UNVERIFIED),
            (Client(theirs, NAME, end=NOW - timedelta(hours=1)), Caller.UNVERIFIED),
        ):
            assert await port.caller(client) == caller, client
        for stranger in (authority(), port.ours):
            with pytest.raises(REFUSED):
                await port.caller(Client(stranger, NAME))
        assert await port.caller(Client(theirs, NAME)) == Caller.CERTIFICATE


async def test_a_certificate_that_ends_ends_on_connections_that_are_open(tmp_path: Path) -> None:
    async with Port(tmp_path).open() as port:
        connection = await port.connect(Client(port.theirs, NAME))
        assert await connection.ask() == Caller.CERTIFICATE
        metrics = Metrics()
        port.callers.observe(metrics)
        told = metrics.registry.get_sample_value("portcullis_caller_certificate_not_after_seconds")
        assert told is not None
        assert abs(told - (NOW + timedelta(days=1)).timestamp()) < 2
        port.clock.time = NOW + timedelta(days=1, seconds=1)
        assert await connection.ask() == Caller.UNVERIFIED
        port.clock.time = NOW - timedelta(days=3)
        assert await connection.ask() == Caller.UNVERIFIED
        port.clock.time = NOW
        assert await connection.ask() == Caller.CERTIFICATE
        await connection.close()


async def test_authorities_change_while_connections_go_on(tmp_path: Path) -> None:
    """A new one counts from then on; one that was taken out counts no more, though TLS knows it still."""
    async with Port(tmp_path).open() as port:
        old, new = port.theirs, authority()
        before, after = Client(old, NAME), Client(new, NAME)
        connection = await port.connect(before)
        assert await connection.ask() == Caller.CERTIFICATE
        port.trust(old, new)
        with pytest.raises(REFUSED):
            await port.caller(after)
        await port.certificates.refresh()
        assert [await port.caller(after), await connection.ask()] == [Caller.CERTIFICATE] * 2
        port.trust(new)
        await port.certificates.refresh()
        assert await port.caller(after) == Caller.CERTIFICATE
        assert [await port.caller(before), await connection.ask()] == [Caller.UNVERIFIED] * 2
        await connection.close()


async def test_a_session_that_is_resumed_does_not_count(tmp_path: Path) -> None:
    """Its certificate was verified some other time, by what the file held then."""
    async with Port(tmp_path).open() as port:
        context = ssl.create_default_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        port.ours.configure_trust(context)
        Client(port.theirs, NAME).configure_cert(context, tmp_path)

        def ask(session: ssl.SSLSession | None) -> tuple[bool | None, bytes, ssl.SSLSession | None]:
            with (
                socket.create_connection(("127.0.0.1", port.number), 5) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
            ):
                connection.sendall(b"POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                answer = b""
                while not answer.endswith(b"ied") and not answer.endswith(b"cate"):
                    answer += connection.recv(4096)
                return connection.session_reused, answer.rpartition(b"\n")[2], connection.session

        reused, caller, session = await asyncio.to_thread(ask, None)
        assert (reused, caller) == (False, b"certificate")
        reused, caller, _ = await asyncio.to_thread(ask, session)
        assert (reused, caller) == (True, b"unverified")


async def test_an_intermediate_authority_may_stand_in_the_file_by_itself(tmp_path: Path) -> None:
    root = authority()
    intermediate = root.create_child_ca(key_type=trustme.KeyType.ECDSA)
    async with Port(tmp_path, theirs=intermediate).open() as port:
        assert await port.caller(Client(intermediate, NAME)) == Caller.CERTIFICATE
        with pytest.raises(REFUSED):
            await port.caller(Client(root, NAME))


NO_AUTHORITY = authority().issue_cert("a.example").cert_chain_pems[0].bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no certificates in PEM"),
        (b"hello", "no certificates in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificates in PEM"),
        (authority().cert_pem.bytes() + NO_AUTHORITY, "certificate 2 is no certificate authority's"),
        (b"#" * 3000, "more than 2000 bytes"),
        (None, "cannot be read"),
    ],
)
async def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, says: str) -> None:
    """An error at the start; later on, what was before goes on, and the check says why."""
    port = Port(tmp_path)
    port.certificates = ClientCertificates(
        path=port.ca, names=[NAME], limits=Limits(ca_file_bytes=2000), clock=port.clock
    )
    port.callers = Callers(segments=PathSegments(""), certificates=port.certificates)
    if content is None:
        port.ca.unlink()
    else:
        port.ca.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"clientCertificate\.caFile.*{says}"):
        ClientCertificates(path=port.ca, names=[NAME], limits=Limits(ca_file_bytes=2000), clock=port.clock)
    (check,) = port.callers.checks()
    assert (await check.probe(), check.decisive) == ("", False)
    await port.certificates.refresh()
    assert says in await check.probe()
    port.trust(port.theirs)
    await port.certificates.refresh()
    assert await check.probe() == ""


async def test_the_file_is_watched(tmp_path: Path) -> None:
    async with Port(tmp_path).open() as port:
        client = Client(other := authority(), NAME)
        port.trust(other)
        watching = asyncio.create_task(port.certificates.watch(0.01))
        for _ in range(300):
            try:
                caller = await port.caller(client)
                break
            except REFUSED:
                await asyncio.sleep(0.01)
        watching.cancel()
        assert caller == Caller.CERTIFICATE


# -- path and certificate --------------------------------------------------------------------------------------------


async def test_a_certificate_goes_before_a_path(tmp_path: Path) -> None:
    async with Port(tmp_path, segment=SEGMENT).open() as port:
        good, other = Client(port.theirs, NAME), Client(port.theirs, "kubelet")
        for client, path, caller in (
            (good, f"/{SEGMENT}/validate", Caller.CERTIFICATE),
            (good, "/validate", Caller.CERTIFICATE),
            (good, f"/{SEGMENT}x/validate", Caller.CERTIFICATE),
            (other, f"/{SEGMENT}/validate", Caller.PATH),
            (None, f"/{SEGMENT}/validate", Caller.PATH),
            (other, "/validate", Caller.UNVERIFIED),
            (None, f"/{SEGMENT}x/validate", Caller.UNVERIFIED),
            (None, f"/{SEGMENT}/{SEGMENT}/validate", Caller.UNVERIFIED),
            (None, f"/{SEGMENT}", Caller.UNVERIFIED),
        ):
            assert await port.caller(client, path) == caller, (client, path)


@pytest.mark.parametrize(
    ("segment", "certificates", "caller", "stranger"),
    [
        (SEGMENT, False, Caller.UNVERIFIED, True),
        ("", True, Caller.UNVERIFIED, True),
        (SEGMENT, True, Caller.PATH, False),
        (SEGMENT, True, Caller.CERTIFICATE, False),
        ("", False, Caller.UNVERIFIED, False),
    ],
)
def test_who_could_have_shown_it_is_a_stranger(
    tmp_path: Path, segment: str, certificates: bool, caller: Caller, stranger: bool
) -> None:
    known = Port(tmp_path).certificates if certificates else None
    callers = Callers(segments=PathSegments(segment), certificates=known)
    assert callers.told_apart is bool(segment or certificates)
    assert callers.is_stranger(caller) is stranger
    assert callers.share(caller) == (0.5 if stranger else 1.0)


def test_a_word_of_the_shared_secret_counts_as_soon_as_it_is_known() -> None:
    segments = PathSegments(shared=True)
    callers = Callers(segments=segments, certificates=None)
    scope = {"path": f"/{SEGMENT}/validate"}
    assert callers.is_stranger(callers.of(scope))
    segments.take([SEGMENT])
    assert callers.of(scope) is Caller.PATH


@pytest.mark.parametrize("told", [{}, {"clientCertificate": {"caFile": "clients.crt", "commonNames": [NAME]}}])
def test_as_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, dict[str, object]]
) -> None:
    monkeypatch.chdir(tmp_path)
    port = Port(tmp_path)
    tls = ServerTls(source=files_source(tmp_path / "tls.crt", tmp_path / "tls.key"), clock=SystemClock())
    settings = Settings.from_tree({"cluster": {"caller": told}})
    callers = callers_of(settings, PathSegments(), tls, port.clock)
    assert callers.told_apart is settings.tells_callers_apart is bool(told)
    assert tls.context.verify_mode is (ssl.CERT_OPTIONAL if told else ssl.CERT_NONE)
    assert "clients.crt" not in json.dumps(settings.effective())


@pytest.mark.parametrize("names", [[], [""], ["x" * 65]])
def test_names_must_be_given(names: list[str]) -> None:
    tree = {"cluster": {"caller": {"clientCertificate": {"caFile": "a", "commonNames": names}}}}
    with pytest.raises(ConfigError, match=r"cluster\.caller\.clientCertificate\.commonNames"):
        Settings.from_tree(tree)


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/validate", True),
        ("/x/validate", True),
        ("//validate", False),
        ("/x/y/validate", False),
        ("/validate/", False),
        ("validate", False),
        ("x/validate", False),
        ("/", False),
        ("", False),
    ],
)
def test_what_the_paths_of_reviews_look_like(path: str, ours: bool) -> None:
    assert is_path_of(path, "validate") is ours
