"""Gathers what is signed about an image: found, verified, bound to who may say it, and read.

Everything takes one path: discover.py finds it, the verifier proves who signed what about which digest, readers turn
that into facts, and the trust rules say whether he may speak of it about this image (concluding.py). Nothing that was
found is dropped in silence: each thing ends as an Attestation that is verified, or that says why it is not.

What counts as signed:

 (1) what the verifier proved, by its own signers;
 (2) what is not signed by itself, by the signers of the digest that leads to it (unsigned.py): signatures are those of
     which the predicate class is ``signature``, and each of them is proven by the verifier as well;
 (3) where a rule asks for several signers, those of everything that says the same count together: of the same payload
     about the same digest and, of signatures, which say nothing beyond that, of all of one digest. What is accepted for
     that reason must still have a signer of its own who may speak;
 (4) where a time can be trusted (of a log entry, a time-stamp), nothing that was signed then is dated later: what is
     dated ahead would stay fresh for longer than it is;
 (5) VEX, of which the latest word counts, is not dated ahead of the time now.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from portcullis.errors import RecordsError, TooLarge
from portcullis.evidence.artifact import signed_form
from portcullis.evidence.concluding import Concluding, signatures_among
from portcullis.evidence.discover import ALL_CARRIERS, AttestationSource, Discoverer
from portcullis.evidence.found import Discovered, Found
from portcullis.evidence.marks import apply_marks, keys_of
from portcullis.evidence.refusal import EvidenceError, shown
from portcullis.evidence.reports import read_facts
from portcullis.evidence.trust import Trust
from portcullis.evidence.unsigned import read_unsigned
from portcullis.evidence.verdicts import Judged, ReadClass, VerdictKey, Verdicts, annotations_digest
from portcullis.evidence.vex.applying import apply_vex
from portcullis.limits import Limits
from portcullis.model.evidence import (
    AttestedScan,
    AttestedVex,
    Carrier,
    CarrierKind,
    Evidence,
    PredicateClass,
    ReadFact,
    Rejected,
    Statement,
    Verified,
)
from portcullis.model.image import Access, Digest, ResolvedImage
from portcullis.ports import Clock, Marks, Registry, Verifier
from portcullis.tasks import aside, together

_WIDTH = 4
"""Attestations of one image in memory at once."""

NO_SEALS: Mapping[Digest, Sequence[Verified | Rejected]] = MappingProxyType({})

Reader = Callable[[Statement, PredicateClass, Limits], Sequence[ReadFact]]
"""``reports.read_facts``: nothing where the statement holds nothing of the class; raises EvidenceError."""

Applying = Callable[
    [Sequence[AttestedScan], Sequence[AttestedVex], ResolvedImage],
    tuple[tuple[AttestedScan, ...], tuple[AttestedVex, ...]],
]
"""``vex.applying.apply_vex``."""


class EvidenceGatherer:
    """Gathers the evidence of images, and remembers verdicts.

    Args:
        registry: is asked on behalf of who asks here, for each image anew; it remembers by itself.
        verifier: judges signatures and subjects.
        trust: says who may speak of what about which image.
        marks: remember the newest scans; without them no scan is known to be the newest.
        limits: ``evidence_rows``, those of discover.py and verdicts.py, and those of the readers.
        carriers: where attestations count.
        repositories: where else attestations lie.
        read, apply: how statements are read and VEX is applied.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        verifier: Verifier,
        trust: Trust,
        clock: Clock,
        limits: Limits,
        marks: Marks | None = None,
        carriers: Collection[CarrierKind] = ALL_CARRIERS,
        repositories: Sequence[AttestationSource] = (),
        read: Reader = read_facts,
        apply: Applying = apply_vex,
    ) -> None:
        self._discoverer = Discoverer(
            registry=registry, limits=limits, carriers=carriers, repositories=repositories, is_report=trust.is_report
        )
        self._verifier = verifier
        self._trust = trust
        self._marks = marks
        self._clock = clock
        self._limits = limits
        self._read = read
        self._apply = apply
        self.verdicts = Verdicts(clock=clock, limits=limits)

    async def gather(self, image: ResolvedImage, access: Access) -> Evidence:
        """All that is attached to the image and its platforms, in a fixed order.

        Raises:
            RegistryError: something could not be fetched, or there is more of it than the limits allow (TooLarge).
                Attestations that are bad raise nothing: they are in the result with their reason.
        """
        there = await self._discoverer.find(image, access)
        signed = [one for one in there.found if one.sealed_by is None]
        rows = _Rows(image, self._limits)
        verdicts = await self._judge_all(signed, access, rows)
        seals = await self._seals(image, there, signed, verdicts, access, rows)
        rest = [one for one in there.found if one.sealed_by is not None]
        of_signed, of_rest = iter(verdicts), iter(await self._judge_all(rest, access, rows, seals))
        evidence = Concluding(
            image=image,
            trust=self._trust,
            found=[(one, next(of_signed if one.sealed_by is None else of_rest)) for one in there.found],
            seals=seals,
            now=self._clock.now(),
        ).evidence(there.stale_since)
        return await self._with_marks(await self._with_vex(evidence, image), image)

    async def _seals(
        self,
        image: ResolvedImage,
        there: Discovered,
        signed: Sequence[Found],
        verdicts: Sequence[Judged],
        access: Access,
        rows: "_Rows",
    ) -> Mapping[Digest, Sequence[Verified | Rejected]]:
        """The verdicts on what may sign a digest that leads to what is not signed by itself: that of the image, which
        may be an index with its builder's statements, and those of the manifests of reports."""
        seals: dict[Digest, Sequence[Verified | Rejected]] = {
            image.digest: [
                judged.verdict
                for one, judged in zip(signed, verdicts, strict=True)
                if one.place.subject == image.digest
            ]
        }
        for digest, group in there.seals.items():
            seals[digest] = [judged.verdict for judged in await self._judge_all(group, access, rows)]
        return seals

    async def _judge_all(
        self,
        found: Sequence[Found],
        access: Access,
        rows: "_Rows",
        seals: Mapping[Digest, Sequence[Verified | Rejected]] = NO_SEALS,
    ) -> Sequence[Judged]:
        async def judge(one: Found) -> Judged:
            judged = await self._judge(one, access, vouched=self._is_vouched(one, seals))
            rows.add(judged)
            return judged

        return await together(found, judge, at_once=_WIDTH)

    def _is_vouched(self, found: Found, seals: Mapping[Digest, Sequence[Verified | Rejected]]) -> bool:
        """Whether any configured signer signed what leads to it. If none did, it is not read: what anybody can push is
        looked at only as far as it takes to say what it claims to be."""
        if found.sealed_by is None:
            return False
        return bool(signatures_among(seals.get(found.sealed_by, ()), self._trust))

    async def _judge(self, found: Found, access: Access, *, vouched: bool) -> Judged:
        """The verdict, and what is said; from memory where it is known."""
        if found.fault is not None or found.layer is None:
            fault = found.fault or EvidenceError("there is nothing to read")
            return Judged(Rejected(fault.reason, fault.message))
        key = VerdictKey(
            repository=found.place.repository,
            content=found.layer.digest,
            media_type=found.layer.media_type,
            annotations=annotations_digest(found.layer.annotations),
            subject=found.place.subject,
            report=found.report,
            signed=found.sealed_by is None,
            vouched=vouched,
        )

        async def make() -> tuple[Judged, int]:
            content = await self._discoverer.read(found, access)
            return await self._judge_content(found, content, vouched=vouched), len(content)

        return await self.verdicts.judge(key, make)

    async def _judge_content(self, found: Found, content: bytes, *, vouched: bool) -> Judged:
        assert found.layer is not None
        subject, size = found.place.subject, len(content)
        if found.sealed_by is None:
            carrier = Carrier(
                kind=found.kind,
                media_type=signed_form(found.layer.media_type) or found.layer.media_type,
                digest=found.layer.digest,
                subject=subject,
                content=content,
                annotations=found.layer.annotations,
            )
            verdict = await self._verifier.verify(carrier, subject)
        else:
            verdict = await aside(size, lambda: read_unsigned(content, found.report, subject, self._limits))
        if isinstance(verdict, Rejected):
            return Judged(verdict)
        if found.sealed_by is not None and not vouched:
            return Judged(verdict, tuple(map(ReadClass, self._trust.classes(verdict.statement.predicate_type))))
        return Judged(verdict, await aside(size, lambda: self._read_classes(verdict)))

    def _read_classes(self, verdict: Verified) -> tuple[ReadClass, ...]:
        return tuple(
            self._read_class(verdict.statement, about)
            for about in self._trust.classes(verdict.statement.predicate_type)
        )

    def _read_class(self, statement: Statement, about: PredicateClass) -> ReadClass:
        if about in {PredicateClass.SIGNATURE, PredicateClass.OTHER}:
            return ReadClass(about)
        try:
            return ReadClass(about, tuple(self._read(statement, about, self._limits)))
        except EvidenceError as error:
            return ReadClass(about, fault=EvidenceError(error.message, error.reason))

    async def _with_vex(self, evidence: Evidence, image: ResolvedImage) -> Evidence:
        if not evidence.vex:
            return evidence
        # Thousands of findings times thousands of statements, of which nobody knows the bytes any more.
        size = sum(len(scan.report.vulnerabilities) for scan in evidence.scans) * _FINDING_BYTES
        scans, vex = await aside(size, lambda: self._apply(evidence.scans, evidence.vex, image))
        return replace(evidence, scans=scans, vex=vex)

    async def _with_marks(self, evidence: Evidence, image: ResolvedImage) -> Evidence:
        if self._marks is None or not evidence.scans:
            return evidence
        keys = sorted({key for scan in evidence.scans for key in keys_of(scan, image)})
        known: Mapping[str, datetime] | None
        try:
            known = await self._marks.get(keys)
        except RecordsError:
            known = None  # which the scans say
        return replace(evidence, scans=apply_marks(evidence.scans, image, known, self._clock.now()))


_FINDING_BYTES = 500


class _Rows:
    """Counts what is read of one image: many reports, each within its bounds, must not fill the memory together."""

    def __init__(self, image: ResolvedImage, limits: Limits) -> None:
        self._image = image
        self._limits = limits
        self._count = 0

    def add(self, judged: Judged) -> None:
        """Raises TooLarge."""
        self._count += judged.rows
        if self._count > self._limits.evidence_rows:
            raise TooLarge(
                f"the reports attached to {shown(self._image.reference)} have {self._count} or more findings, "
                f"components and other lines; the limit evidenceRows is {self._limits.evidence_rows}"
            )
