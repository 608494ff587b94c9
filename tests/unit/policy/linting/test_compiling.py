"""What OPA says, with advice; files that are no Rego; ignores; METADATA and tests; Regal."""
# ruff: noqa: E501, Q000, Q003  (tables of Rego: one case, one line)

import asyncio
import shutil
from pathlib import Path

import pytest

from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.linting.compiling import Checks
from portcullis.policy.linting.finding import RULES, Level
from portcullis.policy.linting.regal import own_configuration
from portcullis.policy.linting.sources import LintFile, Parsed, find_files, parse_files
from portcullis.policy.memory import memory_goal
from unit.policy.linting.support import HEAD, lint_snippets, names, run, whole

pytestmark = pytest.mark.opa

# Row and column count from the first line of the snippet.
UNPARSED = {
    'deny contains "x" { true }': (1, 1, "write `if`"),
    'deny[msg] { msg := "x" }': (1, 1, "`if`"),
    "deny := {": (1, 10, "not closed"),
    'deny contains "x if true': (1, 15, "close the string"),
    "deny contains 'x' if true": (1, 15, "double quotes"),
    'deny contains "x" if input.a == 1 && input.b == 2': (1, 36, "no `&&`"),
    'deny contains "x" if ! input.x': (1, 22, "write `not`"),
    'deny contains "x" if { return true }': (1, 31, "no `return`"),
    'deny contains "x" if { for c in input { true } }': (1, 28, "no `for`"),
    'deny contains "x" if { not not input.x }': (1, 28, "helper rule"),
    'a := "\\d"': (1, 6, "backquotes"),
    "x := input.a ? 1 : 2": (1, 14, "two rules"),
    "a := 1 else 2": (1, 8, "else"),
    "default deny contains 1": (1, 1, "default name := value"),
    "default a := input.x": (1, 1, "constant"),
    'p if { every x in input.y }': (1, 27, "needs a body"),
}  # fmt: skip
UNCOMPILED = {
    'deny contains "x" if nope == 1': ("compile-error", 1, 22, "some nope in"),
    'deny contains "x" if input.a == True': ("compile-error", 1, 22, "`true`"),
    'deny contains "x" if {\n\tnot input.x[_]\n}\nb if { not c }': ("compile-error", 2, 2, "`_`"),
    'import data.foo\ndeny contains "x" if true': ("compile-error", 1, 1, "remove the import"),
    'deny contains "x" if {\n\ty := 1\n}': ("compile-error", 2, 2, "remove `y`"),
    'deny contains f(1) if true\nf(x) := 1': ("compile-error", 2, 1, "`_`"),
    'deny contains "x" if startswth("a", "b")': ("compile-error", 1, 22, "did you mean startswith?"),
    'deny contains "x" if nonrot(1)\nnonroot(x) if x == 1': ("compile-error", 1, 22, "did you mean nonroot?"),
    'deny contains "x" if {\n\tx := 1\n\tx := 2\n}': ("compile-error", 3, 2, "another name"),
    'a := b\nb := a\ndeny contains "x" if a': ("compile-error", 1, 1, "no recursion"),
    'deny contains "x" if "a" + 1 == 2': ("compile-error", 1, 22, "type"),
    'deny contains "x" if re_match("a", "b")': ("compile-error", 1, 22, "regex.match"),
    'deny contains "x" if count(1, 2, 3)': ("compile-error", 1, 22, "number of arguments"),
    'deny := "x" if true': ("policy-set", 1, 1, ""),
    "helper := 1": ("policy-set", -3, 1, ""),
    'deny contains "x" if data.portcullis.policies.other.x': ("policy-set", 1, 1, ""),
    'deny contains "x" if data.portcullis.lib.nope.x': ("policy-set", 1, 1, ""),
    'deny contains http.send({"method": "get", "url": "https://x"})': ("builtin-not-allowed", 1, 15, "`input`"),
    'deny contains "x" if rand.intn("a", 4) == 1': ("builtin-not-allowed", 1, 22, "leave it out"),
    'deny contains opa.runtime() if true': ("builtin-not-allowed", 1, 15, "leave it out"),
    'deny contains net.lookup_ip_addr("x") if true': ("builtin-not-allowed", 1, 15, "`input`"),
    'deny contains uuid.rfc4122("x") if true': ("builtin-not-allowed", 1, 15, "leave it out"),
    'deny contains io.jwt.decode_verify("x", {}) if true': ("builtin-not-allowed", 1, 15, "time.now_ns"),
}  # fmt: skip
TYPES = (
    'deny contains "x" if input.containers[_].pinned == 1',
    'deny contains "x" if input.containers[_].name == true',
    'deny contains "x" if input.workload.kind == 5',
    'deny contains "x" if upper(input.containers) == "A"',
    'deny contains "x" if input.containers[_].user.uid + "a" == 3',
)
ABOVE = HEAD.format(name="p").count("\n")


