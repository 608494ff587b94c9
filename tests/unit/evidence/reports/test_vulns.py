"""in-toto's vulnerability predicate, and the scores of CVSS vectors in it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.cvss import base_score
from portcullis.evidence.reports.vulns import read_vulns
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import ScanReport, Severity, Vulnerability
from vectors.reports import text, vulns


def read(predicate: object, limits: Limits = DEFAULT_LIMITS) -> ScanReport:
    return read_vulns(text(predicate), limits)


def test_version_0_2() -> None:
    severity = [{"method": "nvd", "score": "medium"}, {"method": "cvss_score", "score": "5.2"}]
    report = read(vulns({"id": "CVE-1", "severity": severity, "annotations": [{"any": "thing"}]}, {"id": "CVE-2"}))

    assert (report.scanner, report.scanner_version, report.format) == ("trivy", "0.69.1", "in-toto-vulns")
    assert report.scanned_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert report.db_built_at == datetime(2026, 11, 19, 8, tzinfo=UTC)
    assert (report.complete, report.target_digests) == (True, ())
    assert report.vulnerabilities == (
        Vulnerability(id="CVE-1", severity=Severity.MEDIUM, score=5.2),
        Vulnerability(id="CVE-2"),
    )


def test_version_0_1_has_the_id_in_one_place_or_the_other() -> None:
    rows = [
        {"vulnerability": {"id": "CVE-1", "severity": {"method": "nvd", "score": "High"}}},
        {"id": "CVE-2", "severity": {"method": "nvd", "score": 9.1}},
    ]
    assert read(vulns(*rows)).vulnerabilities == (
        Vulnerability(id="CVE-1", severity=Severity.HIGH),
        Vulnerability(id="CVE-2", severity=Severity.CRITICAL, score=9.1),
    )


@pytest.mark.parametrize(
    ("scores", "severity", "score"),
    [
        ([], Severity.UNKNOWN, None),
        (["something"], Severity.UNKNOWN, None),
        (["Moderate"], Severity.MEDIUM, None),
        (["low", "CRITICAL", "something"], Severity.CRITICAL, None),
        (["low", "9.8"], Severity.CRITICAL, 9.8),
        (["high", 5], Severity.HIGH, 5.0),
        ([9], Severity.CRITICAL, 9.0),
        ([8.9], Severity.HIGH, 8.9),
        ([7], Severity.HIGH, 7.0),
        ([6.9, 4], Severity.MEDIUM, 6.9),
        (["0.1"], Severity.LOW, 0.1),
        (["0"], Severity.NEGLIGIBLE, 0.0),
        (["11", "-1", "nan", None], Severity.UNKNOWN, None),
        (["CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"], Severity.HIGH, 8.1),
        (["AV:N/AC:L/Au:N/C:P/I:P/A:P"], Severity.UNKNOWN, None),
    ],
)
def test_the_worst_severity_of_all_methods(scores: list[Any], severity: Severity, score: float | None) -> None:
    said = [{"method": "any", "score": one} for one in scores]
    (only,) = read(vulns({"id": "CVE-1", "severity": said})).vulnerabilities
    assert (only.severity, only.score) == (severity, score)


def test_the_same_id_twice_is_one_finding() -> None:
    rows = [{"id": "CVE-1"}, {"id": "CVE-1", "severity": [{"score": "high"}]}]
    assert read(vulns(*rows)).vulnerabilities == (Vulnerability(id="CVE-1", severity=Severity.HIGH),)


@pytest.mark.parametrize(
    ("result", "complete"), [([], True), (None, False)], ids=["an empty list is clean", "none at all is not"]
)
def test_no_results(result: object, complete: bool) -> None:
    report = read(vulns(result=result))
    assert (report.complete, bool(report.incomplete_because), report.vulnerabilities) == (complete, not complete, ())


@pytest.mark.parametrize(
    ("uri", "scanner"),
    [
        ("pkg:github/anchore/grype@0.94", "grype"),
        ("https://github.com/aquasecurity/trivy", "trivy"),
        ("pkg:docker/docker/scout@1.18", "docker-scout"),
        ("docker scout", "docker-scout"),
        ("OSV.dev", "osv.dev"),
        ("https://example.com/trivyish", "https://example.com/trivyish"),
        (None, ""),
    ],
)
def test_the_scanner_is_named_by_its_uri(uri: str | None, scanner: str) -> None:
    assert read(vulns(uri=uri)).scanner == scanner


@pytest.mark.parametrize(
    ("predicate", "says"),
    [
        ({}, "scanner is missing"),
        (vulns({"severity": []}), "no id"),
        (vulns({"id": "", "vulnerability": {"id": ""}}), "no id"),
        (vulns("CVE-1"), "$.scanner.result["),
        (vulns(result={}), "$.scanner.result"),
        (vulns({"id": "CVE-1", "severity": "high"}), "severity"),
        (vulns(db={"lastUpdate": "x"}), "lastUpdate"),
        ({**vulns(), "metadata": {"scanFinishedOn": "x"}}, "scanFinishedOn"),
    ],
)
def test_what_is_refused(predicate: object, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read(predicate)
    assert refused.value.reason == "attestation-invalid"
    assert says in refused.value.message


def test_too_many_findings() -> None:
    limits = replace(DEFAULT_LIMITS, findings=2)
    rows = [{"id": f"CVE-{number}"} for number in range(3)]
    assert len(read(vulns(*rows[:2]), limits).vulnerabilities) == 2
    with pytest.raises(EvidenceError, match="the limit findings is 2") as refused:
        read(vulns(*rows), limits)
    assert refused.value.reason == "too-large"


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        # The examples of the first user guides, and their corners.
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
        ("CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.0),
        ("CVSS:3.0/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 6.8),
        ("CVSS:3.1/AV:A/AC:H/PR:H/UI:R/S:C/C:N/I:N/A:L", 2.4),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:H", 8.2),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/S:U/AV:N/AC:L/PR:N/UI:N/C:H/I:H/A:H/E:P/RL:O", 9.8),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", None),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", None),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:X", None),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:X/C:H/I:H/A:H", None),
        ("CVSS:3.1/AV:N/AC:L/PR:X/UI:N/S:U/C:H/I:H/A:H", None),
        ("CVSS:3.1/AV:N/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/" + "X" * 600, None),
        ("", None),
    ],
)
def test_base_scores(vector: str, score: float | None) -> None:
    assert base_score(vector) == score


def test_base_scores_are_those_that_scanners_write(shared_data: Path) -> None:
    """Each vector of version 3 in the samples, with the score beside it."""
    seen = 0
    for path in sorted((shared_data / "trivy").glob("*.json")):
        content = path.read_bytes()
        if content.startswith(b"{"):
            document = json.loads(content)
            for result in document.get("Results") or ():
                for row in result.get("Vulnerabilities") or ():
                    for one in (row.get("CVSS") or {}).values():
                        if "V3Vector" in one and "V3Score" in one:
                            seen += 1
                            assert base_score(one["V3Vector"]) == one["V3Score"], one
    assert seen >= 50


def test_samples(shared_data: Path) -> None:
    folder = shared_data / "sbom-vex"
    found = json.loads((folder / "certify-vuln.json").read_bytes())["predicate"]
    report = read(found)
    assert (report.scanner, len(report.vulnerabilities), report.complete) == ("osv.dev", 8, True)
    assert Severity.CRITICAL in {one.severity for one in report.vulnerabilities}
    # The list is missing there, which the specification requires even where it is empty.
    none = json.loads((folder / "certify-novuln-v02.json").read_bytes())["predicate"]
    assert (read(none).vulnerabilities, read(none).complete) == ((), False)
