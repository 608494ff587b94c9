"""VEX, applied to findings: the steps of the proof in applying.py and images.py, each broken once."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fakes.samples import AMD64, ARM64, NOW, attestation, digest, platform_image, reference, report, resolved
from portcullis.evidence.vex.applying import apply_vex
from portcullis.model.evidence import (
    AttestedScan,
    AttestedVex,
    ScanReport,
    Severity,
    Signer,
    Suppression,
    VexDocument,
    VexMark,
    VexProduct,
    VexStatement,
    VexStatus,
    Vulnerability,
)
from portcullis.model.image import Digest, Platform, ResolvedImage

AFFECTED, FIXED, NOT_AFFECTED, INVESTIGATED = (
    VexStatus.AFFECTED,
    VexStatus.FIXED,
    VexStatus.NOT_AFFECTED,
    VexStatus.UNDER_INVESTIGATION,
)
PRODUCT_TEAM = Signer("product", "key")
SECURITY_TEAM = Signer("security", "key")
HOUR = timedelta(hours=1)

INDEX = resolved(reference(), platform_image(AMD64), platform_image(ARM64))
SINGLE = resolved(reference(), platform_image(AMD64))
AMD64_DIGEST, ARM64_DIGEST = (platform.digest for platform in INDEX.platforms)
OTHER = digest("another image")

OPENSSL = Vulnerability(
    id="CVE-2026-1",
    aliases=("GHSA-aaaa",),
    package="openssl",
    purl="pkg:deb/debian/openssl@3.0.1?arch=amd64&distro=debian-12",
    installed="3.0.1",
    severity=Severity.CRITICAL,
)
ZLIB = replace(OPENSSL, package="zlib1g", purl="pkg:deb/debian/zlib1g@1.3")
NAMELESS = replace(OPENSSL, package="libfoo", purl="")


def scan(
    *findings: Vulnerability, hangs_at: Digest | None = None, at: Platform | None = None, **of: Any
) -> AttestedScan:
    found = report(vulnerabilities=findings or (OPENSSL,), **of)
    return AttestedScan(found, attestation(subject=hangs_at or INDEX.digest, platform=at))


def said(
    status: VexStatus = NOT_AFFECTED, *products: VexProduct, about: Any = "CVE-2026-1", **more: Any
) -> VexStatement:
    fields: dict[str, Any] = {
        "vulnerabilities": (about,) if isinstance(about, str) else about,
        "status": status,
        "justification": "vulnerable_code_not_present" if status is NOT_AFFECTED else "",
        "impact": "",
        "products": products,
        "issued_at": NOW,
    }
    return VexStatement(**{**fields, **more})


def vex(
    *statements: VexStatement,
    signer: Signer | None = PRODUCT_TEAM,
    seed: str = "vex",
    hangs_at: Digest | None = None,
    at: Platform | None = None,
    expires_at: datetime | None = None,
    **more: Any,
) -> AttestedVex:
    document = VexDocument("openvex", "id", "author", "1", NOW, statements)
    by = attestation(seed=seed, signer=signer, subject=hangs_at or INDEX.digest, platform=at, **more)
    return AttestedVex(document, by, expires_at)


def marks(
    documents: AttestedVex | list[AttestedVex],
    scans: AttestedScan | list[AttestedScan] | None = None,
    image: ResolvedImage = INDEX,
) -> list[VexMark | None]:
    """The marks of all findings of all scans."""
    listed = [documents] if isinstance(documents, AttestedVex) else documents
    looked = [scan()] if scans is None else [scans] if isinstance(scans, AttestedScan) else scans
    marked, _ = apply_vex(looked, listed, image)
    return [finding.vex for one in marked for finding in one.report.vulnerabilities]


def statuses(*arguments: Any, **more: Any) -> list[VexStatus | None]:
    return [None if mark is None else mark.status for mark in marks(*arguments, **more)]


def test_a_mark_says_who_said_what_and_until_when() -> None:
    statement = said(impact="removed")
    assert marks(vex(statement, expires_at=NOW + HOUR)) == [
        VexMark(
            status=NOT_AFFECTED,
            justification="vulnerable_code_not_present",
            impact="removed",
            signer=PRODUCT_TEAM,
            attestation=digest("vex"),
            issued_at=NOW,
            expires_at=NOW + HOUR,
        )
    ]


def test_an_expired_statement_is_a_mark_too() -> None:
    (mark,) = marks(vex(said(), expires_at=NOW - HOUR))
    assert mark is not None
    assert mark.expires_at == NOW - HOUR


# -- nothing is changed that is shared --------------------------------------------------------------------------------


def test_findings_that_are_shared_stay_as_they_are() -> None:
    finding, other = replace(OPENSSL), replace(OPENSSL, id="CVE-2026-2")
    before = scan(finding, other)
    (after,), _ = apply_vex([before], [vex(said())], INDEX)
    assert finding.vex is None
    assert before.report.vulnerabilities == (finding, other)
    assert after.report.vulnerabilities[0] == replace(finding, vex=after.report.vulnerabilities[0].vex)
    assert after.report.vulnerabilities[1] is other
    assert replace(after, report=before.report) == before


def test_a_scan_without_a_mark_is_the_same_one() -> None:
    before = scan()
    (after,), _ = apply_vex([before], [vex(said(about="CVE-2026-9"))], INDEX)
    assert after is before


def test_marks_come_from_these_documents_only() -> None:
    (marked,), _ = apply_vex([scan()], [vex(said())], INDEX)
    assert marks([], marked) == [None]
    assert marks(vex(said(AFFECTED)), marked)[0] != marked.report.vulnerabilities[0].vex


def test_what_a_scanner_left_out_itself_stays_as_it_is() -> None:
    left_out = (Suppression("CVE-2026-1", "openssl", ".trivyignore"),)
    (after,), _ = apply_vex([scan(suppressed=1, suppressions=left_out)], [vex(said())], INDEX)
    assert (after.report.suppressed, after.report.suppressions) == (1, left_out)


def test_findings_are_counted_once_for_each_document_that_says_something_of_them() -> None:
    everything = vex(said(), said(AFFECTED, VexProduct(purl=OPENSSL.purl)), seed="1")
    nothing = vex(said(about="CVE-2026-9"), seed="2")
    outvoted = vex(said(FIXED, about=("CVE-2026-1", "GHSA-aaaa")), signer=SECURITY_TEAM, seed="3")
    scans = [scan(OPENSSL, ZLIB, replace(ZLIB, id="CVE-2026-7", aliases=())), scan(OPENSSL)]
    _, counted = apply_vex(scans, [everything, nothing, outvoted], INDEX)
    assert [one.applied for one in counted] == [3, 0, 3]
    assert [replace(one, applied=0) for one in counted] == [everything, nothing, outvoted]


# -- 1: verified, by somebody -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"verified": False}, {"signer": None}], ids=["rejected", "nobody"])
def test_a_document_that_nobody_vouches_for_says_nothing(more: dict[str, Any]) -> None:
    assert marks(vex(said(), **more)) == [None]


# -- 2: the vulnerability ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "applies"),
    [
        ("CVE-2026-1", True),
        ("cve-2026-1", True),
        ("GHSA-aaaa", True),
        (("GHSA-zzzz", "ghsa-AAAA"), True),
        ("CVE-2026-10", False),
        ("CVE-2026", False),
        (("GHSA-zzzz", "CVE-2026-2"), False),
    ],
    ids=str,
)
def test_the_vulnerability_is_one_by_any_of_its_names(about: Any, applies: bool) -> None:
    assert (marks(vex(said(about=about))) != [None]) is applies


# -- 3: the platform --------------------------------------------------------------------------------------------------

SCANS = {
    "hangs at amd64": scan(hangs_at=AMD64_DIGEST, at=AMD64),
    "is at amd64": scan(at=AMD64),
    "names the manifest of amd64": scan(target_digests=(AMD64_DIGEST,)),
    "names the configuration of amd64": scan(target_image_id=INDEX.platforms[0].config_digest),
    "names the index and amd64": scan(target_digests=(INDEX.digest,), platform=AMD64),
    "amd64, any variant": scan(platform=Platform("linux", "amd64", "v2")),
    "hangs at arm64": scan(hangs_at=ARM64_DIGEST, at=ARM64),
    "arm64 without its variant": scan(platform=Platform("linux", "arm64")),
    "says nothing": scan(),
    "names the index": scan(target_digests=(INDEX.digest,)),
    "contradicts itself": scan(hangs_at=AMD64_DIGEST, platform=ARM64),
    "another platform": scan(platform=Platform("linux", "s390x")),
}
OF_AMD64 = [name for name in SCANS if "amd64" in name]

BOUND_TO_AMD64 = {
    "hangs there": vex(said(), hangs_at=AMD64_DIGEST),
    "hangs there, named": vex(said(), hangs_at=AMD64_DIGEST, at=AMD64),
    "is found to be of it": vex(said(), at=AMD64),
    "product by digest": vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{AMD64_DIGEST}"))),
    "product by hash": vex(said(NOT_AFFECTED, VexProduct(digests=(AMD64_DIGEST,)))),
    "product by index and hash": vex(said(NOT_AFFECTED, VexProduct(digests=(INDEX.digest, AMD64_DIGEST)))),
    "product by reference": vex(said(NOT_AFFECTED, VexProduct(identifier=f"r.example/web@{AMD64_DIGEST}"))),
    "product by architecture": vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{INDEX.digest}?arch=amd64"))),
    "a package, hanging there": vex(said(NOT_AFFECTED, VexProduct(purl=OPENSSL.purl)), hangs_at=AMD64_DIGEST),
}


@pytest.mark.parametrize("looked", SCANS)
@pytest.mark.parametrize("document", BOUND_TO_AMD64)
def test_what_is_said_of_one_platform_is_said_of_its_scans(document: str, looked: str) -> None:
    applies = marks(BOUND_TO_AMD64[document], SCANS[looked]) != [None]
    assert applies is (looked in OF_AMD64)


@pytest.mark.parametrize("looked", SCANS)
def test_what_is_said_of_the_index_is_said_of_every_scan(looked: str) -> None:
    assert marks(vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{INDEX.digest}"))), SCANS[looked]) != [None]


@pytest.mark.parametrize(
    "document",
    [
        vex(said(), hangs_at=OTHER),
        vex(said(), at=Platform("linux", "s390x")),
        vex(said(), hangs_at=AMD64_DIGEST, at=ARM64),
        vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{AMD64_DIGEST}?arch=arm64"))),
        vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{INDEX.digest}?os=windows"))),
        vex(said(NOT_AFFECTED, VexProduct(digests=(AMD64_DIGEST, ARM64_DIGEST)))),
        vex(said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{ARM64_DIGEST}")), hangs_at=AMD64_DIGEST),
    ],
    ids=["hangs elsewhere", "unknown", "contradicts itself", "digest, arch", "os", "two digests", "two platforms"],
)
def test_what_is_said_of_no_platform_of_the_image_says_nothing(document: AttestedVex) -> None:
    assert set(marks(document, list(SCANS.values()))) == {None}


@pytest.mark.parametrize("looked", [scan(), scan(platform=ARM64), scan(at=AMD64)], ids=["silent", "other", "same"])
def test_an_image_with_one_platform_has_no_other(looked: AttestedScan) -> None:
    at = AttestedScan(looked.report, replace(looked.attestation, subject=SINGLE.digest))
    document = vex(
        said(NOT_AFFECTED, VexProduct(purl=f"pkg:oci/web@{SINGLE.digest}")), hangs_at=SINGLE.digest, at=AMD64
    )
    assert marks(document, at, SINGLE) != [None]


# -- 4: the product ---------------------------------------------------------------------------------------------------


def purl(text: str) -> VexProduct:
    return VexProduct(purl=text)


URL = "registry.example/acme/web"


@pytest.mark.parametrize(
    ("product", "applies"),
    [
        (VexProduct(), True),
        # by digest: wherever it lies, whatever it is called
        (purl(f"pkg:oci/web@{INDEX.digest}"), True),
        (purl(f"pkg:oci/web@{INDEX.digest.replace(':', '%3A')}?tag=9&mediaType=x"), True),
        (purl(f"pkg:oci/renamed@{INDEX.digest}?repository_url=mirror.example/renamed"), True),
        (purl(f"pkg:docker/acme/web@{INDEX.digest}"), True),
        (VexProduct(digests=(INDEX.digest,)), True),
        (VexProduct(digests=(INDEX.digest, "sha512:" + "ab" * 64, "md5:x")), True),
        (VexProduct(identifier=f"{URL}@{INDEX.digest}"), True),
        (VexProduct(identifier=INDEX.digest), True),
        (purl(f"pkg:oci/web@{OTHER}"), False),
        (purl(f"pkg:oci/web@{OTHER}?repository_url={URL}"), False),
        (purl(f"pkg:docker/acme/web@{OTHER}?repository_url=registry.example"), False),
        (VexProduct(digests=(OTHER,)), False),
        (VexProduct(digests=(INDEX.digest, OTHER)), False),
        (VexProduct(digests=("sha512:" + "ab" * 64,)), False),
        (VexProduct(purl=f"pkg:oci/web@{INDEX.digest}", digests=(OTHER,)), False),
        (VexProduct(purl=f"pkg:oci/web@{OTHER}", digests=(INDEX.digest,)), False),
        # by name
        (purl(f"pkg:oci/web?repository_url={URL}"), True),
        (purl("pkg:oci/web?repository_url=registry.example/acme"), True),
        (purl("pkg:oci/web?repository_url=https%3A%2F%2FRegistry.example%2Facme%2Fweb%2F"), True),
        (purl(f"pkg:oci/web?repository_url={URL}&tag=1.4"), True),
        (purl("pkg:docker/acme/web?repository_url=registry.example"), True),
        (purl("pkg:docker/acme/web@1.4?repository_url=registry.example"), True),
        (purl("pkg:oci/web"), False),
        (purl("pkg:oci/web?repository_url=registry.example/other/web"), False),
        (purl("pkg:oci/web?repository_url=registry.example/acme/web-evil"), False),
        (purl("pkg:oci/web?repository_url=evil.example/acme/web"), False),
        (purl("pkg:oci/api?repository_url=registry.example/acme"), False),
        (purl(f"pkg:oci/api?repository_url={URL}"), False),
        (purl(f"pkg:oci/web?repository_url={URL}&tag=1.5"), False),
        (purl(f"pkg:oci/web@1.4?repository_url={URL}"), False),
        (purl(f"pkg:oci/acme/web?repository_url={URL}"), False),
        (purl(f"pkg:oci/web?repository_url={URL}&customer=x"), False),
        (purl(f"pkg:oci/web?repository_url={URL}#usr/bin"), False),
        (purl("pkg:docker/acme/web"), False),
        (purl("pkg:docker/acme/web@1.5?repository_url=registry.example"), False),
        # another thing
        (VexProduct(identifier="web"), False),
        (VexProduct(identifier=URL), False),
        (VexProduct(identifier="cpe:2.3:a:acme:web:1.4:*:*:*:*:*:*:*"), False),
        (VexProduct(purl="pkg:oci"), False),
        (VexProduct(purl="pkg:oci", digests=(INDEX.digest,)), False),
    ],
    ids=repr,
)
def test_the_image_as_a_product(product: VexProduct, applies: bool) -> None:
    assert (marks(vex(said(NOT_AFFECTED, product))) != [None]) is applies


@pytest.mark.parametrize(
    ("text", "applies"),
    [
        ("pkg:docker/nginx", True),
        ("pkg:docker/library/nginx@1.27", True),
        ("pkg:docker/nginx?repository_url=index.docker.io", True),
        ("pkg:oci/nginx?repository_url=index.docker.io/library", True),
        ("pkg:oci/nginx?repository_url=docker.io/library/nginx", True),
        ("pkg:docker/acme/nginx", False),
        ("pkg:docker/nginx?repository_url=registry.example", False),
    ],
)
def test_images_of_docker_hub(text: str, applies: bool) -> None:
    hub = replace(
        reference("1.27"), repository=replace(reference().repository, registry="docker.io", path="library/nginx")
    )
    image = replace(INDEX, reference=hub)
    assert (marks(vex(said(NOT_AFFECTED, purl(text))), image=image) != [None]) is applies


def test_a_tag_that_nobody_wrote_is_not_the_one_that_is_named() -> None:
    pinned = replace(INDEX, reference=reference(None, INDEX.digest))
    assert marks(vex(said(NOT_AFFECTED, purl(f"pkg:oci/web?repository_url={URL}&tag=1.4"))), image=pinned) == [None]
    assert marks(vex(said(NOT_AFFECTED, purl(f"pkg:oci/web?repository_url={URL}"))), image=pinned) != [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPENSSL.purl, [True, False, False]),
        ("pkg:deb/debian/openssl", [True, False, False]),
        ("pkg:deb/debian/openssl@3.0.1?distro=debian-12", [True, False, False]),
        ("pkg:deb/debian/zlib1g@1.3", [False, True, False]),
        ("pkg:deb/debian/openssl@3.0.2", [False, False, False]),
        ("pkg:deb/debian/openssl@3.0.1?arch=arm64", [False, False, False]),
        ("pkg:deb/ubuntu/openssl@3.0.1", [False, False, False]),
        ("pkg:apk/debian/openssl@3.0.1", [False, False, False]),
        ("pkg:generic/libfoo", [False, False, False]),
    ],
)
def test_a_package_as_a_product(text: str, expected: list[bool]) -> None:
    found = marks(vex(said(NOT_AFFECTED, purl(text))), scan(OPENSSL, ZLIB, NAMELESS))
    assert [mark is not None for mark in found] == expected


def test_what_a_package_is_made_of_is_said_of_the_package() -> None:
    """Its subcomponents are within it: a finding of one of them elsewhere in the image is another matter."""
    product = VexProduct(purl="pkg:deb/debian/openssl", subcomponents=("pkg:deb/debian/zlib1g",))
    assert statuses(vex(said(NOT_AFFECTED, product)), scan(OPENSSL, ZLIB)) == [NOT_AFFECTED, None]


def test_the_digest_of_a_package_does_not_make_it_the_image() -> None:
    product = VexProduct(purl="pkg:deb/debian/openssl", digests=(INDEX.digest,))
    assert statuses(vex(said(NOT_AFFECTED, product)), scan(OPENSSL, ZLIB)) == [NOT_AFFECTED, None]


def test_several_products_are_any_of_them() -> None:
    products = [VexProduct(identifier="x"), purl(f"pkg:oci/web@{OTHER}"), purl("pkg:deb/debian/zlib1g")]
    assert statuses(vex(said(NOT_AFFECTED, *products)), scan(OPENSSL, ZLIB)) == [None, NOT_AFFECTED]


# -- 5: subcomponents -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [VexProduct(), purl(f"pkg:oci/web@{INDEX.digest}")], ids=["subject", "purl"])
@pytest.mark.parametrize(
    ("subcomponents", "expected"),
    [
        ((), [True, True, True]),
        (("pkg:deb/debian/openssl",), [True, False, False]),
        (("pkg:deb/debian/openssl@9",), [False, False, False]),
        (("pkg:deb/debian/openssl@9", "pkg:deb/debian/zlib1g@1.3"), [False, True, False]),
        (("openssl",), [True, False, False]),
        (("libfoo",), [False, False, True]),
        (("OpenSSL",), [False, False, False]),
        (("pkg:deb",), [False, False, False]),
        (("",), [False, False, False]),
        (("pkg:generic/libfoo",), [False, False, False]),
    ],
    ids=repr,
)
def test_subcomponents(image: VexProduct, subcomponents: tuple[str, ...], expected: list[bool]) -> None:
    product = replace(image, subcomponents=subcomponents)
    found = marks(
        vex(said(NOT_AFFECTED, product)), scan(OPENSSL, ZLIB, NAMELESS, replace(NAMELESS, package="", id="CVE-9"))
    )
    assert [mark is not None for mark in found[:3]] == expected
    assert (found[3] is not None) is False


def test_subcomponents_of_another_image_are_not_those_of_this_one() -> None:
    product = VexProduct(purl=f"pkg:oci/web@{OTHER}", subcomponents=(OPENSSL.purl,))
    assert marks(vex(said(NOT_AFFECTED, product))) == [None]


def test_subcomponents_on_one_platform() -> None:
    product = VexProduct(purl=f"pkg:oci/web@{AMD64_DIGEST}", subcomponents=("pkg:deb/debian/openssl", "zlib1g"))
    looked = [scan(OPENSSL, ZLIB, platform=AMD64), scan(OPENSSL, ZLIB, platform=ARM64)]
    assert statuses(vex(said(NOT_AFFECTED, product)), looked) == [NOT_AFFECTED, NOT_AFFECTED, None, None]


# -- 6: one signer ----------------------------------------------------------------------------------------------------

EARLIER: dict[str, Any] = {"issued_at": NOW - HOUR}
LATER: dict[str, Any] = {"issued_at": NOW}
TIMELESS: dict[str, Any] = {"issued_at": None}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (said(AFFECTED, **EARLIER), said(NOT_AFFECTED, **LATER), NOT_AFFECTED),
        (said(NOT_AFFECTED, **EARLIER), said(AFFECTED, **LATER), AFFECTED),
        (said(FIXED, **EARLIER), said(INVESTIGATED, **LATER), INVESTIGATED),
        (said(NOT_AFFECTED, **EARLIER), said(FIXED, **LATER), FIXED),
        (said(AFFECTED, **LATER), said(NOT_AFFECTED, **LATER), AFFECTED),
        (said(INVESTIGATED, **LATER), said(FIXED, **LATER), INVESTIGATED),
        (said(INVESTIGATED, **LATER), said(AFFECTED, **LATER), AFFECTED),
        (said(AFFECTED, **TIMELESS), said(NOT_AFFECTED, **LATER), AFFECTED),
        (said(NOT_AFFECTED, **TIMELESS), said(AFFECTED, **LATER), AFFECTED),
        (said(AFFECTED, **TIMELESS), said(NOT_AFFECTED, **TIMELESS), AFFECTED),
        # whatever they call the vulnerability and the product
        (said(AFFECTED, **EARLIER), said(NOT_AFFECTED, purl(OPENSSL.purl), about="GHSA-aaaa", **LATER), NOT_AFFECTED),
        (said(NOT_AFFECTED, purl(OPENSSL.purl), **EARLIER), said(AFFECTED, **LATER), AFFECTED),
        (
            said(NOT_AFFECTED, purl("pkg:deb/debian/openssl"), **EARLIER),
            said(AFFECTED, purl(OPENSSL.purl), **LATER),
            AFFECTED,
        ),
    ],
)
def test_the_latest_of_one_signer_counts(first: VexStatement, second: VexStatement, expected: VexStatus) -> None:
    for pair in ((first, second), (second, first)):
        assert statuses(vex(*pair)) == [expected]
        one, other = (vex(statement, seed=f"{number}") for number, statement in enumerate(pair))
        assert statuses([one, other]) == [expected]


def test_three_times_in_one_document() -> None:
    words = [
        said(status, issued_at=NOW - hours * HOUR)
        for status, hours in [(AFFECTED, 3), (NOT_AFFECTED, 1), (INVESTIGATED, 2)]
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]):
        assert statuses(vex(*(words[number] for number in order))) == [NOT_AFFECTED]


def test_a_later_word_of_another_platform_changes_nothing() -> None:
    documents = [vex(said(AFFECTED, **EARLIER)), vex(said(**LATER), hangs_at=ARM64_DIGEST, seed="2")]
    assert statuses(documents, [scan(platform=AMD64), scan(platform=ARM64), scan()]) == [
        AFFECTED,
        NOT_AFFECTED,
        AFFECTED,
    ]


# -- 7 and 8: several signers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (NOT_AFFECTED, AFFECTED, AFFECTED),
        (NOT_AFFECTED, INVESTIGATED, INVESTIGATED),
        (FIXED, AFFECTED, AFFECTED),
        (FIXED, INVESTIGATED, INVESTIGATED),
        (INVESTIGATED, AFFECTED, AFFECTED),
    ],
)
@pytest.mark.parametrize(
    ("one_at", "other_at"), [(EARLIER, LATER), (LATER, EARLIER), (LATER, LATER), (LATER, TIMELESS)]
)
@pytest.mark.parametrize(
    ("one_until", "other_until"), [(None, NOW - HOUR), (NOW - HOUR, None), (NOW + HOUR, NOW + HOUR)]
)
def test_of_several_signers_the_least_favourable_counts(
    one: VexStatus,
    other: VexStatus,
    expected: VexStatus,
    one_at: dict[str, Any],
    other_at: dict[str, Any],
    one_until: datetime | None,
    other_until: datetime | None,
) -> None:
    """Whenever it was said, and whether it has expired: that is judged later."""
    documents = [
        vex(said(one, **one_at), expires_at=one_until, seed="1"),
        vex(said(other, **other_at), signer=SECURITY_TEAM, expires_at=other_until, seed="2"),
    ]
    assert statuses(documents) == statuses(documents[::-1]) == [expected]


def test_the_latest_of_each_signer_is_compared() -> None:
    changed_mind = vex(said(AFFECTED, **EARLIER), said(NOT_AFFECTED, **LATER), seed="1")
    assert statuses([changed_mind, vex(said(FIXED, **EARLIER), signer=SECURITY_TEAM)]) in ([FIXED], [NOT_AFFECTED])
    assert statuses([changed_mind, vex(said(INVESTIGATED, **EARLIER), signer=SECURITY_TEAM)]) == [INVESTIGATED]


@pytest.mark.parametrize(
    ("one_until", "other_until", "expected"),
    [(NOW + HOUR, NOW - HOUR, NOW + HOUR), (NOW - HOUR, NOW + HOUR, NOW + HOUR), (NOW + HOUR, None, None)],
)
def test_of_two_that_agree_the_one_that_lasts_longest_is_shown(
    one_until: datetime, other_until: datetime | None, expected: datetime | None
) -> None:
    documents = [
        vex(said(NOT_AFFECTED, **LATER), expires_at=one_until, seed="1"),
        vex(said(FIXED, **EARLIER), signer=SECURITY_TEAM, expires_at=other_until, seed="2"),
    ]
    for order in (documents, documents[::-1]):
        (mark,) = marks(order)
        assert mark is not None
        assert mark.expires_at == expected


def test_a_newer_word_that_has_expired_is_not_replaced_by_an_older_one() -> None:
    """Of one signer: who said "affected" last has not said since that it is not."""
    documents = [
        vex(said(NOT_AFFECTED, **EARLIER), expires_at=NOW + HOUR, seed="1"),
        vex(said(AFFECTED, **LATER), expires_at=NOW - HOUR, seed="2"),
    ]
    assert statuses(documents) == [AFFECTED]


# -- masses -----------------------------------------------------------------------------------------------------------


def test_a_document_that_repeats_itself() -> None:
    statement = said(NOT_AFFECTED, purl(OPENSSL.purl))
    _, (counted,) = apply_vex([scan(*[OPENSSL] * 500)], [vex(*[statement] * 500)], INDEX)
    assert counted.applied == 500


def test_ten_thousand_findings_and_five_thousand_statements() -> None:
    findings = [
        replace(OPENSSL, id=f"CVE-{number % 500}", aliases=(), purl=f"pkg:deb/debian/p{number // 500}@1")
        for number in range(10_000)
    ]
    statements = [
        said(NOT_AFFECTED, purl(f"pkg:deb/debian/p{number % 10}"), about=f"CVE-{number // 10}")
        for number in range(5_000)
    ]
    (marked,), (counted,) = apply_vex([scan(*findings)], [vex(*statements)], INDEX)
    assert counted.applied == 5_000
    assert all(
        (finding.vex is not None) == (number < 5_000) for number, finding in enumerate(marked.report.vulnerabilities)
    )


def test_without_documents_and_without_scans() -> None:
    looked = scan()
    assert apply_vex([looked], [], INDEX) == ((looked,), ())
    assert apply_vex([], [vex(said())], INDEX) == ((), (vex(said()),))
    empty = AttestedScan(ScanReport("trivy"), attestation())
    assert apply_vex([empty], [vex(said())], INDEX)[0] == (empty,)
