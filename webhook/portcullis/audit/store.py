"""What the audit log asks of the store it writes to."""

from collections.abc import Sequence
from typing import Protocol

from portcullis.errors import RecordsError
from portcullis.model.record import AuditRecord, RecordFilter


class RecordRefused(RecordsError):
    """The store works but will not take one of these records, now or later: a fault of ours, not an outage."""


class Store(Protocol):
    """Keeps records for good. Raises only RecordsError, and ConfigError from ``start``."""

    async def start(self) -> None:
        """Makes the store ready.

        Raises:
            ConfigError: it can never be used as configured.
            RecordsError: it cannot be reached now.
        """
        ...

    async def append_many(self, records: Sequence[AuditRecord]) -> None:
        """Returns once all records are durable; none of them is kept if it raises, unless the outcome is unknown.
        A record whose decision is stored already is skipped.

        A call that is cancelled may still succeed later.
        """
        ...

    async def get(self, decision_id: str) -> AuditRecord | None: ...

    async def search(self, query: RecordFilter) -> Sequence[AuditRecord]: ...

    async def aclose(self) -> None: ...
