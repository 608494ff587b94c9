"""The webhook configuration: one suite over the real API server, with the rights that the chart gives and no more,
and over the fake that other tests use."""

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio.client import AdmissionregistrationV1Api, ApiClient, AppsV1Api, Configuration, CoreV1Api

from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster
from fakes.cluster import WEBHOOK, MemoryConfigurations
from portcullis.cluster.ownpod import OwnPod
from portcullis.cluster.registration import STOPPED, Registration, WebhookConfigurations, Written, connected
from portcullis.cluster.sharedsecret import ROTATE, SharedSecret
from portcullis.errors import ClusterError
from portcullis.server.registrar import Configurations

pytestmark = pytest.mark.anyio

NAME = "looked-after"
PATHS = {
    mutating: f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations"
    for mutating, kind in ((False, "validating"), (True, "mutating"))
}
CA = (
    b"-----BEGIN CERTIFICATE-----\n"
    b"MIIBfTCCASOgAwIBAgIUEYYKx9HPd4hpT4+H3p4L4xmKu9wwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJ\n"
    b"-----END CERTIFICATE-----\n"
)
SEGMENT = "0123456789abcdef-word"
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
            "clientConfig": {"service": {"name": "gate", "namespace": "default"}},
            "rules": RULES,
        }
    ],
}
"""As an installer writes it: without what the gate writes."""


class Real:
    """The object on the API server, made and deleted by an administrator, looked after by a service account."""

    def __init__(self, cluster: Cluster, client: ApiClient, *, mutating: bool = False) -> None:
        self.cluster = cluster
        self.kind = "MutatingWebhookConfiguration" if mutating else "ValidatingWebhookConfiguration"
        self.path = f"{PATHS[mutating]}/{NAME}"
        self.configurations: Configurations = WebhookConfigurations(
            api=AdmissionregistrationV1Api(client), name=NAME, mutating=mutating
        )

    def make(self, **changed: Any) -> None:
        webhooks = [{**OBJECT["webhooks"][0], **changed}]
        made = {**OBJECT, "kind": self.kind, "webhooks": webhooks}
        self.cluster.apply(made, options=("--server-side", "--field-manager=helm"))

    def delete(self) -> None:
        self.cluster.kubectl("delete", self.kind, NAME, "--ignore-not-found")


class Fake:
    def __init__(self) -> None:
        self.count = 0
        self.memory = MemoryConfigurations(found=None)
        self.configurations: Configurations = self.memory

    def make(self) -> None:
        self.count += 1
        hosts = {WEBHOOK: "gate.default.svc"}
        self.memory.found = Registration(f"uid-{self.count}", {WEBHOOK: b""}, {}, paths={WEBHOOK: ""}, hosts=hosts)

    def delete(self) -> None:
        self.memory.found = None


