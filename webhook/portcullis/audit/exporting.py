"""AuditRecord as others read it: one JSON object for pipelines of logs, one row for spreadsheets.

The JSON has the field names of OPA's decision logs where these exist
(https://www.openpolicyagent.org/docs/management-decision-logs): ``decision_id``, ``timestamp``, ``labels``,
``bundles``, ``path``, ``requested_by``, ``input``, ``result``, ``metrics``, ``masked``, ``erased``. What OPA has no
name for stands beside them under the names of the record as it is stored (:mod:`portcullis.audit.codec`). ASCII in one
line: text from outside can do nothing to a terminal or to what reads line by line.

A row has a cell for each of EXPORT_COLUMNS. A cell that a spreadsheet might take for a formula gets an apostrophe in
front (https://owasp.org/www-community/attacks/CSV_Injection); so does one that begins with an apostrophe, so that
taking one apostrophe away always gives back the text. Characters that no spreadsheet shows (controls other than tab and
line breaks, lone surrogates) become U+FFFD: the JSON has them.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable
from typing import Any

from portcullis.audit import codec
from portcullis.errors import RedactionError
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord
from portcullis.times import rfc3339

_RESULT = frozenset(("verdict", "code", "because", "message", "warnings", "retryAfterSeconds")).union(
    ("violations", "undecided", "problems", "images", "grants")
)
"""Of the names of the stored decision, what the webhook answered and why."""

EXPORT_COLUMNS = (
    *("decision_id", "timestamp", "verdict", "code", "because", "dry_run", "caller"),
    *("username", "groups", "operation", "kind", "api_version", "namespace", "name", "sub_resource"),
    *("images", "digests", "refused_by", "not_enforced", "excepted_by", "reasons", "message", "warnings"),
    *("policy_revision", "config_revision", "webhook_version", "elapsed_ms", "request_uid", "input_hash", "sequence"),
)
"""``refused_by``: policies whose violations refuse; ``not_enforced``: policies violated without that; ``excepted_by``:
exceptions and grants that cover something; ``reasons``: reason codes of what could not be had. Several in one cell are
separated by "; "."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell must not begin with; the last four are full-width forms of the first four."""


def export_json(record: AuditRecord, *, document: bool = False, input_hash: str = "") -> dict[str, Any]:
    """The record with OPA's names; ``document`` adds the judged input, where the record has it. ``input_hash`` is that
    of a record without its document, "" where it is not known."""
    decision = record.decision
    stored = codec.decision_json(decision)
    exported = {
        "decision_id": decision.id,
        "timestamp": stored["decidedAt"],
        "labels": {"app": "portcullis", "version": record.webhook_version},
        "bundles": {
            "policies": {"revision": decision.policy_revision},
            "configuration": {"revision": decision.config_revision},
        },
        "path": "portcullis/policies",
        "requested_by": record.username,
        "result": {name: value for name, value in stored.items() if name in _RESULT},
        "metrics": _metrics(decision),
        "sequence": record.sequence,
        "request": codec.request_json(record),
        "caller": record.caller.value,
        "inputHash": stored["inputHash"] or input_hash,
    }
    if decision.masked:
        exported["masked"] = list(decision.masked)
    if any(problem.reason == RedactionError.reason for problem in decision.problems):
        exported["erased"] = ["/input"]
    if document and decision.document:
        exported["input"] = json.loads(decision.document)
    return exported


def export_line(record: AuditRecord, *, document: bool = False, input_hash: str = "") -> bytes:
    """:func:`export_json` as one line that ends in a line feed. The judged input stands in it byte for byte, unless
    it is not ASCII."""
    line = codec.dump(export_json(record, input_hash=input_hash))
    if document and record.decision.document:
        line = line[:-1] + b',"input":' + _in_one_line(record.decision.document) + b"}"
    return line + b"\n"


def export_row(record: AuditRecord, *, input_hash: str = "") -> tuple[str, ...]:
    """The cells of EXPORT_COLUMNS, guarded as the module says. ``input_hash`` as :func:`export_json` takes it."""
    decision = record.decision
    violations = decision.violations
    cells = (
        *(decision.id, rfc3339(decision.decided_at), decision.verdict.value, str(decision.code)),
        *(decision.because.value, str(record.dry_run).lower(), record.caller.value),
        *(record.username, _joined(record.groups), record.operation, record.kind, record.api_version),
        *(record.namespace, record.name, record.sub_resource),
        _joined(image.written for image in decision.images),
        _joined(image.digest for image in decision.images),
        _joined(violation.policy for violation in violations if violation.refuses),
        _joined(violation.policy for violation in violations if not violation.refuses and not violation.exception),
        _joined(one.exception for one in decision.covered),
        _joined(problem.reason for problem in decision.problems),
        *(decision.message, _joined(decision.warnings)),
        *(decision.policy_revision, decision.config_revision, record.webhook_version),
        f"{decision.elapsed_ms:.3f}",
        *(record.uid, codec.input_hash(decision.document) or input_hash, str(record.sequence or "")),
    )
    return tuple(map(guarded, cells))


def damaged_line(sequence: int, why: str) -> bytes:
    """What stands in place of :func:`export_line` for a row that is no record any more."""
    return codec.dump({"sequence": sequence, "damaged": why}) + b"\n"


def damaged_row(sequence: int, why: str) -> tuple[str, ...]:
    """The same in place of :func:`export_row`."""
    cells = {"message": f"damaged: {why}", "sequence": str(sequence)}
    return tuple(guarded(cells.get(name, "")) for name in EXPORT_COLUMNS)


def csv_line(cells: Iterable[str]) -> str:
    """One line as RFC 4180 has it, every cell in quotes where it needs them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def guarded(text: str) -> str:
    """A cell that no spreadsheet evaluates."""
    if not text.isascii() or not text.isprintable():
        text = "".join("\ufffd" if _unshown(character) else character for character in text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _unshown(character: str) -> bool:
    return character not in "\t\r\n" and unicodedata.category(character) in ("Cc", "Cs")


def _joined(texts: Iterable[str]) -> str:
    """Each once, in order."""
    return "; ".join(text for text in dict.fromkeys(texts) if text)


def _metrics(decision: Decision) -> dict[str, int]:
    """Nanoseconds, as OPA has them: the whole and each stage."""
    timers = {"timer_decision_ns": decision.elapsed_ms}
    timers |= {f"timer_{stage}_ns": milliseconds for stage, milliseconds in decision.timings.items()}
    return {name: round(milliseconds * 1_000_000) for name, milliseconds in timers.items()}


def _in_one_line(document: bytes) -> bytes:
    """Stored inputs are JSON in one line, for their hash says that they are ours; if one is not, as a text."""
    if document.isascii() and b"\n" not in document and b"\r" not in document:
        return document
    try:
        return codec.dump({"": json.loads(document)})[len(b'{"":') : -1]
    except (ValueError, RecursionError):
        return json.dumps(document.decode("utf-8", "backslashreplace")).encode()
