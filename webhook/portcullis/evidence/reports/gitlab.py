"""GitLab's container-scanning report (gitlab.com/gitlab-org/security-products/security-report-schemas), as Docker
Scout (``docker scout cves --format gitlab``), Trivy's template and GitLab's own analysers write it.

It has no field for a fixed version; the sentence "Upgrade NAME to VERSION" that these tools write is read.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.findings import other_names, require_few_findings
from portcullis.evidence.reports.following import each_once
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.reports.severity import severity_of
from portcullis.evidence.times import oldest, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Vulnerability

_WHAT = "the GitLab report"
_CONTAINER_SCANNING = frozenset({"container_scanning", "cluster_image_scanning"})
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_UPGRADE = re.compile(r"Upgrade (?:\S+) (?:from \S+ )?to (?:version )?(\S.*)")
_SYSTEM = re.compile(r"([A-Za-z][^\s:]*)[\s:]+(\S.*)")
_SYSTEM_CHARS = 200
_WEAKNESS = "cwe"
_NAMES = {"docker scout": "docker-scout", "scout": "docker-scout"}


class _Package(msgspec.Struct, gc=False):
    name: str | None = None


class _Dependency(msgspec.Struct, gc=False):
    package: _Package | None = None
    version: str | None = None


class _Location(msgspec.Struct, gc=False):
    dependency: _Dependency | None = None
    image: str | None = None
    system: str | None = msgspec.field(default=None, name="operating_system")


class _Identifier(msgspec.Struct, gc=False):
    type: str | None = None
    value: str | None = None


class _Scanner(msgspec.Struct, gc=False):
    id: str | None = None
    name: str | None = None
    version: str | None = None


class _Row(msgspec.Struct, gc=False):
    id: str | None = None
    cve: str | None = None
    """Older versions of the format have the name here."""
    category: str | None = None
    severity: str | None = None
    solution: str | None = None
    scanner: _Scanner | None = None
    location: _Location | None = None
    identifiers: list[_Identifier] | None = None


class _Scan(msgspec.Struct, gc=False):
    type: str | None = None
    status: str | None = None
    started: str | None = msgspec.field(default=None, name="start_time")
    ended: str | None = msgspec.field(default=None, name="end_time")
    scanner: _Scanner | None = None


class _Report(msgspec.Struct, gc=False):
    vulnerabilities: list[_Row]
    scan: _Scan | None = None


def read_gitlab(content: bytes, limits: Limits) -> ScanReport:
    """The findings in ``content``. Not complete is a report that does not say that its scan succeeded.

    Its times are in UTC, and mostly written without a zone.

    Raises:
        EvidenceError: of another kind of scan (attestation-unsupported), of another shape (attestation-invalid), or
            more findings than ``findings`` (too-large).
    """
    report = decode_typed(content, _Report, _WHAT)
    rows, scan = report.vulnerabilities, report.scan or _Scan()
    require_few_findings(len(rows), limits)
    for kind in (scan.type, *(row.category for row in rows)):
        if kind and kind not in _CONTAINER_SCANNING:
            raise ReportError(
                f"the GitLab report is of a {shown(kind)}, not of a container's scan", ATTESTATION_UNSUPPORTED
            )
    scanner = scan.scanner or next((row.scanner for row in rows if row.scanner is not None), _Scanner())
    succeeded = scan.status == "success"
    return ScanReport(
        scanner=_scanner_name(scanner),
        scanner_version=scanner.version or "",
        scanned_at=oldest(_time(scan.started, "scan.start_time"), _time(scan.ended, "scan.end_time")),
        target_digests=digests_in(row.location.image for row in rows if row.location is not None),
        complete=succeeded,
        incomplete_because="" if succeeded else f"the report gives its scan the status {shown(scan.status or '')}",
        vulnerabilities=each_once([_finding(row) for row in rows]),
        format="gitlab-json",
        system=_system(rows),
    )


def _scanner_name(scanner: _Scanner) -> str:
    name = (scanner.name or scanner.id or "").lower()
    return _NAMES.get(name, name)


def _time(value: str | None, what: str) -> datetime | None:
    return parse_time(f"{value}Z" if value and _LOCAL_TIME.fullmatch(value) else value, f"the report's {what}")


def _finding(row: _Row) -> Vulnerability:
    names = list(_names(row))
    if not names:
        raise ReportError("a vulnerability of the GitLab report has no name")
    location = row.location or _Location()
    dependency = location.dependency or _Dependency()
    upgrade = _UPGRADE.fullmatch((row.solution or "").strip().rstrip("."))
    return Vulnerability(
        id=names[0],
        aliases=other_names(names[0], names[1:]),
        package=dependency.package.name or "" if dependency.package is not None else "",
        installed=dependency.version or "",
        fixed=upgrade[1] if upgrade is not None else "",
        severity=severity_of(row.severity),
    )


def _names(row: _Row) -> Iterator[str]:
    """Its identifiers, a CVE first; weaknesses (CWE) are none. Without one the older field, or the row's id."""
    identifiers = [one for one in row.identifiers or () if one.value and (one.type or "").lower() != _WEAKNESS]
    identifiers.sort(key=lambda one: (one.type or "").lower() != "cve")
    names = dict.fromkeys(one.value for one in identifiers if one.value)
    yield from names or filter(None, [row.cve or row.id])


def _system(rows: Sequence[_Row]) -> ScannedSystem | None:
    """Of the first finding that names one, such as ``debian 12`` or ``debian:12``."""
    texts = ((row.location.system or "")[:_SYSTEM_CHARS] for row in rows if row.location is not None)
    found = next((match for text in texts if (match := _SYSTEM.fullmatch(text)) is not None), None)
    return None if found is None else ScannedSystem(found[1].lower(), found[2], None)
