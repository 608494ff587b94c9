"""Policies from elsewhere over the real OPA: Gatekeeper's, OPA's admission tutorial, conftest's."""

import dataclasses
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.remoteopa import OtherOpa
from portcullis.errors import PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import CompiledBundle, Mode, Need, Origin, PolicyBundle, PolicyInfo, Rego, Ruling
from portcullis.policy import bridges
from portcullis.policy.bundle import load_bundle, revision_of
from portcullis.policy.compiler import Compiler
from portcullis.policy.inventory import Inventory
from portcullis.policy.opa import OpaEngine
from portcullis.server.clock import SystemClock
from portcullis.server.compose import bundle_document, read_bundle

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}}
REQUEST: dict[str, Any] = {
    "uid": "1",
    "kind": {"group": "", "version": "v1", "kind": "Pod"},
    "name": "web",
    "namespace": "shop",
    "operation": "CREATE",
    "userInfo": {"username": "ann"},
    "object": POD,
    "oldObject": None,
}
NATIVE = "package portcullis.policies.names\n\ndeny contains input.request.name\n"


def template(kind: str, rego: str, *libraries: str, version: str = "") -> str:
    """A template and a constraint named ``all`` of it. The Rego begins in row 10, 12 columns to the right."""
    code = textwrap.indent(textwrap.dedent(rego).strip("\n"), " " * 12)
    libs = "".join(f"\n          - |\n{textwrap.indent(library, ' ' * 12)}" for library in libraries)
    said = f"\n          version: {version}" if version else ""
    return (
        "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\n"
        f"metadata: {{name: {kind.lower()}}}\nspec:\n  crd: {{spec: {{names: {{kind: {kind}}}}}}}\n"
        "  targets:\n    - target: admission.k8s.gatekeeper.sh\n"
        f"      code: [{{engine: Other, source: {{}}}}]\n".replace(
            "[{engine: Other, source: {}}]", "\n      - engine: Rego"
        )
        + f"        source:{said}\n          rego: |\n{code}"
        + (f"\n          libs:{libs}" if libs else "")
        + f"\n---\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: {kind}\nmetadata: {{name: all}}\n"
    )


def bundle_of(folder: Path, files: dict[str, str], **options: Any) -> PolicyBundle:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load_bundle([folder], **{"parameters": {}, "enabled": None, "limits": DEFAULT_LIMITS, **options})


async def judge(engine: OpaEngine, compiled: CompiledBundle, **document: Any) -> Ruling:
    content = opa.document(**{"request": REQUEST, "namespace": {"name": "shop"}, **document})
    names = [policy.name for policy in compiled.policies]
    ruling = await engine.evaluate(compiled, names, content, SystemClock().monotonic() + 30)
    assert ruling.judged | {failure.policy for failure in ruling.failed} == set(names)
    return ruling


def said(ruling: Ruling) -> set[tuple[str, Mode, str]]:
    return {(hit.policy, hit.rule, hit.msg) for hit in ruling.hits}


def info(compiled: CompiledBundle, name: str) -> PolicyInfo:
    (found,) = [policy for policy in compiled.policies if policy.name == name]
    return found


ADMISSION = """\
package kubernetes.admission

import data.shared.words

deny[msg] {
  input.kind == "AdmissionReview"
  input.request.kind.kind == "Pod"
  msg := sprintf("%v %v", [words[_], input.request.object.metadata.name])
}
"""
CONFTEST = """\
# METADATA
# title: Kinds
# description: Of things
# custom: {severity: HIGH, owner: me}
package main

import rego.v1

deny contains "no pods" if input.kind == "Pod"

warn_named contains {"msg": input.metadata.name, "code": 7} if true

violation contains {"msg": "told", "details": {"a": 1}}

violation_more contains msg if msg := data.shared.words[0]
"""


