"""The part of the policy document that says what was signed about an image.

Whatever stands in these lists is verified and was accepted by the trust rules; what was rejected stands in
``attestations`` alone, with its reason.
"""

from collections.abc import Sequence
from datetime import datetime

from portcullis.model.evidence import (
    Attestation,
    Attested,
    AttestedScan,
    AttestedVex,
    Evaluation,
    Evidence,
    LintReport,
    Provenance,
    Sbom,
    ScanReport,
    Signer,
    VexDocument,
    VexMark,
    VexStatus,
    Vulnerability,
)
from portcullis.model.image import Digest, Platform, PlatformImage, ResolvedImage
from portcullis.policy.plain import JSON, age_hours, optional_text, optional_time

LEVELS = ("error", "warning", "info", "style")
"""Those of Hadolint, the gravest first."""

FAVOURABLE = frozenset({VexStatus.NOT_AFFECTED, VexStatus.FIXED})
"""Statuses that set a finding aside."""


def evidence_of(evidence: Evidence | None, image: ResolvedImage | None, now: datetime, *, components: bool) -> JSON:
    """The lists of ``input.images[...]`` that come from attestations; empty ones without evidence.

    Args:
        components: whether the components of SBOMs are wanted; a large image has thousands.
    """
    found = evidence or Evidence()
    return {
        "attestations": [_attestation(one) for one in found.attestations],
        "scans": [_scan(one, image, now) for one in found.scans],
        "evaluations": [_evaluation(one, image, now) for one in found.evaluations],
        "lint": [_lint(one, now) for one in found.lint],
        "sboms": [_sbom(one, image, now, components=components) for one in found.sboms],
        "provenance": [_provenance(one, now) for one in found.provenance],
        "vex": [_vex(one, now) for one in found.vex],
    }


def _signer(signer: Signer | None) -> JSON | None:
    if signer is None:
        return None
    return {"name": signer.name, "kind": signer.kind, "issuer": signer.issuer, "identity": signer.identity}


def _attestation(attestation: Attestation) -> JSON:
    return {
        "verified": attestation.verified,
        "reason": attestation.reason,
        "message": attestation.message,
        "predicateType": attestation.predicate_type,
        "predicateClass": str(attestation.predicate_class),
        "signer": _signer(attestation.signer),
        "carrier": str(attestation.carrier),
        "digest": str(attestation.digest),
        "subject": str(attestation.subject),
        "platform": optional_text(attestation.platform),
        "signedAt": optional_time(attestation.signed_at),
        "logged": attestation.logged,
        "repository": attestation.repository,
    }


def _origin(attestation: Attestation) -> JSON:
    """Which image, who signed it, and which of ``attestations`` it is."""
    return {
        "platform": optional_text(attestation.platform),
        "signer": _signer(attestation.signer),
        "attestation": str(attestation.digest),
    }


def _named_platform(attestation: Attestation, digests: Sequence[Digest], image: ResolvedImage | None) -> str | None:
    """That of the attestation, else the one of the image whose digest a document names."""
    if attestation.platform is not None or image is None:
        return optional_text(attestation.platform)
    named = {one.platform for one in image.platforms if one.digest in digests}
    return str(*named) if len(named) == 1 else None


# -- scans ----------------------------------------------------------------------------------------------------


def _scan(scan: AttestedScan, image: ResolvedImage | None, now: datetime) -> JSON:
    platform, conflict = _scanned_platform(scan.report, image)
    return {
        **_origin(scan.attestation),
        **scan_fields(scan.report, now),
        "platform": optional_text(platform),
        "complete": scan.report.complete and not conflict,
        "incompleteBecause": conflict or scan.report.incomplete_because,
        "newerSeen": optional_time(scan.newer_seen),
        "markKnown": scan.mark_known,
    }


