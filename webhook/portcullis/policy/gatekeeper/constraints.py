"""Constraints: an instance of a ConstraintTemplate, with what it is about and what it does.

Everything unknown is an error: a match key with a slip of the pen would make the constraint match more or less than its
author thinks. Source: https://open-policy-agent.github.io/gatekeeper/website/docs/howto (match),
.../enforcement-points (enforcementAction, scopedEnforcementActions) and pkg/target, pkg/util of Gatekeeper.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portcullis.model.evidence import Severity
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Constraint, Mode
from portcullis.policy.gatekeeper.files import Item
from portcullis.policy.gatekeeper.schema import problems_of, with_defaults
from portcullis.policy.gatekeeper.templates import Template
from portcullis.text import clean

VERSIONS = ("v1beta1", "v1alpha1")

WEBHOOK = "validation.gatekeeper.sh"
GATOR = "gator.gatekeeper.sh"
_POINTS = frozenset({WEBHOOK, GATOR, "audit.gatekeeper.sh", "vap.k8s.io", "*"})
_ACTIONS: Mapping[str, Mode] = {"deny": Mode.DENY, "warn": Mode.WARN, "dryrun": Mode.AUDIT}
_SCOPED = "scoped"

SEVERITY = "portcullis.dev/severity"
EXCEPTIONS = "portcullis.dev/exceptions"
"""Annotations of a constraint, or of its template, that stand for METADATA ``custom`` of a policy."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_CHARS = 253
_GLOB = re.compile(r"\*?[^*]*\*?")
_SPEC = frozenset({"match", "parameters", "enforcementAction", "scopedEnforcementActions"})
_MATCH = frozenset(
    {"kinds", "namespaces", "excludedNamespaces", "scope", "labelSelector", "namespaceSelector", "name", "source"}
)
_CHOICES = {"scope": ("*", "Cluster", "Namespaced"), "source": ("All", "Original", "Generated")}
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Whether the operator takes values."""


class SchemaError(Exception):
    """The parameters do not fit the schema of the template: what gator's ``invalid`` tests wait for."""


@dataclass(frozen=True, slots=True)
class Read:
    """A constraint and its parameters. ``mode`` of it is None where it is not meant for this enforcement point."""

    constraint: Constraint
    parameters: JSONObject
    applies: bool


def policy_name_of(kind: str, name: str) -> str:
    """``k8srequiredlabels.owner``."""
    return f"{kind.lower()}.{name}"


def read_constraint(item: Item, template: Template, *, point: str = WEBHOOK) -> Read:
    """The constraint as it holds at the enforcement point.

    Raises:
        ForeignError: with the line of what is wrong; caused by a SchemaError where the parameters do not fit.
    """
    if item.version not in VERSIONS:
        raise item.wrong(f"must be a version of constraints: {', '.join(VERSIONS)}", "apiVersion")
    metadata = _object(item, "metadata")
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > _NAME_CHARS or not _NAME.fullmatch(name):
        raise item.wrong("must be a name as Kubernetes has them: a-z, 0-9, - and .", "metadata", "name")
    spec = _object(item, "spec")
    _known(item, spec, _SPEC, "spec")
    match = dict(_match(item, _object(item, "spec", "match")))
    if template.operations:
        match["operations"] = list(template.operations)
    mode = _mode(item, spec, point)
    annotations = {**_annotations(template.item), **_annotations(item)}
    exceptions = annotations.get(EXCEPTIONS)
    if exceptions not in (None, "forbidden"):
        raise item.wrong(f"{EXCEPTIONS} must be forbidden, or not be there", "metadata", "annotations")
    constraint = Constraint(
        name=policy_name_of(template.kind, name),
        unit=template.kind,
        kind=template.kind,
        path=item.path,
        row=item.line(),
        match=match,
        mode=mode or Mode.AUDIT,
        title=clean(annotations.get("metadata.gatekeeper.sh/title") or template.title, 200),
        description=clean(annotations.get("description") or template.description, 4000),
        severity=_severity(item, annotations.get(SEVERITY, "")),
        exceptions_forbidden=exceptions == "forbidden",
        unsupported=template.unsupported,
    )
    return Read(constraint, _parameters(item, spec, template), mode is not None)


def _mode(item: Item, spec: Mapping[str, Any], point: str) -> Mode | None:
    """What a violation does there, the strongest of several; None where the constraint is not for that point."""
    action = str(spec.get("enforcementAction") or "deny")
    if action in _ACTIONS:
        return _ACTIONS[action]
    if action != _SCOPED:
        known = ", ".join([*_ACTIONS, _SCOPED])
        raise item.wrong(f"is {clean(str(action), 40)!r}; it must be one of {known}", "spec", "enforcementAction")
    where = ("spec", "scopedEnforcementActions")
    scoped = spec.get("scopedEnforcementActions")
    if not isinstance(scoped, list) or not scoped:
        raise item.wrong("must be a list of {action, enforcementPoints}", *where)
    found: list[Mode] = []
    for index, entry in enumerate(scoped):
        action = str(entry.get("action")) if isinstance(entry, dict) else ""
        if action not in _ACTIONS:
            raise item.wrong(f"must have one of the actions {', '.join(_ACTIONS)}", *where, index)
        points = _list(item, entry, *where, index, "enforcementPoints")
        names = [str(one.get("name")) if isinstance(one, dict) else "" for one in points]
        if not names or not _POINTS.issuperset(names):
            raise item.wrong(f"must be a list of names out of {', '.join(sorted(_POINTS))}", *where, index)
        if point in names or "*" in names:
            found.append(_ACTIONS[action])
    return min(found, key=list(Mode).index) if found else None


