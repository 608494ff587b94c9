"""Logs and metrics."""

import io
import json
import logging

import structlog

from fakes.records import a_decision
from portcullis.model.decision import Problem, Stage, Verdict
from portcullis.server.telemetry import LOGGED_CHARS, Metrics, configure_logging


def test_both_kinds_of_loggers_write_json_lines() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    with structlog.contextvars.bound_contextvars(uid="u-1"):
        structlog.get_logger("a").info("one", text="x" * 5000, thing=object())
        logging.getLogger("b").warning("two %s", "bell\x07\u2028", extra={"decision": "d-1"})
        try:
            raise ValueError("\x1b[31m")
        except ValueError:
            logging.getLogger("c").exception("three")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"][:3], line["uid"], line["logger"], line["level"]) for line in lines] == [
        ("one", "u-1", "a", "info"),
        ("two", "u-1", "b", "warning"),
        ("thr", "u-1", "c", "error"),
    ]
    assert len(lines[0]["text"]) == LOGGED_CHARS
    assert lines[1]["decision"] == "d-1"
    assert "ValueError" in lines[2]["exception"]
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()


def test_labels_stay_few_whatever_comes() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.problem(Problem(Stage.REGISTRY, f"made-up-{number}", retryable=False, msg=""))
        metrics.problem(Problem(Stage.REGISTRY, f"Registry {number}\n", retryable=False, msg=""))
    lines = [line for line in metrics.page().decode().splitlines() if line.startswith("portcullis_problems_total")]
    assert len(lines) <= 201
    assert (
        metrics.registry.get_sample_value("portcullis_problems_total", {"stage": "registry", "reason": "other"})
        == 1000 + 800
    )


def test_a_decision_is_counted_in_all_its_parts() -> None:
    metrics = Metrics()
    metrics.decided(a_decision(verdict=Verdict.REFUSED, code=403, denied=["image-user"], undecided=["image-age"]))
    metrics.stages({"no-such-stage": 1.0})
    value = metrics.registry.get_sample_value
    assert value("portcullis_decisions_total", {"verdict": "refused", "code": "403", "because": "judged"}) == 1
    assert value("portcullis_violations_total", {"policy": "image-user", "mode": "deny"}) == 1
    assert value("portcullis_problems_total", {"stage": "registry", "reason": "registry-unreachable"}) == 1
    assert value("portcullis_stage_seconds_sum", {"stage": "registry"}) == 0.01025
    assert b"no-such-stage" not in metrics.page()


def test_image_names_are_no_labels() -> None:
    metrics = Metrics()
    metrics.decided(a_decision(images=[("registry.example/acme/web:1", "sha256:x")], denied=["image-user"]))
    assert b"acme" not in metrics.page()
