"""Every rule of lint by tables: snippets that it must tell, and such that it must not."""
# ruff: noqa: E501, Q000, Q003, ISC004  (tables of Rego: one case, one line)

from collections.abc import Mapping
from pathlib import Path

import pytest

from portcullis.policy.bundle import builtin_policies
from portcullis.policy.linting.finding import RULES, Finding
from unit.policy.linting.support import lint_snippets, names, run

pytestmark = pytest.mark.opa

FIX = '{"msg": "m", "fix": "f"}'


def deny(*lines: str, more: str = "") -> str:
    body = "\n".join(f"\t{line}" for line in lines)
    return f"deny contains violation if {{\n{body}\n\tviolation := {FIX}\n}}\n{more}"


def containers(*lines: str, more: str = "") -> str:
    return deny("some c in input.containers", *lines, more=more)


def platforms(*lines: str, more: str = "") -> str:
    return deny("some c in input.containers", "some p in input.images[c.image].platforms", *lines, more=more)


BAD: Mapping[str, tuple[str, ...]] = {
    "unknown-input": (
        deny("input.imgae == 1"),
        deny('input.containers[_].usr.root == "x"'),
        containers('c.nmae == "x"'),
        containers("helper(c)", more="helper(container) if container.usr.root == false"),
        deny("some i, c in input.containers", "i > 1", 'c.user.id == "0"'),
        deny('input.containers.name == "x"'),
        platforms("count(p.contents.shelz) > 0"),
        deny('images[_].tagg == "x"', more="images := input.images"),
        deny("every c in input.containers { c.pined }"),
        deny('object.get(input, "contaners", []) == []'),
        deny("some scan in input.images[_].scans", "scan.counts.severe > 0"),
        deny("count([c | some c in input.containers; c.privileged]) > 0"),
        deny("some v in input.images[_].scans[_].vulnerabilities", "v.vex.state == 1"),
        deny('input.workload.metadata.name == "x"'),
    ),
    "three-states": (
        containers("c.user.root == true"),
        containers("c.user.root = true"),
        containers("root(c)", more="root(c) if c.user.root == true"),
        containers("not nonroot(c)", more="nonroot(c) if c.user.root != true"),
        containers("not nonroot(c)", more="nonroot(c) if not c.user.root == true"),
        containers("state := c.user.root", "state == true"),
        platforms('p.contents.status == "unavailable"'),
        platforms('p.contents.status in {"pending", "unavailable"}'),
        platforms("p.user.root == true"),
        deny("some scan in input.images[_].scans", "scan.complete == false"),
        deny("count([c | some c in input.containers; c.user.root == true]) > 0"),
        deny("some name in roots", 'name != ""', more="roots contains c.name if { some c in input.containers; c.user.root == true }"),
        deny("some e in input.images[_].evaluations", "e.passed == false"),
    ),
    "not-hoists": (
        containers("not is_string(c.user.name)"),
        containers('not c.image in ["a"]'),
        containers("not helper(c.digest)", more='helper(x) if x == "a"'),
        containers("not c.user.uid > 1000"),
        containers('not c.user.source != "image"'),
        containers("not count(c.name) == 3"),
        containers("not helper(c)", more='helper(c) if { c.pinned; not startswith(c.image, "x") }'),
        deny('not startswith(input.workload.kind, "Pod")'),
        deny("some i", 'input.containers[i].name == "a"', "not is_string(input.containers[i].user.name)"),
        deny("every c in input.containers { not is_number(c.user.uid) }"),
        deny("count([c | some c in input.containers; not is_string(c.digest)]) > 0"),
        deny("not helper([input.workload.name])", more="helper(x) if count(x) > 1"),
    ),
    "foreign-parameters": (
        deny('data.portcullis.parameters["other"].x == 1'),
        deny("data.portcullis.parameters.other.x == 1"),
        deny("data.portcullis.parameters[_].x == 1"),
        deny("x := data.portcullis.parameters", "x.a == 1"),
        deny('settings.x == 1', more='settings := data.portcullis.lib.parameters.settings("other", {})'),
        deny('count(data.portcullis.lib.parameters.faults("other", {})) > 0'),
    ),
    "missing-fix": (
        'deny contains "no" if input.containers == []',
        "deny contains msg if {\n\tsome c in input.containers\n\tmsg := sprintf(\"no %s\", [c.name])\n}",
        'deny contains {"msg": "no"} if input.containers == []',
        'deny contains v if {\n\tinput.containers == []\n\tv := {"msg": "no", "details": {}}\n}',
        "warn contains $\"{c.name} is bad\" if some c in input.containers",
        'audit contains v if {\n\tsome c in input.containers\n\tv := object.union({"container": c.name}, words(c))\n}\nwords(c) := {"msg": c.name}',
    ),
}  # fmt: skip

