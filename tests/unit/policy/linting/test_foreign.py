"""Policies from elsewhere: whether the gate can load them, told at their place in the file."""

from pathlib import Path

import pytest

from portcullis.policy.linting.finding import Level
from unit.policy.linting.support import run

pytestmark = pytest.mark.opa

TEMPLATE = """apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8sowner}
spec:
  crd: {spec: {names: {kind: K8sOwner}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      CODE
"""
REGO = """rego: |
        package k8sowner
        violation[{"msg": "no owner"}] {
          not input.review.object.metadata.labels.owner
        }"""
CEL = "code: [{engine: K8sNativeValidation, source: {validations: [{expression: 'true'}]}}]"
CONSTRAINT = """apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sOwner
metadata: {name: owner}
"""
TUTORIAL = 'package kubernetes.admission\n\ndeny[msg] {\n\tinput.request.imgae\n\tmsg := "no"\n}\n'

CASES = {
    "fine": ({"t.yaml": TEMPLATE.replace("CODE", REGO), "c.yaml": CONSTRAINT}, []),
    "tutorial": ({"a.rego": TUTORIAL}, []),
    "manifest": ({"a.rego": TUTORIAL, "deploy.yaml": "kind: Pod\nodd: [\n"}, []),
    "samples": ({"t.yaml": TEMPLATE.replace("CODE", REGO), "samples/c.yaml": "constraints.gatekeeper.sh ["}, []),
    "cel": (
        {"t.yaml": TEMPLATE.replace("CODE", CEL), "c.yaml": CONSTRAINT},
        [("t.yaml", 1, "not-supported", "K8sOwner")],
    ),
    "no-template": ({"c.yaml": CONSTRAINT}, [("c.yaml", 2, "not-supported", "no ConstraintTemplate")]),
    "not-yaml": ({"c.yaml": f"{CONSTRAINT}spec: [\n"}, [("c.yaml", 5, "not-supported", "")]),
    "broken-rego": (
        {"t.yaml": TEMPLATE.replace("CODE", REGO.replace("input.review", "inputt.review")), "c.yaml": CONSTRAINT},
        [("t.yaml", 11, "compile-error", "inputt")],
    ),
    "broken-tutorial": ({"a.rego": f"{TUTORIAL}deny[msg] {{\n"}, [("a.rego", 7, "parse-error", "")]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_policies_from_elsewhere(name: str, opa_binary: Path, tmp_path: Path) -> None:
    files, expected = CASES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    found = run(tmp_path, opa_binary).findings
    assert [(Path(one.file).name, one.row, one.rule) for one in found] == [place[:3] for place in expected]
    assert all(place[3] in one.message for one, place in zip(found, expected, strict=True))
    assert all(one.level is Level.ERROR for one in found)
