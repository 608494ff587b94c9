"""Evidence of an image: who may say what, about which platform, and what is made of it."""
# ruff: noqa: E501  (tables: one case, one line)

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fakes import attached
from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry, image_config, sha256
from portcullis.cli.demo.registry import serve_registry
from portcullis.errors import Malformed, Unreachable
from portcullis.evidence.discover import AttestationSource
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import CarrierKind, PredicateClass
from portcullis.model.image import Descriptor, Digest, ImageReference, Repository, ResolvedImage
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher
from portcullis.server.clock import SystemClock
from portcullis.tasks import INLINE_BYTES
from vectors import attestations as made
from vectors import notation as notary
from vectors.gathering import (
    ACCESS,
    AMD64,
    ARM64,
    BILL,
    LINT,
    NAME,
    NOW,
    OPENVEX,
    PROVENANCE,
    SARIF,
    TEAM,
    Reading,
    ago,
    attach,
    gather,
    gatherer,
    only,
    signature,
    signed,
    statement,
    trust,
    verdicts,
)
from vectors.reports import finding, trivy, vuln

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
VULNERABILITY, SBOM, VEX = PredicateClass.VULNERABILITY, PredicateClass.SBOM, PredicateClass.VEX
GOOD = ("vulnerability", "")


def single(registry: MemoryRegistry) -> ResolvedImage:
    return registry.add_image(NAME)


def multi(registry: MemoryRegistry) -> ResolvedImage:
    return registry.add_image(NAME, configs={AMD64: image_config("1"), ARM64: image_config("2")})


def tampered(bundle: bytes) -> bytes:
    document = json.loads(bundle)
    changed = made.compact(made.statement(predicate={"changed": True}))
    document["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    return made.compact(document)


# -- the whole way, with real readers -------------------------------------------------------------------------------


def real(registry: MemoryRegistry, trusted: Trust | None = None, **limits: int) -> EvidenceGatherer:
    trusted, bounds = trusted or trust(), replace(DEFAULT_LIMITS, **limits)
    verifier = AttestationVerifier(trust=trusted, limits=bounds)
    return EvidenceGatherer(registry=registry, verifier=verifier, trust=trusted, clock=SystemClock(), limits=bounds)


def report_of(digest: str, *findings: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        "OS": {"Family": "debian"},
        "RepoDigests": [f"{NAME}@{digest}"],
        "ImageConfig": {"os": "linux", "architecture": "amd64"},
    }
    return vuln(trivy(*findings, Metadata=metadata))


@pytest.mark.parametrize("carrier", [CarrierKind.REFERRER, CarrierKind.FALLBACK_TAG])
async def test_a_signed_scan(carrier: CarrierKind) -> None:
    registry = MemoryRegistry(carrier=carrier)
    image = single(registry)
    content = signed(image.digest, report_of(image.digest, finding(severity="CRITICAL")))
    attach(registry, image, content)

    evidence = await real(registry).gather(image, ACCESS)

    attestation = only(evidence)
    assert (attestation.verified, attestation.reason, attestation.message) == (True, "", "")
    assert (attestation.predicate_type, attestation.predicate_class) == (made.VULN, VULNERABILITY)
    assert attestation.signer is not None
    assert (attestation.signer.name, attestation.signer.kind) == ("ci", "key")
    assert (attestation.carrier, attestation.digest, attestation.repository) == (carrier, sha256(content), "")
    assert (attestation.subject, attestation.platform, attestation.signed_at) == (image.digest, AMD64, None)
    (scan,) = evidence.scans
    assert scan.attestation == attestation
    assert (scan.report.scanner, scan.report.counts()["critical"]) == ("trivy", 1)
    assert (scan.newer_seen, scan.mark_known) == (None, False)


async def test_a_large_report() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    rows = [finding(cve=f"CVE-2026-{number:05}") for number in range(2000)]
    content = signed(image.digest, report_of(image.digest, *rows))
    assert len(content) > INLINE_BYTES
    attach(registry, image, content)
    (scan,) = (await real(registry).gather(image, ACCESS)).scans
    assert len(scan.report.vulnerabilities) == 2000


async def test_too_many_findings_reject_the_attestation() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, report_of(image.digest, finding(cve="CVE-1"), finding(cve="CVE-2"))))
    attestation = only(await real(registry, findings=1).gather(image, ACCESS))
    assert (attestation.verified, attestation.reason) == (False, "too-large")


async def test_a_report_without_a_target_of_a_kind_that_has_one() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, vuln(trivy(Metadata=None))))
    attestation = only(await real(registry).gather(image, ACCESS))
    assert (attestation.reason, "does not say of which image" in attestation.message) == (
        "report-subject-mismatch",
        True,
    )


