"""``portcullis lint``: exit codes, the three forms, Regal's absence."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portcullis.cli.lintview import EXCERPT_CHARS, excerpt
from portcullis.cli.main import app
from portcullis.policy.linting.finding import RULES

pytestmark = pytest.mark.opa

HEAD = "# METADATA\n# title: t\n# description: d\n# custom: {severity: low, mode: deny}\n"
CLEAN = HEAD + (
    "package portcullis.policies.one\n\nimport rego.v1\n\n"
    'deny contains {"msg": "m", "fix": "f"} if input.containers == []\n'
)
TEST = "package portcullis.policies.one_test\n\nimport rego.v1\n\nimport data.portcullis.policies.one\n\n"
TESTED = TEST + "test_deny if count(one.deny) == 0 with input as {}\n"
TYPO = CLEAN.replace("input.containers", "input.contaners")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("lint", *arguments), env={"COLUMNS": "120"})


def write(folder: Path, policy: str, test: str = TESTED) -> Path:
    (folder / "policy.rego").write_text(policy)
    if test:
        (folder / "policy_test.rego").write_text(test)
    return folder


def test_clean_policies(tmp_path: Path) -> None:
    result = run(str(write(tmp_path, CLEAN)), "--regal", "never", "--strict")
    assert (result.exit_code, result.stdout) == (0, "2 files: nothing to mend\n")


def test_an_error_is_shown_at_its_place(tmp_path: Path) -> None:
    result = run(str(write(tmp_path, TYPO)), "--regal", "never")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/policy.rego:9:49: error unknown-input"
    assert lines[2].index("contaners") == lines[3].index("^")
    assert lines[4] == "  mend: did you mean input.containers?"


def test_a_warning_fails_only_if_asked_to(tmp_path: Path) -> None:
    folder = str(write(tmp_path, CLEAN, test=""))
    assert "warning missing-tests" in run(folder, "--regal", "never").stdout
    assert run(folder, "--regal", "never").exit_code == 0
    assert run(folder, "--regal", "never", "--strict").exit_code == 1


def test_json(tmp_path: Path) -> None:
    report = json.loads(run(str(write(tmp_path, TYPO)), "--regal", "never", "-o", "json").stdout)
    assert report["kind"] == "LintReport"
    assert report["summary"] == {"files": 2, "policies": 1, "error": 1, "warning": 0}
    (found,) = report["findings"]
    assert (found["rule"], found["line"], found["column"]) == ("unknown-input", 9, 49)
    assert "contaners" in found["excerpt"]


def test_sarif(tmp_path: Path) -> None:
    log = json.loads(run(str(write(tmp_path, TYPO)), "--regal", "never", "-o", "sarif").stdout)
    (one,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in one["tool"]["driver"]["rules"]] == list(RULES)
    (result,) = one["results"]
    assert (result["ruleId"], result["level"]) == ("unknown-input", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 9, "startColumn": 49}
    assert place["artifactLocation"]["uri"].endswith("policy.rego")


@pytest.mark.parametrize(
    ("regal", "code", "words"),
    [
        ("required", 2, "regal is not on PATH"),
        ("/nowhere/regal", 2, "/nowhere/regal is no program"),
        ("", 0, "its findings are left out"),
    ],
)
def test_without_regal(
    regal: str, code: int, words: str, tmp_path: Path, opa_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PORTCULLIS_OPA__BINARY", str(opa_binary.resolve()))
    result = run(str(write(tmp_path, CLEAN)), *(("--regal", regal) if regal else ()))
    assert result.exit_code == code
    assert words in result.stderr


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_cannot_be_linted_is_exit_2(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run(str(tmp_path / name), "--regal", "never")
    assert result.exit_code == 2
    assert name in result.stderr


def test_excerpts_of_long_lines_are_cut_around_the_place() -> None:
    line = "x" * 300 + "HERE" + "y" * 300
    shown, caret = excerpt(f"\t{line}", 1, 302)
    assert len(shown) == EXCERPT_CHARS
    assert shown[len(caret) - 1 :].startswith("HERE")
    assert excerpt("one", 5, 1) == ("", "")
    assert excerpt("\t\tdeny", 1, 3) == ("deny", "^")
