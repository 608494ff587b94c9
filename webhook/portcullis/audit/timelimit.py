"""A limit of time for statements that read.

SQLite asks a handler every some thousand steps of its machine whether to go on
(https://www.sqlite.org/c3ref/progress_handler.html); PostgreSQL has ``statement_timeout``.
"""

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

STEPS = 2000
"""Of SQLite's machine between two looks at the clock: a fraction of a millisecond."""

_QUERY_CANCELED = "57014"
_UNTIL = "portcullis_until"
_SET = text("SELECT set_config('statement_timeout', :milliseconds, true)")


class TimeIsUp(Exception):
    """A statement was given up."""


@contextmanager
def within(connection: Connection, until: float) -> Iterator[None]:
    """Statements of the block end at ``until``, an instant of :func:`time.monotonic`; an outer limit holds again
    behind an inner one.

    Raises:
        TimeIsUp: one did not end by itself. What the transaction saw may be gone; the connection can be used on.
    """
    if time.monotonic() >= until:
        raise TimeIsUp
    outer = connection.info.get(_UNTIL)
    _limit(connection, until)
    try:
        yield
    except DBAPIError as error:
        connection.rollback()  # PostgreSQL runs nothing more in a transaction in which something failed
        if not _is_over(error):
            raise
        raise TimeIsUp from error
    finally:
        _limit(connection, outer)


def _limit(connection: Connection, until: float | None) -> None:
    connection.info[_UNTIL] = until
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(None if until is None else lambda: time.monotonic() > until, STEPS)
    elif until is not None and until != math.inf:  # without one, the limit ends with the transaction
        left = until - time.monotonic()
        connection.execute(_SET, {"milliseconds": str(max(1, int(left * 1000)))})


def _is_over(error: DBAPIError) -> bool:
    cause: Any = error.orig
    return (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
        or getattr(cause, "sqlstate", None) == _QUERY_CANCELED
    )
