"""What came of judging again what runs, as the JSON that ``scan`` prints; that of the audit pages stands in
review/apirunninganswers.py."""

from typing import Any

from portcullis.model.running import MovedTag, ObjectRef, Rejudged
from portcullis.server.recordjson import decision_json
from portcullis.times import rfc3339


def rejudged_json(result: Rejudged) -> dict[str, Any]:
    """One workload with its decision. Every key is always there."""
    return {
        "key": result.key,
        "owner": owner_json(result.owner),
        "condition": result.condition.value,
        "pods": {"count": result.count, "names": list(result.pods)},
        "moved": [moved_json(moved) for moved in result.moved],
        "breakGlass": result.break_glass,
        "passed": list(result.passed),
        "judgedAt": rfc3339(result.judged_at) if result.judged_at is not None else None,
        **decision_json(result.decision),
    }


def owner_json(owner: ObjectRef) -> dict[str, Any]:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "namespace": owner.namespace,
        "name": owner.name,
        "uid": owner.uid,
    }


def moved_json(moved: MovedTag) -> dict[str, Any]:
    return {
        "reason": moved.reason,
        "container": moved.container,
        "image": moved.written,
        "judged": moved.judged,
        "running": moved.running,
        "decisionId": moved.decision_id,
    }
