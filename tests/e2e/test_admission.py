"""The gate on a real API server, installed by the chart in profile enforce: what kubectl's users do and see."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.api import ApiError
from e2e.cluster.gate import NAMESPACE, RELEASE, Installed, assert_joined
from e2e.cluster.objects import KINDS, container, placed, workload
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import GOOD, MOVING, ROOT, UNSCANNED

SHOP = "shop"
TAG_SECONDS = 1
DECISION = r"Decision [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
PLACES = ("container", "init container", "image volume")
TRIED = {"container": ROOT, "init container": ROOT, "image volume": UNSCANNED}
"""A bad image for each place: nothing runs in a volume, so its user does not matter."""
REFUSED = {
    "container": '[image-user] container "web"',
    "init container": '[image-user] init container "migrate"',
    "image volume": '[scan-required] image volume "weights"',
}


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    """Afterwards each request that a rule covers must have its record, or the run has failed."""
    values = release.values("enforce", limits={"tagSeconds": TAG_SECONDS}, policies={})
    release.helm("install", values=values)
    release.cluster.namespace(SHOP)
    yield release
    assert_joined(release)
    assert len(release.records) > 100, "the run itself has seen less than it should"


@pytest.fixture
def kubectl(gate: Installed) -> Any:
    """kubectl in the namespace shop."""

    def run(*arguments: str, **more: Any) -> Any:
        return gate.cluster.kubectl("--namespace", SHOP, *arguments, **more)

    return run


@pytest.fixture
def good_pod(gate: Installed, request: pytest.FixtureRequest) -> str:
    """The name of a good pod of this test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    gate.cluster.apply(workload("Pod", name, SHOP, container("web", gate.registry.image(GOOD))))
    return name


def gone(cluster: Cluster, path: str) -> bool:
    return cluster.api.find(path) is None


# -- every kind, every place -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "place"), [*((kind, "container") for kind in KINDS), *(("Deployment", place) for place in PLACES[1:])]
)
def test_bad_is_refused_and_good_is_admitted(gate: Installed, kind: str, place: str) -> None:
    """As kubectl asks and prints it; each place in each kind, and each way: test_matrix.py."""
    name = f"{kind}-{place}".lower().replace(" ", "-")
    good, bad = gate.registry.image(GOOD), gate.registry.image(TRIED[place])
    refused = gate.cluster.apply(placed(kind, name, SHOP, place, good, bad), ok=False)
    assert "admission webhook" in refused.stderr
    assert f"denied the request: 1 policy refuses {kind} {SHOP}/{name}:" in refused.stderr
    assert REFUSED[place] in refused.stderr
    (record,) = gate.records_of(name)
    assert (record["verdict"], record["code"], record["kind"]) == ("refused", 403, kind)
    assert gone(gate.cluster, f"{path_of(kind)}/{name}")

    gate.cluster.apply(placed(kind, name, SHOP, place, good, good))
    record = gate.records_of(name)[1]
    assert (record["verdict"], record["code"], record["kind"]) == ("admitted", 200, kind)
    assert not gone(gate.cluster, f"{path_of(kind)}/{name}")


def path_of(kind: str) -> str:
    group = {"Pod": "api/v1", "ReplicationController": "api/v1", "PodTemplate": "api/v1"}
    group |= {"Job": "apis/batch/v1", "CronJob": "apis/batch/v1"}
    return f"/{group.get(kind, 'apis/apps/v1')}/namespaces/{SHOP}/{kind.lower()}s"


# -- what is printed ---------------------------------------------------------------------------------------------


def tag_warning(name: str, image: str) -> str:
    tag = image.rpartition(":")[2]
    return (
        f'Warning: [image-pinned] container "{name}" ({image}): is named by the tag "{tag}", which may be moved to '
        "another image. Name it by digest as well: IMAGE:TAG@sha256:…"
    )


def test_a_refusal_as_kubectl_prints_it(gate: Installed) -> None:
    image = gate.registry.image(ROOT)
    done = gate.cluster.apply(workload("Deployment", "legacy", SHOP, container("legacy", image)), ok=False)
    *lines, decision = done.stderr.splitlines()
    head = 'Error from server (Forbidden): error when creating "STDIN": admission webhook "gate.portcullis.dev" denied'
    what = f'[image-user] container "legacy" ({image}): runs as root: the image names no USER.'
    fix = "Set USER to a numeric id in the Dockerfile, or runAsUser in the securityContext."
    assert lines == [
        tag_warning("legacy", image),
        f"{head} the request: 1 policy refuses Deployment shop/legacy:",
        f"{what} {fix}",
    ]
    assert re.fullmatch(DECISION, decision)
    assert done.stdout == ""


