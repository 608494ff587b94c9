"""The Secret that the replicas of a gate share: read as it is, and changed only if nobody else changed it meanwhile.

Somebody else makes the object (the chart does, without data); the gate may ``get`` and ``update`` this one by its name
and create none. A change names the resourceVersion that was read, so that of two replicas which change it at once one
is refused (409), reads again, and finds the other's work.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import asyncio
import base64
import binascii
from typing import Any, Final

from kubernetes.aio.client import ApiClient, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.certificatestate import ENTRY_BYTES, Content, Stored
from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, reason_of
from portcullis.cluster.keys import own_namespace
from portcullis.errors import ClusterError

ROTATE: Final = "portcullis.dev/rotate"
"""An annotation: a text that differs from the one before asks for a new CA and a new path."""

_SECRET_BYTES: Final = 2 * 1024 * 1024
"""The API server takes 1 MiB in a Secret; base64 and metadata come on top."""
_ROTATE_CHARS: Final = 256


class SharedSecret:
    """The Secret ``name`` in ``namespace``. Every method raises only ClusterError, at the latest after ``seconds``."""

    def __init__(self, *, api: CoreV1Api, namespace: str, name: str, seconds: float = REQUEST_SECONDS) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._seconds = seconds

    async def read(self) -> Stored:
        """The object as it is."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._api.read_namespaced_secret_without_preload_content(self._name, self._namespace)
                async with response:
                    return _stored(await bounded_json(response, _SECRET_BYTES, "it"))
        except FAULTS as error:
            raise self._error("read", error) from error

    async def write(self, stored: Stored, content: Content) -> Stored | None:
        """Puts ``content`` into the object that was read as ``stored``.

        Returns:
            The object as it is then; None where somebody else was quicker, and nothing was changed.
        """
        data = {name: base64.b64encode(entry).decode() for name, entry in content.items()}
        body: Any = {**stored.found, "data": data}
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._api.replace_namespaced_secret_without_preload_content(
                    self._name, self._namespace, body
                )
                async with response:
                    return _stored(await bounded_json(response, _SECRET_BYTES, "it"))
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 409:
                return None
            raise self._error("changed", error) from error

    def _error(self, verb: str, error: Exception) -> ClusterError:
        what = f"the Secret {self._namespace}/{self._name}"
        if isinstance(error, ApiException) and error.status == 404:
            return ClusterError(f"{what} is not there; make it (the chart does), the gate may only change it")
        return ClusterError(f"{what} cannot be {verb}: {reason_of(error, self._seconds)}")


def shared_secret(client: ApiClient, name: str) -> SharedSecret:
    """The Secret of that name in the namespace of this pod.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    namespace = own_namespace(who="the Secret that replicas share")
    return SharedSecret(api=CoreV1Api(client), namespace=namespace, name=name)


def _stored(found: Any) -> Stored:
    if not isinstance(found, dict) or found.get("kind") != "Secret" or not isinstance(found.get("metadata"), dict):
        raise ValueError("the API server answered no Secret")
    data = found.get("data")
    annotations = found["metadata"].get("annotations")
    rotate = annotations.get(ROTATE) if isinstance(annotations, dict) else None
    return Stored(
        content={str(name): _entry(text) for name, text in data.items()} if isinstance(data, dict) else {},
        rotate=rotate[:_ROTATE_CHARS] if isinstance(rotate, str) else "",
        found=found,
    )


def _entry(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > ENTRY_BYTES * 2:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
