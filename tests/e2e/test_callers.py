"""Who calls the gate: the real API server by its path, and by its client certificate; and anybody else in the cluster,
who says in forged reviews that he is an administrator, and gains nothing."""

import base64
import contextlib
import json
import signal
import sqlite3
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from e2e.cluster.gate import NAMESPACE, RELEASE, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.pki import Pki
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import GOOD, ROOT
from fakes.reviews import review

SHOP = "shop"
SERVICE = f"{RELEASE}.{NAMESPACE}.svc"
CALLER = "apiserver-of-webhooks"
"""The common name of the API server's certificate."""
PER_MINUTE = 3
"""Forged reviews of which a sketch is kept."""
FORGED = 60
KEPT = ("image_uses", "inputs", "facts", "fact_pieces", "marks", "tallies", "policy_tallies", "bundles")
"""Tables in which nobody but the API server moves a row."""


@pytest.fixture(scope="module")
def cluster(own_cluster: Cluster) -> Cluster:
    """The API server is started with other options."""
    return own_cluster


@pytest.fixture(scope="module")
def gate(release: Installed) -> Installed:
    cluster = release.cluster
    cluster.namespace(SHOP)
    # The whole library: policies that read layers and scans are what a stranger would gain by.
    values = release.values("enforce", policies={}, audit={"unverifiedPerMinute": PER_MINUTE})
    # What every namespace has of the cluster's CA, which signs clients' certificates too.
    values["caller"] = {"clientCertificate": {"configMap": "kube-root-ca.crt", "commonNames": [CALLER]}}
    release.helm("install", values=values)
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    return release


def created(gate: Installed, name: str) -> dict[str, Any]:
    """The record of a pod that is made now."""
    gate.cluster.apply(workload("Pod", name, SHOP, container("web", gate.registry.image(GOOD))))
    (record,) = gate.records_of(name)
    found: dict[str, Any] = json.loads(record["body"])
    return found


def test_the_api_server_is_known_by_its_path(gate: Installed) -> None:
    assert created(gate, "by-path")["caller"] == "path"


# -- anybody else ----------------------------------------------------------------------------------------------------


class Stranger:
    """A client in a pod: it reaches the port, trusts what the webhook configuration trusts, and knows no path."""

    def __init__(self, gate: Installed, certificate: Path | None = None) -> None:
        self.gate = gate
        self.context = ssl.create_default_context()
        bundle = gate.webhook()["clientConfig"]["caBundle"]
        self.context.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(_first(bundle)))
        self.context.check_hostname = False
        if certificate is not None:
            self.context.load_cert_chain(certificate)

    def post(self, path: str, body: bytes) -> tuple[int, Any]:
        url = f"https://127.0.0.1:{self.gate.ports['webhook']}{path}?timeout=5s"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.context) as answered:
                return answered.status, json.load(answered)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def _first(bundle: str) -> str:
    return base64.b64decode(bundle).decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"


def forged(gate: Installed, image: str, number: int = 0) -> bytes:
    """As if an administrator made a pod that uses every pull secret that there may be."""
    name = f"forged-{number}"
    pod = workload("Pod", name, SHOP, container("web", gate.registry.image(image)))
    pod["spec"] |= {"serviceAccountName": "default", "imagePullSecrets": [{"name": "regcred"}]}
    who = {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]}
    return json.dumps(review(pod, name=name, namespace=SHOP, uid=str(uuid.uuid4()), userInfo=who)).encode()


def database(gate: Installed) -> Path:
    (found,) = gate.kubelet.claims.glob("*/audit.db")
    return found


def rows(gate: Installed) -> dict[str, list[Any]]:
    with contextlib.closing(sqlite3.connect(f"file:{database(gate)}?mode=ro", uri=True)) as connection:
        return {table: sorted(connection.execute(f"select * from {table}").fetchall(), key=repr) for table in KEPT}


def metric(gate: Installed, name: str) -> dict[str, float]:
    """Every series of that metric, by its labels as they are written."""
    url = f"http://127.0.0.1:{gate.ports['health']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answered:
        lines = answered.read().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith((f"{name}{{", f"{name} ")))
    return {series: float(value) for series, _, value in found}


def settled(gate: Installed) -> dict[str, list[Any]]:
    """The tables once what the API server asked before is written."""
    before = rows(gate)
    while True:
        time.sleep(0.5)
        if (now := rows(gate)) == before:
            return now
        before = now


