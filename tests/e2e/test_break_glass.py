"""Grants of an emergency on a real API server: the kind with its validation, who may make them, what they let through
and what not, for how long, and while registry, policy engine and database are away."""

import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import RELEASE, Installed
from e2e.cluster.objects import JSON, container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import ROOT, UNSCANNED
from e2e.faulting.processes import children, named
from e2e.faulting.watching import PATIENT, metric
from e2e.support import portcullis
from portcullis.times import rfc3339

pytestmark = pytest.mark.timeout(600)

SHOP, BANK = "shop", "bank"
OPS, DEV = "ops@acme.example", "dev@acme.example"
"""Both may make workloads in both namespaces; ops may break the glass in one."""
AWAY = "127.0.0.1:1/acme/web:1"
"""An image of a registry that does not answer."""
REASON = "checkout is down, order 4711"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/breakglasses.portcullis.dev"


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    """Afterwards nothing is left of the kind either."""
    for namespace in (SHOP, BANK):
        release.cluster.namespace(namespace)
        for user in (OPS, DEV):
            bind(release, namespace, "edit", user)
    loopback = {"insecure": True, "private": True}
    hosts = {release.registry.host: loopback, "127.0.0.1:1": loopback}
    values = release.values("enforce", registries={"hosts": hosts}, limits={"failureSeconds": 1})
    release.helm("install", *PATIENT, values=values, seconds=320)
    bind(release, SHOP, f"{RELEASE}-break-glass", OPS)
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    yield release
    release.helm("uninstall")
    until(lambda: release.cluster.api.find(CRD) is None, "the end of the kind")


def bind(release: Installed, namespace: str, role: str, user: str) -> None:
    name = f"{role}-{user.partition('@')[0]}"
    what = (f"--clusterrole={role}", f"--user={user}", f"--namespace={namespace}")
    release.cluster.kubectl("create", "rolebinding", name, *what)


def kubeconfig(gate: Installed, user: str) -> Path:
    return gate.cluster.pki.kubeconfig(f"https://127.0.0.1:{gate.cluster.port}", user)


def apply(gate: Installed, user: str, *objects: JSON) -> tuple[bool, str]:
    """Whether kubectl made them, and what it said."""
    config = ("--kubeconfig", str(kubeconfig(gate, user)))
    done = gate.cluster.kubectl("apply", "-f", "-", *config, stdin=yaml.safe_dump_all(objects), ok=None)
    return done.returncode == 0, done.stderr


def pod(gate: Installed, name: str, *images: str, namespace: str = SHOP) -> JSON:
    made = (gate.registry.image(image) if image.startswith("acme/") else image for image in images)
    return workload("Pod", name, namespace, *(container(f"c{number}", image) for number, image in enumerate(made)))


def grant(name: str, *, seconds: float = 3600, namespace: str = SHOP, **spec: Any) -> JSON:
    """As somebody writes it."""
    ends = rfc3339(datetime.now(UTC) + timedelta(seconds=seconds), "seconds")
    said = {"policies": ["*"], "reason": REASON, "expires": ends, **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "portcullis.dev/v1", "kind": "BreakGlass", "metadata": metadata, "spec": said}


def pattern(gate: Installed, image: str) -> str:
    return f"{gate.registry.host}/{image.partition(':')[0]}"


@contextlib.contextmanager
def granted(gate: Installed, name: str, **spec: Any) -> Iterator[None]:
    """While there is such a grant, and the gate knows of it."""
    before = metric_of(gate)
    gate.cluster.apply(grant(name, **spec))
    until(lambda: metric_of(gate) > before, "the gate to know of the grant")
    try:
        yield
    finally:
        gate.cluster.kubectl("delete", "breakglass", name, "--namespace", SHOP)
        until(lambda: metric_of(gate) <= before, "the gate to know of its end")


def metric_of(gate: Installed) -> float:
    return metric(gate.kubelet.alive[0], "grants_in_force")


def admission(gate: Installed, name: str) -> JSON:
    """The annotations of the API server's own audit log on the creation of the pod ``name``."""
    found = [
        event.get("annotations", {})
        for event in gate.cluster.audit_events()
        if event["verb"] in ("create", "patch") and event.get("objectRef", {}).get("name") == name
    ]
    return {key.removeprefix("gate.portcullis.dev/"): value for one in found for key, value in one.items()}


