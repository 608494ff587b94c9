"""Trivy's JSON into the one normal form."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.decode import parse_json
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.trivy import parse_trivy
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Severity
from portcullis.model.image import Platform
from vectors.attestations import SUBJECT
from vectors.reports import finding, trivy


def test_a_report() -> None:
    report = parse_trivy(
        trivy(
            finding(
                VendorIDs=["DSA-1"],
                SeveritySource="nvd",
                CVSS={"nvd": {"V2Score": 5.0, "V3Score": 7.5}, "ghsa": {"V3Score": 9.8}},
            )
        ),
        DEFAULT_LIMITS,
    )

    assert (report.scanner, report.scanner_version, report.db_built_at) == ("trivy", "0.69.1", None)
    assert report.scanned_at == datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
    assert report.target_digests == (SUBJECT,)
    assert report.target_image_id == "sha256:" + "11" * 32
    assert report.platform == Platform("linux", "amd64")
    assert (report.complete, report.incomplete_because, report.suppressed) == (True, "", 0)
    (only,) = report.vulnerabilities
    assert (only.id, only.aliases, only.package, only.purl) == (
        "CVE-2026-0001",
        ("DSA-1",),
        "openssl",
        "pkg:deb/debian/openssl@3.0.1",
    )
    assert (only.installed, only.fixed, only.state, only.vex) == ("3.0.1", "3.0.2", "fixed", "")
    assert (only.severity, only.score) == (Severity.HIGH, 7.5)
    assert report.counts() == {
        "critical": 0, "high": 1, "medium": 0, "low": 0, "negligible": 0, "unknown": 0, "fixable": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("CRITICAL", Severity.CRITICAL),
        ("HIGH", Severity.HIGH),
        ("MEDIUM", Severity.MEDIUM),
        ("LOW", Severity.LOW),
        ("UNKNOWN", Severity.UNKNOWN),
        ("low", Severity.UNKNOWN),
        ("NEGLIGIBLE", Severity.UNKNOWN),
        ("", Severity.UNKNOWN),
        (None, Severity.UNKNOWN),
    ],
)
def test_severities(word: str | None, severity: Severity) -> None:
    (only,) = parse_trivy(trivy(finding(Severity=word)), DEFAULT_LIMITS).vulnerabilities
    assert only.severity is severity


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, None),
        ({"CVSS": {"nvd": {"V2Score": 5.0}}}, 5.0),
        ({"CVSS": {"nvd": {"V2Score": 5.0, "V3Score": 7, "V40Score": 8.1}}}, 8.1),
        ({"CVSS": {"nvd": {"V3Score": 5.0}, "ghsa": {"V3Score": 9.8}}}, 9.8),
        ({"CVSS": {"nvd": {"V3Score": 5.0}, "ghsa": {"V3Score": 9.8}}, "SeveritySource": "nvd"}, 5.0),
        ({"CVSS": {"ghsa": {"V3Score": 9.8}}, "SeveritySource": "debian"}, 9.8),
        ({"CVSS": {"nvd": {"V3Score": 99}}}, None),
        ({"CVSS": {"nvd": {"V3Score": "9.8"}}}, None),
    ],
)
def test_scores(fields: dict[str, Any], score: float | None) -> None:
    (only,) = parse_trivy(trivy(finding(**fields)), DEFAULT_LIMITS).vulnerabilities
    assert only.score == score


def test_one_finding_in_two_places_is_one_and_the_worse_row_counts() -> None:
    document = trivy(finding(severity="LOW"), finding(cve="CVE-2"))
    for severity in ("CRITICAL", "MEDIUM"):
        row = finding(severity=severity, FixedVersion=None, Status="affected")
        document["Results"].append({"Target": severity, "Class": "lang-pkgs", "Vulnerabilities": [row]})

    report = parse_trivy(document, DEFAULT_LIMITS)

    assert [(found.id, found.severity, found.fixed, found.state) for found in report.vulnerabilities] == [
        ("CVE-2026-0001", Severity.CRITICAL, "3.0.2", "fixed"),
        ("CVE-2", Severity.HIGH, "3.0.2", "fixed"),
    ]


def test_another_version_is_another_finding() -> None:
    report = parse_trivy(trivy(finding(), finding(InstalledVersion="1.1.1")), DEFAULT_LIMITS)
    assert len(report.vulnerabilities) == 2


def test_suppressed_findings_are_counted() -> None:
    document = trivy()
    document["Results"][0]["ExperimentalModifiedFindings"] = [
        {"Type": "vulnerability", "Status": "ignored"},
        {"Type": "vulnerability", "Status": "not_affected"},
        {"Type": "secret", "Status": "ignored"},
    ]
    report = parse_trivy(document, DEFAULT_LIMITS)
    assert (report.suppressed, report.vulnerabilities) == (2, ())


@pytest.mark.parametrize(
    ("system", "results", "complete"),
    [
        ({"Family": "alpine"}, None, True),
        (None, [{"Target": "go.sum", "Class": "lang-pkgs"}], True),
        (None, [{"Target": "old"}], True),
        (None, None, False),
        (None, [], False),
        ({}, [], False),
        (None, [{"Target": "key", "Class": "secret"}], False),
    ],
)
def test_a_scan_that_looked_at_nothing_is_not_complete(system: object, results: object, complete: bool) -> None:
    report = parse_trivy(trivy(Metadata={"OS": system}, Results=results), DEFAULT_LIMITS)
    assert report.complete is complete
    assert bool(report.incomplete_because) is not complete


@pytest.mark.parametrize(
    ("metadata", "digests", "image_id"),
    [
        ({}, (), ""),
        ({"RepoDigests": None, "ImageID": ""}, (), ""),
        ({"RepoDigests": [""], "ImageID": "sha256:" + "1" * 64}, (), "sha256:" + "1" * 64),
        ({"RepoDigests": [f"a@{SUBJECT}", f"b/c@{SUBJECT}", "d:latest"]}, (SUBJECT,), ""),
        ({"RepoDigests": [f"a@{SUBJECT.upper()}", "a@sha256:12"], "ImageID": "sha256:12"}, (), ""),
    ],
)
def test_what_the_report_is_of(metadata: dict[str, Any], digests: tuple[str, ...], image_id: str) -> None:
    report = parse_trivy(trivy(Metadata=metadata), DEFAULT_LIMITS)
    assert (report.target_digests, report.target_image_id) == (digests, image_id)


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, None),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("2024-09-09T13:21:09.230231+06:00", datetime(2024, 9, 9, 7, 21, 9, 230231, tzinfo=UTC)),
    ],
)
def test_times(created: str | None, expected: datetime | None) -> None:
    assert parse_trivy(trivy(CreatedAt=created), DEFAULT_LIMITS).scanned_at == expected


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"SchemaVersion": 1}, "attestation-unsupported", 'schema version "1"'),
        ({"SchemaVersion": "2"}, "attestation-unsupported", "schema version"),
        ({"SchemaVersion": True}, "attestation-unsupported", "schema version"),
        ({"SchemaVersion": None}, "attestation-unsupported", "schema version"),
        ({"ArtifactType": "filesystem"}, "attestation-unsupported", '"filesystem"'),
        ({"ArtifactType": None}, "attestation-unsupported", "container image"),
        ({"Results": {}}, "attestation-invalid", "Results is an object, not an array"),
        ({"Results": ["x"]}, "attestation-invalid", "a result is a string"),
        ({"Results": [{"Vulnerabilities": "none"}]}, "attestation-invalid", "Vulnerabilities is a string"),
        ({"Results": [{"Vulnerabilities": [None]}]}, "attestation-invalid", "a vulnerability is missing or null"),
        ({"Results": [{"Vulnerabilities": [finding(cve="")]}]}, "attestation-invalid", "no VulnerabilityID"),
        ({"Results": [{"Vulnerabilities": [finding(PkgName=None)]}]}, "attestation-invalid", "no PkgName"),
        ({"Results": [{"Vulnerabilities": [finding(Severity=5)]}]}, "attestation-invalid", "Severity is a number"),
        ({"Metadata": []}, "attestation-invalid", "Metadata is an array"),
        ({"CreatedAt": 1700000000}, "attestation-invalid", "no RFC 3339 time"),
        ({"CreatedAt": "yesterday"}, "attestation-invalid", "no RFC 3339 time"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        parse_trivy(trivy(**fields), DEFAULT_LIMITS)
    assert refused.value.reason == reason
    assert says in refused.value.message


def test_too_many_findings() -> None:
    limits = replace(DEFAULT_LIMITS, findings=3)
    rows = [finding(cve=f"CVE-{number}") for number in range(4)]
    assert len(parse_trivy(trivy(*rows[:3]), limits).vulnerabilities) == 3
    with pytest.raises(EvidenceError, match="limit findings") as refused:
        parse_trivy(trivy(*rows), limits)
    assert refused.value.reason == "too-large"


def test_sample_reports_count_as_expected(shared_data: Path) -> None:
    """Real reports, counted by somebody else. Those that are of no image, or not in UTF-8, are refused."""
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    images = 0
    for name, counts in expected.items():
        if counts["format"] != "trivy-json":
            continue
        content = (shared_data / name).read_bytes()
        if name == "trivy/trivy-v2.json":
            with pytest.raises(EvidenceError, match="not UTF-8"):
                parse_json(content, limits=DEFAULT_LIMITS, what="the report")
            content = content.decode("utf-16").encode()
        document = parse_json(content, limits=DEFAULT_LIMITS, what="the report")
        if counts["schemaVersion"] is None:
            assert not isinstance(document, dict), name
            continue
        if counts["artifactType"] != "container_image":
            with pytest.raises(EvidenceError, match="not of a container image"):
                parse_trivy(document, DEFAULT_LIMITS)
            continue
        images += 1
        report = parse_trivy(document, DEFAULT_LIMITS)
        found = report.vulnerabilities
        assert len(found) == counts["uniqueIdPkgVersion"], name
        assert len({one.id for one in found}) == counts["uniqueIds"], name
        if counts["findings"] == counts["uniqueIdPkgVersion"]:
            assert Counter(str(one.severity).upper() for one in found) == counts["bySeverity"], name
            assert report.counts()["fixable"] == counts["fixable"], name
            assert {one.state: 1 for one in found if one.state}.keys() == counts["statuses"].keys(), name
        assert report.suppressed == counts["suppressed"], name
        assert report.scanner_version == (counts["scannerVersion"] or ""), name
        assert report.target_image_id == (counts["imageID"] or ""), name
        digests = [entry.rpartition("@")[2] for entry in counts["repoDigests"] or [] if entry]
        assert list(report.target_digests) == digests, name
        assert (report.scanned_at is None) == (counts["createdAt"] is None), name
        assert report.complete, name
    assert images >= 12