def test_warnings_as_kubectl_prints_them(gate: Installed) -> None:
    image = gate.registry.image(GOOD)
    done = gate.cluster.apply(workload("Pod", "warned", SHOP, container("web", image)))
    assert done.stdout == "pod/warned created\n"
    assert done.stderr == f"{tag_warning('web', image)}\n"


@pytest.mark.parametrize(
    ("image", "code", "kind", "words"),
    [
        ("127.0.0.1:9/acme/web:1", 403, "Forbidden", "[registry-not-allowed]"),
        ("REGISTRY/acme/vanished:9.9.9", 403, "Forbidden", "[image-not-found]"),
        ("not//an image", 403, "Forbidden", "is no image reference"),
        ("REGISTRY/acme/legacy:2.1.0", 403, "Forbidden", "[image-user]"),
    ],
)
def test_codes_and_reasons(gate: Installed, image: str, code: int, kind: str, words: str) -> None:
    name = f"code-{re.sub(r'[^a-z]+', '-', words).strip('-')}"
    pod = workload("Pod", name, SHOP, container("web", image.replace("REGISTRY", gate.registry.host)))
    with pytest.raises(ApiError) as refused:
        gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods", pod)
    assert refused.value.code == code
    assert f"({kind})" in gate.cluster.apply(pod, ok=False).stderr
    assert words in gate.cluster.apply(pod, ok=False).stderr


def test_an_outage_is_no_refusal(gate: Installed) -> None:
    """The registry does not answer in the time of the request: 503, and the words say so."""
    gate.registry.hold("/acme/agent/")
    try:
        image = gate.registry.image("acme/agent:3.0.1")
        done = gate.cluster.apply(workload("Pod", "outage", SHOP, container("web", image)), ok=False)
    finally:
        gate.registry.release()
    assert "Error from server (ServiceUnavailable)" in done.stderr
    assert "Pod shop/outage could not be judged: an outage, not a violation." in done.stderr
    assert "[deadline-exceeded]" in done.stderr
    assert [record["code"] for record in gate.records_of("outage")] == [503]


# -- verbs -------------------------------------------------------------------------------------------------------


def test_debug_adds_no_bad_ephemeral_container(gate: Installed, kubectl: Any, good_pod: str) -> None:
    bad, good = gate.registry.image(ROOT), gate.registry.image(GOOD)
    command = ("debug", good_pod, "--attach=false", "--profile=restricted")
    refused = kubectl(*command, f"--image={bad}", "--container=bad", ok=False)
    assert '[image-user] ephemeral container "bad"' in refused.stderr
    kubectl(*command, f"--image={good}", "--container=good")
    pod = gate.cluster.api.get(f"/api/v1/namespaces/{SHOP}/pods/{good_pod}")
    assert [one["name"] for one in pod["spec"]["ephemeralContainers"]] == ["good"]
    codes = [(record["operation"], record["code"]) for record in gate.records_of(good_pod)]
    assert codes == [("CREATE", 200), ("UPDATE", 403), ("UPDATE", 200)]


def test_set_image(gate: Installed, kubectl: Any) -> None:
    bad, good = gate.registry.image(ROOT), gate.registry.image(GOOD)
    gate.cluster.apply(workload("Deployment", "changed", SHOP, container("web", good)))
    refused = kubectl("set", "image", "deployment/changed", f"web={bad}", ok=False)
    assert '[image-user] container "web"' in refused.stderr
    found = gate.cluster.api.get(f"{path_of('Deployment')}/changed")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == good
    kubectl("set", "image", "deployment/changed", f"web={gate.registry.image(MOVING)}")


def test_scale_status_and_delete_do_not_come(gate: Installed, kubectl: Any) -> None:
    """They change no image; more pods are judged as pods."""
    image = gate.registry.image(GOOD)
    gate.cluster.apply(workload("Deployment", "scaled", SHOP, container("web", image)))
    until(lambda: pods_of(gate, "scaled", 1), "the first pod")
    before = gate.records_of("scaled")
    kubectl("scale", "deployment/scaled", "--replicas=3")
    until(lambda: pods_of(gate, "scaled", 3), "three pods")
    status = {"status": {"conditions": [{"type": "Tried", "status": "True"}]}}
    gate.cluster.api.patch(f"{path_of('Deployment')}/scaled/status", status)
    assert [record["operation"] for record in before] == ["CREATE"]
    kubectl("delete", "deployment/scaled", "--cascade=foreground", "--timeout=600s")
    # Scaling, the status reports of the controller and the deletion itself left no record of the Deployment; that it
    # is waited for by a finalizer is a change of its metadata.
    assert {record["because"] for record in gate.records_of("scaled")[1:]} <= {"unchanged"}