def scan_fields(report: ScanReport, now: datetime) -> JSON:
    """What the report itself says."""
    system = report.system
    counts = dict(report.counts())
    counts["setAside"] = sum(1 for one in report.vulnerabilities if one.vex is not None and _sets_aside(one.vex, now))
    return {
        "scanner": {
            "name": report.scanner,
            "version": report.scanner_version,
            "dbBuiltAt": optional_time(report.db_built_at),
        },
        "format": report.format,
        "scannedAt": optional_time(report.scanned_at),
        "ageHours": age_hours(report.scanned_at, now),
        "dbAgeHours": age_hours(report.db_built_at, now),
        "platform": optional_text(report.platform),
        "suppressed": report.suppressed,
        "suppressions": [{"id": one.id, "package": one.package, "why": one.why} for one in report.suppressions],
        "filters": list(report.filters),
        "complete": report.complete,
        "incompleteBecause": report.incomplete_because,
        "system": None
        if system is None
        else {"family": system.family, "version": system.version, "endOfLife": system.end_of_life},
        "packages": report.packages,
        "counts": counts,
        # Most have neither a VEX statement nor a date, and are written as they are.
        "vulnerabilities": [
            one if one.vex is None and one.available is None else _vulnerability(one, now)
            for one in report.vulnerabilities
        ],
    }


def _vulnerability(finding: Vulnerability, now: datetime) -> JSON:
    return {
        "id": finding.id,
        "aliases": finding.aliases,
        "package": finding.package,
        "purl": finding.purl,
        "installed": finding.installed,
        "fixed": finding.fixed,
        "severity": finding.severity,
        "score": finding.score,
        "state": finding.state,
        "path": finding.path,
        "exploited": finding.exploited,
        "epss": finding.epss,
        "available": optional_time(finding.available),
        "vex": None if finding.vex is None else _mark(finding.vex, now),
    }


def _mark(mark: VexMark, now: datetime) -> JSON:
    return {
        "status": str(mark.status),
        "justification": mark.justification,
        "impact": mark.impact,
        "signer": _signer(mark.signer),
        "attestation": str(mark.attestation),
        "issuedAt": optional_time(mark.issued_at),
        "ageHours": age_hours(mark.issued_at, now),
        **_expiry(mark.expires_at, now),
    }


def _expiry(instant: datetime | None, now: datetime) -> JSON:
    return {"expiresAt": optional_time(instant), "expired": _expired(instant, now)}