def parsed(snippet: str, binary: Path, folder: Path) -> "tuple[list[Parsed], list[object]]":
    path = folder / "policy.rego"
    path.write_text(whole("p", snippet))
    files = [LintFile("policy.rego", path, path.read_text())]
    trees, faults = asyncio.run(parse_files(binary, files, DEFAULT_LIMITS))
    return trees, list(faults)


@pytest.mark.parametrize("snippet", UNPARSED)
def test_a_file_that_is_no_rego(snippet: str, opa_binary: Path, tmp_path: Path) -> None:
    row, column, words = UNPARSED[snippet]
    trees, (fault, *_) = parsed(snippet, opa_binary, tmp_path)
    assert trees == []
    assert (fault.rule, fault.level, fault.row - ABOVE, fault.column) == ("parse-error", Level.ERROR, row, column)  # type: ignore[attr-defined]
    assert words in fault.fix  # type: ignore[attr-defined]


@pytest.mark.parametrize("snippet", UNCOMPILED)
def test_a_policy_that_no_gate_would_load(snippet: str, opa_binary: Path, tmp_path: Path) -> None:
    rule, row, column, words = UNCOMPILED[snippet]
    trees, _ = parsed(snippet, opa_binary, tmp_path)
    checks = Checks(binary=opa_binary, limits=DEFAULT_LIMITS, memory_bytes=memory_goal())
    fault = asyncio.run(checks.compile(trees, []))[0]
    assert (fault.rule, fault.row - ABOVE, fault.column) == (rule, row, column)
    assert words in fault.fix


def test_types_that_never_meet(opa_binary: Path, tmp_path: Path) -> None:
    checks = Checks(binary=opa_binary, limits=DEFAULT_LIMITS, memory_bytes=memory_goal())
    trees, _ = parsed("\n".join(TYPES), opa_binary, tmp_path)
    found = asyncio.run(checks.types(trees))
    assert {one.row - ABOVE for one in found if one.rule == "type-error"} == set(range(1, len(TYPES) + 1))


FINE = 'deny contains {"msg": "m", "fix": "f"} if input.containers == []'


def test_metadata_and_tests_that_are_missing(opa_binary: Path, tmp_path: Path) -> None:
    head = "# METADATA\n# title: t\n# custom: {severity: low}\n"
    body = "package portcullis.policies.{}\n\nimport rego.v1\n\n"
    found = lint_snippets(
        {"bare": body.format("bare") + FINE, "half": head + body.format("half") + FINE, "full": FINE},
        tmp_path,
        opa_binary,
    )
    assert [one.rule for one in found["bare"]] == ["missing-metadata", "missing-tests"]
    assert "description, mode" in found["half"][0].message
    assert found["full"] == []


def test_a_verdict_that_no_test_names(opa_binary: Path, tmp_path: Path) -> None:
    found = lint_snippets({"two": f"{FINE}\n\n{FINE.replace('deny', 'warn')}"}, tmp_path, opa_binary)
    assert found["two"] == []
    (test := tmp_path / "two" / "policy_test.rego").write_text(test.read_text().replace("count(two.warn) == 0", "true"))
    (told,) = run(tmp_path, opa_binary).findings
    assert (told.rule, told.row) == ("missing-tests", ABOVE + 3)
    assert "warn" in told.message


