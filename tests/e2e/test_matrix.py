"""Issue 8: every kind that carries pods, every place of an image in it, every way to the API server, good and bad.

The table is tests/e2e/faulting/matrix.py. Objects that are bad and older than the gate are made before it is installed.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2e.cluster.gate import Installed
from e2e.cluster.objects import JSON, KINDS, container, placed, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT
from e2e.faulting.asking import DENIED, JSON_PATCH, MERGE, STRATEGIC, Answer, Asker, asker
from e2e.faulting.discovering import carriers
from e2e.faulting.joining import Fate, joined, sqlite_records
from e2e.faulting.matrix import (
    BAD,
    IMMUTABLE,
    JUDGED_SUB_RESOURCES,
    NAMED,
    PLACES,
    RESOURCES,
    UNJUDGED_SUB_RESOURCES,
    UNSCANNED,
    Bad,
    Case,
    address,
    cases,
    path_of,
    pod_of,
    put_images,
    sleeping,
    spec_alone,
    unversioned,
)
from portcullis.admission.workloads import POD_SPEC_PATHS

SHOP = "shop"
OLD = {"container": ROOT, "init container": ROOT, "image volume": UNSCANNED}
"""What is bad in objects that are older than the gate, by place."""
SIZED = {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}
OWNERS = tuple(kind for kind in KINDS if kind not in ("Pod", "PodTemplate"))


@dataclass
class Matrix:
    """The gate, who asks, and what was asked: (audit id, code of the record)."""

    gate: Installed
    asker: Asker
    asked: list[tuple[str, int, str]] = field(default_factory=list)

    def judged(self, answer: Answer, code: int, about: str) -> Answer:
        """The gate must have decided this one with that code."""
        self.asked.append((answer.audit_id, code, about))
        return answer

    def image(self, name: str) -> str:
        return address(self.gate.registry, name)

    def records_of(self, name: str) -> list[dict[str, Any]]:
        return sqlite_records(self.gate, "name = ?", name)

    def refused(self, answer: Answer, bad: Bad, place: str, about: str) -> None:
        assert (answer.code, answer.body.get("reason")) == (403, "Forbidden"), f"{about}: {answer}"
        assert answer.message.startswith(DENIED), answer.message
        named = f"image {self.image(bad.image)}:" if bad.no_facts else NAMED[place]
        assert f"[{bad.refused_by}] {named} " in answer.message, f"{about}: {answer.message}"
        self.judged(answer, 403, about)

    def admitted(self, answer: Answer, about: str) -> Answer:
        assert answer.admitted, f"{about}: {answer}"
        return self.judged(answer, 200, about)


@pytest.fixture(scope="module")
def matrix(release: Installed) -> Iterator[Matrix]:
    """Afterwards each request has exactly one record, and each record its request."""
    asking = asker(release.cluster)
    release.cluster.namespace(SHOP)
    made = Matrix(release, asking)
    _make_old(made)
    ungated = len(release.cluster.audit_events())
    release.helm("install", values=release.values("enforce"))
    yield made
    asking.close()
    found = joined(release, lambda: sqlite_records(release), ungated=ungated)
    assert not found.of(Fate.UNMATCHED), str(found)
    assert not found.of(Fate.UNANSWERED), str(found)
    assert (list(found.twice), list(found.unclaimed)) == ([], []), str(found)
    codes = {record["id"]: record["code"] for record in sqlite_records(release)}
    told = {event["auditID"]: event for event in found.of(Fate.RECORDED)}
    for audit_id, code, about in made.asked:
        assert audit_id in told, f"{about} has no record"
        decision = told[audit_id]["annotations"]["gate.portcullis.dev/decision-id"]
        assert codes[decision] == code, about
    assert len(made.asked) > 700, "the run itself has asked for less than it should"


def _make_old(matrix: Matrix) -> None:
    """Bad ones that sleep, of each kind and place; and of each owner one that has pods, or soon has."""
    asking = matrix.asker
    for kind, place in itertools.product(KINDS, PLACES):
        bad = placed(kind, old_name(kind, place), SHOP, place, matrix.image(GOOD), matrix.image(OLD[place]))
        assert asking.ask("POST", path_of(kind, SHOP), sleeping(bad)).code == 201
    for kind in OWNERS:
        bad = workload(kind, f"awake-{kind.lower()}", SHOP, container("web", matrix.image(ROOT)))
        # A DaemonSet cannot be scaled: its pods are deleted later.
        made = bad if kind == "DaemonSet" else sleeping(bad)
        assert asking.ask("POST", path_of(kind, SHOP), made).code == 201
    sized = workload("Pod", "old-sized", SHOP, container("web", matrix.image(ROOT), **SIZED))
    assert asking.ask("POST", path_of("Pod", SHOP), sized).code == 201
    until(lambda: pods_of(matrix, "awake-daemonset"), "the pod of the DaemonSet")


def old_name(kind: str, place: str) -> str:
    return f"old-{kind}-{place}".lower().replace(" ", "-")


def pods_of(matrix: Matrix, app: str) -> list[JSON]:
    selector = f"labelSelector=app%3D{app}"
    found: list[JSON] = matrix.asker.get(f"/api/v1/namespaces/{SHOP}/pods?{selector}")["items"]
    return found


# -- the table is whole ------------------------------------------------------------------------------------------


def test_the_table_has_all_that_the_api_server_takes_pods_in(matrix: Matrix) -> None:
    """By its OpenAPI documents: a kind that a new Kubernetes brings is found here first."""
    found = dict(carriers(matrix.asker))
    judged = {*RESOURCES.values(), *JUDGED_SUB_RESOURCES}
    assert found.keys() == judged | UNJUDGED_SUB_RESOURCES
    rules = matrix.gate.webhook()["rules"]
    assert {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]} == judged
    assert {operation for rule in rules for operation in rule["operations"]} == {"CREATE", "UPDATE"}
    assert {(group, kind) for kind, (group, _) in RESOURCES.items()} == set(POD_SPEC_PATHS) == set(found.values())


# -- images in objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_is_refused_and_good_is_admitted_whichever_way_it_comes(matrix: Matrix, kind: str, place: str) -> None:
    path = path_of(kind, SHOP)
    bases: dict[str, str] = {}
    for case in cases(kind, place):
        name = case.name
        if case.way.updates:
            if case.way.name not in bases:
                bases[case.way.name] = name
                base = Case(kind, place, case.way, None).wanted(name, SHOP, matrix.gate.registry, updated=False)
                matrix.admitted(matrix.asker.ask("POST", path, base), name)
            name = bases[case.way.name]
        answer = case.way.send(matrix.asker, path, case.wanted(name, SHOP, matrix.gate.registry))
        if case.immutable:
            assert (answer.code, answer.denied) == (422, False), f"{case.name}: {answer}"
        elif case.bad is not None:
            matrix.refused(answer, case.bad, place, case.name)
        else:
            matrix.admitted(answer, case.name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_bad_and_older_than_the_gate(matrix: Matrix, kind: str, place: str) -> None:
    """It may be labelled and mended; nothing else of its pod may be changed."""
    name = old_name(kind, place)
    path = f"{path_of(kind, SHOP)}/{name}"
    label = {"metadata": {"labels": {"cost-centre": "4711"}}}
    answer = matrix.asker.ask("PATCH", path, label, MERGE)
    # A label of a pod is one of its pod metadata.
    if kind == "Pod":
        matrix.refused(answer, bad_one(place), place, name)
    else:
        matrix.admitted(answer, name)
        assert matrix.records_of(name)[-1]["because"] == "unchanged"
    if (kind, place) in IMMUTABLE:
        return
    stored = unversioned(matrix.asker.get(path))
    spec = pod_of(stored)["spec"]
    if kind == "Pod":
        spec["tolerations"].append({"key": "e2e.example/more", "operator": "Exists"})
    else:
        spec["terminationGracePeriodSeconds"] = 7
    matrix.refused(matrix.asker.ask("PUT", path, stored), bad_one(place), place, name)
    good = placed(kind, name, SHOP, place, matrix.image(GOOD), matrix.image(GOOD))
    put_images(stored, good)
    matrix.admitted(matrix.asker.ask("PUT", path, stored), name)


def bad_one(place: str) -> Bad:
    return next(bad for bad in BAD if bad.image == OLD[place])


# -- sub-resources -----------------------------------------------------------------------------------------------


def good_pod(matrix: Matrix, name: str, **fields: Any) -> str:
    """Makes it: its path."""
    pod = workload("Pod", name, SHOP, container("web", matrix.image(GOOD), **fields))
    matrix.admitted(matrix.asker.ask("POST", path_of("Pod", SHOP), pod), name)
    return f"{path_of('Pod', SHOP)}/{name}"


@pytest.mark.parametrize("way", ["strategic patch", "json patch", "replace"])
def test_ephemeral_containers(matrix: Matrix, way: str) -> None:
    name = f"debugged-{way.replace(' ', '-')}"
    path = f"{good_pod(matrix, name)}/ephemeralcontainers"

    def debug(image: str) -> Answer:
        added = [container("debug", image, targetContainerName="web", resources=None)]
        if way == "replace":
            pod = matrix.asker.get(path.removesuffix("/ephemeralcontainers"))
            return matrix.asker.ask("PUT", path, {**pod, "spec": {**pod["spec"], "ephemeralContainers": added}})
        if way == "json patch":
            steps = [{"op": "add", "path": "/spec/ephemeralContainers", "value": added}]
            return matrix.asker.ask("PATCH", path, steps, JSON_PATCH)
        return matrix.asker.ask("PATCH", path, {"spec": {"ephemeralContainers": added}}, STRATEGIC)

    for bad in BAD:
        matrix.refused(debug(matrix.image(bad.image)), bad, "ephemeral container", name)
    matrix.admitted(debug(matrix.image(GOOD)), name)
    assert [record["operation"] for record in matrix.records_of(name)] == ["CREATE", *["UPDATE"] * (len(BAD) + 1)]


def test_resize(matrix: Matrix) -> None:
    """It brings no image, but changes the pod: what is bad and older than the gate stays as it is."""
    more = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "150m"}}}]}}
    path = good_pod(matrix, "sized", **SIZED)
    matrix.admitted(matrix.asker.ask("PATCH", f"{path}/resize", more, STRATEGIC), "sized")
    answer = matrix.asker.ask("PATCH", f"{path_of('Pod', SHOP)}/old-sized/resize", more, STRATEGIC)
    matrix.refused(answer, bad_one("container"), "container", "old-sized")


def test_eviction_binding_status_and_scale_are_not_judged(matrix: Matrix) -> None:
    """None of them brings an image: a status with a pod in it is stored without that pod."""
    asking = matrix.asker
    pod = good_pod(matrix, "moved-about")
    target = {"metadata": {"name": "moved-about"}, "target": {"kind": "Node", "name": "node-1"}}
    assert asking.ask("POST", f"{pod}/binding", target).admitted
    assert asking.ask("POST", f"{pod}/eviction", {"metadata": {"name": "moved-about"}}).admitted
    assert [record["operation"] for record in matrix.records_of("moved-about")] == ["CREATE"]
    for kind in KINDS:
        if kind == "PodTemplate":
            continue
        name = f"status-{kind.lower()}"
        path = f"{path_of(kind, SHOP)}/{name}"
        good = sleeping(workload(kind, name, SHOP, container("web", matrix.image(GOOD))))
        matrix.admitted(asking.ask("POST", path_of(kind, SHOP), good), name)
        bad = spec_alone(sleeping(workload(kind, name, SHOP, container("web", matrix.image(ROOT)))))
        assert asking.ask("PATCH", f"{path}/status", bad, MERGE).admitted
        assert pod_of(asking.get(path))["spec"]["containers"][0]["image"] == matrix.image(GOOD)
        if kind in ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"):
            assert asking.ask("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}, MERGE).admitted
        assert asking.ask("DELETE", path).admitted
        operations = [(record["operation"], record["because"]) for record in matrix.records_of(name)]
        assert operations == [("CREATE", "judged")], kind


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("GET", "exec?command=id&stdout=true"),
        ("POST", "exec?command=id&stdout=true"),
        ("POST", "attach?stdout=true"),
        ("POST", "portforward?ports=80"),
        ("GET", "log"),
        ("GET", "proxy/"),
    ],
)
def test_connections_are_not_judged(matrix: Matrix, verb: str, words: str) -> None:
    """They reach what runs already, and RBAC guards them; here no node answers."""
    name = f"reached-{verb}-{words.partition('?')[0].strip('/')}".lower()
    answer = matrix.asker.ask(verb, f"{good_pod(matrix, name)}/{words}")
    assert not answer.denied
    assert "admission" not in answer.message
    assert [record["operation"] for record in matrix.records_of(name)] == ["CREATE"]


# -- children ----------------------------------------------------------------------------------------------------

MAKERS = {
    "Deployment": "replicaset-controller",
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "StatefulSet": "statefulset-controller",
    "DaemonSet": "daemon-set-controller",
    "Job": "job-controller",
    "CronJob": "cronjob-controller",
}


def owned(matrix: Matrix, kind: str, prefix: str) -> list[tuple[str, int]]:
    """(kind, code) of what its controller made, or tried to make, of an owner."""
    user = f"system:serviceaccount:kube-system:{MAKERS[kind]}"
    found = sqlite_records(matrix.gate, "username = ? AND operation = 'CREATE' AND name GLOB ?", user, f"{prefix}*")
    return [(record["kind"], record["code"]) for record in found]


@pytest.mark.parametrize("kind", OWNERS)
def test_children_of_good_owners_are_admitted(matrix: Matrix, kind: str) -> None:
    name = f"parent-{kind.lower()}"
    good = workload(kind, name, SHOP, container("web", matrix.image(GOOD)))
    matrix.admitted(matrix.asker.ask("POST", path_of(kind, SHOP), good), name)
    if kind == "CronJob":
        overdue(matrix, name)
    made = ("Job" if kind == "CronJob" else "Pod", 200)
    until(lambda: owned(matrix, kind, f"{name}-"), f"a child of {name}")
    assert set(owned(matrix, kind, f"{name}-")) == {made}
    until(lambda: pods_of(matrix, name), f"a pod of {name}")


@pytest.mark.parametrize("kind", OWNERS)
def test_children_of_bad_owners_that_are_older_than_the_gate_are_refused_and_the_owner_says_why(
    matrix: Matrix, kind: str
) -> None:
    name = f"awake-{kind.lower()}"
    path = f"{path_of(kind, SHOP)}/{name}"
    AWAKEN[kind](matrix, path)
    words = until(lambda: told(matrix, kind, path), f"words about the children of {name}")
    assert "[image-user] container" in words
    assert f"({matrix.image(ROOT)}): runs as root" in words
    assert {code for _, code in owned(matrix, kind, f"{name}-")} == {403}
    assert not pods_of(matrix, name)
    matrix.asker.ask("DELETE", path)


def scale(matrix: Matrix, path: str) -> None:
    assert matrix.asker.ask("PATCH", f"{path}/scale", {"spec": {"replicas": 1}}, MERGE).admitted


def resume(matrix: Matrix, path: str) -> None:
    matrix.admitted(matrix.asker.ask("PATCH", path, {"spec": {"suspend": False}}, MERGE), path)


def resume_overdue(matrix: Matrix, path: str) -> None:
    resume(matrix, path)
    overdue(matrix, path.rpartition("/")[2])


def delete_pods(matrix: Matrix, path: str) -> None:
    for pod in pods_of(matrix, path.rpartition("/")[2]):
        pod_path = f"{path_of('Pod', SHOP)}/{pod['metadata']['name']}"
        assert matrix.asker.ask("DELETE", pod_path, {"gracePeriodSeconds": 0}).admitted


AWAKEN: dict[str, Callable[[Matrix, str], None]] = {
    "Deployment": scale,
    "ReplicaSet": scale,
    "ReplicationController": scale,
    "StatefulSet": scale,
    "DaemonSet": delete_pods,
    "Job": resume,
    "CronJob": resume_overdue,
}


def overdue(matrix: Matrix, name: str) -> None:
    """Its controller believes that it ran last two days ago, and makes a job at once."""
    path = f"{path_of('CronJob', SHOP)}/{name}"
    last = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"status": {"lastScheduleTime": last}}
    assert matrix.asker.ask("PATCH", f"{path}/status", status, MERGE).admitted


def told(matrix: Matrix, kind: str, path: str) -> str:
    """The owner's own condition where its kind has one for this, else the events about it."""
    owner = matrix.asker.get(path)
    conditions = owner.get("status", {}).get("conditions", [])
    words = [one["message"] for one in conditions if one["type"] == "ReplicaFailure" and one["status"] == "True"]
    if kind in ("Deployment", "ReplicaSet", "ReplicationController"):
        return "".join(words)
    selector = f"fieldSelector=involvedObject.uid%3D{owner['metadata']['uid']}%2Creason%3DFailedCreate"
    events = matrix.asker.get(f"/api/v1/namespaces/{SHOP}/events?{selector}")["items"]
    return "".join(event["message"] for event in events)
