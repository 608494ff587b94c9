"""Many pods that run many images, without a node: written as a kubelet would have reported them."""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from e2e.cluster.api import Api
from e2e.cluster.programs import Cluster
from e2e.cluster.registry import SampleRegistry
from portcullis.cli.demo.publish import publish
from portcullis.cli.demo.samples import Sample, build

THREADS = 8
PUBLISH_SECONDS = 300

JSON = dict[str, Any]


class CountingRegistry(SampleRegistry):
    """Counts what is read of it, by path."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._read: Counter[str] = Counter()
        self.digests: dict[str, str] = {}
        """Of what was published, by the sample's name."""

    @property
    def read(self) -> Mapping[str, int]:
        """Requests since they were forgotten."""
        with self._lock:
            return dict(self._read)

    def forget(self) -> None:
        with self._lock:
            self._read.clear()

    def push(self, samples: Sequence[Sample]) -> None:
        """Publishes more, with their scans."""
        images = build(samples, datetime.now(UTC))
        references = {sample.name: self.image(f"{sample.repository}:{sample.tag}") for sample in samples}
        done = publish(images, references, self._keys, self.host, lambda _: None, samples)
        asyncio.run_coroutine_threadsafe(done, self._loop).result(PUBLISH_SECONDS)
        self.digests.update({name: image.root.digest for name, image in images.items()})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            with self._lock:
                self._read[scope["path"]] += 1
        await super().__call__(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Application:
    """So many pods of one image."""

    name: str
    image: str
    digest: str
    pods: int

    @property
    def image_id(self) -> str:
        return f"{self.image.rpartition(':')[0]}@{self.digest}"


def run(cluster: Cluster, namespace: str, applications: Sequence[Application]) -> None:
    """Puts them into the cluster: of each a ReplicaSet with its pods, which run.

    The controllers stand still meanwhile: they would make the same pods, one after the other.
    """
    cluster.stop("kube-controller-manager")
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda one: _run(cluster.api, namespace, one), applications))
    finally:
        cluster.start("kube-controller-manager")


def _run(api: Api, namespace: str, one: Application) -> None:
    made = api.post(f"/apis/apps/v1/namespaces/{namespace}/replicasets", _replica_set(one))
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": one.name,
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for number in range(one.pods):
        name = f"{one.name}-{number:02}"
        metadata = {"name": name, "labels": {"app": one.name}, "ownerReferences": [owner]}
        api.post(pods, {"metadata": metadata, "spec": _spec(one)})
        report(api, namespace, name, one)


def report(api: Api, namespace: str, pod: str, one: Application) -> None:
    """What the kubelet says of a pod that runs."""
    state = {"running": {"startedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}}
    container = {
        "name": "web",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "image": one.image,
        "imageID": one.image_id,
        "state": state,
    }
    status = {"phase": "Running", "containerStatuses": [container]}
    api.patch(f"/api/v1/namespaces/{namespace}/pods/{pod}/status", {"status": status})


def _replica_set(one: Application) -> JSON:
    labels = {"app": one.name}
    template = {"metadata": {"labels": labels}, "spec": _spec(one)}
    spec = {"replicas": one.pods, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": one.name, "labels": labels}, "spec": spec}


def _spec(one: Application) -> JSON:
    return {"automountServiceAccountToken": False, "containers": [{"name": "web", "image": one.image}]}
