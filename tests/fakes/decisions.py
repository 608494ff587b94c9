"""Decisions and records to print."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from portcullis.cli.decisions import Judged
from portcullis.model.decision import (
    Because,
    Decision,
    JudgedImage,
    Problem,
    Stage,
    UndecidedPolicy,
    Verdict,
    Violation,
)
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode

DIGEST = "sha256:" + "ab" * 32

VIOLATION = Violation(
    policy="image-user",
    mode=Mode.DENY,
    severity="high",
    msg="runs as root: the image names no USER",
    container="web",
    container_kind="container",
    image="registry.example/acme/web:1.4",
    digest=DIGEST,
    platform="linux/arm64",
    fix="set USER to a numeric id in the Dockerfile",
    docs="https://docs.example/image-user",
    details={"reason": "user-root"},
)
WARNED = Violation(policy="image-pinned", mode=Mode.WARN, severity="low", msg="is named by a tag", container="web")
OUTAGE = Problem(
    Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no answer", image="registry.example/acme/web:1.4"
)


def decision(**fields: Any) -> Decision:
    values: dict[str, Any] = {
        "id": "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1d",
        "verdict": Verdict.ADMITTED,
        "code": 200,
        "because": Because.JUDGED,
        "message": "",
        "warnings": (),
        "retry_after_seconds": None,
        "violations": (),
        "undecided": (),
        "problems": (),
        "images": (JudgedImage("registry.example/acme/web:1.4", DIGEST),),
        "policy_revision": "sha256:" + "cd" * 32,
        "config_revision": "sha256:" + "ef" * 32,
        "decided_at": datetime(2026, 11, 24, 12, 30, 15, 250_000, tzinfo=UTC),
        "elapsed_ms": 12.3456,
        "timings": {"registry": 8.0, "policy": 3.5, "gate": 12.3456},
        "document": b'{"request":{"uid":"u-1"}}',
    }
    return Decision(**(values | fields))


def refused() -> Decision:
    return decision(verdict=Verdict.REFUSED, code=403, violations=(WARNED, VIOLATION), message="1 policy refuses …")


def undecided() -> Decision:
    waiting = (
        UndecidedPolicy("image-user", Mode.DENY, (OUTAGE,)),
        UndecidedPolicy("image-age", Mode.WARN, (OUTAGE,)),
    )
    return decision(verdict=Verdict.UNDECIDED, code=503, undecided=waiting, problems=(OUTAGE,), images=())


GRANT = Grant(
    namespace="shop",
    name="payments-down",
    uid="u-9",
    policies=("*",),
    images=("registry.example/acme/**",),
    digests=(),
    covers_problems=True,
    reason="the scanner is down and payments must go out",
    created=datetime(2026, 11, 24, 12, 0, tzinfo=UTC),
    expires=datetime(2026, 11, 24, 15, 0, tzinfo=UTC),
)


def open_grant(created: datetime, expires: datetime, **changes: Any) -> Grant:
    """For everything in the namespace shop, also what cannot be evaluated; ``changes`` of it."""
    whole = Grant(
        namespace="shop",
        name="down",
        uid="u-1",
        policies=("*",),
        images=(),
        digests=(),
        covers_problems=True,
        reason="payments must go out",
        created=created,
        expires=expires,
    )
    return replace(whole, **changes)


def let_in() -> Decision:
    """By a grant, which covers a violation and a policy that could not be evaluated."""
    covered: dict[str, Any] = {"exception": GRANT.id, "excepted_until": GRANT.expires}
    return decision(
        because=Because.BREAK_GLASS,
        violations=(replace(VIOLATION, **covered),),
        undecided=(UndecidedPolicy("scan-required", Mode.DENY, (OUTAGE,), **covered),),
        problems=(OUTAGE,),
        warnings=("[break-glass] shop/payments-down until 2026-11-24T15:00Z: …",),
        grants=(GRANT,),
    )


def judged(made: Decision | None, *, source: str = "deploy.yaml#0", **fields: Any) -> Judged:
    values: dict[str, Any] = {
        "source": source,
        "file": source.partition("#")[0],
        "line": 3,
        "kind": "Deployment",
        "namespace": "shop",
        "name": "checkout",
        "decision": made,
    }
    return Judged(**(values | fields))


def unreadable() -> Judged:
    problem = Problem(Stage.ADMISSION, "manifest-malformed", retryable=False, msg="not an object but a list")
    return judged(None, source="bad.yaml#2", kind="", namespace="", name="", problems=(problem,))


def record(made: Decision | None = None, **fields: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "uid": "u-1",
        "username": "dana@example.test",
        "groups": ("shop-developers", "system:authenticated"),
        "operation": "CREATE",
        "kind": "Deployment",
        "api_version": "apps/v1",
        "resource": "deployments",
        "sub_resource": "",
        "namespace": "shop",
        "name": "checkout",
        "dry_run": False,
        "caller": Caller.PATH,
        "webhook_version": "0.1.0",
        "decision": made or refused(),
        "sequence": 7,
    }
    return AuditRecord(**(values | fields))
