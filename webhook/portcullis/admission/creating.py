"""The request by which the API server would have an object created, for what is judged without one."""

import uuid
from typing import Any

from portcullis.model.json import JSONObject
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)


def creation_request(
    created: JSONObject,
    kind: GroupVersionKind,
    resource: GroupVersionResource,
    *,
    name: str,
    namespace: str,
    user: UserInfo,
    caller: Caller,
) -> AdmissionRequest:
    """
    Args:
        created: the object, as a webhook would see it.
        namespace: "" for an object that lies in none.
        caller: who asks in the place of the API server.
    """
    uid = str(uuid.uuid4())
    kind_json = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    resource_json = {"group": resource.group, "version": resource.version, "resource": resource.resource}
    raw: dict[str, Any] = {
        "uid": uid,
        "kind": kind_json,
        "resource": resource_json,
        "requestKind": kind_json,
        "requestResource": resource_json,
        "name": name,
        "namespace": namespace,
        "operation": Operation.CREATE.value,
        "userInfo": {"username": user.username, "groups": list(user.groups)},
        "object": created,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return AdmissionRequest(
        uid=uid,
        kind=kind,
        resource=resource,
        sub_resource="",
        name=name,
        namespace=namespace,
        operation=Operation.CREATE,
        user=user,
        object=created,
        old_object=None,
        dry_run=False,
        raw=raw,
        caller=caller,
    )
