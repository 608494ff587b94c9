"""Grants of an emergency on a real API server: the kind with its validation, who may make them, what they let through
and what not, for how long, and while registry, policy engine and database are away. And exceptions, by every command.
"""

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

from e2e.cluster.api import ApiError
from e2e.cluster.gate import RELEASE, Installed
from e2e.cluster.objects import JSON, container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT, UNSCANNED
from e2e.faulting.processes import children, named
from e2e.faulting.watching import asked, metric
from e2e.support import portcullis
from portcullis.times import rfc3339

pytestmark = pytest.mark.timeout(600)

SHOP, BANK, LEGACY = "shop", "bank", "legacy"
EXCEPTIONS = [
    {
        "id": "EX-1",
        "policies": ["image-user"],
        "match": {"namespaces": [LEGACY]},
        "reason": "moves in January",
        "owner": "shop@acme.example",
        "expires": "2099-01-31T00:00:00Z",
    }
]
OPS, DEV = "ops@acme.example", "dev@acme.example"
"""Both may make workloads in both namespaces; ops may break the glass in one."""
AWAY = "127.0.0.1:1/acme/web:1"
"""An image of a registry that does not answer."""
REASON = "checkout is down, order 4711"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/breakglasses.portcullis.dev"


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    """Afterwards nothing is left of the kind either."""
    for namespace in (SHOP, BANK, LEGACY):
        release.cluster.namespace(namespace)
        for user in (OPS, DEV):
            bind(release, namespace, "edit", user)
    loopback = {"insecure": True, "private": True}
    hosts = {release.registry.host: loopback, "127.0.0.1:1": loopback}
    config = {"registries": {"hosts": hosts}, "limits": {"failureSeconds": 1}, "exceptions": EXCEPTIONS}
    values = release.values("enforce", **config)
    release.helm("install", values=values)
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


def message_of(record: JSON) -> str:
    return str(json.loads(record["body"])["decision"]["message"])


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
    assert f"why: {REASON}" in message_of(record)

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
    assert "break-glass:shop/inc-1 is deleted" in message_of(ended)


# -- how long --------------------------------------------------------------------------------------------------------


def test_a_grant_ends_at_its_instant(gate: Installed) -> None:
    """Nothing is admitted that was asked for at its end or later."""
    made, tried = grant("short", seconds=6), pod(gate, "timed", ROOT)
    ends = datetime.fromisoformat(made["spec"]["expires"])
    gate.cluster.api.post(path_of(""), made)
    tries = []
    while datetime.now(UTC) < ends + timedelta(seconds=2):
        begun = datetime.now(UTC)
        tries.append((begun, datetime.now(UTC) if _admitted(gate, tried) else None))
        time.sleep(0.05)
    admitted = [begun for begun, answered in tries if answered is not None]
    assert admitted, tries
    assert all(begun < ends for begun in admitted)
    assert any(begun >= ends for begun, _ in tries)
    refused = [begun for begun, answered in tries if answered is None and begun > admitted[0]]
    assert all(begun >= ends - timedelta(seconds=1) for begun in refused), "it counted to its end"
    gate.cluster.kubectl("delete", "bg", "short", "--namespace", SHOP)


def _admitted(gate: Installed, tried: JSON) -> bool:
    try:
        gate.cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", tried)
    except ApiError as error:
        if error.code == 403:
            return False
        raise
    return True


