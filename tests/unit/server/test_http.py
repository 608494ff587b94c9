"""Small words of HTTP: time-outs and failures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.server.http import LONGEST_SECONDS, SHORTEST_SECONDS, failure, timeout_of

DEFAULT = DEFAULT_LIMITS.default_timeout_seconds


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (b"timeout=10s", 10.0),
        (b"timeout=7s&other=1", 7.0),
        (b"timeout=1500ms", 1.5),
        (b"timeout=2.5s", 2.5),
        (b"timeout=1s500ms", 1.5),
        (b"timeout=30s", 30.0),
        (b"timeout=1m0s", LONGEST_SECONDS),
        (b"timeout=999999999999h", LONGEST_SECONDS),
        (b"timeout=1ms", SHORTEST_SECONDS),
        (b"timeout=0s", SHORTEST_SECONDS),
        (b"", DEFAULT),
        (b"timeout=", DEFAULT),
        (b"timeout=5", DEFAULT),
        (b"timeout=-5s", DEFAULT),
        (b"timeout=5s ", DEFAULT),
        (b"timeout=5sx", DEFAULT),
        (b"timeout=NaNs", DEFAULT),
        (b"timeout=1e9s", DEFAULT),
        (b"timeout=5s&timeout=6s", DEFAULT),
        (b"timeout=%D9%A3s", DEFAULT),
        (b"timeout=\xff", DEFAULT),
        (b"a&" * 1000 + b"timeout=5s", DEFAULT),
        (b"timeout=" + b"1s" * 400, DEFAULT),
    ],
)
def test_timeouts(query: bytes, seconds: float) -> None:
    assert timeout_of(query, DEFAULT_LIMITS) == pytest.approx(seconds)


def test_the_time_of_a_caller_that_names_none() -> None:
    assert timeout_of(b"", Limits(default_timeout_seconds=3.0)) == 3.0


@given(st.binary(max_size=2000))
def test_any_query_gives_a_time(query: bytes) -> None:
    assert SHORTEST_SECONDS <= timeout_of(query, DEFAULT_LIMITS) <= LONGEST_SECONDS


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 415, 503])
def test_a_failure_is_a_status(status: int) -> None:
    answer = failure(status, "some-reason", "what\r\nhappened\x1b[31m " + "x" * 5000)
    document = json.loads(answer.body)
    assert answer.status == document["code"] == status
    assert (document["kind"], document["apiVersion"], document["status"]) == ("Status", "v1", "Failure")
    assert document["message"].startswith("[some-reason] what happened")
    assert "\x1b" not in document["message"]
    assert len(document["message"]) <= 1000
    assert document["reason"] != "InternalError"
    assert all(name != b"retry-after" for name, _ in answer.headers)
