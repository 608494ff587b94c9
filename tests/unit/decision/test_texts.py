"""What a developer reads."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from fakes.decisions import open_grant
from portcullis.decision import texts
from portcullis.decision.verdict import conclude
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import JudgedImage, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.ruling import Mode

ROOT = Violation(
    policy="image-user",
    mode=Mode.DENY,
    severity="high",
    msg="runs as root",
    container="web",
    container_kind="container",
    image="registry.example/acme/web:1.4",
    fix="set USER to a numeric id in the Dockerfile",
)
DOWN = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="registry.example: no answer", image="a/b")
GONE = Problem(
    Stage.REGISTRY, "image-not-found", retryable=False, msg="registry.example has no acme/web:9", image="w:9"
)


def message(
    violations: list[Violation], undecided: list[UndecidedPolicy], limits: Limits = DEFAULT_LIMITS
) -> list[str]:
    outcome = conclude(violations, undecided, person=True)
    return texts.message(outcome, "Deployment shop/checkout", violations, undecided, "d-1", limits).splitlines()


def test_a_refusal_says_who_refuses_what_why_and_what_to_do() -> None:
    other = Violation(policy="pod-privileges", mode=Mode.DENY, severity="high", msg="shares the host's network")
    assert message([ROOT, other], []) == [
        "2 policies refuse Deployment shop/checkout:",
        (
            '[image-user] container "web" (registry.example/acme/web:1.4): runs as root. '
            "Set USER to a numeric id in the Dockerfile."
        ),
        "[pod-privileges] shares the host's network.",
        "Decision d-1",
    ]


def test_two_violations_of_one_policy_are_one_policy() -> None:
    assert message([ROOT, ROOT], [])[0] == "1 policy refuses Deployment shop/checkout:"


def test_violations_in_other_modes_are_not_in_the_refusal() -> None:
    warned = Violation(policy="image-pinned", mode=Mode.WARN, severity="low", msg="a tag")
    assert not any("image-pinned" in line for line in message([ROOT, warned], []))


def test_over_ten_violations_are_counted() -> None:
    lines = message([ROOT] * 13, [])
    assert len(lines) == 1 + 10 + 1 + 1
    assert lines[11] == "… and 3 more: portcullis audit show d-1"
    assert message([ROOT] * 13, [], Limits(shown_violations=12))[13] == "… and 1 more: portcullis audit show d-1"


def test_an_outage_does_not_read_like_a_violation() -> None:
    undecided = [UndecidedPolicy(name, Mode.DENY, (DOWN,)) for name in ("image-user", "scan-required")]
    assert message([], undecided) == [
        (
            "Deployment shop/checkout could not be judged: an outage, not a violation. "
            "Try again later, or tell your platform team:"
        ),
        (
            "[registry-unreachable] image a/b: registry.example: no answer. "
            "Not evaluated without it: image-user, scan-required."
        ),
        "Decision d-1",
    ]


def test_a_missing_image_is_said_to_be_missing() -> None:
    lines = message([], [UndecidedPolicy("image-user", Mode.DENY, (GONE,))])
    assert lines[0].endswith("1 policy could not be evaluated, and waiting will not help:")
    assert lines[1].startswith("[image-not-found] image w:9: registry.example has no acme/web:9.")


def test_policies_that_were_not_asked_are_announced() -> None:
    lines = message([ROOT], [UndecidedPolicy("scan-required", Mode.DENY, ())])
    assert "1 policy looks at the images only once this is mended." in lines


def test_where_a_violation_stands() -> None:
    volume = Violation("p", Mode.DENY, "low", "m", container="data", container_kind="volume", image="x", platform="l/a")
    assert texts.subject(volume) == 'image volume "data" (x) on l/a'
    assert texts.subject(Violation("p", Mode.DENY, "low", "m", image="x")) == "image x"
    assert texts.subject(Violation("p", Mode.DENY, "low", "m")) == ""


def test_hostile_text_stays_on_its_line() -> None:
    hostile = Violation("p", Mode.DENY, "low", "bad\n[image-user] forged\x1b[31m\u202eevil", image="a\nb")
    lines = message([hostile], [])
    assert len(lines) == 3
    assert not any(character in "".join(lines) for character in "\x1b\u202e")


def test_warnings_fit_what_the_api_server_shows() -> None:
    long = Violation("image-pinned", Mode.WARN, "low", "x" * 1000, image="y" * 1000)
    waiting = UndecidedPolicy("scan-required", Mode.WARN, (DOWN,))
    shown = texts.warnings([long] * 40, [waiting], [], DEFAULT_LIMITS)
    assert len(shown) == DEFAULT_LIMITS.warnings
    assert all(0 < len(line) <= 256 and line.isprintable() for line in shown)
    assert sum(map(len, shown)) <= 4096
    assert shown[-1] == "… and 27 more warnings in the audit log"
    assert [len(line) for line in texts.warnings([long], [], [], Limits(warning_chars=80))] == [80]


def test_a_warning_names_what_could_not_be_had() -> None:
    (line,) = texts.warnings([], [UndecidedPolicy("scan-required", Mode.WARN, (DOWN,))], [], DEFAULT_LIMITS)
    assert line.startswith("[registry-unreachable] image a/b: registry.example: no answer.")


GRANT = open_grant(created=datetime(2026, 11, 24, 12, 0, tzinfo=UTC), expires=datetime(2026, 11, 24, 15, 0, tzinfo=UTC))
COVERED: dict[str, Any] = {"exception": GRANT.id, "excepted_until": GRANT.expires}


def test_what_a_grant_lets_through_is_told_with_its_end_and_its_reason() -> None:
    covered = dataclasses.replace(ROOT, **COVERED)
    waiting = [UndecidedPolicy(name, Mode.DENY, (DOWN,), **COVERED) for name in ("scan-required", "image-age")]
    quiet = dataclasses.replace(covered, mode=Mode.AUDIT)
    first, second, third = texts.warnings([covered, quiet], waiting, [], DEFAULT_LIMITS, [GRANT])
    assert first == (
        "[break-glass] shop/down until 2026-11-24T15:00Z: lets 1 violation and 2 policies that could not be evaluated "
        "pass. payments must go out."
    )
    assert second.startswith("[image-user] excepted by break-glass:shop/down until 2026-11-24T15:00Z: container")
    assert third == (
        "[registry-unreachable] image a/b: registry.example: no answer. Not evaluated without it: scan-required, "
        "image-age. Covered by break-glass:shop/down."
    )
    assert texts.warnings([quiet], [], [], DEFAULT_LIMITS, [GRANT]) == ()


def test_what_a_grant_covers_is_not_in_the_refusal() -> None:
    covered = UndecidedPolicy("scan-required", Mode.DENY, (DOWN,), **COVERED)
    assert message([], [covered]) == []
    lines = message([], [covered, UndecidedPolicy("image-age", Mode.DENY, (DOWN,))])
    assert lines[1].endswith("Not evaluated without it: image-age.")
    lines = message([ROOT, dataclasses.replace(ROOT, policy="image-shell", **COVERED)], [covered])
    assert lines[0] == "1 policy refuses Deployment shop/checkout:"
    assert len(lines) == 3


def test_old_answers_of_a_registry_are_told_first() -> None:
    since = datetime(2026, 11, 24, 11, 58, 30, tzinfo=UTC)
    images = [JudgedImage("r.example/a/b:1", "sha256:b"), JudgedImage("r.example/a/c:1", "sha256:c", since)]
    first, second = texts.warnings([dataclasses.replace(ROOT, mode=Mode.WARN)], [], images, DEFAULT_LIMITS)
    assert first == (
        "[registry-stale] image r.example/a/c:1: its registry cannot be asked now. "
        "What it said at 2026-11-24T11:58:30Z is used."
    )
    assert second.startswith("[image-")