async def test_each_is_asked_in_its_own_words(opa_binary: Path, tmp_path: Path) -> None:
    files = {
        "admission.rego": ADMISSION,
        "main.rego": CONFTEST,
        "shared.rego": 'package shared\n\nwords = ["never"]\n',
        "native.rego": NATIVE,
        "labels.yaml": template(
            "Labels",
            """
            package labels
            violation[{"msg": msg, "details": {"user": input.review.userInfo.username}}] {
              msg := data.lib.say.hello(input.review.object.metadata.name)
            }
            """,
            'package lib.say\nhello(x) = y { y := sprintf("hello %v", [x]) }\n',
        ),
    }
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files))
        ruling = await judge(engine, compiled)
        deleted = {**REQUEST, "operation": "DELETE", "object": None, "oldObject": POD}
        on_delete = await judge(engine, compiled, request=deleted)
    assert ruling.failed == on_delete.failed == ()
    assert said(ruling) == {
        ("kubernetes-admission", Mode.DENY, "never web"),
        ("main", Mode.DENY, "no pods"),
        ("main", Mode.DENY, "told"),
        ("main", Mode.DENY, "never"),
        ("main", Mode.WARN, "web"),
        ("labels.all", Mode.DENY, "hello web"),
        ("names", Mode.DENY, "web"),
    }
    details = {hit.msg: hit.details for hit in ruling.hits if hit.details}
    assert details == {"web": {"code": 7}, "told": {"details": {"a": 1}}, "hello web": {"user": "ann"}}
    assert said(on_delete) == {("labels.all", Mode.DENY, "hello web"), ("names", Mode.DENY, "web")}
    main, admission = info(compiled, "main"), info(compiled, "kubernetes-admission")
    assert (main.title, main.description, main.severity) == ("Kinds", "Of things", "high")
    assert (main.origin, main.rego, main.rules) == (Origin.CONFTEST, Rego.V1, (Mode.DENY, Mode.WARN))
    assert (admission.origin, admission.rego) == (Origin.ADMISSION, Rego.V0)
    assert info(compiled, "labels.all").origin is Origin.GATEKEEPER
    assert {policy.needs for policy in compiled.policies} == {frozenset({Need.REQUEST})}


MIXED = {
    "admission.rego": ADMISSION,
    "main.rego": CONFTEST,
    "shared.rego": 'package shared\n\nwords = ["never"]\n',
    "native.rego": NATIVE,
    "lib/hosts.rego": "package portcullis.lib.hosts\n\n"
    "all contains name if some name, _ in data.inventory.cluster.v1.Node\n",
    "hosts.rego": "package portcullis.policies.hosts\n\nimport data.portcullis.lib.hosts\n\n"
    "deny contains host if some host in hosts.all\n",
    "labels.yaml": template(
        "Labels",
        """
        package labels
        violation[{"msg": msg}] {
          not to_number(input.review.object.metadata.name)
          msg := data.lib.say.hello(input.review.object.metadata.name)
        }
        """,
        'package lib.say\nhello(x) = y { y := sprintf("hello %v", [x]) }\n'
        'else = data.lib.say.nobody { true }\nnobody = "n"',
    ),
    "nodes.yaml": template(
        "Nodes",
        """
        package nodes
        import data.inventory
        violation contains {"msg": name} if some name, _ in inventory.cluster.v1.Node
        """,
        version="v1",
    ),
}
SAID_OF_MIXED = {
    ("kubernetes-admission", Mode.DENY, "never web"),
    ("main", Mode.DENY, "no pods"),
    ("main", Mode.DENY, "told"),
    ("main", Mode.DENY, "never"),
    ("main", Mode.WARN, "web"),
    ("labels.all", Mode.DENY, "hello web"),
    ("nodes.all", Mode.DENY, "n1"),
    ("hosts", Mode.DENY, "n1"),
    ("names", Mode.DENY, "web"),
}