# -- one bad thing hides nothing -----------------------------------------------------------------------------------


async def test_each_kind_of_bad_evidence_says_what_is_wrong_with_it() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    other = registry.add_image("registry.example/acme/other", user="0")
    assert other.digest != image.digest
    good = signed(image.digest)
    named = {"digests": [image.digest]}
    cases: list[tuple[bytes, str, str, str, str, str | None]] = [
        # content, media type, verdict, words of the message, class, who signed
        (good, made.BUNDLE, "", "", "vulnerability", "ci"),
        (tampered(good), made.BUNDLE, "attestation-invalid", "signature does not match", "vulnerability", None),
        (signed(other.digest), made.BUNDLE, "attestation-subject-mismatch", "other artifacts", "vulnerability", "ci"),
        (signed(image.digest, key=made.STRANGER), made.BUNDLE, "attestation-untrusted", "no configured key", "vulnerability", None),
        (signed(image.digest, {}, PROVENANCE, made.RELEASE), made.BUNDLE, "", "", "provenance", "release"),
        (signed(image.digest, key=made.RELEASE), made.BUNDLE, "attestation-untrusted", 'signer "release" is not trusted for vulnerability', "vulnerability", "release"),
        (signed(image.digest, {"vulnerability": [{"digests": [other.digest]}]}), made.BUNDLE, "report-subject-mismatch", other.digest, "vulnerability", "ci"),
        (signed(image.digest, {"vulnerability": [named, {"digests": [other.digest]}]}), made.BUNDLE, "report-subject-mismatch", other.digest, "vulnerability", "ci"),
        (signed(image.digest, {"broken": {"vulnerability": "attestation-invalid"}}), made.BUNDLE, "attestation-invalid", "is broken", "vulnerability", "ci"),
        (signed(image.digest, {"broken": {"vulnerability": "too-large"}}), made.BUNDLE, "too-large", "is broken", "vulnerability", "ci"),
        (signed(image.digest, {}, "https://example.test/unknown"), made.BUNDLE, "attestation-untrusted", "for other attestations", "other", "ci"),
        (statement(image.digest), made.IN_TOTO, "attestation-unsigned", "not signed", "vulnerability", None),
        (b"{}", "application/octet-stream", "attestation-unsupported", '"application/octet-stream"', "other", None),
        (b"{}", made.BUNDLE, "attestation-invalid", "mediaType", "other", None),
    ]  # fmt: skip
    for content, media_type, *_ in cases:
        attach(registry, image, content, media_type)

    evidence = await gather(registry, image)

    assert len(evidence.attestations) == len(cases)
    for attestation, (_, _, reason, words, about, signer) in zip(evidence.attestations, cases, strict=True):
        assert (attestation.verified, attestation.reason) == (not reason, reason), attestation
        assert words in attestation.message, attestation
        assert attestation.predicate_class == about, attestation
        assert (attestation.signer.name if attestation.signer else None) == signer, attestation
    # Only the first is a scan, and whatever stands beside it takes nothing from it.
    assert [scan.attestation for scan in evidence.scans] == [evidence.attestations[0]]


async def test_another_kind_of_evidence_is_no_scan() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"sbom": [{}]}, BILL, made.RELEASE))
    attach(registry, image, signed(image.digest, {"provenance": [{"builder": "b"}]}, PROVENANCE, made.RELEASE))
    attach(registry, image, signed(image.digest, {"lint": [{}]}, LINT))
    attach(registry, image, signature(image.digest))
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [("sbom", ""), ("provenance", ""), ("lint", ""), ("signature", "")]
    assert (len(evidence.sboms), len(evidence.provenance), len(evidence.lint)) == (1, 1, 1)
    assert (evidence.scans, evidence.evaluations, evidence.vex) == ((), (), ())


async def test_a_verdict_of_a_scanner_is_an_evaluation() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"vulnerability": [{"passed": False, "digests": [image.digest]}, {}]}))
    attach(registry, image, signed(image.digest, {"vulnerability": [{"passed": True, "digests": [made.OTHER]}]}))
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [GOOD, ("vulnerability", "report-subject-mismatch")]
    assert ([one.fact.passed for one in evidence.evaluations], len(evidence.scans)) == ([False], 1)


async def test_a_bill_of_another_image() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    for digest in (image.digest, image.platforms[0].config_digest, made.OTHER):
        attach(registry, image, signed(image.digest, {"sbom": [{"digests": [digest]}]}, BILL, made.RELEASE))
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [("sbom", ""), ("sbom", ""), ("sbom", "report-subject-mismatch")]
    assert len(evidence.sboms) == 2


