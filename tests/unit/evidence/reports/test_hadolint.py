"""Hadolint's JSON, and the predicate around a linter's report."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.hadolint import read_hadolint
from portcullis.evidence.reports.lint import read_lint
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import LintFinding, LintReport
from vectors.documents import encoded, result, run, sarif

ROW = {"code": "DL3008", "column": 1, "file": "Dockerfile", "level": "warning", "line": 3, "message": "Pin versions"}
FOUND = LintFinding("DL3008", "warning", "Dockerfile", 3, "Pin versions")
SHA256 = "ab" * 32


def row(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ROW, **fields}.items() if value is not None}


def read(*rows: dict[str, Any]) -> LintReport:
    return read_hadolint(encoded(list(rows)), DEFAULT_LIMITS)


def wrapper(report: object, **fields: Any) -> bytes:
    usual = {
        "tool": {"name": "hadolint", "version": "2.12.0"},
        "lintedOn": "2026-11-20T10:00:00Z",
        "dockerfile": {"sha256": SHA256},
    }
    return encoded({key: value for key, value in {**usual, **fields, "report": report}.items() if value is not None})


def refusal(predicate: bytes) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        read_lint(predicate, DEFAULT_LIMITS)
    return caught.value.reason, caught.value.message


def test_a_report() -> None:
    assert read(row()) == LintReport("hadolint", "", None, (FOUND,))


def test_a_clean_report() -> None:
    assert read() == LintReport("hadolint", "", None, ())


@pytest.mark.parametrize(
    ("level", "levels", "suppressed"),
    [
        ("error", ["error"], 0),
        ("warning", ["warning"], 0),
        ("info", ["info"], 0),
        ("style", ["style"], 0),
        ("ignore", [], 1),
        ("grave", ["error"], 0),
        (None, ["error"], 0),
    ],
)
def test_levels(level: str | None, levels: list[str], suppressed: int) -> None:
    report = read(row(level=level))
    assert ([one.level for one in report.findings], report.suppressed) == (levels, suppressed)


@pytest.mark.parametrize(("line", "shown"), [(1, 1), (0, 0), (-1, 0), (None, 0), (10**30, 0)])
def test_lines(line: int | None, shown: int) -> None:
    assert read(row(line=line)).findings[0].line == shown


def test_a_file_that_could_not_be_parsed_is_incomplete() -> None:
    report = read(row(code="DL1000", level="error"))
    assert (report.complete, len(report.findings)) == (False, 1)
    assert report.incomplete_because == "Hadolint could not parse the Dockerfile (line 3) and looked no further"


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        ([{"check_name": "DL3008", "severity": "major"}], "attestation-unsupported", "GitLab's code quality"),
        ([row(code=None)], "attestation-invalid", "has no code"),
        ([7], "attestation-invalid", "another shape"),
        ({"code": "DL3008"}, "attestation-invalid", "another shape"),
    ],
)
def test_refused_reports(document: object, reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_hadolint(encoded(document), DEFAULT_LIMITS)
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_more_findings_than_the_limit() -> None:
    content = encoded([row(), row()])
    assert len(read_hadolint(content, replace(DEFAULT_LIMITS, lint_findings=2)).findings) == 2
    with pytest.raises(EvidenceError, match="the limit lintFindings is 1") as caught:
        read_hadolint(content, replace(DEFAULT_LIMITS, lint_findings=1))
    assert caught.value.reason == "too-large"


# -- the predicate -------------------------------------------------------------------------------------------


def test_the_wrapper_says_version_time_and_dockerfile() -> None:
    linted_at = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    expected = LintReport("hadolint", "2.12.0", linted_at, (FOUND,), dockerfile=SHA256)
    assert read_lint(wrapper([row()]), DEFAULT_LIMITS) == expected


def test_the_reports_own_version_comes_first() -> None:
    report = read_lint(wrapper(sarif(run("Hadolint", [result("DL3008")]))), DEFAULT_LIMITS)
    assert (report.tool_version, report.dockerfile, len(report.findings)) == ("1.2.3", SHA256, 1)


@pytest.mark.parametrize(
    "predicate",
    [
        encoded([ROW]),
        b"\n " + encoded([ROW]),
        encoded({"report": [ROW]}),
        encoded({"report": [ROW], "tool": None, "lintedOn": None, "dockerfile": None}),
    ],
)
def test_reports_of_which_nothing_more_is_known(predicate: bytes) -> None:
    assert read_lint(predicate, DEFAULT_LIMITS) == LintReport("hadolint", "", None, (FOUND,))


def test_sarif_as_the_predicate_itself() -> None:
    report = read_lint(encoded(sarif(run("Hadolint", [result("DL3008")]))), DEFAULT_LIMITS)
    assert [one.rule for one in report.findings] == ["DL3008"]


@pytest.mark.parametrize(
    ("predicate", "reason", "message"),
    [
        (encoded({}), "attestation-invalid", "holds no report"),
        (encoded({"report": None}), "attestation-invalid", "holds no report"),
        (wrapper("DL3008"), "attestation-invalid", "another shape"),
        (wrapper({"Results": []}), "attestation-invalid", "another shape"),
        (wrapper(sarif(run("Trivy", []))), "attestation-unsupported", "of linters Hadolint is read"),
        (wrapper([], tool={"name": "dockle"}), "attestation-unsupported", 'names the tool "dockle"'),
        (wrapper([], lintedOn="2026-11-20"), "attestation-invalid", "lintedOn"),
        (wrapper([], dockerfile={"sha256": "AB" * 32}), "attestation-invalid", "dockerfile.sha256"),
        (wrapper([], dockerfile={"sha256": "ab"}), "attestation-invalid", "dockerfile.sha256"),
        (b'"text"', "attestation-invalid", "another shape"),
    ],
)
def test_refused_predicates(predicate: bytes, reason: str, message: str) -> None:
    found = refusal(predicate)
    assert found[0] == reason
    assert message in found[1]


def test_a_tool_by_another_case_is_the_same() -> None:
    assert read_lint(wrapper([], tool={"name": "Hadolint"}), DEFAULT_LIMITS).tool_version == ""


# -- samples -------------------------------------------------------------------------------------------------


def test_sampled_reports(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    wanted = {name: one for name, one in expected.items() if one["format"] == "hadolint-json"}
    assert len(wanted) == 4
    for name, one in wanted.items():
        report = read_hadolint((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        assert Counter(found.level for found in report.findings) == one["levels"], name
        assert Counter(found.rule for found in report.findings) == one["codes"], name
        assert (len(report.findings), report.complete) == (one["findings"], True)


def test_the_sampled_report_for_code_quality_is_refused_by_name(shared_data: Path) -> None:
    content = (shared_data / "hadolint" / "gen_bad.gitlab.json").read_bytes()
    with pytest.raises(EvidenceError, match="GitLab's code quality"):
        read_hadolint(content, DEFAULT_LIMITS)
