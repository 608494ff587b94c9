"""ConfigMaps with policies: watched where the operator allows it, and told what is wrong with them.

Only those with the label ``portcullis.dev/policy: "true"`` count, and only in the namespaces that are named: whoever
may write a ConfigMap elsewhere makes no policy.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.cluster.watch import Bounds, Watch
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.times import rfc3339

POLICY_LABEL: Final = "portcullis.dev/policy"
ERROR_ANNOTATION: Final = "portcullis.dev/policy-error"
_SELECTOR: Final = f"{POLICY_LABEL}=true"
_NOTE_CHARS: Final = 1000
"""The API server takes 1,024 in the message of an Event."""


@dataclass(frozen=True, slots=True)
class PolicyMap:
    """A ConfigMap with policies: ``files`` by key, and what it says now of their fault."""

    namespace: str
    name: str
    uid: str
    files: Mapping[str, str]
    error: str

    @property
    def place(self) -> tuple[str, str]:
        return self.namespace, self.name


def policy_map(found: JSONObject) -> PolicyMap:
    """Read from a ConfigMap, or from what :func:`kept` keeps of one."""
    metadata = found.get("metadata") or {}
    data = found.get("data") or {}
    return PolicyMap(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        files={key: text for key, text in data.items() if isinstance(text, str)} if isinstance(data, Mapping) else {},
        error=str((metadata.get("annotations") or {}).get(ERROR_ANNOTATION) or ""),
    )


def kept(found: JSONObject) -> JSONObject:
    """What is kept of a ConfigMap."""
    one = policy_map(found)
    return {
        "metadata": {
            "namespace": one.namespace,
            "name": one.name,
            "uid": one.uid,
            "annotations": {ERROR_ANNOTATION: one.error},
        },
        "data": one.files,
    }


class PolicyMaps:
    """The ConfigMaps with policies of some namespaces.

    Args:
        namespaces: where they are looked for, and nowhere else.
        changed: is called when there may be others, or other ones.
    """

    def __init__(
        self, *, client: ApiClient, namespaces: Sequence[str], limits: Limits, changed: Callable[[], None]
    ) -> None:
        self._client = client
        self.namespaces = tuple(dict.fromkeys(namespaces))
        bounds = Bounds(
            objects=limits.policy_source_files,
            object_bytes=limits.policy_source_bytes,
            names=("policySourceFiles", "policySourceBytes"),
        )
        self.watches = tuple(
            Watch(
                client=client,
                resource=Resource("", "v1", "configmaps", namespace, _SELECTOR),
                bounds=bounds,
                changed=lambda _: changed(),
                keep=kept,
            )
            for namespace in self.namespaces
        )

    @property
    def problem(self) -> str:
        """Why what :meth:`all` gives may not be what there is; "" where it is."""
        return next((watch.problem for watch in self.watches if not watch.synced.is_set()), "")

    async def synced(self, seconds: float) -> None:
        """Returns when all are known.

        Raises:
            ClusterError: they are not within ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                for watch in self.watches:
                    await watch.synced.wait()
        except TimeoutError:
            raise ClusterError(f"the ConfigMaps with policies are not known: {self.problem}") from None

    def all(self) -> tuple[PolicyMap, ...]:
        """Those that are known, in order.

        Raises:
            ClusterError: not all are known: without some of them the policies would be others.
        """
        if self.problem:
            raise ClusterError(f"the ConfigMaps with policies are not known: {self.problem}")
        found = [policy_map(one) for watch in self.watches for one in watch.objects.values()]
        return tuple(sorted(found, key=lambda one: one.place))

    async def note(self, one: PolicyMap, error: str) -> None:
        """Writes what is wrong with it into its annotation, and takes it away for "".

        Raises:
            ClusterError: the API server does not let us.
        """
        annotation = error or None
        body = {"metadata": {"annotations": {ERROR_ANNOTATION: annotation}}}
        path = f"{Resource('', 'v1', 'configmaps', one.namespace).path}/{quote(one.name, safe='')}"
        await self._send(
            "PATCH", path, body, "application/merge-patch+json", f"the ConfigMap {one.namespace}/{one.name}"
        )

    async def tell(self, one: PolicyMap, reason: str, message: str, *, warning: bool) -> None:
        """Makes an Event on it.

        Raises:
            ClusterError: the API server does not let us.
        """
        now = rfc3339(datetime.now(UTC), "seconds")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "portcullis-policy-", "namespace": one.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "namespace": one.namespace,
                "name": one.name,
                "uid": one.uid,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:_NOTE_CHARS],
            "source": {"component": "portcullis"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        path = Resource("", "v1", "events", one.namespace).path
        await self._send("POST", path, body, "application/json", f"an Event in {one.namespace}")

    async def _send(self, method: str, path: str, body: Any, content_type: str, what: str) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await ask(
                    self._client, method, path, body=body, content_type=content_type, silence_seconds=REQUEST_SECONDS
                )
                async with response:
                    if response.status == 404 and method == "PATCH":
                        return  # it is gone
                    if response.status not in (200, 201):
                        raise ApiException(status=response.status, reason=response.reason)
        except FAULTS as error:
            raise ClusterError(f"{what} cannot be written: {reason_of(error, REQUEST_SECONDS)}") from error
