"""From verdicts to evidence: who may say what was said, about which platform, and for how long.

No input from outside is read here: what was found, verified and read comes in, and the trust rules decide. gather.py
says what counts as signed, in numbers that are repeated here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from portcullis.evidence.found import Found
from portcullis.evidence.marks import AHEAD
from portcullis.evidence.refusal import (
    ATTESTATION_INVALID,
    ATTESTATION_UNSIGNED,
    ATTESTATION_UNSUPPORTED,
    EvidenceError,
)
from portcullis.evidence.targets import platform_of, require_fact_of
from portcullis.evidence.trust import Acceptance, Trust
from portcullis.evidence.verdicts import Judged, ReadClass
from portcullis.model.evidence import (
    Attestation,
    Attested,
    AttestedScan,
    AttestedVex,
    CarrierKind,
    Evaluation,
    Evidence,
    LintReport,
    PredicateClass,
    Provenance,
    ReadFact,
    Rejected,
    Sbom,
    ScanReport,
    Signer,
    Verified,
    VexDocument,
)
from portcullis.model.image import Digest, Platform, ResolvedImage
from portcullis.times import rfc3339

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""From when a statement no longer counts that has to have an age, and has none."""

_Pool = tuple[str, Digest]


@dataclass(slots=True)
class _Lists:
    """Evidence in the making. ``said`` is what stands in the lists already: the same, by the same signer, is not
    repeated however often it is attached."""

    attestations: list[Attestation] = field(default_factory=list)
    scans: list[AttestedScan] = field(default_factory=list)
    evaluations: list[Attested[Evaluation]] = field(default_factory=list)
    lint: list[Attested[LintReport]] = field(default_factory=list)
    sboms: list[Attested[Sbom]] = field(default_factory=list)
    provenance: list[Attested[Provenance]] = field(default_factory=list)
    vex: list[AttestedVex] = field(default_factory=list)
    said: set[tuple[str, Digest, PredicateClass, str]] = field(default_factory=set)

    def add(self, fact: ReadFact, attestation: Attestation, expires_at: datetime | None) -> None:
        match fact:
            case ScanReport():
                looked_at = fact if fact.platform is not None else replace(fact, platform=attestation.platform)
                self.scans.append(AttestedScan(looked_at, attestation))
            case Evaluation():
                self.evaluations.append(Attested(fact, attestation))
            case LintReport():
                self.lint.append(Attested(fact, attestation))
            case Sbom():
                self.sboms.append(Attested(fact, attestation))
            case Provenance():
                self.provenance.append(Attested(fact, attestation))
            case VexDocument():
                self.vex.append(AttestedVex(fact, attestation, expires_at))

    def evidence(self, stale_since: datetime | None) -> Evidence:
        return Evidence(
            attestations=tuple(self.attestations),
            scans=tuple(self.scans),
            evaluations=tuple(self.evaluations),
            lint=tuple(self.lint),
            sboms=tuple(self.sboms),
            provenance=tuple(self.provenance),
            vex=tuple(self.vex),
            stale_since=stale_since,
        )


@dataclass(frozen=True, slots=True)
class _Signed:
    """Who signed something, and when. ``beside`` signed the same elsewhere."""

    verdicts: tuple[Verified, ...]
    beside: tuple[Signer, ...] = ()

    @property
    def signers(self) -> tuple[Signer, ...]:
        return tuple(signer for verdict in self.verdicts for signer in verdict.signers)

    def by(self, signer: Signer) -> Verified:
        return next(verdict for verdict in self.verdicts if signer in verdict.signers)


def is_signature(verdict: Verified, trust: Trust) -> bool:
    """Whether it says that a digest was signed, and nothing beyond that."""
    return trust.classes(verdict.statement.predicate_type)[0] is PredicateClass.SIGNATURE


def signatures_among(seals: Iterable[Verified | Rejected], trust: Trust) -> tuple[Verified, ...]:
    """Those that hold and are signatures of the digest itself, whoever may speak of what."""
    return tuple(one for one in seals if isinstance(one, Verified) and one.signers and is_signature(one, trust))


