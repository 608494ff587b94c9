"""The platforms of nodes as a real API server tells them, with the rights that the chart gives and no more."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from e2e.cluster.programs import Cluster
from fakes.patience import PATIENCE_SECONDS
from portcullis.cluster.nodes import WatchedNodes
from portcullis.errors import ClusterError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Platform

pytestmark = pytest.mark.anyio

NAME = "watches-nodes"
AMD64, S390X, RISCV = (Platform("linux", architecture) for architecture in ("amd64", "s390x", "riscv64"))


def node(name: str, architecture: str) -> dict[str, Any]:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture, "portcullis.dev/test": NAME}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"{NAME}-{name}", "labels": labels}}


def client_of(cluster: Cluster, token: str) -> ApiClient:
    configuration = Configuration(host=f"https://127.0.0.1:{cluster.port}", ssl_ca_cert=str(cluster.pki.ca))
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return ApiClient(configuration)


@pytest.fixture
def token(cluster: Cluster) -> str:
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}})
    return cluster.kubectl("create", "token", NAME, "--namespace", "default").stdout.strip()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


async def test_platforms_of_real_nodes_as_they_come_and_go(cluster: Cluster, token: str) -> None:
    for name, architecture in (("one", "amd64"), ("two", "s390x"), ("three", "s390x")):
        cluster.apply(node(name, architecture))
    try:
        async with client_of(cluster, token) as client:
            nodes, seen = WatchedNodes(client=client, limits=DEFAULT_LIMITS), []
            nodes.changed = lambda: seen.append(nodes.platforms)
            watching = asyncio.create_task(nodes.watch.run())
            with pytest.raises(ClusterError, match="403"):
                await nodes.known(2)
            cluster.kubectl("create", "clusterrole", NAME, "--verb=list,watch", "--resource=nodes")
            cluster.kubectl(
                "create", "clusterrolebinding", NAME, f"--clusterrole={NAME}", f"--serviceaccount=default:{NAME}"
            )
            found = await nodes.known(20)
            assert {AMD64, S390X} <= set(found)
            assert len(found) == len(set(found))
            told = len(seen)
            beat = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
            cluster.api.patch(f"/api/v1/nodes/{NAME}-one/status", beat)
            cluster.apply(node("four", "riscv64"))
            await until(lambda: RISCV in (nodes.platforms or ()))
            assert len(seen) == told + 1  # the heartbeat before was nothing
            cluster.kubectl("delete", "node", f"{NAME}-four")
            await until(lambda: RISCV not in (nodes.platforms or ()))
            assert nodes.watch.lists == 1
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        cluster.kubectl("delete", "nodes", "--selector", f"portcullis.dev/test={NAME}")
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", NAME, "--ignore-not-found")
        cluster.kubectl("delete", "serviceaccount", NAME, "--namespace", "default")
