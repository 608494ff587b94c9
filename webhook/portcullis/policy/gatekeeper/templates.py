"""ConstraintTemplates: what is read of them, what is wrong with them, and what is not supported.

Source: https://open-policy-agent.github.io/gatekeeper/website/docs/constrainttemplates and constraint/pkg of
https://github.com/open-policy-agent/frameworks. As there, ``rego`` of a target wins over its ``code``, a template has
one target, and Rego is of version 0 unless ``version: v1`` is said.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portcullis.model.ruling import Origin, PolicySource, Rego
from portcullis.policy.gatekeeper.files import Item
from portcullis.policy.gatekeeper.schema import schema_problems
from portcullis.text import clean

VERSIONS = ("v1", "v1beta1", "v1alpha1")
TARGET = "admission.k8s.gatekeeper.sh"
REGO = "Rego"

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_PLACE = ("spec", "crd", "spec")
_OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT", "*"})


@dataclass(frozen=True, slots=True)
class Template:
    """``sources`` are its Rego and that of its libraries, none where it is ``unsupported``. ``schema`` is that of the
    parameters, and ``legacy`` says that it need not describe all of them."""

    item: Item
    kind: str
    schema: Mapping[str, Any]
    legacy: bool
    sources: tuple[PolicySource, ...]
    operations: tuple[str, ...]
    title: str
    description: str
    unsupported: str = ""


def read_template(item: Item) -> Template:
    """Raises ForeignError with the line of what is wrong."""
    if item.value.get("kind") != "ConstraintTemplate" or item.version not in VERSIONS:
        raise item.wrong(
            f"{clean(str(item.value.get('apiVersion')), 80)} {clean(str(item.value.get('kind')), 80)} is not known; "
            f"there are ConstraintTemplates of the versions {', '.join(VERSIONS)}",
            "apiVersion",
        )
    kind = _text(item, *_PLACE, "names", "kind")
    if not _KIND.fullmatch(kind):
        raise item.wrong("must be the kind of the constraints, such as K8sRequiredLabels", *_PLACE, "names", "kind")
    if _text(item, "metadata", "name") != kind.lower():
        raise item.wrong(f"must be {kind.lower()}: the kind of the constraints in lower case", "metadata", "name")
    schema, legacy = _schema(item)
    target = _target(item)
    sources, unsupported = _sources(item, kind, target)
    annotations = _mapping(item, "metadata", "annotations")
    return Template(
        item=item,
        kind=kind,
        schema=schema,
        legacy=legacy,
        sources=sources,
        operations=_operations(item, target),
        title=str(annotations.get("metadata.gatekeeper.sh/title", "")),
        description=" ".join(str(annotations.get("description", "")).split()),
        unsupported=unsupported,
    )


def _schema(item: Item) -> tuple[Mapping[str, Any], bool]:
    validation = _mapping(item, *_PLACE, "validation")
    legacy = validation.get("legacySchema", item.version != "v1")
    if not isinstance(legacy, bool | None):
        raise item.wrong("must be true or false", *_PLACE, "validation", "legacySchema")
    schema = validation.get("openAPIV3Schema")
    if schema is None:
        return {}, True
    where = (*_PLACE, "validation", "openAPIV3Schema")
    for path, problem in schema_problems(schema, legacy=bool(legacy)):
        raise item.wrong(problem, *where, *path)
    return schema, bool(legacy)


def _target(item: Item) -> Mapping[str, Any]:
    spec = _mapping(item, "spec")
    targets = spec.get("targets")
    if not isinstance(targets, list) or len(targets) != 1 or not isinstance(targets[0], dict):
        raise item.wrong("must be a list of one target", "spec", "targets")
    target: Mapping[str, Any] = targets[0]
    if target.get("target") != TARGET:
        raise item.wrong(f"must be {TARGET}", "spec", "targets", 0, "target")
    return target


def _operations(item: Item, target: Mapping[str, Any]) -> tuple[str, ...]:
    operations = target.get("operations") or []
    if not isinstance(operations, list) or not _OPERATIONS.issuperset(map(str, operations)):
        raise item.wrong(f"must be a list of {', '.join(sorted(_OPERATIONS))}", "spec", "targets", 0, "operations")
    return tuple(operations)


def _sources(item: Item, kind: str, target: Mapping[str, Any]) -> tuple[tuple[PolicySource, ...], str]:
    """The Rego, or why there is none that can be used."""
    where: tuple[str | int, ...] = ("spec", "targets", 0)
    if target.get("rego"):
        return tuple(_texts(item, kind, target, where, Rego.V0)), ""
    code = target.get("code") or []
    if not isinstance(code, list) or not all(isinstance(entry, dict) for entry in code):
        raise item.wrong("must be a list of {engine, source}", *where, "code")
    engines = [str(entry.get("engine", "")) for entry in code]
    if not engines:
        raise item.wrong("has neither rego nor code", *where)
    if REGO not in engines:
        names = ", ".join(clean(engine, 60) for engine in engines)
        return (), f"the ConstraintTemplate {kind} is written for {names}; only Rego is supported"
    index = engines.index(REGO)
    source = code[index].get("source")
    where = (*where, "code", index, "source")
    if not isinstance(source, dict):
        raise item.wrong("must be an object with rego", *where)
    version = str(source.get("version") or Rego.V0)
    if version not in set(Rego):
        raise item.wrong(f"is {clean(str(version), 40)!r}; it must be v0 or v1", *where, "version")
    return tuple(_texts(item, kind, source, where, Rego(version))), ""


def _texts(
    item: Item, kind: str, holder: Mapping[str, Any], where: tuple[str | int, ...], rego: Rego
) -> Iterator[PolicySource]:
    libraries = holder.get("libs") or []
    if not isinstance(libraries, list):
        raise item.wrong("must be a list of texts", *where, "libs")
    parts: list[tuple[tuple[str | int, ...], object]] = [((*where, "rego"), holder.get("rego"))]
    parts += [((*where, "libs", index), library) for index, library in enumerate(libraries)]
    for number, (place, text) in enumerate(parts):
        if not isinstance(text, str) or not text.strip():
            raise item.wrong("must be Rego, a text", *place)
        row, column = item.text_offset(*place)
        yield PolicySource(
            path=item.path,
            text=text,
            origin=Origin.GATEKEEPER,
            unit=kind,
            library=number > 0,
            rego=rego,
            row=row,
            column=column,
        )


def _mapping(item: Item, *location: str) -> Mapping[str, Any]:
    """The object there; an empty one where it is absent or null."""
    value: Any = item.value
    for depth, part in enumerate(location, start=1):
        value = value.get(part)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise item.wrong("must be an object", *location[:depth])
    found: Mapping[str, Any] = value
    return found


def _text(item: Item, *location: str) -> str:
    value = _mapping(item, *location[:-1]).get(location[-1])
    if not isinstance(value, str) or not value:
        raise item.wrong("must be there, and be text", *location)
    return value
