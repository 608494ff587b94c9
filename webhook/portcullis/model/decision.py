"""The decision: what is answered and what is recorded."""

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from portcullis.model.grant import Grant
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Mode


class Verdict(StrEnum):
    ADMITTED = "admitted"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    """A policy in deny could not be evaluated for want of facts that may come: answered 503 or 429."""


class Because(StrEnum):
    JUDGED = "judged"
    UNCHANGED = "unchanged"
    EXCEPTION = "exception"
    """Admitted although a policy in deny is violated, because exceptions cover that."""
    BREAK_GLASS = "break-glass"
    """The same, because a grant for an emergency does."""


class Stage(StrEnum):
    """Where on the road a problem arose; also the keys of ``timings``."""

    ADMISSION = "admission"
    REFERENCE = "reference"
    REGISTRY = "registry"
    INSPECTION = "inspection"
    NAMESPACE = "namespace"
    INVENTORY = "inventory"
    USER = "user"
    """Inspection too, but of what only the user of the image is known by."""
    PACKAGES = "packages"
    """Inspection too: of the databases of packages."""
    EVIDENCE = "evidence"
    POLICY = "policy"
    AUDIT = "audit"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class Problem:
    """A fact that could not be had. ``pending`` says that work on it goes on; ``eta_seconds`` how long it may
    take. ``image`` is the reference as written, "" where it is not about one."""

    stage: Stage
    reason: str
    retryable: bool
    msg: str
    image: str = ""
    pending: bool = False
    eta_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, with the mode in force for this policy and namespace."""

    policy: str
    mode: Mode
    severity: str
    msg: str
    container: str = ""
    container_kind: str = ""
    image: str = ""
    digest: str = ""
    platform: str = ""
    field: str = ""
    fix: str = ""
    docs: str = ""
    details: JSONObject = dataclasses.field(default_factory=dict)
    exception: str = ""
    """The id of the exception, or of the grant, that covers it; then it refuses nothing, whatever its mode."""
    excepted_until: datetime | None = None

    @property
    def refuses(self) -> bool:
        return self.mode is Mode.DENY and not self.exception


@dataclass(frozen=True, slots=True)
class UndecidedPolicy:
    """A policy that was not evaluated, under its own mode, and why."""

    policy: str
    mode: Mode
    problems: tuple[Problem, ...]
    exception: str = ""
    """The id of the grant that covers it; then it holds nothing up, whatever its mode."""
    excepted_until: datetime | None = None

    @property
    def blocks(self) -> bool:
        """Whether the request is not admitted for want of it."""
        return self.mode is Mode.DENY and not self.exception


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """An image as written and, where it could be resolved, the digest that was judged. ``stale_since`` is set where
    the registry could not be asked just now and the operator lets older answers of it count: when it gave them."""

    written: str
    digest: str
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The whole outcome of one request.

    ``code`` is the status inside the AdmissionResponse: 200, 403, 429 or 503. ``retry_after_seconds`` is set
    with 429 for people only. ``timings`` are milliseconds per stage. ``document`` is the judged policy input
    as JSON bytes, which is also what is stored; b"" where none could be made. ``masked`` are JSON pointers into it,
    of what holds something that redaction replaced; the first of ``masked_places`` in all. ``grants`` are those that
    cover something, as they were.
    """

    id: str
    verdict: Verdict
    code: int
    because: Because
    message: str
    warnings: tuple[str, ...]
    retry_after_seconds: int | None
    violations: tuple[Violation, ...]
    undecided: tuple[UndecidedPolicy, ...]
    problems: tuple[Problem, ...]
    images: tuple[JudgedImage, ...]
    policy_revision: str
    config_revision: str
    decided_at: datetime
    elapsed_ms: float
    timings: Mapping[str, float]
    document: bytes = field(repr=False)
    masked: tuple[str, ...] = ()
    masked_places: int = 0
    grants: tuple[Grant, ...] = ()

    @property
    def covered(self) -> tuple[Violation | UndecidedPolicy, ...]:
        """What exceptions and grants cover."""
        found: tuple[Violation | UndecidedPolicy, ...] = (*self.violations, *self.undecided)
        return tuple(one for one in found if one.exception)


def unjudged(
    *,
    verdict: Verdict,
    code: int,
    message: str,
    decided_at: datetime,
    id: str = "",  # noqa: A002 - the field has this name
    warnings: tuple[str, ...] = (),
    problems: tuple[Problem, ...] = (),
    policy_revision: str = "",
    config_revision: str = "",
) -> Decision:
    """A decision in which no policy had a part; with an id of its own where none is given."""
    return Decision(
        id=id or str(uuid.uuid4()),
        verdict=verdict,
        code=code,
        because=Because.JUDGED,
        message=message,
        warnings=warnings,
        retry_after_seconds=None,
        violations=(),
        undecided=(),
        problems=problems,
        images=(),
        policy_revision=policy_revision,
        config_revision=config_revision,
        decided_at=decided_at,
        elapsed_ms=0.0,
        timings={},
        document=b"",
    )
