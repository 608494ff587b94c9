"""Tags are pinned on the real API server: in every kind and place, whoever else changes pods, and whatever is down."""

import copy
import functools
import json
import re
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from e2e.cluster.gate import NAMESPACE, RELEASE, Installed
from e2e.cluster.injecting import ASKS, SIDECAR, injecting
from e2e.cluster.objects import JSON, KINDS, container, placed, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, MOVING
from e2e.faulting.asking import Asker, asker
from e2e.faulting.joining import Fate, joined, sqlite_records
from e2e.faulting.matrix import PLACES, path_of, pod_of, put_images, sleeping, unversioned
from e2e.faulting.watching import metric, readyz
from e2e.test_docs import commands
from portcullis.admission.pinning import ANNOTATION

SHOP, TRYING = "shop", "trying"
"""In the latter nothing is refused."""
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
DOWN = "127.0.0.1:1"
"""A registry where nobody listens."""
TAG_SECONDS = 1
DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    """Installed with owners; a Deployment and a pod are older. Afterwards each request has its record, as always."""
    cluster = release.cluster
    for namespace in (SHOP, TRYING):
        cluster.namespace(namespace)
    cluster.apply(workload("Deployment", "older", SHOP, container("web", release.registry.image(GOOD))))
    cluster.apply(workload("Pod", "older", SHOP, container("web", release.registry.image(GOOD))))
    until(lambda: pods_of(release, "older")[1:], "the pod of the Deployment")
    ungated = len(cluster.audit_events())
    values = release.values("enforce", limits={"tagSeconds": TAG_SECONDS})
    values["config"]["registries"]["hosts"][DOWN] = {"insecure": True, "private": True}
    values["config"]["policies"] = {"overrides": [{"namespaces": [TRYING], "modes": {"*": "audit"}}]}
    values["mutation"] = {"enabled": True, "owners": True}
    release.helm("install", values=values)
    until(lambda: registered(release), "the webhook configuration")
    release.cluster.kubectl(
        "annotate", "secret", f"{RELEASE}-shared", "portcullis.dev/rotate=once", "--namespace", NAMESPACE
    )
    yield release
    found = joined(release, lambda: sqlite_records(release), ungated=ungated)
    assert not found.of(Fate.UNMATCHED), str(found)


@pytest.fixture
def api(gate: Installed) -> Iterator[Asker]:
    asking = asker(gate.cluster)
    yield asking
    asking.close()


@pytest.fixture
def kubectl(gate: Installed) -> Any:
    """kubectl in the namespace shop."""

    def run(*arguments: str, **more: Any) -> Any:
        return gate.cluster.kubectl("--namespace", SHOP, *arguments, **more)

    return run


def registered(gate: Installed) -> bool:
    return metric(gate.kubelet.alive[0], "mutation_registered") == 1.0


def digest_of(gate: Installed, name: str) -> str:
    """What the tag names now, by another client."""
    return _digest(gate.cluster.run, gate.registry.image(name))


@functools.cache
def _digest(run: Any, image: str) -> str:
    """Asked once, until a tag is moved."""
    return str(run("crane", "digest", "--insecure", image).stdout.strip())


def pinned(gate: Installed, name: str) -> str:
    return f"{gate.registry.image(name)}@{digest_of(gate, name)}"


def image_of(made: JSON, place: str = "container") -> str:
    spec = pod_of(made)["spec"]
    if place == "image volume":
        return str(spec["volumes"][0]["image"]["reference"])
    return str(spec["initContainers" if place == "init container" else "containers"][0]["image"])


def note_of(made: JSON) -> Any:
    return json.loads(pod_of(made)["metadata"]["annotations"][ANNOTATION])


def replica_sets(gate: Installed, app: str) -> list[JSON]:
    found: list[JSON] = gate.cluster.api.get(f"/apis/apps/v1/namespaces/{SHOP}/replicasets?labelSelector=app%3D{app}")[
        "items"
    ]
    return found


def pods_of(gate: Installed, app: str) -> list[JSON]:
    found: list[JSON] = gate.cluster.api.get(f"/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3D{app}")["items"]
    return [{"kind": "Pod", **one} for one in found]


def move(gate: Installed, *, back: bool = False) -> None:
    """Points the tag of MOVING to another clean image, and waits until the gate looks at it anew."""
    keep = MOVING.replace(":1.0.0", ":kept")
    if not back:
        push(gate, MOVING, keep)
    push(gate, keep if back else GOOD, MOVING)
    _digest.cache_clear()
    time.sleep(TAG_SECONDS + 0.2)


