"""What reaches the policies of what is attached to an image, and that nothing that cannot be had passes for nothing."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.engine import ScriptedEngine
from fakes.reviews import pod, request
from portcullis.admission.workloads import WorkloadReader
from portcullis.errors import Denied, DigestMismatch, Malformed, NotFound, RegistryError, TooLarge, Unreachable
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.signers import SignerKey
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Decision, Stage, Verdict
from portcullis.model.evidence import PredicateClass
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.server.clock import SystemClock
from portcullis.standing import Current, Standing
from vectors import attestations as made
from vectors.scenes import CRITICAL, Scene, ago, keyed, twin_of

pytestmark = pytest.mark.anyio

SCAN = PolicyInfo(
    name="scan-required",
    title="",
    description="",
    severity="high",
    mode=Mode.DENY,
    docs="",
    needs=frozenset({Need.REQUEST, Need.IMAGE, Need.ATTESTATIONS}),
    rules=(Mode.DENY,),
)


@dataclass
class Bench:
    scene: Scene
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)

    def __post_init__(self) -> None:
        clock = SystemClock()
        scans = Accept((PredicateClass.VULNERABILITY,), ("ci",))
        trust = Trust(signers=[SignerKey("ci", made.pem(made.CI))], rules=[TrustRule(("**",), (scans,))])
        registry = self.scene.memory
        self.gate = Gate(
            reader=WorkloadReader(limits=DEFAULT_LIMITS),
            registry=registry,
            gatherer=EvidenceGatherer(
                registry=registry,
                verifier=AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS),
                trust=trust,
                clock=clock,
                limits=DEFAULT_LIMITS,
            ),
            inspector=None,
            catalogue=load_catalogue(()),
            engine=self.engine,
            standing=Current(Standing(CompiledBundle(revision="sha256:p", policies=(SCAN,)))),
            clock=clock,
            limits=DEFAULT_LIMITS,
        )

    async def decide(self) -> Decision:
        deadline = asyncio.get_running_loop().time() + 10
        return await self.gate.decide(request(pod(self.scene.written)), deadline)

    async def image(self) -> dict[str, Any]:
        """The image in the policy input of a decision."""
        await self.decide()
        (image,) = self.engine.documents.pop()["images"].values()
        assert isinstance(image, dict)
        return image


@pytest.fixture
def bench() -> Bench:
    return Bench(Scene("registry.example", "web"))


async def test_a_good_scan_is_there(bench: Bench) -> None:
    """What the others differ from in one respect."""
    bench.scene.sign(bench.scene.scan(CRITICAL))
    image = await bench.image()
    assert [one["verified"] for one in image["attestations"]] == [True]
    assert [one["vulnerabilities"][0]["id"] for one in image["scans"]] == ["CVE-2026-0001"]


@pytest.mark.parametrize(
    ("attach", "reason"),
    [
        (lambda scene: scene.sign(scene.scan(), made.STRANGER), "attestation-untrusted"),
        (lambda scene: scene.sign(scene.scan(of=made.OTHER)), "attestation-subject-mismatch"),
        (lambda scene: scene.attach(scene.scan(), made.IN_TOTO), "attestation-unsigned"),
        (lambda scene: scene.attach(keyed(scene.scan())[:-1]), "attestation-invalid"),
        (lambda scene: scene.tag(scene.scan(), made.STRANGER), "attestation-untrusted"),
    ],
    ids=["stranger", "other-image", "unsigned", "broken", "tag"],
)
async def test_what_does_not_count_is_shown_and_says_nothing(bench: Bench, attach: Any, reason: str) -> None:
    attach(bench.scene)
    image = await bench.image()
    assert [(one["verified"], one["reason"]) for one in image["attestations"]] == [(False, reason)]
    assert image["scans"] == []


async def test_the_other_signature_of_ecdsa_adds_nothing(bench: Bench) -> None:
    """(r, n-s) holds where (r, s) does. Both are shown, and are one scan."""
    content = keyed(bench.scene.scan())
    bench.scene.attach(content)
    bench.scene.attach(twin_of(content))
    image = await bench.image()
    assert [one["verified"] for one in image["attestations"]] == [True, True]
    assert len(image["scans"]) == 1


@pytest.mark.parametrize(
    ("error", "code", "verdict"),
    [
        (Unreachable("down"), 503, Verdict.UNDECIDED),
        (Denied("no"), 403, Verdict.REFUSED),
        (NotFound("gone"), 403, Verdict.REFUSED),
        (Malformed("<html>"), 403, Verdict.REFUSED),
        (DigestMismatch("other bytes"), 403, Verdict.REFUSED),
        (TooLarge("much"), 403, Verdict.REFUSED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RegistryError) else None,
)
async def test_what_cannot_be_had_is_no_missing_attestation(
    bench: Bench, error: RegistryError, code: int, verdict: Verdict
) -> None:
    """Beside a scan that passes lies one that cannot be fetched: it may be the one that fails. The policy is not
    asked at all."""
    bench.scene.sign(bench.scene.scan())
    bench.scene.memory.fail(bench.scene.sign(bench.scene.scan(CRITICAL)), error)
    decision = await bench.decide()
    assert (decision.verdict, decision.code) == (verdict, code)
    assert [problem.stage for problem in decision.problems] == [Stage.EVIDENCE]
    assert bench.engine.documents == []


async def test_facts_are_remembered_and_decisions_are_not(bench: Bench) -> None:
    """An attestation that is gone counts no more in the next decision, and a new one does."""
    bench.scene.sign(bench.scene.scan(at=ago(hours=2)))
    first, again = await bench.image(), await bench.image()
    assert first["scans"][0]["scannedAt"] == again["scans"][0]["scannedAt"]
    bench.scene.sign(bench.scene.scan(CRITICAL))
    assert len((await bench.image())["scans"]) == 2
    bench.scene.memory._referrers.clear()
    assert (await bench.image())["attestations"] == []
