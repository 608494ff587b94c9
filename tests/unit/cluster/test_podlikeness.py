"""Which pods are alike, what they run, and how they were when they were created."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.runningpods import controlled_by, digest, running_pod
from portcullis.cluster.podlikeness import creation, images_of, likeness, running_image

JSON = dict[str, Any]
OWNERS = controlled_by("apps/v1", "StatefulSet", "db")
HEX = "ab" * 32


def liked(pod: JSON) -> bytes:
    assert len(creation(pod)) == 4
    return likeness(pod, images_of(pod))


def owned(name: str = "db-0", **arguments: Any) -> JSON:
    return running_pod(name, owners=OWNERS, **arguments)


@pytest.mark.parametrize(
    ("image_id", "digest", "by_configuration"),
    [
        (f"docker.io/library/web@sha256:{HEX}", f"sha256:{HEX}", False),  # containerd, cri-o
        (f"registry.example:5000/a/web@sha256:{HEX}", f"sha256:{HEX}", False),
        (f"docker-pullable://registry.example/web@sha256:{HEX}", f"sha256:{HEX}", False),
        (f"docker://sha256:{HEX}", f"sha256:{HEX}", True),
        (f"sha256:{HEX}", f"sha256:{HEX}", True),  # containerd, imported
        (HEX, f"sha256:{HEX}", True),  # cri-o
        ("", None, False),
        (None, None, False),
        (7, None, False),
        ("docker.io/library/web:1", None, False),
        ("web@sha256:abc", None, False),
        (f"@sha256:{HEX}", None, False),
        (f"sha256:{HEX.upper()}", None, False),
    ],
)
def test_what_kubelets_report(image_id: object, digest: str | None, by_configuration: bool) -> None:
    image = running_image("web:1", "web", image_id)
    assert (image.digest, image.by_configuration) == (digest, by_configuration)
    assert (image.written, image.container, image.image_id) == (
        "web:1",
        "web",
        image_id if isinstance(image_id, str) else "",
    )


def test_every_place_of_an_image_is_seen() -> None:
    pod = running_pod(
        "web",
        spec={
            "initContainers": [{"name": "first", "image": "init:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "shell:1"}],
            "volumes": [
                {"name": "model", "image": {"reference": "models:1"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
        status={
            "initContainerStatuses": [{"name": "first", "imageID": f"init@{digest(2)}"}],
            "ephemeralContainerStatuses": [{"name": "debug", "imageID": f"shell@{digest(3)}"}],
        },
    )
    assert [(one.container, one.written, one.digest) for one in images_of(pod)] == [
        ("c0", "web:1", digest(1)),
        ("first", "init:1", digest(2)),
        ("debug", "shell:1", digest(3)),
        ("model", "models:1", None),
    ]


def test_a_pod_as_it_would_be_created_now() -> None:
    """With every annotation: a person can have one look as if the network had written it."""
    status = {"manager": "network", "subresource": "status", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
    status["fieldsV1"]["f:metadata"]["f:annotations"] = {".": {}, "f:net/ip": {}}  # type: ignore[index]
    pod = running_pod(
        "web",
        labels={"app": "web"},
        annotations={"team": "a", "net/ip": "10.0.0.1"},
        managedFields=[status, {"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:annotations": {"f:team": {}}}}}],
    )
    before = copy.deepcopy(pod)
    assert creation(pod) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {"app": "web"},
            "annotations": {"team": "a", "net/ip": "10.0.0.1"},
            "ownerReferences": [],
        },
        "spec": {"containers": [{"name": "c0", "image": "web:1"}]},
    }
    assert pod == before, "the pod itself is changed"


def affinity(node: str, zone: str = "a") -> JSON:
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    expressions = [{"key": "zone", "operator": "In", "values": [zone]}]
    term = {"matchFields": fields, "matchExpressions": expressions}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def named_after(pod: str, volume: str) -> JSON:
    """What is in a pod of a StatefulSet under its own name."""
    mounts = [{"name": volume, "mountPath": "/token"}]
    return {
        "hostname": pod,
        "volumes": [
            {"name": volume, "projected": {"sources": []}},
            {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{pod}"}},
        ],
        "containers": [{"name": "c0", "image": "web:1", "volumeMounts": mounts}],
        "affinity": affinity(f"node-of-{pod}"),
    }


def test_pods_of_one_template_are_alike() -> None:
    one, other = (
        owned(
            name,
            spec=named_after(name, f"kube-api-access-{token}"),
            labels={"app": "db", "statefulset.kubernetes.io/pod-name": name, "controller-revision-hash": token},
            annotations={"batch.kubernetes.io/job-completion-index": token},
            generateName=f"db-{token}-",
        )
        for name, token in (("db-0", "abcde"), ("db-1", "12345"))
    )
    assert liked(one) == liked(other)


CHANGES: list[Callable[[JSON], None]] = [
    lambda pod: pod["metadata"].update(labels={"app": "other"}),
    lambda pod: pod["metadata"].update(annotations={"team": "other"}),
    lambda pod: pod["spec"].update(hostNetwork=True),
    lambda pod: pod["spec"]["containers"][0].update(image="web:2"),
    lambda pod: pod["spec"]["containers"][0].update(securityContext={"privileged": True}),
    lambda pod: pod["spec"].update(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
    lambda pod: pod["spec"].update(volumes=[{"name": "x", "persistentVolumeClaim": {"claimName": "other"}}]),
    lambda pod: pod["spec"].update(affinity=affinity("node", zone="b")),
    lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "debug", "image": "shell"}]),
    lambda pod: pod["status"]["containerStatuses"][0].update(imageID=f"web@{digest(2)}"),
    lambda pod: pod["status"]["containerStatuses"][0].update(imageID="something"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_judged_tells_pods_apart(change: Callable[[JSON], None]) -> None:
    pod = owned(labels={"app": "db"}, annotations={"team": "a"}, spec={"affinity": affinity("node")})
    before = liked(pod)
    change(pod)
    assert liked(pod) != before


@pytest.mark.parametrize("key", ["hostname", "volumes"])
def test_pods_that_nobody_controls_are_taken_as_they_are(key: str) -> None:
    first, second = (running_pod("web", spec=named_after(name, "token")) for name in ("db-0", "db-1"))
    assert first["spec"][key] != second["spec"][key]
    assert liked(first) != liked(second)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    ("metadata",), ("spec",), ("status",), ("metadata", "ownerReferences"), ("metadata", "annotations"),
    ("metadata", "managedFields"), ("spec", "containers"), ("spec", "volumes"), ("spec", "affinity"),
    ("status", "containerStatuses"),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=junk)
def test_nothing_that_an_api_server_may_send_breaks_it(place: tuple[str, ...], value: Any) -> None:
    pod = owned()
    parent = pod
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    assert len(liked(pod)) == 32
