"""Trivy's JSON report of a container image (``trivy image --format json``), schema versions 1 and 2.

What it cannot tell: a scan with ``--severity``, ``--ignore-unfixed`` or an ignore file gives a shorter report of
the same shape. Only who signs it can vouch for how it was made. Of schema version 1 (before 0.20) there are the
results alone: no time, and nothing of which image.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.findings import require_few_findings, unique
from portcullis.evidence.reports.imagenames import digest_in, digests_in
from portcullis.evidence.reports.severity import severity_of
from portcullis.evidence.times import parse_time, parse_time_or_epoch
from portcullis.limits import Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Suppression, Vulnerability
from portcullis.model.image import Platform

_WHAT = "the Trivy report"
_OS_PACKAGES = "os-pkgs"
_PACKAGE_CLASSES = frozenset({_OS_PACKAGES, "lang-pkgs", ""})
"""Results of a package scan; reports before 0.20 name no class."""
_OTHER_FINDINGS = frozenset({"misconfiguration", "secret", "license"})


class _Cvss(msgspec.Struct, gc=False):
    v2: float | None = msgspec.field(default=None, name="V2Score")
    v3: float | None = msgspec.field(default=None, name="V3Score")
    v4: float | None = msgspec.field(default=None, name="V40Score")

    def newest(self) -> float | None:
        """The score of the newest version of CVSS that has one."""
        score = self.v4 if self.v4 is not None else self.v3 if self.v3 is not None else self.v2
        return score if score is not None and 0 <= score <= 10 else None


class _Identifier(msgspec.Struct, gc=False):
    purl: str | None = msgspec.field(default=None, name="PURL")


class _Row(msgspec.Struct, gc=False):
    id: str | None = msgspec.field(default=None, name="VulnerabilityID")
    vendor_ids: list[str] | None = msgspec.field(default=None, name="VendorIDs")
    package: str | None = msgspec.field(default=None, name="PkgName")
    path: str | None = msgspec.field(default=None, name="PkgPath")
    identifier: _Identifier | None = msgspec.field(default=None, name="PkgIdentifier")
    installed: str | None = msgspec.field(default=None, name="InstalledVersion")
    fixed: str | None = msgspec.field(default=None, name="FixedVersion")
    status: str | None = msgspec.field(default=None, name="Status")
    severity: str | None = msgspec.field(default=None, name="Severity")
    source: str | None = msgspec.field(default=None, name="SeveritySource")
    cvss: dict[str, _Cvss] | None = msgspec.field(default=None, name="CVSS")


class _Modified(msgspec.Struct):
    type: str | None = msgspec.field(default=None, name="Type")
    status: str | None = msgspec.field(default=None, name="Status")
    statement: str | None = msgspec.field(default=None, name="Statement")
    source: str | None = msgspec.field(default=None, name="Source")
    finding: _Row | None = msgspec.field(default=None, name="Finding")


class _Package(msgspec.Struct):
    """Only counted."""


class _Result(msgspec.Struct):
    kind: str | None = msgspec.field(default=None, name="Class")
    packages: list[_Package] | None = msgspec.field(default=None, name="Packages")
    rows: list[_Row] | None = msgspec.field(default=None, name="Vulnerabilities")
    modified: list[_Modified] | None = msgspec.field(default=None, name="ExperimentalModifiedFindings")

    @property
    def of_packages(self) -> bool:
        return (self.kind or "") in _PACKAGE_CLASSES


class _System(msgspec.Struct):
    family: str | None = msgspec.field(default=None, name="Family")
    name: str | None = msgspec.field(default=None, name="Name")
    end_of_life: bool | None = msgspec.field(default=None, name="EOSL")


class _ImageConfig(msgspec.Struct):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None


class _Metadata(msgspec.Struct):
    system: _System | None = msgspec.field(default=None, name="OS")
    image_id: str | None = msgspec.field(default=None, name="ImageID")
    repo_digests: list[str] | None = msgspec.field(default=None, name="RepoDigests")
    config: _ImageConfig | None = msgspec.field(default=None, name="ImageConfig")


class _Database(msgspec.Struct):
    updated: str | None = msgspec.field(default=None, name="UpdatedAt")


class _Server(msgspec.Struct):
    database: _Database | None = msgspec.field(default=None, name="VulnerabilityDB")


class _Trivy(msgspec.Struct):
    version: str | None = msgspec.field(default=None, name="Version")
    server: _Server | None = msgspec.field(default=None, name="Server")


class _Report(msgspec.Struct):
    schema: Any = msgspec.field(default=None, name="SchemaVersion")
    artifact: Any = msgspec.field(default=None, name="ArtifactType")
    trivy: _Trivy | None = msgspec.field(default=None, name="Trivy")
    created: str | int | float | None = msgspec.field(default=None, name="CreatedAt")
    metadata: _Metadata | None = msgspec.field(default=None, name="Metadata")
    results: list[_Result] | None = msgspec.field(default=None, name="Results")


def read_trivy(content: bytes, limits: Limits) -> ScanReport:
    """Trivy's report in the one normal form. Findings are unique by id, package and installed version.

    Not complete is a report that shows neither an operating system nor a result of packages: of an image that Trivy
    does not know, and of a scan for something else, it has no findings either. Findings that Trivy was told to leave
    out, which it lists with ``--show-suppressed``, are counted in ``suppressed``.

    Raises:
        EvidenceError: another schema or artifact (attestation-unsupported), a shape that is not Trivy's
            (attestation-invalid), too many findings (too-large).
    """
    start = content.lstrip()[:1]
    if start != b"{":
        # Schema version 1: the bare results, and null where there are none.
        results = [] if start == b"n" else decode_typed(content, list[_Result], _WHAT)
        return _scan_report(_Report(results=results), limits)
    report = decode_typed(content, _Report, _WHAT)
    if type(report.schema) is not int or report.schema != 2:
        raise ReportError(
            f"the Trivy report is of schema version {shown(report.schema)}; 2, and the bare array of 1, are read",
            ATTESTATION_UNSUPPORTED,
        )
    if report.artifact != "container_image":
        raise ReportError(
            f"the Trivy report is of a {shown(report.artifact)}, not of a container image", ATTESTATION_UNSUPPORTED
        )
    return _scan_report(report, limits)


def _scan_report(report: _Report, limits: Limits) -> ScanReport:
    trivy, metadata, results = report.trivy or _Trivy(), report.metadata or _Metadata(), report.results or ()
    require_few_findings(sum(len(result.rows or ()) for result in results), limits)
    system = metadata.system
    looked = bool(system and system.family) or any(result.of_packages for result in results)
    modified = list(_modified(results))
    database = (trivy.server or _Server()).database or _Database()
    return ScanReport(
        scanner="trivy",
        scanner_version=trivy.version or "",
        db_built_at=parse_time(database.updated, "Trivy.Server.VulnerabilityDB.UpdatedAt"),
        scanned_at=parse_time_or_epoch(report.created, "CreatedAt"),
        target_digests=digests_in(metadata.repo_digests or ()),
        target_image_id=digest_in(metadata.image_id) or "",
        platform=_platform(metadata.config),
        suppressed=len(modified),
        complete=looked,
        incomplete_because="" if looked else "the scanner found no operating system and no packages to look at",
        vulnerabilities=unique([_finding(row) for result in results for row in result.rows or ()]),
        format="trivy-json",
        suppressions=tuple(_suppression(one) for one in modified[: limits.suppressions]),
        system=_system(system, results),
        packages=_packages(results),
    )


def _finding(row: _Row) -> Vulnerability:
    if not row.id:
        raise ReportError("a vulnerability of the Trivy report has no VulnerabilityID")
    if not row.package:
        raise ReportError("a vulnerability of the Trivy report has no PkgName")
    identifier, cvss = row.identifier, row.cvss
    # By position: names double the time of ten thousand calls.
    return Vulnerability(
        row.id,
        tuple(row.vendor_ids) if row.vendor_ids else (),
        row.package,
        "" if identifier is None else identifier.purl or "",
        row.installed or "",
        row.fixed or "",
        severity_of(row.severity),
        _score(cvss, row.source or "") if cvss else None,
        row.status or "",
        row.path or "",
    )


def _score(cvss: dict[str, _Cvss], source: str) -> float | None:
    """The score of the source that the severity was taken from, else the highest of any source."""
    chosen = cvss.get(source)
    if chosen is not None:
        score = chosen.v3 if chosen.v4 is None else chosen.v4
        if score is None or not 0 <= score <= 10:
            score = chosen.newest()
        if score is not None:
            return score
    # A loop takes half the time of max() and a generator.
    highest = None
    for one in cvss.values():
        score = one.newest()
        if score is not None and (highest is None or score > highest):
            highest = score
    return highest


def _modified(results: Sequence[_Result]) -> Iterator[_Modified]:
    for result in results:
        for one in result.modified or ():
            if one.type not in _OTHER_FINDINGS:
                yield one


def _suppression(one: _Modified) -> Suppression:
    row = one.finding or _Row()
    why = ": ".join(text for text in (one.status, one.statement) if text)
    return Suppression(id=row.id or "", package=row.package or "", why=f"{why} ({one.source})" if one.source else why)


def _system(system: _System | None, results: Sequence[_Result]) -> ScannedSystem | None:
    if system is None or not system.family:
        return None
    # Trivy leaves the field out where it is false, and where it did not look for packages of the system at all.
    looked = any(result.kind == _OS_PACKAGES for result in results)
    known = system.end_of_life if system.end_of_life is not None else (False if looked else None)
    return ScannedSystem(system.family, system.name or "", known)


def _packages(results: Sequence[_Result]) -> int | None:
    """None where the report lists none at all, as those without ``--list-all-pkgs`` do."""
    listed = [len(result.packages) for result in results if result.packages is not None and result.of_packages]
    return sum(listed) if listed else None


def _platform(config: _ImageConfig | None) -> Platform | None:
    if config is None or not config.os or not config.architecture:
        return None
    return Platform(config.os, config.architecture, config.variant or "")
