"""What a record is found by, computed again from its body: columns, images, violations and reasons.

:mod:`portcullis.audit.rows` writes the same from the model; a test compares the two. Here it is done from the bytes,
by typed structures that skip what no column holds, since whoever verifies does it millions of times.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from portcullis.audit import tables
from portcullis.audit.rows import repository_of

COLUMNS = (
    "id",
    "decided_at",
    "uid",
    "username",
    "operation",
    "kind",
    "namespace",
    "name",
    "verdict",
    "code",
    "because",
    "dry_run",
    "caller",
    "policy_revision",
    "config_revision",
    "elapsed_ms",
    "input_hash",
)
"""Of ``decisions``, in the order of :func:`columns`."""
IMAGES = ("written", "digest", "repository")
VIOLATIONS = ("policy", "mode", "severity", "undecided", "exception")

Values = tuple[Any, ...]

key = lru_cache(maxsize=4096)(tables.key)
"""Names of policies, images and people come again and again."""


class _Struct(msgspec.Struct, rename="camel", frozen=True, gc=False):
    pass


class _Problem(_Struct, frozen=True):
    reason: str


class _Violation(_Struct, frozen=True):
    policy: str
    mode: str
    severity: str = ""
    exception: str = ""


class _Undecided(_Struct, frozen=True):
    policy: str
    mode: str
    problems: list[_Problem]
    exception: str = ""


class _Image(_Struct, frozen=True):
    written: str
    digest: str = ""


class _Decision(_Struct, frozen=True):
    id: str
    verdict: str
    code: int
    because: str
    policy_revision: str
    config_revision: str
    decided_at: datetime
    elapsed_ms: float
    violations: list[_Violation] = []
    undecided: list[_Undecided] = []
    problems: list[_Problem] = []
    images: list[_Image] = []
    input_hash: str = ""


class _Request(_Struct, frozen=True):
    uid: str
    username: str
    operation: str
    kind: str
    namespace: str
    name: str
    dry_run: bool


class Body(_Struct, frozen=True):
    """What is read of a record's body."""

    request: _Request
    caller: str
    decision: _Decision


_DECODER = msgspec.json.Decoder(Body)


class NoRecord(ValueError):
    """The bytes are no record."""


def read(body: bytes) -> Body:
    """Reads a body.

    Raises:
        NoRecord: it is none.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError:
        pass
    try:  # msgspec refuses lone surrogates, which a review may hold
        return msgspec.convert(json.loads(body), Body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoRecord(str(error)) from None


def columns(body: Body) -> Values:
    """The values of COLUMNS."""
    request, decision = body.request, body.decision
    return (
        key(decision.id),
        decision.decided_at,
        key(request.uid),
        key(request.username),
        key(request.operation),
        key(request.kind),
        key(request.namespace),
        key(request.name),
        decision.verdict,
        decision.code,
        decision.because,
        request.dry_run,
        body.caller,
        key(decision.policy_revision),
        key(decision.config_revision),
        decision.elapsed_ms,
        decision.input_hash or None,
    )


def images(body: Body) -> Sequence[Values]:
    """Rows of IMAGES, in order."""
    return [(key(one.written), key(one.digest), key(repository_of(one.written))) for one in body.decision.images]


def violations(body: Body) -> Sequence[Values]:
    """Rows of VIOLATIONS, in order."""
    decision = body.decision
    rows = [(key(one.policy), one.mode, key(one.severity), False, key(one.exception)) for one in decision.violations]
    return [*rows, *((key(one.policy), one.mode, "", True, key(one.exception)) for one in decision.undecided)]


def reasons(body: Body) -> Sequence[str]:
    """The reasons, sorted."""
    decision = body.decision
    found = {key(one.reason) for one in decision.problems}
    found |= {key(problem.reason) for one in decision.undecided for problem in one.problems}
    return sorted(found)
