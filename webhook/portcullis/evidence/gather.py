"""Gathers what is attached to an image: found, fetched, verified, and bound to who may say it.

Nothing that was found is dropped in silence. Each attached thing ends as an Attestation that is verified, or that
says why it is not; what cannot be fetched fails the whole, because the part that is missing may be the one that
says no.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portcullis.errors import Malformed, NotFound, RegistryError, TooLarge
from portcullis.evidence.artifact import Artifact, read_artifact
from portcullis.evidence.refusal import (
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNSUPPORTED,
    REPORT_SUBJECT_MISMATCH,
    EvidenceError,
    ReportError,
    shown,
)
from portcullis.evidence.reports import parse_report
from portcullis.evidence.statement import classify
from portcullis.evidence.trust import Trust
from portcullis.limits import Limits
from portcullis.model.evidence import (
    Attestation,
    AttestedScan,
    Carrier,
    CarrierKind,
    Evidence,
    PredicateClass,
    Rejected,
    ScanReport,
    Verified,
)
from portcullis.model.image import Access, Descriptor, Digest, ResolvedImage
from portcullis.model.stale import stale_since
from portcullis.ports import Registry, Verifier
from portcullis.tasks import aside, together

_WIDTH = 4
"""Fetches of one image at once, and so attestations in memory at once."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """One attached thing, judged; ``report`` is set where it is a verified scan."""

    attestation: Attestation
    report: ScanReport | None = None


class EvidenceGatherer:
    """Gathers the attestations of an image from its registry.

    Args:
        registry: is asked for the referrers of the image's digest.
        verifier: judges signature and subject.
        trust: says who may speak of what about which image.
        limits: ``referrers``, ``attestation_bytes``, ``attestations_bytes``, ``json_depth``, ``findings``.
    """

    def __init__(self, *, registry: Registry, verifier: Verifier, trust: Trust, limits: Limits) -> None:
        self._registry = registry
        self._verifier = verifier
        self._trust = trust
        self._limits = limits

    async def gather(self, image: ResolvedImage, access: Access) -> Evidence:
        """All that is attached to ``image.digest``, in the order in which the registry lists it.

        Raises:
            RegistryError: something could not be fetched, or there is more of it than the limits allow
                (TooLarge). Attestations that are bad raise nothing: they are in the result with their reason.
        """
        kind, descriptors = await self._registry.referrers(image, None, access)
        self._check_count(len(descriptors), image)
        artifacts = await together(
            descriptors, lambda descriptor: self._artifact(image, descriptor, access), at_once=_WIDTH
        )
        self._check_count(sum(len(artifact.layers) for artifact in artifacts), image)
        self._check_bytes([layer for artifact in artifacts for layer in artifact.layers], image)
        found = await together(artifacts, lambda artifact: self._judge(image, kind, artifact, access), at_once=_WIDTH)
        findings = [finding for group in found for finding in group]
        return Evidence(
            attestations=tuple(finding.attestation for finding in findings),
            scans=tuple(
                AttestedScan(report=finding.report, attestation=finding.attestation)
                for finding in findings
                if finding.report is not None
            ),
            stale_since=stale_since(descriptors),
        )

    async def _artifact(self, image: ResolvedImage, descriptor: Descriptor, access: Access) -> Artifact:
        repository = image.reference.repository
        try:
            manifest = await self._registry.manifest(repository, descriptor.digest, access)
        except NotFound as error:
            raise _dangling(image, descriptor.digest, error) from error
        return read_artifact(manifest, descriptor, self._limits)

    async def _judge(
        self, image: ResolvedImage, kind: CarrierKind, artifact: Artifact, access: Access
    ) -> Sequence[_Finding]:
        def refuse(reason: str, message: str) -> Sequence[_Finding]:
            return [_Finding(_attestation(image, kind, artifact.digest, Rejected(reason, message)))]

        if artifact.fault is not None:
            return refuse(artifact.fault.reason, artifact.fault.message)
        if artifact.subject != image.digest:
            return refuse(ATTESTATION_SUBJECT_MISMATCH, "the manifest that carries it refers to another image")
        if not artifact.layers:
            return refuse(ATTESTATION_UNSUPPORTED, f"{shown(artifact.kind)} is no kind of attestation that is read")
        return [await self._judge_layer(image, kind, layer, access) for layer in artifact.layers]

    async def _judge_layer(
        self, image: ResolvedImage, kind: CarrierKind, layer: Descriptor, access: Access
    ) -> _Finding:
        carrier = Carrier(kind, layer.media_type, layer.digest, image.digest, await self._read(image, layer, access))
        verdict = await self._verifier.verify(carrier, image.digest)
        if isinstance(verdict, Rejected):
            return _Finding(_attestation(image, kind, layer.digest, verdict))
        about = classify(verdict.statement.predicate_type)
        signer = verdict.signers[0]
        try:
            signer = self._trust.accept(image.reference.repository, about, verdict.signers)
            report = await self._report(image, verdict, len(carrier.content), about)
        except EvidenceError as error:
            rejected = Rejected(error.reason, error.message, verdict.statement.predicate_type, signer)
            return _Finding(_attestation(image, kind, layer.digest, rejected))
        accepted = _attestation(image, kind, layer.digest, replace(verdict, signers=(signer,)))
        return _Finding(accepted, report)

    async def _read(self, image: ResolvedImage, layer: Descriptor, access: Access) -> bytes:
        pieces: list[bytes] = []
        try:
            async for piece in self._registry.blob(image.reference.repository, layer.digest, layer.size, access):
                pieces.append(piece)  # noqa: PERF401  (an async comprehension would hide that this may raise midway)
        except NotFound as error:
            raise _dangling(image, layer.digest, error) from error
        return b"".join(pieces)

    async def _report(
        self, image: ResolvedImage, verdict: Verified, size: int, about: PredicateClass
    ) -> ScanReport | None:
        if about is not PredicateClass.VULNERABILITY:
            return None
        report = await aside(size, lambda: parse_report(verdict.statement, self._limits))
        require_report_of(report, image)
        return report

    def _check_count(self, count: int, image: ResolvedImage) -> None:
        if count > self._limits.referrers:
            raise TooLarge(
                f"{count} attestations are attached to {shown(image.reference)}; the limit referrers is "
                f"{self._limits.referrers}"
            )

    def _check_bytes(self, layers: Sequence[Descriptor], image: ResolvedImage) -> None:
        """By the sizes that the manifests name, before anything is fetched; no more than that is read."""
        largest = max((layer.size for layer in layers), default=0)
        if largest > self._limits.attestation_bytes:
            raise TooLarge(
                f"an attestation of {shown(image.reference)} has {largest} bytes; the limit attestationBytes is "
                f"{self._limits.attestation_bytes}"
            )
        total = sum(layer.size for layer in layers)
        if total > self._limits.attestations_bytes:
            raise TooLarge(
                f"the attestations of {shown(image.reference)} have {total} bytes; the limit attestationsBytes is "
                f"{self._limits.attestations_bytes}"
            )


def require_report_of(report: ScanReport, image: ResolvedImage) -> None:
    """A report must be of the image that its statement is about: otherwise a pipeline that signs the wrong file
    clears the right image.

    The image is known by the digests in the report (those of the index or of one of its platforms) or, where it
    has none because an archive was scanned, by the image's configuration.

    Raises:
        ReportError: it is of another image, or does not say of which (report-subject-mismatch).
    """
    if report.target_digests:
        if not {image.digest, *(platform.digest for platform in image.platforms)}.isdisjoint(report.target_digests):
            return
        raise ReportError(f"the report is of the image {report.target_digests[0]}", REPORT_SUBJECT_MISMATCH)
    if not report.target_image_id:
        raise ReportError("the report does not say of which image it is", REPORT_SUBJECT_MISMATCH)
    if report.target_image_id not in {platform.config_digest for platform in image.platforms}:
        raise ReportError(
            f"the report is of an image with the configuration {report.target_image_id}", REPORT_SUBJECT_MISMATCH
        )


def _attestation(image: ResolvedImage, kind: CarrierKind, digest: Digest, verdict: Verified | Rejected) -> Attestation:
    predicate_type = verdict.statement.predicate_type if isinstance(verdict, Verified) else verdict.predicate_type
    return Attestation(
        verified=isinstance(verdict, Verified),
        reason="" if isinstance(verdict, Verified) else verdict.reason,
        message="" if isinstance(verdict, Verified) else verdict.message,
        predicate_type=predicate_type,
        predicate_class=classify(predicate_type),
        signer=verdict.signers[0] if isinstance(verdict, Verified) else verdict.signer,
        carrier=kind,
        digest=digest,
        subject=image.digest,
        platform=None if image.is_index or not image.platforms else image.platforms[0].platform,
        signed_at=verdict.signed_at if isinstance(verdict, Verified) else None,
    )


def _dangling(image: ResolvedImage, digest: Digest, error: RegistryError) -> Malformed:
    """The registry listed it and does not have it; "image not found" would send people to look for the image."""
    return Malformed(
        f"the registry lists {digest} as attached to {shown(image.reference)} but does not have it: {error.message}"
    )