def test_forged_reviews_gain_nothing(gate: Installed) -> None:
    created(gate, "verified")  # its image is known by now, with all that is attached to it
    until(lambda: rows(gate)["marks"] and rows(gate)["facts"], "the mark of its scan and the facts of its layers")
    before, decided = settled(gate), metric(gate, "portcullis_decisions_total")
    log = gate.kubelet.alive[0].log.count("\n")
    stranger = Stranger(gate)
    word = gate.webhook()["clientConfig"]["service"]["path"].split("/")[1]
    paths = ("/validate", f"/{'x' * len(word)}/validate", f"/{word[:-1]}/validate")

    def send(number: int) -> tuple[int, Any]:
        body = b"{" if number % 10 == 9 else forged(gate, (GOOD, ROOT)[number % 2], number)
        return stranger.post(paths[number % len(paths)], body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(FORGED)))
    assert {code for code, _ in answers} == {200, 400}
    responses = [answer["response"] for code, answer in answers if code == 200]
    # The registry stands on a private address: for a stranger it is not even asked.
    assert {(one["allowed"], one["status"]["code"]) for one in responses} == {(False, 403)}
    assert all("[registry-not-allowed]" in one["status"]["message"] for one in responses), responses[0]
    assert not any("[image-user]" in one["status"]["message"] for one in responses), "nothing is told of the image"

    assert settled(gate) == before, "no image, no input, no fact, no mark, no figure"
    kept = [json.loads(record["body"]) for record in gate.records if json.loads(record["body"]).get("sampled")]
    assert len(kept) == PER_MINUTE
    for record in kept:
        assert record["caller"] == "unverified"
        assert record["decision"]["inputHash"] == ""
        assert {image["digest"] for image in record["decision"]["images"]} <= {""}
    assert metric(gate, "portcullis_decisions_total") == decided
    reviews = metric(gate, "portcullis_reviews_total")
    assert sum(count for series, count in reviews.items() if 'caller="unverified"' in series) == FORGED
    left_out = metric(gate, "portcullis_audit_unverified_left_out_total")
    assert left_out == {"portcullis_audit_unverified_left_out_total": FORGED - PER_MINUTE}
    assert gate.kubelet.alive[0].log.count("\n") - log <= PER_MINUTE + 5, "the log is not flooded"
    events = gate.cluster.api.get(f"/apis/events.k8s.io/v1/namespaces/{SHOP}/events")["items"]
    assert [one for one in events if one["regarding"]["name"].startswith("forged-")] == []
    assert created(gate, "verified-again")["decision"]["verdict"] == "admitted"


def test_forged_reviews_of_policies_are_not_looked_at(gate: Installed) -> None:
    metadata = {"name": "m", "namespace": NAMESPACE, "labels": {"portcullis.dev/policy": "true"}}
    broken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a.rego": "package"}}
    body = json.dumps(review(broken, name="m", namespace=NAMESPACE)).encode()
    code, answer = Stranger(gate).post("/validate-policies", body)
    assert (code, answer["response"]["allowed"]) == (200, True)
    assert "the policies were not checked" in answer["response"]["warnings"][0]


def test_a_certificate_of_somebody_else_is_none_of_the_api_servers(gate: Installed) -> None:
    """A kubelet's, of the same CA: a stranger's. Of another CA: no connection."""
    pki = gate.cluster.pki
    body = forged(gate, GOOD)
    kubelet = Stranger(gate, _one_file(pki, "system:node:a"))
    code, answer = kubelet.post("/validate", body)
    assert (code, answer["response"]["status"]["code"]) == (200, 403)
    assert "[registry-not-allowed]" in answer["response"]["status"]["message"]

    leaf = trustme.CA().issue_cert("client.invalid", common_name=CALLER)
    path = gate.cluster.folder / "stranger.pem"
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        Stranger(gate, path).post("/validate", body)


def _one_file(pki: Pki, user: str) -> Path:
    certificate, key = pki.client(user, "system:nodes")
    both = pki.folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


# -- the API server's certificate ------------------------------------------------------------------------------------


def with_certificate(cluster: Cluster, name: str) -> None:
    """Starts the API server anew, with a client certificate for the gate's Service, as docs/operators.md says."""
    certificate, key = cluster.pki.client(name)
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    kubeconfig = cluster.folder / "webhooks.kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [{"name": SERVICE, "user": user}]})
    )
    plugin = {
        "name": "ValidatingAdmissionWebhook",
        "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(kubeconfig),
        },
    }
    admission = cluster.folder / "admission.yaml"
    configuration = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [plugin]}
    admission.write_text(yaml.safe_dump(configuration))
    option = f"--admission-control-config-file={admission}"
    cluster.stop("kube-apiserver", signal.SIGKILL)  # it would wait for watches to end
    given = [one for one in cluster.commands["kube-apiserver"] if one != option]
    cluster.commands["kube-apiserver"] = [*given, option]
    cluster.start("kube-apiserver")


def test_the_api_server_is_known_by_its_certificate(gate: Installed) -> None:
    cluster = gate.cluster
    with_certificate(cluster, CALLER)
    assert created(gate, "by-certificate")["caller"] == "certificate"
    ends = metric(gate, "portcullis_caller_certificate_not_after_seconds")
    assert ends["portcullis_caller_certificate_not_after_seconds"] > time.time()
    # Its other webhooks' certificate, of a name that does not count: the path does.
    with_certificate(cluster, "other-webhooks")
    assert created(gate, "by-path-again")["caller"] == "path"
    callers = Counter(json.loads(record["body"])["caller"] for record in gate.records if record["namespace"] == SHOP)
    assert callers.keys() == {"path", "certificate", "unverified"}
