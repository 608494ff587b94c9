"""The words of a decision: what a developer reads in ``kubectl``."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from portcullis.decision.verdict import OUTAGE, PENDING, REFUSED, Outcome
from portcullis.limits import Limits
from portcullis.model.decision import Because, JudgedImage, Problem, UndecidedPolicy, Violation
from portcullis.model.grant import Grant
from portcullis.model.ruling import Mode
from portcullis.text import clean, sentence
from portcullis.times import rfc3339

NAME_CHARS = 253
IMAGE_CHARS = 200

_CONTAINER_WORDS = {
    "container": "container",
    "init": "init container",
    "ephemeral": "ephemeral container",
    "volume": "image volume",
}


def subject(violation: Violation) -> str:
    """Where a violation stands: ``container "web" (registry.example/acme/web:1.4)``; "" for the whole request."""
    words = []
    if violation.container:
        kind = _CONTAINER_WORDS.get(violation.container_kind, "container")
        words.append(f'{kind} "{clean(violation.container, NAME_CHARS)}"')
    if violation.image:
        image = clean(violation.image, IMAGE_CHARS)
        words.append(f"({image})" if words else f"image {image}")
    if violation.platform:
        words.append(f"on {clean(violation.platform, NAME_CHARS)}")
    return " ".join(words)


def violation_line(violation: Violation, limits: Limits) -> str:
    """``[policy] container "web" (image): what is wrong. What to do.``"""
    where = subject(violation)
    says = sentence(clean(violation.msg, limits.message_chars)) or "violated."
    fix = sentence(clean(violation.fix, limits.message_chars))
    fix = fix[:1].upper() + fix[1:]
    return " ".join(part for part in (f"[{violation.policy}]", f"{where}:" if where else "", says, fix) if part)


def excepted_line(violation: Violation, limits: Limits) -> str:
    """``[policy] excepted by EX-12 until …: container "web" (image): what is wrong.``"""
    where = subject(violation)
    until = f" until {rfc3339(violation.excepted_until, 'minutes')}" if violation.excepted_until is not None else ""
    says = sentence(clean(violation.msg, limits.message_chars)) or "violated."
    parts = (f"[{violation.policy}]", f"excepted by {violation.exception}{until}:", f"{where}:" if where else "", says)
    return " ".join(part for part in parts if part)


def grant_line(grant: Grant, covered: int, undecided: int, limits: Limits) -> str:
    """``[break-glass] shop/db-down until …: lets 2 violations and 1 unevaluated policy pass. The reason.``"""
    until = rfc3339(grant.expires, "minutes")
    counts = [_count(covered, "violation", "violations")] if covered else []
    counts += [_count(undecided, "policy", "policies") + " that could not be evaluated"] if undecided else []
    reason = sentence(clean(grant.reason, limits.message_chars))
    name = clean(f"{grant.namespace}/{grant.name}", NAME_CHARS)
    return f"[{Because.BREAK_GLASS}] {name} until {until}: lets {' and '.join(counts)} pass. {reason}"


def covered_line(problem: Problem, policies: Sequence[UndecidedPolicy], limits: Limits) -> str:
    """The problem, and which grant covers the policies that were not evaluated for it."""
    names = [policy.policy for policy in policies]
    return (
        f"{problem_line(problem, names, limits)} Covered by {', '.join(sorted({one.exception for one in policies}))}."
    )


def problem_line(problem: Problem, policies: Sequence[str], limits: Limits) -> str:
    """``[reason] image …: what could not be had. Not evaluated without it: …``"""
    image = f"image {clean(problem.image, IMAGE_CHARS)}:" if problem.image else ""
    says = sentence(clean(problem.msg, limits.message_chars))
    waiting = f"Not evaluated without it: {', '.join(policies)}." if policies else ""
    return " ".join(part for part in (f"[{problem.reason}]", image, says, waiting) if part)


def stale_line(image: JudgedImage, since: datetime) -> str:
    """``[registry-stale] image …: its registry cannot be asked now. What it said at … is used.``"""
    reason = "registry-stale"  # no problem: the operator lets such answers count (registries.staleSeconds)
    shown = clean(image.written, IMAGE_CHARS)
    said = f"What it said at {rfc3339(since, 'seconds')} is used."
    return f"[{reason}] image {shown}: its registry cannot be asked now. {said}"


def message(
    outcome: Outcome,
    what: str,
    violations: Sequence[Violation],
    undecided: Sequence[UndecidedPolicy],
    decision_id: str,
    limits: Limits,
) -> str:
    """The refusal, several lines; "" where the request is admitted. ``what`` names the workload."""
    if outcome.code not in (REFUSED, OUTAGE, PENDING):
        return ""
    denies = [violation for violation in violations if violation.refuses]
    blocked = [policy for policy in undecided if policy.blocks]
    lines = [violation_line(violation, limits) for violation in denies]
    lines += [problem_line(problem, _names(policies), limits) for problem, policies in _by_problem(blocked)]
    shown = lines[: limits.shown_violations]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more: portcullis audit show {decision_id}")
    unasked = sum(1 for policy in undecided if not policy.problems)
    if unasked and denies:
        shown.append(f"{_count(unasked, 'policy looks', 'policies look')} at the images only once this is mended.")
    return "\n".join([_headline(outcome, what, denies, blocked), *shown, f"Decision {decision_id}"])


def _headline(outcome: Outcome, what: str, denies: Sequence[Violation], blocked: Sequence[UndecidedPolicy]) -> str:
    if denies:
        policies = len({violation.policy for violation in denies})
        return f"{_count(policies, 'policy refuses', 'policies refuse')} {what}:"
    policies = len(blocked)
    if outcome.code == REFUSED:
        count = _count(policies, "policy", "policies")
        return f"{what} is refused: {count} could not be evaluated, and waiting will not help:"
    if outcome.code == PENDING:
        return f"{what} is still being inspected. This is no refusal; try again in a moment:"
    return f"{what} could not be judged: an outage, not a violation. Try again later, or tell your platform team:"


def warnings(
    violations: Sequence[Violation],
    undecided: Sequence[UndecidedPolicy],
    images: Sequence[JudgedImage],
    limits: Limits,
    grants: Sequence[Grant] = (),
) -> tuple[str, ...]:
    """One line per grant that is used, per image of which only older facts could be had, per violation in mode warn,
    per one that would refuse but for an exception, and per problem of a policy in mode warn or that a grant covers,
    within what the API server shows (256 characters each, 4,096 in all).

    Args:
        grants: those that cover something. What they are and when they end comes first.
    """
    lines = list(_grant_lines(grants, violations, undecided, limits))
    lines += [stale_line(image, image.stale_since) for image in images if image.stale_since is not None]
    lines += [excepted_line(violation, limits) for violation in violations if _is_covered(violation)]
    covered = [policy for policy in undecided if _is_covered(policy)]
    lines += [covered_line(problem, policies, limits) for problem, policies in _by_problem(covered)]
    warned = [violation for violation in violations if violation.mode is Mode.WARN and not violation.exception]
    lines += [violation_line(violation, limits) for violation in warned]
    waiting = [policy for policy in undecided if policy.mode is Mode.WARN and not policy.exception]
    lines += [problem_line(problem, _names(policies), limits) for problem, policies in _by_problem(waiting)]
    shown = lines[: limits.warnings]
    if len(lines) > len(shown):
        shown[-1] = f"… and {len(lines) - len(shown) + 1} more warnings in the audit log"
    return tuple(clean(line, limits.warning_chars) for line in shown)


def _is_covered(one: Violation | UndecidedPolicy) -> bool:
    return bool(one.exception) and one.mode is not Mode.AUDIT


def _grant_lines(
    grants: Sequence[Grant], violations: Sequence[Violation], undecided: Sequence[UndecidedPolicy], limits: Limits
) -> Iterator[str]:
    """Of those that let something pass which people are told of."""
    for grant in grants:
        covered = sum(_is_covered(violation) and violation.exception == grant.id for violation in violations)
        unevaluated = sum(_is_covered(policy) and policy.exception == grant.id for policy in undecided)
        if covered or unevaluated:
            yield grant_line(grant, covered, unevaluated, limits)


def _by_problem(undecided: Iterable[UndecidedPolicy]) -> list[tuple[Problem, list[UndecidedPolicy]]]:
    """Each problem once, with the policies that wait for it."""
    waiting: dict[Problem, list[UndecidedPolicy]] = {}
    for policy in undecided:
        for problem in policy.problems:
            waiting.setdefault(problem, []).append(policy)
    return list(waiting.items())


def _names(policies: Iterable[UndecidedPolicy]) -> list[str]:
    return [policy.policy for policy in policies]


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