async def test_an_OPA_of_others_rules_alike(opa_binary: Path, tmp_path: Path) -> None:  # noqa: N802 - its name
    """Rego of both versions, libraries and the inventory, below a root of their own there; and a failing builtin is
    undefined for Gatekeeper's."""
    bundle = bundle_of(tmp_path, MIXED)
    inventory = Inventory(DEFAULT_LIMITS)
    inventory.put("v1", "Node", "", "n1", {"kind": "Node"})
    other = OtherOpa(opa_binary)
    try:
        async with (
            opa.running(opa_binary, inventory=inventory) as own,
            opa.sharing(other, inventory=inventory) as shared,
        ):
            rulings = [await judge(engine, await engine.compile(bundle)) for engine in (own, shared)]
    finally:
        other.close()
    assert rulings[0] == rulings[1]
    assert rulings[0].failed == ()
    assert said(rulings[0]) == SAID_OF_MIXED


async def test_a_set_read_back_from_the_log_is_that_set(opa_binary: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    match = with_match(
        MIXED["labels.yaml"], '{kinds: [{apiGroups: [""], kinds: [Pod]}], excludedNamespaces: ["kube-*"]}'
    )
    files = {**MIXED, "labels.yaml": match, "other.rego": "package other\ndeny contains 1 if false\n"}
    wanted = [*("main", "names", "hosts", "labels.all", "nodes.all", "kubernetes-admission")]
    bundle = bundle_of(
        tmp_path / "a", files, parameters={"names": {"n": 1.0}, "labels.all": {"l": ["a"]}}, enabled=wanted
    )
    again = read_bundle(bundle.revision, bundle_document(bundle))
    assert revision_of(again.sources, again.parameters, again.constraints, again.left_out) == bundle.revision
    compiler = Compiler(binary=opa_binary, limits=DEFAULT_LIMITS, memory_bytes=0, fingerprinted=True)
    compiled = []
    for number, one in enumerate((bundle, again)):
        (tmp_path / str(number)).mkdir()
        compiled.append((await compiler.compile(one, tmp_path / str(number)))[0])
    assert compiled[1] == dataclasses.replace(compiled[0], remarks=compiled[1].remarks)
    assert {policy.name for policy in compiled[1].policies} == set(wanted)
    # Those that read the inventory have none.
    assert set(compiled[1].fingerprints) == set(wanted) - {"hosts", "nodes.all"}


async def test_what_cannot_be_published_names_the_file_of_its_author(opa_binary: Path, tmp_path: Path) -> None:
    text = f"{NATIVE}\nx := 1 if {{\n\tinput.a\n}} else := 2 if data.portcullis.lib.b.c\n"
    files = {"deep/names.rego": text, "lib/b.rego": "package portcullis.lib.b\n\nc := 1\n"}
    other = OtherOpa(opa_binary)
    try:
        async with opa.sharing(other) as engine:
            with pytest.raises(PolicyCompileError) as caught:
                await engine.compile(bundle_of(tmp_path, files))
    finally:
        other.close()
    (problem,) = caught.value.problems
    assert (problem.file, problem.row) == (f"{tmp_path.name}/deep/names.rego", 7)
    assert "another OPA" in problem.message
    assert "write it in braces" in problem.message


def with_match(text: str, match: str) -> str:
    return f"{text}spec: {{match: {match}}}\n"


PLAIN = 'package x\nviolation[{"msg": "x"}] { true }'
NEEDS: dict[str, tuple[str, set[Need]]] = {
    "request": (template("T", PLAIN), set()),
    "selector": (with_match(template("T", PLAIN), "{namespaceSelector: {}}"), {Need.NAMESPACE}),
    "label-selector": (with_match(template("T", PLAIN), "{labelSelector: {}}"), set()),
    "namespace-object": (
        template("T", 'package x\nviolation[{"msg": "x"}] { input.review.namespaceObject.metadata.labels.a }'),
        {Need.NAMESPACE},
    ),
    "unstable": (
        template("T", 'package x\nviolation[{"msg": "x"}] { input["review"]["_unstable"].namespace }'),
        {Need.NAMESPACE},
    ),
    "inventory": (
        template("T", 'package x\nviolation[{"msg": "x"}] { data.inventory.cluster["v1"][_][_] }'),
        {Need.INVENTORY},
    ),
    "inventory-of-library": (
        template(
            "T",
            'package x\nviolation[{"msg": "x"}] { data.lib.a.b }',
            "package lib.a\nimport data.inventory as everything\nb { everything.cluster }",
        ),
        {Need.INVENTORY},
    ),
}


async def test_needs(opa_binary: Path, tmp_path: Path) -> None:
    files = {
        f"{name}.yaml": text.replace("kind: T}", f"kind: T{n}}}")
        .replace("kind: T\n", f"kind: T{n}\n")
        .replace("name: t}", f"name: t{n}}}")
        for n, (name, (text, _)) in enumerate(NEEDS.items())
    }
    files["a.rego"] = "package main\nimport data.helper\ndeny[1] { helper.x }\n"
    files["b.rego"] = "package helper\nx { data.inventory.cluster }\n"
    files["c.rego"] = "package kubernetes.admission\ndeny[msg] { msg := input.request.uid }\n"
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files))
    found = {policy.name: set(policy.needs - {Need.REQUEST}) for policy in compiled.policies}
    expected = {f"t{n}.all": needs for n, (_, needs) in enumerate(NEEDS.values())}
    assert found == {**expected, "main": {Need.INVENTORY}, "kubernetes-admission": set()}