def pods_of(gate: Installed, app: str, count: int) -> bool:
    found = gate.cluster.api.get(f"/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3D{app}")
    return len(found["items"]) == count


def test_what_runs_and_is_bad_can_be_labelled_and_deleted_but_not_changed(gate: Installed, kubectl: Any) -> None:
    """It was there before the gate: made in a namespace that is exempt, which none of ours is, by switching modes."""
    name, bad = "moving-label", gate.registry.image(MOVING)
    gate.cluster.apply(workload("Deployment", name, SHOP, container("web", bad)))
    move(gate)
    try:
        kubectl("label", "deployment", name, "cost-centre=4711")
        assert gate.records_of(name)[-1]["because"] == "unchanged"
        refused = kubectl("set", "env", f"deployment/{name}", "COLOUR=blue", ok=False)
        assert "[image-user]" in refused.stderr
        kubectl("delete", "deployment", name)
    finally:
        move(gate, back=True)


def test_server_side_apply(gate: Installed, kubectl: Any) -> None:
    options = ("--server-side", "--field-manager=pipeline")
    bad = workload("Pod", "applied", SHOP, container("web", gate.registry.image(ROOT)))
    assert "[image-user]" in gate.cluster.apply(bad, ok=False, options=options).stderr
    good = workload("Pod", "applied", SHOP, container("web", gate.registry.image(GOOD)))
    gate.cluster.apply(good, options=options)
    assert [record["code"] for record in gate.records_of("applied")] == [403, 200]


def test_a_dry_run_is_judged_and_marked(gate: Installed) -> None:
    for image, ok in ((ROOT, False), (GOOD, True)):
        pod = workload("Pod", "dry", SHOP, container("web", gate.registry.image(image)))
        gate.cluster.apply(pod, ok=ok, options=("--dry-run=server",))
    assert gone(gate.cluster, f"/api/v1/namespaces/{SHOP}/pods/dry")
    assert [(record["code"], record["dry_run"]) for record in gate.records_of("dry")] == [(403, 1), (200, 1)]


def test_resize_is_judged(gate: Installed, kubectl: Any, good_pod: str) -> None:
    more = {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}
    named = f"{good_pod}-sized"
    gate.cluster.apply(workload("Pod", named, SHOP, container("web", gate.registry.image(GOOD), **more)))
    patch = '{"spec":{"containers":[{"name":"web","resources":{"requests":{"cpu":"150m"}}}]}}'
    kubectl("patch", "pod", named, "--subresource=resize", "--patch", patch)
    _created, resized = gate.records_of(named)
    assert (resized["operation"], resized["code"]) == ("UPDATE", 200)


def test_a_generated_name_is_recorded(gate: Installed) -> None:
    pod = workload("Pod", "x", SHOP, container("web", gate.registry.image(GOOD)))
    pod["metadata"] = {"generateName": "generated-"}
    made = gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods", pod)
    (record,) = gate.records_of(made["metadata"]["name"])
    assert record["username"] == "jane@acme.example"


def test_exempt_namespaces_are_not_asked_for(gate: Installed) -> None:
    pod = workload("Pod", "system-root", "kube-system", container("web", gate.registry.image(ROOT)))
    gate.cluster.apply(pod)
    assert gate.records_of("system-root") == []


# -- children of controllers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "account"),
    [
        ("Deployment", "replicaset-controller"),
        ("ReplicaSet", "replicaset-controller"),
        ("ReplicationController", "replication-controller"),
        ("StatefulSet", "statefulset-controller"),
        ("Job", "job-controller"),
    ],
)
def test_children_are_judged_as_their_controllers_make_them(gate: Installed, kind: str, account: str) -> None:
    name = f"parent-{kind.lower()}"
    gate.cluster.apply(workload(kind, name, SHOP, container("web", gate.registry.image(GOOD))))
    user = f"system:serviceaccount:kube-system:{account}"

    def child() -> Any:
        return [one for one in gate.records if one["username"] == user and one["name"].startswith(f"{name}-")]

    record = until(child, f"a pod of {name}")[0]
    assert (record["kind"], record["code"]) == ("Pod", 200)


