"""Anchore's reports: vulnerabilities as anchore-cli, anchorectl and Enterprise's export write them, and evaluations of
Anchore's own policies (:mod:`portcullis.evidence.reports.anchorepolicy`).

anchore-cli and anchorectl give no time and no age of the database; anchorectl not even the image.
"""

from collections.abc import Iterator, Sequence

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError
from portcullis.evidence.reports.anchorepolicy import read_evaluation, read_evaluations, read_old_evaluations
from portcullis.evidence.reports.findings import other_names, require_few_findings, unique
from portcullis.evidence.reports.given import is_given
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.reports.severity import cvss_score, severity_of
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, ScanReport, Vulnerability

_WHAT = "the Anchore report"
_NOTHING = frozenset({"", "None", "none", "N/A"})
"""The text None is what Python wrote where there is nothing."""
_EVERYTHING = frozenset({"", "all"})


class _Base(msgspec.Struct, gc=False):
    old: float | None = msgspec.field(default=None, name="base_score")
    new: float | None = msgspec.field(default=None, name="baseScore")


class _Scored(msgspec.Struct, gc=False):
    """Of the NVD; scores of -1 are none."""

    old_3: _Base | None = msgspec.field(default=None, name="cvss_v3")
    old_2: _Base | None = msgspec.field(default=None, name="cvss_v2")
    new_3: _Base | None = msgspec.field(default=None, name="cvssV3")
    new_2: _Base | None = msgspec.field(default=None, name="cvssV2")

    @property
    def score(self) -> float | None:
        for base in (self.old_3, self.new_3, self.old_2, self.new_2):
            score = None if base is None else cvss_score(base.old if base.old is not None else base.new)
            if score is not None:
                return score
        return None


class _Row(msgspec.Struct, gc=False):
    """Of anchore-cli (snake_case) and anchorectl (camelCase)."""

    id: str | None = msgspec.field(default=None, name="vuln")
    severity: str | None = None
    fix: str | None = None
    old_package: str | None = msgspec.field(default=None, name="package_name")
    old_version: str | None = msgspec.field(default=None, name="package_version")
    old_path: str | None = msgspec.field(default=None, name="package_path")
    old_nvd: list[_Scored] | None = msgspec.field(default=None, name="nvd_data")
    old_no_fix: bool | None = msgspec.field(default=None, name="will_not_fix")
    new_package: str | None = msgspec.field(default=None, name="packageName")
    new_version: str | None = msgspec.field(default=None, name="packageVersion")
    new_path: str | None = msgspec.field(default=None, name="packagePath")
    new_nvd: list[_Scored] | None = msgspec.field(default=None, name="nvdData")
    new_no_fix: bool | None = msgspec.field(default=None, name="willNotFix")
    joined: str | None = msgspec.field(default=None, name="package")
    """Name and version in one text."""


class _Engine(msgspec.Struct):
    image_digest: str | None = msgspec.field(default=None, name="imageDigest")
    old_type: str | None = msgspec.field(default=None, name="vulnerability_type")
    new_type: str | None = msgspec.field(default=None, name="vulnerabilityType")
    rows: list[_Row] | None = msgspec.field(default=None, name="vulnerabilities")


class _Evaluated(msgspec.Struct, gc=False):
    """A row of Enterprise's export."""

    id: str | None = msgspec.field(default=None, name="vulnerabilityId")
    cves: str | None = None
    severity: str | None = None
    package: str | None = None
    path: str | None = None
    fix: str | None = msgspec.field(default=None, name="fixAvailable")
    fix_seen: str | None = msgspec.field(default=None, name="fixObservedAt")
    score: float | str | None = msgspec.field(default=None, name="nvdCvssBaseScore")


class _Metadata(msgspec.Struct):
    image_digest: str | None = msgspec.field(default=None, name="imageDigest")
    timestamp: str | None = None


class _Export(msgspec.Struct):
    metadata: _Metadata | None = None
    rows: list[_Evaluated] | None = msgspec.field(default=None, name="securityEvaluation")


class _Probe(msgspec.Struct):
    rows: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="vulnerabilities")
    export: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="securityEvaluation")
    evaluations: msgspec.Raw = msgspec.Raw(b"")