async def test_labels_of_the_namespace(opa_binary: Path, tmp_path: Path) -> None:
    """Not known, they fail the policy; they never make a match of it, and never none."""
    selector = "{namespaceSelector: {matchLabels: {team: red}}}"
    text = with_match(template("T", PLAIN), selector)
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, {"a.yaml": text, "n.rego": NATIVE}))
        red = await judge(engine, compiled, namespace={"name": "shop", "labels": {"team": "red"}})
        blue = await judge(engine, compiled, namespace={"name": "shop", "labels": {"team": "blue"}})
        unknown = await judge(engine, compiled)
    assert [hit.policy for hit in red.hits] == ["names", "t.all"]
    assert [hit.policy for hit in blue.hits] == [hit.policy for hit in unknown.hits] == ["names"]
    assert blue.failed == ()
    assert [(failure.policy, failure.reason) for failure in unknown.failed] == [("t.all", "policy-failed")]
    assert "the labels of the namespace are not known" in unknown.failed[0].message


async def test_operations_of_a_template(opa_binary: Path, tmp_path: Path) -> None:
    text = template("T", PLAIN).replace("      code:", "      operations: [UPDATE]\n      code:")
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, {"a.yaml": text}))
        created = await judge(engine, compiled)
        updated = await judge(engine, compiled, request={**REQUEST, "operation": "UPDATE", "oldObject": POD})
    assert (len(created.hits), len(updated.hits)) == (0, 1)


async def test_parameters_of_the_operator_win(opa_binary: Path, tmp_path: Path) -> None:
    text = template("T", 'package x\nviolation[{"msg": msg}] { msg := sprintf("%v", [input.parameters]) }')
    text += "spec: {parameters: {a: 1, b: 2}}\n"
    bundle = bundle_of(tmp_path, {"a.yaml": text}, parameters={"t.all": {"b": 3}})
    async with opa.running(opa_binary) as engine:
        ruling = await judge(engine, await engine.compile(bundle))
    assert [hit.msg for hit in ruling.hits] == ['{"a": 1, "b": 3}']


