"""What predicate types and media types are about."""

import pytest

from portcullis.evidence.trust import Trust
from portcullis.model.evidence import PredicateClass

VULNERABILITY, LINT, SBOM = PredicateClass.VULNERABILITY, PredicateClass.LINT, PredicateClass.SBOM
VEX, PROVENANCE = PredicateClass.VEX, PredicateClass.PROVENANCE
SIGNATURE, OTHER = PredicateClass.SIGNATURE, PredicateClass.OTHER
BILL = (SBOM, VULNERABILITY, VEX)

PLAIN = Trust(signers=[], rules=[])


@pytest.mark.parametrize(
    ("predicate_type", "about"),
    [
        ("https://cosign.sigstore.dev/attestation/vuln/v1", (VULNERABILITY,)),
        ("cosign.sigstore.dev/attestation/vuln/v1", (VULNERABILITY,)),
        ("https://in-toto.io/attestation/vulns/v0.2", (VULNERABILITY,)),
        ("https://scout.docker.com/vulnerabilities/v0.1", (VULNERABILITY,)),
        ("https://portcullis.dev/attestation/lint/v1", (LINT,)),
        ("https://cyclonedx.org/bom", BILL),
        ("https://cyclonedx.org/bom/v1.6", BILL),
        ("https://spdx.dev/Document", (SBOM,)),
        ("https://spdx.dev/Document/v2.3", (SBOM,)),
        ("https://openvex.dev/ns", (VEX,)),
        ("https://openvex.dev/ns/v0.2.0", (VEX,)),
        ("text/vex", (VEX,)),
        ("https://slsa.dev/provenance/v0.2", (PROVENANCE,)),
        ("https://slsa.dev/provenance/v1", (PROVENANCE,)),
        ("https://sigstore.dev/cosign/sign/v1", (SIGNATURE,)),
        ("application/vnd.dev.cosign.simplesigning.v1+json", (SIGNATURE,)),
        ("application/vnd.cncf.notary.payload.v1+json", (SIGNATURE,)),
        ("application/sarif+json", (VULNERABILITY, LINT)),
        ("application/vnd.cyclonedx+json", BILL),
        ("application/spdx+json", (SBOM,)),
        ("application/openvex+json", (VEX,)),
        # what only looks like a known type
        ("https://cyclonedx.org/bom-evil", (OTHER,)),
        ("https://cyclonedx.org/bomb/v1.6", (OTHER,)),
        ("https://cyclonedx.org", (OTHER,)),
        ("https://cyclonedx.org/BOM", (OTHER,)),
        ("http://cyclonedx.org/bom", (OTHER,)),
        (" https://cyclonedx.org/bom", (OTHER,)),
        ("evil/https://cyclonedx.org/bom", (OTHER,)),
        ("https://cosign.sigstore.dev/attestation/vulnerable/v1", (OTHER,)),
        ("https://slsa.dev/verification_summary/v1", (OTHER,)),
        ("https://cosign.sigstore.dev/attestation/v1", (OTHER,)),
        ("application/sarif+json/v1", (OTHER,)),
        ("", (OTHER,)),
    ],
)
def test_what_is_built_in(predicate_type: str, about: tuple[PredicateClass, ...]) -> None:
    assert PLAIN.classes(predicate_type) == about


@pytest.mark.parametrize(
    ("predicate_type", "about"),
    [
        ("https://example.test/trivy", (VULNERABILITY,)),
        ("https://example.test/trivy/v2", (VULNERABILITY,)),
        ("https://example.test/trivy-evil", (OTHER,)),
        ("https://example.test", (OTHER,)),
        ("https://cosign.sigstore.dev/attestation/v1", (VULNERABILITY,)),
        # the operator narrows what is built in, and widens nothing beside it
        ("https://cyclonedx.org/bom/v1.6", (SBOM,)),
        ("https://spdx.dev/Document/v2.3", (SBOM,)),
        ("https://slsa.dev/provenance/v1", (OTHER,)),
        ("https://slsa.dev/provenance/v0.2", (PROVENANCE,)),
        # the longest of the operator's own wins
        ("https://example.test/trivy/lint", (LINT,)),
        ("https://example.test/trivy/lint/v1", (LINT,)),
    ],
)
def test_what_the_operator_says(predicate_type: str, about: tuple[PredicateClass, ...]) -> None:
    trust = Trust(
        signers=[],
        rules=[],
        predicates={
            "https://example.test/trivy": VULNERABILITY,
            "https://example.test/trivy/lint": LINT,
            "https://cosign.sigstore.dev/attestation/v1": VULNERABILITY,
            "https://cyclonedx.org/bom": SBOM,
            "https://slsa.dev/provenance/v1": OTHER,
        },
    )
    assert trust.classes(predicate_type) == about


def test_what_is_a_report_that_is_attached_as_it_is() -> None:
    trust = Trust(signers=[], rules=[], predicates={"application/x-scan": VULNERABILITY})
    for media_type in ("application/sarif+json", "application/spdx+json", "application/x-scan"):
        assert trust.is_report(media_type)
    for media_type in ("application/json", "https://cyclonedx.org/bom", "application/vnd.in-toto+json", ""):
        assert not trust.is_report(media_type)
    assert not PLAIN.is_report("application/x-scan")
