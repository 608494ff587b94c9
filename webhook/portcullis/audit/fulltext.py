"""Full text of what is said of decisions: an FTS5 table in SQLite, a tsvector with a GIN index in PostgreSQL.

The migrations make it. It is not in :mod:`portcullis.audit.tables`, for SQLAlchemy knows neither kind of table.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from portcullis.model.record import AuditRecord

TEXT_CHARS = 20_000
"""What is indexed of one decision, counted in characters; the record itself keeps all of it."""

_INSERT = {
    "sqlite": text("INSERT INTO texts (rowid, text) VALUES (:decision, :text)"),
    "postgresql": text("INSERT INTO texts (decision, words) VALUES (:decision, to_tsvector('simple', :text))"),
}


def insert_texts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Indexes ``{"decision": sequence, "text": …}``."""
    if rows:
        connection.execute(_INSERT[connection.dialect.name], list(rows))


def words_of(record: AuditRecord) -> str:
    """What is indexed of a record: policies, messages, remedies and reasons, each once; the message where there is
    nothing else. NUL and lone surrogates, which databases refuse, become blanks."""
    said = list(dict.fromkeys(_said(record))) or [record.decision.message]
    joined = "\n".join(one for one in said if one)[:TEXT_CHARS]
    if joined.isascii() and "\0" not in joined:
        return joined
    return "".join(" " if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in joined)


def _said(record: AuditRecord) -> Iterator[str]:
    decision = record.decision
    for violation in decision.violations:
        yield from (violation.policy, violation.msg, violation.fix)
    for undecided in decision.undecided:
        yield undecided.policy
        for problem in undecided.problems:
            yield from (problem.reason, problem.msg)
    for problem in decision.problems:
        yield from (problem.reason, problem.msg)
