"""Cosign's vulnerability predicate (sigstore/cosign, COSIGN_VULN_ATTESTATION_SPEC.md): a scanner's own report with
the times of the scan around it."""

from dataclasses import replace

from portcullis.evidence.decode import as_object, as_text
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError
from portcullis.evidence.reports.trivy import is_trivy, parse_trivy
from portcullis.evidence.times import oldest, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import ScanReport
from portcullis.model.json import JSONObject


def parse_vuln(predicate: JSONObject, limits: Limits) -> ScanReport:
    """The report in the predicate, in the one normal form.

    ``scanned_at`` is the oldest of the report's own time and the predicate's: ``trivy --format cosign-vuln``
    stamps the time of the conversion, which would make an old report look fresh. A time in the future is kept
    as it is; policies judge it.

    Raises:
        EvidenceError: not such a predicate, or a scanner's report that is not read.
    """
    scanner = as_object(predicate.get("scanner"), "the predicate's scanner")
    report = _parse_result(scanner.get("result"), limits)
    metadata = _object_or_empty(predicate.get("metadata"), "the predicate's metadata")
    database = _object_or_empty(scanner.get("db"), "the predicate's scanner.db")
    version = scanner.get("version")
    return replace(
        report,
        scanner_version=report.scanner_version or ("" if version is None else as_text(version, "scanner.version")),
        db_built_at=oldest(report.db_built_at, parse_time(database.get("lastUpdate"), "scanner.db.lastUpdate")),
        scanned_at=oldest(
            report.scanned_at,
            parse_time(metadata.get("scanStartedOn"), "metadata.scanStartedOn"),
            parse_time(metadata.get("scanFinishedOn"), "metadata.scanFinishedOn"),
        ),
    )


def _parse_result(result: object, limits: Limits) -> ScanReport:
    if result is None:
        raise ReportError("the predicate holds no report (scanner.result is missing or null)")
    if isinstance(result, list):
        raise ReportError(
            "scanner.result is a bare array, as Trivy before 0.20 wrote it; schema version 2 is supported",
            ATTESTATION_UNSUPPORTED,
        )
    document = as_object(result, "scanner.result")
    if not is_trivy(document):
        raise ReportError("scanner.result is no report of a known scanner (Trivy)", ATTESTATION_UNSUPPORTED)
    return parse_trivy(document, limits)


def _object_or_empty(value: object, what: str) -> JSONObject:
    return {} if value is None else as_object(value, what)
