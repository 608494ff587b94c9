"""OPA's answer: whatever is not exactly as agreed is no ruling."""

import json
from dataclasses import replace
from typing import Any

import pytest

from portcullis.errors import EngineMalformed
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import Mode, PolicyFailure, PolicyInfo
from portcullis.policy.answer import read_answer, read_policy

POLICY = PolicyInfo("a", "A", "", "high", Mode.DENY, "", frozenset(), (Mode.DENY, Mode.WARN))


def test_an_answer() -> None:
    answer = read_answer(b'{"result":{"revision":"r","results":{"a":{"deny":["x"],"warn":[]}}},"decision_id":"1"}')
    assert answer is not None
    assert (answer.revision, answer.results) == ("r", {"a": {"deny": ["x"], "warn": []}})


def test_an_undefined_answer_is_none() -> None:
    assert read_answer(b"{}") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"result":null}',
        b'{"result":{}}',
        b'{"result":{"revision":"r"}}',
        b'{"result":{"revision":1,"results":{}}}',
        b'{"result":{"revision":"r","results":[]}}',
        b'{"result":{"revision":"r","results":{}}',
        b'{"result":{"revision":"r","results":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
        b"\xff",
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(EngineMalformed):
        read_answer(body)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({}, "policy-undefined"),
        ({"A": {"deny": [], "warn": []}}, "policy-undefined"),
        ({"a": None}, "policy-failed"),
        ({"a": []}, "policy-failed"),
        ({"a": {}}, "policy-failed"),
        ({"a": {"deny": []}}, "policy-failed"),
        ({"a": {"deny": [], "warn": [], "audit": []}}, "policy-failed"),
        ({"a": {"deny": None, "warn": []}}, "policy-failed"),
        ({"a": {"deny": {}, "warn": []}}, "policy-failed"),
        ({"a": {"deny": "x", "warn": []}}, "policy-failed"),
        ({"a": {"deny": [], "warn": [1.5]}}, "policy-failed"),
    ],
)
def test_a_policy_without_a_proper_result(results: dict[str, Any], reason: str) -> None:
    outcome = read_policy(POLICY, json.loads(json.dumps(results)), DEFAULT_LIMITS)
    assert isinstance(outcome, PolicyFailure)
    assert (outcome.policy, outcome.reason) == ("a", reason)


def test_no_hits() -> None:
    assert read_policy(POLICY, {"a": {"deny": [], "warn": []}}, DEFAULT_LIMITS) == ()


def test_a_policy_that_is_not_supported_gives_no_ruling_where_its_match_block_fits() -> None:
    policy = replace(POLICY, unsupported="written for something else")
    assert read_policy(policy, {"a": {"deny": [], "warn": []}}, DEFAULT_LIMITS) == ()
    failure = read_policy(policy, {"a": {"deny": [{"undecided": "x"}], "warn": []}}, DEFAULT_LIMITS)
    assert failure == PolicyFailure("a", "policy-unsupported", "written for something else")


def test_a_bridge_says_why_there_is_no_ruling() -> None:
    failure = read_policy(POLICY, {"a": {"deny": ["x", {"undecided": "not\nknown"}], "warn": []}}, DEFAULT_LIMITS)
    assert failure == PolicyFailure("a", "policy-failed", "not known")
    other = read_policy(POLICY, {"a": {"deny": [{"undecided": "x", "msg": "y"}], "warn": []}}, DEFAULT_LIMITS)
    assert isinstance(other, PolicyFailure)
    assert "unknown key 'undecided'" in other.message