def _severity(item: Item, said: str) -> str:
    known = [str(severity) for severity in Severity if severity is not Severity.UNKNOWN]
    if said and said not in known:
        raise item.wrong(f"{SEVERITY} must be one of {', '.join(known)}", "metadata", "annotations")
    return said or Severity.MEDIUM


def _parameters(item: Item, spec: Mapping[str, Any], template: Template) -> JSONObject:
    given = spec.get("parameters")
    if given is None:
        given = template.schema.get("default")
    parameters = {} if given is None else with_defaults(given, template.schema)
    problem = next(problems_of(parameters, template.schema, legacy=template.legacy), None)
    if given is None and "required" not in template.schema:
        problem = None
    if problem is None and not isinstance(parameters, dict):
        problem = ((), "must be an object")
    if problem is not None:
        raise item.wrong(problem[1], "spec", "parameters", *problem[0]) from SchemaError(problem[1])
    made: JSONObject = parameters
    return made


# -- the match block ------------------------------------------------------------------------------------------------


def _match(item: Item, match: Mapping[str, Any]) -> Mapping[str, Any]:
    """The match block without what is null or empty, which matches everything."""
    where = ("spec", "match")
    _known(item, match, _MATCH, *where)
    for key, choices in _CHOICES.items():
        if match.get(key) and match[key] not in choices:
            raise item.wrong(f"must be one of {', '.join(choices)}", *where, key)
    for key in ("namespaces", "excludedNamespaces"):
        for glob in _list(item, match, *where, key):
            _glob(item, glob, *where, key)
    if match.get("name"):
        _glob(item, match["name"], *where, "name")
    for index, entry in enumerate(_list(item, match, *where, "kinds")):
        if not isinstance(entry, dict):
            raise item.wrong("must be an object with apiGroups and kinds", *where, "kinds", index)
        _known(item, entry, frozenset({"apiGroups", "kinds"}), *where, "kinds", index)
        for key in ("apiGroups", "kinds"):
            if not all(isinstance(text, str) for text in _list(item, entry, *where, "kinds", index, key)):
                raise item.wrong("must be a list of texts", *where, "kinds", index, key)
    for key in ("labelSelector", "namespaceSelector"):
        _selector(item, match.get(key), *where, key)
    return {key: value for key, value in match.items() if value is not None and value not in ([], "")}


def _selector(item: Item, selector: object, *where: str | int) -> None:
    if selector is None:
        return
    if not isinstance(selector, dict):
        raise item.wrong("must be an object with matchLabels and matchExpressions", *where)
    _known(item, selector, frozenset({"matchLabels", "matchExpressions"}), *where)
    labels = selector.get("matchLabels") or {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise item.wrong("must be an object of texts", *where, "matchLabels")
    for index, entry in enumerate(_list(item, selector, *where, "matchExpressions")):
        place: tuple[str | int, ...] = (*where, "matchExpressions", index)
        if not isinstance(entry, dict):
            raise item.wrong("must be an object with key, operator and values", *place)
        _known(item, entry, frozenset({"key", "operator", "values"}), *place)
        if not isinstance(entry.get("key"), str) or str(entry.get("operator")) not in _OPERATORS:
            raise item.wrong(f"must have a key and one of the operators {', '.join(_OPERATORS)}", *place)
        values = _list(item, entry, *place, "values")
        if bool(values) != _OPERATORS[entry["operator"]] or not all(isinstance(value, str) for value in values):
            raise item.wrong("must be texts with In and NotIn, and must not be there with the others", *place, "values")


def _glob(item: Item, value: object, *where: str | int) -> None:
    if not isinstance(value, str) or not _GLOB.fullmatch(value):
        raise item.wrong("must be names, of which the first or last character may be *", *where)


def _known(item: Item, value: Mapping[str, Any], known: frozenset[str], *where: str | int) -> None:
    for key in value:
        if key not in known:
            raise item.wrong(f"is unknown; there are {', '.join(sorted(known))}", *where, key)


def _list(item: Item, holder: Mapping[str, Any], *where: str | int) -> list[Any]:
    value = holder.get(str(where[-1]))
    if value is None:
        return []
    if not isinstance(value, list):
        raise item.wrong("must be a list", *where)
    return value


def _object(item: Item, *location: str) -> Mapping[str, Any]:
    value: Any = item.value
    for depth, part in enumerate(location, start=1):
        value = value.get(part)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise item.wrong("must be an object", *location[:depth])
    found: Mapping[str, Any] = value
    return found


def _annotations(item: Item) -> Mapping[str, str]:
    metadata = item.value.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict):
        return {}
    return {key: value for key, value in annotations.items() if isinstance(value, str)}
