"""Private images on the real API server: pull secrets read with the rights that the chart gives and no others, tenants
kept apart, Secrets that are no docker config, a rotated one, and 10,000 ConfigMaps around those that are policies."""

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.api import ApiError
from e2e.cluster.gate import NAMESPACE, RELEASE, Installed, assert_joined
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import MOVING, SLOW, SampleRegistry

SHOP, BANK, FARM = "shop", "bank", "farm"
TYPE = "kubernetes.io/dockerconfigjson"
PRIVATE = SLOW
"""Needs the account of shop, or that of bank."""
OF_SHOP = MOVING
"""Needs the account of shop."""
CONFIG_MAPS = 10_000
CREATORS = 8
POLICY = """
package portcullis.policies.team_label

import rego.v1

deny contains {"msg": "has no label team", "fix": "add it"} if input.workload.labels.team == "none"
"""

JSON = dict[str, Any]


class PrivateRegistry(SampleRegistry):
    """The samples, two of which ask for a login."""

    def __init__(self) -> None:
        super().__init__()
        self.passwords = {SHOP: "shop-s3cret-1", BANK: "bank-s3cret-1"}
        self._readers = {"/v2/acme/slow/": (SHOP, BANK), "/v2/acme/moving/": (SHOP,)}
        self.closed = False
        """Opened until the samples are published."""

    def login(self, account: str) -> JSON:
        """``auths`` of a docker config."""
        return {self.host: {"username": account, "password": self.passwords[account]}}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = self._refused(scope) if self.closed and scope["type"] == "http" else 0
        if not status:
            await super().__call__(scope, receive, send)
            return
        headers = [(b"www-authenticate", b'Basic realm="samples"'), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    def _refused(self, scope: Any) -> int:
        readers = next((who for part, who in self._readers.items() if scope["path"].startswith(part)), None)
        if readers is None:
            return 0
        shown = dict(scope["headers"]).get(b"authorization", b"").decode()
        if not shown:
            return 401
        known = {basic(account, password): account for account, password in self.passwords.items()}
        if shown not in known:
            return 401
        return 0 if known[shown] in readers else 403


def basic(account: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{account}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def sample_registry() -> Iterator[PrivateRegistry]:
    with PrivateRegistry().running() as registry:
        assert isinstance(registry, PrivateRegistry)
        registry.closed = True
        yield registry


@pytest.fixture(scope="module")
def cluster(own_cluster: Cluster) -> Cluster:
    """Ten thousand objects are left behind."""
    return own_cluster


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    for name in (SHOP, BANK, FARM):
        release.cluster.namespace(name)
    listed = [{"namespace": SHOP}, {"namespace": BANK, "names": ["login"]}]
    values = {**release.values("enforce", policies={}), "pullSecrets": listed, "webhook": {"timeoutSeconds": 30}}
    release.helm("install", values=values)
    until(lambda: release.webhook()["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    yield release
    assert_joined(release)
    secrets = registry_of(release).passwords.values()
    logs = release.kubelet.logs()
    for record in release.records:
        assert not any(secret in str(record["body"]) for secret in secrets), record["name"]
    assert not any(secret in logs for secret in secrets)


def registry_of(gate: Installed) -> PrivateRegistry:
    assert isinstance(gate.registry, PrivateRegistry)
    return gate.registry


def secret(gate: Installed, namespace: str, name: str, account: str, *, kind: str = TYPE, legacy: bool = False) -> JSON:
    auths = registry_of(gate).login(account)
    key, content = (".dockercfg", auths) if legacy else (".dockerconfigjson", {"auths": auths})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "stringData": {key: json.dumps(content)},
    }


def pod(gate: Installed, name: str, namespace: str, image: str = PRIVATE, *secrets: str) -> JSON:
    named = {"imagePullSecrets": [{"name": one} for one in secrets]} if secrets else {}
    return workload("Pod", name, namespace, container("web", gate.registry.image(image)), **named)


def said(gate: Installed, *made: JSON) -> str:
    """What kubectl says of objects that are applied at once; "" where all are admitted."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(made)}
    done = gate.cluster.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(listed), ok=None)
    return str(done.stderr) if done.returncode else ""


def reasons(gate: Installed, name: str) -> list[str]:
    record = gate.records_of(name)[-1]
    return [problem["reason"] for problem in json.loads(record["body"])["decision"]["problems"]]


def test_a_pod_and_its_pull_secret_in_one_go(gate: Installed) -> None:
    """The Secret is a moment old when the pod is judged."""
    nobody = said(gate, pod(gate, "nobody", SHOP))
    assert "Forbidden" in nobody
    assert "the service account default names no pull secret" in nobody
    assert reasons(gate, "nobody") == ["registry-denied"]
    assert said(gate, secret(gate, SHOP, "login", SHOP), pod(gate, "private", SHOP, PRIVATE, "login")) == ""
    legacy = secret(gate, SHOP, "old", SHOP, kind="kubernetes.io/dockercfg", legacy=True)
    assert said(gate, legacy, pod(gate, "legacy", SHOP, PRIVATE, "old")) == ""


def test_a_deployment_names_its_service_account_and_that_names_the_secret(gate: Installed) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": SHOP}}
    deployment = workload(
        "Deployment", "of-robot", SHOP, container("web", gate.registry.image(OF_SHOP)), serviceAccountName="robot"
    )
    made = [secret(gate, SHOP, "of-account", SHOP), {**account, "imagePullSecrets": [{"name": "of-account"}]}]
    assert said(gate, *made, deployment) == ""

    def children() -> list[JSON]:
        found = gate.cluster.api.get(f"/api/v1/namespaces/{SHOP}/pods?limit=500")["items"]
        return [one for one in found if one["metadata"]["name"].startswith("of-robot")]

    until(children, "the pods of the Deployment")
    assert children()[0]["spec"]["imagePullSecrets"] == [{"name": "of-account"}]


def test_what_one_namespace_may_pull_another_may_not(gate: Installed) -> None:
    assert said(gate, pod(gate, "own", SHOP, OF_SHOP, "login")) == ""
    assert said(gate, secret(gate, BANK, "login", BANK), pod(gate, "bank", BANK, PRIVATE, "login")) == ""
    foreign = said(gate, pod(gate, "foreign", BANK, OF_SHOP, "login"))
    assert "HTTP 403" in foreign
    assert 'the login of the pull secret "login" was used' in foreign
    assert reasons(gate, "foreign") == ["registry-denied"]
    decision = json.loads(gate.records_of("foreign")[-1]["body"])["decision"]
    assert not any(image.get("digest") for image in decision["images"])


def test_a_secret_that_the_operator_does_not_list_is_named_with_the_value_to_set(gate: Installed) -> None:
    assert said(gate, secret(gate, BANK, "other", BANK)) == ""
    hidden = said(gate, pod(gate, "hidden", BANK, PRIVATE, "other"))
    assert 'the Secret "other" is not read, because the operator lists others of the namespace bank' in hidden
    assert said(gate, secret(gate, FARM, "login", SHOP)) == ""
    unlisted = said(gate, pod(gate, "unlisted", FARM, PRIVATE, "login"))
    assert "the pull secrets of the namespace farm and of its service accounts are not read" in unlisted
    assert "pullSecrets in the values of the chart" in unlisted


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "allowed"),
    [
        ("list", "secrets", SHOP, True),
        ("watch", "serviceaccounts", SHOP, True),
        ("get", "secrets/login", BANK, True),
        ("watch", "secrets/login", BANK, True),
        ("get", "secrets/other", BANK, False),
        ("list", "secrets", BANK, False),
        ("get", "secrets/login", FARM, False),
        ("list", "serviceaccounts", FARM, False),
        ("get", "secrets/any", "kube-system", False),
        ("update", "secrets/login", SHOP, False),
    ],
)
def test_the_rights_of_the_gate(gate: Installed, verb: str, what: str, namespace: str, allowed: bool) -> None:
    who = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"
    done = gate.cluster.run("kubectl", "auth", "can-i", verb, what, "--namespace", namespace, who, ok=None)
    assert done.stdout.strip() == ("yes" if allowed else "no"), done.stderr


NO_DOCKER_CONFIGS: dict[str, tuple[JSON, str]] = {
    "opaque": (
        {"type": "Opaque", "stringData": {".dockerconfigjson": '{"auths": {"r": {"password": "opaque-s3cret"}}}'}},
        "is of type Opaque, and not of kubernetes.io/dockerconfigjson",
    ),
    "a list": (
        {"type": TYPE, "stringData": {".dockerconfigjson": '{"auths": ["list-s3cret"]}'}},
        "is no docker config",
    ),
    "no base64": (
        {"type": TYPE, "stringData": {".dockerconfigjson": '{"auths": {"r": {"auth": "auth-s3cret!"}}}'}},
        'has an auth at "r" that is no base64 of UTF-8',
    ),
    "another registry": (
        {"type": TYPE, "stringData": {".dockerconfigjson": '{"auths": {"r.example": {"auth": "YTpzM2NyZXQ="}}}'}},
        "no pull secret of the pod has a login for 127.0.0.1",
    ),
}


@pytest.mark.parametrize(("content", "words"), NO_DOCKER_CONFIGS.values(), ids=NO_DOCKER_CONFIGS)
def test_a_secret_that_is_no_docker_config_says_so(
    gate: Installed, content: JSON, words: str, request: pytest.FixtureRequest
) -> None:
    """Public images do not mind; a private one is refused with what is wrong, and no part of the Secret."""
    name = request.node.callspec.id.replace(" ", "-")
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SHOP}, **content}
    assert said(gate, made) == ""
    refused = said(gate, pod(gate, f"{name}-private", SHOP, PRIVATE, name))
    assert "Forbidden" in refused
    assert words in refused
    assert "s3cret" not in refused
    assert reasons(gate, f"{name}-private") == ["registry-denied"]
    assert "s3cret" not in gate.records_of(f"{name}-private")[-1]["body"]
    assert said(gate, pod(gate, f"{name}-public", SHOP, "acme/web:1.4.2", name)) == ""


def test_a_rotated_secret_is_used_at_once_and_the_old_one_no_more(gate: Installed) -> None:
    registry = registry_of(gate)
    made = secret(gate, SHOP, "rotating", SHOP)
    assert said(gate, made, pod(gate, "before", SHOP, OF_SHOP, "rotating")) == ""
    registry.passwords[SHOP] = "shop-s3cret-2"
    try:
        assert said(gate, secret(gate, SHOP, "rotating", SHOP)) == ""
        until(lambda: not said(gate, pod(gate, "after", SHOP, OF_SHOP, "rotating")), "the rotated secret", 5)
        gate.cluster.kubectl("delete", "secret", "rotating", "--namespace", SHOP)
        until(
            lambda: 'there is no Secret "rotating"' in said(gate, pod(gate, "deleted", SHOP, OF_SHOP, "rotating")),
            "the secret to be gone",
            10,
        )
    finally:
        registry.passwords[SHOP] = "shop-s3cret-1"


def test_ten_thousand_config_maps_beside_the_policies(gate: Installed) -> None:
    """In the namespace whose ConfigMaps may be policies; two of all carry the label."""
    for name in ("team", "other"):
        gate.cluster.apply(policy_map(name, f"{name}_label", "has no label team"))
    until(lambda: "[team-label] has no label team" in dry(gate, "none"), "the policies")
    (running,) = gate.kubelet.alive
    before, began = resident_mib(running.process.pid), time.monotonic()
    with ThreadPoolExecutor(CREATORS) as creators:
        asking = creators.submit(ask_meanwhile, gate)
        list(creators.map(lambda number: create(gate, number), range(CONFIG_MAPS)))
        slowest = asking.result()
    grown = resident_mib(running.process.pid) - before
    figures = f"{CONFIG_MAPS} in {time.monotonic() - began:.0f} s: {grown:.1f} MiB more, slowest answer {slowest:.2f} s"
    print(figures)
    assert grown < 10, figures
    assert slowest < 20, figures
    gate.cluster.apply(policy_map("team", "team_label", "says no team"))
    until(lambda: "[team-label] says no team" in dry(gate, "none"), "the changed policy")
    assert dry(gate, "a") == ""
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.ports['health']}/metrics") as answer:
        page = answer.read().decode()
    assert 'portcullis_watch_objects{resource="configmaps"} 2.0' in page
    assert 'portcullis_watch_lists_total{resource="configmaps"} 1.0' in page


def policy_map(name: str, policy: str, message: str) -> JSON:
    text = POLICY.replace("team_label", policy).replace("has no label team", message)
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"portcullis.dev/policy": "true"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"team.rego": text}}


def create(gate: Installed, number: int) -> None:
    body = {"metadata": {"name": f"map-{number}"}, "data": {"some": "x" * 200}}
    gate.cluster.api.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)


def ask_meanwhile(gate: Installed) -> float:
    """Pods as dry runs while the ConfigMaps come; how long the slowest answer took."""
    slowest = 0.0
    for _ in range(10):
        began = time.monotonic()
        gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", pod(gate, "asked", SHOP, PRIVATE, "login"))
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.5)
    return slowest


def dry(gate: Installed, team: str) -> str:
    made = pod(gate, "dry", SHOP, PRIVATE, "login")
    made["metadata"]["labels"] = {"team": team}
    try:
        gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", made)
    except ApiError as error:
        return str(error)
    return ""


def resident_mib(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
