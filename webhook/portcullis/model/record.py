"""What the audit log keeps and how it is asked."""

from dataclasses import dataclass, field
from datetime import datetime

from portcullis.model.decision import Decision
from portcullis.model.request import Caller

Visible = frozenset[str] | None
"""The namespaces whose decisions a reader may see. None: all of them, and those of objects without a namespace."""


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
    sampled: bool = False
    """A sketch of what a stranger sent (design rule 13), one of many: it counts for no figure."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Conditions that all hold; None or "" means no condition. ``before`` is a sequence number to page by.

    ``policy``, ``mode`` and ``exception`` speak of one and the same violation or undecided policy; ``exception`` is the
    id of an exception or a grant. ``reason`` is a reason code of a
    problem. ``text`` are words that the message holds, all of them, as whole words of any case.
    """

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
    mode: str = ""
    reason: str = ""
    because: str = ""
    caller: str = ""
    text: str = ""
    dry_run: bool | None = None
    visible: Visible = None
    before: int | None = None
    limit: int = field(default=50)


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of the newest matching records, newest first, without their documents.

    ``next`` is the ``before`` of the page behind it; None where there is nothing more. ``searched_to`` is set where
    the search was given up for want of time: records older than that were not looked at, and ``next`` goes on there.
    ``damaged`` are sequences of rows that belong here and are no records any more.
    """

    records: tuple[AuditRecord, ...]
    next: int | None = None
    searched_to: datetime | None = None
    damaged: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """Where a record stands in the chain of the replica that wrote it; ``hash`` in lower-case hexadecimal."""

    chain: str
    replica: str
    position: int
    hash: str


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since`` on, before ``until``."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class VerdictBucket:
    """Decisions of one hour or day, from ``start`` on. ``outages`` are undecided ones that were answered 503,
    ``pending`` those that were answered 429; neither counts as refused. Dry runs are only in ``dry_runs``."""

    start: datetime
    admitted: int = 0
    refused: int = 0
    outages: int = 0
    pending: int = 0
    excepted: int = 0
    """Of the admitted ones, those by an exception."""
    break_glass: int = 0
    """Of the admitted ones, those by break-glass."""
    dry_runs: int = 0


@dataclass(frozen=True, slots=True)
class PolicyTally:
    """What a policy did, by mode: decisions with an uncovered violation of it, with violations that an exception
    covers, and those for which it could not be evaluated. Dry runs do not count."""

    policy: str
    mode: str
    violations: int = 0
    excepted: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class PolicyBucket:
    start: datetime
    violations: int = 0
    excepted: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A name and how often."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image digest in the log. ``written`` is how it was written last."""

    digest: str
    written: str
    first_at: datetime
    last_at: datetime
    decisions: int
    refused: int
    namespaces: int


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Images, the last seen first; ``next`` is handed back for the page behind, "" where there is none."""

    images: tuple[ImageUse, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadUse:
    """The newest decision on a workload that holds an image."""

    namespace: str
    kind: str
    name: str
    written: str
    decision_id: str
    decided_at: datetime
    verdict: str
    because: str


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is: ``records`` is exact or, in a large log, an estimate."""

    records: int
    oldest: datetime | None
    newest: datetime | None
