"""Looks after the webhook configurations by which the cluster calls this gate: the ValidatingWebhookConfiguration, and
the MutatingWebhookConfiguration where tags are pinned.

Each object belongs to whoever installed it (the chart). What the gate writes into it are fields that the installer
leaves out, by server-side apply under a field manager of its own, so that neither ever fights for the other's:

* ``webhooks[].clientConfig.caBundle``: the CAs of the self-managed certificate;
* ``webhooks[].clientConfig.service.path``: the unguessable path by which the API server is told apart;
* ``metadata.ownerReferences``: the namespace of the release, so that who deletes that has no webhook left which
  nobody answers;
* one entry of ``webhooks[].matchConditions``, named STOPPED: while it is there, the API server does not call the
  webhook. It stands from the deletion of the gate's pod to the next start, where there is one replica only; otherwise
  a webhook that fails closed would refuse every pod of the cluster meanwhile. A gate that crashes, or whose container
  is restarted, leaves no such entry. Nor is there ever one in the mutating object, which never fails closed.

Each change names the resourceVersion that was read: of two replicas that change it at once, one is refused.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/; lists of type map (``webhooks`` and
``matchConditions`` by name) are merged item by item. A field that a manager owned and leaves out is taken away.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio.client import (
    AdmissionregistrationV1Api,
    AdmissionregistrationV1WebhookClientConfig,
    ApiClient,
    AppsV1Api,
    CoreV1Api,
    V1MutatingWebhook,
    V1MutatingWebhookConfiguration,
    V1ValidatingWebhook,
    V1ValidatingWebhookConfiguration,
)
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, in_cluster, reason_of
from portcullis.cluster.ownpod import Namespace, OwnPod
from portcullis.errors import ClusterError
from portcullis.times import rfc3339

STOPPED = "stopped.portcullis.dev"
"""Name of the match condition."""

FIELD_MANAGER = "portcullis"

POLICY_WEBHOOK = "policies.portcullis.dev"
"""Checks ConfigMaps with policies, and judges nothing."""

BREAK_GLASS_WEBHOOK = "break-glass.portcullis.dev"
"""Looks at grants, and judges nothing."""

PIN_WEBHOOK = "pin.portcullis.dev"
"""Pins tags; the only one of the mutating object."""

_Found = V1ValidatingWebhookConfiguration | V1MutatingWebhookConfiguration

_APPLY = "application/apply-patch+yaml"
_SINCE = re.compile(r"false // .* at (\S+)")


_NAME_LABEL = "kubernetes.io/metadata.name"
_PATHS = {POLICY_WEBHOOK: "validate-policies", BREAK_GLASS_WEBHOOK: "validate-break-glass", PIN_WEBHOOK: "mutate"}
_PATH = "validate"


@dataclass(frozen=True, slots=True)
class Reach:
    """What one webhook is called for, of namespaces, and what becomes of a request that it cannot be asked about."""

    failure_policy: str = "Fail"
    only: frozenset[str] | None = None
    """Names of the only namespaces; None where all are meant."""
    exempt: frozenset[str] = frozenset()
    """Names of namespaces that are left out."""

    def judges(self, namespace: str) -> bool:
        """Whether it is called for what is in this namespace."""
        return (self.only is None or namespace in self.only) and namespace not in self.exempt

    def closed_for(self, namespace: str) -> bool:
        """Whether nothing can be created in this namespace while nobody answers."""
        return self.failure_policy != "Ignore" and self.judges(namespace)


@dataclass(frozen=True, slots=True)
class Registration:
    """What the cluster has: for each webhook of the object its name, its CA bundle, and since when it is stopped.

    ``uid`` and ``version`` are those of the object, which are named in each change, so that none makes a deleted object
    anew, or undoes what somebody else wrote meanwhile.
    """

    uid: str
    ca_bundles: Mapping[str, bytes]
    stopped: Mapping[str, str]
    """By webhook: the time at which it was stopped, in RFC 3339, "" where that cannot be read."""
    rules: tuple[Mapping[str, Any], ...] = ()
    """What is sent to the webhooks that judge, each {apiGroups, resources}."""
    version: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    """By webhook, of those that are called through a Service."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """By webhook: the name that the API server expects in the certificate."""
    owners: frozenset[str] = frozenset()
    """The uids of the objects with which this one goes."""
    reaches: Mapping[str, Reach] = field(default_factory=dict)
    """By webhook, of those that judge."""

    def covered_by(self, ca_bundle: bytes) -> bool:
        return all(found == ca_bundle for found in self.ca_bundles.values())

    def called_by(self, segment: str) -> bool:
        """Whether each webhook has the path with this word."""
        return all(path == path_of(webhook, segment) for webhook, path in self.paths.items())

    @property
    def segments(self) -> tuple[str, ...]:
        """The words in the paths."""
        found = (path.split("/") for path in self.paths.values())
        return tuple(dict.fromkeys(words[1] for words in found if len(words) == 3))


@dataclass(frozen=True, slots=True)
class Written:
    """What the gate owns of the object.

    Args:
        ca_bundle: PEM; None leaves it to others.
        segment: the word of the paths; "" leaves them to others.
        owner: with whose end the object goes; None: with nobody's.
        stopped_at: since when the webhooks are not to be called; None means that they are.
    """

    ca_bundle: bytes | None = None
    segment: str = field(default="", repr=False)
    owner: Namespace | None = None
    stopped_at: datetime | None = None


def path_of(webhook: str, segment: str) -> str:
    return f"/{segment}/{_PATHS.get(webhook, _PATH)}"


class WebhookConfigurations:
    """The one webhook configuration ``name``, read and changed through the API server.

    Every method raises only ClusterError, at the latest after ``seconds``.

    Args:
        mutating: it is a MutatingWebhookConfiguration, and not a ValidatingWebhookConfiguration.
    """

    def __init__(
        self,
        *,
        api: AdmissionregistrationV1Api,
        name: str,
        mutating: bool = False,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._kind = "MutatingWebhookConfiguration" if mutating else "ValidatingWebhookConfiguration"
        self._get = api.read_mutating_webhook_configuration if mutating else api.read_validating_webhook_configuration
        self._patch = (
            api.patch_mutating_webhook_configuration if mutating else api.patch_validating_webhook_configuration
        )
        self._name = name
        self._seconds = seconds

    async def read(self) -> Registration | None:
        """The object as it is; None if there is none."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._get(self._name)
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 404:
                return None
            raise self._error("read", error) from error
        return _registration(found)

    async def write(self, found: Registration, written: Written) -> Registration | None:
        """Sets what the gate owns of the object that was read as ``found``.

        Returns:
            The object as it is then; None where somebody else changed or deleted it meanwhile, and this changed
            nothing.
        """
        metadata: dict[str, Any] = {"name": self._name, "uid": found.uid, "resourceVersion": found.version}
        if written.owner is not None:
            owner = {"apiVersion": "v1", "kind": "Namespace", "name": written.owner.name, "uid": written.owner.uid}
            metadata["ownerReferences"] = [owner]
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": self._kind,
            "metadata": metadata,
            "webhooks": [_webhook(name, found, written) for name in found.ca_bundles],
        }
        try:
            async with asyncio.timeout(self._seconds):
                changed = await self._patch(
                    self._name, body, field_manager=FIELD_MANAGER, force=True, _content_type=_APPLY
                )
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status in (404, 409):
                return None
            raise self._error("changed", error) from error
        return _registration(changed)

    def _error(self, verb: str, error: Exception) -> ClusterError:
        reason = reason_of(error, self._seconds)
        return ClusterError(f"the {self._kind} {self._name} cannot be {verb}: {reason}")


