"""CSAF in the profile VEX, read."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.vex.csaf import read_csaf
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
IMAGE = "pkg:oci/web@sha256:" + "ab" * 32
OPENSSL = "pkg:rpm/redhat/openssl@1.1.1k?arch=x86_64"
ANY_OPENSSL = "pkg:rpm/redhat/openssl"


def product(id_: str, purl: str | None = None, **helper: Any) -> dict[str, Any]:
    helper |= {"purl": purl} if purl is not None else {}
    return {"product_id": id_, "name": id_.upper(), **({"product_identification_helper": helper} if helper else {})}


def relation(category: str, part: str, whole: str, id_: str = "", **more: Any) -> dict[str, Any]:
    return {
        "category": category,
        "full_product_name": product(id_ or f"{whole}:{part}", **more),
        "product_reference": part,
        "relates_to_product_reference": whole,
    }


TREE: dict[str, Any] = {
    "branches": [
        {
            "category": "vendor",
            "branches": [
                {"category": "product_version", "product": product("openssl", OPENSSL)},
                {"category": "product_version", "product": product("any", ANY_OPENSSL)},
                {"category": "product_name", "branches": [{"category": "x", "product": product("rhel")}]},
            ],
        }
    ],
    "full_product_names": [
        product("web", IMAGE),
        product("app", "pkg:maven/a/app@1"),
        product("hashed", hashes=[{"file_hashes": [{"algorithm": "sha256", "value": "AB" * 32}], "filename": "x"}]),
        product("twice", OPENSSL),
        product("twice", ANY_OPENSSL),
    ],
    "relationships": [
        relation("default_component_of", "openssl", "web"),
        relation("installed_on", "openssl", "web", "installed"),
        relation("default_component_of", "any", "rhel"),
        relation("default_component_of", "openssl", "rhel"),
        relation("default_component_of", "rhel", "web"),
        relation("default_component_of", "openssl", "web:openssl", "nested"),
        relation("default_component_of", "any", "rhel", "own", purl="pkg:npm/own@1"),
        relation("default_component_of", "unknown", "web"),
    ],
    "product_groups": [{"group_id": "all", "product_ids": ["openssl", "web"]}, {"group_id": "none", "product_ids": []}],
}


def vulnerability(**fields: Any) -> dict[str, Any]:
    found = {"cve": "CVE-1", "product_status": {"fixed": ["openssl"]}, **fields}
    return {name: value for name, value in found.items() if value is not ...}


def document(*vulnerabilities: dict[str, Any], tree: Any = TREE, tracking: Any = None, **head: Any) -> bytes:
    whole = {
        "document": {
            "category": "csaf_vex",
            "csaf_version": "2.0",
            "publisher": {"category": "vendor", "name": "Example"},
            "title": "x",
            "tracking": {
                "id": "EX-1",
                "version": "3",
                "status": "final",
                "current_release_date": "2026-11-24T12:00:00.000Z",
                **(tracking or {}),
            },
            **head,
        },
        "product_tree": tree,
        "vulnerabilities": list(vulnerabilities),
    }
    return json.dumps(whole).encode()


def read(content: bytes, limits: Limits = DEFAULT_LIMITS) -> VexDocument:
    return read_csaf(content, limits)


def only(content: bytes) -> VexStatement:
    (statement,) = read(content).statements
    return statement


def test_a_whole_document() -> None:
    content = document(
        vulnerability(
            ids=[{"system_name": "x", "text": "EX-CVE"}],
            product_status={"known_not_affected": ["openssl"]},
            flags=[{"label": "vulnerable_code_not_present", "product_ids": ["openssl"]}],
            threats=[{"category": "impact", "details": "removed", "product_ids": ["openssl"]}],
        )
    )
    assert read(content) == VexDocument(
        format="csaf",
        id="EX-1",
        author="Example",
        version="3",
        issued_at=NOON,
        statements=(
            VexStatement(
                vulnerabilities=("CVE-1", "EX-CVE"),
                status=VexStatus.NOT_AFFECTED,
                justification="vulnerable_code_not_present",
                impact="removed",
                products=(VexProduct(purl=OPENSSL, identifier="openssl"),),
                issued_at=NOON,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("first_affected", VexStatus.AFFECTED),
        ("known_affected", VexStatus.AFFECTED),
        ("last_affected", VexStatus.AFFECTED),
        ("first_fixed", VexStatus.FIXED),
        ("fixed", VexStatus.FIXED),
        ("under_investigation", VexStatus.UNDER_INVESTIGATION),
    ],
)
def test_statuses(word: str, status: VexStatus) -> None:
    assert only(document(vulnerability(product_status={word: ["openssl"]}))).status is status


@pytest.mark.parametrize("status", [{"recommended": ["openssl"]}, {}, None, ...], ids=str)
def test_what_says_nothing(status: Any) -> None:
    assert read(document(vulnerability(product_status=status))).statements == ()
    assert read(document()).statements == ()


def flag(label: str, **about: Any) -> dict[str, Any]:
    return {"label": label, **about}


def test_products_with_different_reasons_are_statements_of_their_own() -> None:
    content = document(
        vulnerability(
            product_status={"known_not_affected": ["openssl", "web", "app", "any", "any"]},
            flags=[
                flag("component_not_present", group_ids=["all", "none", "unknown"]),
                flag("vulnerable_code_not_present", product_ids=["web", "any"]),
            ],
            threats=[
                {"category": "impact", "details": "never called", "product_ids": ["app"]},
                {"category": "exploit_status", "details": "not this", "product_ids": ["web"]},
            ],
        )
    )
    found = [
        (one.justification, one.impact, [product.identifier for product in one.products])
        for one in read(content).statements
    ]
    assert found == [
        ("component_not_present", "", ["openssl", "web"]),
        ("", "never called", ["app"]),
        ("vulnerable_code_not_present", "", ["any"]),
    ]


def products_of(status: str, id_: str) -> VexProduct:
    flags = [flag("component_not_present", product_ids=[id_])]
    statement = only(document(vulnerability(product_status={status: [id_]}, flags=flags)))
    (about,) = statement.products
    assert about.identifier == id_
    return replace(about, identifier="")


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        ("openssl", VexProduct(purl=OPENSSL)),
        ("any", VexProduct(purl=ANY_OPENSSL)),
        ("rhel", VexProduct()),
        ("unexplained", VexProduct()),
        ("twice", VexProduct()),
        ("hashed", VexProduct(digests=("sha256:" + "ab" * 32,))),
        ("web:openssl", VexProduct(purl=IMAGE, subcomponents=(OPENSSL,))),
        ("installed", VexProduct(purl=OPENSSL)),
        ("rhel:openssl", VexProduct(purl=OPENSSL)),
        ("rhel:any", VexProduct()),
        ("web:rhel", VexProduct()),
        ("nested", VexProduct()),
        ("own", VexProduct(purl="pkg:npm/own@1")),
        ("web:unknown", VexProduct()),
    ],
)
def test_what_an_id_names(id_: str, expected: VexProduct) -> None:
    """A part of a product that has no package URL is a package of one version at most, for all that is favourable."""
    assert products_of("known_not_affected", id_) == expected
    assert products_of("fixed", id_) == expected
    wide = VexProduct(purl=ANY_OPENSSL) if id_ == "rhel:any" else expected
    assert products_of("known_affected", id_) == wide


def test_without_a_product_tree_nothing_is_known_of_ids() -> None:
    assert only(document(vulnerability(), tree=None)).products == (VexProduct(identifier="openssl"),)


def test_an_id_that_is_empty_is_not_the_subject() -> None:
    assert only(document(vulnerability(product_status={"fixed": [""]}))).products != (VexProduct(),)


def test_a_tree_that_is_deep_is_walked() -> None:
    branch: dict[str, Any] = {"product": product("openssl", OPENSSL)}
    for _ in range(90):
        branch = {"branches": [branch]}
    statement = only(document(vulnerability(), tree={"branches": [branch]}))
    assert statement.products == (VexProduct(purl=OPENSSL, identifier="openssl"),)


NOT_AFFECTED = {"known_not_affected": ["openssl"]}


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (
            document(vulnerability(product_status=NOT_AFFECTED)),
            "attestation-invalid",
            'known_not_affected of "openssl"',
        ),
        (
            document(vulnerability(product_status=NOT_AFFECTED, flags=[flag("x", product_ids=["web"])])),
            "attestation-invalid",
            "without a flag or an impact",
        ),
        (
            document(vulnerability(product_status=NOT_AFFECTED, threats=[{"category": "impact", "details": "Low"}])),
            "attestation-invalid",
            "without a flag or an impact",
        ),
        (document(vulnerability(product_status={"safe": ["openssl"]})), "attestation-invalid", 'product_status "safe"'),
        (document(vulnerability(cve=...)), "attestation-invalid", "without an id"),
        (document(vulnerability(cve=" ", ids=[{"text": ""}])), "attestation-invalid", "without an id"),
        (document(tracking={"status": "draft"}), "attestation-invalid", "is a draft"),
        (document(tracking={"status": "done"}), "attestation-invalid", "another shape"),
        (document(tracking={"current_release_date": "x"}), "attestation-invalid", "current_release_date"),
        (document(category="csaf_security_advisory"), "attestation-unsupported", "csaf_security_advisory"),
        (document(csaf_version="2.1"), "attestation-unsupported", r'CSAF "2\.1"'),
        (document(tree=[]), "attestation-invalid", "another shape"),
        (b"{}", "attestation-invalid", "missing required field `document`"),
        (b"{", "attestation-invalid", "no JSON"),
        (b'{"product_tree":' + b'{"branches":[' * 50_000, "attestation-invalid", "no JSON"),
    ],
)
def test_what_is_refused(content: bytes, reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as raised:
        read(content)
    assert raised.value.reason == reason
    assert re.search(message, raised.value.message), raised.value.message


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"vex_statements": 2, "vex_products": 4}, ""),
        ({"vex_statements": 1}, "vexStatements (1)"),
        ({"vex_products": 3}, "for more products of groups than the limit vexProducts (3)"),
    ],
    ids=str,
)
def test_limits(limits: dict[str, int], named: str) -> None:
    """Two statements of three products in all; a group of two, named twice."""
    flags = [flag("component_not_present", group_ids=["all", "all"])]
    both = vulnerability(product_status={"fixed": ["openssl"], "known_not_affected": ["openssl", "web"]}, flags=flags)
    bounds = replace(DEFAULT_LIMITS, **limits)
    if not named:
        assert len(read(document(both), bounds).statements) == 2
        return
    with pytest.raises(EvidenceError) as raised:
        read(document(both), bounds)
    assert raised.value.reason == "too-large"
    assert named in raised.value.message


def test_products_are_counted_for_each_name_of_the_vulnerability() -> None:
    content = document(vulnerability(ids=[{"text": "EX-1"}], product_status={"fixed": ["openssl", "web"]}))
    assert read(content, replace(DEFAULT_LIMITS, vex_products=4)).statements
    with pytest.raises(EvidenceError, match="times the names of the vulnerability"):
        read(content, replace(DEFAULT_LIMITS, vex_products=3))
