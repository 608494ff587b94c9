"""Rows of several tables, in as few statements as the database takes.

SQLite is in this process: a statement costs it nothing but its work. A PostgreSQL is a network away, and psycopg binds
each row for itself: so it gets all rows of all tables as JSON in one statement, whose text stays the same and is
prepared once (https://www.postgresql.org/docs/current/functions-json.html, ``json_to_recordset``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Column,
    Connection,
    LargeBinary,
    Select,
    String,
    Table,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql

from portcullis.audit.dialects import added_to, adding, ignoring
from portcullis.audit.fulltext import insert_texts, text_rows
from portcullis.audit.tables import decisions, inputs

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for one table, all with the same columns. Where the primary key is there already, ``added`` and ``replaced``
    say what becomes of the columns; with neither, all are new."""

    table: Table
    rows: Sequence[Row]
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def insert_decisions(connection: Connection, contents: Mapping[str, bytes], rows: Sequence[Row]) -> Mapping[str, int]:
    """Inserts judged inputs by their hash where they are not there yet, and decisions, all of them new, in their order.

    Returns:
        The sequence that each decision was given, by its id.
    """
    returned = (decisions.c.id, decisions.c.sequence)
    if connection.dialect.name == "sqlite":
        if contents:
            pairs = [{"hash": digest, "content": content} for digest, content in contents.items()]
            connection.execute(ignoring(connection, inputs, "hash"), pairs)
        inserted = connection.execute(insert(decisions).returning(*returned), list(rows))
    else:
        values = {"decisions": _json(rows), "hashes": list(contents), "contents": list(contents.values())}
        inserted = connection.execute(_decisions(tuple(rows[0])), values)
    return {row.id: row.sequence for row in inserted}


def insert_all(connection: Connection, parts: Sequence[Rows], texts: Sequence[Row]) -> None:
    """Inserts rows of several tables, and ``{"decision": sequence, "text": words}`` into the full text."""
    parts = [part for part in parts if part.rows]
    if connection.dialect.name == "sqlite":
        for part in parts:
            changed = part.added or part.replaced
            statement = adding(connection, part.table, part.added, part.replaced) if changed else insert(part.table)
            connection.execute(statement, list(part.rows))
        insert_texts(connection, texts)
        return
    values = {part.table.name: _json(part.rows) for part in parts}
    if texts:
        values["texts"] = _json(texts)
    if values:
        kinds = tuple((part.table, tuple(part.rows[0]), part.added, part.replaced) for part in parts)
        connection.execute(_together(kinds, bool(texts)), values)


# -- statements of PostgreSQL, made once ----------------------------------------------------------------------------


@cache
def _decisions(names: tuple[str, ...]) -> Any:
    """The constraint of inputs and decisions is looked at when the whole statement is done."""
    given = (
        func.unnest(_array("hashes", String), _array("contents", LargeBinary))
        .table_valued("hash", "content")
        .render_derived(name="given_inputs")
    )
    contents = (
        postgresql.insert(inputs)
        .from_select(["hash", "content"], select(given.c.hash, given.c.content))
        .on_conflict_do_nothing(index_elements=["hash"])
    )
    rows, chosen = _given(decisions, names)
    return (
        postgresql.insert(decisions)
        .from_select(list(names), chosen.order_by(rows.c.position))
        .returning(decisions.c.id, decisions.c.sequence)
        .add_cte(contents.cte("contents"))
    )


@cache
def _together(kinds: tuple[tuple[Table, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...], texts: bool) -> Any:
    statement: Select[Any] = select(literal(1))
    for table, names, added, replaced in kinds:
        _, chosen = _given(table, names)
        inserted = postgresql.insert(table).from_select(list(names), chosen)
        if added or replaced:
            inserted = added_to(inserted, table, added, replaced)
        statement = statement.add_cte(inserted.cte(f"into_{table.name}"))
    return statement.add_cte(text_rows(_json_parameter("texts")).cte("into_texts")) if texts else statement


def _given(table: Table, names: tuple[str, ...]) -> tuple[Any, Select[Any]]:
    """The rows of the parameter that is named as the table, and them as the table has them."""
    columns = [table.c[name] for name in names]
    rows = (
        func.json_to_recordset(_json_parameter(table.name))
        .table_valued(*(column(one.name, String() if _is_bytes(one) else one.type) for one in columns))
        .render_derived(name=f"given_{table.name}", with_types=True)
    )
    return rows, select(
        *(func.decode(rows.c[one.name], "hex") if _is_bytes(one) else rows.c[one.name] for one in columns)
    )


def _is_bytes(one: Column[Any]) -> bool:
    return isinstance(one.type, LargeBinary)


def _json_parameter(name: str) -> Any:
    return cast(bindparam(name, type_=String), JSON)


def _array(name: str, of: type[String | LargeBinary]) -> BindParameter[Any]:
    return bindparam(name, type_=ARRAY(of))


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), separators=(",", ":"), default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} is no value of a row")