async def test_a_key_is_believed_only_about_the_images_of_its_rule() -> None:
    registry = MemoryRegistry()
    image = registry.add_image("registry.example/acme-evil/web")
    attach(registry, image, signed(image.digest))
    attestation = only(await gather(registry, image))
    assert attestation.reason == "attestation-untrusted"
    assert 'no trust rule covers "registry.example/acme-evil/web"' in attestation.message
    assert attestation.signer is not None


async def test_what_nobody_signed_does_not_say_what_an_attestation_is() -> None:
    """cosign repeats the predicate type in an annotation; only the signed one counts."""
    registry = MemoryRegistry()
    image = single(registry)
    provenance = signed(image.digest, {}, PROVENANCE, made.RELEASE)
    registry.add_referrer(image, made.BUNDLE, made.BUNDLE, provenance, {"dev.sigstore.bundle.predicateType": made.VULN})
    assert only(await gather(registry, image)).predicate_class is PredicateClass.PROVENANCE


# -- one statement, several classes -----------------------------------------------------------------------------------

_BOTH = (Accept((SBOM, VULNERABILITY, VEX), ("release",)),)
_BILL_ONLY = (Accept((SBOM,), ("release",)), Accept((VULNERABILITY, VEX), ("ci",)))


@pytest.mark.parametrize(
    ("accepts", "predicate", "expected"),
    [
        (_BOTH, {"sbom": [{}]}, [("sbom", "")]),
        (_BOTH, {"sbom": [{}], "vulnerability": [{}]}, [("sbom", ""), ("vulnerability", "")]),
        (_BOTH, {"sbom": [{}], "vulnerability": [{}], "vex": [{}]}, [("sbom", ""), ("vulnerability", ""), ("vex", "")]),
        # who signs bills must not sign findings away
        (_BILL_ONLY, {"sbom": [{}], "vulnerability": [{}], "vex": [{}]}, [("sbom", ""), ("vulnerability", "attestation-untrusted"), ("vex", "attestation-untrusted")]),
        # a broken part is not passed over because another one can be read
        (_BOTH, {"sbom": [{}], "broken": {"vulnerability": "attestation-invalid"}}, [("sbom", ""), ("vulnerability", "attestation-invalid")]),
        (_BOTH, {"sbom": [{}], "broken": {"vex": "too-large"}}, [("sbom", ""), ("vex", "too-large")]),
        (_BOTH, {"broken": {"sbom": "attestation-invalid", "vex": "too-large"}}, [("sbom", "attestation-invalid")]),
        # what is simply no report of a class is not one
        (_BOTH, {"sbom": [{}], "broken": {"vex": "attestation-unsupported"}}, [("sbom", "")]),
        (_BOTH, {"broken": {"vex": "attestation-unsupported"}}, [("vex", "attestation-unsupported")]),
        (_BOTH, {}, [("sbom", "")]),
    ],
)  # fmt: skip
async def test_a_bill_is_several_things(
    accepts: Sequence[Accept], predicate: Mapping[str, Any], expected: list[tuple[str, str]]
) -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, predicate, BILL, made.RELEASE))
    evidence = await gather(registry, image, trusted=trust(*accepts))
    assert verdicts(evidence) == expected
    facts = [("sbom", "")] * len(evidence.sboms) + [GOOD] * len(evidence.scans) + [("vex", "")] * len(evidence.vex)
    assert facts == [verdict for verdict in expected if not verdict[1] and verdict[0] in predicate]


# -- several signers ---------------------------------------------------------------------------------------------------

TWO = trust(Accept((VULNERABILITY,), ("ci", "release", "team"), count=2))


def envelope(payload: bytes, *keys: Any) -> bytes:
    return made.compact(made.envelope(payload, *keys))


@pytest.mark.parametrize("at", ["one envelope", "two envelopes", "two carriers", "two repositories"])
async def test_two_of_three_have_signed_the_same(at: str) -> None:
    registry = MemoryRegistry()
    image = single(registry)
    said = statement(image.digest)
    first, second = envelope(said, made.CI), envelope(said, TEAM)
    if at == "one envelope":
        attach(registry, image, envelope(said, made.CI, TEAM), made.DSSE)
    else:
        attach(registry, image, first, made.DSSE)
        assert verdicts(await gather(registry, image, trusted=TWO)) == [("vulnerability", "attestation-quorum")]
        if at == "two carriers":
            layers = [attached.layer(registry, PLACE, second, made.DSSE)]
            attached.tag_attached(registry, PLACE, image.digest, "att", layers)
        else:
            attach(registry, image, second, made.DSSE)

    evidence = await gather(registry, image, trusted=TWO)

    assert {reason for _, reason in verdicts(evidence)} == {""}
    names = [one.signer.name for one in evidence.attestations if one.signer]
    assert names == (["ci"] if at == "one envelope" else ["ci", "team"])
    assert len(evidence.scans) == len(names)


