"""Properties of package URLs, of the readers of VEX, and of its application."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.changes import replace_anywhere
from fakes.samples import AMD64, ARM64, NOW, attestation, digest, platform_image, reference, report, resolved
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.vex.applying import apply_vex
from portcullis.evidence.vex.csaf import read_csaf
from portcullis.evidence.vex.cyclonedx import read_cyclonedx_vex
from portcullis.evidence.vex.openvex import read_openvex
from portcullis.evidence.vex.purls import parse_purl
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import (
    AttestedScan,
    AttestedVex,
    Signer,
    VexDocument,
    VexProduct,
    VexStatement,
    VexStatus,
    Vulnerability,
)

REASONS = {"attestation-invalid", "attestation-unsupported", "too-large"}
TEXT = st.text(max_size=20)
IMAGE = resolved(reference(), platform_image(AMD64), platform_image(ARM64))

# -- package URLs -----------------------------------------------------------------------------------------------------

PART = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = PART.filter(lambda text: text not in (".", ".."))


@given(st.text(max_size=60) | st.text("pkg:/@?#&=%a1.", max_size=30).map("pkg:".__add__))
def test_any_text_is_a_package_url_or_none(text: str) -> None:
    found = parse_purl(text)
    if found is not None:
        assert found.name
        assert found.covers(found)


@given(
    st.lists(NAME, max_size=2),
    NAME,
    st.just("") | PART,
    st.dictionaries(st.sampled_from(["arch", "distro", "epoch"]), PART),
    st.lists(NAME, max_size=2),
)
def test_what_is_written_is_read(
    namespace: list[str], name: str, version: str, qualifiers: dict[str, str], subpath: list[str]
) -> None:
    def escaped(text: str) -> str:
        return quote(text, safe="")

    text = "/".join(["pkg:generic", *(escaped(one) for one in [*namespace, name])])
    text += f"@{escaped(version)}" if version else ""
    text += "?" + "&".join(f"{key}={escaped(value)}" for key, value in qualifiers.items()) if qualifiers else ""
    text += "#" + "/".join(escaped(one) for one in subpath) if subpath else ""
    found = parse_purl(text)
    assert found is not None
    assert found.key == ("generic", "/".join(namespace), name)
    assert (found.version, dict(found.qualifiers), found.subpath) == (version, qualifiers, "/".join(subpath))


# -- readers ----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

OPENVEX: dict[str, Any] = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "x",
    "author": "x",
    "version": 1,
    "timestamp": "2026-11-24T12:00:00Z",
    "statements": [
        {
            "vulnerability": {"name": "CVE-1", "aliases": ["GHSA-1"]},
            "products": [
                {"@id": "pkg:oci/web@sha256:" + "ab" * 32, "subcomponents": [{"@id": "pkg:npm/x"}], "hashes": {}}
            ],
            "status": "not_affected",
            "justification": "component_not_present",
            "timestamp": "2026-11-24T12:00:00Z",
        }
    ],
}
CYCLONEDX: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {"timestamp": "2026-11-24T12:00:00Z", "component": {"bom-ref": "image", "type": "container"}},
    "components": [{"bom-ref": "x", "name": "x", "purl": "pkg:npm/x"}],
    "vulnerabilities": [
        {
            "id": "CVE-1",
            "analysis": {
                "state": "not_affected",
                "justification": "code_not_present",
                "lastUpdated": "2026-11-24T12:00:00Z",
            },
            "affects": [{"ref": "x", "versions": [{"version": "1", "status": "unaffected"}]}],
        }
    ],
}
CSAF: dict[str, Any] = {
    "document": {
        "category": "csaf_vex",
        "csaf_version": "2.0",
        "tracking": {"id": "x", "version": "1", "current_release_date": "2026-11-24T12:00:00Z", "status": "final"},
    },
    "product_tree": {
        "branches": [
            {"branches": [{"product": {"product_id": "x", "product_identification_helper": {"purl": "pkg:npm/x"}}}]}
        ],
        "relationships": [
            {
                "category": "default_component_of",
                "full_product_name": {"product_id": "z"},
                "product_reference": "x",
                "relates_to_product_reference": "y",
            }
        ],
        "product_groups": [{"group_id": "g", "product_ids": ["x"]}],
    },
    "vulnerabilities": [
        {
            "cve": "CVE-1",
            "product_status": {"known_not_affected": ["x"], "fixed": ["z"]},
            "flags": [{"label": "component_not_present", "group_ids": ["g"]}],
            "threats": [{"category": "impact", "details": "x", "product_ids": ["x"]}],
        }
    ],
}
Reader = Callable[[bytes, Limits], VexDocument | None]
READERS: list[tuple[Reader, dict[str, Any]]] = [
    (read_openvex, OPENVEX),
    (read_cyclonedx_vex, CYCLONEDX),
    (read_csaf, CSAF),
]


def outcome(reader: Reader, content: bytes) -> str:
    try:
        document = reader(content, DEFAULT_LIMITS)
    except EvidenceError as refused:
        return refused.reason
    assert document is None or isinstance(document, VexDocument)
    return "read"


def test_the_documents_that_are_changed_below_are_good_ones() -> None:
    assert [outcome(reader, json.dumps(whole).encode()) for reader, whole in READERS] == ["read"] * 3


@given(st.sampled_from(READERS), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_content_makes_a_reader_raise_anything_else(one: tuple[Reader, Any], content: bytes) -> None:
    assert outcome(one[0], content) in REASONS


@settings(max_examples=200)
@given(st.sampled_from(READERS), st.data())
def test_no_value_anywhere_makes_a_reader_raise_anything_else(one: tuple[Reader, Any], data: st.DataObject) -> None:
    reader, good = one
    document = json.loads(json.dumps(good))
    replace_anywhere(data, document, JSON)
    assert outcome(reader, json.dumps(document).encode()) in REASONS | {"read"}


# -- application ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["CVE-1", "cve-1", "CVE-2", "GHSA-1"])
PURLS = st.sampled_from(["", "pkg:npm/a@1", "pkg:npm/a@2", "pkg:npm/a", "pkg:npm/b@1?arch=x", "pkg:npm", "b"])
IMAGES = st.sampled_from(
    ["", f"pkg:oci/web@{IMAGE.digest}", f"pkg:oci/web@{IMAGE.platforms[0].digest}", "pkg:oci/web@" + digest("other")]
)
TIMES = st.none() | st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))
PRODUCTS = st.builds(
    VexProduct,
    purl=PURLS | IMAGES,
    identifier=st.sampled_from(["", "x"]),
    subcomponents=st.lists(PURLS, max_size=2).map(tuple),
)
STATEMENTS = st.builds(
    VexStatement,
    vulnerabilities=st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    status=st.sampled_from(VexStatus),
    justification=st.sampled_from(["", "why"]),
    impact=st.just(""),
    products=st.lists(PRODUCTS, max_size=2).map(tuple),
    issued_at=TIMES,
)
DIGESTS = st.sampled_from([IMAGE.digest, *(platform.digest for platform in IMAGE.platforms)])
DOCUMENTS = st.builds(
    lambda statements, signer, seed, hangs_at, until: AttestedVex(
        VexDocument("openvex", "x", "x", "1", NOW, tuple(statements)),
        attestation(signer=Signer(signer, "key"), seed=seed, subject=hangs_at),
        until,
    ),
    st.lists(STATEMENTS, max_size=3),
    st.sampled_from(["a", "b"]),
    st.integers(0, 3),
    DIGESTS,
    TIMES,
)
FINDINGS = st.builds(
    Vulnerability,
    id=NAMES,
    aliases=st.lists(NAMES, max_size=1).map(tuple),
    package=st.sampled_from(["", "b"]),
    purl=st.sampled_from(["", "pkg:npm/a@1", "pkg:npm/b@1?arch=x"]),
)
SCANS = st.builds(
    lambda findings, hangs_at, platform: AttestedScan(
        report(vulnerabilities=tuple(findings), platform=platform), attestation(subject=hangs_at)
    ),
    st.lists(FINDINGS, max_size=3),
    DIGESTS,
    st.sampled_from([None, AMD64, ARM64]),
)
RANK = [VexStatus.AFFECTED, VexStatus.UNDER_INVESTIGATION, VexStatus.FIXED, VexStatus.NOT_AFFECTED]
LISTS = st.lists(DOCUMENTS, max_size=4)


@given(st.lists(SCANS, max_size=2), LISTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_and_of_their_statements_makes_no_difference(
    scans: list[AttestedScan], documents: list[AttestedVex], random: Any
) -> None:
    def shuffled(items: Any) -> Any:
        return random.sample(items, len(items))

    other = [replace(one, fact=replace(one.fact, statements=tuple(shuffled(one.fact.statements)))) for one in documents]
    assert apply_vex(scans, shuffled(other), IMAGE)[0] == apply_vex(scans, documents, IMAGE)[0]


@given(st.lists(SCANS, max_size=2), LISTS)
def test_what_is_applied_twice_is_applied_once(scans: list[AttestedScan], documents: list[AttestedVex]) -> None:
    once = apply_vex(scans, documents, IMAGE)
    assert apply_vex(once[0], once[1], IMAGE) == once


@given(st.lists(SCANS, max_size=2), LISTS, STATEMENTS)
def test_another_signer_never_makes_anything_look_better(
    scans: list[AttestedScan], documents: list[AttestedVex], statement: VexStatement
) -> None:
    """Where somebody has spoken, one more may only make it worse."""
    third = AttestedVex(
        VexDocument("openvex", "x", "x", "1", NOW, (statement,)),
        attestation(signer=Signer("third", "key"), subject=IMAGE.digest),
    )
    before, _ = apply_vex(scans, documents, IMAGE)
    after, _ = apply_vex(scans, [*documents, third], IMAGE)
    for old, new in zip(before, after, strict=True):
        for one, other in zip(old.report.vulnerabilities, new.report.vulnerabilities, strict=True):
            if one.vex is not None:
                assert other.vex is not None
                assert min(RANK.index(other.vex.status), 2) <= min(RANK.index(one.vex.status), 2)


@given(st.lists(SCANS, max_size=2), LISTS)
def test_a_mark_is_a_statement_about_that_vulnerability_by_that_signer(
    scans: list[AttestedScan], documents: list[AttestedVex]
) -> None:
    marked, counted = apply_vex(scans, documents, IMAGE)
    said = {
        (name.lower(), statement.status, statement.issued_at, one.attestation.signer, one.attestation.digest)
        for one in documents
        for statement in one.fact.statements
        for name in statement.vulnerabilities
    }
    marks = 0
    for old, new in zip(scans, marked, strict=True):
        for before, after in zip(old.report.vulnerabilities, new.report.vulnerabilities, strict=True):
            assert replace(after, vex=None) == before
            if (mark := after.vex) is not None:
                names = {name.lower() for name in (after.id, *after.aliases)}
                found = {(name, mark.status, mark.issued_at, mark.signer, mark.attestation) for name in names}
                assert found & said
                marks += 1
    assert (marks > 0) is any(one.applied for one in counted)
