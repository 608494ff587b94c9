"""The policy document: what Rego sees of facts that are there, absent, odd, or too many."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from fakes import samples
from portcullis.errors import TooLarge
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import ContentsStatus, FindingClass
from portcullis.model.decision import Problem, Stage
from portcullis.model.evidence import AttestedScan, Evidence, ScanReport, Severity, VexStatus
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import Platform
from portcullis.policy.document import build_document


def document(sample: samples.Sample) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(sample.document())
    return decoded


def of_image(image: ImageFacts) -> dict[str, Any]:
    facts: dict[str, Any] = document(samples.one(image, samples.NUMERIC, frozenset()))["images"][image.written]
    return facts


def of_scan(report: ScanReport, *platforms: Platform) -> dict[str, Any]:
    images = [samples.platform_image(platform) for platform in platforms]
    image = replace(
        samples.BARE,
        resolved=samples.resolved(samples.PINNED, *images),
        users=(samples.NUMERIC,) * len(images),
        evidence=samples.evidence(report),
    )
    scan: dict[str, Any] = of_image(image)["scans"][0]
    return scan


def test_the_sections_of_a_document() -> None:
    made = document(samples.SAMPLES["clean"])
    assert set(made) == {"time", "request", "workload", "namespace", "containers", "images"}
    assert made["time"] == {"now": "2026-11-24T12:00:00.000000Z"}
    assert made["namespace"] == {"name": "shop", "labels": None, "annotations": None}
    assert made["request"]["operation"] == "CREATE"
    assert made["workload"]["podSpec"] == made["request"]["object"]["spec"]["template"]["spec"]
    assert list(made["images"]) == [made["containers"][0]["image"]]


def test_a_container() -> None:
    (container,) = document(samples.SAMPLES["clean"])["containers"]
    assert container["digest"] == samples.digest(f"manifest {samples.AMD64}")
    assert container["pinned"] is True
    assert container["user"] == {
        "uid": 10001,
        "gid": None,
        "name": "",
        "source": "image",
        "root": False,
        "runAsNonRoot": None,
    }
    assert container["spec"]["image"] == container["image"]


@pytest.mark.parametrize(
    ("user", "root"), [(samples.NUMERIC, False), (samples.UNSET, True), (samples.NAMED, "unknown")]
)
def test_root_has_three_states(user: Any, root: bool | str) -> None:
    image = replace(samples.CLEAN, users=(user,))
    made = document(samples.one(image, user, frozenset()))
    assert made["containers"][0]["user"]["root"] == root
    assert made["images"][image.written]["platforms"][0]["user"]["root"] == root


@pytest.mark.parametrize("non_root", [True, False, None])
def test_run_as_non_root_stands_beside_the_user(non_root: bool | None) -> None:
    facts = ContainerFacts(
        samples.container(samples.CLEAN.written), samples.container_user(samples.NAMED, non_root=non_root)
    )
    made = document(samples.Sample((facts,), (samples.CLEAN,), frozenset()))
    assert made["containers"][0]["user"]["runAsNonRoot"] is non_root
    assert made["containers"][0]["user"]["root"] == "unknown"


def test_an_image() -> None:
    image = of_image(samples.CLEAN)
    assert (image["registry"], image["repository"], image["tag"]) == ("registry.example", "acme/web", "1.4")
    assert image["reference"] == samples.CLEAN.written
    assert image["isIndex"] is False
    (platform,) = image["platforms"]
    assert platform["platform"] == "linux/amd64"
    assert platform["created"] == "2026-11-04T12:00:00.000000Z"
    assert platform["ageHours"] == 480
    assert (platform["layers"], platform["compressedBytes"]) == (1, 1_000_000)
    assert platform["config"]["history"][1] == {
        "createdBy": "USER 10001",
        "emptyLayer": True,
        "instruction": "USER",
        "arguments": "10001",
        "layerIndex": None,
    }
    assert platform["layerList"] == [
        {
            "digest": samples.digest("layer"),
            "diffId": samples.digest("tar"),
            "mediaType": samples.LAYER,
            "compressedBytes": 1_000_000,
            "createdBy": samples.COPIED,
        }
    ]


def test_without_evidence_the_lists_are_there_and_empty() -> None:
    image = of_image(samples.MISSING)
    for name in ("attestations", "scans", "evaluations", "lint", "sboms", "provenance", "vex"):
        assert image[name] == []


def test_what_nobody_looked_into_is_empty_and_says_so() -> None:
    (platform,) = of_image(samples.BARE)["platforms"]
    inside = platform["contents"]
    assert inside["status"] == "skipped"
    assert all(inside[name] == [] for name in FindingClass)
    assert (inside["files"], inside["bytes"], inside["application"], inside["packages"]) == (None,) * 4
    assert inside["os"] == {"id": None, "versionId": None, "idLike": [], "name": None, "distroless": None, "libc": None}


def test_contents() -> None:
    (platform,) = of_image(samples.TOOLS)["platforms"]
    inside = platform["contents"]
    assert (inside["status"], inside["files"], inside["os"]["libc"]) == ("complete", 312, "glibc")
    assert all(len(inside[name]) == 1 for name in FindingClass)
    assert inside["secrets"][0] == {
        "path": "/srv/id_rsa",
        "what": "private key",
        "rule": "private-key",
        "layer": samples.digest("layer"),
        "layerIndex": 0,
        "createdBy": samples.COPIED,
        "deleted": True,
        "mode": "0600",
        "uid": 0,
        "gid": 0,
        "size": 0,
        "count": 1,
    }
    assert inside["packages"][0]["name"] == "bash"


def test_the_number_of_diff_ids_may_be_wrong() -> None:
    odd = samples.platform_image(image_config=replace(samples.config(), diff_ids=()))
    (platform,) = of_image(replace(samples.BARE, resolved=samples.resolved(samples.PINNED, odd)))["platforms"]
    assert platform["layerList"][0]["diffId"] is None


@pytest.mark.parametrize(
    "problems", [(), (Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no answer"),)]
)
def test_absent_facts_are_null_and_a_problem_only_where_somebody_asked(problems: Sequence[Problem]) -> None:
    image = of_image(replace(samples.MISSING, problems=tuple(problems)))
    assert image["reference"] == samples.MISSING.written
    assert (image["digest"], image["isIndex"]) == (None, None)
    assert image["platforms"] == image["attestations"] == image["scans"] == []
    assert image["problems"] == [
        {"stage": "registry", "reason": "registry-unreachable", "retryable": True, "msg": "no answer"} for _ in problems
    ]


def test_what_is_no_reference() -> None:
    made = document(samples.SAMPLES["no-reference"])
    image = made["images"]["Not A Reference"]
    assert [image[key] for key in ("reference", "registry", "repository", "tag", "digest")] == [None] * 5
    assert made["containers"][0]["pinned"] is False
    assert made["containers"][0]["digest"] is None


def test_a_container_whose_image_has_no_facts() -> None:
    made = document(replace(samples.SAMPLES["clean"], images=()))
    assert made["containers"][0]["digest"] is None
    assert made["containers"][0]["pinned"] is False
    assert made["images"] == {}


def test_attestations_verified_and_rejected() -> None:
    (rejected,) = of_image(samples.REJECTED)["attestations"]
    assert rejected["verified"] is False
    assert rejected["reason"] == "attestation-untrusted"
    assert rejected["message"] == "no configured key signed it"
    assert rejected["signer"] is None
    found = {one["predicateClass"]: one for one in of_image(samples.CLEAN)["attestations"]}
    assert all(one["verified"] is True for one in found.values())
    scan, signature = found["vulnerability"], found["signature"]
    assert scan["signer"] == {"name": "ci", "kind": "key", "issuer": "", "identity": ""}
    assert (scan["carrier"], scan["signedAt"], scan["logged"]) == ("referrer", None, False)
    assert signature["signer"]["kind"] == "keyless"
    assert (signature["signedAt"], signature["logged"]) == ("2026-11-23T10:00:00.000000Z", True)


def test_a_scan() -> None:
    image = of_image(samples.VULNERABLE)
    (scan,) = image["scans"]
    assert scan["scanner"] == {"name": "trivy", "version": "0.60.0", "dbBuiltAt": "2026-11-23T06:00:00.000000Z"}
    assert (scan["scannedAt"], scan["ageHours"], scan["dbAgeHours"]) == ("2026-11-23T12:00:00.000000Z", 24, 30)
    assert scan["attestation"] == image["attestations"][0]["digest"]
    assert scan["counts"]["critical"] == 2
    assert scan["counts"]["fixable"] == 2
    assert scan["vulnerabilities"][0]["severity"] == "critical"


def test_unknown_times_are_null_and_future_ones_negative() -> None:
    scan = of_scan(samples.report(scanned_at=None, db_built_at=None), samples.AMD64)
    assert (scan["scannedAt"], scan["ageHours"], scan["dbAgeHours"]) == (None, None, None)
    scan = of_scan(samples.report(scanned_at=samples.NOW + timedelta(hours=2)), samples.AMD64)
    assert scan["ageHours"] == -2


# What the report says, the image's platforms, and what the document says.
NAMES_AMD64 = {"target_digests": (samples.digest(f"manifest {samples.AMD64}"),)}
NAMES_ARM64_CONFIG = {"target_image_id": samples.digest(f"config {samples.ARM64}")}
PLATFORMS = [
    ({"platform": samples.AMD64}, "linux/amd64"),
    ({"platform": Platform("linux", "arm64")}, "linux/arm64/v8"),
    ({"platform": Platform("linux", "s390x")}, "linux/s390x"),
    (NAMES_AMD64, "linux/amd64"),
    (NAMES_ARM64_CONFIG, "linux/arm64/v8"),
    ({**NAMES_ARM64_CONFIG, "platform": Platform("linux", "arm64")}, "linux/arm64/v8"),
    ({"target_digests": (samples.digest("index"),), **NAMES_ARM64_CONFIG}, "linux/arm64/v8"),
]


@pytest.mark.parametrize(("fields", "platform"), PLATFORMS)
def test_the_platform_that_a_report_is_about(fields: dict[str, Any], platform: str | None) -> None:
    scan = of_scan(samples.report(**fields), samples.AMD64, samples.ARM64)
    assert scan["platform"] == platform
    assert scan["complete"] is True


def test_a_report_that_contradicts_itself_is_not_complete() -> None:
    scan = of_scan(samples.report(**NAMES_AMD64, platform=samples.ARM64), samples.AMD64, samples.ARM64)
    assert scan["platform"] == "linux/amd64"
    assert scan["complete"] is False
    assert "linux/arm64/v8" in scan["incompleteBecause"]


@pytest.mark.parametrize("fields", [{}, {"target_digests": (samples.digest("index"),)}])
def test_a_report_of_no_platform_clears_none_of_several(fields: dict[str, Any]) -> None:
    of_one = of_scan(samples.report(**fields), samples.AMD64)
    assert (of_one["platform"], of_one["complete"]) == (None, True)
    of_two = of_scan(samples.report(**fields), samples.AMD64, samples.ARM64)
    assert (of_two["platform"], of_two["complete"]) == (None, False)
    assert "which" in of_two["incompleteBecause"]


def test_a_report_of_one_of_two_images_for_one_platform_clears_neither() -> None:
    """An index may list two of them, of which runtimes take one and the scanner perhaps the other."""
    seen, unseen = (
        samples.platform_image(samples.AMD64),
        replace(
            samples.platform_image(samples.AMD64),
            digest=samples.digest("unseen"),
            config_digest=samples.digest("config"),
        ),
    )
    image = replace(
        samples.BARE,
        resolved=samples.resolved(samples.PINNED, seen, unseen),
        users=(samples.NUMERIC,) * 2,
        evidence=samples.evidence(samples.report(**NAMES_AMD64)),
    )
    scan = of_image(image)["scans"][0]
    assert (scan["platform"], scan["complete"]) == ("linux/amd64", False)
    assert "linux/amd64" in scan["incompleteBecause"]


def test_a_variant_that_two_platforms_share_is_not_guessed() -> None:
    report = samples.report(platform=Platform("linux", "arm"))
    scan = of_scan(report, Platform("linux", "arm", "v6"), Platform("linux", "arm", "v7"))
    assert scan["platform"] == "linux/arm"


@pytest.mark.parametrize(
    ("created", "text"),
    [
        (None, None),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))), "9999-12-31T23:00:00.000000Z"),
        (datetime(2026, 1, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), "2026-01-01T01:03:04.000005Z"),
    ],
)
def test_times_are_utc_of_one_width_whatever_an_image_claims(created: datetime | None, text: str | None) -> None:
    platform = samples.platform_image(image_config=samples.config(created=created))
    image = of_image(replace(samples.CLEAN, resolved=samples.resolved(samples.PINNED, platform)))
    assert image["platforms"][0]["created"] == text


def test_a_time_without_a_zone_is_a_bug() -> None:
    naive = samples.platform_image(image_config=samples.config(created=datetime(2026, 1, 1)))  # noqa: DTZ001
    with pytest.raises(ValueError, match="zone"):
        of_image(replace(samples.CLEAN, resolved=samples.resolved(samples.PINNED, naive)))


def test_large_numbers_and_foreign_mappings_pass_unchanged() -> None:
    sample = samples.SAMPLES["clean"]
    workload = replace(sample.workload(), labels=MappingProxyType({"a": "b"}))
    request = samples.request(workload)
    raw = {**request.raw, "big": 2**70, "small": -(2**70), "exact": 2**53 + 1}
    made = build_document(
        now=samples.NOW,
        request=replace(request, raw=raw),
        workload=workload,
        containers=(),
        images=(),
        limits=DEFAULT_LIMITS,
    )
    decoded = json.loads(made)
    assert decoded["workload"]["labels"] == {"a": "b"}
    assert [decoded["request"][key] for key in ("big", "small", "exact")] == [2**70, -(2**70), 2**53 + 1]


def test_the_limit_of_the_document() -> None:
    sample = samples.SAMPLES["clean"]
    size = len(sample.document())
    assert len(sample.document(replace(DEFAULT_LIMITS, document_bytes=size))) == size
    with pytest.raises(TooLarge, match="documentBytes"):
        sample.document(replace(DEFAULT_LIMITS, document_bytes=size - 1))


def test_images_and_users_of_different_number_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        of_image(replace(samples.CLEAN, users=()))


def test_what_a_vex_statement_says_of_a_finding() -> None:
    (scan,) = of_image(samples.WITH_VEX)["scans"]
    about, other = scan["vulnerabilities"]
    assert about["vex"] == {
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
        "impact": "The parser is never called.",
        "signer": {
            "name": "release",
            "kind": "keyless",
            "issuer": samples.RELEASE.issuer,
            "identity": samples.RELEASE.identity,
        },
        "attestation": samples.digest("vex"),
        "issuedAt": "2026-11-21T12:00:00.000000Z",
        "ageHours": 72,
        "expiresAt": "2026-12-21T12:00:00.000000Z",
        "expired": False,
    }
    assert other["vex"] is None
    assert (other["available"], other["epss"], other["exploited"]) == ("2026-11-22T12:00:00.000000Z", 0.02, False)
    assert (scan["counts"]["critical"], scan["counts"]["setAside"]) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "expired", "aside"),
    [
        pytest.param({"expires_at": samples.NOW}, True, 0, id="at-its-end"),
        pytest.param({"expires_at": samples.NOW + timedelta(microseconds=1)}, False, 1, id="a-moment-before"),
        pytest.param({"expires_at": None}, False, 1, id="without-an-end"),
        pytest.param({"status": VexStatus.FIXED}, False, 1, id="fixed"),
        pytest.param({"status": VexStatus.AFFECTED}, False, 0, id="affected"),
        pytest.param({"status": VexStatus.UNDER_INVESTIGATION}, False, 0, id="nobody-knows-yet"),
    ],
)
def test_what_is_set_aside(changes: dict[str, Any], expired: bool, aside: int) -> None:
    mark = replace(samples.SET_ASIDE, **changes)
    scan = of_scan(samples.report(vulnerabilities=(samples.finding("CVE-1", Severity.HIGH, vex=mark),)), samples.AMD64)
    assert scan["vulnerabilities"][0]["vex"]["expired"] is expired
    assert scan["counts"]["setAside"] == aside


def test_what_a_report_leaves_out_is_a_fact() -> None:
    (scan,) = of_image(samples.SUPPRESSED)["scans"]
    assert (scan["suppressed"], scan["complete"]) == (1, False)
    assert scan["suppressions"] == [{"id": "CVE-2026-0005", "package": "zlib1g", "why": ".trivyignore"}]
    assert scan["filters"] == ["only-fixed"]
    assert scan["system"] == {"family": "debian", "version": "9", "endOfLife": True}


def test_a_newer_scan_that_is_gone() -> None:
    attested = AttestedScan(samples.report(), samples.attestation(), newer_seen=samples.NOW, mark_known=True)
    scan = of_image(replace(samples.CLEAN, evidence=Evidence(scans=(attested,))))["scans"][0]
    assert (scan["newerSeen"], scan["markKnown"]) == ("2026-11-24T12:00:00.000000Z", True)


def test_lint_and_provenance() -> None:
    image = of_image(samples.CLEAN)
    (lint,), (built,) = image["lint"], image["provenance"]
    assert lint["counts"] == {"error": 0, "warning": 0, "info": 1, "style": 0}
    assert (lint["tool"]["name"], lint["ageHours"], lint["findings"][0]["rule"]) == ("hadolint", 25, "DL3059")
    assert (built["source"], built["ageHours"], built["complete"]) == ("https://github.com/acme/web", 26, False)
    assert built["materials"] == [{"uri": samples.BUILT.materials[0].uri, "digest": "gitCommit:5f1d0a5a"}]


def test_components_only_where_they_are_wanted() -> None:
    (without,), (with_them,) = of_image(samples.CLEAN)["sboms"], of_image(samples.WITH_VEX)["sboms"]
    assert (without["componentCount"], without["components"]) == (2, None)
    assert with_them["components"][0] == {
        "name": "openssl",
        "version": "3.0.1",
        "purl": "pkg:deb/debian/openssl@3.0.1",
        "type": "library",
        "licenses": ["Apache-2.0"],
    }


def test_an_sbom_of_an_index_is_of_the_platform_whose_digest_it_names() -> None:
    both = samples.resolved(samples.PINNED, samples.platform_image(), samples.platform_image(samples.ARM64))
    facts = replace(samples.WITH_VEX, resolved=both, users=(samples.NUMERIC,) * 2, steps=(), contents=())
    image = of_image(replace(facts, contents_status=ContentsStatus.SKIPPED))
    assert image["sboms"][0]["platform"] == image["evaluations"][0]["platform"] == "linux/amd64"
    assert image["lint"][0]["platform"] is None


def test_scans_keep_their_order() -> None:
    reports = [samples.report(scanner=name) for name in ("trivy", "grype", "trivy")]
    scans = [AttestedScan(report, samples.attestation(seed=report.scanner)) for report in reports]
    image = of_image(replace(samples.CLEAN, evidence=Evidence(scans=tuple(scans))))
    assert [scan["scanner"]["name"] for scan in image["scans"]] == ["trivy", "grype", "trivy"]