def push(gate: Installed, source: str, target: str) -> None:
    gate.cluster.run("crane", "copy", "--insecure", gate.registry.image(source), gate.registry.image(target))


# -- what older objects have of it ---------------------------------------------------------------------------------


def test_what_is_older_is_left_alone_and_its_new_pods_are_pinned(gate: Installed, kubectl: Any) -> None:
    """A ReplicaSet that a Deployment makes keeps its template: the Deployment knows it by that."""
    tag = gate.registry.image(GOOD)
    kubectl("label", "pod,deployment", "older", "cost-centre=4711")
    kubectl("set", "env", "deployment/older", "COLOUR=blue")
    until(lambda: len(replica_sets(gate, "older")) == 2, "the next ReplicaSet")
    kubectl("scale", "deployment/older", "--replicas=2")
    made = until(lambda: [one for one in pods_of(gate, "older") if ANNOTATION in annotations(one)], "a pinned pod")
    assert {image_of(one) for one in made} == {pinned(gate, GOOD)}
    deployment = gate.cluster.api.get(f"{path_of('Deployment', SHOP)}/older")
    assert image_of(deployment) == tag
    assert {image_of({"kind": "ReplicaSet", **one}) for one in replica_sets(gate, "older")} == {tag}
    assert len(replica_sets(gate, "older")) == 2
    assert image_of(gate.cluster.api.get(f"{path_of('Pod', SHOP)}/older")) == tag


def annotations(made: JSON) -> Any:
    return pod_of(made)["metadata"].get("annotations", {})


# -- every kind, every place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_and_place(gate: Installed, api: Asker, kind: str, place: str) -> None:
    """Made, tried, changed to another tag and back to the first one; then nothing is left to do."""
    name = f"{kind}-{place}".lower().replace(" ", "-")
    good, moving, path = gate.registry.image(GOOD), gate.registry.image(MOVING), path_of(kind, SHOP)
    wanted = sleeping(placed(kind, name, SHOP, place, good, good))
    tried = api.ask("POST", f"{path}?dryRun=All", wanted)
    assert image_of(dict(tried.body), place) == pinned(gate, GOOD)
    answer = api.ask("POST", path, wanted)
    assert (answer.code, answer.warnings) == (201, ()), answer
    stored = api.get(f"{path}/{name}")
    written = {"web": good} | {"init container": {"migrate": good}, "image volume": {"volumes/weights": good}}.get(
        place, {}
    )
    assert (image_of(stored, place), note_of(stored)) == (pinned(gate, GOOD), written)
    record = gate.records_of(name)[-1]
    (judged,) = json.loads(record["body"])["decision"]["images"]
    assert (record["code"], judged["written"], judged["digest"]) == (200, pinned(gate, GOOD), digest_of(gate, GOOD))
    if kind == "Job" or (kind == "Pod" and place == "image volume"):
        return  # the API server lets nobody change these
    changed = unversioned(copy.deepcopy(stored))
    put_images(changed, placed(kind, name, SHOP, place, good, moving))
    assert api.ask("PUT", f"{path}/{name}", changed).code == 200
    after = api.get(f"{path}/{name}")
    assert image_of(after, place) == pinned(gate, MOVING)
    assert moving in note_of(after).values()
    # The very manifest again: a change that is none.
    again = unversioned(copy.deepcopy(after))
    put_images(again, placed(kind, name, SHOP, place, good, moving))
    assert api.ask("PUT", f"{path}/{name}", again).code == 200
    found = api.get(f"{path}/{name}")
    assert (pod_of(found)["spec"], note_of(found)) == (pod_of(after)["spec"], note_of(after))
    assert found["metadata"].get("generation") == after["metadata"].get("generation")


def test_a_deployment_and_its_pods_run_one_image(gate: Installed) -> None:
    gate.cluster.apply(workload("Deployment", "whole", SHOP, container("web", gate.registry.image(GOOD))))
    (pod,) = until(lambda: pods_of(gate, "whole"), "the pod")
    assert (image_of(pod), note_of(pod)) == (pinned(gate, GOOD), {"web": gate.registry.image(GOOD)})
    (owner,) = replica_sets(gate, "whole")
    assert image_of({"kind": "ReplicaSet", **owner}) == pinned(gate, GOOD)


