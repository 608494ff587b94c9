"""Formats in which a short reference means a long text: what they come to is bounded, and so is the work."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.cyclonedx import read_cyclonedx_scan
from portcullis.evidence.reports.following import each_once
from portcullis.evidence.reports.sarif import read_sarif_lint, read_sarif_scan
from portcullis.evidence.reports.spdx import read_spdx
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Severity, Vulnerability
from vectors.documents import (
    cdx_component,
    cdx_vulnerability,
    cyclonedx,
    encoded,
    result,
    run,
    sarif,
    spdx3,
    spdx3_package,
)

LONG = "x" * 1000
MANY = 50


def rules(name: str) -> dict[str, object]:
    """Results that name their rule by its index."""
    return sarif(run(name, [result(None, ruleIndex=0) for _ in range(MANY)], [{"id": LONG}]))


def licenses() -> dict[str, object]:
    text = {"type": "simplelicensing_LicenseExpression", "spdxId": "l", "simplelicensing_licenseExpression": LONG}
    packages = [spdx3_package(f"p{number}") for number in range(MANY)]
    relations = [
        {"type": "Relationship", "from": package["spdxId"], "relationshipType": "hasDeclaredLicense", "to": ["l"]}
        for package in packages
    ]
    return spdx3(text, *packages, *relations)


def affected(**fields: object) -> dict[str, object]:
    vulnerability = cdx_vulnerability(affects=[{"ref": "ref-a"}] * MANY, **fields)
    return cyclonedx(cdx_component("a", version=LONG if not fields else "1"), vulnerabilities=[vulnerability])


@pytest.mark.parametrize(
    ("read", "document"),
    [
        (read_sarif_scan, rules("x")),
        (read_sarif_lint, rules("Hadolint")),
        (read_cyclonedx_scan, affected()),
        (read_cyclonedx_scan, affected(references=[{"id": LONG}])),
        (read_cyclonedx_scan, affected(recommendation=f"Upgrade a to version {LONG}")),
        (read_spdx, licenses()),
    ],
)
def test_what_references_come_to_is_bounded(read: Callable[[bytes, Limits], object], document: object) -> None:
    content = encoded(document)
    # Enough for what stands in the document, and not for what it comes to.
    assert len(content) < 25_000
    with pytest.raises(EvidenceError, match=r"the limit documentBytes \(25000\), its references followed") as caught:
        read(content, replace(DEFAULT_LIMITS, document_bytes=25_000))
    assert caught.value.reason == "too-large"
    assert read(content, replace(DEFAULT_LIMITS, document_bytes=100_000)) is not None


def test_findings_of_unknown_packages_are_told_apart_by_their_place() -> None:
    rows = [
        Vulnerability("A", path="1"),
        Vulnerability("A", package="x", path="2"),
        Vulnerability("A", path="3", severity=Severity.LOW),
        Vulnerability("A", package="x", path="4", severity=Severity.HIGH),
        Vulnerability("A", path="3", severity=Severity.HIGH),
        Vulnerability("B", path="3"),
    ]
    found = each_once(rows)
    assert [(one.id, one.package, one.path, one.severity) for one in found] == [
        ("A", "", "1", Severity.UNKNOWN),
        ("A", "x", "4", Severity.HIGH),
        ("A", "", "3", Severity.HIGH),
        ("B", "", "3", Severity.UNKNOWN),
    ]


def test_names_of_one_finding_add_up() -> None:
    rows = [Vulnerability("A", aliases=(f"X{number}", "Y"), package="x") for number in range(3)]
    (found,) = each_once(rows)
    assert found.aliases == ("X0", "Y", "X1", "X2")
