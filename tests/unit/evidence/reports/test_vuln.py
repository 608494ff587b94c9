"""Cosign's predicates: the times around a report, and which report is inside."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.vuln import read_vuln
from portcullis.evidence.reports.wrapped import unwrap_custom
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Evaluation, ScanReport
from vectors import documents
from vectors.attestations import SUBJECT
from vectors.reports import (
    clair,
    clair_vulnerability,
    custom,
    engine,
    engine_row,
    evaluated,
    finding,
    grype,
    match,
    text,
    trivy,
    vuln,
)

ZERO = "0001-01-01T00:00:00Z"


def read(predicate: object) -> ScanReport:
    report = read_vuln(text(predicate), DEFAULT_LIMITS)
    assert isinstance(report, ScanReport)
    return report


def day(number: int) -> str:
    return f"2026-11-{number:02}T00:00:00Z"


@pytest.mark.parametrize(
    ("result", "scanner", "form"),
    [
        (trivy(finding()), "trivy", "trivy-json"),
        ([{"Target": "x", "Vulnerabilities": [finding()]}], "trivy", "trivy-json"),
        (grype(match()), "grype", "grype-json"),
        (engine(engine_row()), "anchore", "anchore-json"),
        ([engine_row()], "anchore", "anchore-json"),
        (clair(clair_vulnerability()), "clair", "clair-json"),
        (
            documents.sarif(
                documents.run("Trivy", [documents.result(text=documents.trivy_text())], [documents.trivy_rule()])
            ),
            "trivy",
            "sarif",
        ),
    ],
)
def test_the_report_inside_is_read_whatever_its_form(result: object, scanner: str, form: str) -> None:
    """Even where the predicate names another scanner."""
    report = read(vuln(result, uri="https://example.com/other-scanner"))
    assert (report.scanner, report.format) == (scanner, form)
    assert len(report.vulnerabilities) == 1


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
    report = read(vuln(trivy(CreatedAt=created), started=started, finished=finished))
    assert report.scanned_at == (datetime(2026, 11, oldest, tzinfo=UTC) if oldest else None)


def test_a_time_in_the_future_is_kept_for_the_policies() -> None:
    late = "2999-01-01T00:00:00Z"
    assert read(vuln(trivy(CreatedAt=late), started=late, finished=late)).scanned_at == datetime(2999, 1, 1, tzinfo=UTC)


def test_what_the_predicate_says_where_the_report_does_not() -> None:
    report = read(vuln(trivy(Trivy=None), db={"uri": "", "version": "", "lastUpdate": day(9)}))
    assert report.scanner_version == "0.69.0"
    assert report.db_built_at == datetime(2026, 11, 9, tzinfo=UTC)


def test_the_database_is_as_old_as_the_older_says() -> None:
    assert read(vuln(grype(), db={"lastUpdate": day(25)})).db_built_at == datetime(2026, 11, 19, 8, tzinfo=UTC)
    assert read(vuln(grype(), db={"lastUpdate": day(9)})).db_built_at == datetime(2026, 11, 9, tzinfo=UTC)
    assert read(vuln(grype(), db=None)).scanner_version == "0.94.0"


def test_a_predicate_without_metadata_has_no_times_of_its_own() -> None:
    predicate = vuln(trivy(CreatedAt=day(2)))
    del predicate["metadata"]
    assert read(predicate).scanned_at == datetime(2026, 11, 2, tzinfo=UTC)


def test_an_evaluation_inside_is_as_old_as_the_oldest_time() -> None:
    made = read_vuln(text(vuln([evaluated(at=day(9))], started=day(3))), DEFAULT_LIMITS)
    assert isinstance(made, Evaluation)
    assert (made.evaluated_at, made.target_digests) == (datetime(2026, 11, 3, tzinfo=UTC), (SUBJECT,))


@pytest.mark.parametrize(
    ("predicate", "reason", "says"),
    [
        ({}, "attestation-invalid", "scanner is missing"),
        ({"scanner": {}}, "attestation-invalid", "holds no report"),
        (vuln(None), "attestation-invalid", "holds no report"),
        (vuln("{}"), "attestation-invalid", "a text, not a report"),
        (vuln([]), "attestation-unsupported", "empty array"),
        (vuln(7), "attestation-unsupported", "neither an object nor an array"),
        (vuln({"something": "else"}), "attestation-unsupported", "no form that is known"),
        (vuln([{"line": 1, "code": "DL3008", "level": "warning"}]), "attestation-unsupported", "hadolint-json"),
        (vuln(vuln(trivy())), "attestation-unsupported", "cosign-vuln"),
        (vuln(documents.sarif(documents.run("Hadolint", []))), "attestation-unsupported", "Hadolint"),
        (vuln({"bomFormat": "CycloneDX", "specVersion": "1.6"}), "attestation-unsupported", "cyclonedx-json"),
        (vuln(trivy(ArtifactType="filesystem")), "attestation-unsupported", "filesystem"),
        (vuln(trivy(), started="soon"), "attestation-invalid", "scanStartedOn"),
        (vuln(trivy(), finished=7), "attestation-invalid", "scanFinishedOn"),
        (vuln(trivy(), db=[]), "attestation-invalid", "$.scanner.db"),
        (vuln(trivy(), db={"lastUpdate": "x"}), "attestation-invalid", "lastUpdate"),
        (vuln(trivy(Trivy=None), version=1), "attestation-invalid", "$.scanner.version"),
        ({**vuln(trivy()), "metadata": "x"}, "attestation-invalid", "metadata"),
        ([], "attestation-invalid", "the predicate"),
    ],
)
def test_what_is_refused(predicate: object, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read_vuln(text(predicate), DEFAULT_LIMITS)
    assert refused.value.reason == reason
    assert says in refused.value.message


def test_the_file_in_a_custom_predicate() -> None:
    content, made = unwrap_custom(text(custom(trivy())), DEFAULT_LIMITS)
    assert (json.loads(content), made) == (trivy(), datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert unwrap_custom(text(custom("[]\n", Timestamp=ZERO)), DEFAULT_LIMITS) == (b"[]", None)
    assert unwrap_custom(text('{"matches": []}'), DEFAULT_LIMITS) == (b'{"matches": []}', None)


@pytest.mark.parametrize(
    ("predicate", "says"),
    [
        (custom(""), "Data is empty"),
        (custom(" \n"), "Data is empty"),
        (custom("SPDXVersion: SPDX-2.3"), "Data is not JSON"),
        (custom('{"a": 1, "a": 2}'), "stands twice"),
        (custom('{"a": NaN}'), "NaN"),
        (custom('{"a": "\\ud800"}'), "surrogate"),
        (custom("[" * 200 + "]" * 200), "nested deeper"),
        (custom("{}", Timestamp="now"), "Timestamp"),
        ({"Timestamp": ZERO}, "`Data`"),
        ("", "Data is empty"),
        ([], "the predicate"),
    ],
)
def test_the_file_in_a_custom_predicate_is_strict_json(predicate: Any, says: str) -> None:
    with pytest.raises(EvidenceError, match=says):
        unwrap_custom(text(predicate), DEFAULT_LIMITS)