@pytest.mark.parametrize("case", ["one", "one twice", "another payload", "another image", "a stranger", "forged"])
async def test_one_of_two_is_not_enough(case: str) -> None:
    registry = MemoryRegistry()
    image = single(registry)
    said = statement(image.digest)
    beside = {
        "one": None,
        "one twice": envelope(said, made.CI),
        "another payload": envelope(statement(image.digest, {"vulnerability": [{"ids": ["x"]}]}), TEAM),
        "another image": envelope(statement(made.OTHER), TEAM),
        "a stranger": envelope(said, made.STRANGER),
        "forged": json.dumps(
            {**made.envelope(said, made.CI), "payload": base64.b64encode(said + b" ").decode()}
        ).encode(),
    }[case]
    attach(registry, image, envelope(said, made.CI), made.DSSE)
    if beside is not None:
        attach(registry, image, beside, made.DSSE)

    evidence = await gather(registry, image, trusted=TWO)

    first = evidence.attestations[0]
    assert (first.reason, evidence.scans) == ("attestation-quorum", ())
    assert "1 of 2 signers" in first.message
    assert first.signer is not None


async def test_who_may_not_speak_does_not_by_a_trusted_signature_beside() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    said = statement(image.digest)
    attach(registry, image, envelope(said, made.RELEASE), made.DSSE)
    attach(registry, image, envelope(said, made.CI), made.DSSE)
    assert verdicts(await gather(registry, image)) == [("vulnerability", "attestation-untrusted"), GOOD]


async def test_signatures_of_one_digest_say_the_same_whatever_else_they_say() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    both = trust(Accept((PredicateClass.SIGNATURE,), ("ci", "team"), count=2))
    attach(registry, image, signed(image.digest, {"note": 1}, "https://sigstore.dev/cosign/sign/v1"))
    attach(registry, image, signed(image.digest, {"note": 2}, "https://sigstore.dev/cosign/sign/v1", TEAM))
    assert verdicts(await gather(registry, image, trusted=both)) == [("signature", "")] * 2


async def test_two_signatures_of_an_index_where_two_are_asked_for() -> None:
    registry = MemoryRegistry()
    image = attached.add_built_image(registry, NAME, [AMD64], lambda digest: [statement(digest)])
    attach(registry, image, signature(image.digest, made.CI))
    assert ("vulnerability", "attestation-quorum") in verdicts(await gather(registry, image, trusted=TWO))
    attach(registry, image, signature(image.digest, TEAM))
    assert GOOD in verdicts(await gather(registry, image, trusted=TWO))


async def test_the_same_by_the_same_signer_is_said_once() -> None:
    """However often an attestation is attached, in whatever spelling: its findings fill the policy input once."""
    registry = MemoryRegistry()
    image = single(registry)
    said = statement(image.digest)
    for _ in range(3):
        attach(registry, image, envelope(said, made.CI), made.DSSE)
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [GOOD] * 3
    assert [scan.attestation for scan in evidence.scans] == [evidence.attestations[0]]


# -- platforms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "says", "expected"),
    [
        ("index", {}, None),
        ("index", {"digests": "index"}, None),
        ("index", {"digests": "index", "platform": "linux/arm64"}, ARM64),
        ("index", {"digests": "index", "platform": "linux/arm64/v8"}, ARM64),
        ("index", {"digests": "amd64"}, AMD64),
        ("index", {"image": "arm64"}, ARM64),
        ("index", {"platform": "linux/amd64"}, AMD64),
        ("index", {"platform": "linux/s390x"}, None),
        ("index", {"digests": "other"}, "report-subject-mismatch"),
        ("index", {"image": "other"}, "report-subject-mismatch"),
        ("amd64", {}, AMD64),
        ("amd64", {"digests": "index"}, AMD64),
        ("amd64", {"digests": "amd64"}, AMD64),
        ("amd64", {"image": "amd64", "platform": "linux/amd64"}, AMD64),
        ("amd64", {"digests": "arm64"}, "report-subject-mismatch"),
        ("amd64", {"image": "arm64"}, "report-subject-mismatch"),
        ("amd64", {"digests": "index", "platform": "linux/arm64"}, "report-subject-mismatch"),
        ("amd64", {"format": "trivy-json"}, "report-subject-mismatch"),
        ("index", {"format": "grype-json", "platform": "linux/amd64"}, "report-subject-mismatch"),
    ],
)  # fmt: skip
async def test_which_platform_a_report_counts_for(at: str, says: dict[str, Any], expected: Any) -> None:
    registry = MemoryRegistry()
    image = multi(registry)
    amd64, arm64 = image.platforms
    digests = {"index": image.digest, "amd64": amd64.digest, "arm64": arm64.digest, "other": made.OTHER}
    configs = {"amd64": amd64.config_digest, "arm64": arm64.config_digest, "other": made.OTHER}
    said = dict(says)
    if "digests" in said:
        said["digests"] = [digests[said["digests"]]]
    if "image" in said:
        said["image"] = configs[said["image"]]
    attached.attach_to(registry, PLACE, digests[at], signed(digests[at], {"vulnerability": [said]}), made.BUNDLE)

    evidence = await gather(registry, image)

    attestation = only(evidence)
    if isinstance(expected, str):
        assert attestation.reason == expected
        assert attestation.platform == (AMD64 if at == "amd64" else None)
        return
    assert attestation.verified, attestation
    (scan,) = evidence.scans
    assert (attestation.platform, scan.attestation.platform) == (expected, expected)
    if "platform" not in says:
        assert scan.report.platform == expected


