"""The webhook configuration: one suite over the real API server, with the rights that the chart gives and no more,
and over the fake that other tests use."""

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio.client import AdmissionregistrationV1Api, ApiClient, Configuration, CoreV1Api

from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster
from fakes.cluster import WEBHOOK, MemoryConfigurations
from portcullis.cluster.registration import STOPPED, OwnPod, Registration, WebhookConfigurations, connected
from portcullis.errors import ClusterError
from portcullis.server.registrar import Configurations

pytestmark = pytest.mark.anyio

NAME = "looked-after"
PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CA = (
    b"-----BEGIN CERTIFICATE-----\n"
    b"MIIBfTCCASOgAwIBAgIUEYYKx9HPd4hpT4+H3p4L4xmKu9wwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJ\n"
    b"-----END CERTIFICATE-----\n"
)
AT = datetime(2026, 11, 24, 12, 0, 1, 999_999, tzinfo=UTC)
RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["podtemplates"], "operations": ["CREATE"]}]
OBJECT: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": NAME},
    "webhooks": [
        {
            "name": WEBHOOK,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "NoneOnDryRun",
            "failurePolicy": "Fail",
            "clientConfig": {"service": {"name": "gate", "namespace": "default", "path": "/validate"}},
            "rules": RULES,
        }
    ],
}
"""As an installer writes it: without what the gate writes."""


class Real:
    """The object on the API server, made and deleted by an administrator, looked after by a service account."""

    def __init__(self, cluster: Cluster, client: ApiClient) -> None:
        self.cluster = cluster
        self.configurations: Configurations = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name=NAME)

    def make(self) -> None:
        self.cluster.apply(OBJECT, options=("--server-side", "--field-manager=helm"))

    def delete(self) -> None:
        self.cluster.kubectl("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")


class Fake:
    def __init__(self) -> None:
        self.count = 0
        self.memory = MemoryConfigurations(found=None)
        self.configurations: Configurations = self.memory

    def make(self) -> None:
        self.count += 1
        self.memory.found = Registration(f"uid-{self.count}", {WEBHOOK: b""}, {})

    def delete(self) -> None:
        self.memory.found = None


