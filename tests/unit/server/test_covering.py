"""Whether the API server would take what is served."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from portcullis.cluster.certificateissuing import certificate_pem, general_names, make_authority, make_leaf
from portcullis.cluster.registration import PIN_WEBHOOK, Registration
from portcullis.server.checks import pinning_check
from portcullis.server.covering import Coverage, distrust
from portcullis.server.following import Follower
from portcullis.server.tls import ServerTls

NOW = datetime.now(UTC)
HOST = "gate.portcullis-system.svc"
CA, OTHER = make_authority(NOW), make_authority(NOW)
BUNDLE, OTHERS = certificate_pem(CA.certificate), certificate_pem(OTHER.certificate)


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def serving(*, name: str = HOST, now: datetime = NOW) -> ssl.SSLContext:
    return tls(name=name, now=now).context


def tls(*, name: str = HOST, now: datetime = NOW) -> ServerTls:
    pair = make_leaf(CA, general_names([name]), now)
    return ServerTls(source=lambda _: pair, clock=Clock())


@pytest.mark.parametrize(
    ("context", "bundle", "problem"),
    [
        (serving(), BUNDLE, ""),
        (serving(), OTHERS + BUNDLE, ""),
        (serving(), OTHERS, "would not take the certificate as gate.portcullis-system.svc: "),
        (serving(name="other.svc"), BUNDLE, "Hostname mismatch"),
        (serving(now=NOW - timedelta(days=91)), BUNDLE, "certificate has expired"),
        (serving(), b"nonsense", "holds no certificate in PEM"),
        (serving(), b"\xff", "holds no certificate in PEM"),
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), BUNDLE, "a handshake as the API server's fails"),
    ],
)
def test_it_is_taken_or_the_reason_is_said(context: ssl.SSLContext, bundle: bytes, problem: str) -> None:
    said = distrust(context, bundle, HOST)
    assert (said == "") if not problem else (problem in said)


def test_each_webhook_counts_and_one_without_a_bundle_does_not() -> None:
    coverage = Coverage(serving())
    hosts = {"gate": HOST, "policies": HOST}
    assert coverage.look(1, {"gate": BUNDLE, "policies": b""}, hosts) == ""
    assert "would not take" in coverage.look(1, {"gate": BUNDLE, "policies": OTHERS}, hosts)
    assert coverage.look(1, {"gate": BUNDLE, "policies": BUNDLE}, hosts) == ""


def test_it_looks_again_only_where_something_changed() -> None:
    context = serving()
    coverage = Coverage(context)
    assert coverage.look("first", {"gate": BUNDLE}, {"gate": HOST}) == ""
    leaf = make_leaf(OTHER, general_names([HOST]), NOW)
    tls = ServerTls(source=lambda _: leaf, clock=Clock())
    coverage._context = tls.context
    assert coverage.look("first", {"gate": BUNDLE}, {"gate": HOST}) == ""
    assert "would not take" in coverage.look("second", {"gate": BUNDLE}, {"gate": HOST})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bundle", "problem"),
    [(BUNDLE, ""), (OTHERS, "the API server would not take the certificate as gate.portcullis-system.svc"), (b"", "")],
)
async def test_so_it_is_with_the_object_by_which_tags_are_pinned(bundle: bytes, problem: str) -> None:
    """And no replica is unready for it."""
    pinning = Follower()
    pinning.found = Registration("uid", {PIN_WEBHOOK: bundle}, {}, hosts={PIN_WEBHOOK: HOST})
    check = pinning_check(pinning, tls(), Clock())
    assert (check.name, check.decisive) == ("mutating-webhook-configuration", False)
    assert (await check.probe())[: len(problem) or None] == problem


@pytest.mark.anyio
async def test_what_is_wrong_with_that_object_is_said_first() -> None:
    pinning = Follower()
    pinning.problem = "there is none"
    assert await pinning_check(pinning, tls(), Clock()).probe() == "there is none"