# -- the kind --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policies": []}, "spec.policies in body should have at least 1 items"),
        ({"policies": ["a b"]}, "spec.policies[0] in body should match"),
        ({"policies": None}, "spec.policies: Required value"),
        ({"images": ["registry.example/acme/web:1.4"]}, "spec.images[0] in body should match"),
        ({"images": ["registry.example/acme*"]}, "spec.images[0] in body should match"),
        ({"digests": ["sha256:12"]}, "spec.digests[0] in body should match"),
        ({"digests": ["sha256:" + "ab" * 32] * 2}, "Duplicate value"),
        ({"images": [f"registry.example/acme/{number}" for number in range(65)]}, "must have at most 64 items"),
        ({"reason": "short"}, "spec.reason in body should be at least 10 chars long"),
        ({"reason": "   short      "}, "says in 10 characters or more why"),
        ({"reason": "x" * 501}, "spec.reason: Too long"),
        ({"expires": "tomorrow"}, "spec.expires in body must be of type date-time"),
        ({"expires": "2026-11-27 10:00:00Z"}, "spec.expires in body"),
        ({"coversProblems": "yes"}, "spec.coversProblems in body must be of type boolean"),
        # What the schema cannot say, the gate says.
        ({"seconds": 24 * 3600 + 60}, "[grant-invalid] break-glass:shop/wrong: spec.expires: more than 24 hours"),
        ({"seconds": -5}, "[grant-invalid] break-glass:shop/wrong: spec.expires: not after"),
        ({"images": ["acme/web"]}, "[grant-invalid] break-glass:shop/wrong: spec.images: the image pattern"),
        ({"image": ["registry.example/acme/**"]}, "spec.image: there is no such field"),
    ],
)
def test_what_is_no_grant_is_refused_when_it_is_made(gate: Installed, change: JSON, said: str) -> None:
    made = grant("wrong", **change)
    made["spec"] = {key: value for key, value in made["spec"].items() if value is not None}
    refused = gate.cluster.apply(made, ok=False)
    assert said in refused.stderr, refused.stderr


def test_a_name_that_is_too_long_is_refused(gate: Installed) -> None:
    assert "its name has at most 63 characters" in gate.cluster.apply(grant("a" * 64), ok=False).stderr


def test_what_it_says_is_never_changed(gate: Installed) -> None:
    kubectl, made = gate.cluster.kubectl, grant("fixed", images=["registry.example/acme/web"])
    gate.cluster.apply(made)
    for change in ({"policies": ["image-user"]}, {"images": ["registry.example/**"]}, {"coversProblems": True}):
        said = gate.cluster.apply({**made, "spec": {**made["spec"], **change}}, ok=False).stderr
        assert "a grant is never changed: delete it, and make another" in said
    kubectl("label", "breakglass", "fixed", "team=a", "--namespace", SHOP)
    kubectl("delete", "bg", "fixed", "--namespace", SHOP)


def test_people_see_what_is_granted_and_what_the_fields_mean(gate: Installed) -> None:
    gate.cluster.apply(grant("seen", images=["registry.example/acme/web"]))
    listed = gate.cluster.kubectl("get", "bg", "--namespace", SHOP).stdout
    heads, row = listed.splitlines()
    assert heads.split() == ["NAME", "POLICIES", "IMAGES", "EXPIRES", "REASON", "AGE"]
    for words in ("seen", '["*"]', '["registry.example/acme/web"]', REASON):
        assert words in row
    explained = gate.cluster.kubectl("explain", "breakglass.spec.expires").stdout
    assert "at most 24 hours after its creation" in " ".join(explained.split())
    gate.cluster.kubectl("delete", "bg", "seen", "--namespace", SHOP)


# -- who -------------------------------------------------------------------------------------------------------------


def test_only_who_has_the_right_breaks_the_glass_and_only_there(gate: Installed) -> None:
    """The roles edit and admin do not bring it."""
    bind(gate, SHOP, "admin", DEV)
    made, said = apply(gate, DEV, grant("mine"))
    assert not made
    assert f'User "{DEV}" cannot' in said
    made, said = apply(gate, OPS, grant("elsewhere", namespace=BANK))
    assert not made
    assert f'User "{OPS}" cannot' in said
    command = ("break-glass", "create", "--all-policies", "--everything", "--reason", REASON, "--namespace", SHOP)
    done = portcullis(*command, "--kubeconfig", str(kubeconfig(gate, DEV)))
    assert (done.returncode, done.stdout) == (2, "")
    assert f'User "{DEV}" cannot create resource "breakglasses"' in done.stderr


