"""Decisions as SARIF 2.1.0, for code scanning in CI.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html. A policy is a reportingDescriptor,
a violation a result at the line where its document begins. A policy that could not be evaluated is a result, too,
so that a run without results is a run in which every policy was evaluated; why it could not is a notification.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from portcullis import __version__
from portcullis.cli.decisions import MESSAGE_CHARS, Judged
from portcullis.decision.texts import subject
from portcullis.model.decision import Problem, UndecidedPolicy, Violation
from portcullis.model.grant import is_grant
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.text import clean, sentence

JSON = Mapping[str, Any]

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_LEVELS: Mapping[Mode, str] = {Mode.DENY: "error", Mode.WARN: "warning", Mode.AUDIT: "note"}

# What code scanning sorts by (GitHub reads a number of the CVSS scale from security-severity).
_SEVERITIES: Mapping[str, str] = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0"}


def sarif(judged: Sequence[Judged], policies: Sequence[PolicyInfo]) -> dict[str, Any]:
    """A SARIF log with one run. ``policies`` are those that judged, violated or not."""
    return sarif_log(
        rules=[_rule(policy) for policy in policies],
        results=[result for one in judged for result in _results(one)],
        notifications=[notification for one in judged for notification in _notifications(one)],
    )


def sarif_log(*, rules: Sequence[JSON], results: Sequence[JSON], notifications: Sequence[JSON] = ()) -> dict[str, Any]:
    """A SARIF log with one run of this program."""
    driver = {
        "name": "portcullis",
        "version": __version__,
        "informationUri": "https://portcullis.dev",
        "rules": [*rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not notifications, "toolExecutionNotifications": [*notifications]}],
        "results": [*results],
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(policy: PolicyInfo) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": policy.name,
        "shortDescription": {"text": policy.title or policy.name},
        "fullDescription": {"text": policy.description or policy.title or policy.name},
        "defaultConfiguration": {"level": _LEVELS[policy.mode]},
        "properties": {"tags": ["kubernetes", "security"], "severity": policy.severity},
    }
    if policy.docs.startswith("https://"):
        rule["helpUri"] = policy.docs
    if policy.severity in _SEVERITIES:
        rule["properties"]["security-severity"] = _SEVERITIES[policy.severity]
    return rule


def _results(judged: Judged) -> Iterator[dict[str, Any]]:
    if judged.decision is None:
        return
    for violation in judged.decision.violations:
        result = _result(judged, violation.policy, violation.mode, _words(violation), violation.container)
        yield _with_suppression(result, violation)
    for policy in judged.decision.undecided:
        if policy.problems:  # one without was not asked, since the request is refused already
            result = _result(judged, policy.policy, policy.mode, _undecided_words(policy), "")
            yield _with_suppression(result, policy)


def _with_suppression(result: dict[str, Any], one: Violation | UndecidedPolicy) -> dict[str, Any]:
    """SARIF 2.1.0, 3.35: what is covered is seen by reviewers, and not counted by gates."""
    if not one.exception:
        return result
    says = one.exception if is_grant(one.exception) else f"exception {one.exception}"
    return {**result, "suppressions": [{"kind": "external", "justification": says}]}


def _result(judged: Judged, policy: str, mode: Mode, words: str, container: str) -> dict[str, Any]:
    name = f"{judged.title}/{container}" if container else judged.title
    location = {**_location(judged), "logicalLocations": [{"fullyQualifiedName": clean(name, 600), "kind": "object"}]}
    return {
        "ruleId": policy,
        "level": _LEVELS[mode],
        "message": {"text": f"{judged.title}: {words}"},
        "locations": [location],
    }


def _location(judged: Judged) -> dict[str, Any]:
    location = {"artifactLocation": {"uri": quote(judged.file)}, "region": {"startLine": judged.line}}
    return {"physicalLocation": location}


def _notifications(judged: Judged) -> Iterator[dict[str, Any]]:
    problems: Sequence[Problem] = judged.problems if judged.decision is None else judged.decision.problems
    for problem in problems:
        image = f"{clean(problem.image, 300)}: " if problem.image else ""
        yield {
            "level": "error",
            "descriptor": {"id": problem.reason},
            "message": {"text": f"{image}{sentence(clean(problem.msg, MESSAGE_CHARS))}"},
            "locations": [_location(judged)],
        }


def _words(violation: Violation) -> str:
    """As in the refusal: where it stands, what is wrong, what to do."""
    where = subject(violation)
    said = sentence(clean(violation.msg, MESSAGE_CHARS))
    fix = sentence(clean(violation.fix, MESSAGE_CHARS))
    return " ".join(part for part in (f"{where}:" if where else "", said, fix[:1].upper() + fix[1:]) if part)


def _undecided_words(policy: UndecidedPolicy) -> str:
    why = "; ".join(dict.fromkeys(problem.reason for problem in policy.problems))
    return f"not evaluated ({why})."
