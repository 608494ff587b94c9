"""Resources of the API server by their paths, as raw JSON: what is watched may be of any kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from portcullis.model.json import JSONObject

CONNECT_SECONDS: Final = 3.0
_WRITTEN: Final = frozenset({"POST", "PUT", "PATCH"})
_JSON: Final = "application/json"
_METADATA: Final = "application/json;as={};g=meta.k8s.io;v=v1"
"""Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, in all namespaces or in one.

    Args:
        group: "" for the core.
        plural: its name in paths (``configmaps``).
        labels, fields: selectors of labels and fields.
        metadata_only: whether no more than the metadata of objects is asked for.
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False

    @property
    def path(self) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        return f"{root}{within}/{self.plural}"

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def kind(self) -> str:
        """Its name without its place, for labels of metrics: ``ingresses.networking.k8s.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def selectors(self) -> Mapping[str, str]:
        """What a query says of labels and fields."""
        found = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: text for key, text in found.items() if text}

    def accept(self, *, listed: bool) -> str:
        """What a list is asked for as, or one object or its changes."""
        if not self.metadata_only:
            return _JSON
        return _METADATA.format("PartialObjectMetadataList" if listed else "PartialObjectMetadata")

    def __str__(self) -> str:
        selected = f" ({self.fields})" if self.fields else ""
        return f"{self.kind} in {self.namespace}{selected}" if self.namespace else f"{self.kind}{selected}"


async def ask(
    client: ApiClient,
    method: str,
    path: str,
    *,
    query: Mapping[str, str | int] | None = None,
    body: Any = None,
    content_type: str = _JSON,
    accept: str = _JSON,
    silence_seconds: float,
) -> aiohttp.ClientResponse:
    """The answer, whose body is still to be read; the caller releases it.

    Args:
        silence_seconds: the longest time without a byte.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: there is no answer.
    """
    url = f"{path}?{urlencode(query)}" if query else path
    headers = {"Accept": accept}
    if method in _WRITTEN:
        headers["Content-Type"] = content_type
    serialized = await client.param_serialize(
        method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    _, address, sent, content, _ = serialized
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
    answer = await client.call_api(method, address, sent, content, _request_timeout=timeout)
    response: aiohttp.ClientResponse = answer.response
    return response


def without_managed_fields(found: JSONObject) -> JSONObject:
    """The object without what only field managers read, which is often half of it."""
    metadata = found.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return found
    return {**found, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
