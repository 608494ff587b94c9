"""Pods as a cluster has them, with all that was written into them after their creation."""

from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]

PODS = "/api/v1/pods"
REPLICA_SETS = "/apis/apps/v1/replicasets"
JOBS = "/apis/batch/v1/jobs"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def controlled_by(api_version: str, kind: str, name: str) -> list[JSON]:
    return [{"apiVersion": api_version, "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


def running_pod(
    name: str,
    images: Mapping[str, str] | None = None,
    *,
    namespace: str = "shop",
    owners: Sequence[JSON] = (),
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> JSON:
    """A pod of one container for each of ``images``: what is written, and what the kubelet reports ("" for nothing)."""
    images = {"web:1": f"docker.io/library/web@{digest(1)}"} if images is None else images
    names = [f"c{place}" for place in range(len(images))]
    containers = [{"name": one, "image": written} for one, written in zip(names, images, strict=True)]
    statuses = [{"name": one, "imageID": reported} for one, reported in zip(names, images.values(), strict=True)]
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "ownerReferences": list(owners),
            **metadata,
        },
        "spec": {"nodeName": f"node-of-{name}", "containers": containers, **(spec or {})},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": statuses, **(status or {})},
    }
