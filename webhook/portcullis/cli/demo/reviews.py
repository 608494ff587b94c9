"""AdmissionReviews as kube-apiserver sends them, for every kind that carries pods."""

import copy
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]

PERSON: JSON = {"username": "dana@example.test", "uid": "dana", "groups": ["shop-developers", "system:authenticated"]}
CONTROLLER: JSON = {
    "username": "system:serviceaccount:kube-system:replicaset-controller",
    "uid": "1f0b2c44-9a52-4a9e-8a51-5f2f0d3c7e10",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
}

_RESOURCES: Mapping[str, tuple[str, str, str]] = {
    "Pod": ("", "v1", "pods"),
    "PodTemplate": ("", "v1", "podtemplates"),
    "ReplicationController": ("", "v1", "replicationcontrollers"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Deployment": ("apps", "v1", "deployments"),
    "ReplicaSet": ("apps", "v1", "replicasets"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "Job": ("batch", "v1", "jobs"),
    "CronJob": ("batch", "v1", "cronjobs"),
}


def container(name: str, image: str, **fields: Any) -> JSON:
    """A container that asks for nothing that a careful policy would refuse, beside what ``fields`` say."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "name": name,
        "image": image,
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": security,
        **fields,
    }


def pod_spec(containers: Sequence[JSON], *, restart: str = "Always", **fields: Any) -> JSON:
    """A pod spec with the defaults that the API server fills in."""
    return {
        "containers": list(containers),
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler",
        **fields,
    }


def workload(kind: str, name: str, namespace: str, spec: JSON) -> JSON:
    """An object of ``kind`` whose pods have ``spec``."""
    group, version, _ = _RESOURCES[kind]
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    wrapped: JSON
    if kind == "Pod":
        wrapped = {"spec": spec}
    elif kind == "PodTemplate":
        wrapped = {"template": template}
    elif kind == "Job":
        wrapped = {"spec": {"backoffLimit": 6, "completions": 1, "parallelism": 1, "template": template}}
    elif kind == "CronJob":
        wrapped = {"spec": {"schedule": "17 3 * * *", "jobTemplate": {"spec": {"template": template}}}}
    elif kind == "ReplicationController":
        wrapped = {"spec": {"replicas": 1, "selector": labels, "template": template}}
    else:
        wrapped = {"spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}}
        if kind == "StatefulSet":
            wrapped["spec"]["serviceName"] = name
        if kind == "DaemonSet":
            del wrapped["spec"]["replicas"]
    return {
        "kind": kind,
        "apiVersion": f"{group}/{version}" if group else version,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": "2026-01-15T09:30:00Z",
            "labels": labels,
            "managedFields": [
                {"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsType": "FieldsV1"}
            ],
        },
        **wrapped,
    }


def review(
    obj: JSON | None,
    *,
    operation: str = "CREATE",
    old: JSON | None = None,
    sub_resource: str = "",
    user: JSON = PERSON,
    dry_run: bool = False,
) -> JSON:
    """The AdmissionReview for an object. One of ``obj`` and ``old`` must be given."""
    subject = obj if obj is not None else old
    assert subject is not None
    group, version, resource = _RESOURCES[subject["kind"]]
    kind = {"group": group, "version": version, "kind": subject["kind"]}
    named = {"group": group, "version": version, "resource": resource}
    options = {"kind": f"{operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"}
    request: JSON = {"uid": str(uuid.uuid4()), "kind": kind, "resource": named}
    if sub_resource:
        request["subResource"] = sub_resource
    request |= {"requestKind": kind, "requestResource": named}
    if sub_resource:
        request["requestSubResource"] = sub_resource
    request |= {
        "name": subject["metadata"]["name"],
        "namespace": subject["metadata"]["namespace"],
        "operation": operation,
        "userInfo": user,
        "object": obj,
        "oldObject": old,
        "dryRun": dry_run,
        "options": options,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def with_label(obj: JSON, key: str, value: str) -> JSON:
    """A copy with one more label on the object itself, as ``kubectl label`` makes it."""
    changed = copy.deepcopy(obj)
    changed["metadata"]["labels"] = {**changed["metadata"]["labels"], key: value}
    changed["metadata"]["resourceVersion"] = "331"
    return changed


def with_ephemeral(pod: JSON, debug: JSON) -> JSON:
    """A copy of a pod with an ephemeral container, as ``kubectl debug`` makes it."""
    changed = copy.deepcopy(pod)
    changed["spec"]["ephemeralContainers"] = [{**debug, "targetContainerName": pod["spec"]["containers"][0]["name"]}]
    return changed