def test_a_daemon_set_makes_its_pod_through_the_gate(gate: Installed) -> None:
    """On the one node that there is, which takes only what tolerates it."""
    name = "parent-daemonset"
    gate.cluster.apply(workload("DaemonSet", name, SHOP, container("web", gate.registry.image(GOOD))))
    user = "system:serviceaccount:kube-system:daemon-set-controller"
    until(lambda: [one for one in gate.records if one["username"] == user], "a pod of the DaemonSet")


def test_a_cron_jobs_job_and_its_pod(gate: Installed, kubectl: Any) -> None:
    gate.cluster.apply(workload("CronJob", "nightly", SHOP, container("web", gate.registry.image(GOOD))))
    kubectl("create", "job", "--from=cronjob/nightly", "tonight")
    until(lambda: [one for one in gate.records if one["name"].startswith("tonight-")], "the pod of the job")
    assert [(one["kind"], one["code"]) for one in gate.records_of("tonight")] == [("Job", 200)]


def test_a_refused_child_says_why_in_the_events_of_its_owner(gate: Installed, kubectl: Any) -> None:
    """The tag was moved after the Deployment was admitted: its next pod is not what was judged."""
    name = "moved"
    gate.cluster.apply(workload("Deployment", name, SHOP, container("web", gate.registry.image(MOVING))))
    until(lambda: pods_of(gate, name, 1), "the first pod")
    move(gate)
    try:
        kubectl("delete", "pod", "--selector", f"app={name}", "--force", "--grace-period=0")

        def told() -> str:
            selector = "--field-selector=involvedObject.kind=ReplicaSet,reason=FailedCreate"
            messages = kubectl("get", "events", selector, "-o", "json").stdout
            return "".join(one["message"] for one in json.loads(messages)["items"] if f"/{name}-" in one["message"])

        words = until(told, "an event of the ReplicaSet")
        assert "denied the request: 2 policies refuse Pod shop/moved-" in words
        assert '[image-user] container "web"' in words
        assert pods_of(gate, name, 0)
    finally:
        move(gate, back=True)
        kubectl("delete", "deployment", name)


def move(gate: Installed, *, back: bool = False) -> None:
    """Points the tag of MOVING to an image that runs as root, and waits until the gate looks at it anew."""
    keep = MOVING.replace(":1.0.0", ":kept")
    if not back:
        crane(gate, MOVING, keep)
    crane(gate, keep if back else ROOT, MOVING)
    time.sleep(TAG_SECONDS + 0.2)


def crane(gate: Installed, source: str, target: str) -> None:
    gate.cluster.run("crane", "copy", "--insecure", gate.registry.image(source), gate.registry.image(target))


# -- the gate itself ---------------------------------------------------------------------------------------------


def test_the_service_account_may_do_nothing_else(gate: Installed) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"

    def may(*what: str) -> bool:
        return gate.cluster.kubectl("auth", "can-i", *what, account, ok=None).stdout.strip() == "yes"

    configurations = "validatingwebhookconfigurations.admissionregistration.k8s.io"
    assert may("get", f"{configurations}/{RELEASE}")
    assert may("patch", f"{configurations}/{RELEASE}")
    assert may("get", "pods", "--namespace", NAMESPACE)
    for kind in ("pods", "replicasets.apps", "jobs.batch"):
        assert may("list", kind, "--all-namespaces")
        assert not may("delete", kind, "--all-namespaces")
    assert may("update", f"leases.coordination.k8s.io/{RELEASE}-recheck", "--namespace", NAMESPACE)
    for what in (
        ("patch", f"{configurations}/another"),
        ("delete", f"{configurations}/{RELEASE}"),
        ("list", configurations),
        ("get", "secrets", "--all-namespaces"),
        ("watch", "pods", "--all-namespaces"),
        ("update", "leases.coordination.k8s.io/another", "--namespace", NAMESPACE),
        ("create", "leases.coordination.k8s.io", "--namespace", NAMESPACE),
        ("get", "configmaps", "--namespace", NAMESPACE),
        ("get", "pods", "--namespace", SHOP),
    ):
        assert not may(*what), what


def test_the_reviewer_reads_the_log_in_the_pod(gate: Installed) -> None:
    """What `kubectl exec` would run there: the command of NOTES.txt, on the release's volume."""
    (pod,) = gate.kubelet.alive
    (log,) = [line for line in pod.log.splitlines() if '"serving"' in line]
    assert '"address": "0.0.0.0:' in log
    assert {record["verdict"] for record in gate.records} >= {"admitted", "refused"}
