"""What ``explain`` says: sentences for people, JSON for programs."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from portcullis.model.decision import Decision
from portcullis.model.ruling import Mode
from portcullis.policy.explaining.explain import Condition, Explained, ExplainedRule, Line
from portcullis.text import clean, sentence
from portcullis.times import rfc3339

EXCERPT_CHARS = 4000
SHOWN_VALUES = 20
SHOWN_HITS = 10

_DOES = {Mode.DENY: "refuses", Mode.WARN: "warns", Mode.AUDIT: "takes note"}


def explained_text(explained: Sequence[Explained], *, silent: bool) -> Iterator[Text]:
    """One block for each policy: what refuses first, then what says something else, then what could not be judged; and
    what has nothing to say, where ``silent`` asks for it. The others are named at the end."""
    quiet = [one for one in explained if one.asked and not one.hits and not one.failure]
    shown = [one for one in explained if one.asked and (silent or one.hits or one.failure)]
    for one in sorted(shown, key=lambda each: (_rank(each), each.policy.name)):
        yield _block(one)
    if quiet and not silent:
        yield _names("Nothing to say (--all shows what stops each)", quiet)
    if left := [one for one in explained if not one.asked]:
        yield _names("Not asked, because others refuse already", left)


def covered(decision: Decision) -> list[tuple[str, str, datetime | None]]:
    """What exceptions and grants cover of a decision, each once: policy, id, until when."""
    return list(dict.fromkeys((one.policy, one.exception, one.excepted_until) for one in decision.covered))


def covered_text(decision: Decision) -> Text:
    """The same for people: one line each."""
    text = Text()
    for policy, by, until in covered(decision):
        ends = f" until {rfc3339(until, 'minutes')}" if until is not None else ""
        text.append(f"{policy} is covered by {clean(by, 400)}{ends}\n", "magenta")
    return text


def covered_json(decision: Decision) -> list[dict[str, Any]]:
    """The stable form."""
    return [
        {"policy": policy, "exception": by, "exceptedUntil": rfc3339(until) if until is not None else None}
        for policy, by, until in covered(decision)
    ]


def _names(title: str, policies: Sequence[Explained]) -> Text:
    names = ", ".join(sorted(one.policy.name for one in policies))
    return Text.assemble((f"{title}: ", "bold"), f"{names}\n")


def _rank(one: Explained) -> int:
    if one.hits:
        return list(Mode).index(_mode(one))
    return len(Mode) + (0 if one.failure else 1)


def _mode(one: Explained) -> Mode:
    """The heaviest mode of what it says."""
    rule = min(one.hits, key=lambda hit: list(Mode).index(hit.rule)).rule
    return one.policy.mode if rule is Mode.DENY else rule


def _block(one: Explained) -> Text:
    text = Text()
    if one.failure:
        text.append(one.policy.name, "bold yellow").append(
            f" was not evaluated: {sentence(clean(one.failure, 1000))}\n"
        )
        return text
    if one.hits:
        text.append(one.policy.name, "bold red").append(f" {_DOES[_mode(one)]}:\n")
        for hit in one.hits[:SHOWN_HITS]:
            place = f'container "{clean(hit.container, 100)}": ' if hit.container else ""
            text.append(f"  {place}{sentence(clean(hit.msg, 500))}\n")
        if len(one.hits) > SHOWN_HITS:
            text.append(f"  and {len(one.hits) - SHOWN_HITS} more\n")
    else:
        text.append(one.policy.name, "bold green").append(" has nothing to say:\n")
    for explained in one.rules:
        if explained.fired or not one.hits:
            text.append(_rule(explained), "" if explained.fired else "dim")
    if one.excerpt is not None:
        text.append("  What decided:\n")
        for path, value in one.read[:SHOWN_VALUES]:
            text.append(f"    {clean(path, 300)} is {clean(json.dumps(value), 200)}\n", "cyan")
        if len(one.read) > SHOWN_VALUES:
            text.append(f"    and {len(one.read) - SHOWN_VALUES} more\n", "cyan")
        shown = json.dumps(one.excerpt, separators=(",", ":"))
        cut = " … (cut; -o json has all)" if len(shown) > EXCERPT_CHARS else ""
        text.append(f"  As input: {clean(shown[:EXCERPT_CHARS], EXCERPT_CHARS)}{cut}\n")
    if one.note:
        text.append(f"  Note: {sentence(one.note)}\n", "dim")
    return text


def _rule(rule: ExplainedRule) -> str:
    where = f"{rule.mode.value} in {rule.line.file}:{rule.line.row}"
    if rule.fired:
        lines = [
            f"  {where} fires{'' if rule.fired == 1 else f' {rule.fired} times'}, since",
            *map(_condition, rule.conditions),
        ]
        return "\n".join(lines) + "\n"
    if not rule.tried:
        return f"  {where} cannot hold: one of its conditions on the input does not, which OPA sees at once\n"
    if not rule.conditions:
        return f"  {where} does not fire: there is nothing for it to look at\n"
    return f"  {where} is stopped at\n{_condition(rule.conditions[0])}\n"


def _condition(condition: Condition) -> str:
    holds = "holds" if condition.held else "does not hold"
    because = "".join(f"; {_because(condition, line)}" for line in condition.because)
    return f"    line {condition.line.row} `{clean(condition.line.text, 200)}`, which {holds}{because}"


def _because(condition: Condition, line: Line) -> str:
    negated = condition.line.text.startswith("not ")
    holds = "holds" if negated != condition.held else "does not"
    place = f"line {line.row}" if line.file == condition.line.file else f"{line.file}:{line.row}"
    return f"{place} `{clean(line.text, 200)}` {holds}"


def explained_json(one: Explained) -> dict[str, Any]:
    """The stable form."""
    return {
        "policy": one.policy.name,
        "mode": one.policy.mode.value,
        "fires": bool(one.hits),
        "failure": one.failure,
        "needs": sorted(one.policy.needs),
        "violations": [{"rule": hit.rule.value, "container": hit.container, "msg": hit.msg} for hit in one.hits],
        "rules": [
            {
                "rule": rule.mode.value,
                **_line_json(rule.line),
                "fired": rule.fired,
                "tried": rule.tried,
                "conditions": [
                    {
                        **_line_json(condition.line),
                        "held": condition.held,
                        "because": [_line_json(line) for line in condition.because],
                    }
                    for condition in rule.conditions
                ],
            }
            for rule in one.rules
        ],
        "excerpt": one.excerpt,
        "read": [{"path": path, "value": value} for path, value in one.read],
        "note": one.note,
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {"file": line.file, "line": line.row, "text": line.text}
