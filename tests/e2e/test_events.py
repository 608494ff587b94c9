"""What is refused is told on its owner: `kubectl describe` shows it, counted, on the real API server."""

import json
import re
from typing import Any

import pytest

from e2e.cluster.api import ApiError
from e2e.cluster.gate import Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import Cluster, until
from e2e.cluster.registry import GOOD, ROOT

SHOP = "shop"
NOWHERE = "127.0.0.1:1"
"""A registry that nobody answers for."""
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{SHOP}/events"


@pytest.fixture(scope="module")
def shop(release: Installed) -> Installed:
    """A Deployment with a bad image, from before the gate, that has no pods yet; then the gate, which enforces."""
    cluster = release.cluster
    cluster.namespace(SHOP)
    old = workload("Deployment", "old", SHOP, container("web", release.registry.image(ROOT)))
    old["spec"]["replicas"] = 0
    cluster.apply(old, workload("Pod", "running", SHOP, container("web", release.registry.image(GOOD))))
    until(lambda: replica_set(cluster), "the ReplicaSet")
    values = release.values("enforce", limits={"eventSeconds": 0.5})
    # By the environment, of which the chart's guard knows nothing.
    places = [{"images": ["registry.example/**"], "repository": "r.images.svc/signed"}]
    values["extraEnv"] = [{"name": "PORTCULLIS_TRUST__REPOSITORIES", "value": json.dumps(places)}]
    values["config"]["registries"]["hosts"][NOWHERE] = {"insecure": True, "private": True}
    release.helm("install", values=values)
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    return release


def replica_set(cluster: Cluster) -> dict[str, Any]:
    found = cluster.api.get(f"/apis/apps/v1/namespaces/{SHOP}/replicasets")["items"]
    return next((one for one in found if one["metadata"]["name"].startswith("old-")), {})


def told(cluster: Cluster, kind: str, reason: str) -> list[dict[str, Any]]:
    """Events of the gate about objects of that kind; the API server has a field selector of its own for this."""
    selector = f"regarding.kind={kind},reason={reason},reportingController=portcullis"
    found: list[dict[str, Any]] = cluster.api.get(f"{EVENTS}?fieldSelector={selector}")["items"]
    return found


def times(events: list[dict[str, Any]]) -> int:
    return sum(event.get("series", {}).get("count", 1) for event in events)


def child(name: str, image: str, owner: dict[str, Any]) -> dict[str, Any]:
    """A pod as the ReplicaSet's controller makes it."""
    made = workload("Pod", name, SHOP, container("web", image))
    about = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True}
    made["metadata"]["ownerReferences"] = [{**about, **{key: owner["metadata"][key] for key in ("name", "uid")}}]
    return made


def refused(cluster: Cluster, pod: dict[str, Any], code: int, query: str = "") -> None:
    with pytest.raises(ApiError) as raised:
        cluster.api.post(f"/api/v1/namespaces/{SHOP}/pods{query}", pod)
    assert raised.value.code == code


def test_a_deployment_whose_pods_are_refused_says_so(shop: Installed) -> None:
    cluster = shop.cluster
    cluster.kubectl("scale", "deployment/old", "--replicas=1", "--namespace", SHOP)
    until(lambda: told(cluster, "ReplicaSet", "Refused"), "the Event on the ReplicaSet")
    until(
        lambda: told(cluster, "Deployment", "Refused"), "the Event on the Deployment, which the gate saw it belong to"
    )
    before = times(told(cluster, "ReplicaSet", "Refused"))

    image, owner = shop.registry.image(ROOT), replica_set(cluster)
    for number in range(20):
        refused(cluster, child(f"again-{number}", image, owner), 403)
    refused(cluster, child("tried", image, owner), 403, "?dryRun=All")

    for kind, name in (("ReplicaSet", owner["metadata"]["name"]), ("Deployment", "old")):
        until(lambda kind=kind: times(told(cluster, kind, "Refused")) >= before + 20, f"all on the {kind}")
        (event,) = told(cluster, kind, "Refused")
        assert event["type"] == "Warning"
        assert event["note"].startswith("1 policy refuses Pod shop/old-")
        assert '[image-user] container "web"' in event["note"]
        decision = event["note"].splitlines()[-1].removeprefix("Decision ")
        assert decision in {record["id"] for record in shop.records}
        described = cluster.kubectl("describe", kind.lower(), name, "--namespace", SHOP).stdout
        shown = described.partition("Events:")[2]
        assert re.search(r"Warning +Refused +\S+ \(x\d+ over \S+\) +portcullis +1 policy refuses Pod", shown), described
        assert decision in shown
    counted = times(told(cluster, "ReplicaSet", "Refused"))
    tried = [record for record in shop.records if record["kind"] == "Pod" and record["code"] == 403]
    assert counted <= len([record for record in tried if not record["dry_run"]])


def test_an_outage_and_a_violation_look_different(shop: Installed) -> None:
    cluster = shop.cluster
    refused(cluster, child("away", f"{NOWHERE}/acme/web:1", replica_set(cluster)), 503)
    until(lambda: told(cluster, "ReplicaSet", "Undecided"), "the Event")
    (event,) = told(cluster, "ReplicaSet", "Undecided")
    assert "an outage, not a violation" in event["note"]
    assert "[registry-unreachable]" in event["note"]


def test_a_refused_change_is_told_on_the_object_itself(shop: Installed) -> None:
    cluster = shop.cluster
    bad = {"spec": {"containers": [{"name": "web", "image": shop.registry.image(ROOT)}]}}
    patch = ("patch", "pod", "running", "--namespace", SHOP, "--patch", str(bad).replace("'", '"'))
    assert "[image-user]" in cluster.kubectl(*patch, ok=False).stderr
    until(lambda: told(cluster, "Pod", "Refused"), "the Event")
    (event,) = told(cluster, "Pod", "Refused")
    assert event["regarding"]["name"] == "running"


def test_who_creates_by_hand_has_the_answer_and_no_event(shop: Installed) -> None:
    """And nothing else is refused to the gate: what it may write, it wrote."""
    cluster = shop.cluster
    refused(cluster, workload("Pod", "by-hand", SHOP, container("web", shop.registry.image(ROOT))), 403)
    ready = shop.cluster.run("curl", "-s", f"http://127.0.0.1:{shop.ports['health']}/readyz?verbose").stdout
    assert "[+]events ok" in ready
    # Attestations of a registry in this cluster, whose pods nobody could start while the gate is away.
    assert "[!]circles degraded: trust.repositories.0 names r.images.svc in the namespace images" in ready
    page = shop.cluster.run("curl", "-s", f"http://127.0.0.1:{shop.ports['health']}/metrics").stdout
    assert re.search(r"^portcullis_circles 1\.0$", page, re.MULTILINE)
    assert re.search(r"^portcullis_events_dropped_total 0\.0$", page, re.MULTILINE)
    assert re.search(r"^portcullis_events_failed_total 0\.0$", page, re.MULTILINE)
    names = [event["regarding"]["name"] for event in cluster.api.get(EVENTS)["items"]]
    assert "by-hand" not in names
