"""Cosign's vulnerability predicate (sigstore/cosign, COSIGN_VULN_ATTESTATION_SPEC.md): a scanner's own report, of
whatever form, with the times of the scan around it."""

from dataclasses import replace

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ReportError
from portcullis.evidence.reports.scans import read_scan
from portcullis.evidence.reports.wrapped import Database, ScanTimes, dated
from portcullis.evidence.times import oldest
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, ScanReport

_WHAT = "the predicate"


class _Scanner(msgspec.Struct):
    version: str | None = None
    database: Database | None = msgspec.field(default=None, name="db")
    result: msgspec.Raw = msgspec.Raw(b"")


class _Predicate(msgspec.Struct):
    scanner: _Scanner | None = None
    metadata: ScanTimes | None = None


def read_vuln(predicate: bytes, limits: Limits) -> ScanReport | Evaluation:
    """The report in the predicate, in the one normal form.

    Its time is the oldest of the report's own and the predicate's, and so is the age of the database. Who scanned is
    what the report shows, whatever ``scanner.uri`` says; the version is the report's own, else the predicate's.

    Raises:
        EvidenceError: not such a predicate, or a scanner's report that is not read.
    """
    document = decode_typed(predicate, _Predicate, _WHAT)
    scanner, metadata = document.scanner, document.metadata or ScanTimes()
    if scanner is None:
        raise ReportError("the predicate's scanner is missing")
    content = bytes(scanner.result)
    if content in (b"", b"null"):
        raise ReportError("the predicate holds no report (scanner.result is missing or null)")
    if content[:1] == b'"':
        raise ReportError("scanner.result is a text, not a report")
    report = dated(read_scan(content, limits), *metadata.both)
    if isinstance(report, Evaluation):
        return report
    return replace(
        report,
        scanner_version=report.scanner_version or scanner.version or "",
        db_built_at=oldest(report.db_built_at, (scanner.database or Database()).updated),
    )