GOOD: tuple[str, ...] = (
    # -- paths that are there, or that nobody knows
    containers("c.user.root == false", "c.spec.securityContext.privileged == true"),
    deny('input.request.object.spec.whatever.deep == "x"'),
    deny("input.namespace.labels.team == 1"),
    deny('input.images["a"].platforms[0].config.labels["x.y"] == "z"'),
    deny("some name, facts in input.images", 'facts.tag == "latest"', 'name != ""'),
    deny('x := {"usr": input.containers[0]}', 'x.usr.name == "a"'),
    containers("thing := either(c)", 'thing.whatever == "x"', more='either(c) := c if c.pinned\n\neither(c) := {"whatever": "x"} if not c.pinned'),
    deny("some key in {\"name\", \"nope\"}", "input.containers[_][key] == 1"),
    platforms("some finding in p.contents.shells", 'finding.path == "/bin/sh"'),
    deny("some p in input.images[_].provenance", 'p.materials[_].uri == "x"'),
    deny('input.workload.podSpec.hostNetwork == true', 'input.workload.podMetadata.labels.app == "x"'),
    deny("union_of := object.union(input.workload, {\"extra\": 1})", "union_of.extra == 1"),
    # -- facts of three states, well asked
    containers("not nonroot(c)", more="nonroot(c) if c.user.root == false"),
    containers("not c.user.root == false"),
    containers("c.user.root != false"),
    containers("c.user.root == true", more=containers('c.user.root == "unknown"').replace(" violation", " other").replace("violation :=", "other :=")),
    containers('c.user.root in {true, "unknown"}'),
    deny("not all_known", more="all_known if every c in input.containers { c.user.root == false }"),
    platforms('not p.contents.status == "complete"'),
    platforms('p.contents.status != "complete"'),
    deny("some scan in input.images[_].scans", "not scan.complete"),
    deny("some scan in input.images[_].scans", "not scan.complete == true"),
    containers("c.pinned == false"),
    f'deny contains object.union({FIX}, {{"why": why(c)}}) if {{\n\tsome c in input.containers\n\tnot nonroot(c)\n}}\n'
    'nonroot(c) if c.user.root == false\nwhy(c) := "root" if c.user.root == true else := "not known"',
    # -- negations that OPA does not hoist, or of what is there
    containers("not c.user.uid == 0"),
    containers("not c.user.name"),
    containers("not helper(c)", more="helper(c) if is_string(c.user.name)"),
    containers("name := c.user.name", "not startswith(name, \"x\")"),
    containers('c.user.name != ""', 'not startswith(c.user.name, "x")'),
    deny("some i, c in input.containers", "not odd(input.containers[i])", 'c.name != ""', more="odd(c) if c.pinned"),
    deny("not 1 in allowed", more="allowed := {1, 2}"),
    deny('name := "x"', "not name in names", more="names contains c.name if some c in input.containers"),
    containers('x := c.image in {"a"}', "not x"),
    containers("not any_of([p | some p in input.images[c.image].platforms])", more="any_of(x) if count(x) > 0"),
    # -- parameters and messages
    deny('data.portcullis.parameters["p00"].x == 1').replace("p00", "{own}"),
    deny("settings.x == 1", more='settings := data.portcullis.lib.parameters.settings("{own}", {"x": {"type": "number", "default": 1}})'),
    deny("some x in data.portcullis.lib.parameters.faults(\"{own}\", {})", 'x.msg != ""'),
    'deny contains v if {\n\tinput.containers == []\n\tv := object.union(words, {"container": "x"})\n}\nwords := {"msg": "m", "fix": "f"}',
    'deny contains {"msg": "m", "fix": "f", "details": {"msg": "x"}} if input.containers == []',
    'deny contains v if {\n\tsome v in data.portcullis.lib.parameters.faults("{own}", {})\n}',
    "deny contains v if {\n\tinput.containers == []\n\tv := {\"msg\": \"m\", \"fix\": sprintf(\"do %d\", [1])}\n}",
)  # fmt: skip


def named(rule: str, number: int) -> str:
    return f"{rule.replace('-', '_')}_{number:02}"


CASES = {named(rule, number): (rule, text) for rule, texts in BAD.items() for number, text in enumerate(texts)}
FINE = {f"good_{number:02}": text for number, text in enumerate(GOOD)}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Mapping[str, list[Finding]]:
    snippets = {name: text for name, (_, text) in CASES.items()}
    snippets |= {name: text.replace("{own}", name.replace("_", "-")) for name, text in FINE.items()}
    return lint_snippets(snippets, tmp_path_factory.mktemp("policies"), opa_binary)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_snippet_is_told_by_its_rule_and_no_other(name: str, findings: Mapping[str, list[Finding]]) -> None:
    assert names(findings[name]) == {CASES[name][0]}
    assert all(one.row > 8 and one.column > 0 and one.fix for one in findings[name])


@pytest.mark.parametrize("name", FINE)
def test_a_good_snippet_is_not(name: str, findings: Mapping[str, list[Finding]]) -> None:
    assert findings[name] == []


def test_the_library_has_no_findings(opa_binary: Path) -> None:
    report = run(builtin_policies(), opa_binary)
    assert [f"{one.file}:{one.row} {one.rule}" for one in report.findings] == []
    assert report.policies > 20
    assert report.notes == ()


def test_each_rule_that_reads_code_has_five_of_each() -> None:
    assert all(len(texts) >= 5 for texts in BAD.values())
    assert set(BAD) <= set(RULES)
