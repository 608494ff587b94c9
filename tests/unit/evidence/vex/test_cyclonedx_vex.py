"""VEX in CycloneDX, read."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.vex.cyclonedx import read_cyclonedx_vex
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERIAL = "3e671687-395b-41f5-a30f-a58921a69b79"
LOG4J = "pkg:maven/org.apache/log4j@2.1"
HEX = "ab" * 32

COMPONENTS: list[dict[str, Any]] = [
    {"bom-ref": "log4j", "type": "library", "name": "log4j", "purl": LOG4J},
    {
        "bom-ref": "app",
        "type": "application",
        "name": "app",
        "components": [{"bom-ref": "inner", "type": "library", "name": "inner", "purl": "pkg:npm/inner"}],
    },
    {"bom-ref": "any", "type": "library", "name": "any", "purl": "pkg:deb/debian/any?arch=amd64"},
]


def vulnerability(analysis: Any = ..., *refs: Any, **fields: Any) -> dict[str, Any]:
    affects = [{"ref": ref} if isinstance(ref, str) else ref for ref in refs or ("log4j",)]
    found = {"id": "CVE-1", "analysis": analysis, "affects": affects, **fields}
    return {name: value for name, value in found.items() if value is not ...}


def bom(*vulnerabilities: dict[str, Any], **fields: Any) -> bytes:
    whole: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{SERIAL}",
        "version": 2,
        "metadata": {"timestamp": "2026-11-24T12:00:00Z", "tools": {"components": [{"name": "a"}, {"name": "b"}]}},
        "components": COMPONENTS,
        "vulnerabilities": list(vulnerabilities),
        **fields,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def read(content: bytes, limits: Limits = DEFAULT_LIMITS) -> VexDocument | None:
    return read_cyclonedx_vex(content, limits)


def only(content: bytes) -> VexStatement:
    found = read(content)
    assert found is not None
    (statement,) = found.statements
    return statement


NOT_AFFECTED = {"state": "not_affected", "justification": "code_not_reachable"}


def test_a_whole_document() -> None:
    content = bom(
        vulnerability(
            {**NOT_AFFECTED, "detail": "never called", "response": ["update"]},
            references=[{"id": "GHSA-1"}, {"id": "CVE-1"}, {}],
        )
    )
    assert read(content) == VexDocument(
        format="cyclonedx",
        id=f"urn:uuid:{SERIAL}",
        author="a, b",
        version="2",
        issued_at=NOON,
        statements=(
            VexStatement(
                vulnerabilities=("CVE-1", "GHSA-1"),
                status=VexStatus.NOT_AFFECTED,
                justification="code_not_reachable",
                impact="never called",
                products=(VexProduct(purl=LOG4J, identifier="log4j"),),
                issued_at=NOON,
            ),
        ),
    )


@pytest.mark.parametrize(
    "content",
    [bom(), bom(vulnerabilities=...), bom(vulnerability()), bom(vulnerability(None)), bom(vulnerabilities=None)],
    ids=["empty", "missing", "no analysis", "null analysis", "null"],
)
def test_without_an_analysis_it_is_no_vex(content: bytes) -> None:
    assert read(content) is None


def test_only_what_has_an_analysis_is_a_statement() -> None:
    found = read(bom(vulnerability(), vulnerability(NOT_AFFECTED, id="CVE-2"), vulnerability(id="CVE-3")))
    assert found is not None
    assert [statement.vulnerabilities for statement in found.statements] == [("CVE-2",)]


@pytest.mark.parametrize(
    ("analysis", "status"),
    [
        ({"state": "resolved"}, VexStatus.FIXED),
        ({"state": "resolved_with_pedigree"}, VexStatus.FIXED),
        ({"state": "exploitable"}, VexStatus.AFFECTED),
        ({"state": "in_triage"}, VexStatus.UNDER_INVESTIGATION),
        (NOT_AFFECTED, VexStatus.NOT_AFFECTED),
        ({"state": "not_affected", "detail": "x"}, VexStatus.NOT_AFFECTED),
        ({"state": "false_positive", "justification": "code_not_present"}, VexStatus.NOT_AFFECTED),
        ({"state": "false_positive", "detail": "x"}, VexStatus.NOT_AFFECTED),
        ({"state": "not_affected"}, VexStatus.UNDER_INVESTIGATION),
        ({"state": "false_positive", "detail": " "}, VexStatus.UNDER_INVESTIGATION),
        ({"detail": "x"}, VexStatus.UNDER_INVESTIGATION),
        ({}, VexStatus.UNDER_INVESTIGATION),
    ],
    ids=str,
)
def test_states(analysis: dict[str, Any], status: VexStatus) -> None:
    assert only(bom(vulnerability(analysis))).status is status


def test_a_favourable_state_without_a_reason_says_that_it_was_one() -> None:
    assert only(bom(vulnerability({"state": "not_affected"}))).impact == "said to be not_affected, without a reason"


@pytest.mark.parametrize(
    ("analysis", "issued_at"),
    [
        ({"firstIssued": "2026-11-24T13:00:00Z", "lastUpdated": "2026-11-24T14:00:00Z"}, NOON.replace(hour=14)),
        ({"firstIssued": "2026-11-24T13:00:00Z"}, NOON.replace(hour=13)),
        ({}, NOON),
    ],
    ids=["updated", "issued", "neither"],
)
def test_times(analysis: dict[str, Any], issued_at: datetime) -> None:
    assert only(bom(vulnerability({**NOT_AFFECTED, **analysis}))).issued_at == issued_at


def test_a_document_without_a_time_has_that_of_its_newest_statement() -> None:
    older = vulnerability({**NOT_AFFECTED, "lastUpdated": "2026-11-24T12:00:00Z"})
    newer = vulnerability({**NOT_AFFECTED, "lastUpdated": "2026-11-24T13:00:00Z"})
    found = read(bom(older, newer, vulnerability(NOT_AFFECTED), metadata=...))
    assert found is not None
    assert found.issued_at == NOON.replace(hour=13)


CONTAINER = {"bom-ref": "image", "type": "container", "name": "web", "version": f"sha256:{HEX}"}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("log4j", VexProduct(purl=LOG4J, identifier="log4j")),
        ("inner", VexProduct(purl="pkg:npm/inner", identifier="inner")),
        ("app", VexProduct(identifier="app")),
        ("unknown", VexProduct(identifier="unknown")),
        (LOG4J, VexProduct(purl=LOG4J, identifier=LOG4J)),
        (f"urn:cdx:{SERIAL}/2#log4j", VexProduct(purl=LOG4J, identifier=f"urn:cdx:{SERIAL}/2#log4j")),
        (f"urn:cdx:{SERIAL}/1#log4j", VexProduct(identifier=f"urn:cdx:{SERIAL}/1#log4j")),
        (f"urn:cdx:{SERIAL[::-1]}/2#{LOG4J}", VexProduct(identifier=f"urn:cdx:{SERIAL[::-1]}/2#{LOG4J}")),
        ("image", VexProduct(digests=(f"sha256:{HEX}",), identifier="image")),
        ("", VexProduct(identifier="a component that is not named")),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_a_reference_names(ref: str, expected: VexProduct) -> None:
    content = bom(vulnerability(NOT_AFFECTED, ref), metadata={"component": CONTAINER})
    assert only(content).products == (expected,)


@pytest.mark.parametrize(
    ("state", "count"), [("resolved", 1), ("not_affected", 1), ("exploitable", 0), ("in_triage", 0)]
)
def test_of_no_component_at_all(state: str, count: int) -> None:
    """A favourable state then is one of nothing, an unfavourable one of the whole subject."""
    products = only(bom(vulnerability({"state": state, "detail": "x"}, affects=...))).products
    assert products == (VexProduct(identifier="a component that is not named"),) * count


def unaffected(*versions: str) -> list[dict[str, str]]:
    return [{"version": version, "status": "unaffected"} for version in versions]


@pytest.mark.parametrize(
    ("analysis", "versions", "purls"),
    [
        (
            NOT_AFFECTED,
            unaffected("1.0", "2+b"),
            ["pkg:deb/debian/any@1.0?arch=amd64", "pkg:deb/debian/any@2+b?arch=amd64"],
        ),
        (NOT_AFFECTED, [{"version": "1.0", "status": "affected"}], [""]),
        (NOT_AFFECTED, [{"version": "1.0"}], [""]),
        (NOT_AFFECTED, [{"range": "vers:deb/<2", "status": "unaffected"}], [""]),
        (NOT_AFFECTED, [], ["pkg:deb/debian/any?arch=amd64"]),
        ({"state": "exploitable"}, unaffected("1.0"), ["pkg:deb/debian/any?arch=amd64"]),
    ],
    ids=["single", "affected", "unsaid", "range", "none", "unfavourable"],
)
def test_versions_of_a_component_that_has_none(analysis: Any, versions: Any, purls: list[str]) -> None:
    statement = only(bom(vulnerability(analysis, {"ref": "any", "versions": versions})))
    assert [product.purl for product in statement.products] == purls
    assert all(product.identifier == "any" for product in statement.products)


def test_a_component_with_a_version_is_that_one() -> None:
    statement = only(bom(vulnerability(NOT_AFFECTED, {"ref": "log4j", "versions": unaffected("9.9")})))
    assert [product.purl for product in statement.products] == [LOG4J]


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (bom(vulnerability({"state": "ok"})), "attestation-invalid", "another shape.*ok"),
        (bom(vulnerability(NOT_AFFECTED, id=...)), "attestation-invalid", "without an id"),
        (bom(vulnerability(NOT_AFFECTED, id=" ")), "attestation-invalid", "without an id"),
        (bom(vulnerability({**NOT_AFFECTED, "lastUpdated": "x"})), "attestation-invalid", "lastUpdated"),
        (bom(vulnerability({**NOT_AFFECTED, "firstIssued": "x"})), "attestation-invalid", "firstIssued"),
        (bom(vulnerability(NOT_AFFECTED), metadata={"timestamp": "x"}), "attestation-invalid", "the timestamp of"),
        (bom(bomFormat="SPDX"), "attestation-invalid", "bomFormat"),
        (bom(specVersion="0.9"), "attestation-unsupported", "0.9"),
        (b"[]", "attestation-invalid", "another shape"),
        (b"{", "attestation-invalid", "no JSON"),
    ],
)
def test_what_is_refused(content: bytes, reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as raised:
        read(content)
    assert raised.value.reason == reason
    assert re.search(message, raised.value.message)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({}, ""),
        ({"vex_statements": 2, "vex_products": 4, "sbom_components": 4}, ""),
        ({"vex_statements": 1}, "vexStatements (1)"),
        ({"vex_products": 3}, "vexProducts (3)"),
        ({"sbom_components": 3}, "sbomComponents (3)"),
    ],
    ids=str,
)
def test_limits(limits: dict[str, int], named: str) -> None:
    content = bom(vulnerability(NOT_AFFECTED, "log4j", "app", "inner"), vulnerability(NOT_AFFECTED))
    bounds = replace(DEFAULT_LIMITS, **limits)
    if not named:
        assert read(content, bounds) is not None
        return
    with pytest.raises(EvidenceError) as raised:
        read(content, bounds)
    assert raised.value.reason == "too-large"
    assert named in raised.value.message