class Concluding:
    """Draws the conclusions of one image.

    Args:
        found: what is attached to the image, judged.
        seals: verdicts on what may sign a digest that leads to what is not signed by itself.
        now: of the decision.
    """

    def __init__(
        self,
        *,
        image: ResolvedImage,
        trust: Trust,
        found: Sequence[tuple[Found, Judged]],
        seals: Mapping[Digest, Sequence[Verified | Rejected]],
        now: datetime,
    ) -> None:
        self._image = image
        self._trust = trust
        self._found = found
        self._now = now
        self._seals = seals
        self._pools: dict[_Pool, list[Signer]] = {}
        for one, judged in found:
            if isinstance(judged.verdict, Verified):
                self._pools.setdefault(self._pool(one, judged.verdict), []).extend(judged.verdict.signers)
        self._lists = _Lists()

    def evidence(self, stale_since: datetime | None) -> Evidence:
        """All lists, in the order in which things were found; VEX and marks are not applied."""
        for found, judged in self._found:
            self._conclude(found, judged)
        return self._lists.evidence(stale_since)

    def _conclude(self, found: Found, judged: Judged) -> None:
        verdict = judged.verdict
        if isinstance(verdict, Rejected):
            self._reject(found, self._main(verdict.predicate_type), verdict)
            return
        signed = self._signed(found, verdict)
        for read in _worth_saying(judged.classes):
            if isinstance(signed, EvidenceError):
                self._refuse(found, read, verdict, signed, None)
                return
            try:
                self._accept(found, read, verdict, signed)
            except EvidenceError as error:
                self._refuse(found, read, verdict, error, next(iter(signed.signers), None))

    def _accept(self, found: Found, read: ReadClass, verdict: Verified, signed: _Signed) -> None:
        """Raises EvidenceError: it is not accepted, or cannot be read, or is of something else."""
        repository, subject = self._image.reference.repository, found.place.subject
        acceptance = self._trust.accept(repository, read.about, signed.signers, signed.beside)
        if read.fault is not None:
            raise EvidenceError(read.fault.message, read.fault.reason)
        signed_at = signed.by(acceptance.signer).signed_at
        for fact in read.facts:
            _require_made_before(fact, signed_at)  # (4)
            _require_not_ahead(fact, self._now)  # (5)
        platforms = [require_fact_of(fact, self._image, subject) for fact in read.facts]
        whole = platforms[0] if len(set(platforms)) == 1 else platform_of(subject, self._image)
        attestation = self._accepted(found, read.about, verdict, signed, acceptance, whole)
        self._lists.attestations.append(attestation)
        said = (verdict.payload, subject, read.about, acceptance.signer.name)
        if verdict.payload and said in self._lists.said:
            return
        self._lists.said.add(said)
        for fact, platform in zip(read.facts, platforms, strict=True):
            expires_at = self._expires_at(fact, acceptance.max_age)
            self._lists.add(fact, replace(attestation, platform=platform), expires_at)

    def _signed(self, found: Found, verdict: Verified) -> _Signed | EvidenceError:
        """Who signed it: (1) by itself or (2) through what leads to it; or why nobody did."""
        if found.sealed_by is None:
            return _Signed((verdict,), tuple(self._pools[self._pool(found, verdict)]))  # (1) (3)
        seals = self._seals.get(found.sealed_by, ())
        signatures = signatures_among(seals, self._trust)
        if not signatures:
            return _unsigned(found, seals)
        return _Signed(signatures)  # (2) (3)

    def _pool(self, found: Found, verdict: Verified) -> _Pool:
        """What else says the same as this: (3)."""
        if is_signature(verdict, self._trust):
            return "signature", found.place.subject
        return f"payload {verdict.payload or found.digest}", found.place.subject

    def _main(self, predicate_type: str) -> PredicateClass:
        return self._trust.classes(predicate_type)[0] if predicate_type else PredicateClass.OTHER

    def _expires_at(self, fact: ReadFact, max_age: timedelta | None) -> datetime | None:
        """Until when VEX counts. A document without a time would count for ever."""
        if max_age is None or not isinstance(fact, VexDocument):
            return None
        return LONG_AGO if fact.issued_at is None else fact.issued_at + max_age

    def _refuse(
        self, found: Found, read: ReadClass, verdict: Verified, error: EvidenceError, signer: Signer | None
    ) -> None:
        rejected = Rejected(error.reason, error.message, verdict.statement.predicate_type, signer)
        self._reject(found, read.about, rejected)

    def _reject(self, found: Found, about: PredicateClass, verdict: Rejected) -> None:
        self._lists.attestations.append(
            Attestation(
                verified=False,
                reason=verdict.reason,
                message=verdict.message,
                predicate_type=verdict.predicate_type,
                predicate_class=about,
                signer=verdict.signer,
                carrier=found.kind,
                digest=found.digest,
                subject=found.place.subject,
                platform=platform_of(found.place.subject, self._image),
                signed_at=None,
                repository=self._elsewhere(found),
            )
        )

    def _accepted(
        self,
        found: Found,
        about: PredicateClass,
        verdict: Verified,
        signed: _Signed,
        acceptance: Acceptance,
        platform: Platform | None,
    ) -> Attestation:
        signature = signed.by(acceptance.signer)
        return Attestation(
            verified=True,
            reason="",
            message="",
            predicate_type=verdict.statement.predicate_type,
            predicate_class=about,
            signer=acceptance.signer,
            carrier=found.kind,
            digest=found.digest,
            subject=found.place.subject,
            platform=platform,
            signed_at=signature.signed_at,
            logged=signature.logged,
            repository=self._elsewhere(found),
        )

    def _elsewhere(self, found: Found) -> str:
        there = found.place.repository
        return "" if there == self._image.reference.repository else str(there)


