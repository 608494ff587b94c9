"""Trivy's JSON into the one normal form."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.trivy import read_trivy
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Severity, Suppression
from portcullis.model.image import Platform
from vectors.attestations import SUBJECT
from vectors.reports import finding, text, trivy


def read(document: object, limits: Limits = DEFAULT_LIMITS) -> ScanReport:
    return read_trivy(text(document), limits)


def test_a_report() -> None:
    report = read(
        trivy(
            finding(
                VendorIDs=["DSA-1"],
                PkgPath="usr/lib/libssl.so",
                SeveritySource="nvd",
                CVSS={"nvd": {"V2Score": 5.0, "V3Score": 7.5}, "ghsa": {"V3Score": 9.8}},
            )
        ),
    )

    assert (report.scanner, report.scanner_version, report.db_built_at) == ("trivy", "0.69.1", None)
    assert report.format == "trivy-json"
    assert report.scanned_at == datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
    assert report.target_digests == (SUBJECT,)
    assert report.target_image_id == "sha256:" + "11" * 32
    assert report.platform == Platform("linux", "amd64")
    assert (report.complete, report.incomplete_because, report.suppressed) == (True, "", 0)
    assert (report.filters, report.suppressions, report.packages) == ((), (), None)
    (only,) = report.vulnerabilities
    assert (only.id, only.aliases, only.package, only.purl) == (
        "CVE-2026-0001",
        ("DSA-1",),
        "openssl",
        "pkg:deb/debian/openssl@3.0.1",
    )
    assert (only.installed, only.fixed, only.state, only.path) == ("3.0.1", "3.0.2", "fixed", "usr/lib/libssl.so")
    assert (only.severity, only.score) == (Severity.HIGH, 7.5)
    assert (only.exploited, only.epss, only.available, only.vex) == (None, None, None, None)
    assert report.counts() == {
        "critical": 0, "high": 1, "medium": 0, "low": 0, "negligible": 0, "unknown": 0, "fixable": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, None),
        ({"CVSS": {}}, None),
        ({"CVSS": {"nvd": {"V2Score": 5.0}}}, 5.0),
        ({"CVSS": {"nvd": {"V2Score": 5.0, "V3Score": 7, "V40Score": 8.1}}}, 8.1),
        ({"CVSS": {"nvd": {"V3Score": 5.0}, "ghsa": {"V3Score": 9.8}}}, 9.8),
        ({"CVSS": {"nvd": {"V3Score": 5.0}, "ghsa": {"V3Score": 9.8}}, "SeveritySource": "nvd"}, 5.0),
        ({"CVSS": {"ghsa": {"V3Score": 9.8}}, "SeveritySource": "debian"}, 9.8),
        ({"CVSS": {"nvd": {"V3Score": 99}, "ghsa": {"V3Score": 1}}, "SeveritySource": "nvd"}, 1.0),
        ({"CVSS": {"nvd": {"V3Score": 99}}}, None),
    ],
)
def test_scores(fields: dict[str, Any], score: float | None) -> None:
    (only,) = read(trivy(finding(**fields))).vulnerabilities
    assert only.score == score


def test_one_finding_in_two_places_is_one_and_the_worse_row_counts() -> None:
    document = trivy(finding(severity="LOW"), finding(cve="CVE-2"))
    for severity in ("CRITICAL", "MEDIUM"):
        row = finding(severity=severity, FixedVersion=None, Status="affected")
        document["Results"].append({"Target": severity, "Class": "lang-pkgs", "Vulnerabilities": [row]})

    report = read(document)

    assert [(found.id, found.severity, found.fixed, found.state) for found in report.vulnerabilities] == [
        ("CVE-2026-0001", Severity.CRITICAL, "3.0.2", "fixed"),
        ("CVE-2", Severity.HIGH, "3.0.2", "fixed"),
    ]


def test_another_version_is_another_finding() -> None:
    assert len(read(trivy(finding(), finding(InstalledVersion="1.1.1"))).vulnerabilities) == 2


def test_suppressed_findings_are_counted_and_the_first_are_shown() -> None:
    document = trivy()
    document["Results"][0]["ExperimentalModifiedFindings"] = [
        {"Type": "vulnerability", "Status": "ignored", "Source": ".trivyignore", "Finding": finding()},
        {"Type": "vulnerability", "Status": "not_affected", "Statement": "no code", "Finding": finding("CVE-2")},
        {"Type": "secret", "Status": "ignored"},
        {"Type": "vulnerability", "Status": "fixed"},
    ]
    report = read(document, replace(DEFAULT_LIMITS, suppressions=2))
    assert (report.suppressed, report.vulnerabilities, report.complete) == (3, (), True)
    assert report.suppressions == (
        Suppression("CVE-2026-0001", "openssl", "ignored (.trivyignore)"),
        Suppression("CVE-2", "openssl", "not_affected: no code"),
    )


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
    report = read(trivy(Metadata={"OS": system}, Results=results))
    assert report.complete is complete
    assert bool(report.incomplete_because) is not complete


@pytest.mark.parametrize(
    ("system", "results", "expected"),
    [
        ({"Family": "alpine", "Name": "3.9", "EOSL": True}, [], ScannedSystem("alpine", "3.9", True)),
        ({"Family": "alpine", "Name": "3.9"}, [{"Class": "os-pkgs"}], ScannedSystem("alpine", "3.9", False)),
        ({"Family": "alpine", "Name": "3.9"}, [{"Class": "lang-pkgs"}], ScannedSystem("alpine", "3.9", None)),
        ({"Family": "none"}, [], ScannedSystem("none", "", None)),
        ({"Name": "3.9"}, [], None),
    ],
)
def test_the_system_and_its_end_of_life(system: object, results: object, expected: ScannedSystem | None) -> None:
    assert read(trivy(Metadata={"OS": system}, Results=results)).system == expected


def test_packages_are_counted_where_they_are_listed() -> None:
    packages = [{"Name": "a"}, {"Name": "b", "Version": "1"}]
    results = [{"Class": "os-pkgs", "Packages": packages}, {"Class": "lang-pkgs"}, {"Class": "secret", "Packages": []}]
    assert read(trivy(Results=results)).packages == 2
    assert read(trivy(Results=[{"Class": "os-pkgs", "Packages": []}])).packages == 0


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
    report = read(trivy(Metadata=metadata))
    assert (report.target_digests, report.target_image_id) == (digests, image_id)


@pytest.mark.parametrize(
    ("config", "platform"),
    [
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, Platform("linux", "arm", "v7")),
        ({"os": "linux", "architecture": ""}, None),
        ({"architecture": "amd64"}, None),
        (None, None),
    ],
)
def test_the_platform(config: object, platform: Platform | None) -> None:
    assert read(trivy(Metadata={"ImageConfig": config})).platform == platform


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, None),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("2024-09-09T13:21:09.230231+06:00", datetime(2024, 9, 9, 7, 21, 9, 230231, tzinfo=UTC)),
        (1700000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1700000000.5, datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC)),
        (0, None),
    ],
)
def test_times(created: object, expected: datetime | None) -> None:
    assert read(trivy(CreatedAt=created)).scanned_at == expected


def test_the_age_of_a_server_s_database() -> None:
    server = {"Version": "0.69.0", "VulnerabilityDB": {"Version": 2, "UpdatedAt": "2026-11-19T06:00:00Z"}}
    report = read(trivy(Trivy={"Version": "0.69.1", "Server": server}))
    assert (report.scanner_version, report.db_built_at) == ("0.69.1", datetime(2026, 11, 19, 6, tzinfo=UTC))


def test_schema_version_1_is_its_results_alone() -> None:
    report = read([{"Target": "a (alpine 3.7)", "Type": "alpine", "Vulnerabilities": [finding()]}, {"Target": "b"}])
    assert (report.complete, len(report.vulnerabilities)) == (True, 1)
    assert (report.scanned_at, report.target_digests, report.target_image_id) == (None, (), "")


@pytest.mark.parametrize("document", [None, []])
def test_schema_version_1_without_results_looked_at_nothing(document: object) -> None:
    report = read(document)
    assert (report.complete, report.vulnerabilities) == (False, ())


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"SchemaVersion": 1}, "attestation-unsupported", 'schema version "1"'),
        ({"SchemaVersion": "2"}, "attestation-unsupported", "schema version"),
        ({"SchemaVersion": True}, "attestation-unsupported", "schema version"),
        ({"SchemaVersion": None}, "attestation-unsupported", "schema version"),
        ({"ArtifactType": "filesystem"}, "attestation-unsupported", '"filesystem"'),
        ({"ArtifactType": None}, "attestation-unsupported", "container image"),
        ({"Results": {}}, "attestation-invalid", "$.Results"),
        ({"Results": ["x"]}, "attestation-invalid", "$.Results["),
        ({"Results": [{"Vulnerabilities": "none"}]}, "attestation-invalid", "].Vulnerabilities"),
        ({"Results": [{"Vulnerabilities": [None]}]}, "attestation-invalid", "Vulnerabilities["),
        ({"Results": [{"Vulnerabilities": [finding(cve="")]}]}, "attestation-invalid", "no VulnerabilityID"),
        ({"Results": [{"Vulnerabilities": [finding(PkgName=None)]}]}, "attestation-invalid", "no PkgName"),
        ({"Results": [{"Vulnerabilities": [finding(Severity=5)]}]}, "attestation-invalid", "Severity"),
        ({"Results": [{"Vulnerabilities": [finding(CVSS={"nvd": {"V3Score": "9.8"}})]}]}, "attestation-invalid", "V3"),
        ({"Metadata": []}, "attestation-invalid", "$.Metadata"),
        ({"CreatedAt": "yesterday"}, "attestation-invalid", "no RFC 3339 time"),
        ({"CreatedAt": 1700000000000}, "attestation-invalid", "seconds since 1970"),
        ({"CreatedAt": True}, "attestation-invalid", "CreatedAt"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read(trivy(**fields))
    assert refused.value.reason == reason
    assert says in refused.value.message


def test_too_many_findings() -> None:
    limits = replace(DEFAULT_LIMITS, findings=3)
    rows = [finding(cve=f"CVE-{number}") for number in range(4)]
    assert len(read(trivy(*rows[:3]), limits).vulnerabilities) == 3
    with pytest.raises(EvidenceError, match="the limit findings is 3") as refused:
        read(trivy(*rows), limits)
    assert refused.value.reason == "too-large"


def test_sample_reports_count_as_expected(shared_data: Path) -> None:
    """Real reports, counted by somebody else. Those that are of no image, or not in UTF-8, are refused."""
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    images = 0
    for name, counts in expected.items():
        if counts["format"] != "trivy-json" or not name.startswith("trivy/"):
            continue
        content = (shared_data / name).read_bytes()
        if name == "trivy/trivy-v2.json":
            content = content.decode("utf-16").encode()
        if name == "trivy/dd_legacy_trivy_mix.json":
            # One row of the file has no id. It is counted there; nobody could judge it, so that we read none.
            with pytest.raises(EvidenceError, match="no VulnerabilityID"):
                read_trivy(content, DEFAULT_LIMITS)
            continue
        if counts["schemaVersion"] is not None and counts["artifactType"] != "container_image":
            with pytest.raises(EvidenceError, match="not of a container image"):
                read_trivy(content, DEFAULT_LIMITS)
            continue
        report = read_trivy(content, DEFAULT_LIMITS)
        found = report.vulnerabilities
        assert len(found) == counts["uniqueIdPkgVersion"], name
        assert len({one.id for one in found}) == counts["uniqueIds"], name
        if counts["findings"] == counts["uniqueIdPkgVersion"]:
            assert Counter(str(one.severity).upper() for one in found) == counts["bySeverity"], name
            assert report.counts()["fixable"] == counts["fixable"], name
            assert {one.state for one in found if one.state} == counts["statuses"].keys(), name
        assert report.suppressed == counts["suppressed"], name
        if counts["schemaVersion"] is None:
            continue
        images += 1
        assert report.scanner_version == (counts["scannerVersion"] or ""), name
        assert report.target_image_id == (counts["imageID"] or ""), name
        digests = [entry.rpartition("@")[2] for entry in counts["repoDigests"] or [] if entry]
        assert list(report.target_digests) == digests, name
        assert (report.scanned_at is None) == (counts["createdAt"] is None), name
        system = report.system
        assert system is not None
        assert (system.family, system.version, bool(system.end_of_life)) == (
            counts["osFamily"],
            counts["osName"],
            counts["eosl"],
        ), name
        assert report.complete, name
    assert images >= 12