async def test_what_is_not_supported_is_undecided_by_name(opa_binary: Path, tmp_path: Path) -> None:
    cel = (
        template("Cel", PLAIN).replace("engine: Rego", "engine: K8sNativeValidation")
        + "spec: {enforcementAction: warn}\n"
    )
    external = template(
        "External", 'package x\nviolation[{"msg": "x"}] { external_data({"provider": "p", "keys": []}) }'
    )
    files = {"a.yaml": cel, "b.yaml": external, "c.yaml": template("Good", PLAIN), "n.rego": NATIVE}
    files["o.yaml"] = (
        cel.replace("Cel", "Other")
        .replace("name: cel", "name: other")
        .replace("spec: {enforcementAction: warn}", "spec: {match: {namespaces: [elsewhere]}}")
    )
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files))
        ruling = await judge(engine, compiled)
    assert "other.all" in ruling.judged  # its match block does not fit: it would not have been asked
    assert {(failure.policy, failure.reason) for failure in ruling.failed} == {
        ("cel.all", "policy-unsupported"),
        ("external.all", "policy-unsupported"),
    }
    assert {hit.policy for hit in ruling.hits} == {"good.all", "names"}
    assert {policy.name: policy.mode for policy in compiled.policies if policy.unsupported} == {
        "cel.all": Mode.WARN,
        "external.all": Mode.DENY,
        "other.all": Mode.DENY,
    }
    remarks = [(remark.file.rpartition("/")[2], remark.message) for remark in compiled.remarks]
    assert remarks == [
        ("a.yaml", "the ConstraintTemplate Cel is written for K8sNativeValidation; only Rego is supported"),
        ("o.yaml", "the ConstraintTemplate Other is written for K8sNativeValidation; only Rego is supported"),
        ("b.yaml", "the ConstraintTemplate External calls external_data, which is not supported"),
    ]


FAILING: dict[str, tuple[str, str]] = {
    "text": ('violation["x"] { true }', "violation holds a value of the type string"),
    "number": ("violation[7] { true }", "of the type number"),
    "no-msg": ('violation[{"details": {}}] { true }', "without msg"),
    "msg-number": ('violation[{"msg": 7}] { true }', "msg is a number"),
    "msg-list": ('violation[{"msg": ["x"]}] { true }', "msg is a list"),
    "conflict": ('f(x) = 1 { x }\nf(x) = 2 { x }\nviolation[{"msg": "x"}] { f(true) == 1 }', "multiple outputs"),
    "long": (
        'violation[{"msg": msg}] { msg := concat("", [x | numbers.range(1, 3000)[_]; x := "y"]) }',
        "messageChars",
    ),
}


async def test_a_bad_result_fails_its_policy_only(opa_binary: Path, tmp_path: Path) -> None:
    files = {
        f"{name}.yaml": template(f"T{number}", f"package x\n{body}")
        for number, (name, (body, _)) in enumerate(FAILING.items())
    }
    files["main.rego"] = "package main\ndeny[7] { true }\n"
    files["admission.rego"] = "package kubernetes.admission\ndeny[[input.request.uid]] { true }\n"
    files["native.rego"] = NATIVE
    async with opa.running(opa_binary) as engine:
        ruling = await judge(engine, await engine.compile(bundle_of(tmp_path, files)))
    assert said(ruling) == {("names", Mode.DENY, "web")}
    assert {failure.reason for failure in ruling.failed} == {"policy-failed"}
    messages = {failure.policy: failure.message for failure in ruling.failed}
    words = {f"t{number}.all": words for number, (_, words) in enumerate(FAILING.values())}
    words |= {"main": "of the type number", "kubernetes-admission": "of the type array"}
    assert {name: message for name, message in messages.items() if words[name] not in message} == {}
    assert set(messages) == set(words)


async def test_a_hundred_thousand_violations(opa_binary: Path, tmp_path: Path) -> None:
    many = 'n := numbers.range(1, 100000)[_]; msg := sprintf("%d", [n])'
    files = {
        "a.yaml": template("T", f'package x\nviolation[{{"msg": msg}}] {{ {many} }}'),
        "m.rego": f"package main\ndeny[msg] {{ {many} }}",
        "n.rego": NATIVE,
    }
    async with opa.running(opa_binary) as engine:
        ruling = await judge(engine, await engine.compile(bundle_of(tmp_path, files)))
    assert said(ruling) == {("names", Mode.DENY, "web")}
    words = "100000 violations; the limit violations is 1000"
    assert {failure.policy: failure.message for failure in ruling.failed} == {"main": words, "t.all": words}


V0_ONLY = 'package x\n\nviolation[{"msg": msg}] {\n  any([re_match("a", "a")])\n  msg := "x"\n}\n'


def row_of(text: str, words: str) -> int:
    return text[: text.index(words)].count("\n") + 1


