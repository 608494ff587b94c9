"""Logs and metrics."""

import io
import json
import logging
from dataclasses import replace

import structlog

from fakes.records import a_decision
from portcullis.measuring import Durations
from portcullis.model.decision import Because, Problem, Stage, Verdict
from portcullis.server.telemetry import ANOTHER_REFUSES, LOGGED_CHARS, SERIES, Metrics, configure_logging


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


def test_a_flood_of_names_makes_no_flood_of_series() -> None:
    """Policies and exceptions have names of the operator's; a thousand of each is more than anybody can look at."""
    metrics = Metrics()
    for number in range(3 * SERIES):
        name = f"made-up-{number}"
        metrics.decided(a_decision(verdict=Verdict.REFUSED, code=number, denied=[name], undecided=[name]))
    series = [line for line in metrics.page().decode().splitlines() if not line.startswith("#")]
    counters = {"decisions": 3 * ("other",), "violations": 2 * ("other",), "undecided": 3 * ("other",)}
    for name, others in counters.items():
        found = [line for line in series if line.startswith(f"portcullis_{name}_total")]
        assert len(found) == SERIES + 1, name
        assert found[-1].endswith(f" {2.0 * SERIES}"), name
        assert found[-1].count('"other"') == len(others), name
    assert len(series) < 2 * 3 * SERIES + 500  # with the time at which each began


def test_grants_have_names_of_anybody_and_make_one_series() -> None:
    metrics = Metrics()
    made = a_decision(denied=["image-user"])
    (violation,) = made.violations
    for name in ("EX-1", *(f"break-glass:shop/{number}" for number in range(50))):
        covered = replace(violation, exception=name)
        metrics.decided(replace(made, because=Because.BREAK_GLASS, violations=(covered,)))
    value = metrics.registry.get_sample_value
    for exception, count in (("EX-1", 1), ("break-glass", 50)):
        labels = {"policy": "image-user", "exception": exception}
        assert value("portcullis_violations_excepted_total", labels) == count
    decided = {"verdict": "admitted", "code": "200", "because": "break-glass"}
    assert value("portcullis_decisions_total", decided) == 51
    assert "shop" not in metrics.page().decode()


def test_a_policy_that_is_not_evaluated_is_counted_with_the_reason() -> None:
    metrics = Metrics()
    decision = a_decision(verdict=Verdict.UNDECIDED, code=503, undecided=["image-age"])
    metrics.decided(decision)
    (undecided,) = decision.undecided
    metrics.decided(replace(decision, undecided=(replace(undecided, problems=()),)))
    value = metrics.registry.get_sample_value
    for reason in ("registry-unreachable", ANOTHER_REFUSES):
        labels = {"policy": "image-age", "mode": "warn", "reason": reason}
        assert value("portcullis_undecided_total", labels) == 1


def test_durations_of_others_are_histograms() -> None:
    metrics = Metrics()
    one = Durations((0.1, 1.0))
    one.observe(0.5)
    metrics.time_by("a_seconds", "A.", "step", lambda: {"x": one})
    metrics.time_by("b_seconds", "B.", "", lambda: {"": one})
    lines = metrics.page().decode().splitlines()
    assert 'portcullis_a_seconds_bucket{le="1.0",step="x"} 1.0' in lines
    assert 'portcullis_a_seconds_bucket{le="0.1",step="x"} 0.0' in lines
    assert 'portcullis_a_seconds_count{step="x"} 1.0' in lines
    assert "portcullis_b_seconds_sum 0.5" in lines
    assert 'portcullis_b_seconds_bucket{le="+Inf"} 1.0' in lines


def test_the_first_loss_is_an_increase() -> None:
    """A counter that only appears with its first event hides it from ``increase()``."""
    value = Metrics().registry.get_sample_value
    for answered in ("as-decided", "audit-unavailable"):
        assert value("portcullis_decisions_unrecorded_total", {"answered": answered}) == 0


def test_the_part_of_the_callers_time_is_measured() -> None:
    metrics = Metrics()
    metrics.answered(200, 4.0, 5.0)
    value = metrics.registry.get_sample_value
    assert value("portcullis_review_time_share_bucket", {"le": "0.75"}) == 0
    assert value("portcullis_review_time_share_bucket", {"le": "0.9"}) == 1


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
