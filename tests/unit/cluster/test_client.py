"""What goes wrong with the API server, in a sentence."""

import json

import pytest
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import STATUS_BYTES, STATUS_CHARS, reason_of

STATUS = {"kind": "Status", "message": 'webhooks[0].clientConfig.service.path: Invalid value: "/Ab/validate"'}


def answered(body: object) -> ApiException:
    error = ApiException(status=422, reason="Unprocessable Entity")
    error.body = body
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer within 3 s"),
        (OSError("connection refused"), "connection refused"),
        (ValueError(), "ValueError"),
        (answered(None), "the API server answered 422 Unprocessable Entity"),
        (answered(json.dumps(STATUS)), f"the API server answered 422 Unprocessable Entity: {STATUS['message']}"),
        (
            answered(json.dumps(STATUS).encode()),
            f"the API server answered 422 Unprocessable Entity: {STATUS['message']}",
        ),
        (answered("<html>"), "the API server answered 422 Unprocessable Entity"),
        (answered("[" * 10_000), "the API server answered 422 Unprocessable Entity"),
        (answered(json.dumps({"message": 7})), "the API server answered 422 Unprocessable Entity"),
        (answered(json.dumps({"message": "a" * STATUS_BYTES})), "the API server answered 422 Unprocessable Entity"),
    ],
)
def test_the_reason(error: Exception, words: str) -> None:
    assert reason_of(error, 3) == words


def test_long_and_hostile_words_are_bounded() -> None:
    reason = reason_of(answered(json.dumps({"message": "\x1b[2J\n" + "a" * 5000})), 3)
    assert len(reason) < STATUS_CHARS + 60
    assert reason.isprintable()
