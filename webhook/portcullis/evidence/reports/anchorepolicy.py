"""Evaluations of Anchore's own policies: anchorectl's list and Enterprise's object, and those of anchore-cli.

Of several the newest counts, wherever it stands; of two of one moment, or without any, the worse.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import TOO_LARGE, ReportError, shown
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Check, Evaluation

_WHAT = "the Anchore evaluation"
_ACTIONS = ("stop", "warn", "go")
_BY_STATUS = {"pass": "go", "fail": "stop"}
_NEVER = datetime.min.replace(tzinfo=UTC)


class _Detail(msgspec.Struct):
    gate: str | None = None
    trigger: str | None = None
    trigger_name: str | None = msgspec.field(default=None, name="triggerName")
    action: str | None = None
    status: str | None = None
    message: str | None = None
    description: str | None = None


class _Findings(msgspec.Struct):
    findings: list[_Detail] | None = None


class _Listed(msgspec.Struct):
    """An entry of anchorectl's list."""

    digest: str | None = None
    policy: str | None = msgspec.field(default=None, name="policyId")
    status: str | None = None
    action: str | None = msgspec.field(default=None, name="finalAction")
    time: str | None = msgspec.field(default=None, name="lastEvaluation")
    detail: list[_Detail] | None = None


class _Entry(msgspec.Struct):
    """One of Enterprise's ``evaluations``."""

    time: str | None = msgspec.field(default=None, name="evaluationTime")
    status: str | None = None
    action: str | None = msgspec.field(default=None, name="finalAction")
    details: list[_Detail] | _Findings | None = None


class _Enterprise(msgspec.Struct):
    digest: str | None = msgspec.field(default=None, name="imageDigest")
    policy: str | None = msgspec.field(default=None, name="policyId")
    evaluations: list[_Entry] | None = None


class _OldTable(msgspec.Struct):
    header: list[str] | None = None
    rows: list[list[msgspec.Raw]] | None = None


class _OldImage(msgspec.Struct):
    table: _OldTable | None = msgspec.field(default=None, name="result")


class _OldImages(msgspec.Struct):
    images: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name="result")
    action: str | None = msgspec.field(default=None, name="final_action")


class _OldDetail(msgspec.Struct):
    result: _OldImages | None = None


class _Old(msgspec.Struct):
    detail: _OldDetail | None = None
    time: str | None = msgspec.field(default=None, name="last_evaluation")
    policy: str | None = msgspec.field(default=None, name="policyId")
    status: str | None = None


def read_evaluations(content: bytes, limits: Limits) -> Evaluation:
    """anchorectl's list (``anchorectl image check -o json``).

    Raises:
        EvidenceError: of another shape (attestation-invalid), more lines than ``evaluation_checks`` (too-large).
    """
    rows = decode_typed(content, list[_Listed], _WHAT)
    _require_few(sum(len(row.detail or ()) for row in rows), limits)
    return _newest(
        [
            _evaluation(row.digest, row.policy, row.status, row.action, row.time, _checks(row.detail or ()))
            for row in rows
        ]
    )


def read_evaluation(content: bytes, limits: Limits) -> Evaluation:
    """Enterprise's object with several ``evaluations`` of one image; raises as :func:`read_evaluations`."""
    report = decode_typed(content, _Enterprise, _WHAT)
    entries = [(entry, _details(entry)) for entry in report.evaluations or ()]
    _require_few(sum(len(details) for _, details in entries), limits)
    return _newest(
        [
            _evaluation(report.digest, report.policy, entry.status, entry.action, entry.time, _checks(details))
            for entry, details in entries
        ]
    )


def read_old_evaluations(content: bytes, limits: Limits) -> Evaluation:
    """anchore-cli's list (``anchore-cli --json evaluate check``), of digests, and in these of tags; raises as
    :func:`read_evaluations`."""
    found: list[Evaluation] = []
    for images in decode_typed(content, list[dict[str, dict[str, list[_Old]]]], _WHAT):
        for digest, tags in images.items():
            for old in (one for olds in tags.values() for one in olds):
                images_of = (old.detail or _OldDetail()).result or _OldImages()
                checks = tuple(_old_checks(images_of, limits))
                found.append(_evaluation(digest, old.policy, old.status, images_of.action, old.time, checks))
    return _newest(found)


def _evaluation(
    digest: str | None,
    policy: str | None,
    status: str | None,
    action: str | None,
    time: str | None,
    checks: tuple[Check, ...],
) -> Evaluation:
    status, action = (status or "").lower(), (action or "").lower()
    if status not in _BY_STATUS:
        raise ReportError(f"the Anchore evaluation has the status {shown(status)}, neither pass nor fail")
    action = action if action in _ACTIONS else _BY_STATUS[status]
    return Evaluation(
        tool="anchore",
        policy=policy or "",
        passed=status == "pass" and action != "stop",
        action=action,
        evaluated_at=parse_time(time, "the time of the evaluation"),
        target_digests=digests_in([digest]),
        checks=checks,
    )


def _newest(evaluations: Sequence[Evaluation]) -> Evaluation:
    if not evaluations:
        raise ReportError("the Anchore report holds no evaluation")
    return max(
        evaluations,
        key=lambda one: (one.evaluated_at or _NEVER, not one.passed, -_ACTIONS.index(one.action)),
    )


def _details(entry: _Entry) -> Sequence[_Detail]:
    return entry.details.findings or () if isinstance(entry.details, _Findings) else entry.details or ()


def _checks(details: Sequence[_Detail]) -> tuple[Check, ...]:
    return tuple(
        _check(one.gate, one.trigger or one.trigger_name, one.action or one.status, one.message or one.description)
        for one in details
    )


def _check(gate: str | None, trigger: str | None, action: str | None, message: str | None) -> Check:
    """A line whose action is none of Anchore's counts as stop."""
    word = (action or "").lower()
    return Check(gate or "", trigger or "", word if word in _ACTIONS else "stop", message or "")


def _old_checks(images: _OldImages, limits: Limits) -> Iterator[Check]:
    """Rows of tables, whose columns the header names; other values stand between the images."""
    objects = (bytes(raw) for raw in (images.images or {}).values())
    tables = [decode_typed(one, _OldImage, _WHAT).table or _OldTable() for one in objects if one[:1] == b"{"]
    _require_few(sum(len(table.rows or ()) for table in tables), limits)
    for table in tables:
        columns = [name.lower() for name in table.header or ()]
        for row in table.rows or ():
            cells = dict(zip(columns, map(_cell, row), strict=False))
            yield _check(cells.get("gate"), cells.get("trigger"), cells.get("gate_action"), cells.get("check_output"))


def _cell(raw: msgspec.Raw) -> str:
    """A text; of something else that a cell may hold (false, a rule that was matched) nothing."""
    text = bytes(raw)
    return decode_typed(text, str, "a cell of the Anchore evaluation") if text[:1] == b'"' else ""


def _require_few(count: int, limits: Limits) -> None:
    if count > limits.evaluation_checks:
        raise ReportError(
            f"the evaluation has {count} lines; the limit evaluationChecks is {limits.evaluation_checks}", TOO_LARGE
        )
