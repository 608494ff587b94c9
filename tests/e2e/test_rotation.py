"""Certificates change under a steady stream of requests: the leaf, the CA, and a crash in the middle of it."""

import random
import ssl
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509

from e2e.cluster.gate import NAMESPACE, RELEASE, Installed
from e2e.cluster.losses import Loss, both_ready, kill, unexplained
from e2e.cluster.pods import Running
from e2e.cluster.programs import until
from e2e.cluster.stream import Stream, warm_up

SHOP = "shop"
SHARED = f"{RELEASE}-shared"
ROTATE = "portcullis.dev/rotate"
SECONDS = 240
"""A CA stands in the webhook configuration for 15 s before it signs, and replicas look every 5 s."""


@pytest.fixture(scope="module")
def gate(replicated: Installed) -> Installed:
    replicated.helm("install", values=replicated.values("enforce"))
    both_ready(replicated)
    replicated.cluster.namespace(SHOP)
    warm_up(replicated, SHOP)
    return replicated


@pytest.fixture
def stream(gate: Installed) -> Iterator[Stream]:
    both_ready(gate)
    with Stream(gate, SHOP).running() as running:
        running.settle(enforced=True)
        yield running


def served(pod: Running) -> x509.Certificate:
    """The leaf that the replica shows to whoever connects now."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", pod.named["webhook"])).encode())


def leaves(gate: Installed) -> set[int]:
    return {served(pod).serial_number for pod in both_ready(gate)}


def trusted(gate: Installed) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(gate.ca_bundle)


def issuers(gate: Installed) -> set[str]:
    """The CAs of what is served; each of them is trusted."""
    names = {served(pod).issuer.rfc4514_string() for pod in both_ready(gate)}
    assert names <= {one.subject.rfc4514_string() for one in trusted(gate)}
    return names


def rotate(gate: Installed, wish: str) -> None:
    """As docs/operators.md has it."""
    gate.cluster.kubectl("annotate", "secret", SHARED, f"{ROTATE}={wish}", "--overwrite", "--namespace", NAMESPACE)


def rotated(gate: Installed, before: set[str]) -> Callable[[], bool]:
    """Whether both replicas serve a leaf of one CA, which is none of those."""
    return lambda: len(issuers(gate)) == 1 and not issuers(gate) & before


def test_a_leaf_that_is_gone_is_made_anew(gate: Installed, stream: Stream) -> None:
    before, bundle = leaves(gate), gate.ca_bundle
    assert len(before) == 1, "replicas share one certificate"
    patch = '[{"op": "remove", "path": "/data/tls.crt"}, {"op": "remove", "path": "/data/tls.key"}]'
    gate.cluster.kubectl("patch", "secret", SHARED, "--type=json", f"--patch={patch}", "--namespace", NAMESPACE)
    until(lambda: len(leaves(gate)) == 1 and not leaves(gate) & before, "another leaf", SECONDS, 0.5)
    stream.settle(enforced=True)
    assert gate.ca_bundle == bundle
    assert [str(one) for one in stream.failures] == []


def test_the_ca_and_the_path_are_changed(gate: Installed, stream: Stream) -> None:
    before, path = issuers(gate), gate.webhook()["clientConfig"]["service"]["path"]
    rotate(gate, "first")
    until(rotated(gate, before), "a leaf of another CA", SECONDS, 0.5)
    until(lambda: gate.webhook()["clientConfig"]["service"]["path"] != path, "another path", SECONDS, 0.5)
    stream.settle(enforced=True)
    assert {one.subject.rfc4514_string() for one in trusted(gate)} == before | issuers(gate)
    assert [str(one) for one in stream.failures] == []


def test_a_crash_at_any_moment_of_it(gate: Installed, stream: Stream) -> None:
    """kill -9 of one or the other as soon as it was asked for, as the bundle has the next CA, and as the first replica
    has a leaf of it: whoever is left or comes back brings it to its end."""
    choice = random.Random(8)
    before, known, losses = issuers(gate), len(trusted(gate)), list[Loss]()
    pods = both_ready(gate)
    moments: tuple[Callable[[], bool], ...] = (
        lambda: True,
        lambda: len(trusted(gate)) > known,
        lambda: any(served(pod).issuer.rfc4514_string() not in before for pod in pods if pod.ready),
    )
    rotate(gate, "second")
    for moment in moments:
        until(moment, "the next moment", SECONDS)
        losses.append(kill(gate, choice.choice(pods)))
        until(lambda: all(pod.ready for pod in pods), "both again", SECONDS)
    until(rotated(gate, before), "a leaf of another CA", SECONDS, 0.5)
    stream.settle(enforced=True)
    assert unexplained(stream.failures, *losses) == []