@pytest.fixture(scope="module")
def token(cluster: Cluster) -> str:
    """Of a service account that may get and patch this one object, and get pods of one namespace."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": NAME}}
    resources = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"]}
    role["rules"] = [{**resources, "resourceNames": [NAME], "verbs": ["get", "patch"]}]
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}})
    cluster.apply(role)
    account = f"--serviceaccount=default:{NAME}"
    cluster.kubectl("create", "clusterrolebinding", NAME, f"--clusterrole={NAME}", account)
    cluster.kubectl("create", "role", NAME, "--verb=get", "--resource=pods", "--namespace", "default")
    cluster.kubectl("create", "rolebinding", NAME, f"--role={NAME}", account, "--namespace", "default")
    return cluster.kubectl("create", "token", NAME, "--namespace", "default").stdout.strip()


@pytest.fixture(params=["real", "fake"])
async def place(request: pytest.FixtureRequest, cluster: Cluster, token: str) -> AsyncIterator[Real | Fake]:
    if request.param == "fake":
        yield Fake()
        return
    async with client_of(cluster.port, cluster, token) as client:
        real = Real(cluster, client)
        yield real
        real.delete()


def client_of(port: int, cluster: Cluster, token: str) -> ApiClient:
    configuration = Configuration(host=f"https://127.0.0.1:{port}", ssl_ca_cert=str(cluster.pki.ca))
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return ApiClient(configuration)


async def test_there_is_none(place: Real | Fake) -> None:
    assert await place.configurations.read() is None


async def test_ca_and_stop_are_written_and_read(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    assert (dict(found.ca_bundles), dict(found.stopped)) == ({WEBHOOK: b""}, {})
    for ca_bundle, stopped_at, stopped in (
        (CA, None, {}),
        (CA, AT, {WEBHOOK: "2026-11-24T12:00:01Z"}),
        (CA, None, {}),
    ):
        await place.configurations.write(found, ca_bundle=ca_bundle, stopped_at=stopped_at)
        now = await place.configurations.read()
        assert now == replace(found, ca_bundles={WEBHOOK: CA}, stopped=stopped)
        assert now.covered_by(CA)


async def test_a_deleted_object_is_not_made_anew(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    place.delete()
    with pytest.raises(ClusterError):
        await place.configurations.write(found, ca_bundle=CA, stopped_at=None)
    assert await place.configurations.read() is None


async def test_nor_is_what_was_read_written_into_its_successor(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    place.delete()
    place.make()
    with pytest.raises(ClusterError):
        await place.configurations.write(found, ca_bundle=CA, stopped_at=AT)
    successor = await place.configurations.read()
    assert successor is not None
    assert (successor.uid != found.uid, dict(successor.stopped)) == (True, {})


async def test_the_installer_and_the_gate_do_not_fight(cluster: Cluster, token: str) -> None:
    """Neither an upgrade by server-side apply nor one by a client takes away what the gate wrote, or conflicts."""
    async with client_of(cluster.port, cluster, token) as client:
        real = Real(cluster, client)
        real.make()
        found = await real.configurations.read()
        assert found is not None
        await real.configurations.write(found, ca_bundle=CA, stopped_at=AT)
        changed = {**OBJECT, "webhooks": [{**OBJECT["webhooks"][0], "failurePolicy": "Ignore"}]}
        cluster.apply(changed, options=("--server-side", "--field-manager=helm"))
        cluster.kubectl("annotate", "validatingwebhookconfiguration", NAME, "by=hand")
        (webhook,) = cluster.api.get(f"{PATH}/{NAME}")["webhooks"]
        assert webhook["failurePolicy"] == "Ignore"
        assert webhook["clientConfig"]["caBundle"]
        assert [condition["name"] for condition in webhook["matchConditions"]] == [STOPPED]
        # Where nobody else writes the CA, the gate does not take away what others wrote.
        await real.configurations.write(found, ca_bundle=None, stopped_at=None)
        (webhook,) = cluster.api.get(f"{PATH}/{NAME}")["webhooks"]
        assert "matchConditions" not in webhook
        assert webhook["failurePolicy"] == "Ignore"
        real.delete()


async def test_without_the_right_the_words_say_so(cluster: Cluster, token: str) -> None:
    async with client_of(cluster.port, cluster, token) as client:
        other = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name="of-others")
        with pytest.raises(ClusterError, match="of-others cannot be read: the API server answered 403 Forbidden"):
            await other.read()


@pytest.mark.parametrize("how", ["nobody listens", "it hangs", "another CA"])
async def test_an_api_server_that_is_not_there(cluster: Cluster, token: str, how: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if how == "it hangs":
            silent.listen()
        port = cluster.port if how == "another CA" else silent.getsockname()[1]
        client = client_of(port, cluster, token)
        if how == "another CA":
            client.rest_client.ssl_context = ssl.create_default_context()
        async with client:
            configurations = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name=NAME, seconds=0.5)
            with pytest.raises(ClusterError, match=f"{NAME} cannot be read"):
                await configurations.read()
            with pytest.raises(ClusterError, match=f"{NAME} cannot be changed"):
                await configurations.write(Registration("u", {WEBHOOK: b""}, {}), ca_bundle=None, stopped_at=None)


async def test_a_pod_is_leaving_when_it_is_being_deleted(cluster: Cluster, token: str) -> None:
    pod = workload("Pod", "gate", "default", container("web", "registry.example/web:1"))
    pod["metadata"]["finalizers"] = ["e2e.example/kept"]
    cluster.apply(pod)
    async with client_of(cluster.port, cluster, token) as client:
        own = OwnPod(api=CoreV1Api(client), pod="default/gate")
        assert await own.leaving() is False
        cluster.kubectl("delete", "pod", "gate", "--wait=false")
        assert await own.leaving() is True
        cluster.kubectl("patch", "pod", "gate", "--patch", '{"metadata": {"finalizers": null}}')
        with pytest.raises(ClusterError, match="the pod default/gate cannot be read: the API server answered 404"):
            await own.leaving()
        with pytest.raises(ClusterError, match="the pod other/gate cannot be read: the API server answered 403"):
            await OwnPod(api=CoreV1Api(client), pod="other/gate").leaving()


async def test_outside_of_a_pod_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match=r"cluster\.webhook needs a pod with its service account mounted"):
        async with connected(NAME, "default/gate"):
            raise AssertionError