def _expired(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant <= now


def _sets_aside(mark: VexMark, now: datetime) -> bool:
    return mark.status in FAVOURABLE and not _expired(mark.expires_at, now)


def _scanned_platform(report: ScanReport, image: ResolvedImage | None) -> tuple[Platform | None, str]:
    """The one platform that a report is about (None: it does not say), and why the report cannot clear the image
    ("" where it can).

    Scanners look at one platform even where they are given an index. Which one, the digests in the report say
    best, then its architecture; the variant is often left out. A platform that is among those of the image is
    returned in the image's own spelling, so that policies can compare texts.
    """
    platforms = image.platforms if image is not None else ()
    named = {
        one.platform
        for one in platforms
        if one.digest in report.target_digests or one.config_digest == report.target_image_id
    }
    if len(named) == 1:
        (platform,) = named
        if report.platform is None or report.platform.fits(platform):
            return platform, _shared(platform, platforms)
        return platform, f"it names the image of {platform} and says that it looked at {report.platform}"
    if report.platform is None:
        several = len({one.digest for one in platforms}) > 1
        return None, f"it does not say at which of {len(platforms)} platforms it looked" if several else ""
    alike = {one.platform for one in platforms if report.platform.fits(one.platform)}
    platform = next(iter(alike)) if len(alike) == 1 else report.platform
    return platform, _shared(platform, platforms)


def _shared(platform: Platform, platforms: Sequence[PlatformImage]) -> str:
    """An index may list several images for one platform; runtimes choose one, and the scanner perhaps another."""
    count = len({one.digest for one in platforms if one.platform == platform})
    return f"there are {count} images for {platform}, and it looked at one of them" if count > 1 else ""


def _evaluation(attested: Attested[Evaluation], image: ResolvedImage | None, now: datetime) -> JSON:
    return {
        **evaluation_fields(attested.fact, now),
        **_origin(attested.attestation),
        "platform": _named_platform(attested.attestation, attested.fact.target_digests, image),
    }


def evaluation_fields(verdict: Evaluation, now: datetime) -> JSON:
    """What the verdict itself says."""
    return {
        "tool": verdict.tool,
        "policy": verdict.policy,
        "passed": verdict.passed,
        "action": verdict.action,
        "evaluatedAt": optional_time(verdict.evaluated_at),
        "ageHours": age_hours(verdict.evaluated_at, now),
        "checks": [
            {"gate": one.gate, "trigger": one.trigger, "action": one.action, "message": one.message}
            for one in verdict.checks
        ],
    }


# -- what else is signed ----------------------------------------------------------------------------------------


def _lint(attested: Attested[LintReport], now: datetime) -> JSON:
    return {**lint_fields(attested.fact, now), **_origin(attested.attestation)}


def lint_fields(report: LintReport, now: datetime) -> JSON:
    """What the report itself says."""
    counts = dict.fromkeys(LEVELS, 0)
    for finding in report.findings:
        counts[finding.level] += 1
    return {
        "tool": {"name": report.tool, "version": report.tool_version},
        "lintedAt": optional_time(report.linted_at),
        "ageHours": age_hours(report.linted_at, now),
        "dockerfile": report.dockerfile,
        "suppressed": report.suppressed,
        "complete": report.complete,
        "incompleteBecause": report.incomplete_because,
        "counts": counts,
        "findings": [
            {"rule": one.rule, "level": one.level, "file": one.file, "line": one.line, "message": one.message}
            for one in report.findings
        ],
    }


def _sbom(attested: Attested[Sbom], image: ResolvedImage | None, now: datetime, *, components: bool) -> JSON:
    return {
        **sbom_fields(attested.fact, now, components=components),
        **_origin(attested.attestation),
        "platform": _named_platform(attested.attestation, attested.fact.target_digests, image),
    }


def sbom_fields(sbom: Sbom, now: datetime, *, components: bool) -> JSON:
    """What the bill itself says."""
    return {
        "format": sbom.format,
        "specVersion": sbom.spec_version,
        "createdAt": optional_time(sbom.created_at),
        "ageHours": age_hours(sbom.created_at, now),
        "tools": list(sbom.tools),
        "componentCount": len(sbom.components),
        "components": list(sbom.components) if components else None,
    }


def _provenance(attested: Attested[Provenance], now: datetime) -> JSON:
    return {**provenance_fields(attested.fact, now), **_origin(attested.attestation)}


def provenance_fields(said: Provenance, now: datetime) -> JSON:
    """What the provenance itself says."""
    return {
        "version": said.version,
        "buildType": said.build_type,
        "builder": said.builder,
        "source": said.source,
        "sourceRef": said.source_ref,
        "sourceDigest": said.source_digest,
        "entryPoint": said.entry_point,
        "invocation": said.invocation,
        "startedAt": optional_time(said.started_at),
        "finishedAt": optional_time(said.finished_at),
        "ageHours": age_hours(said.finished_at or said.started_at, now),
        "complete": said.complete,
        "materials": [{"uri": one.uri, "digest": one.digest} for one in said.materials],
    }


def _vex(attested: AttestedVex, now: datetime) -> JSON:
    return {
        **vex_fields(attested.fact, now),
        **_expiry(attested.expires_at, now),
        **_origin(attested.attestation),
        "applied": attested.applied,
    }


def vex_fields(document: VexDocument, now: datetime) -> JSON:
    """What the document itself says."""
    return {
        "format": document.format,
        "id": document.id,
        "author": document.author,
        "version": document.version,
        "issuedAt": optional_time(document.issued_at),
        "ageHours": age_hours(document.issued_at, now),
        "statements": len(document.statements),
    }
