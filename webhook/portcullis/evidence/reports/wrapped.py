"""Reports with something signed around them that has times of its own."""

from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import msgspec

from portcullis.evidence.decode import decode_typed, require_strict
from portcullis.evidence.refusal import ReportError
from portcullis.evidence.times import oldest, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, LintReport, Sbom, ScanReport

Dated = TypeVar("Dated", bound=ScanReport | Evaluation | LintReport | Sbom)


class Database(msgspec.Struct):
    """``scanner.db`` of a vulnerability predicate, cosign's or in-toto's."""

    last_update: str | None = msgspec.field(default=None, name="lastUpdate")

    @property
    def updated(self) -> datetime | None:
        """Raises EvidenceError: it is no time."""
        return parse_time(self.last_update, "scanner.db.lastUpdate")


class ScanTimes(msgspec.Struct):
    """``metadata`` of such a predicate."""

    scan_started_on: str | None = msgspec.field(default=None, name="scanStartedOn")
    scan_finished_on: str | None = msgspec.field(default=None, name="scanFinishedOn")

    @property
    def both(self) -> tuple[datetime | None, datetime | None]:
        """Raises EvidenceError: one of them is no time."""
        return (
            parse_time(self.scan_started_on, "metadata.scanStartedOn"),
            parse_time(self.scan_finished_on, "metadata.scanFinishedOn"),
        )


class _Custom(msgspec.Struct):
    data: str = msgspec.field(name="Data")
    timestamp: str | None = msgspec.field(default=None, name="Timestamp")


def dated(fact: Dated, *times: datetime | None) -> Dated:
    """``fact`` as old as the oldest of its own time and ``times``.

    Wrappers are made after what they hold: ``trivy --format cosign-vuln`` stamps the time of the conversion, which
    would make an old report look fresh. A time in the future is kept as it is; policies judge it.
    """
    match fact:
        case ScanReport():
            return replace(fact, scanned_at=oldest(fact.scanned_at, *times))
        case Evaluation():
            return replace(fact, evaluated_at=oldest(fact.evaluated_at, *times))
        case LintReport():
            return replace(fact, linted_at=oldest(fact.linted_at, *times))
        case _:
            return replace(fact, created_at=oldest(fact.created_at, *times))


def unwrap_custom(predicate: bytes, limits: Limits) -> tuple[bytes, datetime | None]:
    """What ``cosign attest --type custom`` holds: a file as text in ``Data``, and when it was made.

    The text of the oldest versions is the predicate itself. It is no part of the JSON whose strictness was proven, so
    that is proven here.

    Raises:
        EvidenceError: another shape, or the text is no strict JSON (attestation-invalid); over a limit (too-large).
    """
    if predicate[:1] == b'"':
        custom = _Custom(decode_typed(predicate, str, "the predicate"))
    else:
        custom = decode_typed(predicate, _Custom, "the predicate")
    content = custom.data.encode("utf-8", "replace").strip()
    if not content:
        raise ReportError("the predicate's Data is empty")
    require_strict(content, limits=limits, what="the text in the predicate's Data")
    return content, parse_time(custom.timestamp, "the predicate's Timestamp")
