"""Grype's JSON into the one normal form."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.grype import read_grype
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Severity, Suppression, Vulnerability
from portcullis.model.image import Platform
from vectors.attestations import OTHER, SUBJECT
from vectors.reports import IMAGE_ID, KERNEL_HEADERS, grype, match, rule, text

GHSA = "GHSA-aaaa-bbbb-cccc"


def read(document: object, limits: Limits = DEFAULT_LIMITS) -> ScanReport:
    return read_grype(text(document), limits)


def read_one(*args: Any, db: Any = None, **fields: Any) -> Vulnerability:
    (only,) = read(grype(match(*args, **fields), db=db)).vulnerabilities
    return only


def test_a_report() -> None:
    report = read(grype(match()))

    assert (report.scanner, report.scanner_version, report.format) == ("grype", "0.94.0", "grype-json")
    assert report.scanned_at == datetime(2026, 11, 20, 9, 0, 0, 500000, tzinfo=UTC)
    assert report.db_built_at == datetime(2026, 11, 19, 8, tzinfo=UTC)
    assert (report.target_digests, report.target_image_id) == ((SUBJECT,), IMAGE_ID)
    assert report.platform == Platform("linux", "amd64")
    assert report.system == ScannedSystem("debian", "12", None)
    assert (report.complete, report.incomplete_because, report.filters) == (True, "", ())
    assert (report.suppressed, report.suppressions, report.packages) == (0, (), None)
    assert report.vulnerabilities == (
        Vulnerability(
            id="CVE-2026-0001",
            package="openssl",
            purl="pkg:deb/debian/openssl@3.0.1",
            installed="3.0.1",
            fixed="3.0.2",
            severity=Severity.HIGH,
            score=7.5,
            state="fixed",
            path="/var/lib/dpkg/status",
        ),
    )


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("Critical", Severity.CRITICAL),
        ("Negligible", Severity.NEGLIGIBLE),
        ("Unknown", Severity.UNKNOWN),
        ("", Severity.UNKNOWN),
        (None, Severity.UNKNOWN),
    ],
)
def test_severities(word: str | None, severity: Severity) -> None:
    assert read_one(severity=word).severity is severity


@pytest.mark.parametrize(
    ("fix", "fixed", "state"),
    [
        ({"state": "fixed", "versions": ["1.2", "2.1"]}, "1.2, 2.1", "fixed"),
        ({"state": "wont-fix", "versions": ["fix_1"]}, "", "wont-fix"),
        ({"state": "not-fixed", "versions": []}, "", "not-fixed"),
        ({"state": "", "versions": None}, "", ""),
        ({"state": "fixed", "versions": []}, "(not said)", "fixed"),
        (None, "", ""),
    ],
)
def test_the_state_of_the_fix_decides_and_not_its_versions(fix: object, fixed: str, state: str) -> None:
    only = read_one(fix=fix)
    assert (only.fixed, only.state) == (fixed, state)


def test_the_fix_of_the_first_versions() -> None:
    assert read_one(fix=None, fixedInVersion="1.2").fixed == "1.2"


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        ([{"version": "3.0.2", "date": "2026-10-02", "kind": "advisory"}], datetime(2026, 10, 2, tzinfo=UTC)),
        ([{"date": "2026-10-02"}, {"date": "2026-09-01"}, {}], datetime(2026, 9, 1, tzinfo=UTC)),
        ([{"date": "2026-10-02T10:00:00Z"}], datetime(2026, 10, 2, 10, tzinfo=UTC)),
        ([{"date": "0001-01-01"}], None),
        ([], None),
    ],
)
def test_when_the_fix_was_published(available: object, expected: datetime | None) -> None:
    assert read_one(fix={"state": "fixed", "versions": ["3.0.2"], "available": available}).available == expected


def test_a_fix_that_there_is_not_was_not_published() -> None:
    fix = {"state": "wont-fix", "versions": [], "available": [{"date": "2026-10-02"}]}
    assert read_one(fix=fix).available is None


def test_what_is_known_of_the_other_names_counts() -> None:
    related = [
        {
            "id": "CVE-2026-0009",
            "severity": "Critical",
            "cvss": [
                {"metrics": {"baseScore": 5}},
                {"metrics": {"baseScore": 9.8}},
                {"metrics": {"baseScore": 70}},
                {},
            ],
            "epss": [{"cve": "CVE-2026-0009", "epss": 0.25, "percentile": 0.9}],
            "knownExploited": [{"cve": "CVE-2026-0009"}],
        },
        {"id": GHSA},
    ]
    only = read_one(GHSA, cvss=[], related=related)
    assert (only.id, only.aliases, only.severity) == (GHSA, ("CVE-2026-0009",), Severity.HIGH)
    assert (only.score, only.epss, only.exploited) == (9.8, 0.25, True)


def test_the_finding_s_own_score_and_probability_come_first() -> None:
    related = [{"id": "CVE-2", "cvss": [{"metrics": {"baseScore": 9.8}}], "epss": [{"epss": 0.9}]}]
    only = read_one(related=related, epss=[{"epss": 0.1}, {"epss": 7}])
    assert (only.score, only.epss) == (7.5, 0.1)


def test_the_cves_of_an_advisory_about_several_are_no_other_names_of_it() -> None:
    """What is said of one is not said of all; what is known of one counts."""
    related = [{"id": "CVE-2026-0002"}, {"id": "CVE-2026-0003", "knownExploited": [{}]}, {"id": GHSA}]
    only = read_one("ALAS2023-2026-1", related=related)
    assert (only.aliases, only.exploited) == ((GHSA,), True)
    assert read_one("CVE-2026-0001", related=related[:1]).aliases == ()


@pytest.mark.parametrize(
    ("providers", "exploited"),
    [(None, None), ({}, None), ({"nvd": {}}, None), ({"kev": {"captured": "2026-11-19T00:00:00Z"}}, False)],
)
def test_not_exploited_is_known_only_where_the_database_has_the_list(providers: object, exploited: bool | None) -> None:
    db = {"status": {"built": "2026-11-19T08:00:00Z"}, "providers": providers}
    assert read_one(db=db).exploited is exploited


def test_one_package_in_two_places_is_one_finding_and_the_worse_row_counts() -> None:
    rows = [
        match(severity="Low", fix={"state": "fixed", "versions": ["9"]}, artifact={"locations": [{"path": "/a"}]}),
        match(severity="High", fix={"state": "unknown"}, cvss=None, epss=[{"epss": 0.5}]),
        match(severity="Low", knownExploited=[{}]),
    ]
    (only,) = read(grype(*rows)).vulnerabilities
    assert (only.severity, only.fixed, only.state, only.path) == (Severity.HIGH, "9", "fixed", "/var/lib/dpkg/status")
    assert (only.score, only.epss, only.exploited) == (7.5, 0.5, True)


@pytest.mark.parametrize(
    ("configuration", "filters"),
    [
        ({}, ()),
        ({"ignore": None, "exclude": None, "vex-documents": None, "search": None}, ()),
        ({"search": {"scope": "Squashed"}}, ()),
        ({"search": {"scope": "all-layers"}}, ()),
        ({"only-fixed": True}, ("only-fixed",)),
        ({"only-notfixed": True}, ("only-notfixed",)),
        ({"ignore-wontfix": "wont-fix"}, ("ignore-states",)),
        ({"exclude": ["/usr/**"]}, ("exclude",)),
        ({"vex-documents": ["vex.json"]}, ("vex-documents",)),
        ({"search": {"scope": "top-layer"}}, ("search.scope",)),
        ({"search": None, "scope": "top-layer"}, ("search.scope",)),
        ({"ignore": [*KERNEL_HEADERS, rule(vulnerability="CVE-2")]}, ("ignore",)),
        ({"ignore": [{**KERNEL_HEADERS[0], "match-type": ""}]}, ("ignore",)),
        ({"ignore": [{**KERNEL_HEADERS[0], "vex-status": "fixed"}]}, ("ignore",)),
        (
            {"ignore": [rule(package={"name": "linux.*", "type": "deb"}, match_type="exact-indirect-match")]},
            ("ignore",),
        ),
        ({"only-fixed": True, "exclude": ["x"]}, ("only-fixed", "exclude")),
    ],
)
def test_settings_that_leave_findings_out(configuration: dict[str, Any], filters: tuple[str, ...]) -> None:
    report = read(grype(match(), configuration=configuration))
    assert report.filters == filters
    assert report.complete is (not filters)
    assert all(name in report.incomplete_because for name in filters)


def test_ignored_matches_are_counted_and_the_first_are_shown() -> None:
    ignored = [
        {**match("CVE-1"), "appliedIgnoreRules": [rule(vulnerability="CVE-1", reason="not reachable")]},
        {**match("CVE-2"), "appliedIgnoreRules": [rule(vex_status="not_affected"), KERNEL_HEADERS[2]]},
        {**match("CVE-3"), "appliedIgnoreRules": [KERNEL_HEADERS[2]]},
        {**match("CVE-4"), "appliedIgnoreRules": None},
    ]
    report = read(grype(ignoredMatches=ignored), replace(DEFAULT_LIMITS, suppressions=2))
    assert (report.suppressed, report.vulnerabilities) == (3, ())
    assert report.suppressions == (
        Suppression("CVE-1", "openssl", "vulnerability CVE-1, reason not reachable"),
        Suppression("CVE-2", "openssl", "vex-status not_affected"),
    )


@pytest.mark.parametrize(
    ("db", "built"),
    [
        ({"built": "2026-11-18T08:00:00Z", "schemaVersion": 5, "error": None}, datetime(2026, 11, 18, 8, tzinfo=UTC)),
        ({"status": {"built": "2026-11-18T08:00:00Z"}}, datetime(2026, 11, 18, 8, tzinfo=UTC)),
        ({"location": "x"}, None),
    ],
)
def test_the_database_of_every_schema(db: object, built: datetime | None) -> None:
    report = read(grype(match(), db=db))
    assert (report.db_built_at, report.complete) == (built, True)


@pytest.mark.parametrize("db", [{"error": "no database"}, {"status": {"error": {"message": "no database"}}}])
def test_a_database_with_an_error(db: object) -> None:
    report = read(grype(match(), db=db))
    assert not report.complete
    assert "no database" in report.incomplete_because


@pytest.mark.parametrize("descriptor", [None, {"name": "grype", "version": "0.36.0"}])
def test_old_reports_have_no_time(descriptor: object) -> None:
    report = read(grype(match(), descriptor=descriptor))
    assert (report.scanned_at, report.db_built_at, report.complete) == (None, None, True)


@pytest.mark.parametrize(
    ("distro", "matches", "complete"),
    [
        ({"name": "", "version": ""}, [], False),
        (None, [], False),
        ({"name": "", "version": ""}, [match()], True),
        ({"name": "alpine"}, [], True),
    ],
)
def test_a_scan_that_looked_at_nothing_is_not_complete(distro: object, matches: Any, complete: bool) -> None:
    report = read(grype(*matches, distro=distro))
    assert report.complete is complete
    assert bool(report.incomplete_because) is not complete


@pytest.mark.parametrize(
    ("target", "digests", "image_id", "platform"),
    [
        ({}, (), "", None),
        ({"manifestDigest": "sha256:test", "imageID": "sha256:test"}, (), "", None),
        ({"manifestDigest": SUBJECT, "repoDigests": [f"a@{OTHER}", "REDACTED"]}, (SUBJECT, OTHER), "", None),
        ({"os": "linux", "architecture": "arm64"}, (), "", Platform("linux", "arm64")),
        (None, (), "", None),
    ],
)
def test_what_the_report_is_of(
    target: object, digests: tuple[str, ...], image_id: str, platform: Platform | None
) -> None:
    report = read(grype(match(), source={"type": "image", "target": target}))
    assert (report.target_digests, report.target_image_id, report.platform) == (digests, image_id, platform)


@pytest.mark.parametrize("source", [None, {"type": "unknown", "target": "unknown"}, {"type": "", "target": None}])
def test_a_report_may_not_say_what_it_is_of(source: object) -> None:
    assert read(grype(match(), source=source)).target_digests == ()


@pytest.mark.parametrize(
    ("document", "reason", "says"),
    [
        (grype(source={"type": "directory", "target": "."}), "attestation-unsupported", '"directory"'),
        (grype(source={"type": "sbom-file", "target": "x"}), "attestation-unsupported", '"sbom-file"'),
        (grype(source={"type": "image", "target": "text"}), "attestation-invalid", "source.target"),
        (grype(matches={}), "attestation-invalid", "$.matches"),
        ({"source": None}, "attestation-invalid", "`matches`"),
        (grype(match("")), "attestation-invalid", "no vulnerability.id"),
        (grype({"vulnerability": None}), "attestation-invalid", "no vulnerability.id"),
        (grype(match(artifact={"name": None})), "attestation-invalid", "no artifact.name"),
        (grype({"vulnerability": {"id": "x"}}), "attestation-invalid", "no artifact.name"),
        (grype(match(fix={"state": "fixed", "available": [{"date": "2026-13-01"}]})), "attestation-invalid", "date"),
        (grype(db={"built": "yesterday"}), "attestation-invalid", "descriptor.db.built"),
        (grype(descriptor={"timestamp": "now"}), "attestation-invalid", "descriptor.timestamp"),
        (grype(configuration={"only-fixed": "yes"}), "attestation-invalid", "only-fixed"),
    ],
)
def test_what_is_refused(document: object, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read(document)
    assert refused.value.reason == reason
    assert says in refused.value.message


def test_too_many_findings() -> None:
    limits = replace(DEFAULT_LIMITS, findings=2)
    rows = [match(f"CVE-{number}") for number in range(3)]
    assert len(read(grype(*rows[:2]), limits).vulnerabilities) == 2
    with pytest.raises(EvidenceError, match="the limit findings is 2") as refused:
        read(grype(*rows), limits)
    assert refused.value.reason == "too-large"


def test_sample_reports_count_as_expected(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    images = 0
    for name, counts in expected.items():
        if counts["format"] != "grype-json":
            continue
        content = (shared_data / name).read_bytes()
        if counts["sourceType"] == "directory":
            with pytest.raises(EvidenceError, match='of a "directory"'):
                read_grype(content, DEFAULT_LIMITS)
            continue
        images += 1
        report = read_grype(content, DEFAULT_LIMITS)
        found = report.vulnerabilities
        assert len(found) == counts["uniqueIdPkgVersion"], name
        assert len({one.id for one in found}) == counts["uniqueIds"], name
        if counts["findings"] == counts["uniqueIdPkgVersion"]:
            assert Counter(str(one.severity).upper() for one in found) == counts["bySeverity"], name
            assert report.counts()["fixable"] == counts["fixable"], name
            assert Counter(one.state for one in found) == counts["fixStates"], name
            assert sum(1 for one in found if one.exploited) == counts["kev"], name
        assert report.suppressed == counts["ignored"], name
        assert report.scanner_version == counts["scannerVersion"], name
        assert (report.scanned_at is None) == (counts["scanTime"] is None), name
        assert (report.db_built_at is None) == (counts["dbBuilt"] is None), name
        named = [counts["manifestDigest"], *(one.rpartition("@")[2] for one in counts["repoDigests"] or ())]
        assert list(report.target_digests) == [one for one in named if one and len(one) == 71], name
        assert (report.filters, report.complete) == ((), True), name
    assert images >= 9
