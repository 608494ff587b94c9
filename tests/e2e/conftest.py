"""What the files share: the demo, the control plane of a worker, what is installed there; and their order."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from e2e.cluster.gate import Installed, prepared, shared_store
from e2e.cluster.programs import Cluster, control_plane
from e2e.cluster.registry import SampleRegistry
from e2e.cluster.sharing import SharedPlane
from e2e.support import FORKER, RunningDemo

TEST_SECONDS = 1500
"""A busy machine takes long; what hangs is ended all the same."""
LONG = (
    "test_docs",
    "test_uninstall",
    "test_faults_store",
    "test_recheck",
    "test_install",
    "test_rotation",
    "test_life",
    "test_replicas",
    "test_faults",
    "test_matrix",
    "test_faults_upgrade",
    "test_break_glass",
    "test_scan",
    "test_mutate",
    "test_reports",
    "test_pull_secrets",
    "test_live_policies",
    "test_faults_clock",
    "test_admission",
    "test_callers",
)
"""Files that take longest, which begin first: none is still running when all others are done."""
START_SECONDS = 180
STOP_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def forker() -> Iterator[None]:
    """Commands are its children."""
    yield
    FORKER.close()


@pytest.fixture(scope="session")
def running_demo() -> Iterator[RunningDemo]:
    """``portcullis demo --keep``, ended by Ctrl-C; afterwards nothing of it may be left."""
    assert shutil.which("opa"), "opa is not on PATH: run these tests through `make e2e`"
    process = subprocess.Popen(
        [sys.executable, "-m", "portcullis", "demo", "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        demo = _read(process)
        watchdog.cancel()
        yield demo
    finally:
        watchdog.cancel()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, errors
    assert not demo.config.parent.exists(), "the demo leaves its folder behind"


def _read(process: "subprocess.Popen[str]") -> RunningDemo:
    assert process.stdout is not None
    printed: list[str] = []
    lines: dict[str, str] = {}
    for line in process.stdout:
        printed.append(line)
        if found := re.match(r"(pages|webhook|health|CA|config|log|try|inspect|audit) +(\S.*)$", line):
            lines[found[1]] = found[2]
        if "audit" in lines:
            return RunningDemo(lines, "".join(printed))
    assert process.stderr is not None
    pytest.fail(f"the demo ended early:\n{''.join(printed)}\n{process.stderr.read()}")


@pytest.fixture(scope="session")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedPlane]:
    """For the files of one worker, one after the other."""
    plane = SharedPlane(lambda: tmp_path_factory.mktemp("cluster"))
    yield plane
    plane.close()


@pytest.fixture(scope="module")
def cluster(shared_plane: SharedPlane) -> Iterator[Cluster]:
    """etcd, API server and controller manager, for the tests of one file: it finds there what a new cluster has. A file
    that leaves thousands of objects behind, or starts the API server with other options, overrides this fixture by
    ``own_cluster``."""
    yield shared_plane.take()
    shared_plane.give_back()


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Started for one file, and ended with it."""
    with control_plane(tmp_path_factory.mktemp("own-cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def sample_registry() -> Iterator[SampleRegistry]:
    with SampleRegistry().running() as registry:
        yield registry


@pytest.fixture(scope="module")
def release(cluster: Cluster, sample_registry: SampleRegistry) -> Iterator[Installed]:
    """Namespace, kubelet and network for the chart; nothing is installed yet."""
    with prepared(cluster, sample_registry) as made:
        yield made


@pytest.fixture(scope="module")
def replicated(cluster: Cluster, sample_registry: SampleRegistry) -> Iterator[Installed]:
    """The same with two nodes and a PostgreSQL server: what is installed has two replicas."""
    with prepared(cluster, sample_registry, nodes=2) as made, shared_store(made):
        yield made
