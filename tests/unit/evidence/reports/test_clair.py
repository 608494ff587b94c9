"""Clair v4's report into the one normal form, and its old forms refused by name."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.clair import read_clair
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Severity, Vulnerability
from vectors.attestations import SUBJECT
from vectors.reports import clair, clair_vulnerability, text

SCHEMA = "schema=https://links.example/cvss-v3.x.json"


def read(document: object, limits: Limits = DEFAULT_LIMITS) -> ScanReport:
    return read_clair(text(document), limits)


def read_one(name: str = "CVE-2026-0001 openssl", *, enrichments: Any = None, **fields: Any) -> Vulnerability:
    document = clair(clair_vulnerability(name, **fields), enrichments=enrichments)
    (only,) = read(document).vulnerabilities
    return only


def enriched(enricher: str, *items: object, key: str = "v0") -> dict[str, Any]:
    return {f"message/vnd.clair.map.vulnerability; enricher={enricher} {SCHEMA}": [{key: list(items)}]}


def test_a_report() -> None:
    report = read(clair(clair_vulnerability()))

    assert (report.scanner, report.scanner_version, report.format) == ("clair", "", "clair-json")
    assert (report.scanned_at, report.db_built_at) == (None, None)
    assert (report.target_digests, report.target_image_id, report.platform) == ((SUBJECT,), "", None)
    assert report.system == ScannedSystem("debian", "12", None)
    assert (report.packages, report.complete, report.incomplete_because) == (1, True, "")
    assert report.vulnerabilities == (
        Vulnerability(id="CVE-2026-0001", package="openssl", installed="3.0.1", fixed="3.0.2", severity=Severity.HIGH),
    )


def test_findings_are_the_pairs() -> None:
    """An entry that no package has is there to say that one is not affected; one that two have is two findings."""
    document = clair(clair_vulnerability(), clair_vulnerability("CVE-2"), clair_vulnerability("CVE-3"))
    document["packages"]["q"] = {"name": "curl", "version": "8"}
    document["package_vulnerabilities"] = {"p": ["v0", "v1"], "q": ["v0"], "r": None}
    document["packages"]["r"] = {}
    found = [(one.id, one.package) for one in read(document).vulnerabilities]
    assert found == [("CVE-2026-0001", "openssl"), ("CVE-2", "openssl"), ("CVE-2026-0001", "curl")]


@pytest.mark.parametrize(
    ("name", "links", "expected", "aliases"),
    [
        ("CVE-2022-23219 glibc", "https://x/CVE-2022-23219", "CVE-2022-23219", ()),
        ("pyup.io-42559 (CVE-2021-3572)", "", "CVE-2021-3572", ("pyup.io-42559",)),
        ("pyup.io-37667 (PVE-2021-37667)", "", "pyup.io-37667", ("PVE-2021-37667",)),
        ("GHSA-aaaa-bbbb-cccc", "https://x/CVE-2026-0001 https://y", "GHSA-aaaa-bbbb-cccc", ("CVE-2026-0001",)),
        ("RHSA-2022:0892: x (Moderate)", "x/RHSA-2022:0892 CVE-2021-1234", "RHSA-2022:0892", ("CVE-2021-1234",)),
        ("RHSA-2022:0892: x (Moderate)", "https://x/CVE-2021-1234 CVE-2021-1235", "RHSA-2022:0892", ()),
        ("CVE-2021-1111 x", "https://x/CVE-2021-1111 https://x/CVE-2021-1235", "CVE-2021-1111", ()),
        ("CVE-2021-1111 x", "https://x/CVE-2021-1111 https://x/USN-1-1", "CVE-2021-1111", ("USN-1-1",)),
        ("advisory about CVE-2021-1111 and CVE-2021-1112", "", "advisory about CVE-2021-1111 and CVE-2021-1112", ()),
        ("DSA-5000-1 CVE-2021-1111 CVE-2021-1112", "", "DSA-5000-1", ()),
        ("GO-2022-0001", "", "GO-2022-0001", ()),
        ("ALAS2023-2023-100", "", "ALAS2023-2023-100", ()),
        ("something that nobody numbered", "", "something that nobody numbered", ()),
    ],
)  # fmt: skip
def test_ids_are_found_in_free_text(name: str, links: str, expected: str, aliases: tuple[str, ...]) -> None:
    """The CVEs of an advisory about several are no other names of it: what is said of one is not said of all."""
    only = read_one(name, links=links)
    assert (only.id, only.aliases) == (expected, aliases)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("", ""),
        (None, ""),
        ("0:0", ""),
        ("0:3.3.3-3.el8_5", "0:3.3.3-3.el8_5"),
        ("fixed=5.3.1&introduced=0", "5.3.1"),
        ("introduced=0&lastAffected=5.2", ""),
        ("&".join(["fixed=1"] * 11), "&".join(["fixed=1"] * 11)),
    ],
)
def test_fixed_versions(version: str | None, fixed: str) -> None:
    assert read_one(fixed_in_version=version).fixed == fixed


@pytest.mark.parametrize(
    ("word", "items", "severity", "score"),
    [
        ("High", [{"baseScore": 9.8, "baseSeverity": "CRITICAL"}], Severity.HIGH, 9.8),
        ("Negligible", [{"baseScore": 9.8, "baseSeverity": "CRITICAL"}], Severity.NEGLIGIBLE, 9.8),
        ("Unknown", [{"baseScore": 9.8, "baseSeverity": "CRITICAL"}], Severity.CRITICAL, 9.8),
        ("Unknown", [{"baseScore": 5.0, "baseSeverity": "MEDIUM"}, {"baseScore": 7.5}], Severity.HIGH, 7.5),
        ("Unknown", [{"baseScore": 4.0}], Severity.MEDIUM, 4.0),
        ("Unknown", [{}], Severity.UNKNOWN, None),
        ("Unknown", [], Severity.UNKNOWN, None),
        ("", [{"baseScore": 700, "baseSeverity": "LOW"}], Severity.LOW, None),
        (None, None, Severity.UNKNOWN, None),
    ],
)
def test_an_unknown_severity_falls_back_to_cvss(
    word: str | None, items: list[object] | None, severity: Severity, score: float | None
) -> None:
    enrichments = None if items is None else enriched("clair.cvss", *items)
    only = read_one(normalized_severity=word, enrichments=enrichments)
    assert (only.severity, only.score) == (severity, score)


def test_the_other_enrichers() -> None:
    epss = enriched("clair.epss", {"epss": 0.5, "cve": "CVE-1"}, {"epss": 0.25}, {"epss": 7})
    only = read_one(enrichments={**epss, **enriched("clair.kev", {"cve": "CVE-2026-0001"})})
    assert (only.epss, only.exploited) == (0.5, True)
    only = read_one(enrichments={**enriched("clair.kev", {}, key="other"), "text/unknown": {"any": "shape"}})
    assert (only.epss, only.exploited) == (None, False)
    assert read_one(enrichments=None).exploited is None


def test_one_vulnerability_of_two_repositories_is_one_finding() -> None:
    rows = [clair_vulnerability(normalized_severity=word) for word in ("Low", "High", "Unknown")]
    (only,) = read(clair(*rows)).vulnerabilities
    assert only.severity is Severity.HIGH


def test_a_report_without_packages_looked_at_nothing() -> None:
    report = read(clair(packages={}, package_vulnerabilities={}, distributions={}))
    assert (report.complete, report.packages, report.system) == (False, 0, None)
    assert report.incomplete_because


@pytest.mark.parametrize(
    ("document", "form"),
    [
        ({"Layer": {"Name": "x", "Features": []}}, "Clair v1"),
        ({"LayerCount": 9, "Vulnerabilities": {"Defcon1": []}}, "klar"),
        ({"image": "x", "unapproved": [], "vulnerabilities": []}, "clair-scanner"),
    ],
)
def test_old_forms_are_refused_by_name(document: object, form: str) -> None:
    with pytest.raises(EvidenceError, match="clairctl") as refused:
        read(document)
    assert refused.value.reason == "attestation-unsupported"
    assert form in refused.value.message


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (clair(manifest_hash=None), "no manifest_hash"),
        ({"manifest_hash": SUBJECT, "vulnerabilities": {}}, "`package_vulnerabilities`"),
        (clair(package_vulnerabilities={"p": ["v9"]}), 'the vulnerability "v9"'),
        (clair(clair_vulnerability(), packages={}), 'the package "p"'),
        (clair(clair_vulnerability("")), "has no name"),
        (clair(vulnerabilities=[]), "$.vulnerabilities"),
        (clair(enrichments={"enricher=clair.cvss": {}}), "an enrichment"),
        (clair(enrichments={"enricher=clair.cvss": [{"v0": [{"baseScore": "9"}]}]}), "baseScore"),
        ([], "the Clair report"),
    ],
)
def test_what_is_refused(document: object, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read(document)
    assert refused.value.reason == "attestation-invalid"
    assert says in refused.value.message


def test_too_many_findings() -> None:
    limits = replace(DEFAULT_LIMITS, findings=2)
    rows = [clair_vulnerability(f"CVE-2026-000{number}") for number in range(3)]
    assert len(read(clair(*rows[:2]), limits).vulnerabilities) == 2
    with pytest.raises(EvidenceError, match="the limit findings is 2") as refused:
        read(clair(*rows), limits)
    assert refused.value.reason == "too-large"


def test_a_long_text_that_many_pairs_name() -> None:
    document = clair(clair_vulnerability("x" * 1000))
    document["packages"] = {str(number): {"name": "p", "version": str(number)} for number in range(20)}
    document["package_vulnerabilities"] = {str(number): ["v0"] for number in range(20)}
    assert len(read(document, replace(DEFAULT_LIMITS, document_bytes=21_000)).vulnerabilities) == 20
    with pytest.raises(EvidenceError, match="documentBytes") as refused:
        read(document, replace(DEFAULT_LIMITS, document_bytes=20_000))
    assert refused.value.reason == "too-large"


def test_sample_reports_count_as_expected(shared_data: Path) -> None:
    """Red Hat's advisories stand once for each repository that has them: 39 pairs, of which 29 differ in id, package
    or version."""
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    unique = {"clair/debian_stretch.json": 212, "clair/quay-rhel8.json": 29}
    for name, count in unique.items():
        counts = expected[name]
        content = (shared_data / name).read_bytes()
        report = read_clair(content, DEFAULT_LIMITS)
        document = json.loads(content)
        pairs = document["package_vulnerabilities"]
        assert sum(map(len, pairs.values())) == counts["pairs"], name
        assert len(report.vulnerabilities) == count, name
        assert (report.packages, report.target_digests) == (counts["packages"], (counts["manifestHash"],)), name
        by_severity = Counter(str(one.severity).upper() for one in report.vulnerabilities)
        if count == counts["pairs"]:
            assert by_severity == counts["bySeverityWithCvssFallback"], name
            assert report.counts()["fixable"] == counts["fixable"], name
        else:
            rows: dict[tuple[str, str, str], tuple[str, bool]] = {}
            for key, vulnerabilities in pairs.items():
                package = document["packages"][key]
                for one in (document["vulnerabilities"][vulnerability] for vulnerability in vulnerabilities):
                    row = (one["normalized_severity"].upper(), bool(one["fixed_in_version"]))
                    rows[one["name"], package["name"], package["version"]] = row
            assert by_severity == Counter(severity for severity, _ in rows.values()), name
            assert report.counts()["fixable"] == sum(fixable for _, fixable in rows.values()), name


def test_old_samples_are_refused(shared_data: Path) -> None:
    for name, form in (("legacy_clair_few_vuln.json", "clair-scanner"), ("legacy_clairklar_mixed.json", "klar")):
        with pytest.raises(EvidenceError, match=form):
            read_clair((shared_data / "clair" / name).read_bytes(), DEFAULT_LIMITS)
