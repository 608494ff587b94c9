"""SARIF of scanners and of Hadolint."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.sarif import read_sarif_lint, read_sarif_scan
from portcullis.evidence.reports.sarifdrivers import split_purl
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import LintReport, ScanReport, Severity, Suppression, Vulnerability
from vectors.attestations import SUBJECT
from vectors.documents import (
    IMAGE_ID,
    PURL,
    encoded,
    grype_rule,
    grype_text,
    result,
    run,
    sarif,
    scout_rule,
    scout_text,
    trivy_rule,
    trivy_text,
)

GRYPE = "CVE-2026-0001-openssl"
OLD_GRYPE = "Anchore Container Vulnerability Report (T0)"


def scan(*runs: dict[str, Any], **fields: Any) -> ScanReport:
    return read_sarif_scan(encoded(sarif(*runs, **fields)), DEFAULT_LIMITS)


def lint(*runs: dict[str, Any]) -> LintReport:
    return read_sarif_lint(encoded(sarif(*runs)), DEFAULT_LIMITS)


def only(report: ScanReport) -> Vulnerability:
    (finding,) = report.vulnerabilities
    return finding


def scout(result_text: str = "", level: str = "error", **properties: Any) -> Vulnerability:
    text = result_text or scout_text()
    return only(scan(run("docker scout", [result(text=text, level=level)], [scout_rule(**properties)])))


def trivy(rule: dict[str, Any], **fields: Any) -> Vulnerability:
    return only(scan(run("Trivy", [result(**fields)], [rule])))


def grype(rule: dict[str, Any], **fields: Any) -> Vulnerability:
    return only(scan(run("grype", [result(GRYPE, **fields)], [rule])))


def refusal(content: bytes, **limits: int) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        read_sarif_scan(content, replace(DEFAULT_LIMITS, **limits))
    return caught.value.reason, caught.value.message


# -- Docker Scout --------------------------------------------------------------------------------------------


def test_a_finding_of_docker_scout() -> None:
    report = scan(run("docker scout", [result(text=scout_text())], [scout_rule()]))
    assert (report.scanner, report.scanner_version, report.format) == ("docker-scout", "1.2.3", "sarif")
    assert (report.scanned_at, report.db_built_at, report.target_digests, report.packages) == (None, None, (), None)
    assert (report.complete, report.incomplete_because, report.suppressed) == (True, "", 0)
    assert only(report) == Vulnerability(
        id="CVE-2026-0001",
        package="openssl",
        purl=PURL,
        installed="3.0.1",
        fixed="3.0.2",
        severity=Severity.HIGH,
        score=7.5,
        path="usr/lib/x",
    )


def test_docker_scouts_text_says_which_package_of_a_rule_it_is_about() -> None:
    """A rule has the properties of one package; results are counted, not rules."""
    texts = [scout_text(f"pkg:maven/org.yaml/snakeyaml@{version}") for version in ("1.28", "1.30")]
    report = scan(run("docker scout", [result(text=text) for text in texts], [scout_rule()]))
    assert [(one.package, one.installed) for one in report.vulnerabilities] == [
        ("org.yaml/snakeyaml", "1.28"),
        ("org.yaml/snakeyaml", "1.30"),
    ]


@pytest.mark.parametrize(
    ("properties", "text", "purl"),
    [
        ({}, "another form", PURL),
        ({"purl": None, "purls": [PURL]}, "another form", PURL),
        ({"purl": None, "purls": [PURL, "pkg:deb/debian/x@1"]}, "another form", ""),
        ({}, scout_text("pkg:deb/debian/x@1", cve="CVE-OTHER"), PURL),
        ({}, scout_text("pkg:deb/debian/x@1") + "  Package        : pkg:deb/debian/y@1\n", PURL),
    ],
)
def test_docker_scouts_package_without_a_text_of_its_own(properties: dict[str, Any], text: str, purl: str) -> None:
    assert scout(text, **properties).purl == purl


@pytest.mark.parametrize("fixed", ["not fixed", None])
def test_not_fixed_is_a_sentence_not_a_version(fixed: str | None) -> None:
    assert scout("another form", fixed_version=fixed).fixed == ""
    assert scout(scout_text(fixed="not fixed"), fixed_version="not fixed").fixed == ""


@pytest.mark.parametrize(("given", "score"), [(7.5, 7.5), ("7.5", 7.5), ("high", None), (99, None), (None, None)])
def test_docker_scouts_score_is_a_number_or_a_text(given: object, score: float | None) -> None:
    assert scout(cvssV3=given).score == score


@pytest.mark.parametrize(
    ("word", "level", "severity"),
    [
        ("CRITICAL", "error", Severity.CRITICAL),
        ("HIGH", "error", Severity.HIGH),
        ("MEDIUM", "warning", Severity.MEDIUM),
        ("LOW", "note", Severity.LOW),
        # Whose security-severity is a number all the same, which would make a LOW of it.
        ("UNSPECIFIED", "none", Severity.UNKNOWN),
        # A word that is milder than the level does not count.
        ("LOW", "error", Severity.CRITICAL),
        ("UNSPECIFIED", "error", Severity.CRITICAL),
        ("LOW", "warning", Severity.MEDIUM),
        ("HIGH", "note", Severity.HIGH),
        (None, "error", Severity.CRITICAL),
        (None, "none", Severity.UNKNOWN),
    ],
)
def test_docker_scouts_severities(word: str | None, level: str, severity: Severity) -> None:
    rule = {"cvssV3_severity": word, "tags": None, "security-severity": "3.1"}
    assert scout("another form", level, **rule).severity is severity
    assert (
        scout("another form", level, **{**rule, "cvssV3_severity": None, "tags": [word] if word else None}).severity
        is severity
    )
    assert scout(scout_text(severity=word or ""), level, **{**rule, "cvssV3_severity": None}).severity is severity


# -- Trivy ---------------------------------------------------------------------------------------------------


def test_a_finding_of_trivy() -> None:
    image = {"imageName": "web", "repoTags": [], "repoDigests": [f"r/web@{SUBJECT}", ""], "imageID": IMAGE_ID}
    report = scan(run("Trivy", [result(text=trivy_text())], [trivy_rule()], properties=image))
    assert (report.scanner, report.target_digests, report.target_image_id) == ("trivy", (SUBJECT,), IMAGE_ID)
    assert only(report) == Vulnerability(
        id="CVE-2026-0001",
        package="openssl",
        installed="3.0.1",
        fixed="3.0.2",
        severity=Severity.HIGH,
        path="usr/lib/x",
    )


def test_trivys_rule_has_the_severity_of_another_package() -> None:
    """Rules are one for each vulnerability, with the severity of the last package that has it."""
    texts = {"a": ("CRITICAL", "error"), "b": ("LOW", "note")}
    results = [result(text=trivy_text(name, word), level=level) for name, (word, level) in texts.items()]
    report = scan(run("Trivy", results, [trivy_rule("LOW")]))
    assert [one.severity for one in report.vulnerabilities] == [Severity.CRITICAL, Severity.LOW]


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("another form", Severity.HIGH),
        # The name of a package comes from the image: a line break in it must not write a severity.
        (trivy_text("x\nSeverity: LOW", "HIGH"), Severity.HIGH),
        (trivy_text("x\nInstalled Version: 1\nVulnerability CVE-2026-0001\nSeverity: LOW"), Severity.HIGH),
        (trivy_text().replace("Vulnerability CVE-2026-0001", "Vulnerability CVE-OTHER"), Severity.HIGH),
        (
            trivy_text(
                "x\nInstalled Version: 1\nVulnerability CVE-2026-0001\nSeverity: CRITICAL\nFixed Version: \nLink: y"
            ),
            Severity.HIGH,
        ),
    ],
)
def test_trivys_text_counts_only_in_its_whole_form(text: str, severity: Severity) -> None:
    finding = trivy(trivy_rule("HIGH"), text=text)
    assert (finding.severity, finding.package, finding.fixed) == (severity, "", "")


@pytest.mark.parametrize("kind", ["Misconfiguration", "Secret", "License"])
def test_trivys_other_findings_are_no_vulnerabilities(kind: str) -> None:
    assert scan(run("Trivy", [result()], [trivy_rule(kind=kind)])).vulnerabilities == ()


@pytest.mark.parametrize(("tags", "level", "severity"), [
    (["vulnerability", "security", "UNKNOWN"], "note", Severity.UNKNOWN),
    (["vulnerability", "security", "LOW"], "note", Severity.LOW),
    (["vulnerability", "security"], "note", Severity.LOW),
    (["vulnerability", "security"], "warning", Severity.MEDIUM),
    (None, "error", Severity.CRITICAL),
])  # fmt: skip
def test_trivys_tags(tags: list[str] | None, level: str, severity: Severity) -> None:
    assert trivy(trivy_rule(tags=tags), level=level).severity is severity


def test_trivys_score_is_its_own_property() -> None:
    """security-severity is made from the severity where there is no score."""
    assert trivy(trivy_rule()).score is None
    assert trivy(trivy_rule(cvssv3_baseScore=9.1)).score == 9.1


# -- Grype ---------------------------------------------------------------------------------------------------


def test_a_finding_of_grype() -> None:
    finding = grype(grype_rule(), text=grype_text())
    assert finding == Vulnerability(
        id="CVE-2026-0001",
        package="openssl",
        purl=PURL,
        installed="3.0.1",
        fixed="3.0.2, 3.1.0",
        severity=Severity.HIGH,
        path="usr/lib/x",
    )


def test_grypes_rule_is_of_another_version() -> None:
    finding = grype(grype_rule("low"), text=grype_text("critical", "1.1.1"))
    assert (finding.installed, finding.purl, finding.fixed) == ("1.1.1", "", "3.0.2, 3.1.0")
    assert finding.severity is Severity.CRITICAL


@pytest.mark.parametrize(("word", "level", "severity"), [
    ("negligible", "note", Severity.NEGLIGIBLE),
    ("unknown", "note", Severity.UNKNOWN),
    ("low", "error", Severity.CRITICAL),
])  # fmt: skip
def test_grypes_severities(word: str, level: str, severity: Severity) -> None:
    assert grype(grype_rule(word), text=grype_text(word), level=level).severity is severity
    assert grype(grype_rule(word), text="another form", level=level).severity is severity


def test_grypes_rule_of_another_form() -> None:
    finding = grype({"id": GRYPE, "help": {"text": "Severity: low"}}, text="another form")
    assert (finding.id, finding.package, finding.severity) == (GRYPE, "", Severity.CRITICAL)


@pytest.mark.parametrize(
    "rule",
    [
        # More than the form, which a line break in a name can make of it; and a rule of another vulnerability.
        {**grype_rule("low"), "help": {"text": grype_rule("low")["help"]["text"] + "\nType: deb"}},
        {**grype_rule("low"), "id": "CVE-2026-0002-openssl"},
    ],
)
def test_grypes_rule_counts_only_in_its_whole_form(rule: dict[str, Any]) -> None:
    finding = only(scan(run("grype", [result(rule["id"], "warning", "another form")], [rule])))
    assert (finding.id, finding.package, finding.fixed) == (rule["id"], "", "")


def test_grypes_text_counts_only_in_its_whole_form() -> None:
    finding = grype(grype_rule(), text=grype_text("critical", "1.1.1") + "\nmore")
    assert (finding.installed, finding.severity) == ("3.0.1", Severity.HIGH)


def test_old_grype_suppresses_each_result_and_gives_all_the_index_0() -> None:
    ids = [f"ANCHOREVULN_web_CVE-2026-000{number}_deb_openssl_3.0.1" for number in (1, 2)]
    rules = []
    for number, rule_id in enumerate(ids, start=1):
        text = grype_rule(fixed="")["help"]["text"].replace("CVE-2026-0001", f"CVE-2026-000{number}")
        rules.append({"id": rule_id, "help": {"text": text}})
    results = [result(one, ruleIndex=0, suppressions=[{"kind": "external"}]) for one in ids]
    report = scan(run(OLD_GRYPE, results, rules))
    assert (report.scanner, report.suppressed) == ("grype", 0)
    assert [one.id for one in report.vulnerabilities] == ["CVE-2026-0001", "CVE-2026-0002"]


# -- any tool ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "default", "severity"),
    [
        ("error", None, Severity.CRITICAL),
        ("warning", None, Severity.MEDIUM),
        ("note", None, Severity.LOW),
        ("none", None, Severity.UNKNOWN),
        ("grave", None, Severity.UNKNOWN),
        (None, None, Severity.MEDIUM),
        (None, "error", Severity.CRITICAL),
        ("note", "error", Severity.LOW),
    ],
)
def test_an_unknown_tool_is_read_by_level(level: str | None, default: str | None, severity: Severity) -> None:
    rule = {"id": "R1", "properties": {"cvssV3_severity": "LOW", "tags": 7}}
    if default:
        rule["defaultConfiguration"] = {"level": default}
    report = scan(run("Frobnicator", [result("R1", level)], [rule]))
    assert (report.scanner, only(report).id, only(report).severity) == ("Frobnicator", "R1", severity)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"ruleId": "B"}, "B"),
        ({"ruleIndex": 1}, "B"),
        ({"rule": {"index": 1}}, "B"),
        ({"rule": {"id": "B"}}, "B"),
        ({"ruleId": "A", "ruleIndex": 1}, "A"),
        ({"ruleId": "C", "ruleIndex": 1}, "C"),
    ],
)
def test_rules_are_found_by_id_before_index(fields: dict[str, Any], rule: str) -> None:
    rules = [{"id": "A"}, {"id": "B", "defaultConfiguration": {"level": "error"}}]
    finding = only(scan(run("Frobnicator", [result(None, None, **fields)], rules)))
    assert (finding.id, finding.severity) == (rule, Severity.CRITICAL if rule == "B" else Severity.MEDIUM)


def test_of_two_rules_with_one_id_the_first_counts() -> None:
    rules = [{"id": "A", "defaultConfiguration": {"level": level}} for level in ("error", "note")]
    assert only(scan(run("Frobnicator", [result("A", None)], rules))).severity is Severity.CRITICAL


@pytest.mark.parametrize("fields", [{}, {"ruleIndex": 5}, {"ruleIndex": -1}, {"rule": {}}])
def test_a_result_of_no_rule_is_refused(fields: dict[str, Any]) -> None:
    content = encoded(sarif(run("Frobnicator", [result(None, **fields)], [{"id": "A"}])))
    assert refusal(content) == ("attestation-invalid", "a result of the SARIF report names no rule")


@pytest.mark.parametrize(
    ("suppressions", "suppressed"),
    [
        ([], False),
        ([{"kind": "external", "justification": "not used"}], True),
        ([{"kind": "inSource", "status": "accepted"}], True),
        ([{"kind": "external", "status": "underReview"}], False),
        ([{"kind": "external"}, {"kind": "external", "status": "rejected"}], False),
    ],
)
def test_suppressed_results(suppressions: list[dict[str, Any]], suppressed: bool) -> None:
    report = scan(run("Trivy", [result(text=trivy_text(), suppressions=suppressions)], [trivy_rule()]))
    assert (report.suppressed, len(report.vulnerabilities)) == ((1, 0) if suppressed else (0, 1))
    if suppressed:
        why = suppressions[0].get("justification", suppressions[0]["kind"])
        assert report.suppressions == (Suppression("CVE-2026-0001", "openssl", why),)


def test_all_suppressed_results_are_counted_and_the_first_are_shown() -> None:
    results = [result(f"R{number}", suppressions=[{"kind": "external"}]) for number in range(3)]
    content = encoded(sarif(run("Frobnicator", results)))
    report = read_sarif_scan(content, replace(DEFAULT_LIMITS, suppressions=2))
    assert (report.suppressed, [one.id for one in report.suppressions]) == (3, ["R0", "R1"])


@pytest.mark.parametrize(("kind", "count"), [("fail", 1), ("review", 1), ("pass", 0), ("notApplicable", 0)])
def test_results_that_are_no_findings(kind: str, count: int) -> None:
    assert len(scan(run("Frobnicator", [result(kind=kind)])).vulnerabilities) == count


def test_one_package_in_two_places_is_one_finding_and_the_worst() -> None:
    texts = [("MEDIUM", "warning", ""), ("CRITICAL", "error", ""), ("LOW", "note", "3.0.9")]
    results = [result(text=trivy_text(severity=word, fixed=fixed), level=level) for word, level, fixed in texts]
    finding = only(scan(run("Trivy", results, [trivy_rule()])))
    assert (finding.severity, finding.fixed) == (Severity.CRITICAL, "3.0.9")


def test_where_the_package_is_not_known_each_place_counts() -> None:
    places = [[{"physicalLocation": {"artifactLocation": {"uri": uri}}}] for uri in ("a", "b", "a")]
    report = scan(run("Frobnicator", [result(locations=one) for one in places]))
    assert [one.path for one in report.vulnerabilities] == ["a", "b"]


def test_no_results_are_a_clean_report() -> None:
    """SARIF does not say whether a filter left nothing over."""
    report = scan(run("docker scout", []))
    assert (report.complete, report.vulnerabilities, report.target_digests) == (True, (), ())


@pytest.mark.parametrize(
    ("results", "fields", "because"),
    [
        (None, {}, "no results, not even an empty list"),
        ([], {"invocations": [{"executionSuccessful": True}, {"executionSuccessful": False}]}, "run failed"),
        ([], {"invocations": [{"toolExecutionNotifications": [{"level": "error"}]}]}, "met an error"),
        ([], {"externalPropertyFileReferences": {"results": [{"location": {"uri": "x"}}]}}, "files of their own"),
    ],
)
def test_incomplete_reports(results: list[Any] | None, fields: dict[str, Any], because: str) -> None:
    report = scan(run("docker scout", results, **fields), run("docker scout", []))
    assert not report.complete
    assert because in report.incomplete_because


def test_several_runs_of_one_tool_are_one_report() -> None:
    report = scan(run("Frobnicator", [result("A")]), run("frobnicator", [result("B")]))
    assert [one.id for one in report.vulnerabilities] == ["A", "B"]


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        (sarif(run("Trivy", []), run("grype", [])), "attestation-unsupported", 'several tools ("grype, trivy")'),
        (sarif(run("Hadolint", [])), "attestation-unsupported", "of Hadolint, which is no vulnerability scanner"),
        (sarif(), "attestation-invalid", "holds no run"),
        (sarif(run("", [])), "attestation-invalid", "does not name its tool"),
        (sarif(run("x", []), version="2.0.0"), "attestation-unsupported", 'of version "2.0.0"; 2.1.0 is read'),
        (sarif(run("x", []), version=None), "attestation-unsupported", 'of version ""'),
        ({"version": "2.1.0"}, "attestation-invalid", "another shape than expected"),
        ([], "attestation-invalid", "another shape than expected"),
    ],
)
def test_refused_documents(document: object, reason: str, message: str) -> None:
    found = refusal(encoded(document))
    assert found[0] == reason
    assert message in found[1]


def test_more_findings_than_the_limit() -> None:
    content = encoded(sarif(run("x", [result("A"), result("B")]), run("x", [result("C")])))
    assert len(read_sarif_scan(content, replace(DEFAULT_LIMITS, findings=3)).vulnerabilities) == 3
    assert refusal(content, findings=2) == ("too-large", "the report has 3 findings; the limit findings is 2")


@pytest.mark.parametrize(
    ("purl", "package", "version"),
    [
        (PURL, "openssl", "3.0.1"),
        ("pkg:npm/%40babel/core@7.0.0", "@babel/core", "7.0.0"),
        ("pkg:npm/@babel/core", "@babel/core", ""),
        ("pkg:deb/debian/glibc@2.36-9%2Bdeb12u9?os_name=debian", "glibc", "2.36-9+deb12u9"),
        ("pkg:golang/github.com/acme/x@v1.0.0#sub", "github.com/acme/x", "v1.0.0"),
        ("pkg:pypi/x", "x", ""),
        ("", "", ""),
    ],
)
def test_packages_of_purls(purl: str, package: str, version: str) -> None:
    assert split_purl(purl) == (package, version)


# -- Hadolint ------------------------------------------------------------------------------------------------


def test_hadolints_levels() -> None:
    levels = ["error", "warning", "note", "none", "grave", None]
    report = lint(run("Hadolint", [result(f"DL{number}", level, "do so") for number, level in enumerate(levels)]))
    assert (report.tool, report.tool_version, report.linted_at) == ("hadolint", "1.2.3", None)
    assert [(one.rule, one.level) for one in report.findings] == [
        ("DL0", "error"), ("DL1", "warning"), ("DL2", "info"), ("DL4", "error"), ("DL5", "warning"),
    ]  # fmt: skip
    assert (report.findings[0].file, report.findings[0].line, report.findings[0].message) == ("usr/lib/x", 7, "do so")
    assert (report.suppressed, report.complete) == (1, True)


def test_suppressed_results_of_a_linter() -> None:
    report = lint(run("Hadolint", [result("DL1", suppressions=[{"kind": "inSource"}]), result("DL2")]))
    assert ([one.rule for one in report.findings], report.suppressed) == (["DL2"], 1)


@pytest.mark.parametrize(
    ("results", "fields", "because"),
    [
        ([result("DL1000")], {}, "could not parse the Dockerfile (line 7)"),
        (None, {}, "no results"),
        ([], {"invocations": [{"executionSuccessful": False}]}, "run failed"),
    ],
)
def test_incomplete_reports_of_a_linter(results: list[Any] | None, fields: dict[str, Any], because: str) -> None:
    report = lint(run("Hadolint", results, **fields))
    assert not report.complete
    assert because in report.incomplete_because


@pytest.mark.parametrize("name", ["docker scout", "Trivy"])
def test_other_tools_are_no_linters(name: str) -> None:
    with pytest.raises(EvidenceError, match="of linters Hadolint is read") as caught:
        lint(run(name, []))
    assert caught.value.reason == "attestation-unsupported"


def test_more_lint_findings_than_the_limit() -> None:
    content = encoded(sarif(run("Hadolint", [result("A"), result("B")])))
    assert len(read_sarif_lint(content, replace(DEFAULT_LIMITS, lint_findings=2)).findings) == 2
    with pytest.raises(EvidenceError, match="the limit lintFindings is 1") as caught:
        read_sarif_lint(content, replace(DEFAULT_LIMITS, lint_findings=1))
    assert caught.value.reason == "too-large"


# -- samples -------------------------------------------------------------------------------------------------

DIFFERENT: dict[str, dict[str, int]] = {
    # The values that came with it band the CVSS scores of security-severity (8.2 and 8.5); Grype's own words for the
    # two, in each text of the report and in its levels, are low and critical.
    "grype/TestSarifPresenter_image.sarif.json": {"LOW": 1, "CRITICAL": 1},
}


def test_sampled_scans(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    names = [name for name, one in expected.items() if one["format"] == "sarif" and not name.startswith("hadolint/")]
    assert len(names) == 2
    for name in names:
        (wanted,) = expected[name]["run"]
        report = read_sarif_scan((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        assert len(report.vulnerabilities) == wanted["results"]
        assert report.scanner.replace("-", " ") == wanted["tool"]
        assert report.scanner_version == wanted["version"]
        assert report.suppressed == wanted["suppressed"]
        counts = Counter(one.severity.upper() for one in report.vulnerabilities)
        assert counts == DIFFERENT.get(name, wanted["severityOfResults"])
        assert all(one.package and one.installed for one in report.vulnerabilities)


def test_sampled_lint(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    names = [name for name, one in expected.items() if one["format"] == "sarif" and name.startswith("hadolint/")]
    assert len(names) == 2
    for name in names:
        (wanted,) = expected[name]["run"]
        report = read_sarif_lint((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        levels = Counter("note" if one.level == "info" else one.level for one in report.findings)
        assert (levels, report.tool_version) == (wanted["levels"], wanted["version"])
        assert report.complete is ("parse-error" not in name)
