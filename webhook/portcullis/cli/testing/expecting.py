"""Compares a decision with what a fixture expects."""

import re
from collections.abc import Sequence

from portcullis.cli.testing.fixtures import Expected, ExpectedViolation, Pattern
from portcullis.model.decision import Decision, UndecidedPolicy, Violation
from portcullis.model.ruling import Mode
from portcullis.text import clean

CHARS = 300
SHOWN = 30


def compare(expected: Expected, decision: Decision) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is not as expected, in sentences; and expected and got, line by line. Both empty where all is well."""
    faults: list[str] = []
    diff: list[str] = []
    if expected.verdict is not None and expected.verdict is not decision.verdict:
        faults.append(f"the verdict is {decision.verdict}, not {expected.verdict}")
        diff += [f"- verdict: {expected.verdict}", f"+ verdict: {decision.verdict}"]
    if expected.code is not None and expected.code != decision.code:
        faults.append(f"the code is {decision.code}, not {expected.code}")
        diff += [f"- code: {expected.code}", f"+ code: {decision.code}"]
    if expected.violations is not None:
        _violations(expected.violations, decision.violations, faults, diff)
    if expected.undecided is not None:
        _undecided(expected.undecided, decision.undecided, faults, diff)
    if faults and not any(line.startswith("+") and "verdict" not in line and "code" not in line for line in diff):
        # What led to the verdict helps to see why it is another.
        diff += [f"  {_shown(one)}" for one in decision.violations if one.refuses][:SHOWN]
        diff += [f"  {_shown_undecided(one)}" for one in decision.undecided if one.mode is Mode.DENY][:SHOWN]
    return tuple(faults), tuple(diff)


def _violations(
    expected: Sequence[ExpectedViolation], got: Sequence[Violation], faults: list[str], diff: list[str]
) -> None:
    matched: set[int] = set()
    wrong: list[str] = []
    for entry in expected:
        found = [at for at, violation in enumerate(got) if _matches(entry, violation)]
        matched |= set(found)
        if entry.count is None and not found:
            faults.append(f"there is no violation {_text(entry)}")
        elif entry.count is not None and len(found) != entry.count:
            faults.append(f"there are {len(found)} violations {_text(entry)}, not {entry.count}")
        else:
            continue
        wrong.append(f"- {_text(entry)}" + (f" × {entry.count}" if entry.count is not None else ""))
    extra = [violation for at, violation in enumerate(got) if at not in matched and violation.refuses]
    if extra:
        policies = ", ".join(dict.fromkeys(clean(violation.policy, CHARS) for violation in extra[:SHOWN]))
        faults.append(f"unexpected violations: {len(extra)}, of {policies}")
    if wrong or extra:
        asked = {entry.policy for entry in expected}
        shown = [one for one in got if one in extra or one.policy in asked]
        diff += [*wrong, *(f"+ {_shown(one)}" for one in shown[:SHOWN])]


def _undecided(expected: Sequence[str], got: Sequence[UndecidedPolicy], faults: list[str], diff: list[str]) -> None:
    names = {policy.policy for policy in got}
    for name in expected:
        if name not in names:
            faults.append(f"{clean(name, 100)} was judged, and should be undecided")
            diff.append(f"- undecided {clean(name, 100)}")
    for policy in got:
        if policy.policy not in expected and policy.mode is Mode.DENY:
            shown = _shown_undecided(policy)
            faults.append(f"unexpectedly {shown}")
            diff.append(f"+ {shown}")


def _matches(entry: ExpectedViolation, violation: Violation) -> bool:
    exact = (
        (entry.policy, violation.policy),
        (entry.container, violation.container),
        (entry.image, violation.image),
        (entry.platform, violation.platform),
        (entry.mode, violation.mode),
        (entry.exception, violation.exception),
    )
    if any(wanted is not None and wanted != there for wanted, there in exact):
        return False
    if isinstance(entry.msg, Pattern):
        return re.search(entry.msg.matches, violation.msg) is not None
    return entry.msg is None or entry.msg == violation.msg


def _text(entry: ExpectedViolation) -> str:
    message = f"/{entry.msg.matches}/" if isinstance(entry.msg, Pattern) else entry.msg
    text = _line(entry.mode, entry.policy, entry.container, entry.image, entry.platform, message)
    return f"{text} [{clean(entry.exception, CHARS)}]" if entry.exception else text


def _shown(violation: Violation) -> str:
    text = _line(
        violation.mode, violation.policy, violation.container, violation.image, violation.platform, violation.msg
    )
    return f"{text} [{violation.exception}]" if violation.exception else text


def _line(
    mode: Mode | None, policy: str, container: str | None, image: str | None, platform: str | None, msg: str | None
) -> str:
    words = [str(mode)] if mode else []
    words.append(clean(policy, CHARS))
    words += [f'container "{clean(container, CHARS)}"'] if container else []
    words += [f"({clean(image, CHARS)})"] if image else []
    words += [f"on {clean(platform, CHARS)}"] if platform else []
    return " ".join(words) + (f": {clean(msg, CHARS)}" if msg else "")


def _shown_undecided(policy: UndecidedPolicy) -> str:
    reasons = "; ".join(f"[{one.reason}] {clean(one.msg, CHARS)}" for one in policy.problems)
    return f"undecided {policy.policy}" + (f": {reasons}" if reasons else " (another policy refuses before)")
