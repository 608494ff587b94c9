"""Records as versions before schema 0005 wrote them."""

import zlib
from typing import Any

from sqlalchemy import Connection, inspect, text

from portcullis.audit import codec
from portcullis.audit.rows import _decision_row, _image_rows, _violation_rows
from portcullis.model.record import AuditRecord


def insert_old(connection: Connection, *records: AuditRecord) -> None:
    """Writes records with those columns that the tables have."""
    for record in records:
        digest = codec.input_hash(record.decision.document)
        if digest:
            _insert(connection, "inputs", {"hash": digest, "content": zlib.compress(record.decision.document)})
        row = _decision_row(record, record.decision.id, digest)
        moment = record.decision.decided_at.replace(tzinfo=None).isoformat(" ", "microseconds")
        _insert(connection, "decisions", row | {"decided_at": moment})
        sequence = connection.execute(text("SELECT max(sequence) FROM decisions")).scalar_one()
        for table, rows in (("images", _image_rows(record)), ("violations", _violation_rows(record))):
            for position, one in enumerate(rows):
                _insert(connection, table, one | {"decision": sequence, "position": position})


def _insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    there = {column["name"] for column in inspect(connection).get_columns(table)} & row.keys()
    names, values = ", ".join(sorted(there)), ", ".join(f":{name}" for name in sorted(there))
    connection.execute(
        text(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({values})"), {name: row[name] for name in there}
    )