BROKEN: dict[str, tuple[dict[str, str], str, int, int, str]] = {
    "syntax": (
        {"a.yaml": template("T", 'package x\nviolation[{"msg": "x"}] {\n  y := \n}')},
        "a.yaml",
        15,
        13,
        "unexpected",
    ),
    "unsafe": ({"a.yaml": template("T", 'package x\nviolation[{"msg": msg}] { input.a }')}, "a.yaml", 13, 31, "unsafe"),
    "missing-builtin": (
        {
            "a.yaml": template(
                "T", 'package x\nviolation[{"msg": "x"}] {\n  data.lib.a.b; nothing(1)\n}', "package lib.a\nb = 1"
            )
        },
        "a.yaml",
        14,
        29,
        "undefined function nothing",
    ),
    "network": (
        {"a.yaml": template("T", 'package x\nviolation[{"msg": "x"}] { http.send({}) }')},
        "a.yaml",
        13,
        39,
        "http.send",
    ),
    "network-v0": (
        {"m.rego": "package main\ndeny[msg] { msg := opa.runtime().env.HOME }"},
        "m.rego",
        2,
        20,
        "opa.runtime",
    ),
    "no-such-library": (
        {"a.yaml": template("T", 'package x\nviolation[{"msg": "x"}] { data.lib.gone.x }')},
        "a.yaml",
        13,
        13,
        "data.lib.gone.x does not exist",
    ),
    "library-of-another": (
        {
            "a.yaml": template("T", 'package x\nviolation[{"msg": "x"}] { data.lib.a.b }', "package lib.a\nb = 1"),
            "b.yaml": template("U", 'package x\nviolation[{"msg": "x"}] { data.lib.a.b }'),
        },
        "b.yaml",
        13,
        13,
        "data.lib.a.b does not exist",
    ),
    "parameters-of-another": (
        {"a.yaml": template("T", 'package x\nviolation[{"msg": "x"}] { data.portcullis.parameters.names.x }')},
        "a.yaml",
        13,
        13,
        "data.portcullis.parameters.names.x does not exist",
    ),
    "parameters-of-another-in-rego": (
        {"m.rego": 'package main\ndeny["x"] { data.portcullis.parameters.names }'},
        "m.rego",
        2,
        1,
        "data.portcullis.parameters.names does not exist",
    ),
    "whole-data": ({"m.rego": "package main\ndeny[x] { x := data }"}, "m.rego", 2, 16, "`data` as a whole"),
    "not-a-set": ({"m.rego": 'package main\ndeny = "x"'}, "m.rego", 2, 1, "deny must be a set"),
    "an-object": ({"m.rego": 'package main\ndeny["x"] = 1'}, "m.rego", 2, 1, "deny must be a set"),
    "no-violation": (
        {"a.yaml": template("T", "package x\nviolations = 1")},
        "a.yaml",
        12,
        13,
        "t.all: the template defines no violation",
    ),
    "slip-of-the-pen": (
        {"m.rego": 'package main\ndenied["x"] { true }'},
        "m.rego",
        1,
        1,
        "package main defines none of deny",
    ),
    "version-v1": ({"a.yaml": template("T", V0_ONLY, version="v1")}, "a.yaml", 15, 13, "`if` keyword is required"),
    "native-is-strict": (
        {
            "n.rego": "package portcullis.policies.a\ndeny contains 1 if {\n\tx := 1\n}",
            "m.rego": "package main\ndeny[1] { x := 1 }",
        },
        "n.rego",
        3,
        2,
        "assigned var x unused",
    ),
    "name-of-another": (
        {"a/n.rego": NATIVE, "b/m.rego": "package names\ndeny[1] { true }"},
        "b/m.rego",
        1,
        0,
        "a policy named names already",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_rego_is_refused_with_its_place(opa_binary: Path, tmp_path: Path, name: str) -> None:
    files, file, row, column, words = BROKEN[name]
    async with opa.running(opa_binary) as engine:
        with pytest.raises(PolicyCompileError) as caught:
            await engine.compile(
                bundle_of(tmp_path, {"z/native.rego": NATIVE} | files if name != "name-of-another" else files)
            )
    first = caught.value.problems[0]
    assert words in first.message
    assert (first.file.removeprefix(f"{tmp_path.name}/"), first.row, first.column) == (file, row, column)


async def test_old_rego_runs_as_it_is(opa_binary: Path, tmp_path: Path) -> None:
    """Deprecated builtins, shadowed names and unused variables are no faults there."""
    text = 'package main\n\ndeny[msg] {\n  unused := 1\n  all([re_match("^a", "ab")])\n  msg := "x"\n}\n'
    files = {"m.rego": text, "a.yaml": template("T", V0_ONLY), "n.rego": NATIVE}
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files))
        ruling = await judge(engine, compiled)
    assert {hit.policy for hit in ruling.hits} == {"main", "names", "t.all"}
    assert {policy.name: policy.rego for policy in compiled.policies} == {
        "main": Rego.V0,
        "names": Rego.V1,
        "t.all": Rego.V0,
    }


