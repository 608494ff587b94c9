"""What the audit log keeps and how it is asked."""

from dataclasses import dataclass, field
from datetime import datetime

from portcullis.model.decision import Decision
from portcullis.model.request import Caller


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One decision with who asked for what. ``sequence`` is given by the store: 0 until then."""

    uid: str
    username: str
    groups: tuple[str, ...]
    operation: str
    kind: str
    api_version: str
    resource: str
    sub_resource: str
    namespace: str
    name: str
    dry_run: bool
    caller: Caller
    webhook_version: str
    decision: Decision
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Conditions that all hold; None or "" means no condition. ``before`` is a sequence number to page by."""

    since: datetime | None = None
    until: datetime | None = None
    namespace: str = ""
    kind: str = ""
    name: str = ""
    username: str = ""
    image: str = ""
    digest: str = ""
    policy: str = ""
    exception: str = ""
    verdict: str = ""
    before: int | None = None
    limit: int = field(default=50)
