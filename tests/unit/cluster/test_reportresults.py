"""What came of judging again, as the results of reports: each outcome, bounded, and the same in every round."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.decisions import DIGEST, OUTAGE, VIOLATION, WARNED
from fakes.reported import OWNER, rejudged
from portcullis.cluster.reportresults import MESSAGE_CHARS, PROPERTY_CHARS, left_out, passes, results_of, summary
from portcullis.model.decision import UndecidedPolicy
from portcullis.model.image import Digest
from portcullis.model.ruling import Mode
from portcullis.model.running import MovedTag, Rejudged

UNTIL = datetime(2027, 1, 31, tzinfo=UTC)
JUDGED = Digest("sha256:" + "0a" * 32)
RUNS = Digest("sha256:" + "0b" * 32)
GRANT = "break-glass:shop/outage"

CASES: dict[str, tuple[Rejudged, dict[str, Any], dict[str, str]]] = {
    "a violation in mode deny": (
        rejudged(violations=(VIOLATION,)),
        {"policy": "image-user", "result": "fail", "scored": True, "severity": "high"},
        {"mode": "deny", "container": "web", "containerKind": "container", "digest": DIGEST, "platform": "linux/arm64"},
    ),
    "one in mode warn": (
        rejudged(violations=(WARNED,)),
        {"policy": "image-pinned", "result": "warn", "severity": "low", "message": "is named by a tag."},
        {"mode": "warn", "container": "web"},
    ),
    "one in mode audit": (
        rejudged(violations=(replace(VIOLATION, mode=Mode.AUDIT, severity="negligible"),)),
        {"result": "warn", "severity": "info"},
        {"mode": "audit"},
    ),
    "one of a severity that reports do not have": (
        rejudged(violations=(replace(VIOLATION, severity="unknown"),)),
        {"result": "fail", "scored": True},
        {},
    ),
    "one that an exception covers": (
        rejudged(violations=(replace(VIOLATION, exception="EX-12", excepted_until=UNTIL),)),
        {"result": "skip", "severity": "high"},
        {"exception": "EX-12", "expires": "2027-01-31T00:00:00Z", "mode": "deny"},
    ),
    "one that a grant covers": (
        rejudged(violations=(replace(VIOLATION, exception=GRANT, excepted_until=UNTIL),)),
        {"result": "skip", "severity": "high"},
        {"exception": GRANT, "expires": "2027-01-31T00:00:00Z"},
    ),
    "a policy that could not be evaluated": (
        rejudged(undecided=(UndecidedPolicy("scan-fresh", Mode.DENY, (OUTAGE, OUTAGE)),)),
        {"policy": "scan-fresh", "result": "error", "message": "could not be evaluated: no answer (and 1 more)"},
        {"mode": "deny", "reason": "registry-unreachable", "image": "registry.example/acme/web:1.4"},
    ),
    "one that a grant covers all the same": (
        rejudged(
            undecided=(UndecidedPolicy("scan-fresh", Mode.DENY, (OUTAGE,), exception=GRANT, excepted_until=UNTIL),)
        ),
        {"policy": "scan-fresh", "result": "skip", "message": "could not be evaluated: no answer"},
        {"exception": GRANT, "expires": "2027-01-31T00:00:00Z", "reason": "registry-unreachable"},
    ),
    "one that was not, because another refuses": (
        rejudged(undecided=(UndecidedPolicy("scan-fresh", Mode.WARN, ()),)),
        {"policy": "scan-fresh", "result": "skip", "message": "was not evaluated: another policy refuses already"},
        {"reason": "another-refuses", "mode": "warn"},
    ),
    "a tag that has moved": (
        rejudged(moved=(MovedTag("web", "registry.example/acme/web:1.4", JUDGED, RUNS, "d-1"),)),
        {"policy": "tag-moved", "result": "fail", "scored": True, "severity": "high"},
        {"judged": JUDGED, "digest": RUNS, "image": "registry.example/acme/web:1.4", "decision": "d-1"},
    ),
    "a workload that a grant let in": (
        rejudged(break_glass=GRANT),
        {"policy": "break-glass", "result": "warn"},
        {"exception": GRANT},
    ),
}


@pytest.mark.parametrize(("one", "fields", "properties"), CASES.values(), ids=CASES)
def test_each_outcome(one: Rejudged, fields: dict[str, Any], properties: dict[str, str]) -> None:
    (found,) = results_of([one])
    body = found.body
    assert {key: body[key] for key in fields} == fields
    assert ("scored" in body, "severity" in body) == ("scored" in fields, "severity" in fields)
    assert {key: body["properties"].get(key) for key in properties} == properties
    assert body["source"] == "portcullis"
    assert body["resources"] == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "u-1"}
    ]


def test_a_violation_says_what_to_do() -> None:
    (found,) = results_of([rejudged(violations=(VIOLATION,))])
    assert found.body["message"] == (
        "runs as root: the image names no USER. set USER to a numeric id in the Dockerfile."
    )


def test_what_changes_from_round_to_round_is_in_no_result() -> None:
    """Neither the decision's id, nor the pods, nor when it was judged: else every page would be written every time."""
    one = rejudged(violations=(VIOLATION, WARNED), passed=("a",))
    later = replace(
        one,
        pods=("web-9",),
        count=70,
        judged_at=UNTIL,
        key="other",
        decision=replace(one.decision, id="another", elapsed_ms=1.0, decided_at=UNTIL),
    )
    assert results_of([one]) == results_of([later])
    assert len(results_of([one, later])) == 2, "two generations of one Deployment say it once"


def test_the_worst_comes_first_and_the_order_is_always_the_same() -> None:
    owners = [replace(OWNER, name=name, uid=name) for name in ("b", "a")]
    given = [
        rejudged(violations=(WARNED, VIOLATION, replace(VIOLATION, exception="E")), owner=owner, **more)
        for owner in owners
        for more in ({}, {"undecided": (UndecidedPolicy("p", Mode.DENY, (OUTAGE,)),)})
    ]
    found = [(one.body["result"], one.body["resources"][0]["name"]) for one in results_of(given)]
    assert found == [(result, name) for result in ("fail", "error", "warn", "skip") for name in ("a", "b")]
    assert results_of(given[::-1]) == results_of(given)


def test_the_summary_counts_passes_too() -> None:
    given = [rejudged(violations=(VIOLATION, WARNED), passed=("a", "b")), rejudged(passed=("a",))]
    assert summary(results_of(given), passes(given)) == {"pass": 3, "fail": 1, "warn": 1, "error": 0, "skip": 0}


def test_text_from_outside_is_bounded_and_on_one_line() -> None:
    hostile = "<&>\u202e\n\ud800" + "\U0001f600" * 5000
    one = replace(VIOLATION, msg=hostile, fix=hostile, image=hostile, field=hostile, docs=hostile, container=hostile)
    (found,) = results_of([rejudged(violations=(one,))])
    assert len(found.body["message"]) == MESSAGE_CHARS
    assert {len(value) for value in found.body["properties"].values() if len(value) > 100} == {PROPERTY_CHARS}
    stored = json.dumps(found.body, ensure_ascii=False).encode()
    for character, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        stored = stored.replace(character, escaped)
    assert len(stored) <= found.size <= 64 * 1024
    assert "\n" not in found.body["message"]
    assert "\u202e" not in found.body["message"]


def test_what_has_no_room_is_said() -> None:
    body = left_out(12, "shop").body
    assert (body["result"], body["policy"]) == ("error", "too-many-results")
    assert "12 more results" in body["message"]
