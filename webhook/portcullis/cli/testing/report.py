"""Test results for programs: JSON, and JUnit XML."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from rich.text import Text

from portcullis.cli.output import API_VERSION
from portcullis.cli.testing.view import account
from portcullis.errors import CompileProblem
from portcullis.policy.testing.coverage import Coverage
from portcullis.policy.testing.results import Outcome, Result, counts
from portcullis.text import clean

CHARS = 4000


def results_json(
    results: Sequence[Result], coverage: Coverage | None, problems: Sequence[CompileProblem]
) -> dict[str, Any]:
    """Every key is always there but those of what was not asked for."""
    tree: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "TestResults",
        "summary": counts(results),
        "problems": [{"file": one.file, "row": one.row, "column": one.column, "msg": one.message} for one in problems],
        "tests": [_result(result) for result in results],
    }
    if coverage is not None:
        tree["coverage"] = {
            "percent": float(coverage.percent),
            "covered": coverage.covered,
            "lines": coverage.lines,
            "files": [{"file": one.file, "covered": one.covered, "lines": one.lines} for one in coverage.files],
            "uncovered": [
                {"file": gap.file, "first": gap.first, "last": gap.last, "text": list(gap.text)}
                for gap in coverage.gaps
            ],
        }
    return tree


def _result(result: Result) -> dict[str, Any]:
    return {
        "kind": str(result.kind),
        "group": result.group,
        "name": result.name,
        "file": result.file,
        "row": result.row,
        "outcome": str(result.outcome),
        "seconds": round(result.seconds, 6),
        "cases": list(result.cases),
        "msg": result.message,
        "steps": [
            {
                "file": step.file,
                "row": step.row,
                "rule": step.rule,
                "expression": step.expression,
                "values": dict(step.values),
                "reads": dict(step.reads),
            }
            for step in result.steps
        ],
        "diff": list(result.diff),
        "printed": result.printed,
    }


def results_junit(results: Sequence[Result], problems: Sequence[CompileProblem]) -> str:
    """A suite per file, a case per test. What could not be run, or does not compile, is an error and no failure."""
    suites = ET.Element("testsuites", {"name": "portcullis test", **_counts(results, len(problems))})
    for problem in problems:
        counted = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
        suite = ET.SubElement(suites, "testsuite", {"name": clean(problem.file, CHARS), **counted})
        case = ET.SubElement(suite, "testcase", name="compiles", classname=clean(problem.file, CHARS), time="0")
        ET.SubElement(case, "error", type="compile", message=clean(str(problem), CHARS))
    for file, group in groupby(results, key=lambda one: one.file):
        cases = list(group)
        suite = ET.SubElement(suites, "testsuite", {"name": clean(file, CHARS), **_counts(cases)})
        for one in cases:
            _case(suite, one)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=False)


def _case(suite: ET.Element, one: Result) -> None:
    named = {"name": clean(one.name, CHARS), "classname": clean(one.group, CHARS), "time": f"{one.seconds:.3f}"}
    case = ET.SubElement(suite, "testcase", {**named, "file": clean(one.file, CHARS), "line": str(one.row)})
    if one.outcome is Outcome.SKIPPED:
        ET.SubElement(case, "skipped")
    elif one.outcome is not Outcome.PASSED:
        kind = "failure" if one.outcome is Outcome.FAILED else "error"
        said = one.message.partition("\n")[0] or (one.steps[0].expression if one.steps else "")
        found = ET.SubElement(case, kind, type=str(one.outcome), message=clean(said, CHARS))
        found.text = "\n".join(_xml(line) for line in account(one))


def _xml(line: Text) -> str:
    """With its indentation, without what XML 1.0 cannot carry."""
    text = line.plain
    return " " * (len(text) - len(text.lstrip(" "))) + clean(text, CHARS)


def _counts(results: Sequence[Result], problems: int = 0) -> dict[str, str]:
    found = counts(results)
    return {
        "tests": str(len(results) + problems),
        "failures": str(found[Outcome.FAILED]),
        "errors": str(found[Outcome.BROKEN] + problems),
        "skipped": str(found[Outcome.SKIPPED]),
    }