async def test_only_the_enabled_ones_are_policies(opa_binary: Path, tmp_path: Path) -> None:
    files = {
        "a.rego": "package a\ndeny[msg] { msg := data.b.words }",
        "b.rego": 'package b\nwords = "x"\ndeny["b"] { true }',
    }
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files, enabled=["a"]))
        ruling = await judge(engine, compiled)
    assert said(ruling) == {("a", Mode.DENY, "x")}


async def test_exceptions_of_conftest_are_told_and_not_made(opa_binary: Path, tmp_path: Path) -> None:
    text = 'package main\n\ndeny_x["x"] { true }\n\nexception[["x"]] { true }\n'
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, {"m.rego": text}))
        assert [hit.msg for hit in (await judge(engine, compiled)).hits] == ["x"]
    (remark,) = compiled.remarks
    assert "main: the rule exception is not used" in remark.message


async def test_only_what_is_new_is_parsed_anew(opa_binary: Path, tmp_path: Path) -> None:
    files = {f"{number}.yaml": template(f"T{number}", f"package x\n# {number}\n{PLAIN[10:]}") for number in range(8)}
    async with opa.running(opa_binary) as engine:
        await engine.compile(bundle_of(tmp_path, files))
        made = dict(engine._known._made)
        changed = template("T0", 'package x\nviolation[{"msg": "new"}] { true }')
        ruling = await judge(engine, await engine.compile(bundle_of(tmp_path, {"0.yaml": changed})))
        assert len(engine._known._made) == len(made) + 1
    assert sorted(hit.msg for hit in ruling.hits) == ["new", *["x"] * 7]


def test_our_own_rego_is_as_strict_as_that_of_the_policies(opa_binary: Path) -> None:
    folder = Path(bridges.__file__).parent
    paths = [str(folder / "bridging.rego"), str(folder / "gatekeeper" / "matching.rego")]
    assert subprocess.run([opa_binary, "check", "--strict", *paths], check=True).returncode == 0
    listed = subprocess.run([opa_binary, "fmt", "--list", *paths], capture_output=True, check=True)
    assert listed.stdout == b""


CANONICAL = """\
package quantities

violation[{"msg": msg}] {
  cpu := input.review.object.metadata.labels.cpu
  not canonify(cpu)
  msg := sprintf("%v is no quantity", [cpu])
}

canonify(text) = number { number := to_number(text) }
"""


async def test_a_builtin_that_fails_is_undefined_in_a_template_as_in_gatekeeper(
    opa_binary: Path, tmp_path: Path
) -> None:
    """And an error in every other policy, also one that is asked together with it."""
    native = 'package portcullis.policies.names\n\ndeny contains "x" if not to_number(input.request.name) == 1\n'
    files = {"template.yaml": template("Quantities", CANONICAL), "names/policy.rego": native}
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle_of(tmp_path, files))
        labelled = {**REQUEST, "object": {**POD, "metadata": {**POD["metadata"], "labels": {"cpu": "many"}}}}
        ruling = await judge(engine, compiled, request=labelled)
    assert said(ruling) == {("quantities.all", Mode.DENY, "many is no quantity")}
    assert [failure.policy for failure in ruling.failed] == ["names"]
