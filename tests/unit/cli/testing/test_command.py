"""``portcullis test`` in one process: what it prints and how it ends."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from portcullis.cli.main import app

pytestmark = pytest.mark.opa

POLICY = """package portcullis.policies.named

import rego.v1

import data.portcullis.lib.text

deny contains sprintf("%s has no team", [text.quoted(input.workload.name)]) if not input.workload.labels.team

unused := 1 if {
	input.never
}
"""
TESTS = """package portcullis.policies.named_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.named

test_refused if count(named.deny) == 1 with input as object.union(fixtures.judged({}, {}), {"workload": {"name": "a"}})
"""
FAILING = '\ntest_wrong if {\n\tnamed.deny == set() with input as {"workload": {"name": "a"}}\n}\n'
FIXTURE = """apiVersion: portcullis.dev/v1
kind: PolicyFixture
name: a namespace is admitted
manifest: {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: payments}}}
policies: [named]
expect: {verdict: VERDICT}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["test", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = tmp_path / "named"
    policy.mkdir()
    (policy / "policy.rego").write_text(POLICY)
    (policy / "policy_test.rego").write_text(TESTS)
    return tmp_path


def test_all_green_is_0_and_one_line(folder: Path) -> None:
    (folder / "fixture.yaml").write_text(FIXTURE.replace("VERDICT", "admitted"))
    done = run(str(folder))
    assert (done.exit_code, done.stdout) == (0, "2 passed, 0 failed\n")


def test_failures_are_1_and_say_why(folder: Path) -> None:
    (folder / "named" / "policy_test.rego").write_text(TESTS + FAILING)
    (folder / "fixture.yaml").write_text(FIXTURE.replace("VERDICT", "refused"))
    done = run(str(folder))
    assert done.exit_code == 1
    for words in (
        "✗ test_wrong",
        "policy_test.rego:11",
        'named.deny == set() with input as {"workload": {"name": "a"}}',
        "- set()",
        '+ {"\\"a\\" has no team"}',
        "✗ a namespace is admitted",
        "fixture.yaml:1",
        "the verdict is admitted, not refused",
        "1 passed, 2 failed",
    ):
        assert words in done.stdout, done.stdout
    assert "\x1b" not in done.stdout


def test_run_chooses(folder: Path) -> None:
    (folder / "fixture.yaml").write_text(FIXTURE.replace("VERDICT", "refused"))
    assert run(str(folder), "--run", "test_refused").exit_code == 0
    assert run(str(folder), "--run", "a namespace").exit_code == 1
    done = run(str(folder), "--run", "nothing")
    assert done.exit_code == 2
    assert "no test matches --run" in done.stderr


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no test was found"),
        ({"a.rego": POLICY}, "no test was found"),
        ({"a_test.rego": "package a_test\n\ntest_a if x == 1\n"}, "a_test.rego:3:11: var x is unsafe"),
        ({"f.yaml": "kind: PolicyFixture\nname: [\n"}, "f.yaml:3"),
        ({"f.yaml": FIXTURE.replace("VERDICT", "refused").replace("expect", "expcet")}, "did you mean expect?"),
    ],
    ids=["nothing", "no test", "no Rego", "no YAML", "no fixture"],
)
def test_what_cannot_be_run_is_2(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = run(str(tmp_path))
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none",), "there is no such folder"),
        ((".", "--run", "("), "no regular expression"),
        ((".", "--threshold", "101"), "from 0 to 100"),
        ((".", "--threshold", "nan"), "from 0 to 100"),
        ((".", "--watch", "-o", "json"), "--watch goes with -o table only"),
    ],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr


def test_without_the_library_nothing_of_it_is_there(folder: Path) -> None:
    done = run(str(folder), "--no-builtin")
    assert done.exit_code == 2
    assert re.search(r"policy\.rego:7:\d+: undefined function data\.portcullis\.lib\.text\.quoted", done.stderr)