@asynccontextmanager
async def connected(
    name: str, pod: str, deployment: str = ""
) -> AsyncIterator[tuple[ApiClient, WebhookConfigurations, OwnPod]]:
    """A client with the service account of the pod, whose token is read again as the kubelet renews it; the
    configuration, and the pod.

    Args:
        name: of the ValidatingWebhookConfiguration.
        pod: ``namespace/name``.
        deployment: of the pod, "" where it is the only one.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    async with ApiClient(in_cluster("cluster.webhook")) as client:
        configurations = WebhookConfigurations(api=AdmissionregistrationV1Api(client), name=name)
        own = OwnPod(api=CoreV1Api(client), apps=AppsV1Api(client), pod=pod, deployment=deployment)
        yield client, configurations, own


def mutating_of(client: ApiClient, name: str) -> WebhookConfigurations:
    """The MutatingWebhookConfiguration of that name, by the client that :func:`connected` gives."""
    return WebhookConfigurations(api=AdmissionregistrationV1Api(client), name=name, mutating=True)


def _webhook(name: str, found: Registration, written: Written) -> dict[str, Any]:
    webhook: dict[str, Any] = {"name": name}
    client: dict[str, Any] = {}
    if written.ca_bundle is not None:
        client["caBundle"] = base64.b64encode(written.ca_bundle).decode()
    if written.segment and name in found.paths:
        client["service"] = {"path": path_of(name, written.segment)}
    if client:
        webhook["clientConfig"] = client
    if written.stopped_at is not None:
        words = f"false // portcullis was stopped in good order at {rfc3339(written.stopped_at, 'seconds')}"
        webhook["matchConditions"] = [{"name": STOPPED, "expression": words}]
    return webhook


def _registration(found: _Found) -> Registration:
    webhooks, metadata = found.webhooks or [], found.metadata
    stopped = {}
    for webhook in webhooks:
        for condition in webhook.match_conditions or []:
            if condition.name == STOPPED:
                since = _SINCE.fullmatch(condition.expression)
                stopped[webhook.name] = since[1] if since else ""
    judging = [webhook for webhook in webhooks if webhook.name not in _PATHS]
    return Registration(
        uid=str(metadata.uid) if metadata is not None else "",
        ca_bundles={webhook.name: _decoded(webhook.client_config.ca_bundle) for webhook in webhooks},
        stopped=stopped,
        rules=tuple(
            {"apiGroups": tuple(rule.api_groups or ()), "resources": tuple(rule.resources or ())}
            for webhook in judging
            for rule in webhook.rules or ()
        ),
        version=str(metadata.resource_version or "") if metadata is not None else "",
        paths={
            webhook.name: webhook.client_config.service.path or ""
            for webhook in webhooks
            if webhook.client_config.service is not None
        },
        hosts={webhook.name: _host(webhook.client_config) for webhook in webhooks},
        owners=frozenset(str(owner.uid) for owner in metadata.owner_references or ()) if metadata else frozenset(),
        reaches={webhook.name: _reach(webhook) for webhook in judging},
    )


def _host(client: AdmissionregistrationV1WebhookClientConfig) -> str:
    if client.service is not None:
        return f"{client.service.name}.{client.service.namespace}.svc"
    try:
        return urlsplit(client.url or "").hostname or ""
    except ValueError:
        return ""


def _reach(webhook: V1ValidatingWebhook | V1MutatingWebhook) -> Reach:
    """Only what is said by name counts: another label may be on any namespace tomorrow."""
    selector = webhook.namespace_selector
    only: frozenset[str] | None = None
    exempt: frozenset[str] = frozenset()
    for expression in (selector.match_expressions or []) if selector is not None else []:
        names = frozenset(expression.values or ())
        if expression.key == _NAME_LABEL and expression.operator == "NotIn":
            exempt |= names
        elif expression.key == _NAME_LABEL and expression.operator == "In":
            only = names if only is None else only & names
    return Reach(webhook.failure_policy or "Fail", only, exempt)


def _decoded(bundle: object) -> bytes:
    """The client gives base64 as text or as bytes; b"" where there is nothing."""
    if not isinstance(bundle, (str, bytes)):
        return b""
    try:
        return base64.b64decode(bundle, validate=True)
    except binascii.Error:
        return b""
