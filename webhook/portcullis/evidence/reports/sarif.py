"""SARIF 2.1.0 (OASIS) as scanners and Hadolint write it. Paragraph numbers are those of that specification.

SARIF says neither when nor about which image it was made (Trivy adds the image), and a clean run looks like one whose
filter left nothing over: what is signed around it has to say more. A report without results is therefore complete,
unless it says itself that the run failed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.findings import require_few_findings
from portcullis.evidence.reports.following import TextBudget, each_once
from portcullis.evidence.reports.given import decode_given, is_given
from portcullis.evidence.reports.hadolint import lint_report, require_few, shown_line
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.reports.sarifdrivers import Driver, Result, Rule, RuleFacts, driver_of
from portcullis.limits import Limits
from portcullis.model.evidence import LintFinding, LintReport, ScanReport, Suppression, Vulnerability

_WHAT = "the SARIF report"
_HADOLINT = "hadolint"
_LINT_LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "note": "info"}
_NO_FINDINGS = frozenset({"pass", "notApplicable"})
_ACCEPTED = frozenset({None, "accepted"})


class _DriverRecord(msgspec.Struct, gc=False):
    name: str | None = None
    version: str | None = None
    semantic_version: str | None = msgspec.field(default=None, name="semanticVersion")
    rules: list[Rule] | None = None


class _Tool(msgspec.Struct, gc=False):
    driver: _DriverRecord


class _Notification(msgspec.Struct, gc=False):
    level: str | None = None


class _Invocation(msgspec.Struct, gc=False):
    successful: bool | None = msgspec.field(default=None, name="executionSuccessful")
    notifications: list[_Notification] | None = msgspec.field(default=None, name="toolExecutionNotifications")


class _External(msgspec.Struct, gc=False):
    results: msgspec.Raw = msgspec.Raw()


class _Image(msgspec.Struct, gc=False):
    """What Trivy says of the image."""

    digests: list[str | None] | None = msgspec.field(default=None, name="repoDigests")
    id: str | None = msgspec.field(default=None, name="imageID")


class _Run(msgspec.Struct, gc=False):
    tool: _Tool
    results: list[Result] | None = None
    invocations: list[_Invocation] | None = None
    external: _External | None = msgspec.field(default=None, name="externalPropertyFileReferences")
    properties: msgspec.Raw = msgspec.Raw()


class _Log(msgspec.Struct, gc=False):
    runs: list[_Run]
    version: str | None = None


@dataclass(slots=True)
class _Read:
    """What was read so far of one report."""

    budget: TextBudget
    findings: list[Vulnerability] = field(default_factory=list)
    suppressions: list[Suppression] = field(default_factory=list)
    suppressed: int = 0


def read_sarif_scan(content: bytes, limits: Limits) -> ScanReport:
    """A scanner's findings: one for each result, of which a rule may have several, one for each package.

    Results of one vulnerability in one package and version (in several places of the image) are one finding, the
    worst. Suppressed results (paragraph 3.27.23) are counted apart.

    Raises:
        EvidenceError: of another version, of Hadolint, or of several tools (attestation-unsupported); of another shape
            (attestation-invalid); more results than ``findings`` (too-large).
    """
    runs = _runs(content)
    record = runs[0].tool.driver
    driver = driver_of(record.name or "")
    if driver.scanner.lower() == _HADOLINT:
        raise ReportError("the SARIF report is of Hadolint, which is no vulnerability scanner", ATTESTATION_UNSUPPORTED)
    require_few_findings(sum(len(run.results or ()) for run in runs), limits)
    read = _Read(TextBudget(limits))
    for run in runs:
        _read_run(run, driver, read, limits)
    images = [_image(run) for run in runs] if driver.tells_image else []
    because = next((text for run in runs if (text := _incomplete(run))), "")
    return ScanReport(
        scanner=driver.scanner,
        scanner_version=record.version or record.semantic_version or "",
        target_digests=digests_in(name for image in images for name in image.digests or ()),
        target_image_id=next(iter(digests_in(image.id for image in images)), ""),
        suppressed=read.suppressed,
        complete=not because,
        incomplete_because=because,
        vulnerabilities=each_once(read.findings),
        format="sarif",
        suppressions=tuple(read.suppressions),
    )


def read_sarif_lint(content: bytes, limits: Limits) -> LintReport:
    """Hadolint's findings. ``note`` is ``info``: what Hadolint calls style is not told apart in SARIF. Results of
    level ``none`` are those that its configuration ignores, and count as suppressed.

    Raises:
        EvidenceError: of another version, or of another tool (attestation-unsupported); of another shape
            (attestation-invalid); more results than ``lint_findings`` (too-large).
    """
    runs = _runs(content)
    record = runs[0].tool.driver
    if (record.name or "").lower() != _HADOLINT:
        raise ReportError(
            f"the SARIF report is of {shown(record.name or '')}; of linters Hadolint is read", ATTESTATION_UNSUPPORTED
        )
    require_few(sum(len(run.results or ()) for run in runs), limits)
    findings: list[LintFinding] = []
    budget = TextBudget(limits)
    suppressed = 0
    for run in runs:
        for result, rule in _results(run):
            if result.level == "none" or _is_suppressed(result):
                suppressed += 1
            else:
                finding = _lint_finding(result, rule)
                budget.spend(finding.rule, finding.file, finding.message)
                findings.append(finding)
    report = lint_report(findings, version=record.version or "", suppressed=suppressed)
    because = report.incomplete_because or next((text for run in runs if (text := _incomplete(run))), "")
    return replace(report, complete=not because, incomplete_because=because)


def _runs(content: bytes) -> Sequence[_Run]:
    """At least one, all of one tool."""
    log = decode_typed(content, _Log, _WHAT)
    if log.version != "2.1.0":
        raise ReportError(
            f"the SARIF report is of version {shown(log.version or '')}; 2.1.0 is read", ATTESTATION_UNSUPPORTED
        )
    if not log.runs:
        raise ReportError("the SARIF report holds no run")
    names = {(run.tool.driver.name or "").lower() for run in log.runs}
    if "" in names:
        raise ReportError("a run of the SARIF report does not name its tool")
    if len(names) > 1:
        raise ReportError(
            f"the SARIF report holds runs of several tools ({shown(', '.join(sorted(names)))}); attest one by one",
            ATTESTATION_UNSUPPORTED,
        )
    return log.runs


def _read_run(run: _Run, driver: Driver, read: _Read, limits: Limits) -> None:
    facts: dict[int, RuleFacts] = {}
    for result, rule in _results(run):
        of_rule = facts.get(id(rule))
        if of_rule is None:
            of_rule = facts[id(rule)] = driver.facts(rule)
        finding = driver.read(result, rule, of_rule)
        if finding is None:
            continue
        read.budget.spend_on(finding)
        if _is_suppressed(result) and not driver.suppresses_all:
            read.suppressed += 1
            if len(read.suppressions) < limits.suppressions:
                read.suppressions.append(Suppression(finding.id, finding.package, _why(result)))
            continue
        read.findings.append(finding)


def _results(run: _Run) -> Iterator[tuple[Result, Rule]]:
    """Results that are findings, with their rules. The id comes first: old versions of Grype write the index 0 into
    all of them."""
    rules = run.tool.driver.rules or []
    by_id = {rule.id: rule for rule in reversed(rules) if rule.id}
    for result in run.results or ():
        reference = result.rule
        index = result.rule_index if reference is None or result.rule_index is not None else reference.index
        rule_id = result.rule_id or (reference.id if reference is not None else None)
        rule = by_id.get(rule_id) if rule_id else None
        if rule is None and index is not None and 0 <= index < len(rules) and not rule_id:
            rule = rules[index]
        rule = rule or Rule(id=rule_id)
        if not rule.id:
            raise ReportError("a result of the SARIF report names no rule")
        if result.kind not in _NO_FINDINGS:
            yield result, rule


def _is_suppressed(result: Result) -> bool:
    """Whether it has suppressions and none of them is still under review or rejected (paragraph 3.35.3)."""
    return bool(result.suppressions) and all(one.status in _ACCEPTED for one in result.suppressions or ())


def _why(result: Result) -> str:
    texts = (one.justification or one.kind for one in result.suppressions or ())
    return next((text for text in texts if text), "")


def _lint_finding(result: Result, rule: Rule) -> LintFinding:
    return LintFinding(
        rule=rule.id or "",
        level=_LINT_LEVELS.get(result.level_by(rule), "error"),
        file=result.uri,
        line=shown_line(result.line),
        message=result.text,
    )


def _incomplete(run: _Run) -> str:
    """Why the run is not complete; "" where it says nothing against that."""
    if run.external is not None and is_given(run.external.results):
        return "the report keeps results in files of their own, which are not signed with it"
    if run.results is None:
        return "the report has no results, not even an empty list of them"
    for invocation in run.invocations or ():
        if invocation.successful is False:
            return "the report says that the tool's run failed"
        if any(one.level == "error" for one in invocation.notifications or ()):
            return "the report says that the tool met an error"
    return ""


def _image(run: _Run) -> _Image:
    return decode_given(run.properties, _Image, "the run's properties") or _Image()
