"""VEX documents that others made, against the counts that came with them."""
# ruff: noqa: E501  (a table: one document, one line)

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.samples import AMD64, NOW, attestation, platform_image, reference, report, resolved
from portcullis.evidence.vex.applying import apply_vex
from portcullis.evidence.vex.csaf import read_csaf
from portcullis.evidence.vex.cyclonedx import read_cyclonedx_vex
from portcullis.evidence.vex.openvex import read_openvex
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import AttestedScan, AttestedVex, VexDocument, VexStatus, Vulnerability
from portcullis.model.image import Digest

_STATES = {
    "exploitable": "affected",
    "false_positive": "not_affected",
    "in_triage": "under_investigation",
    "not_affected": "not_affected",
    "resolved": "fixed",
    "resolved_with_pedigree": "fixed",
}
_PRODUCT_STATUS = {"known_affected": "affected", "known_not_affected": "not_affected"}


def expected(shared_data: Path, form: str) -> Mapping[str, Mapping[str, Any]]:
    cases = json.loads((shared_data / "expected-reports.json").read_text())
    found = {name: case for name, case in cases.items() if name.startswith("sbom-vex/") and case["format"] == form}
    assert found
    return found


def statuses(document: VexDocument) -> Counter[str]:
    return Counter(str(statement.status) for statement in document.statements)


def test_openvex(shared_data: Path) -> None:
    for name, case in expected(shared_data, "openvex").items():
        document = read_openvex((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        assert len(document.statements) == case["statements"], name
        assert statuses(document) == case["statuses"], name
        assert document.author == case["author"], name


def test_cyclonedx(shared_data: Path) -> None:
    """Where a document has no analysis at all it is no VEX."""
    for name, case in expected(shared_data, "cyclonedx").items():
        document = read_cyclonedx_vex((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        states: Counter[str] = Counter()
        for state, count in case["analysisStates"].items():
            states[_STATES[state]] += count
        assert (Counter() if document is None else statuses(document)) == states, name
        assert (document is None) == (not states), name


def test_csaf(shared_data: Path) -> None:
    for name, case in expected(shared_data, "csaf").items():
        document = read_csaf((shared_data / name).read_bytes(), DEFAULT_LIMITS)
        products: Counter[str] = Counter()
        for statement in document.statements:
            products[str(statement.status)] += len(statement.products)
        assert products == {_PRODUCT_STATUS.get(status, status): n for status, n in case["productStatus"].items()}, name


ALPINE = Digest("sha256:124c7d2707904eea7431fffe91522a01e5a861a624ee31d03372cc1d138a3126")
GIT = Digest("sha256:23a264e6e429852221a963e9f17338ba3f5796dc7086e46439a6f4482cf6e0cb")


@pytest.mark.parametrize(
    ("name", "digest", "cve", "purl", "status"),
    [
        ("govex_vex_v0.2.0.json", ALPINE, "CVE-2023-1255", "pkg:apk/alpine/libssl3@3.0.8-r3?arch=x86_64", VexStatus.FIXED),
        ("govex_vex_v0.2.0.json", ALPINE, "CVE-2023-3446", "pkg:apk/alpine/libssl3@3.0.8-r3", VexStatus.NOT_AFFECTED),
        ("govex_vex_v0.2.0.json", ALPINE, "CVE-2023-1255", "pkg:apk/alpine/libssl3@3.0.8-r2", None),
        ("govex_vex_v0.2.0.json", GIT, "CVE-2023-1255", "pkg:apk/alpine/libssl3@3.0.8-r3", None),
        ("govex_vex_v0.0.1.json", GIT, "CVE-2023-12345", "pkg:apk/wolfi/git@2.39.0-r1?arch=armv7", VexStatus.FIXED),
        ("govex_vex_v0.0.1.json", GIT, "CVE-2023-12345", "pkg:apk/wolfi/git@2.39.0-r1?arch=aarch64", None),
        ("govex_vex_v0.0.1.json", GIT, "CVE-2023-12345", "pkg:apk/wolfi/git@2.39.0-r1", None),
        ("grype_openvex-image-no-subcomponents.json", ALPINE, "CVE-2023-1255", "pkg:npm/x@1", VexStatus.FIXED),
        ("grype_openvex-debian.json", ALPINE, "CVE-2014-fake-1", "", VexStatus.FIXED),
        ("open-vex-not-affected.json", GIT, "CVE-2023-12345", "pkg:apk/alpine/git@2.38.1-r0?arch=ppc64le", VexStatus.NOT_AFFECTED),
        ("open-vex-not-affected.json", GIT, "CVE-2023-12345", "pkg:apk/alpine/git@2.38.1-r0?arch=s390x", None),
        ("dd_openvex_many_vuln.json", GIT, "GHSA-JFH8-C2JP-5V3Q", "pkg:apk/alpine/zlib@1.2.11-r1?arch=x86_64&distro=alpine-3.10.9", VexStatus.NOT_AFFECTED),
        ("dd_openvex_many_vuln.json", GIT, "CVE-2024-10006", "pkg:apk/alpine/openssl@1.1.1k-r0", VexStatus.NOT_AFFECTED),
        ("grype_int_csaf_affected.csaf.json", GIT, "CVE-2024-0000", "pkg:apk/alpine/libvncserver@0.9.9?arch=x86_64&distro=alpine-3.12.0", VexStatus.AFFECTED),
        ("govex_vex_csaf.json", GIT, "CVE-2009-4487", "pkg:golang/github.com/go-homedir@v1.2.0", VexStatus.NOT_AFFECTED),
        ("rhsa-csaf.json", GIT, "CVE-2023-0286", "pkg:rpm/redhat/openssl@1.1.1k-8.el8_6?arch=aarch64&epoch=1&distro=redhat-8.6", VexStatus.FIXED),
        ("rhsa-csaf.json", GIT, "CVE-2023-0286", "pkg:rpm/redhat/openssl@1.1.1k-8.el8_6?arch=aarch64&distro=redhat-8.6", None),
        ("dd_cdx_valid-vulnerability-1.4.json", GIT, "CVE-2018-7489", "pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.9.4", VexStatus.NOT_AFFECTED),
        ("dd_cdx_log4j.json", GIT, "CVE-2021-44228", "pkg:maven/org.apache.logging.log4j/log4j-core@2.13.2", VexStatus.UNDER_INVESTIGATION),
        ("cyclonedx-unaffected-vex.json", GIT, "CVE-2020-25649", "pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.10.0?type=jar", None),
    ],
)  # fmt: skip
def test_what_they_say_of_a_finding(
    shared_data: Path, name: str, digest: Digest, cve: str, purl: str, status: VexStatus | None
) -> None:
    """The last one is about a component of another bill of materials, by a BOM-Link."""
    content = (shared_data / "sbom-vex" / name).read_bytes()
    reader = read_csaf if "csaf" in name else read_cyclonedx_vex if b"CycloneDX" in content else read_openvex
    document = reader(content, DEFAULT_LIMITS)
    assert document is not None
    finding = Vulnerability(id=cve, package="x", purl=purl)
    image = resolved(reference(), platform_image(AMD64))
    image = type(image)(image.reference, digest, image.media_type, is_index=False, platforms=image.platforms)
    looked = AttestedScan(report(vulnerabilities=(finding,)), attestation())
    said = AttestedVex(document, attestation(), NOW)
    ((marked,), (counted,)) = apply_vex([looked], [said], image)
    mark = marked.report.vulnerabilities[0].vex
    assert (mark and mark.status) == status
    assert counted.applied == (status is not None)
