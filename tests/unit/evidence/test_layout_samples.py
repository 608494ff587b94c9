"""Image layouts that others made, with attestations in them: everything is found, and judged as their authors say.

Their own verdict on the reports goes less far. Each report in them names another image (``RepoDigests`` of
sha256:667a…) than the statement around it, so that none of them counts here; and the time of a scan is the oldest that
wrapper and report give.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.signers import SignerKey
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import CarrierKind, Evidence, PredicateClass
from portcullis.model.image import Access, Digest, ImageReference, Platform, Repository
from portcullis.registry.files import Folder
from portcullis.registry.layout import OciLayout
from portcullis.server.clock import SystemClock

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.test", "app")
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


async def evidence_of(layout: Path, expected: dict[str, Any]) -> Evidence:
    """Of the whole index, by the sample's key."""
    key = SignerKey("ci", (layout / expected["key"]).read_bytes())
    about = (PredicateClass.VULNERABILITY, PredicateClass.PROVENANCE)
    trust = Trust(signers=[key], rules=[TrustRule(("registry.test/**",), (Accept(about, ("ci",)),))])
    registry = OciLayout(files=Folder(layout), repository=PLACE, platforms=(AMD64, ARM64), limits=DEFAULT_LIMITS)
    gatherer = EvidenceGatherer(
        registry=registry,
        verifier=AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS),
        trust=trust,
        clock=SystemClock(),
        limits=DEFAULT_LIMITS,
    )
    image = await registry.resolve(ImageReference(PLACE, None, Digest(expected["index"])), Access())
    return await gatherer.gather(image, Access())


@pytest.mark.parametrize(
    ("name", "carrier"), [("referrers", CarrierKind.REFERRER), ("legacy-att", CarrierKind.COSIGN_TAG)]
)
async def test_a_layout_with_attested_scans(shared_data: Path, name: str, carrier: CarrierKind) -> None:
    layout = shared_data / "synthetic-oci" / name
    expected = json.loads((layout / "expected.json").read_text())

    evidence = await evidence_of(layout, expected)

    scans = [one for one in evidence.attestations if one.predicate_class is PredicateClass.VULNERABILITY]
    assert len(scans) == len(expected["attestations"])
    for attestation, said in zip(scans, expected["attestations"], strict=True):
        good = said["signature"] == "good"
        assert attestation.reason == ("report-subject-mismatch" if good else "attestation-untrusted")
        assert (attestation.signer is not None) is good
        assert (attestation.carrier, attestation.subject) == (carrier, expected["amd64"])
        assert attestation.platform == AMD64
    assert evidence.scans == ()
    # As the sample says of it: not signed, and so no evidence by itself.
    (built,) = [one for one in evidence.attestations if one.carrier is CarrierKind.INDEX]
    assert (built.predicate_class, built.reason) == (PredicateClass.PROVENANCE, "attestation-unsigned")
    assert evidence.provenance == ()
