"""An image that is still being inspected: people wait by themselves, controllers are not held up (design rule 4)."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.gate import Installed, assert_joined
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, SLOW

SHOP = "shop"
TAG_SECONDS = 1
TIMEOUT_SECONDS = 3
PENDING = 20
HELD_UP_SECONDS = 30
"""A controller whose workers all wait makes no pod before this time."""
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    values = release.values("enforce", limits={"tagSeconds": TAG_SECONDS, "failureSeconds": 1})
    release.helm("install", values={**values, "webhook": {"timeoutSeconds": TIMEOUT_SECONDS}})
    release.cluster.namespace(SHOP)
    yield release
    assert_joined(release)


def codes(gate: Installed, name: str) -> list[int]:
    return [record["code"] for record in gate.records_of(name)]


def test_kubectl_asks_again_until_a_persons_request_succeeds(gate: Installed) -> None:
    """The attestations of the image come late: the first tries are answered 429, and kubectl repeats them silently."""
    pod = workload("Pod", "patient", SHOP, container("web", gate.registry.image(SLOW)))
    gate.registry.hold("/acme/slow/referrers/")
    done: list[Any] = []
    applying = threading.Thread(target=lambda: done.append(gate.cluster.apply(pod, ok=None)))
    applying.start()
    until(lambda: codes(gate, "patient"), "the first answer")
    assert applying.is_alive(), "kubectl has given up"
    gate.registry.release()
    applying.join(60)
    assert done[0].returncode == 0, done[0].stderr
    assert done[0].stdout == "pod/patient created\n"
    assert "Error" not in done[0].stderr
    *waited, last = codes(gate, "patient")
    assert (set(waited), last) == ({429}, 200)


def names_of_pods(gate: Installed, **labels: str) -> list[str]:
    selector = "%2C".join(f"{key}%3D{value}" for key, value in labels.items())
    found = gate.cluster.api.get(f"/api/v1/namespaces/{SHOP}/pods?labelSelector={selector}")
    return [pod["metadata"]["name"] for pod in found["items"]]


def seconds_to_first_pod(gate: Installed, name: str) -> float:
    """From the call that makes a Deployment to its first pod."""
    started = time.monotonic()
    gate.cluster.api.post(
        f"/apis/apps/v1/namespaces/{SHOP}/deployments",
        workload("Deployment", name, SHOP, container("web", gate.registry.image(GOOD))),
    )
    until(lambda: names_of_pods(gate, app=name), f"a pod of {name}", HELD_UP_SECONDS, pause=0.02)
    return time.monotonic() - started


def test_pending_workloads_do_not_hold_up_others(gate: Installed) -> None:
    """Twenty Deployments whose pods wait for a registry that does not answer, and one that has nothing to do with
    it: the workers of the controller are not all waiting."""
    deployments = []
    for number in range(PENDING):
        one = workload("Deployment", f"slow-{number}", SHOP, container("web", gate.registry.image(SLOW)))
        one["spec"]["template"]["metadata"]["labels"]["tier"] = "slow"
        deployments.append(one)
    gate.cluster.apply(*deployments)
    until(lambda: len(names_of_pods(gate, tier="slow")) == PENDING, "the pods of all Deployments")
    alone = seconds_to_first_pod(gate, "alone")

    gate.registry.hold("/acme/slow/")
    time.sleep(TAG_SECONDS + 0.2)
    kubectl = ("delete", "pods", "--namespace", SHOP, "--selector", "tier=slow", "--force", "--grace-period=0")
    gate.cluster.kubectl(*kubectl)

    def held_up() -> bool:
        refused = [one for one in gate.records if one["username"] == CONTROLLER and one["code"] == 429]
        return len({one["name"].rpartition("-")[0] for one in refused}) > PENDING // 2

    until(held_up, "answers 429 to the controller")
    beside = seconds_to_first_pod(gate, "unrelated")
    print(f"first pod of a Deployment: {alone:.2f} s alone, {beside:.2f} s beside {PENDING} that are pending")
    assert len(names_of_pods(gate, tier="slow")) < PENDING, "nothing was pending any more"

    gate.registry.release()
    until(lambda: len(names_of_pods(gate, tier="slow")) == PENDING, "the pods of all Deployments again", 120)
    answers = [json.loads(one["body"])["decision"] for one in gate.records if one["username"] == CONTROLLER]
    pending = [one for one in answers if one["code"] == 429]
    assert pending
    assert {one["retryAfterSeconds"] for one in pending} == {None}
