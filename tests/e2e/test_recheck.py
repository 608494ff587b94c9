"""What runs is judged again, by two replicas on one database: a fleet of pods, a scan that ends, a tag that moves, and
the death of the one that does it."""

import json
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from e2e.cluster.fleet import Application, CountingRegistry, report, run
from e2e.cluster.gate import NAMESPACE, Installed, prepared, shared_store
from e2e.cluster.losses import both_ready
from e2e.cluster.objects import container, workload
from e2e.cluster.pods import Running
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import MOVING
from e2e.test_docs import commands
from portcullis.audit.findingrows import result_of
from portcullis.cli.demo.samples import Sample, Scan
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.running import Condition, Rejudged

PODS, IMAGES = 5000, 300
FLEET, SHOP = "fleet", "shop"
POLICIES = ("image-user", "scan-required", "scan-fresh")
WEEK = timedelta(hours=168)
"""How old a scan may be, by scan-fresh."""
FRESH = timedelta(seconds=60)
"""For which one is still fresh: long enough to publish it, and to create a pod of it."""
ROUND_SECONDS = 300.0
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/portcullis-recheck"
RECHECK = {"everyMinutes": 0.1, "workloadsPerSecond": 1000, "imagesPerSecond": 1000, "leaseSeconds": 15}

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def registry() -> Iterator[CountingRegistry]:
    with CountingRegistry().running() as registry:
        assert isinstance(registry, CountingRegistry)
        names = [f"app-{number:03}" for number in range(IMAGES)]
        registry.push([Sample(name, "one of many", f"acme/{name}", "1.0.0") for name in names])
        yield registry


@pytest.fixture(scope="module")
def gate(own_cluster: Cluster, registry: CountingRegistry) -> Iterator[Installed]:
    """Two replicas, installed after the fleet was there."""
    with prepared(own_cluster, registry, nodes=2) as made, shared_store(made):
        for namespace in (FLEET, SHOP):
            own_cluster.namespace(namespace)
        run(own_cluster, FLEET, fleet(registry))
        registry.forget()
        values = made.values("enforce", policies={"enabled": list(POLICIES)})
        made.helm("install", values={**values, "recheck": RECHECK})
        both_ready(made)
        yield made


def fleet(registry: CountingRegistry) -> list[Application]:
    each, more = divmod(PODS, IMAGES)
    return [
        application(registry, name, f"acme/{name}:1.0.0", pods=each + (number < more))
        for number, name in enumerate(sorted(registry.digests))
    ]


def application(registry: CountingRegistry, name: str, image: str, *, pods: int = 1) -> Application:
    return Application(name, registry.image(image), registry.digests[name], pods)


# -- what is looked at -----------------------------------------------------------------------------------------------


def told(gate: Installed) -> list[JSON]:
    """The rounds that have ended, as the logs of all replicas tell of them, the oldest first."""
    lines = [line for pod in gate.kubelet.pods.values() for line in pod.log.splitlines() if '"round ended"' in line]
    return sorted(map(json.loads, lines), key=lambda one: one["timestamp"])


def newer(gate: Installed, than: int, replica: str) -> JSON:
    """A round of that replica which was begun after the round ``than``, and has ended."""
    question = f"select body from rounds where ended_at is not null and number > {than}"

    def found() -> JSON | None:
        bodies = [json.loads(body) for (body,) in gate.shared(question)]
        return next((body for body in bodies if body["replica"] == replica), None)

    return dict(until(found, f"a round after {than}", ROUND_SECONDS, 0.5))


def begun(gate: Installed) -> int:
    """The number of the newest round, which may go on."""
    ((number,),) = gate.shared("select coalesce(max(number), 0) from rounds")
    return int(number)


def failing(gate: Installed, name: str) -> Rejudged:
    """What is said of a workload as soon as it fails."""
    newest = "(select max(number) from rounds where ended_at is not null)"

    def found() -> Rejudged | None:
        rows = gate.shared(f"select body from findings where name = '{name}' and round = {newest}")
        results = [result_of(bytes(body), DEFAULT_LIMITS) for (body,) in rows]
        return next((one for one in results if one.condition is Condition.FAILING), None)

    one: Rejudged = until(found, f"{name} to fail", ROUND_SECONDS, 0.5)
    return one


def holder(gate: Installed) -> str:
    return str((gate.cluster.api.get(LEASE).get("spec") or {}).get("holderIdentity", ""))


def leader(gate: Installed) -> Running:
    def found() -> Running | None:
        return next((pod for pod in gate.kubelet.ready if pod.name == holder(gate)), None)

    pod: Running = until(found, "a leader")
    return pod


def metrics(pod: Running) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{pod.named['health']}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


# -- the fleet -------------------------------------------------------------------------------------------------------


