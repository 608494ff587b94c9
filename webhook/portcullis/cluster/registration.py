"""Looks after the ValidatingWebhookConfiguration by which the cluster calls this gate.

The object belongs to whoever installed it (the chart). What the gate writes into it are two fields that the installer
leaves out, by server-side apply under a field manager of its own, so that neither ever fights for the other's:

* ``webhooks[].clientConfig.caBundle``: the CA of the self-managed certificate;
* one entry of ``webhooks[].matchConditions``, named STOPPED: while it is there, the API server does not call the
  webhook. It stands from the deletion of the gate's pod to the next start, where there is one replica only; otherwise
  a webhook that fails closed would refuse every pod of the cluster meanwhile. A gate that crashes, or whose container
  is restarted, leaves no such entry.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/; lists of type map (``webhooks`` and
``matchConditions`` by name) are merged item by item.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubernetes.aio.client import (
    AdmissionregistrationV1Api,
    ApiClient,
    CoreV1Api,
    V1ValidatingWebhookConfiguration,
)
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, in_cluster, reason_of
from portcullis.errors import ClusterError
from portcullis.times import rfc3339

STOPPED = "stopped.portcullis.dev"
"""Name of the match condition."""

FIELD_MANAGER = "portcullis"

POLICY_WEBHOOK = "policies.portcullis.dev"
"""Checks ConfigMaps with policies, and judges nothing."""

_APPLY = "application/apply-patch+yaml"
_SINCE = re.compile(r"false // .* at (\S+)")


@dataclass(frozen=True, slots=True)
class Registration:
    """What the cluster has: for each webhook of the object its name, its CA bundle, and since when it is stopped.

    ``uid`` is that of the object, which is named in each change, so that none makes a deleted object anew.
    """

    uid: str
    ca_bundles: Mapping[str, bytes]
    stopped: Mapping[str, str]
    """By webhook: the time at which it was stopped, in RFC 3339, "" where that cannot be read."""
    rules: tuple[Mapping[str, Any], ...] = ()
    """What is sent to the webhooks that judge, each {apiGroups, resources}."""

    def covered_by(self, ca_bundle: bytes) -> bool:
        return all(found == ca_bundle for found in self.ca_bundles.values())


class WebhookConfigurations:
    """The one ValidatingWebhookConfiguration ``name``, read and changed through the API server.

    Every method raises only ClusterError, at the latest after ``seconds``.
    """

    def __init__(self, *, api: AdmissionregistrationV1Api, name: str, seconds: float = REQUEST_SECONDS) -> None:
        self._api = api
        self._name = name
        self._seconds = seconds

    async def read(self) -> Registration | None:
        """The object as it is; None if there is none."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._api.read_validating_webhook_configuration(self._name)
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 404:
                return None
            raise self._error("read", error) from error
        return _registration(found)

    async def write(self, found: Registration, *, ca_bundle: bytes | None, stopped_at: datetime | None) -> None:
        """Sets what the gate owns of it.

        Args:
            found: the object as it was read.
            ca_bundle: PEM; None leaves it to others.
            stopped_at: since when the webhooks are not to be called; None means that they are.
        """
        webhooks = [_webhook(name, ca_bundle, stopped_at) for name in found.ca_bundles]
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self._name, "uid": found.uid},
            "webhooks": webhooks,
        }
        try:
            async with asyncio.timeout(self._seconds):
                await self._api.patch_validating_webhook_configuration(
                    self._name, body, field_manager=FIELD_MANAGER, force=True, _content_type=_APPLY
                )
        except FAULTS as error:
            raise self._error("changed", error) from error

    def _error(self, verb: str, error: Exception) -> ClusterError:
        reason = reason_of(error, self._seconds)
        return ClusterError(f"the ValidatingWebhookConfiguration {self._name} cannot be {verb}: {reason}")


class OwnPod:
    """The pod that this program runs in, ``namespace/name``."""

    def __init__(self, *, api: CoreV1Api, pod: str, seconds: float = REQUEST_SECONDS) -> None:
        self._api = api
        self._namespace, _, self._name = pod.partition("/")
        self._seconds = seconds

    async def leaving(self) -> bool:
        """Whether it is being deleted: by an upgrade, an eviction, or somebody's hand. A container that is only
        restarted, because it does not answer or uses too much memory, is no reason to open anything.

        Raises:
            ClusterError: that is not known.
        """
        try:
            async with asyncio.timeout(self._seconds):
                pod = await self._api.read_namespaced_pod(self._name, self._namespace)
        except FAULTS as error:
            reason = reason_of(error, self._seconds)
            raise ClusterError(f"the pod {self._namespace}/{self._name} cannot be read: {reason}") from error
        return pod.metadata is not None and pod.metadata.deletion_timestamp is not None


@asynccontextmanager
async def connected(name: str, pod: str) -> AsyncIterator[tuple[WebhookConfigurations, OwnPod]]:
    """Both, with the service account of the pod; its token is read again as the kubelet renews it.

    Args:
        name: of the ValidatingWebhookConfiguration.
        pod: ``namespace/name``.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    async with ApiClient(in_cluster("cluster.webhook")) as client:
        configurations = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name=name)
        yield configurations, OwnPod(api=CoreV1Api(client), pod=pod)


def _webhook(name: str, ca_bundle: bytes | None, stopped_at: datetime | None) -> dict[str, Any]:
    webhook: dict[str, Any] = {"name": name}
    if ca_bundle is not None:
        webhook["clientConfig"] = {"caBundle": base64.b64encode(ca_bundle).decode()}
    if stopped_at is not None:
        words = f"false // portcullis was stopped in good order at {rfc3339(stopped_at, 'seconds')}"
        webhook["matchConditions"] = [{"name": STOPPED, "expression": words}]
    return webhook


def _registration(found: V1ValidatingWebhookConfiguration) -> Registration:
    webhooks = found.webhooks or []
    stopped = {}
    for webhook in webhooks:
        for condition in webhook.match_conditions or []:
            if condition.name == STOPPED:
                since = _SINCE.fullmatch(condition.expression)
                stopped[webhook.name] = since[1] if since else ""
    return Registration(
        uid=str(found.metadata.uid) if found.metadata is not None else "",
        ca_bundles={webhook.name: _decoded(webhook.client_config.ca_bundle) for webhook in webhooks},
        stopped=stopped,
        rules=tuple(
            {"apiGroups": tuple(rule.api_groups or ()), "resources": tuple(rule.resources or ())}
            for webhook in webhooks
            if webhook.name != POLICY_WEBHOOK
            for rule in webhook.rules or ()
        ),
    )


def _decoded(bundle: object) -> bytes:
    """The client gives base64 as text or as bytes; b"" where there is nothing."""
    if not isinstance(bundle, (str, bytes)):
        return b""
    try:
        return base64.b64decode(bundle, validate=True)
    except binascii.Error:
        return b""
