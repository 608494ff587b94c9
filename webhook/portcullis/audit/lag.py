"""How far the store is behind: since when there are records in the journal that it does not have."""

from collections.abc import Sequence
from datetime import datetime

from portcullis.audit.journal import Entry
from portcullis.model.record import AuditRecord


class Behind:
    """Follows what goes into the journal and out of it. ``since`` is when the oldest record in it was decided, or
    earlier by no more than what lies between two neighbours; None while it is empty."""

    def __init__(self) -> None:
        self.since: datetime | None = None

    def found(self, entries: Sequence[Entry], now: datetime) -> None:
        """A journal of an earlier run begins with these."""
        decided = [entry.record.decision.decided_at for entry in entries if entry.record is not None]
        self.since = decided[0] if decided else now

    def took(self, records: Sequence[AuditRecord]) -> None:
        """They were written behind the others."""
        if self.since is None and records:
            self.since = records[0].decision.decided_at

    def gave(self, entries: Sequence[Entry], left: int) -> None:
        """The first of it went to the store, and so many are left."""
        decided = [entry.record.decision.decided_at for entry in entries if entry.record is not None]
        if not left:
            self.since = None
        elif decided:
            self.since = decided[-1]
