"""What predicate types are about."""

import pytest

from portcullis.evidence.statement import classify
from portcullis.model.evidence import PredicateClass


@pytest.mark.parametrize(
    ("predicate_type", "about"),
    [
        ("https://cosign.sigstore.dev/attestation/vuln/v1", PredicateClass.VULNERABILITY),
        ("cosign.sigstore.dev/attestation/vuln/v1", PredicateClass.VULNERABILITY),
        ("https://in-toto.io/attestation/vulns/v0.1", PredicateClass.VULNERABILITY),
        ("https://in-toto.io/attestation/vulns/v0.2", PredicateClass.VULNERABILITY),
        ("https://scout.docker.com/vulnerabilities/v0.1", PredicateClass.VULNERABILITY),
        ("https://cyclonedx.org/bom", PredicateClass.SBOM),
        ("https://cyclonedx.org/bom/v1.6", PredicateClass.SBOM),
        ("https://spdx.dev/Document", PredicateClass.SBOM),
        ("https://spdx.dev/Document/v2.3", PredicateClass.SBOM),
        ("https://openvex.dev/ns", PredicateClass.VEX),
        ("https://openvex.dev/ns/v0.2.0", PredicateClass.VEX),
        ("https://slsa.dev/provenance/v0.2", PredicateClass.PROVENANCE),
        ("https://slsa.dev/provenance/v1", PredicateClass.PROVENANCE),
        ("https://slsa.dev/verification_summary/v1", PredicateClass.OTHER),
        ("https://cosign.sigstore.dev/attestation/v1", PredicateClass.OTHER),
        # A prefix stops at a "/", and is compared as it is written.
        ("https://cyclonedx.org/bom-evil", PredicateClass.OTHER),
        ("https://cyclonedx.org/bomb/v1", PredicateClass.OTHER),
        ("https://cosign.sigstore.dev/attestation/vulnerability/v1", PredicateClass.OTHER),
        ("https://evil.example/https://cyclonedx.org/bom", PredicateClass.OTHER),
        ("https://CycloneDX.org/bom", PredicateClass.OTHER),
        ("http://cyclonedx.org/bom", PredicateClass.OTHER),
        (" https://cyclonedx.org/bom", PredicateClass.OTHER),
        ("", PredicateClass.OTHER),
        ("/", PredicateClass.OTHER),
        ("https://", PredicateClass.OTHER),
    ],
)
def test_classes(predicate_type: str, about: PredicateClass) -> None:
    assert classify(predicate_type) is about
