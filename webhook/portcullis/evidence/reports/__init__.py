"""Scanner reports, one file per scanner, into one ScanReport."""

from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.vuln import parse_vuln
from portcullis.evidence.statement import COSIGN_VULN, COSIGN_VULN_OLD
from portcullis.limits import Limits
from portcullis.model.evidence import ScanReport, Statement


def parse_report(statement: Statement, limits: Limits) -> ScanReport:
    """The vulnerability report in a verified statement; the signed predicate type chooses the parser.

    Raises:
        EvidenceError: a predicate or report that is not read (attestation-unsupported), is not what it says
            (attestation-invalid), or is over a limit (too-large).
    """
    if statement.predicate_type in {COSIGN_VULN, COSIGN_VULN_OLD}:
        return parse_vuln(statement.predicate, limits)
    raise ReportError(
        f"vulnerability predicates of type {shown(statement.predicate_type)} are not read", ATTESTATION_UNSUPPORTED
    )
