"""Gatekeeper's semantics, proven by suites of our own that are run against the real OPA."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes import opa
from portcullis.errors import PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.gatekeeper.suite import CaseResult, Outcome, read_suites, run_suite
from portcullis.policy.opa import OpaEngine

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

SUITES = Path(__file__).parent / "suites"

Select = Callable[[str, str], bool]


@contextlib.asynccontextmanager
async def no_engine() -> AsyncIterator[OpaEngine]:
    pytest.fail("an engine is made")
    yield


async def run(binary: Path, folder: Path, selected: Select | None = None) -> list[CaseResult]:
    results: list[CaseResult] = []
    for suite in read_suites(folder, DEFAULT_LIMITS):
        results += await run_suite(suite, lambda: opa.running(binary), DEFAULT_LIMITS, selected=selected)
    return results


def outcomes(results: Sequence[CaseResult]) -> dict[str, Outcome]:
    return {f"{result.test}/{result.case}": result.outcome for result in results}


@pytest.mark.parametrize("name", sorted(path.name for path in SUITES.iterdir()))
async def test_our_suites_pass(opa_binary: Path, name: str) -> None:
    results = await run(opa_binary, SUITES / name)
    assert [result for result in results if result.outcome is not Outcome.PASSED] == []
    assert len(results) > 2


async def test_each_construct_of_the_match_block_is_what_makes_its_suite_pass(opa_binary: Path, tmp_path: Path) -> None:
    """Without the match block, which a gate that ignored it would do, a case of every test fails."""
    shutil.copytree(SUITES / "match", tmp_path / "match")
    for path in (tmp_path / "match" / "samples").glob("constraint-*.yaml"):
        constraint = yaml.safe_load(path.read_text())
        del constraint["spec"]["match"]
        path.write_text(yaml.safe_dump(constraint))
    results = await run(opa_binary, tmp_path)
    tests = {result.test for result in results}
    assert {result.test for result in results if result.outcome is Outcome.FAILED} == tests
    assert len(tests) > 20


TEMPLATE: dict[str, Any] = yaml.safe_load((SUITES / "match" / "template.yaml").read_text())
CONSTRAINT = {
    "apiVersion": "constraints.gatekeeper.sh/v1beta1",
    "kind": "Everything",
    "metadata": {"name": "all"},
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}}


def written(folder: Path, cases: Any, **files: Any) -> Path:
    """A suite of one test in the folder, with its files."""
    test = {"name": "test", "template": "template.yaml", "constraint": "constraint.yaml", "cases": cases}
    suite = {"apiVersion": "test.gatekeeper.sh/v1alpha1", "kind": "Suite", "tests": [test]}
    made = {"suite": suite, "template": TEMPLATE, "constraint": CONSTRAINT, "pod": POD, **files}
    for name, content in made.items():
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (folder / f"{name}.yaml").write_text(text)
    return folder


def case(violations: Any = "yes", **more: Any) -> dict[str, Any]:
    assertion = {key: more.pop(key) for key in ("message",) if key in more}
    return {"name": "case", "object": "pod.yaml", "assertions": [{"violations": violations, **assertion}], **more}


ASSERTED: dict[str, tuple[dict[str, Any], Outcome, str]] = {
    "yes": (case("yes"), Outcome.PASSED, "at least one violation"),
    "true": (case(True), Outcome.PASSED, "at least one violation"),
    "no": (case("no"), Outcome.FAILED, "no violation"),
    "false": (case(False), Outcome.FAILED, "no violation"),
    "one": (case(1), Outcome.PASSED, "exactly 1 violations"),
    "two": (case(2), Outcome.FAILED, "exactly 2 violations"),
    "none-said": ({**case(), "assertions": [{}]}, Outcome.PASSED, "at least one violation"),
    "message": (case(message="is m.tched$"), Outcome.PASSED, "with a message like 'is m.tched$'"),
    "another-message": (case(message="^is"), Outcome.FAILED, "with a message like '^is'"),
    "no-such-message": (case("no", message="^is"), Outcome.PASSED, "no violation"),
    "skipped": (case("no", skip=True), Outcome.SKIPPED, "no violation"),
}


async def test_assertions(opa_binary: Path, tmp_path: Path) -> None:
    cases = [{**made, "name": name} for name, (made, _, _) in ASSERTED.items()]
    results = await run(opa_binary, written(tmp_path, cases))
    assert outcomes(results) == {f"test/{name}": outcome for name, (_, outcome, _) in ASSERTED.items()}
    for result in results:
        assert ASSERTED[result.case][2] in result.expected
        assert (result.file, result.object) == (str(tmp_path / "suite.yaml"), "pod.yaml")
        if result.outcome is not Outcome.SKIPPED:
            assert result.messages == ("Pod is matched",)
            assert result.found == "1 violations: Pod is matched"
    lines = [result.line for result in results]
    assert lines == sorted(set(lines))


REVIEW: dict[str, Any] = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no-assertions": ({**case(), "assertions": []}, {}, "no assertions"),
    "no-object": (case(object=""), {}, "no object"),
    "missing-file": (case(object="nowhere.yaml"), {}, "cannot be read"),
    "absolute": (case(object="/etc/hostname"), {}, "must be relative"),
    "two-objects": (case(), {"pod": "kind: Pod\napiVersion: v1\n---\nkind: Pod\napiVersion: v1\n"}, "2 objects"),
    "no-objects": (case(), {"pod": "---\n"}, "no objects"),
    "not-yaml": (case(), {"pod": "a: {"}, "line 2"),
    "no-kind": (case(), {"pod": {"apiVersion": "v1"}}, "no apiVersion and kind"),
    "missing-inventory": (case(inventory=["nowhere.yaml"]), {}, "cannot be read"),
    "review-without-request": (case(), {"pod": REVIEW}, "no request"),
    "review-without-object": (case(), {"pod": {**REVIEW, "request": {}}}, "neither object nor oldObject"),
    "delete": (case(), {"pod": {**REVIEW, "request": {"operation": "DELETE", "object": POD}}}, "no oldObject"),
    "object-is-text": (case(), {"pod": {**REVIEW, "request": {"object": "x"}}}, "is no object"),
    "no-template": (case(), {"template": "a: b"}, "holds 0 objects of templates.gatekeeper.sh"),
    "other-kind": (case(), {"constraint": {**CONSTRAINT, "kind": "Nothing"}}, "must be Everything"),
    "not-supported": (
        case(),
        {"template": (SUITES / "match" / "template.yaml").read_text().replace("sprintf(", "external_data(")},
        "calls external_data, which is not supported",
    ),
    "unknown-builtin": (
        case(),
        {"template": (SUITES / "match" / "template.yaml").read_text().replace("sprintf(", "http.send(")},
        "http.send",
    ),
    "rego-that-fails": (
        case(),
        {"template": (SUITES / "match" / "template.yaml").read_text().replace("sprintf(", "to_number(")},
        "to_number",
    ),
}


async def test_what_cannot_be_run_is_an_error_and_leaves_the_others(opa_binary: Path, tmp_path: Path) -> None:
    folder = written(tmp_path, [case()])
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    good = suite["tests"][0]
    for name, (made, files, _) in WRONG.items():
        test = {**good, "name": name, "cases": [made]}
        for what, content in files.items():
            (folder / f"{name}-{what}.yaml").write_text(
                content if isinstance(content, str) else yaml.safe_dump(content)
            )
            (made if what == "pod" else test)["object" if what == "pod" else what] = f"{name}-{what}.yaml"
        suite["tests"].append(test)
    suite["tests"].append({**good, "name": "skipped", "skip": True})
    suite["tests"].append({**good, "name": "no-cases", "cases": []})
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    results = {result.test: result for result in await run(opa_binary, folder)}
    assert results.pop("test").outcome is Outcome.PASSED
    assert results.pop("skipped").outcome is Outcome.SKIPPED
    assert results.pop("no-cases").outcome is Outcome.ERROR
    assert {name: result.outcome for name, result in results.items()} == dict.fromkeys(WRONG, Outcome.ERROR)
    assert {name: result.found for name, result in results.items() if WRONG[name][2] not in result.found} == {}


MISSHAPEN = {
    "negative": (case(-1), "must be yes, no"),
    "word": (case("maybe"), "must be yes, no"),
    "no-pattern": (case(message="("), "no regular expression"),
    "assertions-are-none": ({"name": "case", "assertions": 7}, "must be a list"),
    "assertion-is-text": ({"name": "case", "assertions": ["x"]}, "must be an object with violations"),
    "name-is-number": ({**case(), "name": 7}, "must be text"),
    "skip-is-text": (case(skip="x"), "must be true or false"),
    "inventory-of-numbers": (case(inventory=[1]), "must be a list of paths"),
}


@pytest.mark.parametrize("name", MISSHAPEN)
async def test_a_suite_of_a_wrong_shape(tmp_path: Path, name: str) -> None:
    made, words = MISSHAPEN[name]
    (suite,) = read_suites(written(tmp_path, [made]), DEFAULT_LIMITS)
    assert words in suite.problem
    assert suite.line > 2
    (result,) = await run_suite(suite, no_engine, DEFAULT_LIMITS)
    assert (result.outcome, result.found) == (Outcome.ERROR, suite.problem)


async def test_a_valid_constraint_where_an_invalid_one_is_expected(opa_binary: Path, tmp_path: Path) -> None:
    folder = written(tmp_path, [])
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    suite["tests"][0]["invalid"] = True
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    (result,) = await run(opa_binary, folder)
    assert (result.outcome, result.found) == (Outcome.FAILED, "it fits")


async def test_only_what_is_selected_is_run(opa_binary: Path) -> None:
    results = await run(opa_binary, SUITES / "review", lambda test, case: case == "delete")
    assert outcomes(results) == {
        "review/object": Outcome.SKIPPED,
        "review/create": Outcome.SKIPPED,
        "review/delete": Outcome.PASSED,
        "review/namespace": Outcome.SKIPPED,
    }


async def test_without_anything_to_run_no_engine_is_made() -> None:
    for suite in read_suites(SUITES / "review", DEFAULT_LIMITS):
        results = await run_suite(suite, no_engine, DEFAULT_LIMITS, selected=lambda _test, _case: False)
        assert {result.outcome for result in results} == {Outcome.SKIPPED}


def test_reading_suites(tmp_path: Path) -> None:
    folder = written(tmp_path, [case()])
    (folder / "another.yaml").write_text("{{ not yaml }}")
    (folder / "broken.yaml").write_text("apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\nkind: Suite\n")
    (folder / "expansion.yaml").write_text(
        "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests:\n- name: a\n  expansion: b.yaml\n"
    )
    broken, expansion, good = read_suites(folder, DEFAULT_LIMITS)
    assert "'kind' is there twice" in broken.problem
    assert (expansion.line, "nothing is expanded" in expansion.problem) == (5, True)
    assert (good.problem, good.tests[0].cases[0].object) == ("", "pod.yaml")
    assert read_suites(folder / "suite.yaml", DEFAULT_LIMITS) == (good,)
    with pytest.raises(PolicyCompileError, match="cannot be read"):
        read_suites(folder / "nowhere", DEFAULT_LIMITS)
