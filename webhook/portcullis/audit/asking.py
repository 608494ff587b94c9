"""Questions of readers: each ends in time."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from portcullis.audit.sql import SqlRecords
from portcullis.audit.timelimit import TimeIsUp, within
from portcullis.errors import RecordsError
from portcullis.limits import Limits

T = TypeVar("T")

SEARCHING = 0.8
"""Of the time for an answer."""


async def ask(records: SqlRecords, limits: Limits, read: Callable[[Connection, float], T]) -> T:
    """What ``read`` answers within ``limits.read_seconds``. It is handed the instant at which it must stop searching,
    so that there is time left to read what was found.

    Raises:
        RecordsError: the store is down, or there was no answer in time.
    """
    begun = time.monotonic()
    seconds = limits.read_seconds

    def bounded(connection: Connection) -> T:
        with within(connection, begun + seconds):
            return read(connection, begun + SEARCHING * seconds)

    try:
        return await records.read(bounded)
    except TimeIsUp:
        raise RecordsError(f"no answer within {seconds:g} s (limits.readSeconds): ask for less at once") from None
