"""in-toto's vulnerability predicate, versions 0.1 and 0.2 (in-toto/attestation, spec/predicates/vulns_01.md and
vulns_02.md): ids and severities. It names no packages and no fixes, so that no rule about either can be served by it.

The text of version 0.1 and its example differ on where the id stands; both places are read.
"""

import re
from collections.abc import Iterator

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ReportError
from portcullis.evidence.reports.cvss import base_score
from portcullis.evidence.reports.findings import require_few_findings, unique
from portcullis.evidence.reports.severity import RANK, cvss_score, severity_of, severity_of_score
from portcullis.evidence.reports.wrapped import Database, ScanTimes
from portcullis.evidence.times import oldest
from portcullis.limits import Limits
from portcullis.model.evidence import ScanReport, Severity, Vulnerability

_WHAT = "the predicate"
_KNOWN = re.compile(r"\b(?:trivy|grype|anchore|clair|docker[ -]scout|scout)\b", re.ASCII)
_NAMES = {"scout": "docker-scout", "docker scout": "docker-scout"}


class _Severity(msgspec.Struct, gc=False):
    score: str | float | None = None


class _Named(msgspec.Struct, gc=False):
    id: str | None = None
    severity: list[_Severity] | _Severity | None = None


class _Row(msgspec.Struct, gc=False):
    id: str | None = None
    severity: list[_Severity] | _Severity | None = None
    vulnerability: _Named | None = None


class _Scanner(msgspec.Struct):
    uri: str | None = None
    version: str | None = None
    database: Database | None = msgspec.field(default=None, name="db")
    result: list[_Row] | None = None


class _Predicate(msgspec.Struct):
    scanner: _Scanner | None = None
    metadata: ScanTimes | None = None


def read_vulns(predicate: bytes, limits: Limits) -> ScanReport:
    """The report in the predicate. An empty list of results is a clean scan; none at all is an incomplete one.

    The severity is the worst that any method gives: as a word, a score, or a CVSS 3 vector. The scanner is known by
    its ``uri`` alone.

    Raises:
        EvidenceError: not such a predicate, or a result without an id (attestation-invalid); too many (too-large).
    """
    document = decode_typed(predicate, _Predicate, _WHAT)
    scanner, metadata = document.scanner, document.metadata or ScanTimes()
    if scanner is None:
        raise ReportError("the predicate's scanner is missing")
    rows = scanner.result
    require_few_findings(len(rows or ()), limits)
    return ScanReport(
        scanner=_scanner_name(scanner.uri or ""),
        scanner_version=scanner.version or "",
        db_built_at=(scanner.database or Database()).updated,
        scanned_at=oldest(*metadata.both),
        complete=rows is not None,
        incomplete_because="" if rows is not None else "the predicate has no list of results",
        vulnerabilities=unique(_finding(row) for row in rows or ()),
        format="in-toto-vulns",
    )


def _scanner_name(uri: str) -> str:
    """The name of a scanner that is known by one, in a URL or package URL; else the URI itself."""
    text = uri.strip().lower()
    known = _KNOWN.findall(text)
    # The last, as makers' names stand before those of their tools: anchore/grype.
    return _NAMES.get(known[-1], known[-1]) if known else text


def _finding(row: _Row) -> Vulnerability:
    named = row.vulnerability or _Named()
    name = row.id or named.id
    if not name:
        raise ReportError("a result of the predicate has no id")
    severity, score = _graded([*_listed(row.severity), *_listed(named.severity)])
    return Vulnerability(id=name, severity=severity, score=score)


def _listed(severity: list[_Severity] | _Severity | None) -> Iterator[str | float]:
    """Version 0.1 shows one object, version 0.2 a list."""
    for one in severity if isinstance(severity, list) else (severity,):
        if one is not None and one.score is not None:
            yield one.score


def _graded(said: list[str | float]) -> tuple[Severity, float | None]:
    scores: list[float] = []
    severities: list[Severity] = []
    for one in said:
        score = cvss_score(one)
        if score is None and isinstance(one, str):
            score = base_score(one)
        if score is not None:
            scores.append(score)
            severities.append(severity_of_score(score))
        elif isinstance(one, str):
            severities.append(severity_of(one))
    return min(severities, key=RANK.__getitem__, default=Severity.UNKNOWN), max(scores, default=None)
