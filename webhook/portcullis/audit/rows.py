"""Audit records as rows of the store's tables."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from portcullis.audit import codec
from portcullis.audit.chain import Head
from portcullis.audit.counting import Counts
from portcullis.audit.fulltext import words_of
from portcullis.audit.inserting import Rows, insert_all, insert_decisions
from portcullis.audit.tables import decisions, images, key, reasons, violations
from portcullis.model.record import AuditRecord

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _FoundBy:
    """What a record is found by beside its own columns; rows without the sequence, which the database gives."""

    images: tuple[Row, ...]
    violations: tuple[Row, ...]
    reasons: tuple[str, ...]
    words: str


class Batch:
    """The rows of some records, made before the database is locked for them."""

    def __init__(self, records: Sequence[AuditRecord]) -> None:
        self._records: dict[str, AuditRecord] = {}
        self._inputs: dict[str, bytes] = {}
        self._decisions: dict[str, Row] = {}
        self._found_by: dict[str, _FoundBy] = {}
        for record in records:
            self._add(record)

    def insert(self, connection: Connection, head: Head) -> Head:
        """Inserts what is not there yet, in the order of the records, inside the connection's transaction.

        Args:
            head: where the writer's chain ends.

        Returns:
            Where it ends afterwards.
        """
        known = self._known(connection)
        rows: list[Row] = []
        for decision_id, row in self._decisions.items():
            if decision_id not in known:
                head = head.after(row["body"].encode("ascii"))
                rows.append(row | {"chain": head.number, "position": head.position, "hash": head.hash})
        if not rows:
            return head
        sequences = insert_decisions(connection, self._inputs, rows)
        self._insert_dependent(connection, sequences, head.number)
        return head

    def _known(self, connection: Connection) -> frozenset[str]:
        """Decisions that are stored already: records are replayed after a commit whose outcome was unknown."""
        if not self._decisions:
            return frozenset()
        there = select(decisions.c.id).where(decisions.c.id.in_(list(self._decisions)))
        return frozenset(connection.execute(there).scalars())

    def _insert_dependent(self, connection: Connection, sequences: Mapping[str, int], chain: int) -> None:
        counts = Counts(chain)
        seen: list[Row] = []
        violated: list[Row] = []
        given: list[Row] = []
        texts: list[Row] = []
        for decision_id, sequence in sequences.items():
            found_by = self._found_by[decision_id]
            seen += _numbered(found_by.images, sequence)
            violated += _numbered(found_by.violations, sequence)
            given += ({"decision": sequence, "reason": reason} for reason in found_by.reasons)
            if found_by.words:
                texts.append({"decision": sequence, "text": found_by.words})
            counts.add(self._records[decision_id], sequence)
        parts = (Rows(images, seen), Rows(violations, violated), Rows(reasons, given), *counts.rows())
        insert_all(connection, parts, texts)

    def _add(self, record: AuditRecord) -> None:
        decision_id = key(record.decision.id)
        if decision_id in self._decisions:
            return
        document = record.decision.document
        digest = codec.input_hash(document)
        if digest and digest not in self._inputs:
            self._inputs[digest] = zlib.compress(document)
        self._decisions[decision_id] = _decision_row(record, decision_id, digest)
        self._records[decision_id] = record
        self._found_by[decision_id] = _FoundBy(
            images=tuple(_image_rows(record)),
            violations=tuple(_violation_rows(record)),
            reasons=tuple(key(reason) for reason in reasons_of(record)),
            words=words_of(record),
        )


def reasons_of(record: AuditRecord) -> Sequence[str]:
    """The reason codes of a decision's problems, each once."""
    decision = record.decision
    problems = [*decision.problems, *(problem for one in decision.undecided for problem in one.problems)]
    return tuple(dict.fromkeys(problem.reason for problem in problems))


def _numbered(rows: Iterable[Row], sequence: int) -> Iterator[Row]:
    for position, row in enumerate(rows):
        yield row | {"decision": sequence, "position": position}


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
        yield {
            "written": key(image.written),
            "digest": key(image.digest),
            "repository": key(repository_of(image.written)),
        }


def repository_of(written: str) -> str:
    """A reference without tag and digest, whatever else it is."""
    name = written.partition("@")[0]
    return name[: name.rindex(":")] if ":" in name.rpartition("/")[2] else name


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
            "exception": key(undecided.exception),
        }
