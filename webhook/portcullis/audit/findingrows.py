"""Results of judging again as rows, and back.

    {"owner": {"apiVersion", "kind", "namespace", "name", "uid"}, "key", "pods": [], "count", "condition", "passed": [],
     "moved": [{"container", "written", "judged", "running", "decisionId"}], "breakGlass", "judgedAt", "omitted",
     "decision": as in the audit log (:mod:`portcullis.audit.codec`)}

The names below are the format; they do not follow those of the model.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from portcullis.audit import codec
from portcullis.audit.inserting import Row
from portcullis.audit.sql import inflate
from portcullis.audit.tables import key
from portcullis.limits import Limits
from portcullis.model.decision import UndecidedPolicy, Violation
from portcullis.model.image import Digest
from portcullis.model.running import Condition, MovedTag, ObjectRef, Rejudged, Round

RANKS = {condition: rank for rank, condition in enumerate(Condition)}
"""The worst first, as the model has them."""

_SPARE_BYTES = 1024 * 1024
"""What a stored result may have beyond ``finding_bytes``: names, images, policies that passed."""

_Part = Violation | UndecidedPolicy | MovedTag


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A result as the tables hold it; ``images`` and ``policies`` want the number that ``finding`` gets."""

    finding: Row
    images: tuple[Row, ...]
    policies: tuple[Row, ...]


def row_of(result: Rejudged, limits: Limits) -> FindingRow:
    """The rows of a result, no larger than ``finding_bytes``, but for its names and images."""
    images = [(image.written, image.digest) for image in result.decision.images]
    images += [(moved.written, moved.running) for moved in result.moved]
    finding = {
        "rank": RANKS[result.condition],
        "namespace": key(result.owner.namespace),
        "kind": key(result.owner.kind),
        "name": key(result.owner.name),
        "key": key(result.key),
        "pods": result.count,
        "moved": bool(result.moved),
        "break_glass": key(result.break_glass),
        "body": zlib.compress(codec.dump(_tree(_fitting(result, limits)))),
    }
    return FindingRow(
        finding,
        tuple(
            {"position": position, "written": key(written), "digest": key(digest)}
            for position, (written, digest) in enumerate(dict.fromkeys(images))
        ),
        tuple(
            {"policy": policy, "mode": mode, "outcome": outcome}
            for policy, mode, outcome in dict.fromkeys(_outcomes(result))
        ),
    )


def result_of(content: bytes, limits: Limits) -> Rejudged:
    """The result of a body.

    Raises:
        CodecError: the body is not what :func:`row_of` makes.
    """
    try:
        tree = json.loads(inflate(content, limits.finding_bytes + _SPARE_BYTES))
        owner, moved = tree["owner"], tree["moved"]
        return Rejudged(
            owner=ObjectRef(owner["apiVersion"], owner["kind"], owner["namespace"], owner["name"], owner["uid"]),
            key=tree["key"],
            pods=tuple(tree["pods"]),
            count=tree["count"],
            decision=codec.decision_of(tree["decision"]),
            condition=Condition(tree["condition"]),
            passed=tuple(tree["passed"]),
            moved=tuple(_moved_of(one) for one in moved),
            break_glass=tree["breakGlass"],
            judged_at=datetime.fromisoformat(tree["judgedAt"]) if tree["judgedAt"] else None,
            omitted=tree["omitted"],
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise codec.CodecError(f"a stored result of what runs is damaged: {error}") from None


def round_row(one: Round) -> Row:
    """A round without its number."""
    body = {
        "replica": one.replica,
        "workloads": one.workloads,
        "pods": one.pods,
        "images": one.images,
        "registryRequests": one.registry_requests,
        "unreachable": one.unreachable,
    }
    return {
        "id": key(one.id),
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "body": codec.dump(body).decode("ascii"),
    }


def round_of(row: Any) -> Round:
    """The round of a row.

    Raises:
        CodecError: it is none.
    """
    try:
        tree = json.loads(row.body)
        return Round(
            id=row.id,
            started_at=row.started_at,
            ended_at=row.ended_at,
            replica=tree["replica"],
            workloads=tree["workloads"],
            pods=tree["pods"],
            images=tree["images"],
            registry_requests=tree["registryRequests"],
            unreachable=tree["unreachable"],
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise codec.CodecError(f"a stored round is damaged: {error}") from None


# -- what fits -----------------------------------------------------------------------------------------------------


def _fitting(result: Rejudged, limits: Limits) -> Rejudged:
    """The result without the document, and of what it found the worst that fits, in the order in which it was."""
    decision = replace(result.decision, document=b"")
    parts: list[_Part] = [*result.moved, *decision.violations, *decision.undecided]
    if len(codec.dump(_tree(replace(result, decision=decision)))) <= limits.finding_bytes:
        return replace(result, decision=decision)
    left = limits.finding_bytes
    kept: set[int] = set()
    for place in sorted(range(len(parts)), key=lambda place: (_weight(parts[place]), place)):
        left -= _size(parts[place])
        if left < 0:
            break
        kept.add(place)
    chosen = [part for place, part in enumerate(parts) if place in kept]
    decision = replace(
        decision,
        message="",
        warnings=(),
        problems=(),
        masked=(),
        violations=tuple(part for part in chosen if isinstance(part, Violation)),
        undecided=tuple(part for part in chosen if isinstance(part, UndecidedPolicy)),
    )
    moved = tuple(part for part in chosen if isinstance(part, MovedTag))
    return replace(result, decision=decision, moved=moved, omitted=result.omitted + len(parts) - len(chosen))


def _weight(part: _Part) -> int:
    """What makes the workload fail comes first, then what could not be decided in deny."""
    if isinstance(part, MovedTag):
        return 0
    if isinstance(part, Violation):
        return 0 if part.refuses else 2
    return 1 if part.blocks else 3


def _size(part: _Part) -> int:
    return len(codec.dump(_moved(part) if isinstance(part, MovedTag) else codec.part_json(part)))


# -- the format ----------------------------------------------------------------------------------------------------


def _tree(result: Rejudged) -> Mapping[str, Any]:
    owner = result.owner
    return {
        "owner": {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "namespace": owner.namespace,
            "name": owner.name,
            "uid": owner.uid,
        },
        "key": result.key,
        "pods": list(result.pods),
        "count": result.count,
        "condition": result.condition.value,
        "passed": list(result.passed),
        "moved": [_moved(one) for one in result.moved],
        "breakGlass": result.break_glass,
        "judgedAt": result.judged_at.astimezone(UTC).isoformat() if result.judged_at else None,
        "omitted": result.omitted,
        "decision": codec.decision_json(result.decision),
    }


def _moved(one: MovedTag) -> Mapping[str, str]:
    return {
        "container": one.container,
        "written": one.written,
        "judged": one.judged,
        "running": one.running,
        "decisionId": one.decision_id,
    }


def _moved_of(tree: Mapping[str, Any]) -> MovedTag:
    return MovedTag(
        tree["container"], tree["written"], Digest(tree["judged"]), Digest(tree["running"]), tree["decisionId"]
    )


def _outcomes(result: Rejudged) -> Iterator[tuple[str, str, str]]:
    for violation in result.decision.violations:
        yield key(violation.policy), violation.mode.value, "excepted" if violation.exception else "violation"
    for undecided in result.decision.undecided:
        yield key(undecided.policy), undecided.mode.value, "undecided"


def numbered(rows: Sequence[Row], finding: int) -> Iterator[Row]:
    """The rows, as belonging to that finding."""
    return ({**row, "finding": finding} for row in rows)
