"""Templates and constraints from files: what is taken, what is left alone, what is refused and where."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from portcullis.errors import PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import Mode, Origin, PolicyBundle, Rego
from portcullis.policy.bundle import load_bundle

TEMPLATE = """\
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata:
  name: k8slabels
  annotations:
    description: >-
      Labels must
      be there.
    metadata.gatekeeper.sh/title: Labels
spec:
  crd:
    spec:
      names:
        kind: K8sLabels
      validation:
        openAPIV3Schema:
          type: object
          properties:
            labels:
              type: array
              items:
                type: string
            hint:
              type: string
              default: ask
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package k8slabels

        violation[{"msg": "x"}] { true }
      libs:
        - |
          package lib.a
"""
CONSTRAINT = """\
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sLabels
metadata:
  name: owner
spec:
  enforcementAction: warn
  match:
    kinds:
      - apiGroups: [""]
        kinds: [Pod]
    namespaces: []
    labelSelector: null
  parameters:
    labels: [owner]
"""


def load(folder: Path, files: dict[str, str], **options: Any) -> PolicyBundle:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_bundle([folder], **{"parameters": {}, "enabled": None, "limits": DEFAULT_LIMITS, **options})


def refused(folder: Path, files: dict[str, str], **options: Any) -> list[str]:
    with pytest.raises(PolicyCompileError) as caught:
        load(folder, files, **options)
    return [str(problem).replace(f"{folder.name}/", "") for problem in caught.value.problems]


def test_a_constraint_is_a_policy(tmp_path: Path) -> None:
    bundle = load(tmp_path, {"a.yaml": TEMPLATE, "b.yml": CONSTRAINT})
    (constraint,) = bundle.constraints
    assert (constraint.name, constraint.kind, constraint.mode) == ("k8slabels.owner", "K8sLabels", Mode.WARN)
    assert (constraint.title, constraint.description) == ("Labels", "Labels must be there.")
    assert (constraint.severity, constraint.exceptions_forbidden) == ("medium", False)
    assert constraint.match == {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
    assert bundle.parameters == {"k8slabels.owner": {"labels": ["owner"], "hint": "ask"}}
    main, library = bundle.sources
    assert (main.origin, main.unit, main.library, main.rego) == (Origin.GATEKEEPER, "K8sLabels", False, Rego.V0)
    assert (library.library, library.text) == (True, "package lib.a\n")
    # The Rego begins after 28 rows of the file, 8 columns to the right.
    assert (main.row, main.column, library.row, library.column) == (28, 8, 33, 10)


def test_what_an_annotation_says(tmp_path: Path) -> None:
    said = "  annotations:\n    portcullis.dev/severity: high\n    portcullis.dev/exceptions: forbidden\n"
    said += "    metadata.gatekeeper.sh/title: Mine\n"
    text = CONSTRAINT.replace("  name: owner\n", f"  name: owner\n{said}")
    (constraint,) = load(tmp_path, {"a.yaml": TEMPLATE, "b.yaml": text}).constraints
    assert (constraint.severity, constraint.exceptions_forbidden, constraint.title) == ("high", True, "Mine")


def test_other_forms(tmp_path: Path) -> None:
    items = [yaml.safe_load(CONSTRAINT), yaml.safe_load(CONSTRAINT)]
    items[1]["metadata"]["name"] = "other"
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    template = yaml.safe_load(TEMPLATE)
    template["apiVersion"] = "templates.gatekeeper.sh/v1alpha1"
    bundle = load(tmp_path, {"a.json": yaml.safe_dump(template, default_flow_style=True), "b.yaml": listed})
    assert [constraint.name for constraint in bundle.constraints] == ["k8slabels.owner", "k8slabels.other"]


LEFT_ALONE = {
    "suite.yaml": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\n",
    "kustomization.yaml": "resources: [template.yaml]\n",
    "values.yaml": "{{ .Values.x }}: [",
    "pod.json": '{"apiVersion": "v1", "kind": "Pod"}',
    "binary.json": "\x00\x01",
    "samples/constraint.yaml": CONSTRAINT.replace("K8sLabels", "Unknown"),
    "samples/deep/template.yaml": "templates.gatekeeper.sh: [",
    "notes.txt": TEMPLATE,
    ".hidden.yaml": TEMPLATE,
}


def test_what_is_left_alone(tmp_path: Path) -> None:
    bundle = load(tmp_path, {**LEFT_ALONE, "a.yaml": TEMPLATE, "b.yaml": CONSTRAINT})
    assert [constraint.name for constraint in bundle.constraints] == ["k8slabels.owner"]
    assert bundle.remarks == ()


def test_the_operator_chooses(tmp_path: Path) -> None:
    other = CONSTRAINT.replace("owner\n", "team\n", 1)
    files = {"a.yaml": TEMPLATE, "b.yaml": CONSTRAINT, "c.yaml": other, "m.rego": "package main\ndeny[1]\n"}
    name = "k8slabels.owner"
    bundle = load(tmp_path, files, enabled=[name], parameters={name: {"labels": ["x"]}})
    assert [constraint.name for constraint in bundle.constraints] == [name]
    assert bundle.parameters == {name: {"labels": ["x"], "hint": "ask"}}
    assert [source.path.rpartition("/")[2] for source in bundle.sources] == ["a.yaml", "a.yaml"]
    assert bundle.left_out == {"main"}
    assert load(tmp_path, {}, enabled=["main"]).constraints == ()
    assert "no policy named 'k8slabels.nobody'" in refused(tmp_path, {}, enabled=["k8slabels.nobody"])[0]
    assert "no policy named 'k8slabels.nobody'" in refused(tmp_path, {}, parameters={"k8slabels.nobody": {}})[0]


def test_the_revision_is_of_all_of_it(tmp_path: Path) -> None:
    changed = [
        CONSTRAINT,
        CONSTRAINT.replace("[Pod]", "[Service]"),
        CONSTRAINT.replace("enforcementAction: warn", "enforcementAction: deny"),
        CONSTRAINT.replace("[owner]", "[team]"),
    ]
    revisions = {load(tmp_path, {"a.yaml": TEMPLATE, "b.yaml": text}).revision for text in changed}
    revisions |= {load(tmp_path, {"a.yaml": TEMPLATE.replace('"x"', '"y"'), "b.yaml": CONSTRAINT}).revision}
    assert len(revisions) == len(changed) + 1


def scoped(*actions: tuple[str, str]) -> str:
    entries = [{"action": action, "enforcementPoints": [{"name": point}]} for action, point in actions]
    spec = {"enforcementAction": "scoped", "scopedEnforcementActions": entries}
    return yaml.safe_dump({**yaml.safe_load(CONSTRAINT), "spec": spec})


WEBHOOK, AUDIT = "validation.gatekeeper.sh", "audit.gatekeeper.sh"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (CONSTRAINT, Mode.WARN),
        (CONSTRAINT.replace("enforcementAction: warn", "enforcementAction: ''"), Mode.DENY),
        (CONSTRAINT.replace("  enforcementAction: warn\n", ""), Mode.DENY),
        (CONSTRAINT.replace("enforcementAction: warn", "enforcementAction: dryrun"), Mode.AUDIT),
        (CONSTRAINT.replace("  parameters", "  scopedEnforcementActions: []\n  parameters"), Mode.WARN),
        (scoped(("warn", WEBHOOK), ("deny", AUDIT)), Mode.WARN),
        (scoped(("dryrun", "*"), ("deny", AUDIT)), Mode.AUDIT),
        (scoped(("warn", "*"), ("deny", WEBHOOK)), Mode.DENY),
        (scoped(("deny", AUDIT)), None),
    ],
)
def test_what_a_violation_does(tmp_path: Path, text: str, mode: Mode | None) -> None:
    bundle = load(tmp_path, {"a.yaml": TEMPLATE, "b.yaml": text})
    assert [constraint.mode for constraint in bundle.constraints] == ([mode] if mode else [])
    said = [remark.message for remark in bundle.remarks]
    nowhere = "the constraint k8slabels.owner is not judged here: none of its actions is for validation.gatekeeper.sh"
    assert said == ([] if mode else [nowhere])


def test_a_template_without_rego_is_reported(tmp_path: Path) -> None:
    template = yaml.safe_load(TEMPLATE)
    engines = [{"engine": "K8sNativeValidation", "source": {}}]
    template["spec"]["targets"] = [{"target": "admission.k8s.gatekeeper.sh", "code": engines}]
    bundle = load(tmp_path, {"a.yaml": yaml.safe_dump(template), "b.yaml": CONSTRAINT})
    reason = "the ConstraintTemplate K8sLabels is written for K8sNativeValidation; only Rego is supported"
    assert [remark.message for remark in bundle.remarks] == [reason]
    assert [(constraint.unsupported, constraint.mode) for constraint in bundle.constraints] == [(reason, Mode.WARN)]
    assert bundle.sources == ()


def test_package_system_is_left_out(tmp_path: Path) -> None:
    text = "package system\n\nmain = {}\n"
    bundle = load(tmp_path, {"main.rego": text, "a.rego": "package portcullis.policies.a\ndeny contains 1\n"})
    (remark,) = bundle.remarks
    assert (remark.row, "package system is OPA's own" in remark.message) == (1, True)
    assert len(bundle.sources) == 1


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


T, C = TEMPLATE, CONSTRAINT
BAD_TEMPLATES: dict[str, tuple[str, str]] = {
    "version": (edited(T, "sh/v1\n", "sh/v2\n"), "t.yaml:1: apiVersion templates.gatekeeper.sh/v2"),
    "kind": (edited(T, "kind: ConstraintTemplate", "kind: Template"), "t.yaml:1: apiVersion"),
    "name": (edited(T, "name: k8slabels", "name: labels"), "t.yaml:4: metadata.name must be k8slabels"),
    "kind-of-constraints": (edited(T, "kind: K8sLabels", "kind: 8 s"), "t.yaml:14: spec.crd.spec.names.kind must be"),
    "no-kind": (edited(T, "        kind: K8sLabels\n", "        other: x\n"), "t.yaml:13: spec.crd.spec.names.kind"),
    "crd-is-list": (
        edited(T, "      names:\n        kind: K8sLabels", "      names: []"),
        "t.yaml:13: spec.crd.spec.names",
    ),
    "schema-type": (
        edited(T, "type: array", "type: list"),
        "t.yaml:20: spec.crd.spec.validation.openAPIV3Schema.proper",
    ),
    "schema-no-type": (edited(T, "              type: array\n", ""), "labels has no type"),
    "schema-items": (edited(T, "items:\n                type: string", "items: string"), "t.yaml:21: "),
    "schema-keyword": (edited(T, "type: array", "type: array\n              itmes: {}"), "itmes is no keyword"),
    "schema-default": (edited(T, "default: ask", "default: 7"), "default must be of the type string; it is a number"),
    "schema-pattern": (edited(T, "default: ask", "pattern: '('"), "t.yaml:25: "),
    "schema-is-text": (
        T[: T.index("          type: object")] + "          text\n" + T[T.index("  targets") :],
        "schema",
    ),
    "target": (edited(T, "admission.k8s.gatekeeper.sh", "elsewhere"), "t.yaml:27: spec.targets.0.target must be"),
    "no-targets": (T[: T.index("  targets")], "spec.targets must be a list of one target"),
    "no-rego": (T[: T.index("      rego")], "t.yaml:27: spec.targets.0 has neither rego nor code"),
    "rego-is-list": (edited(T, "rego: |", "rego:\n      - |"), "spec.targets.0.rego must be Rego"),
    "libs-is-text": (edited(T, "        - |\n          package lib.a\n", "        x\n"), "libs must be a list"),
    "key-twice": (edited(T, "kind: ConstraintTemplate", "kind: A\nkind: B"), "t.yaml:3: the key 'kind' is there twice"),
    "not-yaml": (edited(T, "spec:\n  crd", "spec: [\n  crd"), "t.yaml:12: "),
}


@pytest.mark.parametrize("name", BAD_TEMPLATES)
def test_a_broken_template(tmp_path: Path, name: str) -> None:
    text, words = BAD_TEMPLATES[name]
    problems = refused(tmp_path, {"t.yaml": text})
    assert len(problems) == 1
    assert words in problems[0]


BAD_CONSTRAINTS: dict[str, tuple[str, str]] = {
    "no-template": (
        edited(C, "kind: K8sLabels", "kind: K8sLabel"),
        "c.yaml:2: kind there is no ConstraintTemplate for",
    ),
    "version": (edited(C, "v1beta1", "v1"), "c.yaml:1: apiVersion must be a version of constraints"),
    "name": (edited(C, "name: owner", "name: Owner!"), "c.yaml:4: metadata.name must be a name"),
    "no-name": (edited(C, "name: owner", "labels: {}"), "c.yaml:3: metadata.name"),
    "action": (edited(C, "warn", "refuse"), "c.yaml:6: spec.enforcementAction is 'refuse'; it must be one of deny"),
    "action-is-list": (edited(C, "warn", "[warn]"), "c.yaml:6: spec.enforcementAction"),
    "scoped": (edited(C, "warn", "scoped"), "spec.scopedEnforcementActions must be a list"),
    "scoped-action": (scoped(("refuse", WEBHOOK)), "must have one of the actions"),
    "scoped-point": (scoped(("deny", "webhook")), "must be a list of names out of"),
    "spec": (edited(C, "  parameters", "  params"), "c.yaml:13: spec.params is unknown"),
    "spec-is-list": (C[: C.index("spec")] + "spec: []\n", "c.yaml:5: spec must be an object"),
    "match-key": (edited(C, "namespaces", "namespace"), "c.yaml:11: spec.match.namespace is unknown"),
    "scope": (edited(C, "namespaces: []", "scope: Everywhere"), "c.yaml:11: spec.match.scope must be one of *"),
    "source": (edited(C, "namespaces: []", "source: mine"), "c.yaml:11: spec.match.source must be one of All"),
    "glob": (edited(C, "namespaces: []", "namespaces: [a*b]"), "c.yaml:11: spec.match.namespaces must be names"),
    "glob-number": (edited(C, "namespaces: []", "namespaces: [1]"), "c.yaml:11: spec.match.namespaces must be names"),
    "name-glob": (edited(C, "namespaces: []", "name: a*b"), "c.yaml:11: spec.match.name must be names"),
    "namespaces": (edited(C, "namespaces: []", "namespaces: a"), "c.yaml:11: spec.match.namespaces must be a list"),
    "kinds": (
        edited(C, '- apiGroups: [""]\n        kinds: [Pod]', "- Pod"),
        "c.yaml:9: spec.match.kinds.0 must be an obj",
    ),
    "kinds-key": (edited(C, "kinds: [Pod]", "kind: [Pod]"), "c.yaml:10: spec.match.kinds.0.kind is unknown"),
    "kinds-number": (edited(C, "kinds: [Pod]", "kinds: [1]"), "c.yaml:10: spec.match.kinds.0.kinds must be"),
    "selector": (edited(C, "Selector: null", "Selector: [a]"), "c.yaml:12: spec.match.labelSelector must be an object"),
    "selector-key": (edited(C, "Selector: null", "Selector: {app: web}"), "labelSelector.app is unknown"),
    "labels": (
        edited(C, "Selector: null", "Selector: {matchLabels: {a: 1}}"),
        "matchLabels must be an object of texts",
    ),
    "operator": (
        edited(C, "Selector: null", "Selector: {matchExpressions: [{key: a, operator: Is, values: [b]}]}"),
        "must have a key and one of the operators In",
    ),
    "values": (
        edited(C, "Selector: null", "Selector: {matchExpressions: [{key: a, operator: In}]}"),
        "must be texts with In and NotIn",
    ),
    "parameters": (
        edited(C, "labels: [owner]", "label: [owner]"),
        "c.yaml:14: spec.parameters.label is unknown to the",
    ),
    "parameters-type": (edited(C, "[owner]", "[1]"), "c.yaml:14: spec.parameters.labels.0 must be of the type string"),
    "parameters-list": (
        edited(C, "\n    labels: [owner]", " [owner]"),
        "c.yaml:13: spec.parameters must be of the type",
    ),
    "severity": (
        edited(C, "name: owner", "name: owner\n  annotations: {portcullis.dev/severity: bad}"),
        "c.yaml:5: metadata.annotations portcullis.dev/severity must be one of",
    ),
    "exceptions": (
        edited(C, "name: owner", "name: owner\n  annotations: {portcullis.dev/exceptions: allowed}"),
        "portcullis.dev/exceptions must be forbidden",
    ),
    "twice": (f"{C}---\n{C}", "c.yaml:19: metadata.name k8slabels.owner is in c.yaml:1 already"),
}


@pytest.mark.parametrize("name", BAD_CONSTRAINTS)
def test_a_broken_constraint(tmp_path: Path, name: str) -> None:
    text, words = BAD_CONSTRAINTS[name]
    problems = refused(tmp_path, {"t.yaml": TEMPLATE, "c.yaml": text})
    assert len(problems) == 1
    assert words in problems[0]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    problems = refused(
        tmp_path,
        {"a.yaml": edited(T, "type: array", "type: list"), "b.yaml": T, "c.yaml": T, "d.yaml": edited(C, "warn", "x")},
    )
    assert [problem.partition(":")[0] for problem in problems] == ["a.yaml", "c.yaml", "d.yaml"]
    assert "there is a ConstraintTemplate K8sLabels already, in" in problems[1]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"policy_bytes": 200}, "exceeds the limit policyBytes (200)"),
        ({"policy_set_bytes": 500}, "exceed the limit policySetBytes"),
        ({"policies": 0}, "1 policies; the limit policies is 0"),
        ({"input_values": 10}, "more values than allowed"),
        ({"json_depth": 3}, "more depth than allowed"),
    ],
)
def test_bounds(tmp_path: Path, bounds: dict[str, int], words: str) -> None:
    limits = replace(DEFAULT_LIMITS, **bounds)  # type: ignore[arg-type]
    assert words in refused(tmp_path, {"a.yaml": TEMPLATE, "b.yaml": CONSTRAINT}, limits=limits)[0]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"a/x.rego": "package a.b", "b/x.rego": "package portcullis.policies.a_b"},
            "there is a policy named a-b already",
        ),
        ({"a/x.rego": "package a", "b/x.rego": "package a"}, "package a lies in"),
        ({"x.rego": "package portcullis.parameters"}, "is neither portcullis.policies"),
        ({"x.rego": "package portcullis"}, "is neither portcullis.policies"),
        ({"x.rego": "package portcullis.bridge.a"}, "is neither portcullis.policies"),
    ],
)
def test_packages_that_are_refused(tmp_path: Path, files: dict[str, str], words: str) -> None:
    assert words in refused(tmp_path, files)[0]
