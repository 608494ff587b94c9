"""Figures of the audit log: durable records per second, filtered pages of a large log, its size, its verification.

    python tests/bench/audit.py [--records N] [--stores sqlite postgresql] [--folder DIR]

The large logs are made once for each store and size and kept in a folder outside the tree.
"""

import argparse
import asyncio
import itertools
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import auditlog  # this and the next four beside this file
import auditserver
from auditkinds import END, NAMESPACES, TIME, records_of_each_kind, world
from auditverify import verify_rate
from rich.console import Console
from sqlalchemy import create_engine, insert
from sqlalchemy.dialects.sqlite import DATETIME  # noqa: F401

from portcullis.audit.databaseurl import read_address
from portcullis.audit.journal import Journal
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.writer import AuditLog
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.server.clock import SystemClock

FOLDER = Path(tempfile.gettempdir()) / "portcullis-bench"
RECORDS = 5_000_000
STORES = ("sqlite", "postgresql")
CONCURRENT = (1, 16, 64)
"""Requests that wait for their record at a time."""
WRITTEN = 6000
SINGLE = 600
TARGET_MS = 50.0
TARGET_GAIN = 5.0
REPEATED = 15
"""How often each page is asked for."""
LIMITS = replace(DEFAULT_LIMITS, append_seconds=10.0, store_seconds=60.0, read_seconds=30.0)
"""No journal takes over, and no search is cut short: both would be better figures than are true."""


@dataclass(frozen=True)
class Measured:
    """Values of one thing, and what they should not be above (or below, where ``at_least``)."""

    name: str
    unit: str
    values: list[float]
    target: float | None = None
    at_least: bool = False
