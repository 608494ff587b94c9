"""What was signed about an image, read out of recorded documents."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.judging import mutants
from portcullis.server.review.imageevidence import (
    SHOWN_VULNERABILITIES,
    EvidenceFacts,
    SignerFacts,
    evidence_facts,
)
from portcullis.server.review.imagefacts import seen_in
from unit.server.review.recorded import DIGEST, document, image_of, recorded, with_image

CI = SignerFacts("ci", "key", "", "")


def evidence(*trees: Any) -> EvidenceFacts:
    """Of documents, the newest first."""
    records = [recorded(tree, hours=at, decision_id=f"d-{at}") for at, tree in enumerate(trees)]
    return evidence_facts(seen_in(records, DIGEST))


def test_what_is_signed_is_told_with_its_signer() -> None:
    found = evidence(document("vex"))
    (scan,) = found.scans
    assert (scan.scanner, scan.version, scan.signer, scan.complete) == ("trivy", "0.60.0", CI, True)
    assert scan.scanned_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert dict(scan.counts) == {"critical": 1, "high": 0, "medium": 0, "low": 1, "negligible": 0, "unknown": 0}
    assert (scan.fixable, scan.set_aside) == (2, 1)
    assert [(one.id, one.vex, one.vex_signer) for one in scan.vulnerabilities] == [
        ("CVE-2026-0004", "not_affected", "release"),
        ("CVE-2026-0001", "", ""),
    ]
    (lint,) = found.lint
    assert (lint.tool, lint.counts, lint.findings[0].rule) == ("hadolint", (("info", 1),), "DL3059")
    (sbom,) = found.sboms
    assert (sbom.format, sbom.components, sbom.tools) == ("cyclonedx 1.6", 2, ("syft 1.30.0",))
    (provenance,) = found.provenance
    assert (provenance.source, provenance.materials[0][1]) == ("https://github.com/acme/web", "gitCommit:5f1d0a5a")
    (vex,) = found.vex
    assert (vex.author, vex.statements, vex.applied, vex.expired) == ("acme product security", 1, 1, False)
    assert len(found.attestations) == 7


def test_what_was_rejected_stands_first_and_says_why() -> None:
    found = evidence(document("untrusted-scan"))
    assert found.rejected == found.attestations
    assert found.attestations[0].reason
    assert found.attestations[0].message
    verified = image_of(document("vex"))["attestations"]
    mixed = evidence(with_image("vex", attestations=[*verified, *image_of(document("untrusted-scan"))["attestations"]]))
    assert [one.verified for one in mixed.attestations] == [False, *[True] * len(verified)]


def scan(day: int, attestation: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "scanner": {"name": "trivy"},
        "scannedAt": f"2026-11-{day:02}T00:00:00Z",
        "attestation": attestation or f"sha256:{day}",
        **fields,
    }


@pytest.mark.parametrize(
    ("documents", "days"),
    [
        pytest.param([[scan(3)], [scan(2)], [scan(1)]], [3, 2, 1], id="over time"),
        pytest.param([[scan(2)], [scan(2)]], [2], id="each once"),
        pytest.param([[scan(1)], [scan(5)]], [5, 1], id="the newest scan first, whatever decision it counted for"),
        pytest.param([[scan(2, "a"), scan(2, "b")]], [2, 2], id="two attestations of one time"),
        pytest.param([[], []], [], id="none"),
        pytest.param([[scan(2), "junk", None, {}]], [2, None], id="junk between"),
    ],
)
def test_each_scan_is_told_once(documents: list[list[Any]], days: list[int | None]) -> None:
    found = evidence(*(with_image("clean", scans=scans) for scans in documents))
    assert [one.scanned_at.day if one.scanned_at else None for one in found.scans] == days


def test_attestations_are_those_of_the_newest_document_that_has_any() -> None:
    found = evidence(with_image("clean", attestations=[]), document("vex"), document("clean"))
    assert found.seen is not None
    assert found.seen.decision_id == "d-1"
    assert len(found.attestations) == 7
    assert evidence(with_image("clean", attestations=[])).seen is None


def test_the_gravest_vulnerabilities_are_shown_first_and_the_rest_is_counted() -> None:
    many = [{"id": f"CVE-{at:03}", "severity": "low"} for at in range(SHOWN_VULNERABILITIES)]
    grave = [
        {"id": "unknown word", "severity": "terrible"},
        {"id": "critical", "severity": "critical"},
        {"id": "critical and fixed", "severity": "critical", "fixed": "2"},
        {"id": "exploited", "severity": "low", "exploited": True},
    ]
    (found,) = evidence(with_image("clean", scans=[scan(1, vulnerabilities=[*many, *grave])])).scans
    assert [one.id for one in found.vulnerabilities][:4] == ["exploited", "critical and fixed", "critical", "CVE-000"]
    assert found.more == len(many) + len(grave) - SHOWN_VULNERABILITIES


def test_no_odd_value_anywhere_is_an_error() -> None:
    lists = ("attestations", "scans", "lint", "sboms", "provenance", "vex", "evaluations")
    tree = {name: image_of(document("vex"))[name] for name in lists}
    for at, (_, changed) in enumerate(mutants(tree)):
        if at % 13 == 0:
            nothing: dict[str, Any] = {name: [] for name in lists}
            evidence_facts(seen_in([recorded(with_image("vex", **(nothing | changed)))], DIGEST))
