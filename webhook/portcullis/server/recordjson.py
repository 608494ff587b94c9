"""Decisions and their records as JSON: what ``check``, ``audit`` and the JSON API of the audit pages print alike."""

import json
from typing import Any

from portcullis.model.decision import Decision, JudgedImage, Problem, UndecidedPolicy, Violation
from portcullis.model.grant import Grant
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
        "grants": [grant_json(grant) for grant in decision.grants],
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
        **covered_json(violation),
    }


def undecided_json(policy: UndecidedPolicy) -> dict[str, Any]:
    return {
        "policy": policy.policy,
        "mode": policy.mode.value,
        "problems": [problem_json(problem) for problem in policy.problems],
        **covered_json(policy),
    }


def covered_json(one: Violation | UndecidedPolicy) -> dict[str, Any]:
    """What covers it: the id of an exception or of a grant, and until when."""
    until = rfc3339(one.excepted_until) if one.excepted_until is not None else None
    return {"exception": one.exception, "exceptedUntil": until}


def grant_json(grant: Grant) -> dict[str, Any]:
    """A grant, with the names that a BreakGlass has."""
    return {
        "id": grant.id,
        "namespace": grant.namespace,
        "name": grant.name,
        "uid": grant.uid,
        "policies": list(grant.policies),
        "images": list(grant.images),
        "digests": list(grant.digests),
        "coversProblems": grant.covers_problems,
        "reason": grant.reason,
        "created": rfc3339(grant.created),
        "expires": rfc3339(grant.expires),
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
