"""How much room the audit log takes, for retention by size.

SQLite: the pages of the file that are in use, without the facts of images, which have a bound of their own. Pages that
become free are used again; the file itself does not shrink.

PostgreSQL: records times what one takes, which is what its body and its input take (of the oldest and the newest) and
BESIDE. The files of the server are no measure: they hold the room of what was removed until other records fill it, and
nothing that every server offers tells how much that is.
"""

import math
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, text, union_all

from portcullis.audit.tables import chains, decisions, facts, inputs

SAMPLE_ROWS = 500
BESIDE = 2700
"""Bytes of a record in PostgreSQL beside its body and input: columns, indexes, images, violations, words. Measured."""


def log_bytes(connection: Connection) -> int:
    """What records take, with all that is kept beside them."""
    if connection.dialect.name == "sqlite":
        pages, free, size = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        kept = connection.execute(select(func.coalesce(func.sum(facts.c.size), 0))).scalar_one()
        return max(int((pages - free) * size) - int(kept), 0)
    sizes = union_all(_sizes(newest=False), _sizes(newest=True)).subquery()
    mean = connection.execute(select(func.avg(sizes.c.size))).scalar_one()
    return 0 if mean is None else round(records(connection) * (float(mean) + BESIDE))


def records(connection: Connection) -> int:
    """How many there are: those of chains by their ends, without counting."""
    last = (
        select(decisions.c.position)
        .where(decisions.c.chain == chains.c.number)
        .order_by(decisions.c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(select(chains.c.pruned_position, last.label("last"))).all()
    chained = sum(row.last - row.pruned_position for row in rows if row.last is not None)
    old = connection.execute(select(func.count()).where(decisions.c.chain.is_(None))).scalar_one()
    return int(chained + old)


def oldest_through(connection: Connection, share: float) -> datetime | None:
    """The time before which that share of the records was decided; None where there are none."""
    there = records(connection)
    at = max(min(math.ceil(there * share), there - 1), 0)
    statement = select(decisions.c.decided_at).order_by(decisions.c.decided_at).offset(at).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def _sizes(*, newest: bool) -> Select[Any]:
    order = decisions.c.sequence.desc() if newest else decisions.c.sequence
    rows = select(decisions.c.body, decisions.c.input_hash).order_by(order).limit(SAMPLE_ROWS).subquery()
    size = func.pg_column_size(rows.c.body) + func.coalesce(func.pg_column_size(inputs.c.content), 0)
    return select(size.label("size")).join_from(rows, inputs, rows.c.input_hash == inputs.c.hash, isouter=True)
