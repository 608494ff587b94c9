"""OpenVEX, read."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.vex.openvex import read_openvex
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE = datetime(2026, 11, 24, 13, tzinfo=UTC)
TWO = datetime(2026, 11, 24, 14, tzinfo=UTC)
IMAGE = "pkg:oci/web@sha256:" + "ab" * 32
PACKAGE = "pkg:apk/alpine/libssl3@3.0.8-r3"


def said(**fields: Any) -> dict[str, Any]:
    statement = {"vulnerability": {"name": "CVE-1"}, "products": [{"@id": PACKAGE}], "status": "fixed", **fields}
    return {name: value for name, value in statement.items() if value is not ...}


def document(*statements: dict[str, Any], **fields: Any) -> bytes:
    whole: dict[str, Any] = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex-1",
        "author": "Jane",
        "version": 1,
        "timestamp": "2026-11-24T12:00:00Z",
        "statements": list(statements),
        **fields,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def read(content: bytes, limits: Limits = DEFAULT_LIMITS) -> VexDocument:
    return read_openvex(content, limits)


def only(content: bytes) -> VexStatement:
    (statement,) = read(content).statements
    return statement


def refused(content: bytes, limits: Limits = DEFAULT_LIMITS) -> EvidenceError:
    with pytest.raises(EvidenceError) as raised:
        read_openvex(content, limits)
    return raised.value


def test_a_whole_document() -> None:
    content = document(
        said(
            vulnerability={"@id": "https://nvd.example/CVE-1", "name": "CVE-1", "aliases": ["GHSA-1", "CVE-1", " "]},
            products=[{"@id": IMAGE, "subcomponents": [{"@id": PACKAGE}, {"identifiers": {"purl": "pkg:npm/x"}}]}],
            status="not_affected",
            justification="vulnerable_code_not_present",
            impact_statement="removed\nbefore packaging",
            timestamp="2026-11-24T13:00:00Z",
        ),
        role="x",
        last_updated="2026-11-24T14:00:00Z",
    )
    assert read(content) == VexDocument(
        format="openvex",
        id="https://example.org/vex-1",
        author="Jane",
        version="1",
        issued_at=TWO,
        statements=(
            VexStatement(
                vulnerabilities=("CVE-1", "GHSA-1"),
                status=VexStatus.NOT_AFFECTED,
                justification="vulnerable_code_not_present",
                impact="removed before packaging",
                products=(VexProduct(purl=IMAGE, subcomponents=(PACKAGE, "pkg:npm/x")),),
                issued_at=ONE,
            ),
        ),
    )


def test_the_first_versions_name_vulnerabilities_and_products_by_text() -> None:
    statement = said(vulnerability="CVE-1", products=[IMAGE, "web"], subcomponents=[PACKAGE], status="affected")
    content = document(statement, **{"@context": "https://openvex.dev/ns", "version": "7"})
    found = read(content)
    assert (found.version, found.statements[0].vulnerabilities) == ("7", ("CVE-1",))
    assert found.statements[0].products == (
        VexProduct(purl=IMAGE, subcomponents=(PACKAGE,)),
        VexProduct(identifier="web", subcomponents=(PACKAGE,)),
    )


@pytest.mark.parametrize("statements", [[], None, ...], ids=["empty", "null", "none"])
def test_a_document_without_statements_is_an_empty_one(statements: Any) -> None:
    found = read(document(statements=statements))
    assert (found.statements, found.issued_at) == ((), NOON)


@pytest.mark.parametrize(
    ("of_document", "of_statement", "statement_at", "document_at"),
    [
        ({}, {}, NOON, NOON),
        ({"last_updated": "2026-11-24T14:00:00Z"}, {}, TWO, TWO),
        ({"last_updated": "2026-11-24T14:00:00Z"}, {"timestamp": "2026-11-24T13:00:00Z"}, ONE, TWO),
        ({}, {"timestamp": "2026-11-24T13:00:00Z", "last_updated": "2026-11-24T14:00:00Z"}, TWO, NOON),
        ({"timestamp": ...}, {"timestamp": "2026-11-24T13:00:00Z"}, ONE, ONE),
        ({"timestamp": ...}, {}, None, None),
        ({"timestamp": "0001-01-01T00:00:00Z"}, {}, None, None),
    ],
)
def test_times_cascade_from_the_document(
    of_document: dict[str, Any], of_statement: dict[str, Any], statement_at: datetime, document_at: datetime
) -> None:
    found = read(document(said(**of_statement), **of_document))
    assert (found.statements[0].issued_at, found.issued_at) == (statement_at, document_at)


HEX = "ab" * 32


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (PACKAGE, VexProduct(purl=PACKAGE)),
        ({"@id": PACKAGE}, VexProduct(purl=PACKAGE)),
        ({"identifiers": {"purl": PACKAGE}}, VexProduct(purl=PACKAGE)),
        ({"@id": "urn:x", "identifiers": {"purl": PACKAGE}}, VexProduct(purl=PACKAGE, identifier="urn:x")),
        ({"@id": "urn:x"}, VexProduct(identifier="urn:x")),
        ({"identifiers": {"cpe23": "cpe:2.3:a:b"}}, VexProduct(identifier="cpe:2.3:a:b")),
        ({"hashes": {"sha-256": HEX.upper()}}, VexProduct(digests=(f"sha256:{HEX}",))),
        (
            {"@id": PACKAGE, "hashes": {"SHA-512": "CD", "md5": "x"}},
            VexProduct(purl=PACKAGE, digests=("sha512:cd", "md5:x")),
        ),
        (
            f"r.example/web@sha256:{HEX}",
            VexProduct(identifier=f"r.example/web@sha256:{HEX}", digests=(f"sha256:{HEX}",)),
        ),
    ],
)
def test_what_names_a_product(product: Any, expected: VexProduct) -> None:
    assert only(document(said(products=[product]))).products == (expected,)


@pytest.mark.parametrize("products", [..., None])
def test_without_products_it_is_about_the_subject(products: Any) -> None:
    assert only(document(said(products=products))).products == ()
    about = only(document(said(products=products, subcomponents=[PACKAGE]))).products
    assert about == (VexProduct(subcomponents=(PACKAGE,)),)


def test_an_impact_statement_is_a_reason_too() -> None:
    statement = only(document(said(status="not_affected", impact_statement="never called")))
    assert (statement.status, statement.justification, statement.impact) == (
        VexStatus.NOT_AFFECTED,
        "",
        "never called",
    )


def test_a_long_impact_statement_is_cut_where_one_sees_it() -> None:
    impact = only(document(said(status="not_affected", impact_statement="x" * 10_000))).impact
    assert len(impact) == 500
    assert impact.endswith("…")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            document(said(status="not_affected")),
            "statement 1 of the OpenVEX document says not_affected and gives neither",
        ),
        (document(said(status="not_affected", justification="", impact_statement=" ")), "gives neither"),
        (document(said(), said(status="not_affected")), "statement 2 of"),
        (document(said(status="not_affected", justification="because")), "another shape than expected.*because"),
        (document(said(status="unaffected")), "another shape than expected.*unaffected"),
        (document(said(status=...)), "missing required field `status`"),
        (document(said(vulnerability=...)), "missing required field `vulnerability`"),
        (document(said(vulnerability="")), "names no vulnerability"),
        (document(said(vulnerability={"aliases": ["CVE-1"]})), "names no vulnerability"),
        (document(said(products=[])), "an empty list of products"),
        (document(said(products=[{}])), "a product that names nothing"),
        (document(said(products=[""])), "a product that names nothing"),
        (document(said(products=[{"subcomponents": [PACKAGE]}])), "a product that names nothing"),
        (document(said(products=[{"@id": IMAGE, "subcomponents": []}])), "an empty list of subcomponents"),
        (document(said(subcomponents=[])), "an empty list of subcomponents"),
        (document(said(products=[{"@id": IMAGE, "subcomponents": [{}]}])), "a subcomponent that names nothing"),
        (document(said(timestamp="yesterday")), "the timestamp of statement 1.*yesterday"),
        (document(last_updated="2026-11-24"), "last_updated of the OpenVEX document"),
        (document(statements={}), "another shape"),
        (document(**{"@context": ...}), "@context"),
        (b"[]", "another shape"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON|another shape"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    error = refused(content)
    assert error.reason == "attestation-invalid"
    assert re.search(message, error.message), error.message


@pytest.mark.parametrize(
    "context",
    [
        "https://openvex.dev/ns/v1.0.0",
        "https://openvex.dev/nsx",
        "https://openvex.dev/ns/",
        "http://openvex.dev/ns",
        "",
    ],
)
def test_other_versions_are_refused_by_name(context: str) -> None:
    error = refused(document(**{"@context": context}))
    assert error.reason == "attestation-unsupported"
    assert context in error.message


TWO_NAMES = said(vulnerability={"name": "CVE-1", "aliases": ["GHSA-1"]})


@pytest.mark.parametrize(
    ("content", "limits", "fits", "named"),
    [
        (document(said(), said(), said()), {"vex_statements": 3}, True, ""),
        (document(said(), said(), said()), {"vex_statements": 2}, False, "vexStatements (2)"),
        (document(said(products=[PACKAGE] * 3)), {"vex_products": 3}, True, ""),
        (document(said(products=[PACKAGE] * 3)), {"vex_products": 2}, False, "vexProducts (2)"),
        (document(said(products=[{"@id": IMAGE, "subcomponents": [PACKAGE] * 2}])), {"vex_products": 3}, True, ""),
        (document(said(products=[{"@id": IMAGE, "subcomponents": [PACKAGE] * 2}])), {"vex_products": 2}, False, "vexP"),
        (document(said(products=[IMAGE, IMAGE], subcomponents=[PACKAGE])), {"vex_products": 4}, True, ""),
        (
            document(said(products=[IMAGE, IMAGE], subcomponents=[PACKAGE])),
            {"vex_products": 3},
            False,
            "vexProducts (3)",
        ),
        (document(TWO_NAMES, TWO_NAMES), {"vex_products": 4}, True, ""),
        (document(TWO_NAMES, TWO_NAMES), {"vex_products": 3}, False, "vexProducts (3)"),
        (document(said(products=...), said(products=...)), {"vex_products": 1}, False, "vexProducts (1)"),
    ],
)
def test_limits(content: bytes, limits: dict[str, int], fits: bool, named: str) -> None:
    bounds = replace(DEFAULT_LIMITS, **limits)
    if fits:
        read(content, bounds)
    else:
        error = refused(content, bounds)
        assert error.reason == "too-large"
        assert named in error.message
