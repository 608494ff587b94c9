"""Cosign's vulnerability predicate (sigstore/cosign, COSIGN_VULN_ATTESTATION_SPEC.md): a scanner's own report, of
whatever form, with the times of the scan around it."""

from dataclasses import replace

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ReportError
from portcullis.evidence.reports.scans import read_scan
from portcullis.evidence.reports.wrapped import dated
from portcullis.evidence.times import oldest, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, ScanReport

_WHAT = "the predicate"


class _Database(msgspec.Struct):
    updated: str | None = msgspec.field(default=None, name="lastUpdate")


class _Scanner(msgspec.Struct):
    version: str | None = None
    database: _Database | None = msgspec.field(default=None, name="db")
    result: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct):
    started: str | None = msgspec.field(default=None, name="scanStartedOn")
    finished: str | None = msgspec.field(default=None, name="scanFinishedOn")


class _Predicate(msgspec.Struct):
    scanner: _Scanner | None = None
    metadata: _Metadata | None = None


def read_vuln(predicate: bytes, limits: Limits) -> ScanReport | Evaluation:
    """The report in the predicate, in the one normal form.

    Its time is the oldest of the report's own and the predicate's, and so is the age of the database. Who scanned is
    what the report shows, whatever ``scanner.uri`` says; the version is the report's own, else the predicate's.

    Raises:
        EvidenceError: not such a predicate, or a scanner's report that is not read.
    """
    document = decode_typed(predicate, _Predicate, _WHAT)
    scanner, metadata = document.scanner, document.metadata or _Metadata()
    if scanner is None:
        raise ReportError("the predicate's scanner is missing")
    content = bytes(scanner.result)
    if content in (b"", b"null"):
        raise ReportError("the predicate holds no report (scanner.result is missing or null)")
    if content[:1] == b'"':
        raise ReportError("scanner.result is a text, not a report")
    report = dated(
        read_scan(content, limits),
        parse_time(metadata.started, "metadata.scanStartedOn"),
        parse_time(metadata.finished, "metadata.scanFinishedOn"),
    )
    if isinstance(report, Evaluation):
        return report
    updated = parse_time((scanner.database or _Database()).updated, "scanner.db.lastUpdate")
    return replace(
        report,
        scanner_version=report.scanner_version or scanner.version or "",
        db_built_at=oldest(report.db_built_at, updated),
    )