@pytest.mark.parametrize(("threshold", "code"), [("33.33", 0), ("33.34", 1)])
def test_coverage(folder: Path, threshold: str, code: int) -> None:
    done = run(str(folder), "--threshold", threshold)
    assert done.exit_code == code
    assert "coverage 33.33 % (1 of 3 lines)" in done.stdout, done.stdout
    assert "policy.rego:9-10" in done.stdout
    assert "    input.never" in done.stdout


def test_json_has_every_key(folder: Path) -> None:
    (folder / "named" / "policy_test.rego").write_text(TESTS + FAILING)
    (folder / "fixture.yaml").write_text(FIXTURE.replace("VERDICT", "admitted"))
    done = run(str(folder), "-o", "json", "--coverage")
    tree = json.loads(done.stdout)
    assert (tree["apiVersion"], tree["kind"]) == ("portcullis.dev/v1", "TestResults")
    assert tree["summary"] == {"passed": 2, "failed": 1, "broken": 0, "skipped": 0}
    assert [one["kind"] for one in tree["tests"]] == ["rego", "rego", "fixture"]
    assert len({frozenset(one) for one in tree["tests"]}) == 1
    failed = tree["tests"][1]
    assert failed["steps"][0]["row"] == 11
    assert failed["diff"] == ["- set()", '+ {"\\"a\\" has no team"}']
    assert tree["coverage"]["uncovered"][0]["first"] == 9


def test_junit_is_xml(folder: Path) -> None:
    (folder / "named" / "policy_test.rego").write_text(TESTS + FAILING)
    (folder / "fixture.yaml").write_text(FIXTURE.replace("VERDICT", "admitted").replace("named]", "other]"))
    done = run(str(folder), "-o", "junit")
    assert done.exit_code == 2
    root = ET.fromstring(done.stdout.partition("?>")[2])
    assert {key: root.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.text is not None
    assert "named.deny == set()" in failure.text


def test_what_does_not_compile_is_in_json_and_junit(tmp_path: Path) -> None:
    (tmp_path / "a_test.rego").write_text("package a_test\n\ntest_a if x == 1\n")
    tree = json.loads(run(str(tmp_path), "-o", "json").stdout)
    assert [(one["row"], one["column"]) for one in tree["problems"]] == [(3, 11)]
    root = ET.fromstring(run(str(tmp_path), "-o", "junit").stdout.partition("?>")[2])
    assert root.get("errors") == "1"


def test_a_hundred_thousand_failures_do_not_flood(tmp_path: Path) -> None:
    from portcullis.cli.testing.view import show_results
    from portcullis.policy.testing import results

    console_lines: list[str] = []

    class Lines:
        def print(self, text: object = "", **_: object) -> None:
            console_lines.append(str(text))

    one = results.Result(results.Kind.REGO, "a_test", "test_a", "a_test.rego", 1, results.Outcome.FAILED)
    show_results(Lines(), [one] * 100_000)  # type: ignore[arg-type]
    assert len(console_lines) < 100
    assert "… and 99,938 tests more; -o json lists them all" in console_lines
    assert console_lines[-1] == "0 passed, 100,000 failed"


SUITES = Path(__file__).parents[2] / "policy" / "gatekeeper" / "suites"


def test_suites_of_gatekeeper_run_among_the_others(tmp_path: Path) -> None:
    shutil.copytree(SUITES, tmp_path / "suites")
    folder = tmp_path / "suites" / "open"
    done = run(str(folder))
    assert done.exit_code == 0, done.output
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("violations: yes", "violations: 7", 1))
    done = run(str(folder), "-o", "json")
    assert done.exit_code == 1
    failed = [one for one in json.loads(done.stdout)["tests"] if one["outcome"] == "failed"]
    assert failed
    assert {one["kind"] for one in failed} == {"suite"}
    assert failed[0]["diff"][0].startswith("- exactly 7 violations")
