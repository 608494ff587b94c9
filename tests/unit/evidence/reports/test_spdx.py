"""SPDX 2 and 3 as bills of materials."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.spdx import read_spdx
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Component, Sbom
from vectors.attestations import SUBJECT
from vectors.documents import PURL, encoded, spdx, spdx3, spdx3_package, spdx_image, spdx_package

CREATED = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
SHA256 = {"algorithm": "SHA256", "checksumValue": SUBJECT.hex}
OCI = f"pkg:oci/web@{SUBJECT.replace(':', '%3A')}?arch=amd64"


def read(document: object) -> Sbom:
    return read_spdx(encoded(document), DEFAULT_LIMITS)


def refusal(content: bytes) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        read_spdx(content, DEFAULT_LIMITS)
    return caught.value.reason, caught.value.message


def purl_of(locator: str) -> list[dict[str, str]]:
    return [{"referenceType": "purl", "referenceLocator": locator}]


# -- version 2 -----------------------------------------------------------------------------------------------


def test_version_2() -> None:
    package = spdx_package(primaryPackagePurpose="LIBRARY")
    assert read(spdx(spdx_image(checksums=[SHA256]), package)) == Sbom(
        format="spdx",
        spec_version="2.3",
        created_at=CREATED,
        tools=("syft-1.2.3",),
        target_digests=(SUBJECT,),
        components=(Component("openssl", "3.0.1", PURL, "library", ("Apache-2.0",)),),
    )


def test_an_empty_document() -> None:
    assert read({"spdxVersion": "SPDX-2.2"}) == Sbom("spdx", "2.2", None, (), (), ())


@pytest.mark.parametrize(
    ("image", "digests"),
    [
        ({"checksums": [SHA256]}, (SUBJECT,)),
        ({"checksums": [{"algorithm": "SHA512", "checksumValue": SUBJECT.hex}]}, ()),
        ({"checksums": [SHA256], "primaryPackagePurpose": None}, (SUBJECT,)),
        # The checksum of an archive or a file is not the digest of an image.
        ({"checksums": [SHA256], "primaryPackagePurpose": "APPLICATION", "externalRefs": None}, ()),
        ({"versionInfo": str(SUBJECT)}, (SUBJECT,)),
        ({"externalRefs": purl_of(OCI)}, (SUBJECT,)),
        ({"attributionTexts": ["ImageID: sha256:00", f"RepoDigest: r/web@{SUBJECT}"]}, (SUBJECT,)),
        ({"annotations": [{"comment": f"RepoDigest: r/web@{SUBJECT}"}, {"comment": None}]}, (SUBJECT,)),
        ({"attributionTexts": [f"BaseDigest: r/web@{SUBJECT}"]}, ()),
        ({}, ()),
    ],
)
def test_digests_of_the_image(image: dict[str, Any], digests: tuple[str, ...]) -> None:
    assert read(spdx(spdx_image(**image))).target_digests == digests


DESCRIBED_BY = {
    "spdxElementId": "SPDXRef-web",
    "relationshipType": "DESCRIBED_BY",
    "relatedSpdxElement": "SPDXRef-DOCUMENT",
}
CONTAINS = {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-web"}
ELSEWHERE = {"spdxElementId": "SPDXRef-x", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-web"}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["openssl"]),
        ({"documentDescribes": ["SPDXRef-web"], "relationships": None}, ["openssl"]),
        ({"relationships": [DESCRIBED_BY]}, ["openssl"]),
        # Several are described: none of them is the image.
        ({"documentDescribes": ["SPDXRef-openssl"]}, ["web", "openssl"]),
        ({"documentDescribes": ["SPDXRef-File"]}, ["web", "openssl"]),
        ({"relationships": [CONTAINS, ELSEWHERE]}, ["web", "openssl"]),
        ({"relationships": None}, ["web", "openssl"]),
    ],
)
def test_the_described_package_is_the_image(fields: dict[str, Any], names: list[str]) -> None:
    found = read(spdx(spdx_image(checksums=[SHA256]), spdx_package(), **fields))
    assert [one.name for one in found.components] == names
    assert found.target_digests == ((SUBJECT,) if names == ["openssl"] else ())


@pytest.mark.parametrize(
    ("fields", "component"),
    [
        ({"name": None, "packageName": "x"}, Component("x", "3.0.1", PURL, "", ("Apache-2.0",))),
        ({"name": None}, Component("SPDXRef-openssl", "3.0.1", PURL, "", ("Apache-2.0",))),
        ({"licenseConcluded": "MIT"}, Component("openssl", "3.0.1", PURL, "", ("MIT", "Apache-2.0"))),
        ({"licenseDeclared": "NONE"}, Component("openssl", "3.0.1", PURL, "", ())),
        ({"externalRefs": None, "versionInfo": None}, Component("openssl", "", "", "", ("Apache-2.0",))),
    ],
)
def test_components(fields: dict[str, Any], component: Component) -> None:
    assert read(spdx(spdx_package(**fields))).components == (component,)


def test_creators_that_are_no_texts_are_passed_over() -> None:
    creation = {"created": None, "creators": [{"Person": "Harry"}, "Person: Ann", "Tool: a", "Tool:b"]}
    found = read(spdx(creationInfo=creation))
    assert (found.tools, found.created_at) == (("a", "b"), None)


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (encoded("SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0"), "attestation-unsupported", "tag-value text"),
        (b"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0", "attestation-unsupported", "tag-value text"),
        (b"##### Document\nSPDXVersion: SPDX-2.3", "attestation-unsupported", "tag-value text"),
        (encoded(spdx(spdxVersion="SPDX-1.2")), "attestation-unsupported", 'of version "SPDX-1.2"'),
        (encoded(spdx(spdxVersion=2)), "attestation-invalid", "spdxVersion"),
        (encoded(spdx(creationInfo={"created": "today"})), "attestation-invalid", "creationInfo.created"),
        (encoded({}), "attestation-invalid", "neither spdxVersion nor the @context"),
        (encoded({"@context": ["https://example.com/", 7]}), "attestation-invalid", "neither spdxVersion nor"),
        (encoded(spdx3(**{"@graph": None})), "attestation-invalid", "@graph"),
        (b"", "attestation-invalid", "no JSON"),
    ],
)
def test_refused_documents(content: bytes, reason: str, message: str) -> None:
    found = refusal(content)
    assert found[0] == reason
    assert message in found[1]


def test_more_components_than_the_limit() -> None:
    for content in (encoded(spdx(spdx_package(), spdx_package())), encoded(spdx3(spdx3_package(), spdx3_package()))):
        assert len(read_spdx(content, replace(DEFAULT_LIMITS, sbom_components=2)).components) == 2
        with pytest.raises(EvidenceError, match="the limit sbomComponents is 1") as caught:
            read_spdx(content, replace(DEFAULT_LIMITS, sbom_components=1))
        assert caught.value.reason == "too-large"


# -- version 3 -----------------------------------------------------------------------------------------------


def license_of(package: str, kind: str, text: str) -> list[dict[str, Any]]:
    key = f"urn:license:{text}"
    expression = {"type": "simplelicensing_LicenseExpression", "spdxId": key, "simplelicensing_licenseExpression": text}
    return [expression, {"type": "Relationship", "from": package, "relationshipType": kind, "to": [key]}]


def test_version_3() -> None:
    image = spdx3_package("web", software_primaryPurpose="container", software_packageUrl=OCI)
    licenses = [
        *license_of("urn:openssl", "hasDeclaredLicense", "Apache-2.0"),
        *license_of("urn:openssl", "hasConcludedLicense", "MIT"),
        *license_of("urn:openssl", "hasConcludedLicense", "MIT"),
        *license_of("urn:openssl", "dependsOn", "GPL-2.0-only"),
        *license_of("urn:web", "hasDeclaredLicense", "BSD-2-Clause"),
    ]
    assert read(spdx3(image, spdx3_package(), *licenses)) == Sbom(
        format="spdx",
        spec_version="3.0.1",
        created_at=CREATED,
        tools=("syft 1.2.3",),
        target_digests=(SUBJECT,),
        components=(Component("openssl", "3.0.1", PURL, "library", ("Apache-2.0", "MIT")),),
    )


@pytest.mark.parametrize(
    ("image", "digests"),
    [
        ({"software_packageVersion": str(SUBJECT)}, (SUBJECT,)),
        ({"verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": SUBJECT.hex}, "urn:hash"]}, ()),
        (
            {
                "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": SUBJECT.hex}],
                "software_primaryPurpose": "container",
            },
            (SUBJECT,),
        ),
        (
            {
                "software_packageUrl": None,
                "externalIdentifier": [
                    "urn:id",
                    {"externalIdentifierType": "cpe23", "identifier": "cpe:2.3:x"},
                    {"externalIdentifierType": "packageUrl", "identifier": OCI},
                ],
            },
            (SUBJECT,),
        ),
    ],
)
def test_digests_of_the_image_in_version_3(image: dict[str, Any], digests: tuple[str, ...]) -> None:
    assert read(spdx3(spdx3_package("web", **image))).target_digests == digests


def test_without_a_root_each_package_is_a_component() -> None:
    found = read(spdx3(spdx3_package("web", software_packageVersion=str(SUBJECT)), root="urn:other"))
    assert ([one.name for one in found.components], found.target_digests) == (["web"], ())


def test_of_several_roots_none_is_the_image() -> None:
    other = {"type": "software_Sbom", "spdxId": "urn:other", "rootElement": "urn:openssl"}
    image = spdx3_package("web", software_packageVersion=str(SUBJECT))
    found = read(spdx3(image, spdx3_package(), other))
    assert ([one.name for one in found.components], found.target_digests) == (["web", "openssl"], ())


def test_the_oldest_time_counts() -> None:
    older = {"type": "CreationInfo", "created": "2026-11-19T10:00:00Z"}
    assert read(spdx3(older)).created_at == datetime(2026, 11, 19, 10, 0, tzinfo=UTC)


def test_a_package_without_a_name() -> None:
    package = spdx3_package(name=None, software_packageUrl=None, software_primaryPurpose=None)
    assert read(spdx3(package)).components == (Component("urn:openssl", "3.0.1"),)


@pytest.mark.parametrize("context", [
    "https://spdx.org/rdf/3.0.0/spdx-context.jsonld",
    ["https://example.com/", "https://spdx.org/rdf/3.0.0/spdx-context.jsonld"],
])  # fmt: skip
def test_contexts(context: object) -> None:
    assert read(spdx3(**{"@context": context})).spec_version == "3.0.0"


# -- samples -------------------------------------------------------------------------------------------------

INVALID = "sbom-vex/invalid-spdx.json"
"""Its spdxVersion is a number: it is refused, where the values that came with it count its packages as none."""


def test_samples(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected-reports.json").read_text())
    wanted = {name: one for name, one in expected.items() if one["format"] == "spdx"}
    assert len(wanted) == 3
    for name, one in wanted.items():
        content = (shared_data / name).read_bytes()
        if name == INVALID:
            assert refusal(content)[0] == "attestation-invalid"
            continue
        found = read_spdx(content, DEFAULT_LIMITS)
        assert (len(found.components), f"SPDX-{found.spec_version}") == (one["packages"], one["spdxVersion"])
        assert found.created_at == datetime.fromisoformat(one["created"])
        assert all(component.name for component in found.components)
