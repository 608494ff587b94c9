"""Which form a report has, and what a statement says of a class of predicates."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.predicates import LINT_V1
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports import Format, detect, read_facts, read_report
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import (
    Evaluation,
    LintReport,
    PredicateClass,
    Provenance,
    ReadFact,
    Sbom,
    ScanReport,
    Statement,
    VexDocument,
)
from vectors import documents
from vectors.reports import (
    anchorectl_row,
    clair,
    clair_vulnerability,
    custom,
    engine,
    evaluated,
    exported,
    finding,
    grype,
    match,
    text,
    trivy,
    vuln,
    vulns,
)

COSIGN = "https://cosign.sigstore.dev/attestation/"
VULN = f"{COSIGN}vuln/v1"
CUSTOM = f"{COSIGN}v1"
VULNS = "https://in-toto.io/attestation/vulns/v0.2"
OWN = "https://example.com/report"

HADOLINT = [{"file": "Dockerfile", "line": 1, "column": 1, "level": "warning", "code": "DL3008", "message": "x"}]
LINT_SARIF = documents.sarif(documents.run("Hadolint", [documents.result("DL3008")]))
SCAN_SARIF = documents.sarif(documents.run("grype", []))
SPDX = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "creationInfo": {"created": "2026-11-20T10:00:00Z"}, "packages": []}  # fmt: skip # noqa: E501
SPDX_3 = {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}
BOM: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"tools": {"components": [{"type": "application", "name": "grype"}]}}}  # fmt: skip # noqa: E501
AFFECTED: dict[str, Any] = {"id": "CVE-1", "ratings": [{"severity": "high"}], "affects": [{"ref": "a"}]}
SCAN_BOM = {**BOM, "vulnerabilities": [AFFECTED]}
VEX_BOM = {**BOM, "vulnerabilities": [{**AFFECTED, "analysis": {"state": "not_affected", "justification": "code_not_present"}}]}  # fmt: skip # noqa: E501
OPENVEX = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-11-20T10:00:00Z", "version": 1, "statements": []}  # fmt: skip # noqa: E501
CSAF = {
    "document": {
        "category": "csaf_vex",
        "csaf_version": "2.0",
        "title": "x",
        "publisher": {"name": "a", "category": "vendor", "namespace": "https://links.example"},
        "tracking": {
            "id": "x",
            "version": "1",
            "status": "final",
            "initial_release_date": "2026-11-20T10:00:00Z",
            "current_release_date": "2026-11-20T10:00:00Z",
        },
    },
    "product_tree": {"full_product_names": [{"product_id": "p", "name": "p"}]},
    "vulnerabilities": [{"cve": "CVE-2026-0001", "product_status": {"known_affected": ["p"]}}],
}  # fmt: skip
SLSA_1 = {"buildDefinition": {"buildType": "x", "externalParameters": {}}, "runDetails": {"builder": {"id": "b"}}}
SLSA_02 = {"builder": {"id": "b"}, "buildType": "x", "materials": []}
LINT = {"tool": {"name": "hadolint"}, "lintedOn": "2026-11-20T10:00:00Z", "report": HADOLINT}
GITLAB = {"version": "15.0.0", "scan": {"type": "container_scanning", "status": "success", "scanner": {"id": "scout", "name": "Scout"}}, "vulnerabilities": []}  # fmt: skip # noqa: E501

FORMS: list[tuple[object, Format, type[ReadFact]]] = [
    (trivy(finding()), Format.TRIVY, ScanReport),
    ([{"Target": "x"}], Format.TRIVY, ScanReport),
    (None, Format.TRIVY, ScanReport),
    (grype(match()), Format.GRYPE, ScanReport),
    ({"matches": [], "source": {"type": "unknown"}}, Format.GRYPE, ScanReport),
    (engine(), Format.ANCHORE, ScanReport),
    (exported(), Format.ANCHORE, ScanReport),
    ([anchorectl_row()], Format.ANCHORE, ScanReport),
    ([evaluated()], Format.ANCHORE, Evaluation),
    (clair(clair_vulnerability()), Format.CLAIR, ScanReport),
    (SCAN_SARIF, Format.SARIF, ScanReport),
    (LINT_SARIF, Format.SARIF, LintReport),
    (GITLAB, Format.GITLAB, ScanReport),
    (vuln(grype(match())), Format.COSIGN_VULN, ScanReport),
    (custom(grype(match())), Format.COSIGN_CUSTOM, ScanReport),
    (custom(HADOLINT), Format.COSIGN_CUSTOM, LintReport),
    (custom(OPENVEX), Format.COSIGN_CUSTOM, VexDocument),
    (vulns({"id": "CVE-1"}), Format.IN_TOTO_VULNS, ScanReport),
    (vulns({"vulnerability": {"id": "CVE-1"}}), Format.IN_TOTO_VULNS, ScanReport),
    (vulns(), Format.IN_TOTO_VULNS, ScanReport),
    ({"scanner": {"uri": "x"}, "metadata": {}}, Format.IN_TOTO_VULNS, ScanReport),
    (HADOLINT, Format.HADOLINT, LintReport),
    (LINT, Format.LINT, LintReport),
    (BOM, Format.CYCLONEDX, Sbom),
    (SCAN_BOM, Format.CYCLONEDX, ScanReport),
    (VEX_BOM, Format.CYCLONEDX, VexDocument),
    (SPDX, Format.SPDX, Sbom),
    (SPDX_3, Format.SPDX, Sbom),
    (OPENVEX, Format.OPENVEX, VexDocument),
    (CSAF, Format.CSAF, VexDocument),
    (SLSA_1, Format.SLSA, Provenance),
    (SLSA_02, Format.SLSA, Provenance),
]


@pytest.mark.parametrize(("document", "form", "kind"), FORMS)
def test_the_form_is_told_by_the_shape(document: object, form: Format, kind: type[ReadFact]) -> None:
    assert detect(text(document), DEFAULT_LIMITS) is form
    assert detect(b"\n " + text(document) + b"\n", DEFAULT_LIMITS) is form
    assert detect(json.dumps(document, sort_keys=True).encode(), DEFAULT_LIMITS) is form
    assert type(read_report(text(document), DEFAULT_LIMITS)) is kind


def test_every_form_is_told() -> None:
    assert {form for _, form, _ in FORMS} == set(Format)


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (b"{}", "attestation-unsupported", "read are the reports of Trivy"),
        (b"[]", "attestation-unsupported", "empty array"),
        (b"[7]", "attestation-unsupported", "an array of no form that is known"),
        (b'[{"a": 1}]', "attestation-unsupported", "an array of no form that is known"),
        (b"7", "attestation-unsupported", "neither an object nor an array"),
        (b'"text"', "attestation-unsupported", "neither an object nor an array"),
        (b'{"payloadType": "x", "payload": ""}', "attestation-unsupported", "a signed envelope"),
        (b'{"_type": "x", "predicate": {}}', "attestation-unsupported", "an in-toto statement"),
        (b'{"verificationMaterial": {}}', "attestation-unsupported", "a Sigstore bundle"),
        (b'{"ClusterName": "x", "Vulnerabilities": []}', "attestation-unsupported", "of a cluster"),
        (b'{"Layer": {}}', "attestation-unsupported", "Clair v1"),
        (b'{"LayerCount": 1, "Vulnerabilities": {}}', "attestation-unsupported", "klar"),
        (b'{"image": "x", "unapproved": []}', "attestation-unsupported", "clair-scanner"),
        (b'[{"check_name": "DL3008"}]', "attestation-unsupported", "code quality"),
        (b"", "attestation-invalid", "no JSON"),
        (b"{", "attestation-invalid", "no JSON"),
        (b"nothing", "attestation-invalid", "no JSON"),
        (b"<xml/>", "attestation-invalid", "no JSON"),
        (b"\xef\xbb\xbf{}", "attestation-invalid", "no JSON"),
        ("{}".encode("utf-16"), "attestation-invalid", "is UTF-16; save it as UTF-8"),
        ("{}".encode("utf-16-le"), "attestation-invalid", "is UTF-16; save it as UTF-8"),
        ("{}".encode("utf-16-be"), "attestation-invalid", "is UTF-16; save it as UTF-8"),
        (text(custom(custom(trivy()))), "attestation-unsupported", "such a predicate again"),
        (text(custom("[]")), "attestation-unsupported", "empty array"),
    ],
)
def test_what_is_refused(content: bytes, reason: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        read_report(content, DEFAULT_LIMITS)
    assert refused.value.reason == reason
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("kind", "predicate", "about", "expected"),
    [
        (VULN, vuln(trivy()), PredicateClass.VULNERABILITY, ScanReport),
        (VULN.removeprefix("https://"), vuln(trivy()), PredicateClass.VULNERABILITY, ScanReport),
        (VULN, vuln([evaluated()]), PredicateClass.VULNERABILITY, Evaluation),
        (VULNS, vulns(), PredicateClass.VULNERABILITY, ScanReport),
        (OWN, grype(match()), PredicateClass.VULNERABILITY, ScanReport),
        (OWN, SCAN_SARIF, PredicateClass.VULNERABILITY, ScanReport),
        (CUSTOM, custom(grype(match())), PredicateClass.VULNERABILITY, ScanReport),
        (OWN, "[" + '{"Target": "x"}' + "]", PredicateClass.VULNERABILITY, ScanReport),
        (OWN, SCAN_BOM, PredicateClass.VULNERABILITY, ScanReport),
        (OWN, SCAN_BOM, PredicateClass.SBOM, Sbom),
        (OWN, VEX_BOM, PredicateClass.VEX, VexDocument),
        (OWN, BOM, PredicateClass.SBOM, Sbom),
        (OWN, SPDX, PredicateClass.SBOM, Sbom),
        (OWN, OPENVEX, PredicateClass.VEX, VexDocument),
        (OWN, CSAF, PredicateClass.VEX, VexDocument),
        (LINT_V1, LINT, PredicateClass.LINT, LintReport),
        (LINT_V1, {"report": HADOLINT}, PredicateClass.LINT, LintReport),
        (OWN, LINT_SARIF, PredicateClass.LINT, LintReport),
        (OWN, HADOLINT, PredicateClass.LINT, LintReport),
        (OWN, [], PredicateClass.LINT, LintReport),
        (CUSTOM, custom("[]\n"), PredicateClass.LINT, LintReport),
        ("https://slsa.dev/provenance/v1", SLSA_1, PredicateClass.PROVENANCE, Provenance),
        ("https://slsa.dev/provenance/v0.2", SLSA_02, PredicateClass.PROVENANCE, Provenance),
        (OWN, SLSA_1, PredicateClass.PROVENANCE, Provenance),
    ],
)
def test_what_a_statement_says(kind: str, predicate: object, about: PredicateClass, expected: type[ReadFact]) -> None:
    (fact,) = read_facts(Statement(kind, text(predicate)), about, DEFAULT_LIMITS)
    assert type(fact) is expected


@pytest.mark.parametrize(
    ("predicate", "about"),
    [
        (BOM, PredicateClass.VULNERABILITY),
        (BOM, PredicateClass.VEX),
        (SCAN_BOM, PredicateClass.VEX),
        (trivy(), PredicateClass.OTHER),
        (trivy(), PredicateClass.SIGNATURE),
        ("no JSON", PredicateClass.OTHER),
    ],
)
def test_a_statement_may_say_nothing_of_a_class(predicate: object, about: PredicateClass) -> None:
    assert read_facts(Statement(OWN, text(predicate)), about, DEFAULT_LIMITS) == ()


@pytest.mark.parametrize(
    ("kind", "predicate", "about", "says"),
    [
        (OWN, trivy(), PredicateClass.LINT, "form trivy-json, which says nothing of lint"),
        (OWN, HADOLINT, PredicateClass.VULNERABILITY, "form hadolint-json, which says nothing of vulnerability"),
        (OWN, OPENVEX, PredicateClass.VULNERABILITY, "form openvex, which says nothing of vulnerability"),
        (OWN, trivy(), PredicateClass.SBOM, "form trivy-json, which says nothing of sbom"),
        (OWN, trivy(), PredicateClass.VEX, "form trivy-json, which says nothing of vex"),
        (OWN, LINT_SARIF, PredicateClass.VULNERABILITY, "Hadolint"),
        (OWN, SCAN_SARIF, PredicateClass.LINT, "grype"),
        (OWN, [], PredicateClass.VULNERABILITY, "empty array"),
        (OWN, {}, PredicateClass.VULNERABILITY, "no form that is known"),
        (OWN, "SPDXVersion: SPDX-2.3", PredicateClass.SBOM, ""),
        (f"{COSIGN}vuln/v2", vuln(trivy()), PredicateClass.VULNERABILITY, f"{COSIGN}vuln/v2"),
        (f"{VULNS[:-1]}3", vulns(), PredicateClass.VULNERABILITY, f"{VULNS[:-1]}3"),
    ],
)
def test_what_does_not_belong_to_the_class_is_refused(
    kind: str, predicate: object, about: PredicateClass, says: str
) -> None:
    with pytest.raises(EvidenceError) as refused:
        read_facts(Statement(kind, text(predicate)), about, DEFAULT_LIMITS)
    assert refused.value.reason == "attestation-unsupported"
    assert says in refused.value.message


def test_a_custom_predicate_s_time_makes_what_it_holds_older_and_never_younger() -> None:
    early, late = "2026-11-01T00:00:00Z", "2026-11-21T00:00:00Z"

    def scanned(made: str) -> datetime | None:
        statement = Statement(CUSTOM, text(custom(trivy(), Timestamp=made)))
        (report,) = read_facts(statement, PredicateClass.VULNERABILITY, DEFAULT_LIMITS)
        assert isinstance(report, ScanReport)
        return report.scanned_at

    assert scanned(early) == datetime(2026, 11, 1, tzinfo=UTC)
    assert scanned(late) == datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)

    (lint,) = read_facts(Statement(CUSTOM, text(custom(HADOLINT, Timestamp=late))), PredicateClass.LINT, DEFAULT_LIMITS)
    assert isinstance(lint, LintReport)
    assert lint.linted_at == datetime(2026, 11, 21, tzinfo=UTC)
    (bom,) = read_facts(Statement(CUSTOM, text(custom(SPDX, Timestamp=early))), PredicateClass.SBOM, DEFAULT_LIMITS)
    assert isinstance(bom, Sbom)
    assert bom.created_at == datetime(2026, 11, 1, tzinfo=UTC)


def test_samples_of_powershell_are_refused_by_name(shared_data: Path) -> None:
    with pytest.raises(EvidenceError, match="is UTF-16; save it as UTF-8"):
        read_report((shared_data / "trivy" / "trivy-v2.json").read_bytes(), DEFAULT_LIMITS)