async def test_one_statement_may_hold_a_report_of_each_platform() -> None:
    registry = MemoryRegistry()
    image = multi(registry)
    reports = [{"digests": [one.digest]} for one in image.platforms]
    attach(registry, image, signed(image.digest, {"vulnerability": reports}))
    evidence = await gather(registry, image)
    assert only(evidence).platform is None
    assert [scan.attestation.platform for scan in evidence.scans] == [AMD64, ARM64]


# -- VEX ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "hours", "expires_in"),
    [
        (ago(hours=1), 3, timedelta(hours=2)),
        (ago(hours=5), 3, timedelta(hours=-2)),
        (ago(hours=1), None, None),
        (None, None, None),
        (None, 3, "long ago"),
        (ago(minutes=-4), 3, timedelta(hours=3, minutes=4)),
    ],
)
async def test_how_long_a_statement_of_vex_counts(at: str | None, hours: int | None, expires_in: Any) -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"vex": [{"at": at}]}, OPENVEX, made.RELEASE))
    age = None if hours is None else timedelta(hours=hours)
    (vex,) = (await gather(registry, image, trusted=trust(Accept((VEX,), ("release",), max_age=age)))).vex
    assert vex.applied == 7
    if expires_in is None:
        assert vex.expires_at is None
    elif expires_in == "long ago":
        assert vex.expires_at is not None
        assert vex.expires_at < NOW - timedelta(days=5)
    else:
        assert vex.expires_at == NOW + expires_in


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param({"at": ago(minutes=-5)}, "", id="a clock that is ahead a little"),
        pytest.param({"at": None, "statements": [None, ago(minutes=-5)]}, "", id="the same in a statement"),
        pytest.param({"at": ago(minutes=-6)}, "1970-01-12T13:52:40Z", id="a document"),
        pytest.param({"at": ago(hours=1), "statements": [None, ago(hours=-1)]}, "1970-01-12T14:46:40Z", id="a statement"),
        pytest.param({"at": "9999-12-31T23:59:59+00:00"}, "9999-12-31T23:59:59Z", id="the last second"),
    ],
)  # fmt: skip
async def test_vex_from_the_future_outweighs_nothing(said: dict[str, Any], message: str) -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"vex": [said]}, OPENVEX, made.RELEASE))
    evidence = await gather(registry, image)
    expected = f"it says that it was made in the future, at {message}" if message else ""
    assert only(evidence).message == expected
    assert (only(evidence).reason, len(evidence.vex)) == (("attestation-invalid", 0) if message else ("", 1))


async def test_vex_is_from_the_future_until_its_time_has_come() -> None:
    """The verdict on its signature is remembered, and the time is asked each time."""
    registry, clock = MemoryRegistry(), StandingClock()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"vex": [{"at": ago(minutes=-9)}]}, OPENVEX, made.RELEASE))
    asked = gatherer(registry, clock=clock)
    assert only(await asked.gather(image, ACCESS)).reason == "attestation-invalid"
    clock.seconds += 4 * 60
    assert only(await asked.gather(image, ACCESS)).reason == ""
    assert asked.verdicts.counters.hits == 1


async def test_a_scan_from_the_future_stays_a_fact() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest, {"vulnerability": [{"at": ago(hours=-1)}]}))
    assert len((await gather(registry, image)).scans) == 1


async def test_vex_of_who_may_not_speak_of_it_is_not_applied() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest))
    attach(registry, image, signed(image.digest, {"vex": [{}]}, OPENVEX))
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [GOOD, ("vex", "attestation-untrusted")]
    assert evidence.vex == ()