def path_of(name: str) -> str:
    """Of a grant; of all, for ""."""
    return f"/apis/portcullis.dev/v1/namespaces/{SHOP}/breakglasses{'/' if name else ''}{name}"


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
    """Without OPA no replica is ready, so that nobody is asked; a grant that covers problems is known to it all the
    same, and makes it ready again."""
    (gated,) = gate.kubelet.alive
    config = ("--kubeconfig", str(kubeconfig(gate, OPS)), "--namespace", SHOP)
    with no_engine(gate), no_database(gate):
        until(lambda: not gated.ready, "the end of readiness", 60)
        assert not apply(gate, DEV, pod(gate, "dark", AWAY))[0]
        command = ("break-glass", "create", "blackout", "--all-policies", "--everything", "--covers-problems")
        done = portcullis(*command, "--reason", REASON, "--for", "10m", *config)
        assert done.returncode == 0, done.stderr
        until(lambda: gated.ready, "readiness by the grant", 60)
        assert "[!]opa degraded: OPA is down" in asked(gated, "/readyz?verbose")[1]

        said = until(lambda: (found := apply(gate, DEV, pod(gate, "dark", AWAY)))[0] and found[1], "admission", 60)
        assert "Warning: [break-glass] shop/blackout until " in said
        annotations = admission(gate, "dark")
        assert annotations["break-glass"] == "break-glass:shop/blackout"
        assert annotations["verdict"] == "admitted"
        made, said = apply(gate, DEV, pod(gate, "dark", AWAY, namespace=BANK))
        assert not made
        assert "[engine-unavailable]" in said
        gate.cluster.kubectl("delete", "bg", "blackout", *config)
        assert gate.records_of("blackout") == [], "the database has nothing yet"
    # The journal is told when the database is back: who let it in, and what.
    kept = until(lambda: [one for one in gate.records_of("dark") if one["because"] == "break-glass"], "the record", 60)
    assert kept[-1]["id"] == annotations["decision-id"]
    ended = until(
        lambda: [one for one in gate.records_of("blackout") if one["operation"] == "DELETE"],
        "the record of its end",
        60,
    )[0]
    assert ended["username"] == OPS
    assert REASON in message_of(ended)
    until(lambda: apply(gate, DEV, pod(gate, "well", GOOD, namespace=BANK))[0], "the policy engine again", 60)


# -- exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_counts_alike_for_webhook_check_replay_and_scan(gate: Installed, tmp_path: Path) -> None:
    made, said = apply(gate, DEV, pod(gate, "old", ROOT, namespace=LEGACY))
    assert made, said
    assert "[image-user] excepted by EX-1 until 2099-01-31T00:00Z" in said
    runs(gate, "old")
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(yaml.safe_dump(pod(gate, "old", ROOT, namespace=LEGACY)))
    for exceptions, counts in ((EXCEPTIONS, True), (ended(EXCEPTIONS), False)):
        config = configuration(gate, tmp_path, exceptions)
        checked = portcullis("check", str(manifest), "--config", str(config), "-o", "json")
        (decision,) = json.loads(checked.stdout)["decisions"]
        scanning = ("scan", "--namespace", LEGACY, "--kubeconfig", str(gate.cluster.kubeconfig))
        scanned = portcullis(*scanning, "--config", str(config), "-o", "json")
        (running,) = json.loads(scanned.stdout)["workloads"]
        assert (checked.returncode, scanned.returncode) == ((0, 0) if counts else (1, 1))
        assert running["condition"] == ("excepted" if counts else "failing")
        for found in (decision, running):
            assert found["verdict"] == ("admitted" if counts else "refused")
            assert found["because"] == ("exception" if counts else "judged")
            assert [one["exception"] for one in found["violations"] if one["policy"] == "image-user"] == (
                ["EX-1"] if counts else [""]
            )
    # What was admitted was so at its time; without the exception it would not have been.
    draft = configuration(gate, tmp_path, [])
    replayed = portcullis("replay", "--namespace", LEGACY, "--config", str(draft), "-o", "json")
    assert json.loads(replayed.stdout)["flips"] == [{"from": "admitted", "to": "refused", "count": 1}]


def configuration(gate: Installed, folder: Path, exceptions: list[JSON]) -> Path:
    """As the gate has it, for a command beside it."""
    (database,) = gate.kubelet.claims.glob("*/audit.db")
    config = gate.values("enforce")["config"]
    config["trust"]["signers"] = {"ci": {"key": {"pem": gate.registry.public_key}}}
    config |= {"exceptions": exceptions, "audit": {"database": f"sqlite:///{database}"}}
    path = folder / "portcullis.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def ended(exceptions: list[JSON]) -> list[JSON]:
    """The same, whose last instant is over."""
    return [{**one, "expires": rfc3339(datetime.now(UTC))} for one in exceptions]


def runs(gate: Installed, name: str) -> None:
    """A kubelet has pulled the image of the pod and started it."""
    path = f"/api/v1/namespaces/{LEGACY}/pods/{name}"
    (record,) = [one for one in gate.records_of(name) if one["verdict"] == "admitted"]
    (image,) = json.loads(record["body"])["decision"]["images"]
    status = {
        "name": "c0",
        "image": image["written"],
        "imageID": f"{image['written'].rpartition(':')[0]}@{image['digest']}",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {}},
    }
    gate.cluster.api.patch(f"{path}/status", {"status": {"phase": "Running", "containerStatuses": [status]}})
