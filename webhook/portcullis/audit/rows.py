"""Audit records as rows of the store's tables."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert

from portcullis.audit import codec
from portcullis.audit.tables import decisions, images, inputs, key, violations
from portcullis.model.record import AuditRecord

Row = dict[str, Any]

_INSERT_INPUTS = insert(inputs).on_conflict_do_nothing(index_elements=["hash"])
_INSERT_DECISIONS = (
    insert(decisions).on_conflict_do_nothing(index_elements=["id"]).returning(decisions.c.id, decisions.c.sequence)
)
_INSERT_IMAGES = insert(images)
_INSERT_VIOLATIONS = insert(violations)


class Batch:
    """The rows of some records, made before the database is locked for them."""

    def __init__(self, records: Sequence[AuditRecord]) -> None:
        self._inputs: dict[str, bytes] = {}
        self._decisions: dict[str, Row] = {}
        self._images: dict[str, list[Row]] = {}
        self._violations: dict[str, list[Row]] = {}
        for record in records:
            self._add(record)

    def insert(self, connection: Connection) -> None:
        """Inserts what is not there yet, in the order of the records, inside the connection's transaction."""
        if self._inputs:
            connection.execute(
                _INSERT_INPUTS,
                [{"hash": digest, "content": content} for digest, content in self._inputs.items()],
            )
        if not self._decisions:
            return
        inserted = connection.execute(_INSERT_DECISIONS, [*self._decisions.values()])
        sequences = {row.id: row.sequence for row in inserted}
        for statement, rows_of in ((_INSERT_IMAGES, self._images), (_INSERT_VIOLATIONS, self._violations)):
            rows = [
                row | {"decision": sequence, "position": position}
                for decision_id, sequence in sequences.items()
                for position, row in enumerate(rows_of[decision_id])
            ]
            if rows:
                connection.execute(statement, rows)

    def _add(self, record: AuditRecord) -> None:
        decision_id = key(record.decision.id)
        if decision_id in self._decisions:
            return
        document = record.decision.document
        digest = codec.input_hash(document)
        if digest and digest not in self._inputs:
            self._inputs[digest] = zlib.compress(document)
        self._decisions[decision_id] = _decision_row(record, decision_id, digest)
        self._images[decision_id] = [*_image_rows(record)]
        self._violations[decision_id] = [*_violation_rows(record)]


def _decision_row(record: AuditRecord, decision_id: str, input_hash: str) -> Row:
    decision = record.decision
    return {
        "id": decision_id,
        "decided_at": decision.decided_at,
        "uid": key(record.uid),
        "username": key(record.username),
        "operation": key(record.operation),
        "kind": key(record.kind),
        "namespace": key(record.namespace),
        "name": key(record.name),
        "verdict": decision.verdict.value,
        "code": decision.code,
        "because": decision.because.value,
        "dry_run": record.dry_run,
        "caller": record.caller.value,
        "policy_revision": key(decision.policy_revision),
        "config_revision": key(decision.config_revision),
        "elapsed_ms": decision.elapsed_ms,
        "input_hash": input_hash or None,
        "body": codec.encode_body(record).decode("ascii"),
    }


def _image_rows(record: AuditRecord) -> Iterator[Row]:
    for image in record.decision.images:
        yield {"written": key(image.written), "digest": key(image.digest)}


def _violation_rows(record: AuditRecord) -> Iterator[Row]:
    for violation in record.decision.violations:
        yield {
            "policy": key(violation.policy),
            "mode": violation.mode.value,
            "severity": key(violation.severity),
            "undecided": False,
            "exception": key(violation.exception),
        }
    for undecided in record.decision.undecided:
        yield {
            "policy": key(undecided.policy),
            "mode": undecided.mode.value,
            "severity": "",
            "undecided": True,
            "exception": "",
        }
