"""Workloads that were judged again, to be reported."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fakes.decisions import VIOLATION, decision
from portcullis.model.running import Condition, ObjectRef, Rejudged

OWNER = ObjectRef("apps/v1", "Deployment", "shop", "web", "u-1")


def rejudged(*, owner: ObjectRef = OWNER, condition: Condition = Condition.FAILING, **fields: Any) -> Rejudged:
    """``fields`` are those of Rejudged or of its decision."""
    own = {key: fields.pop(key) for key in ("passed", "moved", "break_glass") if key in fields}
    return Rejudged(
        owner=owner, key="k", pods=("web-1",), count=2, decision=decision(**fields), condition=condition, **own
    )


def failing(count: int, *, namespace: str = "shop", each: int = 1, msg: str = "runs as root") -> Sequence[Rejudged]:
    """So many Deployments with so many violations each."""
    violations = tuple(replace(VIOLATION, container=f"c{number}", msg=msg) for number in range(each))
    return [
        rejudged(
            owner=ObjectRef("apps/v1", "Deployment", namespace, f"web-{number:05}", f"u-{number}"),
            violations=violations,
            passed=("image-age",),
        )
        for number in range(count)
    ]
