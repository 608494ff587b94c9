"""What readers of referring formats share: in SARIF, CycloneDX and SPDX 3 a short reference can mean a long text."""

from collections.abc import Sequence

from portcullis.evidence.refusal import TOO_LARGE, ReportError
from portcullis.evidence.reports.findings import unique
from portcullis.limits import Limits
from portcullis.model.evidence import Vulnerability


class TextBudget:
    """How much text a report may come to when each reference in it is followed: ``document_bytes``, as what is over
    that is no policy input. Without it one long name to which a hundred thousand rows refer would fill the memory."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.document_bytes
        self._spent = 0

    def spend(self, *texts: str) -> None:
        """
        Raises:
            ReportError: all texts so far have more characters than ``document_bytes`` (too-large).
        """
        self._spent += sum(map(len, texts))
        if self._spent > self._limit:
            raise ReportError(
                f"the report comes to more text than the limit documentBytes ({self._limit}), its references followed",
                TOO_LARGE,
            )

    def spend_on(self, finding: Vulnerability) -> None:
        """As :meth:`spend`, on all texts of ``finding``."""
        self.spend(finding.id, finding.package, finding.purl, finding.installed, finding.fixed, finding.path)
        if finding.aliases:
            self.spend(*finding.aliases)


def each_once(findings: Sequence[Vulnerability]) -> tuple[Vulnerability, ...]:
    """:func:`~portcullis.evidence.reports.findings.unique`, but where the package is not known, what lies in two
    places may be two packages, and stays two findings."""
    groups: dict[tuple[str, str, str, str], list[Vulnerability]] = {}
    for finding in findings:
        key = (finding.id, finding.package, finding.installed, "" if finding.package else finding.path)
        groups.setdefault(key, []).append(finding)
    return tuple(group[0] if len(group) == 1 else unique(group)[0] for group in groups.values())
