"""The join of the API server's audit log with the records tells every fate of a request apart."""

from typing import Any

import pytest

from e2e.faulting.asking import DENIED, UNANSWERED
from e2e.faulting.joining import Fate, join

RULES = [{"apiGroups": [""], "resources": ["pods"]}]
WORDS = {"username": "jane", "operation": "CREATE", "kind": "Pod", "namespace": "shop", "name": "web", "dry_run": 0}


def record(number: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, **WORDS, **fields}


def event(decision: str = "", code: int = 201, message: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "verb": "create",
        "objectRef": {"resource": "pods", "namespace": "shop"},
        "responseStatus": {"code": code, "message": message},
        "annotations": {"gate.portcullis.dev/decision-id": decision} if decision else {},
        **fields,
    }


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        (event("d-1"), Fate.RECORDED),
        (event("d-1", 403, f"{DENIED}1 policy refuses"), Fate.RECORDED),
        (event("d-2"), Fate.UNMATCHED),
        (event(), Fate.UNMATCHED),
        (event("", 403, f"{DENIED}1 policy refuses"), Fate.UNMATCHED),
        (event("", 409, "already exists"), Fate.BEFORE),
        (event("", 500, f"{UNANSWERED}: connection refused"), Fate.UNANSWERED),
        (event("", 503, f"{DENIED}[audit-unavailable] the decision could not be recorded"), Fate.UNRECORDED),
        (event("", 201, f"{UNANSWERED}: connection refused"), Fate.UNMATCHED),
        (event("", 200, f"{DENIED}[audit-unavailable] the decision could not be recorded"), Fate.UNMATCHED),
        (event("", 504, "the server was unable to return a response in the time allotted"), Fate.LATE),
        (event("", 504, 'admission webhook "gate.portcullis.dev" is late'), Fate.UNMATCHED),
    ],
)
def test_fates(found: dict[str, Any], fate: Fate) -> None:
    assert [one for _, one in join([found], [record("d-1")], RULES, []).events] == [fate]


def test_what_no_rule_covers_has_no_fate() -> None:
    other = event(objectRef={"resource": "configmaps", "namespace": "shop"})
    exempt = event(objectRef={"resource": "pods", "namespace": "kube-system"})
    assert join([other, exempt], [], RULES, ["kube-system"]).events == []


def test_before_there_was_a_gate() -> None:
    found = join([event(), event()], [], RULES, [], ungated=1)
    assert [fate for _, fate in found.events] == [Fate.UNGATED, Fate.UNMATCHED]


def test_records_that_nobody_asked_for_and_decisions_that_two_refer_to() -> None:
    again, stray = record("d-2"), record("d-3", name="another")
    found = join([event("d-1"), event("d-1")], [record("d-1"), again, stray], RULES, [])
    assert list(found.unclaimed) == [stray], "asked twice about one request is no stray"
    assert list(found.twice) == ["d-1"]
