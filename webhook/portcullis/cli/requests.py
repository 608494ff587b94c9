"""Turns a manifest into the AdmissionRequest that the API server would send for its creation."""

import getpass

import msgspec

from portcullis.admission.creating import creation_request
from portcullis.admission.review import parse_review
from portcullis.cli.manifests import Manifest
from portcullis.errors import ManifestError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    UserInfo,
)

DEFAULT_NAMESPACE = "default"

# Kinds of Kubernetes itself that live in no namespace (kubectl api-resources --namespaced=false). For custom
# kinds only the cluster knows; they are taken as namespaced.
_CLUSTER_SCOPED = frozenset({
    "APIService", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "ClusterTrustBundle",
    "ComponentStatus", "CSIDriver", "CSINode", "CustomResourceDefinition", "DeviceClass", "FlowSchema",
    "IngressClass", "IPAddress", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass",
    "PriorityLevelConfiguration", "ResourceSlice", "RuntimeClass", "SelfSubjectAccessReview",
    "SelfSubjectRulesReview", "ServiceCIDR", "StorageClass", "StorageVersionMigration", "SubjectAccessReview",
    "TokenReview", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration", "VolumeAttachment", "VolumeAttributesClass",
})  # fmt: skip

_PLURALS = {"Endpoints": "endpoints"}


def local_user() -> UserInfo:
    """The account that runs the command."""
    try:
        return UserInfo(username=getpass.getuser())
    except (KeyError, OSError):  # a uid without an entry, as in many containers
        return UserInfo(username="")


def request_of(manifest: Manifest, *, namespace: str, user: UserInfo, limits: Limits) -> AdmissionRequest:
    """The request for a manifest: that of the AdmissionReview it is, or its creation.

    Args:
        namespace: for objects that name none; "" is ``default``.

    Raises:
        ManifestError: metadata that is none. ReviewError: an AdmissionReview that is none.
    """
    api_version, kind = manifest.object["apiVersion"], manifest.object["kind"]
    if kind == "AdmissionReview" and api_version.startswith("admission.k8s.io/"):
        return parse_review(msgspec.json.encode(manifest.object), limits=limits, caller=Caller.LOCAL)
    metadata = manifest.object.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ManifestError("'metadata' is not an object")
    group, _, version = api_version.rpartition("/")
    within = _namespace(kind, metadata, namespace)
    created = dict(manifest.object)
    if within and kind != "Namespace":  # the API server fills it in before webhooks see the object
        created["metadata"] = {**metadata, "namespace": within}
    return creation_request(
        created,
        GroupVersionKind(group, version, kind),
        GroupVersionResource(group, version, plural(kind)),
        name=_text(metadata, "name") or _text(metadata, "generateName"),
        namespace=within,
        user=user,
        caller=Caller.LOCAL,
    )


def plural(kind: str) -> str:
    """The resource of a kind, by the rule that Kubernetes' own kinds follow: ``Ingress`` is ``ingresses``."""
    if kind in _PLURALS:
        return _PLURALS[kind]
    word = kind.lower()
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def _namespace(kind: str, metadata: JSONObject, chosen: str) -> str:
    if kind == "Namespace":
        return _text(metadata, "name")
    if kind in _CLUSTER_SCOPED:
        return ""
    return _text(metadata, "namespace") or chosen or DEFAULT_NAMESPACE


def _text(metadata: JSONObject, key: str) -> str:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"'metadata.{key}' is not a string")
    return value or ""
