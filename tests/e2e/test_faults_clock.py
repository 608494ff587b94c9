"""Issue 8: the gate's clock is ten minutes wrong, and makes the certificate that the API server has to trust."""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.gate import CONFIGURATIONS, NAMESPACE, RELEASE, Installed
from e2e.cluster.pods import Running
from e2e.cluster.programs import until
from e2e.faulting.joining import Fate, joined, sqlite_records
from e2e.faulting.stream import Stream
from e2e.faulting.watching import readyz

SHOP = "shop"
CLOCK = "/clock"
SLACK = timedelta(minutes=3)


@pytest.fixture(scope="module")
def skewed(release: Installed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values of a gate whose clock is wrong; by how much is added by the test."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a wrong clock is a library that is preloaded, and there is no C compiler to make it")
    library = tmp_path_factory.mktemp("clock") / "skew.so"
    source = Path(__file__).parent / "faulting" / "skew.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    release.cluster.namespace(SHOP)
    release.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "clock", "namespace": NAMESPACE},
            "data": {"skew.so": base64.b64encode(library.read_bytes()).decode()},
        }
    )
    return {
        **release.values("enforce"),
        "extraVolumes": [{"name": "clock", "secret": {"secretName": "clock"}}],
        "extraVolumeMounts": [{"name": "clock", "mountPath": CLOCK, "readOnly": True}],
    }


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_clock_that_is_ten_minutes_wrong(release: Installed, skewed: dict[str, Any], seconds: int) -> None:
    """The API server trusts the certificate at once, though its clock is another; records have the gate's time."""
    environment = {"LD_PRELOAD": f"{CLOCK}/skew.so", "CLOCK_SKEW_SECONDS": str(seconds)}
    extra = [{"name": name, "value": value} for name, value in environment.items()]
    ungated = len(release.cluster.audit_events())
    release.helm("install", values={**skewed, "extraEnv": extra})
    try:
        (pod,) = release.kubelet.alive
        wrong = timedelta(seconds=seconds)
        assert abs(served_at(pod) - wrong - datetime.now(UTC)) < SLACK, "its clock is not what this test is about"
        with Stream(release, SHOP).running() as stream:
            stream.settle()
        ready, said = readyz(pod)
        assert ready, said
        assert not stream.felt, stream.counts
        assert pod.restarts == 0
        found = joined(release, lambda: sqlite_records(release), ungated=ungated)
        assert found.of(Fate.RECORDED)
        assert not found.of(Fate.UNMATCHED), str(found)
        assert not found.of(Fate.UNANSWERED), str(found)
        verified = release.kubelet.execute(pod, ["portcullis", "audit", "verify"])
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        release.helm("uninstall")
        until(lambda: not release.kubelet.alive, "the end of the gate's pod")
        until(lambda: release.cluster.api.find(f"{CONFIGURATIONS}/{RELEASE}") is None, "the end of its webhook")


def served_at(pod: Running) -> datetime:
    """When it began to serve, by its own clock."""
    lines = [json.loads(line) for line in pod.log.splitlines() if line.startswith("{")]
    return next(datetime.fromisoformat(line["timestamp"]) for line in lines if line["event"] == "serving")
