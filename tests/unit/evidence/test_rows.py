"""Many reports, each within its bounds, are bounded together."""

from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.registry import MemoryRegistry
from portcullis.errors import TooLarge
from portcullis.evidence.verdicts import Judged, ReadClass, VerdictKey, Verdicts
from portcullis.limits import Limits
from portcullis.model.evidence import (
    Check,
    Component,
    Evaluation,
    LintFinding,
    LintReport,
    Material,
    PredicateClass,
    Provenance,
    ReadFact,
    Sbom,
    ScanReport,
    Statement,
    Suppression,
    Verified,
    VexDocument,
    VexProduct,
    VexStatement,
    VexStatus,
    Vulnerability,
)
from portcullis.model.image import Repository
from vectors import attestations as made
from vectors.gathering import attach, gather, signed

pytestmark = pytest.mark.anyio

VEX = VexStatement(("CVE-1",), VexStatus.FIXED, "", "", (VexProduct(purl="a"), VexProduct(purl="b")), None)
FACTS: list[tuple[ReadFact, int]] = [
    (ScanReport("trivy", vulnerabilities=(Vulnerability("1"),) * 2, suppressions=(Suppression("3", "", ""),)), 3),
    (Evaluation("anchore", "p", True, "go", None, (), (Check("", "", "go", ""),) * 2), 2),
    (LintReport("hadolint", "", None, (LintFinding("DL1", "error", "", 1, ""),) * 2), 2),
    (Sbom("spdx", "", None, (), (), (Component("a"),) * 2), 2),
    (Provenance("v1", "", "", "", "", "", "", "", None, None, (Material("a", ""),) * 2), 2),
    (VexDocument("openvex", "", "", "", None, (VEX, VEX)), 6),
]


def judged(*facts: ReadFact) -> Judged:
    classes = tuple(ReadClass(PredicateClass.OTHER, (fact,)) for fact in facts)
    return Judged(Verified(Statement("t", b"{}"), ()), classes)


@pytest.mark.parametrize(("fact", "rows"), FACTS, ids=[type(fact).__name__ for fact, _ in FACTS])
def test_what_counts(fact: ReadFact, rows: int) -> None:
    assert judged(fact).rows == rows
    assert judged(fact, fact).rows == 2 * rows
    assert judged().rows == 0


@pytest.mark.parametrize(("limit", "fits"), [(5, False), (6, True)])
async def test_the_reports_of_one_image(limit: int, fits: bool) -> None:
    registry = MemoryRegistry()
    image = registry.add_image("registry.example/acme/web")
    for number in range(2):
        attach(registry, image, signed(image.digest, {"vulnerability": [{"ids": [f"CVE-{number}", "CVE-8", "CVE-9"]}]}))
    limits = Limits(evidence_rows=limit)
    if fits:
        assert len((await gather(registry, image, limits=limits)).scans) == 2
    else:
        with pytest.raises(TooLarge, match=r"6 or more findings.* the limit evidenceRows is 5"):
            await gather(registry, image, limits=limits)


async def test_what_a_stranger_says_is_not_counted() -> None:
    """It was not read. Otherwise whoever can push could have every image refused by a long report."""
    registry = MemoryRegistry()
    image = registry.add_image("registry.example/acme/web")
    said: dict[str, Any] = {"vulnerability": [{"ids": ["CVE-1", "CVE-2"]}]}
    attach(registry, image, signed(image.digest, said, key=made.STRANGER))
    attach(registry, image, signed(image.digest, said))
    evidence = await gather(registry, image, limits=Limits(evidence_rows=2))
    assert [one.verified for one in evidence.attestations] == [False, True]


async def test_a_report_of_short_lines_takes_more_room_than_its_bytes() -> None:
    limits = Limits(known_verdict_bytes=100_000)
    verdicts = Verdicts(clock=StandingClock(), limits=limits)
    key = VerdictKey(Repository("registry.example", "acme/web"), made.SUBJECT, "", "", made.SUBJECT, "", signed=True)
    long = judged(ScanReport("trivy", vulnerabilities=(Vulnerability("1"),) * 300))

    async def make() -> tuple[Judged, int]:
        return long, 1000

    await verdicts.judge(key, make)
    assert len(verdicts) == 0
