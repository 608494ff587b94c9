"""Decisions as JUnit XML, for CI systems that show tests: a suite per file, a case per object."""

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from portcullis.cli.decisions import MESSAGE_CHARS, Judged, why_text
from portcullis.model.decision import Verdict
from portcullis.text import clean


def junit(judged: Sequence[Judged]) -> str:
    """The XML text. A refused object is a failure, an undecided one an error."""
    suites = ET.Element("testsuites", {"name": "portcullis check", **_counts(judged)})
    for file, group in groupby(judged, key=lambda one: one.file):
        cases = list(group)
        suite = ET.SubElement(suites, "testsuite", {"name": _xml(file), **_counts(cases)})
        for one in cases:
            _case(suite, one)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=False)


def _case(suite: ET.Element, one: Judged) -> None:
    elapsed = one.decision.elapsed_ms / 1000 if one.decision is not None else 0.0
    name = one.title or one.source
    case = ET.SubElement(suite, "testcase", name=_xml(name), classname=_xml(one.source), time=f"{elapsed:.3f}")
    if one.verdict is Verdict.REFUSED and one.decision is not None:
        denied = (violation.policy for violation in one.decision.violations if violation.refuses)
        refused = list(dict.fromkeys(denied))
        reasons = refused or list(dict.fromkeys(problem.reason for problem in one.decision.problems))
        outcome = ET.SubElement(case, "failure", type="refused", message=_xml(", ".join(reasons)))
        outcome.text = _lines(one)
    elif one.verdict is Verdict.UNDECIDED:
        problems = one.problems if one.decision is None else one.decision.problems
        reasons = list(dict.fromkeys(problem.reason for problem in problems))
        outcome = ET.SubElement(case, "error", type="undecided", message=_xml(", ".join(reasons)))
        outcome.text = _lines(one)
    elif one.decision is not None and (one.decision.violations or one.decision.problems):
        ET.SubElement(case, "system-out").text = _lines(one)


def _lines(one: Judged) -> str:
    if one.decision is None:
        return "\n".join(_xml(problem.msg) for problem in one.problems)
    return "\n".join(_xml(line) for line in why_text(one.decision).plain.splitlines())


def _counts(judged: Sequence[Judged]) -> dict[str, str]:
    verdicts = [one.verdict for one in judged]
    return {
        "tests": str(len(judged)),
        "failures": str(verdicts.count(Verdict.REFUSED)),
        "errors": str(verdicts.count(Verdict.UNDECIDED)),
    }


def _xml(text: str) -> str:
    """Without what XML 1.0 cannot carry (control characters, noncharacters)."""
    return clean(text, MESSAGE_CHARS)
