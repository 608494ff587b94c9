"""Decisions and their records as JSON: what ``check``, ``audit`` and the JSON API of the audit pages print alike."""

import json
from typing import Any

from portcullis.model.decision import Decision, JudgedImage, Problem, UndecidedPolicy, Violation
from portcullis.model.record import AuditRecord
from portcullis.times import rfc3339


def record_json(record: AuditRecord, *, document: bool) -> dict[str, Any]:
    """A record; ``document`` adds the judged policy input."""
    decision = record.decision
    tree = {
        "id": decision.id,
        "sequence": record.sequence,
        "decidedAt": rfc3339(decision.decided_at),
        "uid": record.uid,
        "user": {"username": record.username, "groups": list(record.groups)},
        "caller": record.caller.value,
        "operation": record.operation,
        "kind": record.kind,
        "apiVersion": record.api_version,
        "resource": record.resource,
        "subResource": record.sub_resource,
        "namespace": record.namespace,
        "name": record.name,
        "dryRun": record.dry_run,
        **decision_json(decision),
        "message": decision.message,
        "timings": {stage: round(milliseconds, 3) for stage, milliseconds in decision.timings.items()},
        "configRevision": decision.config_revision,
        "webhookVersion": record.webhook_version,
        "masked": list(decision.masked),
        "maskedPlaces": decision.masked_places,
    }
    if document:
        tree["input"] = json.loads(decision.document) if decision.document else None
    return tree


def decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "verdict": decision.verdict.value,
        "code": decision.code,
        "because": decision.because.value,
        "violations": [violation_json(violation) for violation in decision.violations],
        "undecided": [undecided_json(policy) for policy in decision.undecided],
        "problems": [problem_json(problem) for problem in decision.problems],
        "warnings": list(decision.warnings),
        "images": [_image(image) for image in decision.images],
        "policyRevision": decision.policy_revision,
        "elapsedMs": round(decision.elapsed_ms, 3),
    }


def violation_json(violation: Violation) -> dict[str, Any]:
    return {
        "policy": violation.policy,
        "mode": violation.mode.value,
        "severity": violation.severity,
        "container": violation.container,
        "containerKind": violation.container_kind,
        "image": violation.image,
        "digest": violation.digest,
        "platform": violation.platform,
        "field": violation.field,
        "msg": violation.msg,
        "fix": violation.fix,
        "docs": violation.docs,
        "details": violation.details,
        "exception": violation.exception,
        "exceptedUntil": rfc3339(violation.excepted_until) if violation.excepted_until is not None else None,
    }


def undecided_json(policy: UndecidedPolicy) -> dict[str, Any]:
    return {
        "policy": policy.policy,
        "mode": policy.mode.value,
        "problems": [problem_json(problem) for problem in policy.problems],
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "stage": problem.stage.value,
        "reason": problem.reason,
        "retryable": problem.retryable,
        "pending": problem.pending,
        "image": problem.image,
        "msg": problem.msg,
    }


def _image(image: JudgedImage) -> dict[str, Any]:
    stale = {"staleSince": rfc3339(image.stale_since)} if image.stale_since is not None else {}
    return {"written": image.written, "digest": image.digest, **stale}
