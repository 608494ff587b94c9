"""What says that it was made after it was signed: whoever signs could make it fresh for longer than it is."""

from datetime import timedelta
from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Evidence, PredicateClass
from vectors import attestations as made
from vectors import gathering as there
from vectors import sigstore
from vectors.sigstore import AT

pytestmark = pytest.mark.anyio

ALL = tuple(PredicateClass)
LATER = (AT + timedelta(minutes=6)).isoformat()
SOON = (AT + timedelta(minutes=4)).isoformat()


async def gather_logged(about: PredicateClass, kind: str, said: dict[str, Any]) -> Evidence:
    """Of an image with one statement, which a log saw at :data:`AT`."""
    registry = MemoryRegistry()
    image = registry.add_image(there.NAME)
    payload = there.statement(image.digest, {str(about): [said]}, kind)
    there.attach(registry, image, made.compact(sigstore.bundle(payload)))
    trust = Trust(signers=[sigstore.SIGNER], rules=[TrustRule(("**",), (Accept(ALL, ("ci",)),))])
    keyless = KeylessVerifier(signers=trust.keyless, roots=[sigstore.root()], limits=DEFAULT_LIMITS)
    gatherer = EvidenceGatherer(
        registry=registry,
        verifier=AttestationVerifier(trust=trust, keyless=keyless, limits=DEFAULT_LIMITS),
        trust=trust,
        clock=StandingClock(AT.timestamp()),
        limits=DEFAULT_LIMITS,
        read=there.Reading(),
        apply=there.untouched,
    )
    return await gatherer.gather(image, there.ACCESS)


@pytest.mark.parametrize(
    ("about", "kind", "said"),
    [
        pytest.param(PredicateClass.VULNERABILITY, made.VULN, {}, id="scan"),
        pytest.param(PredicateClass.VULNERABILITY, made.VULN, {"passed": True}, id="evaluation"),
        pytest.param(PredicateClass.LINT, there.LINT, {}, id="lint"),
        pytest.param(PredicateClass.SBOM, there.BILL, {}, id="sbom"),
        pytest.param(PredicateClass.VEX, there.OPENVEX, {}, id="vex"),
    ],
)
async def test_nothing_is_dated_after_its_signature(about: PredicateClass, kind: str, said: dict[str, Any]) -> None:
    """A clock may be ahead a little."""
    good = await gather_logged(about, kind, {**said, "at": SOON})
    assert (there.verdicts(good), there.only(good).signed_at) == ([(str(about), "")], AT)
    bad = await gather_logged(about, kind, {**said, "at": LATER})
    assert there.verdicts(bad) == [(str(about), "attestation-invalid")]
    assert there.only(bad).message == (
        "it says that it was made at 2025-03-01T12:06:00Z, and was signed at 2025-03-01T12:00:00Z already"
    )
    assert (bad.scans, bad.evaluations, bad.lint, bad.sboms, bad.vex) == ((), (), (), (), ())


async def test_no_statement_of_vex_is_dated_after_its_signature() -> None:
    for at, reason in ((SOON, ""), (LATER, "attestation-invalid")):
        said = {"at": AT.isoformat(), "statements": [None, at]}
        evidence = await gather_logged(PredicateClass.VEX, there.OPENVEX, said)
        assert there.verdicts(evidence) == [("vex", reason)]


async def test_what_does_not_say_when_it_was_made() -> None:
    evidence = await gather_logged(PredicateClass.SBOM, there.BILL, {})
    assert there.verdicts(evidence) == [("sbom", "")]
