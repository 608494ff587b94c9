"""Issue 8: what happens while parts of the gate's surroundings fail, each under a steady stream of requests.

One replica with SQLite, profile enforce. After all of it, the API server's audit log is joined with the records: each
request was decided and recorded, or refused because nobody decided, and those are counted.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from e2e.cluster.gate import Installed
from e2e.cluster.programs import until
from e2e.faulting.certificates import Issuer
from e2e.faulting.joining import Fate, joined, sqlite_records
from e2e.faulting.processes import children, named
from e2e.faulting.stream import Sent, Stream
from e2e.faulting.watching import metric, readyz

SHOP = "shop"
DISK_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def claims(release: Installed) -> Iterator[Path]:
    """Where the volumes of claims lie: a small file system of its own, where we may mount one."""
    size = f"size={DISK_BYTES}"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(release.kubelet.claims)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    yield release.kubelet.claims
    if mounted:
        subprocess.run(["umount", "--lazy", str(release.kubelet.claims)], check=True)


@pytest.fixture(scope="module")
def gate(release: Installed, claims: Path) -> Iterator[Installed]:
    release.cluster.namespace(SHOP)
    ungated = len(release.cluster.audit_events())
    release.cluster.apply(ISSUER.secret())
    release.helm("install", values={**release.values("enforce"), "tls": ISSUER.values})
    yield release
    found = joined(release, lambda: sqlite_records(release), ungated=ungated)
    assert not found.of(Fate.UNMATCHED), str(found)
    assert not found.twice, str(found)
    assert [one["name"] for one in found.unclaimed if one["name"] not in FORGOTTEN] == [], str(found)
    assert len(found.of(Fate.RECORDED)) > 200, str(found)
    # Each fault was felt, and each request that it hit was refused.
    assert found.of(Fate.UNANSWERED), str(found)
    assert found.of(Fate.UNRECORDED), str(found)
    for fate in (Fate.UNANSWERED, Fate.UNRECORDED, Fate.LATE):
        assert all(event["responseStatus"]["code"] >= 500 for event in found.of(fate)), str(found)


ISSUER = Issuer()
FORGOTTEN: set[str] = set()
"""Names of pods about which the API server died before it logged what it had asked us."""


def test_kill_9_of_the_webhook(gate: Installed) -> None:
    (pod,) = gate.kubelet.alive
    before = pod.process.pid
    opa = named(children(before), "opa")
    assert opa
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        os.kill(before, signal.SIGKILL)
        stream.see("unanswered")
        until(lambda: pod.process.pid != before and pod.ready, "the container again", 90)
        stream.settle()
    assert not named(opa, "opa"), "its OPA has ended with it"
    assert pod.restarts == 1


def test_kill_9_of_opa(gate: Installed) -> None:
    (pod,) = gate.kubelet.alive
    restarts = pod.restarts
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        for _ in range(3):
            before = named(children(pod.process.pid), "opa")
            for process in before:
                os.kill(process, signal.SIGKILL)
            until(lambda: set(named(children(pod.process.pid), "opa")) - set(before), "another OPA")  # noqa: B023
            stream.settle()
    undecided = stream.of("undecided")
    assert all("[engine-unavailable]" in one.answer.message for one in undecided), undecided
    assert stream.of("unanswered") == []
    assert pod.restarts == restarts


def test_a_full_disk(gate: Installed, claims: Path) -> None:
    """Decisions that cannot be recorded are not given. With room again, it is well without anybody's doing."""
    (pod,) = gate.kubelet.alive
    restarts = pod.restarts
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        with full(claims, pod.process.pid):
            stream.see("undecided", 5)
        stream.settle()
    assert all(unrecorded(one) for one in stream.of("undecided")), stream.counts
    assert stream.of("unanswered") == []
    assert pod.restarts == restarts


def unrecorded(sent: Sent) -> bool:
    return "[audit-unavailable] the decision could not be recorded, so it is not given" in sent.answer.message


@contextlib.contextmanager
def full(claims: Path, process: int) -> Iterator[None]:
    """A disk on which nothing can be written; where we may not mount, files of the process that may not grow."""
    if not claims.is_mount():
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        yield
        resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return
    ballast = claims / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


def test_a_crash_of_the_api_server(gate: Installed) -> None:
    """The gate outlives it, and looks at it again as soon as it is there."""
    (pod,) = gate.kubelet.alive
    restarts = pod.restarts
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        gate.cluster.stop("kube-apiserver", signal.SIGKILL)
        stream.see("no API server")
        ready, said = readyz(pod)
        assert ready, f"a replica that decides is no worse without it: {said}"
        gate.cluster.start("kube-apiserver")
        stream.settle()
    FORGOTTEN.update(one.name for one in stream.of("no API server"))
    assert pod.restarts == restarts


def test_an_expired_certificate(gate: Installed) -> None:
    """The gate says so and is not ready; a new one in the Secret is taken up without a restart."""
    (pod,) = gate.kubelet.alive
    restarts = pod.restarts

    def ends_in() -> float:
        return metric(pod, "certificate_not_after_seconds") - time.time()

    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        assert ends_in() > 3000
        gate.cluster.apply(ISSUER.secret(timedelta(seconds=15)))
        until(lambda: ends_in() < 15, "the short-lived certificate")
        until(lambda: ends_in() < 0, "its end")
        ready, said = readyz(pod)
        assert not ready
        assert "[-]certificate failed: the certificate expired at " in said
        gate.cluster.apply(ISSUER.secret())
        until(lambda: readyz(pod)[0] and pod.ready, "the new certificate")
        stream.settle()
    assert pod.restarts == restarts
    assert stream.of("undecided") == []