def _worth_saying(classes: Sequence[ReadClass]) -> Sequence[ReadClass]:
    """Of a statement that is about several classes, those of which it holds anything; the first where it holds nothing.

    That something is no report of a class is said only where it is of none. That a part of it is broken or too large is
    said in any case: it may be the part that says no.
    """
    holding = [one for one in classes if one.facts]
    broken = [one for one in classes if one.fault is not None]
    if holding:
        broken = [one for one in broken if one.fault is not None and one.fault.reason != ATTESTATION_UNSUPPORTED]
    else:
        broken = broken[:1]
    kept = [one for one in classes if one in holding or one in broken]
    return kept or classes[:1]


def _require_made_before(fact: ReadFact, signed_at: datetime | None) -> None:
    """Raises EvidenceError: it says that it was made after it was signed."""
    made_at = _made_at(fact)
    if made_at is not None and signed_at is not None and made_at > signed_at + AHEAD:
        raise EvidenceError(
            f"it says that it was made at {rfc3339(made_at, 'seconds')}, and was signed at "
            f"{rfc3339(signed_at, 'seconds')} already",
            ATTESTATION_INVALID,
        )


def _require_not_ahead(fact: ReadFact, now: datetime) -> None:
    """Raises EvidenceError: VEX says that it was made in the future. The latest word of a signer counts, and it would
    outweigh whatever he says until then. Scans from the future stay facts, which policies refuse."""
    made_at = _made_at(fact) if isinstance(fact, VexDocument) else None
    if made_at is not None and made_at > now + AHEAD:
        raise EvidenceError(
            f"it says that it was made in the future, at {rfc3339(made_at, 'seconds')}", ATTESTATION_INVALID
        )


def _made_at(fact: ReadFact) -> datetime | None:
    """By its own word; None for provenance, which may be signed while the build goes on."""
    match fact:
        case ScanReport():
            return fact.scanned_at
        case Evaluation():
            return fact.evaluated_at
        case LintReport():
            return fact.linted_at
        case Sbom():
            return fact.created_at
        case VexDocument():
            # Each statement may have a time of its own, by which it is weighed.
            times = {fact.issued_at, *(one.issued_at for one in fact.statements)}
            return max((moment for moment in times if moment is not None), default=None)
        case _:
            return None


def _unsigned(found: Found, seals: Iterable[Verified | Rejected]) -> EvidenceError:
    if found.kind is CarrierKind.INDEX:
        what = f"the statement in the index is not signed, and no signature of the index {found.sealed_by} holds"
    else:
        what = (
            "it is not signed: anybody who can push can write it, and no signature of its manifest "
            f"{found.manifest} holds"
        )
    refused = next((seal.message for seal in seals if isinstance(seal, Rejected)), "")
    return EvidenceError(f"{what} ({refused})" if refused else what, ATTESTATION_UNSIGNED)
