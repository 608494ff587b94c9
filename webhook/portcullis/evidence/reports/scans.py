"""Scanners' reports of whatever form, by their shape."""

from collections.abc import Callable, Mapping

from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError
from portcullis.evidence.reports.anchore import read_anchore
from portcullis.evidence.reports.clair import read_clair
from portcullis.evidence.reports.cyclonedx import read_cyclonedx_scan
from portcullis.evidence.reports.formats import Format, detect
from portcullis.evidence.reports.gitlab import read_gitlab
from portcullis.evidence.reports.grype import read_grype
from portcullis.evidence.reports.sarif import read_sarif_scan
from portcullis.evidence.reports.trivy import read_trivy
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, ScanReport

Reader = Callable[[bytes, Limits], ScanReport | Evaluation | None]

SCANNERS: Mapping[Format, Reader] = {
    Format.TRIVY: read_trivy,
    Format.GRYPE: read_grype,
    Format.ANCHORE: read_anchore,
    Format.CLAIR: read_clair,
    Format.SARIF: read_sarif_scan,
    Format.GITLAB: read_gitlab,
    Format.CYCLONEDX: read_cyclonedx_scan,
}
"""Readers of what a scanner itself writes. None: a bill of materials in which nobody looked for vulnerabilities."""


def read_scan(content: bytes, limits: Limits) -> ScanReport | Evaluation:
    """The scanner's report in ``content``.

    Raises:
        EvidenceError: of no form that is read, or no scanner's (attestation-unsupported), of another shape
            (attestation-invalid), over a limit (too-large).
    """
    form = detect(content, limits)
    reader = SCANNERS.get(form)
    fact = None if reader is None else reader(content, limits)
    if fact is None:
        raise ReportError(
            f"it is of the form {form}, and no scanner's report of vulnerabilities", ATTESTATION_UNSUPPORTED
        )
    return fact
