"""What inspect shows: the policy input, in words."""

import io
from datetime import timedelta
from typing import Any

from rich.console import Console

from portcullis.cli.facts import facts_view
from portcullis.model.decision import Problem, Stage
from portcullis.model.evidence import (
    Attestation,
    AttestedScan,
    CarrierKind,
    Evidence,
    PredicateClass,
    ScanReport,
    Severity,
    Signer,
    Vulnerability,
)
from portcullis.model.facts import ImageFacts
from portcullis.model.image import (
    Digest,
    ImageConfig,
    ImageReference,
    ImageUser,
    Platform,
    PlatformImage,
    Repository,
    ResolvedImage,
    UserSource,
)
from unit.cli.pictures import NOW, policy_input

WRITTEN = "registry.example/acme/web:1.4"
DIGEST = Digest("sha256:" + "ab" * 32)
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def platform(where: Platform, version: str) -> PlatformImage:
    labels = {"org.example.team": "shop", "org.example.version": version}
    config = ImageConfig("10001", NOW - timedelta(days=12), ("/app/web",), (), "", (), (), (), labels, (), ())
    return PlatformImage(where, DIGEST, DIGEST, config, ())


def attestation(verified: bool, reason: str = "", message: str = "") -> Attestation:
    return Attestation(
        verified=verified,
        reason=reason,
        message=message,
        predicate_type="https://cosign.sigstore.dev/attestation/vuln/v1",
        predicate_class=PredicateClass.VULNERABILITY,
        signer=Signer("ci", "key") if verified else None,
        carrier=CarrierKind.REFERRER,
        digest=DIGEST,
        subject=DIGEST,
        platform=None,
        signed_at=None,
    )


def scan(*severities: Severity) -> AttestedScan:
    findings = tuple(
        Vulnerability(f"CVE-{number}", (), "xz", "", "1", "2", severity, None, "fixed")
        for number, severity in enumerate(severities)
    )
    report = ScanReport(
        "trivy", "0.68", None, NOW - timedelta(hours=30), (), "", AMD64, 0, True, "", findings
    )  # fmt: skip
    return AttestedScan(report, attestation(True))


def known(**fields: Any) -> ImageFacts:
    reference = ImageReference(Repository("registry.example", "acme/web"), "1.4", None)
    platforms = (platform(AMD64, "1"), platform(ARM64, "2"))
    resolved = ResolvedImage(reference, DIGEST, "application/vnd.oci.image.index.v1+json", True, platforms)
    users = (
        ImageUser("10001", 10001, None, "", UserSource.NUMERIC, False),
        ImageUser("", 0, None, "", UserSource.UNSET, True),
    )
    values: dict[str, Any] = {"reference": reference, "resolved": resolved, "users": users, "evidence": Evidence()}
    return ImageFacts(written=WRITTEN, **(values | fields))


def shown(facts: ImageFacts, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(facts_view(WRITTEN, policy_input(facts), NOW))
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_each_platform_with_its_user_and_age() -> None:
    text = shown(known())
    for words in (
        "an index of several platforms",
        "linux/amd64",
        "linux/arm64",
        "not root",
        "(no USER)",
        "12 days ago",
    ):
        assert words in text
    assert "none is attached" in text


def test_labels_that_differ_by_platform_are_told_apart() -> None:
    text = shown(known())
    assert "org.example.team=shop org.example.version=1 (linux/amd64) org.example.version=2 (linux/arm64)" in text


def test_attestations_with_verdict_and_reason() -> None:
    refused = attestation(False, "attestation-untrusted", "no configured key signed it")
    evidence = Evidence((attestation(True), refused), (scan(Severity.CRITICAL, Severity.LOW, Severity.LOW),))
    text = shown(known(evidence=evidence), 200)
    for words in (
        "✓ verified vulnerability ci",
        "✗ rejected",
        "attestation-untrusted",
        "no configured key signed it",
        "1 critical, 2 low; 3 can be fixed",
        "30 hours ago",
    ):
        assert words in text


def test_a_clean_scan_says_none() -> None:
    assert "linux/amd64 30 hours ago ci none" in shown(known(evidence=Evidence((attestation(True),), (scan(),))), 160)


def test_what_could_not_be_had_is_a_problem() -> None:
    problem = Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="there is no such tag", image=WRITTEN)
    text = shown(ImageFacts(written=WRITTEN, reference=known().reference, problems=(problem,)))
    assert "(not resolved)" in text
    assert "image-not-found there is no such tag" in text
    assert "none is attached" not in text


def test_hostile_labels_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\u202e[red]"
    config = ImageConfig(evil, NOW, (evil,), (), "", (), (), (), {evil: evil}, (), ())
    resolved = known().resolved
    assert resolved is not None
    bad = ResolvedImage(
        resolved.reference, DIGEST, "", False, (PlatformImage(AMD64, DIGEST, DIGEST, config, ()),)
    )  # fmt: skip
    users = (ImageUser(evil, None, None, evil, UserSource.UNRESOLVED, None),)
    text = shown(known(resolved=bad, users=users, evidence=Evidence((attestation(False, evil, evil),))))
    assert not set("\x1b\u202e") & set(text)
    assert "may be root" in text
