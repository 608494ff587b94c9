"""Workloads of every kind for the real API server."""

from typing import Any

from portcullis.cli.demo import reviews

KINDS = (
    "Pod",
    "ReplicationController",
    "PodTemplate",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
)

JSON = dict[str, Any]


def container(name: str, image: str, **fields: Any) -> JSON:
    return reviews.container(name, image, **fields)


def workload(kind: str, name: str, namespace: str, *containers: JSON, **spec: Any) -> JSON:
    """An object of ``kind`` as a person writes it."""
    restart = "Never" if kind in ("Job", "CronJob") else "Always"
    made = reviews.workload(kind, name, namespace, reviews.pod_spec(containers, restart=restart, **spec))
    made["metadata"] = {key: made["metadata"][key] for key in ("name", "namespace", "labels")}
    return made


def placed(kind: str, name: str, namespace: str, place: str, good: str, tried: str) -> JSON:
    """A workload with ``tried`` at one place, and a good image wherever there must be one."""
    if place == "container":
        return workload(kind, name, namespace, container("web", tried))
    web = container("web", good)
    if place == "init container":
        return workload(kind, name, namespace, web, initContainers=[container("migrate", tried)])
    assert place == "image volume"
    web["volumeMounts"] = [{"name": "weights", "mountPath": "/model", "readOnly": True}]
    volume = {"name": "weights", "image": {"reference": tried, "pullPolicy": "IfNotPresent"}}
    return workload(kind, name, namespace, web, volumes=[volume])