async def test_vex_sets_a_finding_aside() -> None:
    """With the real readers and the real rules of application."""
    registry = MemoryRegistry()
    image = single(registry)
    product = {"@id": f"pkg:oci/web@{image.digest}?repository_url={NAME}"}
    statements = [
        {
            "vulnerability": {"name": "CVE-2026-0001"},
            "products": [product],
            "status": "not_affected",
            "justification": "component_not_present",
        }
    ]
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://acme.example/vex/1",
        "author": "acme",
        "timestamp": ago(hours=1),
        "version": 1,
        "statements": statements,
    }
    attach(
        registry,
        image,
        signed(image.digest, report_of(image.digest, finding(cve="CVE-2026-0001"), finding(cve="CVE-2026-0002"))),
    )
    attach(registry, image, signed(image.digest, document, OPENVEX, made.RELEASE))
    evidence = await real(registry).gather(image, ACCESS)
    assert {reason for _, reason in verdicts(evidence)} == {""}
    (scan,) = evidence.scans
    assert [one.vex is not None for one in scan.report.vulnerabilities] == [True, False]
    assert evidence.vex[0].applied == 1


# -- what is remembered ------------------------------------------------------------------------------------------------


async def test_an_attestation_is_verified_and_read_once() -> None:
    registry, reading = MemoryRegistry(), Reading()
    image = single(registry)
    attach(registry, image, signed(image.digest))
    judging = gatherer(registry, read=reading)
    first = await judging.gather(image, ACCESS)
    registry.calls.clear()
    assert await judging.gather(image, ACCESS) == first
    assert reading.read == [VULNERABILITY]
    assert not [call for call in registry.calls if call.startswith("blob")]
    assert f"referrers {image.digest}" in registry.calls, "whether it is attached is asked each time"


async def test_what_is_no_longer_attached_is_no_longer_evidence() -> None:
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, signed(image.digest))
    judging = gatherer(registry)
    assert len((await judging.gather(image, ACCESS)).scans) == 1
    registry._referrers.clear()
    assert (await judging.gather(image, ACCESS)).attestations == ()


async def test_the_same_attestation_is_trusted_for_one_name_and_not_for_another() -> None:
    """The verdict on the signature is remembered, and who may speak of which image is not."""
    registry = MemoryRegistry()
    image, copy = registry.add_image(NAME), registry.add_image("registry.example/elsewhere/web")
    assert copy.digest == image.digest
    shared = Repository("evidence.example", "all")
    attached.attach_to(registry, shared, image.digest, signed(image.digest), made.BUNDLE)
    judging = gatherer(registry, repositories=[AttestationSource(("**",), str(shared))])
    assert only(await judging.gather(image, ACCESS)).verified
    assert only(await judging.gather(copy, ACCESS)).reason == "attestation-untrusted"
    assert judging.verdicts.counters.misses == 1


async def test_nobody_learns_what_is_attached_elsewhere_by_naming_its_digest() -> None:
    """A manifest may list a blob that its repository does not have; a verdict that is known stands for no blob."""
    registry = MemoryRegistry()
    image = single(registry)
    attach(registry, image, content := signed(image.digest))
    judging = gatherer(registry)
    assert only(await judging.gather(image, ACCESS)).verified
    copy = registry.add_image("registry.example/acme/spy")
    there = copy.reference.repository
    listed = {"mediaType": made.BUNDLE, "digest": sha256(content), "size": len(content)}
    attached.refer(registry, there, copy.digest, {"layers": [listed], "subject": {"digest": copy.digest}})
    with pytest.raises(Malformed, match="does not have it"):
        await judging.gather(copy, ACCESS)


async def test_what_nobody_vouches_for_is_not_read() -> None:
    """No reader of reports sees what anybody can push; once it is vouched for, it is read."""
    registry, reading = MemoryRegistry(), Reading()
    image = attached.add_built_image(registry, NAME, [AMD64], lambda digest: [statement(digest)])
    report = attached.attach_to(registry, PLACE, image.digest, made.compact({"vulnerability": [{}]}), SARIF)
    judging = gatherer(registry, read=reading)
    unsigned = [("vulnerability", "attestation-unsigned")] * 2
    assert verdicts(await judging.gather(image, ACCESS)) == unsigned
    assert reading.read == []
    for digest in (image.digest, report):
        attached.attach_to(registry, PLACE, digest, signature(digest, made.STRANGER), made.BUNDLE)
    assert [one for one in verdicts(await judging.gather(image, ACCESS)) if one[0] == "vulnerability"] == unsigned
    assert reading.read == []
    for digest in (image.digest, report):
        attached.attach_to(registry, PLACE, digest, signature(digest, made.CI), made.BUNDLE)
    assert verdicts(await judging.gather(image, ACCESS)).count(GOOD) == 2
    assert reading.read.count(VULNERABILITY) == 2


