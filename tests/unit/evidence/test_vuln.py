"""Cosign's vulnerability predicate: the times around a report, and which report is inside."""

from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports import parse_report
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import ScanReport, Statement
from vectors.reports import finding, trivy, vuln

VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
ZERO = "0001-01-01T00:00:00Z"


def parse(predicate: dict[str, Any], predicate_type: str = VULN) -> ScanReport:
    return parse_report(Statement(predicate_type, predicate), DEFAULT_LIMITS)


def day(number: int) -> str:
    return f"2026-11-{number:02}T00:00:00Z"


@pytest.mark.parametrize("predicate_type", [VULN, VULN.removeprefix("https://")])
def test_the_report_inside_is_read(predicate_type: str) -> None:
    report = parse(vuln(trivy(finding(), finding(cve="CVE-2", severity="CRITICAL"))), predicate_type)
    assert (report.scanner, report.scanner_version) == ("trivy", "0.69.1")
    assert report.counts()["critical"] == 1


@pytest.mark.parametrize(
    ("created", "started", "finished", "oldest"),
    [
        (day(1), day(20), day(20), 1),  # an old report, converted and so stamped anew
        (day(20), day(1), day(20), 1),
        (day(20), day(20), day(1), 1),
        (None, day(3), day(4), 3),
        (day(5), ZERO, ZERO, 5),
        (day(5), None, None, 5),
        (None, ZERO, "", None),
        ("2999-01-01T00:00:00Z", day(7), day(8), 7),
    ],
)
def test_the_scan_is_as_old_as_the_oldest_time(
    created: str | None, started: str | None, finished: str | None, oldest: int | None
) -> None:
    report = parse(vuln(trivy(CreatedAt=created), started=started, finished=finished))
    assert report.scanned_at == (datetime(2026, 11, oldest, tzinfo=UTC) if oldest else None)


def test_a_time_in_the_future_is_kept_for_the_policies() -> None:
    late = "2999-01-01T00:00:00Z"
    assert parse(vuln(trivy(CreatedAt=late), started=late, finished=late)).scanned_at == datetime(
        2999, 1, 1, tzinfo=UTC
    )


def test_what_the_predicate_says_where_the_report_does_not() -> None:
    report = parse(vuln(trivy(Trivy=None), db={"uri": "", "version": "", "lastUpdate": day(9)}))
    assert report.scanner_version == "0.69.0"
    assert report.db_built_at == datetime(2026, 11, 9, tzinfo=UTC)


def test_a_predicate_without_metadata_has_no_times_of_its_own() -> None:
    predicate = vuln(trivy(CreatedAt=day(2)))
    del predicate["metadata"]
    assert parse(predicate).scanned_at == datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("predicate", "reason", "says"),
    [
        ({}, "attestation-invalid", "scanner is missing"),
        (vuln(None), "attestation-invalid", "holds no report"),
        (vuln("{}"), "attestation-invalid", "a string, not an object"),
        (vuln([]), "attestation-unsupported", "bare array"),
        (vuln({"matches": [], "descriptor": {"name": "grype"}}), "attestation-unsupported", "known scanner"),
        (vuln(trivy(ArtifactType="filesystem")), "attestation-unsupported", "filesystem"),
        (vuln(trivy(), started="soon"), "attestation-invalid", "scanStartedOn"),
        (vuln(trivy(), finished=7), "attestation-invalid", "scanFinishedOn"),
        (vuln(trivy(), db=[]), "attestation-invalid", "scanner.db"),
        (vuln(trivy(Trivy=None), version=1), "attestation-invalid", "scanner.version"),
        ({**vuln(trivy()), "metadata": "x"}, "attestation-invalid", "metadata"),
    ],
)
def test_what_is_refused(predicate: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        parse(predicate)
    assert refused.value.reason == reason
    assert says in refused.value.message


@pytest.mark.parametrize(
    "predicate_type", ["https://in-toto.io/attestation/vulns/v0.2", "https://cosign.sigstore.dev/attestation/vuln/v2"]
)
def test_other_vulnerability_predicates_are_refused_by_name(predicate_type: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        parse(vuln(trivy()), predicate_type)
    assert refused.value.reason == "attestation-unsupported"
    assert predicate_type in refused.value.message
