"""Rego tests through the real OPA: what they came to, and why they failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from portcullis.errors import EngineMalformed, EngineUnavailable, PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.policy.testing.results import Outcome, Result
from portcullis.policy.testing.running import Runner
from portcullis.policy.testing.sources import Sources, load_sources, rego_file

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

POLICY = """package portcullis.policies.root

import rego.v1

deny contains {"msg": "runs as root", "container": container.name} if {
	some container in input.containers
	container.user.root != false
}

double(x) := 2 * x
"""

TESTS = """package portcullis.policies.root_test

import rego.v1

import data.portcullis.policies.root

document(flag) := {"containers": [{"name": "web", "user": {"root": flag}}]}

test_passes if count(root.deny) == 1 with input as document(true)

test_set if {
	got := root.deny with input as document(true)
	got == {{"msg": "runs as root", "container": "app"}}
}

test_number if {
	root.double(4) == 9
}

test_nothing_found if {
	count(root.deny) == 1 with input as document(false)
}

test_undefined if {
	some violation in root.deny with input as document(false)
	violation.msg == "never"
}

test_every if {
	every number in [1, 2, 3] {
		number < 3
	}
}

test_every_of_none if not positive([])

positive(numbers) if {
	every number in numbers {
		number > 0
	}
}

test_negated if not root.double(1)

test_cases[name] if {
	some name, example in {"one": {"in": 1, "out": 2}, "two": {"in": 2, "out": 5}}
	root.double(example["in"]) == example.out
}

test_printed if {
	print("saw", 3)
	1 == 2
}

test_conflict if broken == 1

broken := 1

broken := 2 if root.double(1) == 2

todo_test_later if false

test_false := false
"""

ENDLESS = """package endless_test

test_endless if {
	all := numbers.range(1, 3000)
	some a in all
	some b in all
	some c in all
	a + b + c == 100000
}