def test_a_deployment_and_its_pods_pass_by_the_grant_of_one_image_and_nothing_else_does(gate: Installed) -> None:
    image = gate.registry.image(ROOT)
    legacy = workload("Deployment", "legacy", SHOP, container("web", image))
    made, said = apply(gate, DEV, legacy)
    assert not made
    assert "[image-user]" in said

    config = ("--kubeconfig", str(kubeconfig(gate, OPS)), "--namespace", SHOP)
    command = ("break-glass", "create", "inc-1", "--all-policies", "--image", pattern(gate, ROOT), "--reason", REASON)
    done = portcullis(*command, *config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("break-glass:shop/inc-1 counts until ")
    (record,) = gate.records_of("inc-1")
    assert (record["kind"], record["operation"], record["username"], record["verdict"]) == (
        *("BreakGlass", "CREATE", OPS),
        "admitted",
    )
    assert f"why: {REASON}" in json.loads(record["body"])["message"]

    until(lambda: apply(gate, DEV, legacy)[0], "the Deployment to be admitted")
    (admitted,) = [one for one in gate.records_of("legacy") if one["verdict"] == "admitted" and not one["dry_run"]][:1]
    assert admitted["because"] == "break-glass"
    pods = f"/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3Dlegacy"
    children_of = until(lambda: gate.cluster.api.get(pods)["items"], "the pod of the Deployment", 60)
    (child,) = gate.records_of(children_of[0]["metadata"]["name"])
    assert (child["because"], child["username"]) == (
        "break-glass",
        "system:serviceaccount:kube-system:replicaset-controller",
    )
    annotations = admission(gate, "legacy")
    assert annotations["break-glass"] == "break-glass:shop/inc-1"
    assert annotations["verdict"] == "admitted"

    # Another pod with the image is told so.
    made, said = apply(gate, DEV, pod(gate, "alone", ROOT))
    assert made
    assert "Warning: [break-glass] shop/inc-1 until " in said
    assert REASON in said
    # Another image, the image beside another one, and the image elsewhere.
    for other in (
        pod(gate, "other", UNSCANNED),
        pod(gate, "beside", ROOT, UNSCANNED),
        pod(gate, "elsewhere", ROOT, namespace=BANK),
    ):
        made, said = apply(gate, DEV, other)
        assert not made, other
        assert "denied the request" in said

    listed = gate.kubelet.execute(gate.kubelet.alive[0], ["portcullis", "exceptions", "list", "-o", "json"])
    assert listed.returncode == 0, listed.stderr
    (found,) = json.loads(listed.stdout)["grants"]
    assert (found["id"], found["madeBy"], found["active"]) == ("break-glass:shop/inc-1", OPS, True)
    assert found["decisions"] >= 3

    gate.cluster.kubectl("delete", "bg", "inc-1", *config)
    until(lambda: not apply(gate, DEV, pod(gate, "late", ROOT))[0], "the end of the grant")
    ended = gate.records_of("inc-1")[1]
    assert (ended["operation"], ended["username"]) == ("DELETE", OPS)
    assert "break-glass:shop/inc-1 is deleted" in json.loads(ended["body"])["message"]


# -- how long --------------------------------------------------------------------------------------------------------


def test_a_grant_ends_at_its_instant(gate: Installed) -> None:
    tried = pod(gate, "timed", ROOT)
    with granted(gate, "short", seconds=8) as _:
        ends = datetime.fromisoformat(gate.cluster.api.get(path_of("short"))["spec"]["expires"])
        created = []
        while datetime.now(UTC) < ends + timedelta(seconds=2):
            begun = datetime.now(UTC)
            command = ("create", "--dry-run=server", "-f", "-")
            done = gate.cluster.kubectl(*command, stdin=yaml.safe_dump(tried), ok=None)
            created.append((begun, datetime.now(UTC), done.returncode == 0))
            time.sleep(0.1)
    assert all(admitted for _, until_then, admitted in created if until_then < ends)
    assert not any(admitted for begun, _, admitted in created if begun >= ends)
    assert {admitted for _, _, admitted in created} == {True, False}


def path_of(name: str) -> str:
    return f"/apis/portcullis.dev/v1/namespaces/{SHOP}/breakglasses/{name}"


def test_a_grant_that_is_being_deleted_counts_no_more(gate: Installed) -> None:
    """Whatever keeps the object there."""
    with granted(gate, "kept", images=[pattern(gate, ROOT)]):
        assert apply(gate, DEV, pod(gate, "before", ROOT))[0]
        patch = {"metadata": {"finalizers": ["acme.example/keep"]}}
        gate.cluster.api.patch(path_of("kept"), patch, "merge-patch")
        gate.cluster.kubectl("delete", "bg", "kept", "--namespace", SHOP, "--wait=false")
        until(lambda: not apply(gate, DEV, pod(gate, "after", ROOT))[0], "the end of the grant")
        assert gate.cluster.api.get(path_of("kept"))["metadata"]["deletionTimestamp"]
        gate.cluster.api.patch(path_of("kept"), {"metadata": {"finalizers": None}}, "merge-patch")
        gate.cluster.apply(grant("kept", images=[pattern(gate, ROOT)]))  # for the end of the test


# -- while everything is away ----------------------------------------------------------------------------------------


def test_a_registry_that_is_away(gate: Installed) -> None:
    """A grant covers it where it says so, for its image alone."""
    made, said = apply(gate, DEV, pod(gate, "unreachable", AWAY))
    assert not made
    assert "[registry-unreachable]" in said
    with granted(gate, "violations", images=["127.0.0.1:1/acme/web"]):
        assert not apply(gate, DEV, pod(gate, "unreachable", AWAY))[0]
    with granted(gate, "problems", images=["127.0.0.1:1/acme/web"], coversProblems=True):
        assert not apply(gate, DEV, pod(gate, "beside", AWAY, "127.0.0.1:1/acme/other:1"))[0]
        made, said = apply(gate, DEV, pod(gate, "unreachable", AWAY))
        assert made, said
    (*_, record) = gate.records_of("unreachable")
    assert (record["verdict"], record["because"]) == ("admitted", "break-glass")


@contextlib.contextmanager
def no_engine(gate: Installed) -> Iterator[None]:
    """OPA is killed whenever it is there."""
    over = threading.Event()

    def kill() -> None:
        while not over.is_set():
            for process in named(children(gate.kubelet.alive[0].process.pid), "opa"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            over.wait(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@contextlib.contextmanager
def no_database(gate: Installed) -> Iterator[None]:
    """Somebody holds the lock of the SQLite file."""
    (path,) = gate.kubelet.claims.glob("*/audit.db")
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_registry_engine_and_database_all_away(gate: Installed) -> None:
    with no_engine(gate), no_database(gate):
        made, said = apply(gate, DEV, pod(gate, "dark", AWAY))
        assert not made
        assert "[engine-unavailable]" in said
        config = ("--kubeconfig", str(kubeconfig(gate, OPS)), "--namespace", SHOP)
        command = ("break-glass", "create", "blackout", "--all-policies", "--everything", "--covers-problems")
        done = portcullis(*command, "--reason", REASON, "--for", "10m", *config)
        assert done.returncode == 0, done.stderr
        assert "everything in the namespace shop is covered" in done.stderr
        said = until(lambda: (found := apply(gate, DEV, pod(gate, "dark", AWAY)))[0] and found[1], "admission", 60)
        assert "Warning: [break-glass] shop/blackout until " in said
        annotations = admission(gate, "dark")
        assert annotations["break-glass"] == "break-glass:shop/blackout"
        assert annotations["decision-id"]
        assert not apply(gate, DEV, pod(gate, "dark", AWAY, namespace=BANK))[0]
        assert gate.records_of("blackout") == [], "the database has nothing yet"
    until(lambda: gate.records_of("blackout"), "the journal to be told", 60)
    kept = until(lambda: [one for one in gate.records_of("dark") if one["because"] == "break-glass"], "the record", 60)
    assert kept[-1]["id"] == annotations["decision-id"]
    gate.cluster.kubectl("delete", "bg", "blackout", "--namespace", SHOP)