async def test_many_who_ask_at_once_have_it_judged_once() -> None:
    registry, reading = MemoryRegistry(), Reading()
    image = single(registry)
    attach(registry, image, signed(image.digest))
    judging = gatherer(registry, read=reading)
    first, *others = await asyncio.gather(*(judging.gather(image, ACCESS) for _ in range(5)))
    assert verdicts(first) == [GOOD]
    assert others == [first] * 4
    assert reading.read == [VULNERABILITY]


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("referrers_api", [True, False])
async def test_from_a_registry(referrers_api: bool) -> None:
    """A referrer, cosign's tag, a report with a signed manifest, and a builder's statement in a signed index."""
    memory = MemoryRegistry()
    async with serve_registry(referrers_api=referrers_api) as host:
        hosts, keychain = (
            HostRules(insecure=frozenset({host}), private=frozenset({host})),
            StaticKeychain(credentials={}),
        )
        http = HttpRegistry(keychain=keychain, hosts=hosts, platforms=(AMD64, ARM64), limits=DEFAULT_LIMITS)
        registry = CachingRegistry(registry=http, keychain=keychain, clock=SystemClock(), limits=DEFAULT_LIMITS)
        pusher = Pusher(keychain=keychain, hosts=hosts, limits=DEFAULT_LIMITS)
        try:
            place = Repository(host, "acme/web")
            built = attached.add_built_image(
                memory, str(place), [AMD64, ARM64], lambda digest: [statement(digest, {"provenance": [{}]}, PROVENANCE)]
            )
            platform = built.platforms[1].digest
            layers = [attached.layer(memory, place, envelope(statement(platform), made.CI), made.DSSE)]
            tagged = attached.tag_attached(memory, place, platform, "att", layers)
            for content in memory.blobs_of(place):
                await pusher.blob(place, content)
            for manifest in memory.manifests_of(place):
                await pusher.manifest(place, manifest.digest, manifest.media_type, manifest.content)
            att = memory._manifests[place, tagged]
            await pusher.manifest(place, f"sha256-{platform.hex}.att", att.media_type, att.content)

            async def push(subject: Digest, content: bytes, media_type: str) -> Digest:
                there = await http.manifest(place, subject, ACCESS)
                about = Descriptor(there.media_type, subject, len(there.content))
                return (
                    await pusher.attach(
                        place,
                        about,
                        artifact_type=media_type,
                        layer_media_type=media_type,
                        content=content,
                        annotations={},
                    )
                ).digest

            await push(built.digest, signature(built.digest), made.BUNDLE)
            await push(built.digest, signed(built.digest), made.BUNDLE)
            report = await push(built.digest, made.compact({"vulnerability": [{}]}), SARIF)
            await push(report, signature(report, made.CI), made.BUNDLE)

            image = await registry.resolve(ImageReference(place, None, built.digest), ACCESS)
            evidence = await gather(registry, image, trusted=trust(images=f"{host}/**"))
        finally:
            await registry.aclose()
            await http.aclose()
            await pusher.aclose()
    assert sorted(verdicts(evidence)) == [("provenance", "")] * 2 + [("signature", "")] + [GOOD] * 3
    kinds = {one.carrier for one in evidence.attestations}
    listed = CarrierKind.REFERRER if referrers_api else CarrierKind.FALLBACK_TAG
    assert kinds == {listed, CarrierKind.COSIGN_TAG, CarrierKind.INDEX}


# -- where the registry cannot be asked ------------------------------------------------------------------------------


async def test_what_could_not_be_confirmed_is_said() -> None:
    """The list of referrers, a tag that is there and one that is not: whichever is the oldest."""
    memory, clock = MemoryRegistry(), StandingClock()
    image = single(memory)
    layers = [attached.layer(memory, PLACE, envelope(statement(image.digest), made.CI), made.DSSE)]
    attached.tag_attached(memory, PLACE, image.digest, "att", layers)
    registry = CachingRegistry(
        registry=memory, keychain=StaticKeychain(credentials={}), clock=clock, limits=DEFAULT_LIMITS, stale_seconds=600
    )
    judging = gatherer(registry, clock=clock)
    try:
        fresh = await judging.gather(image, ACCESS)
        assert (verdicts(fresh), fresh.stale_since) == ([GOOD], None)
        confirmed = clock.now()
        memory.fail("registry.example", Unreachable("down"))
        clock.seconds += 31
        stale = await judging.gather(image, ACCESS)
        assert (verdicts(stale), stale.stale_since) == ([GOOD], confirmed)
    finally:
        await registry.aclose()