def test_ephemeral_containers(gate: Installed, kubectl: Any) -> None:
    """The pod is older than the gate; what it has, and what was added before, cannot be changed."""
    for number, name in enumerate((GOOD, MOVING), start=1):
        image = gate.registry.image(name)
        kubectl(
            "debug", "older", "--attach=false", "--profile=restricted", f"--image={image}", f"--container=d{number}"
        )
    spec = gate.cluster.api.get(f"{path_of('Pod', SHOP)}/older")["spec"]
    assert [one["image"] for one in spec["ephemeralContainers"]] == [pinned(gate, GOOD), pinned(gate, MOVING)]
    assert spec["containers"][0]["image"] == gate.registry.image(GOOD)


# -- a tag that moves ----------------------------------------------------------------------------------------------


def test_a_moved_tag_changes_nothing_that_is_there(gate: Installed, kubectl: Any) -> None:
    """Not by the same manifest, applied as people and as tools do; new pods get what it names now."""
    image, first = gate.registry.image(MOVING), pinned(gate, MOVING)
    pod = workload("Pod", "still", SHOP, container("web", image))
    owner = workload("Deployment", "still", SHOP, container("web", image))
    served = workload("Pod", "served", SHOP, container("web", image))
    by_server = ("--server-side", "--field-manager=pipeline")
    gate.cluster.apply(pod, owner)
    gate.cluster.apply(served, options=by_server)
    move(gate)
    try:
        second = pinned(gate, MOVING)
        assert first != second
        assert kubectl("diff", "-f", "-", stdin=json.dumps(pod)).stdout == ""
        applied = gate.cluster.apply(pod, owner)
        gate.cluster.apply(served, options=by_server)
        assert applied.stdout == "pod/still configured\ndeployment.apps/still configured\n"
        for path in (f"{path_of('Pod', SHOP)}/still", f"{path_of('Pod', SHOP)}/served"):
            assert image_of(gate.cluster.api.get(path)) == first
        deployment = gate.cluster.api.get(f"{path_of('Deployment', SHOP)}/still")
        assert (image_of(deployment), deployment["metadata"]["generation"]) == (first, 1)
        assert len(replica_sets(gate, "still")) == 1
        # What it names now was never scanned, and a new pod is refused, or runs that, as the namespace has it.
        refused = gate.cluster.apply(workload("Pod", "later", SHOP, container("web", image)), ok=False)
        assert f'[scan-required] container "web" ({second})' in refused.stderr
        gate.cluster.apply(workload("Pod", "later", TRYING, container("web", image)))
        assert image_of(gate.cluster.api.get(f"{path_of('Pod', TRYING)}/later")) == second
        gate.cluster.kubectl("set", "image", "pod/later", f"web={first}", "--namespace", TRYING)
        gate.cluster.kubectl("set", "image", "pod/later", f"web={image}", "--namespace", TRYING)
        assert image_of(gate.cluster.api.get(f"{path_of('Pod', TRYING)}/later")) == first
    finally:
        move(gate, back=True)


# -- other webhooks ------------------------------------------------------------------------------------------------


def test_what_is_added_afterwards_is_pinned_too(gate: Installed) -> None:
    with injecting(gate.cluster, gate.registry.image(MOVING)):
        pod = workload("Pod", "injected", SHOP, container("web", gate.registry.image(GOOD)))
        pod["metadata"]["labels"][ASKS] = "true"
        gate.cluster.apply(pod)
    stored = gate.cluster.api.get(f"{path_of('Pod', SHOP)}/injected")
    images = {one["name"]: one["image"] for one in stored["spec"]["containers"]}
    assert images == {"web": pinned(gate, GOOD), SIDECAR: pinned(gate, MOVING)}
    assert note_of(stored) == {"web": gate.registry.image(GOOD), SIDECAR: gate.registry.image(MOVING)}


# -- what cannot be pinned -----------------------------------------------------------------------------------------


def test_without_its_registry_an_image_stays_and_is_judged(gate: Installed) -> None:
    """Nothing is refused by what pins: in one namespace the pod is there, by its tag; in the other the gate says what
    it says without pins."""
    image = f"{DOWN}/acme/web:1"
    made = gate.cluster.apply(workload("Pod", "unpinned", TRYING, container("web", image)))
    assert made.stdout == "pod/unpinned created\n"
    assert re.search(rf"Warning: portcullis: {image} is not pinned: \[registry-unreachable\] ", made.stderr), (
        made.stderr
    )
    assert image_of(gate.cluster.api.get(f"{path_of('Pod', TRYING)}/unpinned")) == image
    refused = gate.cluster.apply(workload("Pod", "unpinned", SHOP, container("web", image)), ok=False)
    assert "could not be judged: an outage, not a violation." in refused.stderr
    assert [record["code"] for record in gate.records_of("unpinned")] == [200, 503]


