"""The platforms of a cluster's nodes: those that images are judged for where the configuration names none.

Only the metadata of nodes is asked for (a PartialObjectMetadataList), a fiftieth of the whole: the kubelet keeps the
labels ``kubernetes.io/os`` and ``kubernetes.io/arch`` of its node true.
Sources: https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch,
https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from kubernetes.aio.client import ApiClient, CoreV1Api

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, in_cluster, reason_of
from portcullis.errors import ClusterError
from portcullis.model.image import Platform

_ACCEPT: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE: Final = 500
_PAGES: Final = 40
"""20,000 nodes; Kubernetes is built for 5,000."""
_PAGE_BYTES: Final = 16 * 1024 * 1024
_OS: Final = "kubernetes.io/os"
_ARCHITECTURE: Final = "kubernetes.io/arch"


class Nodes:
    """The nodes of a cluster, as its API server lists them."""

    def __init__(self, *, api: CoreV1Api, seconds: float = REQUEST_SECONDS) -> None:
        self._api = api
        self._seconds = seconds

    async def platforms(self) -> tuple[Platform, ...]:
        """Each platform once, in order; a node without these labels counts for nothing. Empty without nodes.

        Raises:
            ClusterError: the nodes cannot be listed within ``seconds``, or are more than any cluster has.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return tuple(sorted([platform async for platform in self._all()]))
        except FAULTS as error:
            raise ClusterError(f"the nodes cannot be listed: {reason_of(error, self._seconds)}") from error

    async def _all(self) -> AsyncIterator[Platform]:
        seen: set[Platform] = set()
        following: str | None = None
        for _ in range(_PAGES):
            page = await self._page(following)
            for platform in _platforms(page):
                if platform not in seen:
                    seen.add(platform)
                    yield platform
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return
        raise ValueError(f"there are more than {_PAGES * _PAGE}")

    async def _page(self, following: str | None) -> dict[str, Any]:
        response = await self._api.list_node_without_preload_content(
            limit=_PAGE, _continue=following, _headers={"Accept": _ACCEPT}
        )
        async with response:
            page = await bounded_json(response, _PAGE_BYTES, "a page of them")
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            raise ValueError("the API server answered no list")
        return page


@asynccontextmanager
async def nodes() -> AsyncIterator[Nodes]:
    """The nodes of the cluster that this program is a pod of.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    async with ApiClient(in_cluster("platforms of the cluster's nodes")) as client:
        yield Nodes(api=CoreV1Api(client))


def _platforms(page: dict[str, Any]) -> Iterator[Platform]:
    for item in page["items"]:
        labels = ((item or {}).get("metadata") or {}).get("labels") or {}
        system, architecture = labels.get(_OS), labels.get(_ARCHITECTURE)
        if isinstance(system, str) and isinstance(architecture, str) and system and architecture:
            yield Platform(system, architecture)