def test_a_fleet_is_judged_with_one_set_of_requests_for_each_image(
    gate: Installed, registry: CountingRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = until(lambda: told(gate)[:2] if len(told(gate)) > 1 else None, "two rounds", ROUND_SECONDS, 0.5)
    read = {path: count for path, count in registry.read.items() if "/app-" in path}
    lasting = {path: count for path, count in read.items() if "/blobs/" in path or "/manifests/sha256:" in path}
    of_each = Counter(path.split("/")[3] for path in read)
    with capsys.disabled():
        each = first["registry_requests"] / first["images"]
        print(f"\n{first['pods']} pods, {first['workloads']} workloads, {first['images']} images: ", end="")
        print(f"{first['registry_requests']} registry requests, {each:.1f} for each image, in {first['seconds']} s")
        print(f"the next round: {second['registry_requests']} requests, in {second['seconds']} s")
    assert (first["pods"], first["workloads"], first["images"]) == (PODS, IMAGES, IMAGES)
    assert (len(of_each), len(set(of_each.values()))) == (IMAGES, 1), "each image takes the same"
    assert first["registry_requests"] == len(read), "each path was asked for once"
    assert set(lasting.values()) == {1}, "what cannot change is asked for once in all"
    assert second["registry_requests"] <= len(read) - len(lasting), "what may be attested meanwhile, and nothing else"
    assert second["workloads"] == IMAGES
    shown = metrics(leader(gate))
    assert shown['portcullis_recheck_workloads{condition="good"}'] == IMAGES
    assert shown['portcullis_recheck_round{of="pods"}'] == PODS


# -- what changes ----------------------------------------------------------------------------------------------------


def test_a_scan_that_ends_and_a_tag_that_moves_are_found(gate: Installed, registry: CountingRegistry) -> None:
    """Both were let in."""
    soon = "ends-soon"
    registry.push([Sample(soon, "scanned long ago", f"acme/{soon}", "1.0.0", scan=Scan(age=WEEK - FRESH))])
    cluster = gate.cluster
    cluster.apply(workload("Pod", soon, SHOP, container("web", registry.image(f"acme/{soon}:1.0.0"))))
    report(cluster.api, SHOP, soon, application(registry, soon, f"acme/{soon}:1.0.0"))

    moved, newer_one = "moved", MOVING.replace(":1.0.0", ":2.0.0")
    registry.push([Sample(newer_one, "good as well", *newer_one.split(":"))])
    before, after = crane_digest(gate, MOVING), registry.digests[newer_one]
    cluster.apply(workload("Pod", moved, SHOP, container("web", registry.image(MOVING))))
    cluster.run("crane", "copy", "--insecure", registry.image(newer_one), registry.image(MOVING))
    report(cluster.api, SHOP, moved, Application(moved, registry.image(MOVING), after, 1))

    found = failing(gate, moved)
    (tag,) = found.moved
    admitted = gate.records_of(moved)[-1]
    assert (tag.judged, tag.running) == (before, after)
    assert (tag.decision_id, admitted["verdict"]) == (admitted["id"], "admitted")
    assert found.decision.violations == (), "the other image is good, too"

    found = failing(gate, soon)
    assert [violation.policy for violation in found.decision.violations] == ["scan-fresh"]
    assert gate.records_of(soon)[-1]["verdict"] == "admitted"
    shown = metrics(leader(gate))
    assert shown['portcullis_recheck_workloads{condition="failing"}'] == 2
    assert shown['portcullis_recheck_round{of="moved-tags"}'] == 1


def crane_digest(gate: Installed, image: str) -> str:
    return gate.cluster.run("crane", "digest", "--insecure", gate.registry.image(image)).stdout.strip()


# -- who does it -----------------------------------------------------------------------------------------------------


def test_when_the_leader_dies_rounds_go_on(gate: Installed) -> None:
    """By the other one, or by the one that died, which has its name and so its Lease again where the kubelet was
    quicker than the Lease."""
    both_ready(gate)
    dead = leader(gate)
    (other,) = [pod for pod in gate.kubelet.ready if pod.name != dead.name]
    assert metrics(other)["portcullis_recheck_leader"] == 0
    last, process = begun(gate), dead.process
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    written = lease(gate)
    until(lambda: lease(gate) != written, "the next one")
    assert newer(gate, last, holder(gate))["workloads"] == IMAGES + 2
    both_ready(gate)
    assert sum(metrics(pod)["portcullis_recheck_leader"] for pod in gate.kubelet.ready) == 1


def lease(gate: Installed) -> tuple[str, str]:
    """Who holds it, and when that was said last."""
    spec = gate.cluster.api.get(LEASE)["spec"]
    return spec.get("holderIdentity", ""), spec.get("renewTime", "")


def test_one_that_stops_in_good_order_hands_it_over(gate: Installed) -> None:
    both_ready(gate)
    stopping = leader(gate)
    gate.cluster.kubectl("delete", "pod", stopping.name, "--namespace", NAMESPACE, "--wait=false")
    taken = until(lambda: holder(gate) not in ("", stopping.name), "another one", 60, 0.1)
    assert taken
    assert '"this replica leads no more"' in stopping.log
    both_ready(gate)


def test_the_commands_of_the_page(gate: Installed) -> None:
    both_ready(gate)
    for words in commands("docs/operators-recheck.md"):
        assert holder(gate) in gate.cluster.run(*words).stdout
