"""What every Verifier does with the vectors: the suite for each implementation of the port."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from portcullis.evidence import dsse, verifier
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Carrier, CarrierKind, Rejected, Verified
from portcullis.model.image import Digest
from portcullis.ports import Verifier
from portcullis.tasks import INLINE_BYTES
from vectors import attestations as made

pytestmark = pytest.mark.anyio

Make = Callable[[Limits], Verifier]


def keys(limits: Limits) -> Verifier:
    return AttestationVerifier(trust=made.trust(), limits=limits)


@pytest.fixture(params=[keys], ids=["keys"])
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


def carrier(vector: made.Vector) -> Carrier:
    return Carrier(
        kind=CarrierKind.REFERRER,
        media_type=vector.media_type,
        digest=Digest("sha256:" + "00" * 32),
        subject=vector.subject,
        content=vector.content,
    )


@pytest.mark.parametrize("vector", made.good(), ids=str)
async def test_good_evidence_is_verified(make: Make, vector: made.Vector) -> None:
    verdict = await make(made.LIMITS).verify(carrier(vector), vector.subject)

    assert isinstance(verdict, Verified), verdict
    assert verdict.statement.predicate_type == made.VULN
    assert vector.signer in {signer.name for signer in verdict.signers}
    assert verdict.signed_at is None


@pytest.mark.parametrize("vector", made.bad(), ids=str)
async def test_bad_evidence_is_rejected_with_its_reason(make: Make, vector: made.Vector) -> None:
    verdict = await make(made.LIMITS).verify(carrier(vector), vector.subject)

    assert isinstance(verdict, Rejected), verdict
    assert verdict.reason == vector.expect, verdict
    assert vector.says in verdict.message
    assert (verdict.signer.name if verdict.signer else None) == vector.signer


async def test_two_configured_signers_are_both_named(make: Make) -> None:
    content = made.compact(made.envelope(made.compact(made.statement()), made.RELEASE, made.STRANGER, made.CI))
    verdict = await make(made.LIMITS).verify(carrier(made.Vector("two", "verified", content)), made.SUBJECT)

    assert isinstance(verdict, Verified)
    assert [signer.name for signer in verdict.signers] == ["ci", "release"]


async def test_what_a_stranger_claims_is_shown_and_is_not_believed(make: Make) -> None:
    content = made.compact(made.envelope(made.compact(made.statement()), made.STRANGER))
    verdict = await make(made.LIMITS).verify(carrier(made.Vector("stranger", "", content)), made.SUBJECT)

    assert isinstance(verdict, Rejected)
    assert verdict.predicate_type == made.VULN
    assert verdict.signer is None


async def test_a_large_attestation_is_judged_as_a_small_one(make: Make) -> None:
    statement = made.statement(predicate={"text": "x" * 4 * INLINE_BYTES})
    content = made.compact(made.envelope(made.compact(statement)))
    verdict = await make(DEFAULT_LIMITS).verify(carrier(made.Vector("large", "verified", content)), made.SUBJECT)
    assert isinstance(verdict, Verified)

    small = replace(DEFAULT_LIMITS, attestation_bytes=len(content) - 1)
    refused = await make(small).verify(carrier(made.Vector("large", "too-large", content)), made.SUBJECT)
    assert isinstance(refused, Rejected)
    assert refused.reason == "too-large"


async def test_hostile_text_does_not_reach_the_message_as_it_is(make: Make) -> None:
    content = made.compact(made.envelope(made.compact(made.statement()), payload_type="a\x1b[2J\n" + "b" * 5000))
    verdict = await make(made.LIMITS).verify(carrier(made.Vector("hostile", "", content)), made.SUBJECT)

    assert isinstance(verdict, Rejected)
    assert verdict.message.isprintable()
    assert len(verdict.message) < 300


def test_every_step_of_the_proof_has_a_vector_that_breaks_it() -> None:
    proof = f"{dsse.__doc__}{verifier.__doc__}"
    steps = {int(number) for number in re.findall(r"^ \((\d+)\)", proof, re.MULTILINE)}
    assert steps == set(range(1, 10))
    assert {vector.step for vector in made.bad()} == steps
