"""Anchore's lists of vulnerabilities and its own policies' evaluations."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.anchore import read_anchore
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Check, Evaluation, ScanReport, Severity, Vulnerability
from vectors.attestations import OTHER, SUBJECT
from vectors.reports import anchorectl_row, engine, engine_row, evaluated, exported, exported_row, text

EARLY, LATE = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"


def scan(document: object, limits: Limits = DEFAULT_LIMITS) -> ScanReport:
    report = read_anchore(text(document), limits)
    assert isinstance(report, ScanReport)
    return report


def evaluation(document: object, limits: Limits = DEFAULT_LIMITS) -> Evaluation:
    made = read_anchore(text(document), limits)
    assert isinstance(made, Evaluation)
    return made


def enterprise(*evaluations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    about = {"imageDigest": SUBJECT, "evaluatedTag": "a:b", "policyId": "policy-1"}
    return {**about, "evaluations": list(evaluations), **fields}


def entry(status: str, action: str | None, at: str | None, details: object = None) -> dict[str, Any]:
    return {"status": status, "finalAction": action, "evaluationTime": at, "details": details}


def old(*evaluations: dict[str, Any], digest: str = SUBJECT) -> list[dict[str, Any]]:
    return [{digest: {"registry.example/acme/web:1": list(evaluations)}}]


def old_entry(status: str, at: str, *rows: list[Any]) -> dict[str, Any]:
    header = ["Image_Id", "Gate", "Trigger", "Check_Output", "Gate_Action", "Whitelisted"]
    images = {"policy_data": [], "policy_name": "", "1234": {"result": {"header": header, "rows": list(rows)}}}
    detail = {"result": {"final_action": "stop" if status == "fail" else "go", "result": images}}
    return {"detail": detail, "last_evaluation": at, "policyId": "policy-1", "status": status}


def test_what_anchore_cli_lists() -> None:
    nvd = [
        {"id": "x", "cvss_v2": {"base_score": 5.0}, "cvss_v3": {"base_score": 9.1}},
        {"cvss_v3": {"base_score": -1.0}},
    ]
    report = scan(engine(engine_row(nvd_data=nvd, will_not_fix=True), engine_row("CVE-2", fix="None")))

    assert (report.scanner, report.scanner_version, report.format) == ("anchore", "", "anchore-json")
    assert (report.target_digests, report.scanned_at, report.db_built_at) == ((SUBJECT,), None, None)
    assert (report.complete, report.filters) == (True, ())
    assert report.vulnerabilities == (
        Vulnerability(
            id="CVE-2026-0001",
            package="openssl",
            installed="3.0.1",
            fixed="3.0.2",
            severity=Severity.HIGH,
            score=9.1,
            state="will_not_fix",
        ),
        Vulnerability(id="CVE-2", package="openssl", installed="3.0.1", severity=Severity.HIGH),
    )


def test_what_anchorectl_lists() -> None:
    nvd = [{"cvssV2": {"baseScore": 5.0}, "cvssV3": {"baseScore": -1.0}}]
    report = scan([anchorectl_row(nvdData=nvd), anchorectl_row(severity="Negligible", willNotFix=True)])

    assert (report.target_digests, report.complete) == ((), True)
    assert report.vulnerabilities == (
        Vulnerability(
            id="CVE-2026-0001",
            package="openssl",
            installed="3.0.1",
            severity=Severity.HIGH,
            score=5.0,
            path="/usr/lib",
        ),
    )


@pytest.mark.parametrize(("kind", "complete"), [("all", True), ("", True), ("os", False), ("non-os", False)])
def test_vulnerabilities_of_one_type_are_not_all(kind: str, complete: bool) -> None:
    report = scan(engine(vulnerability_type=kind))
    assert (report.complete, report.filters) == (complete, () if complete else ("vulnerability-type",))
    assert bool(report.incomplete_because) is not complete


def test_what_enterprise_exports() -> None:
    report = scan(
        exported(
            exported_row(),
            exported_row("GHSA-1", cves="CVE-2026-0001, GHSA-1", fixAvailable="None", nvdCvssBaseScore=-1),
        )
    )

    assert (report.target_digests, report.complete) == ((SUBJECT,), True)
    assert report.scanned_at == datetime(2026, 11, 20, 10, 0, 0, 971000, tzinfo=UTC)
    assert report.vulnerabilities == (
        Vulnerability(
            id="CVE-2026-0001",
            package="openssl-3.0.1",
            fixed="3.0.2, 3.1.0",
            severity=Severity.HIGH,
            score=7.5,
            path="/usr/lib",
            available=datetime(2026, 11, 1, tzinfo=UTC),
        ),
        Vulnerability(
            id="GHSA-1",
            aliases=("CVE-2026-0001",),
            package="openssl-3.0.1",
            severity=Severity.HIGH,
            path="/usr/lib",
        ),
    )


def test_an_evaluation() -> None:
    listed = evaluation([evaluated("fail", "stop", LATE)])
    assert listed == Evaluation(
        tool="anchore",
        policy="policy-1",
        passed=False,
        action="stop",
        evaluated_at=datetime(2026, 11, 2, tzinfo=UTC),
        target_digests=(SUBJECT,),
        checks=(Check("vulnerabilities", "package", "stop", "words"),),
    )
    details = [{"gate": "vulnerabilities", "trigger": "package", "action": "STOP", "message": "words"}]
    assert evaluation(enterprise(entry("fail", "stop", LATE, details))) == listed
    assert evaluation(enterprise(entry("fail", "stop", LATE, {"findings": details}))) == listed
    row = ["1234", "vulnerabilities", "package", "words", "stop", False]
    assert evaluation(old(old_entry("fail", LATE, row))) == listed


@pytest.mark.parametrize(
    "document",
    [
        [evaluated("pass", "go", EARLY), evaluated("fail", "stop", LATE)],
        [evaluated("fail", "stop", LATE), evaluated("pass", "go", EARLY)],
        [evaluated("pass", "go", LATE), evaluated("fail", "stop", LATE)],
        [evaluated("fail", "stop"), evaluated("pass", "go")],
        enterprise(entry("pass", "go", EARLY), entry("fail", "stop", LATE)),
        enterprise(entry("fail", "stop", LATE), entry("pass", "go", EARLY)),
        old(old_entry("fail", LATE), old_entry("pass", EARLY)),
        [*old(old_entry("pass", EARLY), digest=OTHER), *old(old_entry("fail", LATE))],
    ],
)
def test_the_newest_evaluation_counts_and_of_two_the_worse(document: object) -> None:
    made = evaluation(document)
    assert (made.passed, made.action, made.target_digests) == (False, "stop", (SUBJECT,))


def test_an_older_failure_is_no_longer_one() -> None:
    assert evaluation([evaluated("fail", "stop", EARLY), evaluated("pass", "warn", LATE)]).action == "warn"


@pytest.mark.parametrize(
    ("status", "action", "passed", "expected"),
    [
        ("pass", "go", True, "go"),
        ("pass", "warn", True, "warn"),
        ("pass", "stop", False, "stop"),
        ("fail", "stop", False, "stop"),
        ("fail", "go", False, "go"),
        ("PASS", "", True, "go"),
        ("fail", "other", False, "stop"),
    ],
)
def test_status_and_action(status: str, action: str, passed: bool, expected: str) -> None:
    made = evaluation([evaluated(status, action, LATE)])
    assert (made.passed, made.action) == (passed, expected)


def test_a_line_without_an_action_that_is_known_counts_as_stop() -> None:
    made = evaluation([evaluated(detail=[{"gate": "g"}, {"status": "warn"}])])
    assert [check.action for check in made.checks] == ["stop", "warn"]


@pytest.mark.parametrize(
    ("document", "reason", "says"),
    [
        ([], "attestation-unsupported", "empty"),
        ([{"x": 1}], "attestation-unsupported", "neither of vulnerabilities nor of evaluations"),
        ({"imageDigest": SUBJECT}, "attestation-unsupported", "neither vulnerabilities nor evaluations"),
        (engine(engine_row("")), "attestation-invalid", "no vuln"),
        (engine(engine_row(package="", package_name="")), "attestation-invalid", "no package"),
        (engine(vulnerabilities={}), "attestation-invalid", "$.vulnerabilities"),
        ([anchorectl_row(), {"vuln": 5}], "attestation-invalid", "vuln"),
        (exported(exported_row("")), "attestation-invalid", "no vulnerabilityId"),
        (exported(exported_row(package="")), "attestation-invalid", "no package"),
        (exported(timestamp="now"), "attestation-invalid", "metadata.timestamp"),
        (exported(exported_row(fixObservedAt="now")), "attestation-invalid", "fixObservedAt"),
        (enterprise(), "attestation-invalid", "no evaluation"),
        ([{SUBJECT: {}}], "attestation-invalid", "no evaluation"),
        ([evaluated("maybe")], "attestation-invalid", '"maybe"'),
        ([evaluated(at="now")], "attestation-invalid", "time of the evaluation"),
    ],
)
def test_what_is_refused(document: object, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read_anchore(text(document), DEFAULT_LIMITS)
    assert refused.value.reason == reason
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("two", "three"),
    [
        (engine(*[engine_row(f"CVE-{n}") for n in range(2)]), engine(*[engine_row(f"CVE-{n}") for n in range(3)])),
        ([anchorectl_row("1"), anchorectl_row("2")], [anchorectl_row()] * 3),
        (exported(exported_row("1"), exported_row("2")), exported(*[exported_row()] * 3)),
    ],
)
def test_too_many_findings(two: object, three: object) -> None:
    limits = replace(DEFAULT_LIMITS, findings=2)
    assert len(scan(two, limits).vulnerabilities) == 2
    with pytest.raises(EvidenceError, match="the limit findings is 2") as refused:
        scan(three, limits)
    assert refused.value.reason == "too-large"


ROW = ["1234", "g", "t", "m", "warn", False]


@pytest.mark.parametrize(
    ("two", "three"),
    [
        ([evaluated(detail=[{}] * 2)], [evaluated(detail=[{}] * 2), evaluated(detail=[{}])]),
        (
            enterprise(entry("pass", "go", None, [{}] * 2)),
            enterprise(entry("pass", "go", None, {"findings": [{}] * 3})),
        ),
        (old(old_entry("pass", EARLY, ROW, ROW)), old(old_entry("pass", EARLY, ROW, ROW, ROW))),
    ],
)
def test_too_many_lines(two: object, three: object) -> None:
    limits = replace(DEFAULT_LIMITS, evaluation_checks=2)
    assert len(evaluation(two, limits).checks) == 2
    with pytest.raises(EvidenceError, match="the limit evaluationChecks is 2") as refused:
        evaluation(three, limits)
    assert refused.value.reason == "too-large"


def test_sample_vulnerabilities_count_as_expected(shared_data: Path) -> None:
    """The samples list two vulnerabilities twice each, which are one finding each; the rest is as counted."""
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    unique = {"many_vulns": 21, "one_vuln": 1, "no_vuln": 0}
    for name, counts in expected.items():
        if counts["format"] not in {"anchore-engine", "anchorectl-vulns"}:
            continue
        content = (shared_data / name).read_bytes()
        report = read_anchore(content, DEFAULT_LIMITS)
        assert isinstance(report, ScanReport)
        document = json.loads(content)
        rows = document if isinstance(document, list) else document["vulnerabilities"]
        version = "packageVersion" if isinstance(document, list) else "package_version"
        severities = {(row["vuln"], row["package"], row[version]): row["severity"].upper() for row in rows}
        assert len(rows) == counts["findings"], name
        assert Counter(str(one.severity).upper() for one in report.vulnerabilities) == Counter(severities.values()), (
            name
        )
        assert len(report.vulnerabilities) == next(n for part, n in unique.items() if part in name), name
        if counts["noFix"] == counts["findings"]:
            assert report.counts()["fixable"] == 0, name
        # "os": these were asked for alone.
        assert report.complete is isinstance(document, list), name


def test_sample_export(shared_data: Path) -> None:
    report = read_anchore(
        (shared_data / "anchore" / "anchore_engine_new_format_issue_11552.json").read_bytes(), DEFAULT_LIMITS
    )
    assert isinstance(report, ScanReport)
    assert report.counts() == {
        "critical": 8, "high": 8, "medium": 24, "low": 43, "negligible": 0, "unknown": 1, "fixable": 27,
    }  # fmt: skip
    assert report.target_digests == ("sha256:100ec0d69914788c491567bccaea0ab9aa50f0ddd00584db7afb264718c010d6",)


def test_sample_evaluations(shared_data: Path) -> None:
    folder = shared_data / "anchore"
    listed = read_anchore((folder / "anchorectl_policies_many_violations.json").read_bytes(), DEFAULT_LIMITS)
    assert isinstance(listed, Evaluation)
    assert (listed.passed, listed.action) == (False, "stop")
    assert [(one.gate, one.action) for one in listed.checks] == [
        ("vulnerabilities", "stop"), ("vulnerabilities", "stop"), ("dockerfile", "warn"),
    ]  # fmt: skip
    assert listed.target_digests == ()  # the digest of the sample is none
    old_one = read_anchore((folder / "anchore_enterprise_one_check.json").read_bytes(), DEFAULT_LIMITS)
    assert isinstance(old_one, Evaluation)
    assert (old_one.passed, old_one.action, len(old_one.checks)) == (False, "stop", 1)
    assert old_one.target_digests == ("sha256:8fdd536f0caa79bb924b9c1b9451b49957322d1b07ab23def8c9a49448e5d462",)
    with pytest.raises(EvidenceError, match="empty"):
        read_anchore((folder / "anchorectl_policies_no_violation.json").read_bytes(), DEFAULT_LIMITS)
