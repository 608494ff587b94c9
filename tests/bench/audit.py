"""Figures of the audit log: durable records per second, filtered pages of a large log, its size, its verification.

    python tests/bench/audit.py [--records N] [--stores sqlite postgresql] [--folder DIR]

The large logs are made once for each store and size and kept in a folder outside the tree.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.dialects.sqlite import DATETIME  # noqa: F401

from portcullis.limits import DEFAULT_LIMITS

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
