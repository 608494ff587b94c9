"""Linters' reports as predicates: our own wrapper, or the report itself.

A linter's report alone says neither when nor about which Dockerfile. The predicate
``https://portcullis.dev/attestation/lint/v1`` says both around it::

    {
      "tool": {"name": "hadolint", "version": "2.12.0"},
      "lintedOn": "2026-11-20T10:00:00Z",
      "dockerfile": {"sha256": "<64 hex digits>"},
      "report": [...] or {"version": "2.1.0", "runs": [...]}
    }

Only ``report`` is required.
"""

import re
from dataclasses import replace

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.given import is_given
from portcullis.evidence.reports.hadolint import read_hadolint
from portcullis.evidence.reports.sarif import read_sarif_lint
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import LintReport

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHAT = "the lint predicate"


class _Tool(msgspec.Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Dockerfile(msgspec.Struct, gc=False):
    sha256: str | None = None


class _Wrapper(msgspec.Struct, gc=False):
    tool: _Tool | None = None
    linted_on: str | None = msgspec.field(default=None, name="lintedOn")
    dockerfile: _Dockerfile | None = None
    report: msgspec.Raw = msgspec.Raw()
    runs: msgspec.Raw = msgspec.Raw()


def read_lint(predicate: bytes, limits: Limits) -> LintReport:
    """The report in ``predicate``: a wrapper's ``report``, SARIF, or Hadolint's bare array.

    The version is the report's own, else the wrapper's.

    Raises:
        EvidenceError: a report of another linter (attestation-unsupported), none at all or of another shape
            (attestation-invalid), or over a limit (too-large).
    """
    if predicate.lstrip()[:1] == b"[":
        return read_hadolint(predicate, limits)
    wrapper = decode_typed(predicate, _Wrapper, _WHAT)
    if not is_given(wrapper.report):
        if is_given(wrapper.runs):
            return read_sarif_lint(predicate, limits)
        raise ReportError("the lint predicate holds no report")
    content = bytes(wrapper.report)
    read = read_hadolint if content[:1] == b"[" else read_sarif_lint
    report = read(content, limits)
    tool = wrapper.tool or _Tool()
    if tool.name and tool.name.lower() != report.tool:
        raise ReportError(
            f"the predicate names the tool {shown(tool.name)}, its report is of {report.tool}", ATTESTATION_UNSUPPORTED
        )
    return replace(
        report,
        tool_version=report.tool_version or tool.version or "",
        linted_at=parse_time(wrapper.linted_on, "the predicate's lintedOn"),
        dockerfile=_dockerfile(wrapper.dockerfile),
    )


def _dockerfile(dockerfile: _Dockerfile | None) -> str:
    sha256 = "" if dockerfile is None else dockerfile.sha256 or ""
    if sha256 and _SHA256.fullmatch(sha256) is None:
        raise ReportError(f"the predicate's dockerfile.sha256 {shown(sha256)} is no SHA-256 in lower-case hex")
    return sha256
