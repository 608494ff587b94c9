"""``portcullis scan`` on a real API server: whoever may list pods sees how what runs stands, by the images that really
run. No kubelet runs here; what one would report of the pods is written by the API."""

import json
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import CHART, RELEASE, WEBHOOK
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import GOOD, MOVING, ROOT, UNSCANNED, SampleRegistry
from e2e.support import portcullis
from e2e.test_docs import commands
from fakes.records import a_decision, a_record
from portcullis.audit.sql import SqlRecords
from portcullis.model.request import Caller

SHOP, BANK = "shop", "bank"
REPLICAS = 3

JSON = dict[str, Any]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def digest_of(registry: SampleRegistry, name: str) -> str:
    """What a tag names in the registry now."""
    repository, _, tag = name.rpartition(":")
    address = f"http://{registry.host}/v2/{repository}/manifests/{tag}"
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept": accept}), timeout=10) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def report(cluster: Cluster, namespace: str, pod: str, reported: str) -> None:
    """Says of a pod what its kubelet would: that it runs, and which image each container has."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
    names = [one["name"] for one in cluster.api.get(path)["spec"]["containers"]]
    statuses = [
        {"name": name, "image": "", "imageID": reported, "ready": True, "restartCount": 0, "state": {"running": {}}}
        for name in names
    ]
    cluster.api.patch(f"{path}/status", {"status": {"phase": "Running", "containerStatuses": statuses}})


def pods_of(cluster: Cluster, namespace: str, app: str) -> list[str]:
    found = cluster.api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{app}")["items"]
    return [one["metadata"]["name"] for one in found]


def run(cluster: Cluster, registry: SampleRegistry, namespace: str, kind: str, app: str, image: str) -> list[str]:
    """Makes a workload, and has its pods run what the tag names; their names."""
    made = workload(kind, app, namespace, container("web", registry.image(image)))
    labels = {"app": app}
    made["metadata"]["labels"] = labels
    if kind == "Deployment":
        made["spec"] |= {"replicas": REPLICAS, "selector": {"matchLabels": labels}}
        made["spec"]["template"]["metadata"] = {"labels": labels}
    cluster.apply(made)
    count = REPLICAS if kind == "Deployment" else 1
    pods: list[str] = until(lambda: len(found := pods_of(cluster, namespace, app)) == count and found, f"pods of {app}")
    for pod in pods:
        report(cluster, namespace, pod, f"{registry.image(image).rpartition(':')[0]}@{digest_of(registry, image)}")
    return pods


@pytest.fixture(scope="module")
def config(sample_registry: SampleRegistry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies, the registry of the samples, and the key of who signs their scans."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "ci.pub").write_text(sample_registry.public_key)
    accept = [{"predicates": ["vulnerability"], "signers": ["ci"]}]
    tree = {
        "registries": {"hosts": {sample_registry.host: {"insecure": True, "private": True}}},
        "trust": {
            "signers": {"ci": {"key": {"file": "ci.pub"}}},
            "rules": [{"images": [f"{sample_registry.host}/acme/**"], "accept": accept}],
        },
        "policies": {"enabled": ["image-user", "scan-required"], "modes": {"*": "deny"}},
        "platforms": ["linux/amd64"],
    }
    path = folder / "portcullis.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def running(cluster: Cluster, sample_registry: SampleRegistry) -> Cluster:
    """A cluster in which something runs."""
    for namespace in (SHOP, BANK):
        cluster.namespace(namespace)
    run(cluster, sample_registry, SHOP, "Deployment", "web", GOOD)
    run(cluster, sample_registry, SHOP, "Deployment", "legacy", ROOT)
    run(cluster, sample_registry, BANK, "Pod", "model", UNSCANNED)
    run(cluster, sample_registry, "kube-system", "Pod", "system", ROOT)
    return cluster


def scan(cluster: Cluster, config: Path, *arguments: str, code: int, kubeconfig: Path | None = None) -> JSON:
    environment = {"KUBECONFIG": str(kubeconfig or cluster.kubeconfig)}
    done = portcullis("scan", "--config", str(config), "-o", "json", *arguments, env=environment)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    found: JSON = json.loads(done.stdout)
    return found


def stands(found: JSON) -> dict[str, str]:
    return {
        f"{one['owner']['kind']} {one['owner']['namespace']}/{one['owner']['name']}": one["condition"]
        for one in found["workloads"]
    }


def test_what_runs_in_all_namespaces(running: Cluster, config: Path, sample_registry: SampleRegistry) -> None:
    found = scan(running, config, "--all-namespaces", code=1)
    assert stands(found) == {
        "Deployment shop/web": "good",
        "Deployment shop/legacy": "failing",
        "Pod bank/model": "failing",
    }
    assert (found["exemptNamespaces"], found["pods"]) == (["kube-system"], 2 * REPLICAS + 1)
    assert found["summary"] == {
        "failing": 2, "unknown": 0, "break-glass": 0, "excepted": 0, "warned": 0, "good": 1,
    }  # fmt: skip
    web = next(one for one in found["workloads"] if one["owner"]["name"] == "web")
    assert web["pods"]["count"] == REPLICAS
    assert web["images"] == [{"written": sample_registry.image(GOOD), "digest": digest_of(sample_registry, GOOD)}]
    print(f"{found['registryRequests']} requests to the registry for {found['images']} images")
    assert 0 < found["registryRequests"] <= 15 * found["images"]


def test_one_namespace_exempt_or_not(running: Cluster, config: Path) -> None:
    assert stands(scan(running, config, "--namespace", "kube-system", code=1)) == {"Pod kube-system/system": "failing"}
    empty = scan(running, config, code=0)
    assert (empty["namespace"], empty["workloads"]) == ("default", [])


def test_what_people_see(running: Cluster, config: Path) -> None:
    environment = {"KUBECONFIG": str(running.kubeconfig)}
    done = portcullis("scan", "-A", "--config", str(config), env=environment)
    assert done.returncode == 1, done.stderr
    for words in (
        "✗ failing",
        "Deployment shop/legacy",
        f"{REPLICAS} pods, such as legacy-",
        "image-user",
        "scan-required",
        "2 failing, 0 unknown, 0 break-glass, 0 excepted, 0 warned, 1 good",
        "all namespaces but kube-system: 3 workloads of 7 pods, 3 images",
    ):
        assert words in done.stdout
    assert "Deployment shop/web" not in done.stdout, "what is well needs no row"
    assert "judged 3 of 3 workloads, 2 failing" in done.stderr


async def test_a_tag_that_moved(
    running: Cluster, config: Path, sample_registry: SampleRegistry, tmp_path: Path
) -> None:
    """The audit log knows what was judged when the pod was let in; its container was started again since."""
    (pod,) = run(running, sample_registry, BANK, "Pod", "moving", MOVING)
    written, before = sample_registry.image(MOVING), digest_of(sample_registry, MOVING)
    url = f"sqlite:///{tmp_path}/audit.db"
    records = SqlRecords(url=url)
    await records.start()
    decision = a_decision("the-admission", images=[(written, before)])
    await records.append(replace(a_record(decision, kind="Pod", namespace=BANK, name=pod), caller=Caller.CERTIFICATE))
    await records.aclose()
    with_log = config.with_name("with-log.yaml")
    with_log.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "audit": {"database": url}}))

    def moved() -> list[JSON]:
        found = scan(running, with_log, "-n", BANK, code=1)
        return [tag for one in found["workloads"] if one["owner"]["name"] == pod for tag in one["moved"]]

    assert moved() == []
    other = digest_of(sample_registry, GOOD)
    report(running, BANK, pod, f"{sample_registry.host}/acme/web@{other}")
    assert moved() == [
        {
            "reason": "tag-moved",
            "container": "web",
            "image": written,
            "judged": before,
            "running": other,
            "decisionId": "the-admission",
        }
    ]
    running.kubectl("delete", "pod", "-n", BANK, pod, "--now")


def test_who_may_not_list_pods_is_told_so(running: Cluster, config: Path) -> None:
    stranger = running.pki.kubeconfig(f"https://127.0.0.1:{running.port}", "dana")
    done = portcullis("scan", "-A", "--config", str(config), env={"KUBECONFIG": str(stranger)})
    assert done.returncode == 2
    assert "the pods cannot be listed: the API server answered 403 Forbidden" in done.stderr
    assert "who asks needs the right to list pods" in done.stderr
    assert done.stdout == ""


def test_a_registry_that_is_down_is_not_good(running: Cluster, config: Path) -> None:
    tree = yaml.safe_load(config.read_text())
    tree["registries"] = {}  # loopback is no address that may be asked then
    closed = config.with_name("closed.yaml")
    closed.write_text(yaml.safe_dump(tree))
    assert set(stands(scan(running, closed, "-A", code=2)).values()) == {"unknown"}


def test_a_grant_counts_as_it_does_for_the_webhook(running: Cluster, config: Path) -> None:
    """With the gate's own configuration: which namespaces its webhook leaves out, and which grants are in force."""
    chart = running.run("helm", "template", RELEASE, str(CHART), "-s", "templates/customresourcedefinition.yaml")
    running.kubectl("apply", "-f", "-", stdin=chart.stdout)
    running.kubectl("wait", "--for=condition=Established", "crd/breakglasses.portcullis.dev", "--timeout=30s")
    running.apply(webhook_of("farm", SHOP))
    tree = yaml.safe_load(config.read_text())
    tree["cluster"] = {"webhook": {"name": RELEASE}, "breakGlass": True}
    of_gate = config.with_name("of-gate.yaml")
    of_gate.write_text(yaml.safe_dump(tree))
    grant = {
        "apiVersion": "portcullis.dev/v1",
        "kind": "BreakGlass",
        "metadata": {"name": "model", "namespace": BANK},
        "spec": {
            "policies": ["scan-required"],
            "reason": "the scanner is down, and the model must run",
            "expires": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    running.apply(grant)
    after = scan(running, of_gate, "-A", code=1)
    (model,) = (one for one in after["workloads"] if one["owner"]["name"] == "model")
    assert (model["condition"], model["breakGlass"]) == ("break-glass", f"break-glass:{BANK}/model")
    assert (stands(after)["Pod kube-system/system"], after["exemptNamespaces"]) == ("failing", ["farm", SHOP])
    running.kubectl("delete", "breakglass", "-n", BANK, "model")
    assert stands(scan(running, of_gate, "-A", code=1))["Pod bank/model"] == "failing"


def webhook_of(*exempt: str) -> JSON:
    """A webhook that nobody answers, and that nothing waits for."""
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(exempt)}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": RELEASE},
        "webhooks": [
            {
                "name": WEBHOOK,
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://127.0.0.1:1/validate"},
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "namespaceSelector": {"matchExpressions": [named]},
                "rules": [rule],
            }
        ],
    }


def test_the_commands_of_the_page(running: Cluster, config: Path, tmp_path: Path) -> None:
    """What is typed in the gate's pod is the first of them with that pod's own configuration and rights."""
    tree = yaml.safe_load(running.kubeconfig.read_text())
    used = next(one for one in tree["contexts"] if one["name"] == tree["current-context"])
    tree["contexts"].append({**used, "name": "production"})
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(tree))
    for words in commands("docs/operators-scan.md"):
        if words[0] == "portcullis":
            given = [str(config) if word == "portcullis.yaml" else word for word in words[1:]]
            given = [*given, *([] if "--config" in given else ["--config", str(config)])]
            done = portcullis(*given, env={"KUBECONFIG": str(kubeconfig)})
            assert done.returncode in (0, 1, 2), done.stderr
            assert "checkout" in done.stdout or "shop" in done.stdout, done.stdout