test_short if true
"""


def sources(texts: Mapping[str, str]) -> Sources:
    return Sources(tuple(rego_file(path, text, own=True) for path, text in texts.items()))


@pytest.fixture(scope="module")
def runner(opa_binary: Path) -> Runner:
    return Runner(binary=opa_binary, limits=DEFAULT_LIMITS)


@pytest.fixture(scope="module")
async def results(runner: Runner) -> Mapping[str, Result]:
    found = sources({"p/policy.rego": POLICY, "p/policy_test.rego": TESTS})
    run = await runner.run(found, found.test_packages)
    return {result.name: result for result in await runner.explain(found, run)}


def outcomes(results: Sequence[Result]) -> dict[str, str]:
    return {result.name: str(result.outcome) for result in results}


async def test_outcomes(results: Mapping[str, Result]) -> None:
    found = outcomes(list(results.values()))
    assert {name for name, outcome in found.items() if outcome == "passed"} == {"test_passes"}
    assert {name for name, outcome in found.items() if outcome == "skipped"} == {"todo_test_later"}
    assert len(found) == 13
    assert results["test_passes"].row == 9
    assert results["test_passes"].file == "p/policy_test.rego"


async def test_a_failed_equation_shows_both_sides(results: Mapping[str, Result]) -> None:
    found = results["test_set"]
    assert found.steps[0].row == 13
    assert found.steps[0].expression == 'got == {{"msg": "runs as root", "container": "app"}}'
    assert dict(found.steps[0].values)["got"] == '{{"container": "web", "msg": "runs as root"}}'
    assert found.diff == (
        '- {{"container": "app", "msg": "runs as root"}}',
        '+ {{"container": "web", "msg": "runs as root"}}',
    )
    assert results["test_number"].diff == ("- 9", "+ 8")


async def test_the_rule_and_the_input_that_it_read_are_named(results: Mapping[str, Result]) -> None:
    own, inner, *_ = results["test_nothing_found"].steps
    assert own.expression == "count(root.deny) == 1 with input as document(false)"
    assert dict(own.values)["count(root.deny)"] == "0"
    assert (inner.file, inner.row, inner.rule) == ("p/policy.rego", 7, "deny")
    assert inner.expression == "container.user.root != false"
    assert inner.reads == (("input.containers[0].user.root", "false"),)


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("test_undefined", "some violation in root.deny with input as document(false)"),
        ("test_every", "every number in [1, 2, 3] { … }"),
        ("test_negated", "not root.double(1)"),
        ("test_cases", 'root.double(example["in"]) == example.out'),
        ("test_printed", "1 == 2"),
    ],
)
async def test_expressions_stand_as_they_are_written(results: Mapping[str, Result], name: str, expression: str) -> None:
    assert results[name].steps[0].expression == expression


async def test_the_end_of_the_elements_is_no_failure(results: Mapping[str, Result]) -> None:
    assert [step.expression for step in results["test_every_of_none"].steps] == ["not positive([])"]


async def test_every_shows_the_element(results: Mapping[str, Result]) -> None:
    assert ("number", "3") in results["test_every"].steps[1].values


async def test_cases_and_prints(results: Mapping[str, Result]) -> None:
    assert results["test_cases"].cases == ("two",)
    assert results["test_cases"].diff == ("- 5", "+ 4")
    assert results["test_printed"].printed == "saw 3\n"


async def test_errors_of_the_evaluation_say_where(results: Mapping[str, Result]) -> None:
    message = results["test_conflict"].message
    assert "multiple outputs" in message
    assert "p/policy_test.rego:" in message


async def test_a_test_that_does_not_end_is_named(opa_binary: Path) -> None:
    runner = Runner(binary=opa_binary, limits=replace(DEFAULT_LIMITS, test_seconds=0.5))
    found = sources({"endless_test.rego": ENDLESS})
    endless, short = await runner.run(found, found.test_packages)
    assert (endless.name, endless.outcome) == ("test_endless", Outcome.FAILED)
    assert endless.message == "did not end within 0.5 s (limits.testSeconds)"
    assert short.outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (replace(DEFAULT_LIMITS, test_run_seconds=0.5), EngineUnavailable),
        (replace(DEFAULT_LIMITS, test_output_bytes=100, test_seconds=0.1), EngineMalformed),
    ],
    ids=["test_run_seconds", "test_output_bytes"],
)
async def test_a_run_is_bounded(opa_binary: Path, limits: Limits, error: type[Exception]) -> None:
    found = sources({"endless_test.rego": ENDLESS})
    with pytest.raises(error):
        await Runner(binary=opa_binary, limits=limits).run(found, found.test_packages)


async def test_without_room_for_traces_results_stay(opa_binary: Path) -> None:
    text = "package a_test\n\ntest_a if {\n\tx := numbers.range(1, 5000)\n\tx == []\n}\n"
    found = sources({"a_test.rego": text})
    runner = Runner(binary=opa_binary, limits=replace(DEFAULT_LIMITS, test_output_bytes=150_000))
    results = await runner.run(found, found.test_packages)
    (result,) = await runner.explain(found, results)
    assert (result.outcome, result.steps) == (Outcome.FAILED, ())


async def test_a_thousand_failures_are_told_and_some_explained(runner: Runner) -> None:
    rules = "".join(f"\ntest_{at} if 1 == 2\n" for at in range(1000))
    found = sources({"a_test.rego": f"package a_test\n{rules}"})
    results = await runner.explain(found, await runner.run(found, found.test_packages))
    assert len(results) == 1000
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert sum(1 for result in results if result.steps) <= 20


@pytest.mark.parametrize(
    ("text", "row", "column", "says"),
    [
        ("package a_test\n\ntest_a if {\n\tx == 1\n}\n", 4, 2, "unsafe"),
        ("package a_test\n\ntest_a if {\n", 4, 0, "unexpected"),
        ('package a_test\n\ntest_a if http.send({"url": "http://a"})\n', 3, 11, "undefined function http.send"),
        ("package a_test\n\ntest_a if\n\tdata.b.f(1)\n", 4, 2, "undefined function"),
    ],
)
async def test_what_does_not_compile_has_its_place(runner: Runner, text: str, row: int, column: int, says: str) -> None:
    found = sources({"p/a_test.rego": text})
    with pytest.raises(PolicyCompileError) as raised:
        await runner.run(found, [("a_test",)])
    problem = raised.value.problems[0]
    assert (problem.file, problem.row) == ("p/a_test.rego", row)
    assert problem.column == column
    assert says in problem.message


OLD = 'package k8sold\n\nviolation[{"msg": msg}] {\n\tmsg := input.review.name\n}\n'
OLD_TESTS = 'package k8sold\n\ntest_old {\n\tcount(violation) == 1 with input as {"review": {"name": "a"}}\n}\n'


async def test_rego_of_before_opa_1_0_is_taken_of_foreign_policies(runner: Runner) -> None:
    found = sources({"k/src.rego": OLD, "k/src_test.rego": OLD_TESTS, "new_test.rego": "package n\n\ntest_n if true\n"})
    results = await runner.run(found, found.test_packages)
    assert outcomes(results) == {"test_old": "passed", "test_n": "passed"}
    native = sources({"k_test.rego": OLD_TESTS.replace("k8sold", "portcullis.policies.k")})
    with pytest.raises(PolicyCompileError, match=r"k_test\.rego:3:1: `if` keyword is required"):
        await runner.run(native, native.test_packages)


async def test_pattern_and_packages_choose(runner: Runner) -> None:
    texts = {f"{name}_test.rego": f"package {name}_test\n\ntest_x if true\n\ntest_y if true\n" for name in "ab"}
    found = sources(texts)
    chosen = await runner.run(found, [("a_test",)])
    assert [result.full_name for result in chosen] == ["a_test.test_x", "a_test.test_y"]
    chosen = await runner.run(found, found.test_packages, pattern="test_y$")
    assert [result.full_name for result in chosen] == ["a_test.test_y", "b_test.test_y"]
    assert await runner.run(found, []) == ()


async def test_coverage_names_the_lines_that_nothing_reaches(runner: Runner) -> None:
    policy = POLICY + '\nother := "x" if {\n\tinput.never\n\tinput.ever\n}\n'
    tests = "package portcullis.policies.root_test\n\nimport data.portcullis.policies.root\n\n"
    tests += 'test_a if root.deny with input as {"containers": [{"name": "w", "user": {"root": true}}]}\n'
    tests += "\ntest_failing if root.double(1) == 3\n"
    found = sources({"p/policy.rego": policy, "p/policy_test.rego": tests})
    coverage = await runner.cover(found, await runner.run(found, found.test_packages))
    assert [file.file for file in coverage.files] == ["p/policy.rego"]
    text = "\n".join(line for gap in coverage.gaps for line in gap.text)
    assert "input.never" in text
    assert "double" in text  # a test that fails covers nothing
    assert 0 < coverage.covered < coverage.lines


def test_sources_of_the_library_lie_beside_without_their_tests(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    (beside / "lib").mkdir(parents=True)
    for name, package in (("a", "portcullis.lib.a"), ("a_test", "portcullis.lib.a_test"), ("x_fixtures_test", "f")):
        (beside / "lib" / f"{name}.rego").write_text(f"package {package}\n")
    (beside / "mine.rego").write_text("package mine\n")
    own = tmp_path / "own"
    own.mkdir()
    (own / "m.rego").write_text("package mine\n\nx := data.portcullis.lib.a.y\n")
    (own / "m_test.rego").write_text("package mine_test\n\nimport data.mine\n")
    (own / ".hidden.rego").write_text("no rego")
    found = load_sources([own], beside, DEFAULT_LIMITS)
    assert {Path(file.path).name for file in found.files} == {"m.rego", "m_test.rego", "a.rego", "x_fixtures_test.rego"}
    assert {file.path for file in found.files if not file.own} == {
        "builtin/lib/a.rego",
        "builtin/lib/x_fixtures_test.rego",
    }
    assert found.test_packages == (("mine_test",),)
    assert {Path(file.path).name for file in found.needed().files} == {"m.rego", "m_test.rego", "a.rego"}


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (replace(DEFAULT_LIMITS, policy_files=1), "policyFiles"),
        (replace(DEFAULT_LIMITS, policy_bytes=5), "policyBytes"),
        (replace(DEFAULT_LIMITS, policy_set_bytes=15), "policySetBytes"),
    ],
)
def test_sources_are_bounded(tmp_path: Path, limits: Limits, says: str) -> None:
    for name in "ab":
        (tmp_path / f"{name}.rego").write_text(f"package {name}\n")
    with pytest.raises(PolicyCompileError, match=says):
        load_sources([tmp_path], None, limits)


def test_sources_that_are_no_text_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_bytes(b"package a\n\xff")
    with pytest.raises(PolicyCompileError, match=r"a\.rego:2: not UTF-8"):
        load_sources([tmp_path], None, DEFAULT_LIMITS)


def test_trace_of_another_opa_is_no_fault() -> None:
    from portcullis.policy.testing.tracing import Why, explain

    for trace in ([{}], [{"Op": "Fail"}], [json.loads('{"Op": "Enter", "QueryID": 1, "ParentID": 0, "Node": null}')]):
        assert explain(trace, "test_a", lambda _: "") == Why()
