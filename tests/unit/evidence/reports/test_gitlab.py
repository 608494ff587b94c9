"""GitLab's container-scanning report."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.gitlab import read_gitlab
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import ScannedSystem, ScanReport, Severity, Vulnerability
from vectors.attestations import SUBJECT
from vectors.documents import encoded, gitlab, gitlab_row

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def read(*rows: dict[str, Any], scan: dict[str, Any] | None = None, **fields: Any) -> ScanReport:
    return read_gitlab(encoded(gitlab(*rows, scan=scan, **fields)), DEFAULT_LIMITS)


def only(report: ScanReport) -> Vulnerability:
    (finding,) = report.vulnerabilities
    return finding


def test_a_report() -> None:
    report = read(gitlab_row())
    assert (report.scanner, report.scanner_version, report.format) == ("docker-scout", "1.18.3", "gitlab-json")
    assert (report.scanned_at, report.db_built_at, report.target_digests) == (START, None, (SUBJECT,))
    assert (report.complete, report.incomplete_because) == (True, "")
    assert report.system == ScannedSystem("debian", "12.5", None)
    assert only(report) == Vulnerability(
        id="CVE-2026-0001",
        aliases=("GHSA-x",),
        package="openssl",
        installed="3.0.1",
        fixed="3.0.2",
        severity=Severity.HIGH,
    )


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("Critical", Severity.CRITICAL),
        ("High", Severity.HIGH),
        ("Medium", Severity.MEDIUM),
        ("Low", Severity.LOW),
        ("Info", Severity.NEGLIGIBLE),
        ("Unknown", Severity.UNKNOWN),
        ("Undefined", Severity.UNKNOWN),
        (None, Severity.UNKNOWN),
    ],
)
def test_severities(word: Any, severity: Severity) -> None:
    assert only(read(gitlab_row(severity=word))).severity is severity


@pytest.mark.parametrize(
    ("solution", "fixed"),
    [
        ("Upgrade openssl to version 3.0.2", "3.0.2"),
        ("Upgrade openssl to 3.0.2, 3.1.0", "3.0.2, 3.1.0"),
        ("Upgrade openssl from 3.0.1 to 3.0.2.", "3.0.2"),
        ("No solution provided", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_fixed_version_is_in_a_sentence(solution: str | None, fixed: str) -> None:
    assert only(read(gitlab_row(solution=solution))).fixed == fixed


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"identifiers": [{"type": "ghsa", "value": "GHSA-x"}]}, ("GHSA-x",)),
        ({"identifiers": [{"type": "CWE", "value": "79"}], "cve": "CVE-1"}, ("CVE-1",)),
        ({"identifiers": None}, ("5b1f",)),
        # Two CVEs are not two names of one thing.
        ({"identifiers": [{"type": "cve", "value": f"CVE-2026-000{number}"} for number in (1, 2)]}, ("CVE-2026-0001",)),
    ],
)
def test_names(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    finding = only(read(gitlab_row(**fields)))
    assert (finding.id, *finding.aliases) == names


@pytest.mark.parametrize(
    ("scan", "scanned_at"),
    [
        ({"start_time": None}, datetime(2026, 11, 20, 10, 1, tzinfo=UTC)),
        ({"start_time": "2026-11-20T12:00:00+02:00"}, START),
        ({"start_time": "2026-11-21T00:00:00", "end_time": "2026-11-20T10:00:00"}, START),
        ({"start_time": None, "end_time": None}, None),
    ],
)
def test_times_are_in_utc_and_the_oldest_counts(scan: dict[str, Any], scanned_at: datetime | None) -> None:
    assert read(scan=scan).scanned_at == scanned_at


@pytest.mark.parametrize(("status", "complete"), [("success", True), ("failure", False), (None, False)])
def test_a_scan_that_does_not_say_that_it_succeeded_is_incomplete(status: str | None, complete: bool) -> None:
    report = read(scan={"status": status})
    assert report.complete is complete
    assert ("status" in report.incomplete_because) is not complete


def test_a_report_without_a_scan() -> None:
    """As Trivy's template of old writes it."""
    row = gitlab_row(category="container_scanning", scanner={"id": "trivy", "name": "Trivy"})
    report = read_gitlab(encoded({"version": "2.3", "vulnerabilities": [row]}), DEFAULT_LIMITS)
    assert (report.scanner, report.scanned_at, report.complete) == ("trivy", None, False)


@pytest.mark.parametrize(
    ("location", "digests", "system"),
    [
        ({"image": "registry.example/acme/web:1"}, (), None),
        ({"operating_system": "alpine:3.20"}, (), ScannedSystem("alpine", "3.20", None)),
        ({"operating_system": "Unknown"}, (), None),
        (None, (), None),
    ],
)
def test_locations(location: Any, digests: tuple[str, ...], system: ScannedSystem | None) -> None:
    report = read(gitlab_row(location=location))
    assert (report.target_digests, report.system, only(report).package) == (digests, system, "")


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        (gitlab(scan={"type": "sast"}), "attestation-unsupported", 'of a "sast", not of a container'),
        (gitlab(gitlab_row(category="dependency_scanning")), "attestation-unsupported", "dependency_scanning"),
        (gitlab(gitlab_row(identifiers=None, id=None)), "attestation-invalid", "has no name"),
        (gitlab(scan={"start_time": "yesterday"}), "attestation-invalid", "scan.start_time"),
        ({"version": "15.0.6"}, "attestation-invalid", "vulnerabilities"),
    ],
)
def test_refused_documents(document: object, reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_gitlab(encoded(document), DEFAULT_LIMITS)
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_more_findings_than_the_limit() -> None:
    content = encoded(gitlab(gitlab_row(), gitlab_row(identifiers=None)))
    assert len(read_gitlab(content, replace(DEFAULT_LIMITS, findings=2)).vulnerabilities) == 2
    with pytest.raises(EvidenceError, match="the limit findings is 1") as caught:
        read_gitlab(content, replace(DEFAULT_LIMITS, findings=1))
    assert caught.value.reason == "too-large"