@pytest.fixture(scope="module")
def token(cluster: Cluster) -> str:
    """Of a service account that may get and patch the objects of this name, and get pods of one namespace."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": NAME}}
    both = [path.rpartition("/")[2] for path in PATHS.values()]
    resources = {"apiGroups": ["admissionregistration.k8s.io"], "resources": both}
    home = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["default"], "verbs": ["get"]}
    role["rules"] = [{**resources, "resourceNames": [NAME], "verbs": ["get", "patch"]}, home]
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}})
    cluster.apply(role)
    account = f"--serviceaccount=default:{NAME}"
    cluster.kubectl("create", "clusterrolebinding", NAME, f"--clusterrole={NAME}", account)
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["gate"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["gate-shared"], "verbs": ["get", "update"]},
    ]
    meta = {"name": NAME, "namespace": "default"}
    cluster.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules})
    cluster.kubectl("create", "rolebinding", NAME, f"--role={NAME}", account, "--namespace", "default")
    return cluster.kubectl("create", "token", NAME, "--namespace", "default").stdout.strip()


@pytest.fixture(params=["real", "mutating", "fake"])
async def place(request: pytest.FixtureRequest, cluster: Cluster, token: str) -> AsyncIterator[Real | Fake]:
    if request.param == "fake":
        yield Fake()
        return
    async with client_of(cluster.port, cluster, token) as client:
        real = Real(cluster, client, mutating=request.param == "mutating")
        yield real
        real.delete()


def own_pod(client: ApiClient, pod: str = "default/gate", deployment: str = "") -> OwnPod:
    return OwnPod(api=CoreV1Api(client), apps=AppsV1Api(client), pod=pod, deployment=deployment)


def client_of(port: int, cluster: Cluster, token: str) -> ApiClient:
    configuration = Configuration(host=f"https://127.0.0.1:{port}", ssl_ca_cert=str(cluster.pki.ca))
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return ApiClient(configuration)


async def test_there_is_none(place: Real | Fake) -> None:
    assert await place.configurations.read() is None


async def test_what_the_gate_writes_is_read_again(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    assert (dict(found.ca_bundles), dict(found.stopped), dict(found.paths)) == ({WEBHOOK: b""}, {}, {WEBHOOK: ""})
    assert found.hosts == {WEBHOOK: "gate.default.svc"}
    for stopped_at, stopped in ((None, {}), (AT, {WEBHOOK: "2026-11-24T12:00:01Z"}), (None, {})):
        written = await place.configurations.write(found, Written(CA, SEGMENT, stopped_at=stopped_at))
        now = await place.configurations.read()
        assert now is not None
        assert now == written
        assert (now.version != found.version, now.covered_by(CA), now.called_by(SEGMENT)) == (True, True, True)
        assert now.segments == (SEGMENT,)
        paths = {WEBHOOK: f"/{SEGMENT}/validate"}
        assert now == replace(found, ca_bundles={WEBHOOK: CA}, stopped=stopped, paths=paths, version=now.version)
        found = now


async def test_who_was_overtaken_changes_nothing(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    first = await place.configurations.write(found, Written(CA, SEGMENT))
    assert first is not None
    assert await place.configurations.write(found, Written(b"-----", "another-segment-of-a-path")) is None
    assert await place.configurations.read() == first


async def test_a_deleted_object_is_not_made_anew(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    place.delete()
    assert await place.configurations.write(found, Written(CA)) is None
    assert await place.configurations.read() is None


async def test_nor_is_what_was_read_written_into_its_successor(place: Real | Fake) -> None:
    place.make()
    found = await place.configurations.read()
    assert found is not None
    place.delete()
    place.make()
    assert await place.configurations.write(found, Written(CA, stopped_at=AT)) is None
    successor = await place.configurations.read()
    assert successor is not None
    assert (successor.uid != found.uid, dict(successor.stopped)) == (True, {})


@pytest.mark.parametrize("mutating", [False, True])
async def test_the_installer_and_the_gate_do_not_fight(cluster: Cluster, token: str, mutating: bool) -> None:
    """Neither an upgrade by server-side apply nor one by a client takes away what the gate wrote, or conflicts."""
    async with client_of(cluster.port, cluster, token) as client:
        real = Real(cluster, client, mutating=mutating)
        real.make()
        found = await real.configurations.read()
        assert found is not None
        home = await own_pod(client).namespace()
        assert home.uid == cluster.api.get("/api/v1/namespaces/default")["metadata"]["uid"]
        written = await real.configurations.write(found, Written(CA, SEGMENT, owner=home, stopped_at=AT))
        assert written is not None
        assert written.owners == {home.uid}
        real.make(failurePolicy="Ignore")
        cluster.kubectl("annotate", real.kind, NAME, "by=hand")
        (webhook,) = cluster.api.get(real.path)["webhooks"]
        assert webhook["failurePolicy"] == "Ignore"
        assert webhook["clientConfig"]["caBundle"]
        assert webhook["clientConfig"]["service"]["path"] == f"/{SEGMENT}/validate"
        assert [condition["name"] for condition in webhook["matchConditions"]] == [STOPPED]
        # Where nobody else writes the CA, the gate does not take away what others wrote.
        now = await real.configurations.read()
        assert now is not None
        assert now.owners == {home.uid}
        assert await real.configurations.write(now, Written()) is not None
        (webhook,) = cluster.api.get(real.path)["webhooks"]
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
                await configurations.write(Registration("u", {WEBHOOK: b""}, {}), Written())


async def test_a_pod_is_leaving_when_it_is_being_deleted(cluster: Cluster, token: str) -> None:
    pod = workload("Pod", "gate", "default", container("web", "registry.example/web:1"))
    pod["metadata"]["finalizers"] = ["e2e.example/kept"]
    cluster.apply(pod)
    async with client_of(cluster.port, cluster, token) as client:
        own = own_pod(client)
        assert await own.leaving() is False
        cluster.kubectl("delete", "pod", "gate", "--wait=false")
        assert await own.leaving() is True
        cluster.kubectl("patch", "pod", "gate", "--patch", '{"metadata": {"finalizers": null}}')
        with pytest.raises(ClusterError, match="the pod default/gate cannot be read: the API server answered 404"):
            await own.leaving()
        with pytest.raises(ClusterError, match="the pod other/gate cannot be read: the API server answered 403"):
            await own_pod(client, "other/gate").leaving()


async def test_of_several_the_last_one_leaves_with_its_deployment(cluster: Cluster, token: str) -> None:
    pod = workload("Pod", "last", "default", container("web", "registry.example/web:1"))
    pod["metadata"]["finalizers"] = ["e2e.example/kept"]
    deployment = workload("Deployment", "gate", "default", container("web", "registry.example/web:1"))
    deployment["spec"]["replicas"] = 2
    deployment["spec"]["selector"] = {"matchLabels": {"app": "of-nobody"}}
    deployment["spec"]["template"]["metadata"] = {"labels": {"app": "of-nobody"}}
    deployment["spec"]["paused"] = True
    cluster.apply(pod)
    cluster.apply(deployment)
    async with client_of(cluster.port, cluster, token) as client:
        own = own_pod(client, "default/last", "gate")
        assert await own.leaving() is False
        cluster.kubectl("delete", "pod", "last", "--wait=false")
        assert await own.leaving() is False
        cluster.kubectl("scale", "deployment", "gate", "--replicas=0")
        assert await own.leaving() is True
        cluster.kubectl("scale", "deployment", "gate", "--replicas=3")
        assert await own.leaving() is False
        cluster.kubectl("delete", "deployment", "gate")
        assert await own.leaving() is True
        cluster.kubectl("patch", "pod", "last", "--patch", '{"metadata": {"finalizers": null}}')


async def test_the_shared_secret_is_changed_by_who_read_it_last(cluster: Cluster, token: str) -> None:
    """The real API server; what else can happen stands in tests/unit/cluster/test_sharedsecret.py."""
    meta = {"name": "gate-shared", "namespace": "default", "annotations": {ROTATE: "once"}}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
    async with client_of(cluster.port, cluster, token) as client:
        shared = SharedSecret(api=CoreV1Api(client), namespace="default", name="gate-shared")
        first = await shared.read()
        assert (first.content, first.rotate) == ({}, "once")
        second = await shared.write(first, {"ca.crt": b"\x00\xff", "path": b"word"})
        assert second is not None
        assert (second.content, second.rotate) == ({"ca.crt": b"\x00\xff", "path": b"word"}, "once")
        assert await shared.write(first, {"ca.crt": b"late"}) is None
        assert await shared.read() == second
        # As an upgrade of the release applies it again: without data.
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
        assert (await shared.read()).content == second.content
        third = await shared.write(await shared.read(), {"path": b"word"})
        assert third is not None
        assert third.content == {"path": b"word"}
        other = SharedSecret(api=CoreV1Api(client), namespace="default", name="of-others")
        with pytest.raises(ClusterError, match="default/of-others cannot be read: the API server answered 403"):
            await other.read()


async def test_outside_of_a_pod_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match=r"cluster\.webhook needs a pod with its service account mounted"):
        async with connected(NAME, "default/gate"):
            raise AssertionError
