"""Reads a recorded policy input back, as far as a decision needs it beside the engine.

A document of another version of Portcullis may lack fields that policies read now. Whether all of them are there is
told by the schema: every object that Portcullis shapes has all its fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from portcullis.model.image import ImageReference, Repository
from portcullis.model.place import NamespaceFacts
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.model.workload import Container, ContainerKind, Workload
from portcullis.policy.schema import document_schema
from portcullis.text import clean


class OtherDocument(ValueError):
    """The document is not one that this version makes; says what it lacks."""


@dataclass(frozen=True, slots=True)
class RecordedDocument:
    """What a document says of the request. ``references`` by image as written, None for a text that is no reference;
    ``namespace`` is None where its labels were not looked up."""

    request: AdmissionRequest
    workload: Workload
    references: Mapping[str, ImageReference | None]
    namespace: NamespaceFacts | None


class _Kind(msgspec.Struct):
    kind: str
    version: str = ""
    group: str = ""


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Request(msgspec.Struct, rename="camel"):
    kind: _Kind
    uid: str = ""
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    operation: str = "CREATE"
    user_info: _User = _User()
    object: dict[str, Any] | None = None


class _Container(msgspec.Struct):
    name: str
    kind: str
    path: str
    image: str


class _Image(msgspec.Struct):
    registry: str | None
    repository: str | None
    tag: str | None


class _Workload(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    namespace: str
    name: str


class _Namespace(msgspec.Struct):
    name: str
    labels: dict[str, str] | None
    annotations: dict[str, str] | None


class _Document(msgspec.Struct):
    request: _Request
    workload: _Workload
    namespace: _Namespace
    containers: list[_Container]
    images: dict[str, _Image]


def read_document(document: bytes) -> RecordedDocument:
    """The document of a record.

    Raises:
        OtherDocument: a field is missing that this version writes, or has another form.
    """
    try:
        msgspec.json.decode(document, type=_shape())
        found = msgspec.json.decode(document, type=_Document)
        return RecordedDocument(
            request=_request(found.request),
            workload=_workload(found),
            references={written: _reference(image) for written, image in found.images.items()},
            namespace=_namespace(found.namespace),
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise OtherDocument(clean(str(error), 300)) from error


def _request(found: _Request) -> AdmissionRequest:
    return AdmissionRequest(
        uid=found.uid,
        kind=GroupVersionKind(found.kind.group, found.kind.version, found.kind.kind),
        resource=GroupVersionResource("", "", ""),
        sub_resource=found.sub_resource,
        name=found.name,
        namespace=found.namespace,
        operation=Operation(found.operation),
        user=UserInfo(found.user_info.username),
        object=found.object,
        old_object=None,
        dry_run=False,
        raw={},
        caller=Caller.LOCAL,
    )


def _workload(found: _Document) -> Workload:
    workload = found.workload
    containers = (
        Container(one.name, ContainerKind(one.kind), one.path, one.image, spec={}) for one in found.containers
    )
    return Workload(
        kind=workload.kind,
        api_version=workload.api_version,
        namespace=workload.namespace,
        name=workload.name,
        labels={},
        annotations={},
        pod_metadata=None,
        pod_spec=None,
        containers=tuple(containers),
    )


def _reference(image: _Image) -> ImageReference | None:
    if image.registry is None or image.repository is None:
        return None
    return ImageReference(Repository(image.registry, image.repository), image.tag, None)


def _namespace(found: _Namespace) -> NamespaceFacts | None:
    if found.labels is None:
        return None
    return NamespaceFacts(found.name, found.labels, found.annotations or {})


@cache
def _shape() -> Any:
    """The schema of documents as a type: objects with their required fields, and nothing said of what they hold."""
    schema = document_schema()
    definitions: dict[str, Any] = schema["$defs"]
    made: dict[str, Any] = {}

    def shape(node: Mapping[str, Any]) -> Any:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name not in made:
                made[name] = shape(definitions[name])
            return made[name]
        if "anyOf" in node:
            objects = [one for one in node["anyOf"] if one.get("type") != "null"]
            inner = shape(objects[0]) if len(objects) == 1 else msgspec.Raw
            return msgspec.Raw if inner is msgspec.Raw else inner | None
        if node.get("type") == "array":
            inner = shape(node["items"])
            return msgspec.Raw if inner is msgspec.Raw else list[inner]  # type: ignore[valid-type]
        if node.get("type") == "object" and "required" in node:
            fields = [(f"f{at}", shape(node["properties"][key])) for at, key in enumerate(node["required"])]
            rename = {f"f{at}": key for at, key in enumerate(node["required"])}
            return msgspec.defstruct("Recorded", fields, rename=rename)
        if isinstance(node.get("additionalProperties"), dict):
            return dict[str, shape(node["additionalProperties"])]  # type: ignore[misc]
        return msgspec.Raw

    return shape(schema)