IGNORED = {
    "end": (f"{FINE}\ndeny contains \"x\" if true # portcullis-lint: ignore=missing-fix told elsewhere", set()),
    "above": (f"{FINE}\n# portcullis-lint: ignore=missing-fix told elsewhere\ndeny contains \"x\" if true", set()),
    "text": (f"{FINE}\ndeny contains \"# portcullis-lint: ignore=missing-fix x\" if true", {"missing-fix"}),
    "no_reason": (f"{FINE}\ndeny contains \"x\" if true # portcullis-lint: ignore=missing-fix", {"ignore-invalid", "missing-fix"}),
    "no_rule": (f"{FINE} # portcullis-lint: ignore=nope because", {"ignore-invalid"}),
    "odd": (f"{FINE} # portcullis-lint: disable", {"ignore-invalid"}),
    "never": (f"{FINE} # portcullis-lint: ignore=parse-error because", {"ignore-invalid"}),
    "unused": (f"{FINE} # portcullis-lint: ignore=missing-fix because", {"ignore-unused"}),
    "regal": (f"{FINE} # portcullis-lint: ignore=regal/style/line-length because", set()),
    "other": (f"{FINE}\ndeny contains \"x\" if true # portcullis-lint: ignore=not-hoists because", {"missing-fix", "ignore-unused"}),
}  # fmt: skip


def test_findings_are_ignored_by_a_comment_with_a_reason(opa_binary: Path, tmp_path: Path) -> None:
    found = lint_snippets({name: text for name, (text, _) in IGNORED.items()}, tmp_path, opa_binary)
    assert {name: names(findings) for name, findings in found.items()} == {
        name: rules for name, (_, rules) in IGNORED.items()
    }


def test_a_broken_file_does_not_hide_what_is_wrong_in_others(opa_binary: Path, tmp_path: Path) -> None:
    found = lint_snippets(
        {"broken": "deny contains {", "other": "deny contains input.imgae if true"}, tmp_path, opa_binary
    )
    assert names(found["broken"]) == {"parse-error"}
    assert names(found["other"]) == {"unknown-input"}


def test_tests_that_do_not_compile_are_told(opa_binary: Path, tmp_path: Path) -> None:
    lint_snippets({"fine": FINE}, tmp_path, opa_binary)
    test = tmp_path / "fine" / "policy_test.rego"
    test.write_text(f"{test.read_text()}\ntest_x if {{\n\tnope(1)\n\thttp.send({{}})\n}}\n")
    (told,) = run(tmp_path, opa_binary).findings
    assert (told.rule, told.file) == ("compile-error", str(test))
    assert "nope" in told.message


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        find_files([tmp_path / "nothing"], DEFAULT_LIMITS)
    (tmp_path / "a.rego").write_bytes(b"package a\n\xff")
    with pytest.raises(ConfigError, match=r"a\.rego:2: not UTF-8"):
        find_files([tmp_path], DEFAULT_LIMITS)


def test_regal_is_asked_with_a_configuration_that_fits(opa_binary: Path, tmp_path: Path) -> None:
    regal = shutil.which("regal")
    assert regal, "regal is not on PATH: run the tests through `make test`"
    lint_snippets({"one": f"{FINE}\n\n# TODO: more\nunused(x) := y if {{ y := x }}"}, tmp_path, opa_binary)
    found = run(tmp_path, opa_binary, Path(regal)).findings
    assert "regal/style/todo-comment" in names(found)
    assert "regal/idiomatic/directory-package-mismatch" not in names(found)
    assert all(one.docs.startswith("https://") and one.file.startswith(str(tmp_path)) for one in found)
    assert not own_configuration(tmp_path)
    (tmp_path / ".regal").mkdir()
    (tmp_path / ".regal" / "config.yaml").write_text("rules: {style: {todo-comment: {level: warning}}}\n")
    again = {one.rule: one.level for one in run(tmp_path, opa_binary, Path(regal)).findings}
    assert again["regal/style/todo-comment"] is Level.WARNING
    assert "regal/idiomatic/directory-package-mismatch" in again


def test_the_configuration_of_our_policies_is_the_one_that_others_get() -> None:
    root = Path(__file__).resolve().parents[4]
    ours = (root / "policies" / ".regal" / "config.yaml").read_text()
    default = (root / "webhook/portcullis/policy/linting/regal.yaml").read_text()
    assert ours.partition("rules:")[2] == default.partition("rules:")[2] != ""


def test_the_rules_are_known_by_their_names() -> None:
    assert all(name == rule.name for name, rule in RULES.items())