def read_anchore(content: bytes, limits: Limits) -> ScanReport | Evaluation:
    """Anchore's report in the one normal form, or its newest evaluation of a policy.

    A list of vulnerabilities of one type (``os``) is not complete: the others were not asked for. Enterprise's export
    has package and version in one text, which cannot be taken apart: it is the ``package``.

    Raises:
        EvidenceError: of no form of Anchore's that is read (attestation-unsupported), of another shape
            (attestation-invalid), too many findings or lines (too-large).
    """
    if content.lstrip()[:1] == b"[":
        return _read_list(content, limits)
    probe = decode_typed(content, _Probe, _WHAT)
    if is_given(probe.evaluations):
        return read_evaluation(content, limits)
    if is_given(probe.export):
        return _read_export(decode_typed(content, _Export, _WHAT), limits)
    if not is_given(probe.rows):
        raise ReportError("the Anchore report has neither vulnerabilities nor evaluations", ATTESTATION_UNSUPPORTED)
    report = decode_typed(content, _Engine, _WHAT)
    return _read_rows(report.rows or (), report.image_digest, report.old_type or report.new_type or "", limits)


def _read_list(content: bytes, limits: Limits) -> ScanReport | Evaluation:
    """anchorectl's vulnerabilities or evaluations, or anchore-cli's evaluations: told apart by the first entry."""
    rows = decode_typed(content, list[dict[str, msgspec.Raw]], _WHAT)
    if not rows:
        raise ReportError("the list is empty: nothing says of what", ATTESTATION_UNSUPPORTED)
    if "vuln" in rows[0]:
        return _read_rows(decode_typed(content, list[_Row], _WHAT), None, "", limits)
    if any(key.startswith("sha256:") for key in rows[0]):
        return read_old_evaluations(content, limits)
    if "status" in rows[0]:
        return read_evaluations(content, limits)
    raise ReportError("the list is neither of vulnerabilities nor of evaluations", ATTESTATION_UNSUPPORTED)


def _read_rows(rows: Sequence[_Row], digest: str | None, kind: str, limits: Limits) -> ScanReport:
    require_few_findings(len(rows), limits)
    narrow = kind.lower() not in _EVERYTHING
    return ScanReport(
        scanner="anchore",
        target_digests=digests_in([digest]),
        complete=not narrow,
        incomplete_because="the report has vulnerabilities of one type alone" if narrow else "",
        vulnerabilities=unique(_finding(row) for row in rows),
        format="anchore-json",
        filters=("vulnerability-type",) if narrow else (),
    )


def _finding(row: _Row) -> Vulnerability:
    package = row.old_package or row.new_package or row.joined
    if not row.id or not package:
        raise ReportError(f"a vulnerability of the Anchore report has no {'package' if row.id else 'vuln'}")
    nvd = row.old_nvd or row.new_nvd or ()
    return Vulnerability(
        id=row.id,
        package=package,
        installed=_text(row.old_version or row.new_version),
        fixed=_text(row.fix),
        severity=severity_of(row.severity),
        score=max((score for one in nvd if (score := one.score) is not None), default=None),
        state="will_not_fix" if row.old_no_fix or row.new_no_fix else "",
        path=_text(row.old_path or row.new_path),
    )


def _read_export(report: _Export, limits: Limits) -> ScanReport:
    rows, metadata = report.rows or (), report.metadata or _Metadata()
    require_few_findings(len(rows), limits)
    return ScanReport(
        scanner="anchore",
        scanned_at=parse_time(metadata.timestamp, "metadata.timestamp"),
        target_digests=digests_in([metadata.image_digest]),
        vulnerabilities=unique(_exported(row) for row in rows),
        format="anchore-json",
    )


def _exported(row: _Evaluated) -> Vulnerability:
    if not row.id or not row.package:
        raise ReportError(f"a row of securityEvaluation has no {'package' if row.id else 'vulnerabilityId'}")
    fixed = _text(row.fix)
    return Vulnerability(
        id=row.id,
        aliases=other_names(row.id, _split(row.cves)),
        package=row.package,
        fixed=", ".join(_split(fixed)),
        severity=severity_of(row.severity),
        score=cvss_score(row.score),
        path=_text(row.path),
        available=parse_time(_text(row.fix_seen), "fixObservedAt") if fixed else None,
    )


def _split(text: str | None) -> Iterator[str]:
    return (part.strip() for part in _text(text).split(",") if part.strip())


def _text(text: str | None) -> str:
    return "" if text is None or text in _NOTHING else text