@pytest.mark.parametrize("carriers", [{CarrierKind.COSIGN_TAG}, {CarrierKind.REFERRER}])
async def test_each_list_is_said_to_be_stale(carriers: set[CarrierKind]) -> None:
    memory, clock = MemoryRegistry(), StandingClock()
    image = single(memory)
    registry = CachingRegistry(
        registry=memory, keychain=StaticKeychain(credentials={}), clock=clock, limits=DEFAULT_LIMITS, stale_seconds=600
    )
    judging = gatherer(registry, clock=clock, carriers=carriers)
    try:
        await judging.gather(image, ACCESS)
        confirmed = clock.now()
        memory.fail("registry.example", Unreachable("down"))
        clock.seconds += 31
        assert (await judging.gather(image, ACCESS)).stale_since == confirmed
    finally:
        await registry.aclose()


# -- signatures of every kind ------------------------------------------------------------------------------------------


def simple_signing(registry: MemoryRegistry, digest: Digest, key: Any, subject: Digest | None = None) -> None:
    """As ``cosign sign`` up to 2 writes one: a payload, its signature in an annotation, under a tag."""
    identity = {"docker-reference": NAME}
    critical = {
        "identity": identity,
        "image": {"docker-manifest-digest": subject or digest},
        "type": "cosign container image signature",
    }
    payload = made.compact({"critical": critical, "optional": None})
    raw = key.sign(payload, ec.ECDSA(hashes.SHA256()))
    noted = {"dev.cosignproject.cosign/signature": base64.b64encode(raw).decode()}
    media_type = "application/vnd.dev.cosign.simplesigning.v1+json"
    attached.tag_attached(registry, PLACE, digest, "sig", [attached.layer(registry, PLACE, payload, media_type, noted)])


def notation_signature(registry: MemoryRegistry, digest: Digest) -> None:
    content = notary.envelope(signed=notary.payload(digest))
    kind = "application/vnd.cncf.notary.signature"
    attached.attach_to(registry, PLACE, digest, content, notary.JOSE, artifact_type=kind)


@pytest.mark.parametrize("kind", ["simple signing", "bundle"])
async def test_a_signed_index_vouches_for_what_its_builder_says(kind: str) -> None:
    registry = MemoryRegistry()
    image = attached.add_built_image(
        registry, NAME, [AMD64], lambda digest: [statement(digest, {"provenance": [{}]}, PROVENANCE)]
    )
    if kind == "simple signing":
        simple_signing(registry, image.digest, made.RELEASE)
    else:
        attach(registry, image, signature(image.digest))
    assert verdicts(await gather(registry, image)) == [("signature", ""), ("provenance", "")]


async def test_a_simple_signature_of_another_image_vouches_for_nothing() -> None:
    registry = MemoryRegistry()
    image = attached.add_built_image(
        registry, NAME, [AMD64], lambda digest: [statement(digest, {"provenance": [{}]}, PROVENANCE)]
    )
    simple_signing(registry, image.digest, made.RELEASE, made.OTHER)
    assert verdicts(await gather(registry, image)) == [
        ("signature", "attestation-subject-mismatch"),
        ("provenance", "attestation-unsigned"),
    ]


async def test_a_report_whose_manifest_notation_signed() -> None:
    """And an image, an index with what its builder says: a signature of Notation is one as any other."""
    registry = MemoryRegistry()
    image = attached.add_built_image(
        registry, NAME, [AMD64], lambda digest: [statement(digest, {"provenance": [{}]}, PROVENANCE)]
    )
    report = attached.attach_to(registry, PLACE, image.digest, made.compact({"vulnerability": [{}]}), SARIF)
    about = (VULNERABILITY, PredicateClass.PROVENANCE, PredicateClass.SIGNATURE)
    trusted = Trust(signers=[notary.configured()], rules=[TrustRule(("**",), (Accept(about, ("notary",)),))])
    clock = StandingClock(notary.NOW.timestamp())
    verifier = AttestationVerifier(
        trust=trusted,
        notation=NotationVerifier(signers=trusted.notation, limits=DEFAULT_LIMITS),
        limits=DEFAULT_LIMITS,
        now=clock.now,
    )
    judging = EvidenceGatherer(
        registry=registry, verifier=verifier, trust=trusted, clock=clock, limits=DEFAULT_LIMITS, read=Reading()
    )
    assert {reason for _, reason in verdicts(await judging.gather(image, ACCESS))} == {"attestation-unsigned"}
    notation_signature(registry, image.digest)
    notation_signature(registry, report)

    evidence = await judging.gather(image, ACCESS)

    assert sorted(verdicts(evidence)) == [("provenance", ""), ("signature", ""), GOOD]
    assert {one.signer.kind for one in evidence.attestations if one.signer} == {"notation"}