def test_what_the_api_server_refuses_it_refuses_in_its_own_words(gate: Installed, api: Asker) -> None:
    """Objects come before they are validated."""
    pod = workload("Pod", "empty", SHOP, container("web", ""))
    answer = api.ask("POST", path_of("Pod", SHOP), pod)
    assert (answer.code, answer.denied) == (422, False), answer
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": {}}
    assert api.ask("POST", path_of("Pod", SHOP), bare).code == 422


# -- the object itself ---------------------------------------------------------------------------------------------


def test_the_gate_looks_after_it_and_is_ready_without_it(gate: Installed) -> None:
    path = f"{CONFIGURATIONS}/{RELEASE}"
    found = gate.cluster.api.get(path)
    (webhook,) = found["webhooks"]
    word = gate.webhook()["clientConfig"]["service"]["path"].split("/")[1]
    assert webhook["clientConfig"]["caBundle"] == gate.webhook()["clientConfig"]["caBundle"]
    assert webhook["clientConfig"]["service"]["path"] == f"/{word}/mutate"
    home = gate.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["uid"]
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [home]
    (pod,) = gate.kubelet.alive
    assert "[+]mutating-webhook-configuration ok" in readyz(pod)[1]
    gate.cluster.kubectl("delete", "mutatingwebhookconfiguration", RELEASE)
    until(lambda: not registered(gate), "the gate to see that it is gone")
    ready, said = readyz(pod)
    assert (ready, "[!]mutating-webhook-configuration degraded: there is none" in said) == (True, True), said
    gate.cluster.apply(workload("Pod", "by-tag", SHOP, container("web", gate.registry.image(GOOD))))
    assert image_of(gate.cluster.api.get(f"{path_of('Pod', SHOP)}/by-tag")) == gate.registry.image(GOOD)
    del webhook["clientConfig"]["caBundle"], webhook["clientConfig"]["service"]["path"]
    metadata = {"name": RELEASE, "labels": found["metadata"]["labels"]}
    gate.cluster.api.post(CONFIGURATIONS, {**found, "metadata": metadata, "webhooks": [webhook]})
    until(lambda: registered(gate), "the CA in the new one")
    gate.cluster.apply(workload("Pod", "by-digest", SHOP, container("web", gate.registry.image(GOOD))))
    assert image_of(gate.cluster.api.get(f"{path_of('Pod', SHOP)}/by-digest")) == pinned(gate, GOOD)


def test_the_service_account_may_change_this_one_alone(gate: Installed) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"
    configurations = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
    for verb, name, allowed in (("get", RELEASE, True), ("patch", RELEASE, True), ("patch", "z-injector", False)):
        done = gate.cluster.kubectl("auth", "can-i", verb, f"{configurations}/{name}", account, ok=None)
        assert (done.stdout.strip() == "yes") is allowed, (verb, name)


def test_another_ca_is_in_both_objects_and_signs(gate: Installed) -> None:
    """It was asked for when the gate was installed."""

    def trusted() -> list[x509.Certificate]:
        (webhook,) = gate.cluster.api.get(f"{CONFIGURATIONS}/{RELEASE}")["webhooks"]
        assert webhook["clientConfig"]["caBundle"] == gate.webhook()["clientConfig"]["caBundle"]
        return x509.load_pem_x509_certificates(gate.ca_bundle)

    (pod,) = gate.kubelet.alive

    def issuer() -> str:
        leaf = ssl.get_server_certificate(("127.0.0.1", pod.named["webhook"]))
        return x509.load_pem_x509_certificate(leaf.encode()).issuer.rfc4514_string()

    assert len(trusted()) == 2
    newest = max(trusted(), key=lambda one: one.not_valid_before_utc).subject.rfc4514_string()
    until(lambda: issuer() == newest, "a leaf of the next CA", 60, 0.5)
    gate.cluster.apply(workload("Pod", "by-another-ca", SHOP, container("web", gate.registry.image(GOOD))))
    assert image_of(gate.cluster.api.get(f"{path_of('Pod', SHOP)}/by-another-ca")) == pinned(gate, GOOD)


def test_the_commands_of_the_page(gate: Installed) -> None:
    for words in commands("docs/operators-pinning.md"):
        if "exec" in words:
            (pod,) = gate.kubelet.alive
            said = gate.kubelet.execute(pod, words[words.index("--") + 1 :]).stdout
            assert "mutating-webhook-configuration" in said
        else:
            assert "@sha256:" in gate.cluster.run(*words).stdout
