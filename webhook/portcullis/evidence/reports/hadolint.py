"""Hadolint's JSON (``hadolint --format json``): a bare array of what it found in a Dockerfile.

It says neither who wrote it nor when, nor about which file beyond its name: that is for what is signed around it
(:mod:`portcullis.evidence.reports.lint`). Findings that an ``inline ignore`` comment or the configuration turns off
leave no trace in it.
"""

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, ReportError
from portcullis.limits import Limits
from portcullis.model.evidence import LintFinding, LintReport

_TOOL = "hadolint"
_LEVELS = frozenset({"error", "warning", "info", "style"})
_IGNORED = "ignore"
_UNREADABLE = "DL1000"
"""The rule under which Hadolint reports that it could not parse the file, and nothing else of it."""
_MOST_LINES = 2**31
_WHAT = "the Hadolint report"


class _Row(msgspec.Struct, gc=False):
    code: str | None = None
    level: str | None = None
    file: str | None = None
    line: int | None = None
    message: str | None = None
    check_name: str | None = None
    """In the other form, for GitLab's code quality."""


def read_hadolint(content: bytes, limits: Limits) -> LintReport:
    """The findings in ``content``.

    A level that Hadolint does not have counts as ``error``. Not complete is a report that says that the file could
    not be parsed. Findings of level ``ignore`` are counted in ``suppressed`` and not shown.

    Raises:
        EvidenceError: of another form of Hadolint's (attestation-unsupported), of another shape
            (attestation-invalid), or more findings than ``lint_findings`` (too-large).
    """
    rows = decode_typed(content, list[_Row], _WHAT)
    require_few(len(rows), limits)
    return lint_report(
        [_finding(row) for row in rows if row.level != _IGNORED],
        suppressed=sum(1 for row in rows if row.level == _IGNORED),
    )


def lint_report(findings: Sequence[LintFinding], *, version: str = "", suppressed: int = 0) -> LintReport:
    """Hadolint's findings from any form, with the verdict on whether it read the file at all."""
    unread = next((finding for finding in findings if finding.rule == _UNREADABLE), None)
    return LintReport(
        tool=_TOOL,
        tool_version=version,
        linted_at=None,
        findings=tuple(findings),
        suppressed=suppressed,
        complete=unread is None,
        incomplete_because=""
        if unread is None
        else f"Hadolint could not parse the Dockerfile (line {unread.line}) and looked no further",
    )


def shown_line(line: int | None) -> int:
    """The line, 0 where it is not said or can be none: JSON's integers have no end, the policy input's have."""
    return line if line is not None and 0 < line <= _MOST_LINES else 0


def require_few(count: int, limits: Limits) -> None:
    """
    Raises:
        ReportError: more findings than ``lint_findings`` (too-large).
    """
    if count > limits.lint_findings:
        raise ReportError(
            f"the report has {count} findings; the limit lintFindings is {limits.lint_findings}", TOO_LARGE
        )


def _finding(row: _Row) -> LintFinding:
    if not row.code:
        _refuse(row)
    level = row.level or ""
    return LintFinding(
        rule=row.code,
        level=level if level in _LEVELS else "error",
        file=row.file or "",
        line=shown_line(row.line),
        message=row.message or "",
    )


def _refuse(row: _Row) -> NoReturn:
    if row.check_name:
        raise ReportError(
            "a report in the form of GitLab's code quality is not read; use hadolint --format json or --format sarif",
            ATTESTATION_UNSUPPORTED,
        )
    raise ReportError("a finding of the Hadolint report has no code")
