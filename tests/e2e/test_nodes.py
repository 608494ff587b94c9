"""The platforms of nodes as a real API server lists them, with the right that the chart gives and no more."""

from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration, CoreV1Api

from e2e.cluster.programs import Cluster
from portcullis.cluster.nodes import Nodes
from portcullis.errors import ClusterError
from portcullis.model.image import Platform

pytestmark = pytest.mark.anyio

NAME = "lists-nodes"


def node(name: str, architecture: str) -> dict[str, Any]:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture, "portcullis.dev/test": NAME}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def client_of(cluster: Cluster, token: str) -> ApiClient:
    configuration = Configuration(host=f"https://127.0.0.1:{cluster.port}", ssl_ca_cert=str(cluster.pki.ca))
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return ApiClient(configuration)


@pytest.fixture
def token(cluster: Cluster) -> str:
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}})
    return cluster.kubectl("create", "token", NAME, "--namespace", "default").stdout.strip()


async def test_platforms_of_real_nodes(cluster: Cluster, token: str) -> None:
    for name, architecture in (("one", "amd64"), ("two", "s390x"), ("three", "s390x")):
        cluster.apply(node(f"{NAME}-{name}", architecture))
    try:
        async with client_of(cluster, token) as client:
            listed = Nodes(api=CoreV1Api(client))
            with pytest.raises(ClusterError, match="403"):
                await listed.platforms()
            cluster.kubectl("create", "clusterrole", NAME, "--verb=list", "--resource=nodes")
            cluster.kubectl(
                "create", "clusterrolebinding", NAME, f"--clusterrole={NAME}", f"--serviceaccount=default:{NAME}"
            )
            found = await listed.platforms()
    finally:
        cluster.kubectl("delete", "nodes", "--selector", f"portcullis.dev/test={NAME}")
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", NAME, "--ignore-not-found")
        cluster.kubectl("delete", "serviceaccount", NAME, "--namespace", "default")
    assert {Platform("linux", "amd64"), Platform("linux", "s390x")} <= set(found)
    assert len(found) == len(set(found))
