"""What the JSON API answers; names as ``portcullis audit show -o json`` prints them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "portcullis.dev/v1"

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Verdict = Literal["admitted", "refused", "undecided"]
Mode = Literal["deny", "warn", "audit"]


class Answer(BaseModel):
    """Closed: a name that is not here is in no answer."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )


class Problem(Answer):
    """A fact that could not be had."""

    stage: str
    reason: str
    retryable: bool
    pending: bool
    image: str
    msg: str


class Violation(Answer):
    """A rule that was broken."""

    policy: str
    mode: Mode
    severity: str
    container: str
    container_kind: str
    image: str
    digest: str
    platform: str
    field: str
    msg: str
    fix: str
    docs: str
    details: dict[str, Any]
    exception: str
    """That covers it: the id of an exception, or of a grant."""
    excepted_until: Instant | None


class Undecided(Answer):
    """A policy that was not evaluated."""

    policy: str
    mode: Mode
    problems: tuple[Problem, ...]
    exception: str
    """The grant that covers it."""
    excepted_until: Instant | None


class Grant(Answer):
    """A BreakGlass that covers something."""

    id: str
    """As it stands in ``exception``: ``break-glass:<namespace>/<name>``."""
    namespace: str
    name: str
    uid: str
    policies: tuple[str, ...]
    """Or ``*``."""
    images: tuple[str, ...]
    digests: tuple[str, ...]
    covers_problems: bool
    reason: str
    created: Instant
    expires: Instant


class JudgedImage(Answer):
    """An image as written, and what it stood for."""

    written: str
    digest: str
    stale_since: Instant | None = None


class User(Answer):
    """Who asked."""

    username: str
    groups: tuple[str, ...]


class Record(Answer):
    """One decision, with who asked for what."""

    id: str
    sequence: int
    decided_at: Instant
    uid: str
    user: User
    caller: Literal["certificate", "path", "unverified", "local"]
    operation: str
    kind: str
    api_version: str
    resource: str
    sub_resource: str
    namespace: str
    name: str
    dry_run: bool
    verdict: Verdict
    code: int
    because: str
    violations: tuple[Violation, ...]
    undecided: tuple[Undecided, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    images: tuple[JudgedImage, ...]
    grants: tuple[Grant, ...]
    """Those that cover something."""
    policy_revision: str
    elapsed_ms: float
    message: str
    timings: dict[str, float]
    config_revision: str
    webhook_version: str
    masked: tuple[str, ...]
    """JSON pointers into the input: what redaction replaced, the first of ``maskedPlaces``."""
    masked_places: int


class ChainPlace(Answer):
    """Where a record stands in the chain of the replica that wrote it."""

    chain: str
    replica: str
    position: int
    hash: str


class RecordWhole(Record):
    """A decision with its place in the chain."""

    place: ChainPlace | None
    """null for what is older than chains."""
    input: Any = None
    """The judged policy input, where ``input=true`` asks for it; null where none could be made."""


class RecordList(Answer):
    """Decisions, the newest first."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["AuditRecordList"] = "AuditRecordList"
    items: tuple[Record, ...]
    next: int | None
    """The ``before`` of the page behind; null where there is none."""
    searched_to: Instant | None
    """Set where the search ended for want of time: what is older was not looked at, and ``next`` goes on there."""


class ImageUse(Answer):
    """An image in the log."""

    digest: str
    written: str
    """As it was written last."""
    first_at: Instant
    last_at: Instant
    decisions: int
    refused: int
    namespaces: int


class ImageList(Answer):
    """Images, the last seen first."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["AuditImageList"] = "AuditImageList"
    items: tuple[ImageUse, ...]
    next: str | None
    """The ``after`` of the page behind; null where there is none."""


class WorkloadUse(Answer):
    """The newest decision on a workload with the image."""

    namespace: str
    kind: str
    name: str
    written: str
    decision_id: str
    decided_at: Instant
    verdict: Verdict
    because: str


class ImageFacts(Answer):
    """What a decision was told of an image."""

    decision_id: str
    decided_at: Instant
    image: dict[str, Any]
    """As policies saw it: ``input.images[…]`` of ``portcullis schema``, of the version that made the decision."""


class ImageWhole(ImageUse):
    """An image, and where it was asked for lately."""

    workloads: tuple[WorkloadUse, ...]
    facts: ImageFacts | None
    """Of the newest decision that knew most of it; null where no document of its decisions is kept."""


class Tally(Answer):
    """Decisions under one mode."""

    mode: str
    violations: int
    excepted: int
    undecided: int


class PolicyUse(Answer):
    """A policy, and what it did."""

    name: str
    loaded: bool
    """Whether it is judged by now; of one that is not, only its name is known."""
    title: str
    description: str
    severity: str
    category: str
    default_mode: str
    docs: str
    tallies: tuple[Tally, ...]


class PolicyList(Answer):
    """Policies by name: those that are loaded, and those that did something in the time."""

    api_version: Literal["portcullis.dev/v1"] = "portcullis.dev/v1"
    kind: Literal["AuditPolicyList"] = "AuditPolicyList"
    since: Instant
    until: Instant
    policy_revision: str
    items: tuple[PolicyUse, ...]


class PolicyBucket(Answer):
    """One hour or day."""

    start: Instant
    violations: int
    excepted: int
    undecided: int


class Counted(Answer):
    """A name and how often."""

    name: str
    count: int


class PolicyWhole(PolicyUse):
    """A policy, and what it did when and where."""

    since: Instant
    until: Instant
    buckets: tuple[PolicyBucket, ...]
    namespaces: tuple[Counted, ...]
    images: tuple[Counted, ...]
    """Digests."""


class NamespaceCount(Answer):
    """A namespace, and how many decisions were refused in it."""

    namespace: str
    refused: int


class VerdictBucket(Answer):
    """Decisions of one hour or day; dry runs are in ``dryRuns`` only."""

    start: Instant
    admitted: int
    refused: int
    outages: int
    pending: int
    excepted: int
    break_glass: int
    dry_runs: int


class PolicyTally(Tally):
    """Decisions of one policy under one mode."""

    policy: str


class Extent(Answer):
    """How much there is; ``records`` may be an estimate."""

    records: int
    oldest: Instant | None
    newest: Instant | None


class Fault(Answer):
    """What is wrong with a parameter."""

    parameter: str
    message: str


class ProblemDetails(Answer):
    """RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    reason: str
    """A code of docs/reasons.md."""
    errors: tuple[Fault, ...] = ()
