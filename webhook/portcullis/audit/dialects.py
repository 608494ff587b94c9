"""What SQLite and PostgreSQL both can, and SQLAlchemy has in two places."""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def ignoring(connection: Connection, table: Table, *unique: str) -> Any:
    """An INSERT that leaves rows as they are whose ``unique`` columns are there already."""
    return _ignoring(connection.dialect.name, table, unique)


def adding(connection: Connection, table: Table, added: tuple[str, ...], replaced: tuple[str, ...] = ()) -> Any:
    """An INSERT that, where the primary key is there already, adds to the columns ``added`` and replaces those of
    ``replaced``; all others stay."""
    return _adding(connection.dialect.name, table, added, replaced)


def advancing(connection: Connection, table: Table, later: str, replaced: tuple[str, ...]) -> Any:
    """An INSERT that, where the primary key is there already, replaces the columns ``later`` and ``replaced`` if the
    new ``later`` is greater; else all stay."""
    return _advancing(connection.dialect.name, table, later, replaced)


def added_to(insert: Any, table: Table, added: tuple[str, ...], replaced: tuple[str, ...]) -> Any:
    """``insert``, with what :func:`adding` says of rows whose primary key is there already."""
    changes = {name: insert.excluded[name] for name in replaced}
    changes |= {name: table.c[name] + insert.excluded[name] for name in added}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


@cache
def _ignoring(dialect: str, table: Table, unique: tuple[str, ...]) -> Any:
    return _INSERT[dialect](table).on_conflict_do_nothing(index_elements=list(unique))


@cache
def _adding(dialect: str, table: Table, added: tuple[str, ...], replaced: tuple[str, ...]) -> Any:
    return added_to(_INSERT[dialect](table), table, added, replaced)


@cache
def _advancing(dialect: str, table: Table, later: str, replaced: tuple[str, ...]) -> Any:
    insert = _INSERT[dialect](table)
    changes = {name: insert.excluded[name] for name in (later, *replaced)}
    condition = insert.excluded[later] > table.c[later]
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes, where=condition)
