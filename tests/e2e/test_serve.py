"""The webhook as its own process, over TLS, with a real OPA and a real database."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fakes.faulty import Answer, FaultyServer, serve_faulty
from fakes.oci import image_routes
from fakes.patience import PATIENCE_SECONDS
from fakes.reviews import UID, pod, review
from fakes.webhook import Reply, WebhookProcess, head, running_webhook
from portcullis.audit.sql import SqlRecords
from portcullis.model.record import AuditRecord, RecordFilter

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

SEGMENT = "an-unguessable-word-0001"
MIB = 1024 * 1024
# Built-in policies that need an image's facts, so that a registry that is down matters; no scans, no pins.
ENABLED = ["image-user", "pod-privileges"]


@contextlib.asynccontextmanager
async def webhook(
    folder: Path, registry: FaultyServer, *, modes: dict[str, str] | None = None, **sections: Any
) -> AsyncIterator[WebhookProcess]:
    hosts = {registry.host: {"insecure": True, "private": True}}
    # A host that answers nothing, and one that nobody listens on.
    hosts["127.0.0.1:1"] = {"insecure": True, "private": True}
    policies = {"enabled": ENABLED, "modes": modes or {}}
    async with running_webhook(folder, registries={"hosts": hosts}, policies=policies, **sections) as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[FaultyServer]:
    async with serve_faulty(image_routes()) as server:
        yield server


def body_of(image: str, uid: str = UID, **request: Any) -> bytes:
    return json.dumps(review(pod(image), uid=uid, **request)).encode() + b"\n"


async def records_of(running: WebhookProcess) -> list[AuditRecord]:
    store = SqlRecords(url=f"sqlite:///{running.folder}/audit.db", read_only=True)
    await store.start()
    try:
        return list(await store.search(RecordFilter(limit=1000)))
    finally:
        await store.aclose()


async def test_a_review_from_the_api_server(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry, server={"pathSegment": SEGMENT}) as running:
        await running.until_ready()
        good = await running.post(body_of(f"{registry.host}/acme/web:1"), f"/{SEGMENT}/validate?timeout=10s")
        assert good.response == {
            "uid": UID,
            "allowed": True,
            "auditAnnotations": good.response["auditAnnotations"],
        }
        registry.routes.update(image_routes(name="acme/root", user="0"))
        bad = await running.post(body_of(f"{registry.host}/acme/root:1"), f"/{SEGMENT}/validate?timeout=10s")
        assert bad.response["status"]["code"] == 403
        assert "[image-user]" in bad.response["status"]["message"]
        asked = len(registry.asked)
        strange = await running.post(body_of(f"{registry.host}/acme/root:1", "u-strange"))
        assert strange.response["status"]["message"].splitlines()[1].startswith("[registry-not-allowed]"), strange
        assert len(registry.asked) == asked
        assert await running.stop(signal.SIGTERM) == 0
        sketched, refused, admitted = await records_of(running)
        assert [str(one.caller) for one in (admitted, refused, sketched)] == ["path", "path", "unverified"]
        assert [one.sampled for one in (admitted, refused, sketched)] == [False, False, True]
        assert admitted.decision.id == good.response["auditAnnotations"]["decision-id"]
        assert admitted.decision.images[0].digest.startswith("sha256:")
        lines = await running.until_logged("decision", 3)
        assert [(line["uid"], line["verdict"]) for line in lines] == [
            (UID, "admitted"),
            (UID, "refused"),
            ("u-strange", "refused"),
        ]
        with sqlite3.connect(tmp_path / "audit.db") as database:
            kinds = {kind for (kind,) in database.execute("select kind from bundles")}
        database.close()
        assert kinds == {"policies", "configuration"}
        assert SEGMENT.encode() not in (tmp_path / "audit.db").read_bytes()
        assert SEGMENT not in json.dumps(running.lines)


HEAD = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",'
DEEP = 10_000

# What is sent, the uid that is answered ("" for HTTP alone), the code, what the message holds.
MALFORMED: dict[str, tuple[bytes, str, int, str]] = {
    "no JSON": (b"{", "", 400, "review-malformed"),
    "no UTF-8": (b"\xff\xff", "", 400, "review-malformed"),
    "wrong apiVersion": (HEAD.replace(b"/v1", b"/v2") + b'"x":1}}', "u-1", 400, "review-malformed"),
    "no uid": (b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}', "", 400, "uid"),
    "over 8 MiB": (HEAD + b'"x":"' + b"x" * (8 * MIB) + b'"}}', "u-1", 413, "too-large"),
    "over 8 MiB without a uid": (b"[" + b"0," * (4 * MIB) + b"0]", "", 413, "too-large"),
    "depth 10,000": (HEAD + b'"x":' + b"[" * DEEP + b"]" * DEEP + b"}}", "u-1", 400, "reviewDepth"),
    "a lone surrogate": (HEAD + b'"x":"\\ud800"}}', "u-1", 400, "surrogate"),
    "an integer that no machine word holds": (HEAD + b'"x":1' + b"0" * 30 + b"}}", "u-1", 400, "64 bits"),
    "many small values": (HEAD + b'"x":[' + b"[]," * 1_500_000 + b"0]}}", "u-1", 400, "reviewValues"),
}


def image_faults(host: str) -> dict[str, tuple[str, int, str]]:
    """Image, code, reason."""
    return {
        "NUL": ("web\x00", 403, "image-reference-invalid"),
        "a reference of 10 kB": ("a" * 10_000, 403, "image-reference-invalid"),
        "missing": (f"{host}/acme/missing:1", 403, "image-not-found"),
        "registry down": ("127.0.0.1:1/acme/web:1", 503, "registry-unreachable"),
        "registry slow": (f"{host}/acme/slow:1", 503, "deadline-exceeded"),
        "registry lying about a digest": (f"{host}/acme/liar@sha256:{'0' * 64}", 403, "digest-mismatch"),
        "registry endless": (f"{host}/acme/endless:1", 403, "too-large"),
        "registry talking nonsense": (f"{host}/acme/nonsense:1", 403, "registry-malformed"),
        "registry denying": (f"{host}/acme/denied:1", 403, "registry-denied"),
        "registry failing": (f"{host}/acme/failing:1", 503, "registry-unreachable"),
    }


def faulty_routes() -> dict[str, Answer]:
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    return {
        "/v2/acme/slow/manifests/1": Answer(silent=True),
        f"/v2/acme/liar/manifests/sha256:{'0' * 64}": Answer(headers=kind, body=b"{}"),
        "/v2/acme/endless/manifests/1": Answer(headers=kind, body=b" " * 65536, endless=True),
        "/v2/acme/nonsense/manifests/1": Answer(headers=kind, body=b"<html>"),
        "/v2/acme/denied/manifests/1": Answer(403),
        "/v2/acme/failing/manifests/1": Answer(500),
    }


async def test_bad_input_is_answered_in_time_and_recorded(tmp_path: Path, registry: FaultyServer) -> None:
    """The whole table against one process, all at once where that matters; afterwards it still decides."""
    registry.routes.update(faulty_routes())
    async with webhook(tmp_path, registry) as running:
        for name, (body, uid, code, words) in MALFORMED.items():
            reply = await running.post(body)
            status = reply.response["status"] if uid else reply.json
            assert (status["code"], words in status["message"]) == (code, True), (name, status)
            assert reply.status == (200 if uid else code), name
            assert not uid or reply.response["uid"] == uid
            assert "retry-after" not in reply.headers

        faults = image_faults(registry.host)
        started = time.monotonic()
        posts = [running.post(body_of(image, f"u-{name[:9]}".replace(" ", "-")), "/validate?timeout=4s")
                 for name, (image, _, _) in faults.items()]  # fmt: skip
        replies = await asyncio.gather(*posts)
        assert time.monotonic() - started < 5, "one of them was not answered within its time"
        for (name, (_, code, reason)), reply in zip(faults.items(), replies, strict=True):
            assert reply.response["allowed"] is False, name
            status = reply.response["status"]
            assert (status["code"], f"[{reason}]" in status["message"]) == (code, True), (name, status)
        good = await running.post(body_of(f"{registry.host}/acme/web:1"))
        assert good.response["allowed"] is True
        large = review({**pod(f"{registry.host}/acme/web:1"), "big": 2**53 + 1})
        assert (await running.post(json.dumps(large).encode())).response["allowed"] is True

        records = await records_of(running)
        assert len(records) == len(MALFORMED) + len(faults) + 2
        recorded = [record.decision.problems[0].reason for record in reversed(records) if record.decision.problems]
        expected = {reason for _, _, reason in faults.values()} | {"review-malformed", "too-large"}
        assert set(recorded) == expected
        page = (await running.get("/metrics")).body.decode()
        assert "acme" not in page
        assert 'portcullis_problems_total{reason="digest-mismatch",stage="registry"} 1.0' in page


async def test_a_body_that_comes_slowly_is_not_waited_for(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry, limits={"bodySeconds": 0.5}) as running, running.connected() as connection:
        body = body_of(f"{registry.host}/acme/web:1")
        await connection.send(head(len(body)) + body[:200])
        reply = await connection.reply()
        assert reply.headers["connection"] == "close"
        assert "[deadline-exceeded]" in reply.body.decode()
        assert await connection.reader.read() == b""
        assert (await running.post(body)).response["allowed"] is True


async def test_an_oversized_body_that_never_ends(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry) as running, running.connected() as connection:
        await connection.send(head(2**33) + HEAD)

        async def pour() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await connection.send(b"x" * MIB)

        pouring = asyncio.create_task(pour())
        reply = await connection.reply()
        pouring.cancel()
        assert reply.response["status"]["code"] == 413
        assert (await running.post(body_of(f"{registry.host}/acme/web:1"))).response["allowed"] is True


async def test_connections_are_kept_and_http2_is_not_spoken(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry) as running:
        context = running.context(alpn=("h2", "http/1.1"))
        async with running.connected(context) as connection:
            assert connection.tls.selected_alpn_protocol() == "http/1.1"
            for number in range(20):
                reply = await connection.post(body_of(f"{registry.host}/acme/web:1", f"u-{number}"))
                assert reply.response["uid"] == f"u-{number}"
                assert set(reply.headers) == {"date", "content-type", "content-length"}
            small, unread = await connection.post(b"{"), await connection.post(b"x", "/nope")
            assert (small.status, unread.status) == (400, 404)
            assert (await connection.post(body_of(f"{registry.host}/acme/web:1"))).response["allowed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_loses_no_request(tmp_path: Path, registry: FaultyServer, number: signal.Signals) -> None:
    """Requests that wait for a registry when the signal comes are answered and recorded; readiness is off first."""
    go = asyncio.Event()
    asked = asyncio.Event()
    async with slow_registry(go, asked) as slow:
        hosts = {slow: {"insecure": True, "private": True}}
        policies = {"enabled": ENABLED}
        async with running_webhook(tmp_path, registries={"hosts": hosts}, policies=policies) as running:
            posts = [asyncio.create_task(running.post(body_of(f"{slow}/acme/web:1", f"u-{n}"))) for n in range(20)]
            await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while f"{len(posts)}.0" not in in_flight(await running.get("/metrics")):
                    await asyncio.sleep(0.05)
            children = await running.children()
            running.process.send_signal(number)
            assert "[-]serving failed: the program is stopping" in await running.until_ready(False)
            go.set()
            replies = await asyncio.gather(*posts)
            assert await asyncio.wait_for(running.process.wait(), 30) == 0
            assert {reply.response["uid"] for reply in replies} == {f"u-{n}" for n in range(20)}
            assert all(reply.headers["connection"] == "close" for reply in replies)
            assert {record.uid for record in await records_of(running)} == {f"u-{n}" for n in range(20)}
            assert await running.until_logged("stopped")
            assert children
            assert not [pid for pid in children if Path(f"/proc/{pid}").exists()], "OPA is left behind"


def in_flight(page: Reply) -> str:
    return next(line for line in page.body.decode().splitlines() if line.startswith("portcullis_reviews_in_flight"))


@contextlib.asynccontextmanager
async def slow_registry(go: asyncio.Event, asked: asyncio.Event) -> AsyncIterator[str]:
    """A registry that answers nobody before ``go``."""
    async with serve_faulty(image_routes()) as behind:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await go.wait()
            ours, theirs = await asyncio.open_connection("127.0.0.1", behind.port)

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(65536):
                        target.write(data)
                        await target.drain()
                target.close()

            await asyncio.gather(copy(reader, theirs), copy(ours, writer))

        listener = await asyncio.start_server(relay, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()


async def test_during_the_stop_delay_requests_are_still_taken(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry, server={"stopDelaySeconds": 30}) as running:
        running.process.send_signal(signal.SIGTERM)
        await running.until_ready(False)
        reply = await running.post(body_of(f"{registry.host}/acme/web:1"))
        assert reply.response["allowed"] is True
        assert reply.headers["connection"] == "close"
        assert await running.stop(signal.SIGTERM) == 0, "a second signal ends the delay"


async def test_the_certificate_is_exchanged_while_serving(tmp_path: Path, registry: FaultyServer) -> None:
    first, second = trustme.CA(), trustme.CA()
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def write(authority: trustme.CA) -> None:
        leaf = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        leaf.private_key_pem.write_to_path(key)
        crt.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    write(first)
    server = {"tls": {"certFile": "tls.crt", "keyFile": "tls.key"}}
    body = body_of(f"{registry.host}/acme/web:1")
    async with webhook(tmp_path, registry, server=server) as running:
        async with running.connected(running.context(tmp_path / "ca.pem")) as old:
            assert (await old.post(body)).response["allowed"] is True
            crt.write_text("half of a certi")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "[!]certificate-files degraded" not in (await running.get("/readyz?verbose")).body.decode():
                    await asyncio.sleep(0.1)
            async with running.connected(running.context(tmp_path / "ca.pem")) as connection:
                assert (await connection.post(body)).response["allowed"] is True
            write(second)
            context = running.context(tmp_path / "ca.pem")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    with contextlib.suppress(ssl.SSLCertVerificationError):
                        async with running.connected(context) as connection:
                            assert (await connection.post(body)).response["allowed"] is True
                            break
                    await asyncio.sleep(0.1)
            assert (await old.post(body)).response["allowed"] is True, "a connection outlives its certificate"
        assert len(await running.until_logged("certificate changed")) == 1


async def test_opa_is_killed_and_comes_back(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry) as running:
        body = body_of(f"{registry.host}/acme/web:1")
        assert (await running.post(body)).response["allowed"] is True
        (opa,) = await running.children()
        os.kill(opa, signal.SIGSTOP)  # it hangs, so that the time in which it is gone can be looked at
        try:
            reply = await running.post(body, "/validate?timeout=1s")
        finally:
            os.kill(opa, signal.SIGKILL)
        status = reply.response["status"]
        assert status["code"] == 503
        assert "[engine-timeout]" in status["message"]
        await running.until_ready()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await running.post(body)).response["allowed"]:
                await asyncio.sleep(0.1)


async def test_with_every_policy_in_audit_nothing_is_refused(tmp_path: Path, registry: FaultyServer) -> None:
    """Registry, OPA and store each down."""
    registry.routes.update(faulty_routes())
    async with webhook(tmp_path, registry, modes={"*": "audit"}, limits={"journalBytes": 1}) as running:
        for image in ("127.0.0.1:1/a:1", f"{registry.host}/acme/slow:1", "not//an image"):
            assert (await running.post(body_of(image), "/validate?timeout=2s")).response["allowed"] is True
        (opa,) = await running.children()
        os.kill(opa, signal.SIGSTOP)
        try:
            reply = await running.post(body_of(f"{registry.host}/acme/web:1"), "/validate?timeout=1s")
        finally:
            os.kill(opa, signal.SIGKILL)
        assert reply.response["allowed"] is True
        hold = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
        try:
            hold.execute("begin exclusive")
            reply = await running.post(body_of(f"{registry.host}/acme/web:1", "u-lost"))
        finally:
            hold.close()
        assert reply.response["allowed"] is True
        assert [line["uid"] for line in await running.until_logged("decision not recorded")] == ["u-lost"]


async def test_with_a_policy_in_deny_no_record_means_no_answer(tmp_path: Path, registry: FaultyServer) -> None:
    """The store is locked and the journal too small; both come back without a restart."""
    async with webhook(tmp_path, registry, limits={"journalBytes": 1}) as running:
        body = body_of(f"{registry.host}/acme/web:1")
        hold = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
        try:
            hold.execute("begin exclusive")
            reply = await running.post(body)
            assert reply.response["status"]["message"].startswith("[audit-unavailable]")
            assert reply.response["status"]["code"] == 503
            assert "[!]audit degraded" in await running.until_ready()
        finally:
            hold.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await running.post(body)).response["allowed"]:
                await asyncio.sleep(0.1)


async def test_the_journal_takes_over_and_is_replayed(tmp_path: Path, registry: FaultyServer) -> None:
    async with webhook(tmp_path, registry) as running:
        hold = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
        try:
            hold.execute("begin exclusive")
            for number in range(5):
                reply = await running.post(body_of(f"{registry.host}/acme/web:1", f"u-{number}"))
                assert reply.response["allowed"] is True
        finally:
            hold.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await records_of(running)) < 5:
                await asyncio.sleep(0.1)
        assert [record.uid for record in reversed(await records_of(running))] == [f"u-{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"server": {"tls": {}}}, "server.tls is missing"),
        ({"server": {"port": 0, "tls": {"certFile": "no.crt", "keyFile": "no.key"}}}, "no.crt cannot be read"),
        ({"audit": {}}, "audit.database is missing"),
        ({"opa": {"binary": "/nowhere/opa"}}, "/nowhere/opa"),
        ({"policies": {"folders": ["nowhere"]}}, "nowhere"),
        ({"policies": {"modes": {"image-usr": "warn"}}}, "did you mean image-user?"),
        ({"trust": {"signers": {"ci": {"key": {"pem": "no key"}}}}}, 'trust: signer "ci"'),
        ({"server": {"address": "192.0.2.1"}}, "192.0.2.1"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(tmp_path: Path, sections: dict[str, Any], words: str) -> None:
    server = {"port": 0, "healthPort": 0, "tls": {"selfManaged": {"directory": "tls"}}}
    configuration = {"audit": {"database": "sqlite:///audit.db"}, "server": server, **sections}
    if "server" in sections:
        configuration["server"] = {**server, **sections["server"]}
    (tmp_path / "portcullis.yaml").write_text(json.dumps(configuration))
    started = subprocess.run(
        [sys.executable, "-m", "portcullis", "serve", "--config", str(tmp_path / "portcullis.yaml")],
        capture_output=True,
        text=True,
        timeout=180,
    )
    lines = [line for line in started.stderr.splitlines() if not line.startswith("{")]
    assert started.returncode == 1, started.stderr
    assert len(lines) == 1, started.stderr
    assert lines[0].startswith("portcullis: ")
    assert words in lines[0]
