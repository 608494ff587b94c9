"""CycloneDX as a bill of materials and as a scanner's report."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.cyclonedx import read_cyclonedx_sbom, read_cyclonedx_scan
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Component, Sbom, ScannedSystem, ScanReport, Severity, Vulnerability
from vectors.attestations import SUBJECT
from vectors.documents import IMAGE_ID, SERIAL, cdx_component, cdx_vulnerability, cyclonedx, encoded

CREATED = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
OTHER = "sha256:" + "22" * 32
SYSTEM = cdx_component("debian", type="operating-system", version="12.5", purl=None)


def sbom(*components: dict[str, Any], **fields: Any) -> Sbom:
    return read_cyclonedx_sbom(encoded(cyclonedx(*components, **fields)), DEFAULT_LIMITS)


def scan(*components: dict[str, Any], **fields: Any) -> ScanReport | None:
    return read_cyclonedx_scan(encoded(cyclonedx(*components, **fields)), DEFAULT_LIMITS)


def found(*components: dict[str, Any], **fields: Any) -> ScanReport:
    report = scan(*components, **fields)
    assert report is not None
    return report


def finding(component: dict[str, Any] | None = None, **fields: Any) -> Vulnerability:
    components = [cdx_component()] if component is None else [component]
    (only,) = found(*components, vulnerabilities=[cdx_vulnerability(**fields)]).vulnerabilities
    return only


def refusal(document: object, **limits: int) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        read_cyclonedx_scan(encoded(document), replace(DEFAULT_LIMITS, **limits))
    return caught.value.reason, caught.value.message


# -- bills of materials --------------------------------------------------------------------------------------


def test_a_bill_of_materials() -> None:
    assert sbom(cdx_component(), tool="syft") == Sbom(
        format="cyclonedx",
        spec_version="1.6",
        created_at=CREATED,
        tools=("syft 0.94.0",),
        target_digests=(SUBJECT,),
        components=(
            Component(
                "openssl", "3.0.1", "pkg:deb/debian/openssl@3.0.1", "library", ("Apache-2.0", "MIT OR BSD-2-Clause")
            ),
        ),
    )


def test_an_empty_bill_of_materials() -> None:
    document = {"bomFormat": "CycloneDX", "specVersion": "1.2"}
    assert read_cyclonedx_sbom(encoded(document), DEFAULT_LIMITS) == Sbom("cyclonedx", "1.2", None, (), (), ())


def test_components_are_nested() -> None:
    tree = cdx_component("a", components=[cdx_component("b", components=[cdx_component("c")]), cdx_component("d")])
    image = {"component": {"type": "container", "name": "web", "components": [cdx_component("x")]}}
    names = [one.name for one in sbom(tree, cdx_component("e"), metadata=image).components]
    assert names == ["x", "a", "b", "c", "d", "e"]


def test_a_component_of_a_group() -> None:
    (component,) = sbom(cdx_component("core", group="@babel")).components
    assert component.name == "@babel/core"


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        ([{"vendor": "anchore", "name": "syft", "version": "0.58.0"}, {"name": "x"}], ("syft 0.58.0", "x")),
        ({"components": [{"name": "syft", "version": "1"}], "services": [{"name": "s"}]}, ("syft 1", "s")),
        ({"components": None}, ()),
        ([], ()),
        (None, ()),
    ],
)
def test_tools_in_both_shapes(tools: object, names: tuple[str, ...]) -> None:
    assert sbom(metadata={"tools": tools}).tools == names


@pytest.mark.parametrize(
    ("component", "digests"),
    [
        ({"version": str(SUBJECT)}, (SUBJECT,)),
        ({"version": "12"}, ()),
        ({"purl": f"pkg:oci/web@{SUBJECT.replace(':', '%3A')}?repository_url=r"}, (SUBJECT,)),
        ({"purl": f"pkg:docker/acme/web@{SUBJECT}"}, (SUBJECT,)),
        ({"purl": f"pkg:generic/web@{SUBJECT}"}, ()),
        ({"type": "container", "hashes": [{"alg": "SHA-256", "content": SUBJECT.hex.upper()}]}, (SUBJECT,)),
        ({"type": "container", "hashes": [{"alg": "SHA-512", "content": SUBJECT.hex}]}, ()),
        ({"type": "application", "hashes": [{"alg": "SHA-256", "content": SUBJECT.hex}]}, ()),
        ({"properties": [{"name": "aquasecurity:trivy:RepoDigest", "value": f"r/web@{SUBJECT}"}]}, (SUBJECT,)),
        (
            {"version": OTHER, "properties": [{"name": "aquasecurity:trivy:RepoDigest", "value": f"w@{SUBJECT}"}]},
            (OTHER, SUBJECT),
        ),
        ({"version": "sha256:AA"}, ()),
        (None, ()),
    ],
)
def test_digests_of_the_image(component: dict[str, Any] | None, digests: tuple[str, ...]) -> None:
    assert sbom(metadata={"component": component}).target_digests == digests
    vulnerabilities = [cdx_vulnerability()]
    assert found(metadata={"component": component}, vulnerabilities=vulnerabilities).target_digests == digests


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        (cyclonedx(bomFormat="SPDX"), "attestation-invalid", 'bomFormat is "SPDX"'),
        (cyclonedx(specVersion="1.1"), "attestation-unsupported", 'of version "1.1"; 1.2 and later are read'),
        (cyclonedx(specVersion="2.0"), "attestation-unsupported", 'of version "2.0"'),
        (cyclonedx(metadata={"timestamp": "today"}), "attestation-invalid", "metadata.timestamp"),
        (cyclonedx(components={"a": 1}), "attestation-invalid", "another shape"),
        ({"specVersion": "1.6"}, "attestation-invalid", "bomFormat"),
    ],
)
def test_refused_documents(document: dict[str, Any], reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_cyclonedx_sbom(encoded(document), DEFAULT_LIMITS)
    assert caught.value.reason == reason
    assert message in caught.value.message


@pytest.mark.parametrize("version", ["1.2", "1.5", "1.7", "1.10"])
def test_versions(version: str) -> None:
    assert sbom(specVersion=version).spec_version == version


def test_more_components_than_the_limit() -> None:
    document = cyclonedx(cdx_component("a", components=[cdx_component("b")]), vulnerabilities=[cdx_vulnerability()])
    content = encoded(document)
    assert len(read_cyclonedx_sbom(content, replace(DEFAULT_LIMITS, sbom_components=2)).components) == 2
    for read in (read_cyclonedx_sbom, read_cyclonedx_scan):
        with pytest.raises(EvidenceError, match=r"the limit sbomComponents \(1\)") as caught:
            read(content, replace(DEFAULT_LIMITS, sbom_components=1))
        assert caught.value.reason == "too-large"


def test_components_nested_without_end() -> None:
    content = b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":' + b'[{"components":' * 100_000
    with pytest.raises(EvidenceError) as caught:
        read_cyclonedx_sbom(content + b"null" + b"}]" * 100_000 + b"}", DEFAULT_LIMITS)
    assert caught.value.reason == "attestation-invalid"


# -- scans ---------------------------------------------------------------------------------------------------


def test_a_scan() -> None:
    vulnerability = cdx_vulnerability(affects=[{"ref": "ref-openssl", "versions": [{"version": "3.0.1"}]}])
    properties = [{"name": "aquasecurity:trivy:ImageID", "value": IMAGE_ID}]
    image = {"component": {"type": "container", "name": "web", "version": str(SUBJECT), "properties": properties}}
    report = found(cdx_component(), SYSTEM, vulnerabilities=[vulnerability], metadata=image)
    assert report == ScanReport(
        scanner="grype",
        scanner_version="0.94.0",
        scanned_at=CREATED,
        target_digests=(SUBJECT,),
        target_image_id=IMAGE_ID,
        vulnerabilities=(
            Vulnerability(
                id="CVE-2026-0001",
                aliases=("GHSA-x",),
                package="openssl",
                purl="pkg:deb/debian/openssl@3.0.1",
                installed="3.0.1",
                severity=Severity.HIGH,
                score=7.5,
            ),
        ),
        format="cyclonedx-json",
        system=ScannedSystem("debian", "12.5", None),
        packages=1,
    )


@pytest.mark.parametrize(
    ("tool", "vulnerabilities", "is_scan"),
    [
        ("grype", [cdx_vulnerability()], True),
        ("Trivy", [cdx_vulnerability()], True),
        ("acme-scanner", [cdx_vulnerability()], True),
        # Not a scanner's, or nobody's.
        ("syft", [cdx_vulnerability()], False),
        ("cyclonedx-php-composer", [cdx_vulnerability()], False),
        (None, [cdx_vulnerability()], False),
        ("grype", None, False),
        # Trivy writes an empty list whether it looked or not; Grype always looks.
        ("trivy", [], False),
        ("acme-scanner", [], False),
        ("grype", [], True),
    ],
)
def test_what_is_a_scan(tool: str | None, vulnerabilities: list[Any] | None, is_scan: bool) -> None:
    report = scan(cdx_component(), tool=tool, vulnerabilities=vulnerabilities)
    assert (report is not None) is is_scan
    if report is not None:
        assert report.scanner == (tool or "").lower()
        assert report.complete


def test_vex_of_a_tool_of_any_name_is_no_scan() -> None:
    """Signed by somebody who may sign scans, too, it would stand in for one."""
    analysed, bare = cdx_vulnerability(analysis={"state": "in_triage"}), cdx_vulnerability()
    assert scan(tool="acme-vex", vulnerabilities=[analysed, analysed]) is None
    assert scan(tool="acme-vex", vulnerabilities=[analysed], components=None) is None
    assert scan(tool="acme-scanner", vulnerabilities=[analysed, bare]) is not None
    assert scan(cdx_component(), tool="acme-scanner", vulnerabilities=[analysed]) is not None


def test_the_scanner_is_named_beside_the_maker_of_the_bill() -> None:
    tools = [{"name": "syft", "version": "1"}, {"name": "grype", "version": "2"}]
    report = found(cdx_component(), metadata={"tools": tools}, vulnerabilities=[])
    assert (report.scanner, report.scanner_version, report.packages) == ("grype", "2", 1)


def test_a_scan_of_nothing_is_incomplete() -> None:
    report = found(SYSTEM, vulnerabilities=[])
    assert (report.complete, report.packages) == (False, 0)
    assert report.incomplete_because == "the scanner found no packages to look at"


def test_a_scan_that_does_not_list_what_it_saw() -> None:
    report = found(components=None, vulnerabilities=[cdx_vulnerability()])
    assert (report.packages, report.complete) == (None, True)


def test_one_finding_for_each_affected_package() -> None:
    vulnerability = cdx_vulnerability(affects=[{"ref": "ref-a"}, {"ref": "ref-b"}])
    report = found(cdx_component("a", components=[cdx_component("b")]), vulnerabilities=[vulnerability])
    assert [one.package for one in report.vulnerabilities] == ["a", "b"]


@pytest.mark.parametrize(
    ("affects", "package", "path"),
    [
        ([{"ref": "ref-openssl"}], "openssl", ""),
        ([{"ref": "nowhere"}], "", "nowhere"),
        ([{"ref": f"urn:cdx:{SERIAL}/1#ref-openssl"}], "openssl", ""),
        ([{"ref": f"urn:cdx:{SERIAL}/1#ref%2Dopenssl"}], "openssl", ""),
        ([{"ref": f"urn:cdx:{SERIAL}/2#ref-openssl"}], "", f"urn:cdx:{SERIAL}/2#ref-openssl"),
        ([{"ref": "urn:cdx:aa/1#ref-openssl"}], "", "urn:cdx:aa/1#ref-openssl"),
        ([{}], "", ""),
        ([], "", ""),
        (None, "", ""),
    ],
)
def test_affected_packages(affects: list[Any] | None, package: str, path: str) -> None:
    only = finding(affects=affects)
    assert (only.package, only.path) == (package, path)


@pytest.mark.parametrize(("version", "linked"), [(None, 1), (1, 1), (7, 7)])
def test_links_to_the_document_itself_name_its_version(version: int | None, linked: int) -> None:
    for number, package in ((linked, "openssl"), (linked + 1, "")):
        affects = [{"ref": f"urn:cdx:{SERIAL}/{number}#ref-openssl"}]
        report = found(cdx_component(), version=version, vulnerabilities=[cdx_vulnerability(affects=affects)])
        assert report.vulnerabilities[0].package == package


def test_one_package_in_two_places_is_one_finding() -> None:
    components = [cdx_component(**{"bom-ref": ref}) for ref in ("a", "b")]
    vulnerability = cdx_vulnerability(affects=[{"ref": "a"}, {"ref": "b"}])
    assert len(found(*components, vulnerabilities=[vulnerability]).vulnerabilities) == 1


def test_the_image_itself_may_be_affected() -> None:
    image = {"component": {"type": "container", "name": "web", "bom-ref": "image"}}
    report = found(metadata=image, vulnerabilities=[cdx_vulnerability(affects=[{"ref": "image"}])])
    assert report.vulnerabilities[0].package == "web"


def test_of_two_components_with_one_ref_the_first_counts() -> None:
    report = found(
        cdx_component("a", **{"bom-ref": "x"}),
        cdx_component("b", **{"bom-ref": "x"}),
        vulnerabilities=[cdx_vulnerability(affects=[{"ref": "x"}])],
    )
    assert report.vulnerabilities[0].package == "a"


@pytest.mark.parametrize("name", ["syft:location:0:path", "aquasecurity:trivy:FilePath"])
def test_paths(name: str) -> None:
    properties = [{"name": "x", "value": "y"}, {"name": name, "value": "/usr/lib/x"}]
    assert finding(cdx_component(properties=properties)).path == "/usr/lib/x"


EPSS = {"source": {"name": "FIRST", "url": "https://www.first.org/epss/"}, "score": 0.03, "method": "other"}
OLD = {"score": 10, "method": "CVSSv2"}


@pytest.mark.parametrize(
    ("ratings", "severity", "score"),
    [
        ([{"severity": "critical"}], Severity.CRITICAL, None),
        ([{"severity": "info"}], Severity.NEGLIGIBLE, None),
        ([{"severity": "none"}], Severity.NEGLIGIBLE, None),
        ([{"severity": "unknown"}], Severity.UNKNOWN, None),
        ([{"severity": "grave"}], Severity.UNKNOWN, None),
        ([], Severity.UNKNOWN, None),
        (None, Severity.UNKNOWN, None),
        # The worst word of any source.
        ([{"severity": "low"}, {"severity": "high"}, {"severity": "unknown"}], Severity.HIGH, None),
        # Without a word, by the score; with one, not.
        ([{"score": 9.8, "method": "CVSSv31"}], Severity.CRITICAL, 9.8),
        ([{"severity": "unknown", "score": 4.0, "method": "CVSSv4"}], Severity.MEDIUM, 4.0),
        ([{"severity": "low", "score": 9.8, "method": "CVSSv31"}], Severity.LOW, 9.8),
        # The highest of the newer versions; the old one only without them.
        ([OLD, {"score": 5.5, "method": "CVSSv3"}, {"score": 6.5, "method": "CVSSv4"}], Severity.MEDIUM, 6.5),
        ([OLD], Severity.CRITICAL, 10),
        ([{"score": 99, "method": "CVSSv3"}], Severity.UNKNOWN, None),
        ([{"score": 9.8, "method": "OWASP"}], Severity.UNKNOWN, None),
        ([{"score": 9.8}], Severity.UNKNOWN, None),
        # A probability is no score.
        ([EPSS], Severity.UNKNOWN, None),
    ],
)  # fmt: skip
def test_ratings(ratings: list[Any] | None, severity: Severity, score: float | None) -> None:
    only = finding(ratings=ratings)
    assert (only.severity, only.score) == (severity, score)


@pytest.mark.parametrize(("rating", "epss"), [(EPSS, 0.03), ({**EPSS, "score": 3}, None), ({"severity": "low"}, None)])
def test_probabilities(rating: dict[str, Any], epss: float | None) -> None:
    assert finding(ratings=[rating]).epss == epss


MENDED = {"version": "3.0.2", "status": "unaffected"}


@pytest.mark.parametrize(
    ("versions", "recommendation", "fixed"),
    [
        ([{"version": "3.0.1", "status": "affected"}], None, ""),
        ([MENDED, {"range": "vers:deb/>=4", "status": "unaffected"}], None, "3.0.2, vers:deb/>=4"),
        (None, "Upgrade openssl to version 3.0.2", "3.0.2"),
        (None, "Upgrade libssl to version 1; Upgrade openssl to version 3.0.2, 3.1.0", "3.0.2, 3.1.0"),
        (None, "Upgrade libssl to version 1", ""),
        (None, "Remove it", ""),
        ([MENDED], "Upgrade openssl to version 3.0.9", "3.0.2"),
    ],
)  # fmt: skip
def test_fixed_versions(versions: list[Any] | None, recommendation: str | None, fixed: str) -> None:
    affects = [{"ref": "ref-openssl", "versions": versions}]
    assert finding(affects=affects, recommendation=recommendation).fixed == fixed


@pytest.mark.parametrize("name", ["core", "org.acme:core", "org.acme/core"])
def test_fixed_versions_of_a_group(name: str) -> None:
    component = cdx_component("core", **{"group": "org.acme", "bom-ref": "ref-openssl"})
    assert finding(component, recommendation=f"Upgrade {name} to version 2").fixed == "2"


@pytest.mark.parametrize(
    ("references", "aliases"),
    [
        ([{"id": "CVE-2026-0001"}, {"id": "GHSA-x"}, {"id": None}, {"id": "GHSA-x"}], ("GHSA-x",)),
        # Two CVEs are not two names of one thing.
        ([{"id": "CVE-2026-0002"}, {"id": "GHSA-x"}], ("GHSA-x",)),
        (None, ()),
    ],
)
def test_other_names(references: list[Any] | None, aliases: tuple[str, ...]) -> None:
    assert finding(references=references).aliases == aliases


def test_what_vex_says_is_not_looked_at() -> None:
    only = finding(analysis={"state": "not_affected", "justification": "code_not_reachable"})
    assert (only.severity, only.vex) == (Severity.HIGH, None)


def test_refused_scans() -> None:
    reason, message = refusal(cyclonedx(vulnerabilities=[cdx_vulnerability(id=None)]))
    assert (reason, message) == ("attestation-invalid", "a vulnerability of the CycloneDX document has no id")
    assert refusal(cyclonedx(specVersion="1.1", vulnerabilities=[]))[0] == "attestation-unsupported"
    assert refusal(cyclonedx(vulnerabilities=[{"id": 7}]))[0] == "attestation-invalid"


def test_more_findings_than_the_limit() -> None:
    rows = [cdx_vulnerability(affects=[{"ref": "a"}, {"ref": "b"}]), cdx_vulnerability(affects=[])]
    document = cyclonedx(vulnerabilities=rows)
    report = read_cyclonedx_scan(encoded(document), replace(DEFAULT_LIMITS, findings=3))
    assert report is not None
    assert len(report.vulnerabilities) == 3
    assert refusal(document, findings=2) == ("too-large", "the report has 3 findings; the limit findings is 2")


# -- samples -------------------------------------------------------------------------------------------------

SCANS = {"grype/TestCycloneDxPresenterImage.cdx.json", "sbom-vex/dd_cdx_log4j.json"}
"""The others name no tool (VEX), or one that makes bills of materials, or are Trivy's with an empty list."""


def test_samples(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    wanted = {name: one for name, one in expected.items() if one["format"] == "cyclonedx"}
    assert len(wanted) > 25
    scans = set()
    for name, one in wanted.items():
        content = (shared_data / name).read_bytes()
        bill = read_cyclonedx_sbom(content, DEFAULT_LIMITS)
        assert (len(bill.components), bill.spec_version) == (one["components"], one["specVersion"]), name
        assert (bill.created_at is None) is (one["timestamp"] is None)
        report = read_cyclonedx_scan(content, DEFAULT_LIMITS)
        if report is not None:
            scans.add(name)
            # Each affects one package.
            assert len(report.vulnerabilities) == one["vulnerabilities"]
            assert Counter(str(found.severity) for found in report.vulnerabilities) == one["byMaxRating"]
    assert scans == SCANS
