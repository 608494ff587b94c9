"""OPA's trace, read: which rules of a policy were tried, and how far each came.

The trace is what the Data API gives with ``explain=full&pretty=true``, one line for each step:

    00003.rego:14     | | | | Fail c.user.root = false

The files are named by their number in the set (compiler.py), the bars say how deep the step lies.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LINE = re.compile(
    r"(?P<file>\S*?)(?::(?P<row>\d+))?\s+(?P<bars>(?:\| )*)(?P<step>Enter|Eval|Fail|Exit|Redo)\b(?: (?P<what>.*))?"
)
_NUMBERED = re.compile(r"(?:.*[/.])?(\d{5})\.rego")

Spot = tuple[int, int]
"""Number of the file in the set, and row."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the trace. ``spot`` is None for what lies in no source (the question itself)."""

    spot: Spot | None
    depth: int
    step: str
    what: str


@dataclass(slots=True)
class Tried:
    """A condition in the body of a rule. ``failed``: how often it did not hold. ``inner_failed`` and ``inner_held`` are
    the places inside of what it calls where a condition did not hold, and rules that did."""

    spot: Spot
    reached: int = 0
    failed: int = 0
    inner_failed: dict[Spot, None] = field(default_factory=dict)
    inner_held: dict[Spot, None] = field(default_factory=dict)


@dataclass(slots=True)
class RuleTrace:
    """One rule of a verdict. ``held``: how often it put something into the verdict."""

    spot: Spot
    held: int = 0
    conditions: dict[Spot, Tried] = field(default_factory=dict)

    def stopped_at(self) -> Tried | None:
        """The condition that came furthest and did not hold; None where all did."""
        failed = [tried for tried in self.conditions.values() if tried.failed]
        return max(failed, key=lambda tried: tried.spot) if failed and not self.held else None


def read_steps(lines: Iterable[str]) -> Iterator[Step]:
    """The steps; lines that say something else are left out."""
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        numbered = _NUMBERED.fullmatch(found["file"]) if found["row"] else None
        spot = (int(numbered[1]), int(found["row"])) if numbered else None
        yield Step(spot, len(found["bars"]) // 2, found["step"], found["what"] or "")


def read_trace(lines: Iterable[str], verdict: str) -> dict[Spot, RuleTrace]:
    """The rules of a verdict (``data.portcullis.policies.image_user.deny``) that were tried, by their place."""
    rules: dict[Spot, RuleTrace] = {}
    current: tuple[RuleTrace, int] | None = None
    condition: Tried | None = None
    for step in read_steps(lines):
        if step.spot is not None and step.what == verdict and step.step in ("Enter", "Redo", "Exit"):
            rule = rules.setdefault(step.spot, RuleTrace(step.spot))
            rule.held += step.step == "Exit"
            current, condition = (rule, step.depth), None
        elif current is not None and step.depth <= current[1]:
            current = None if step.step in ("Enter", "Exit") else current
        elif current is not None and step.spot is not None:
            condition = _inside(current[0], step, step.depth - current[1], condition)
    return rules


def _inside(rule: RuleTrace, step: Step, depth: int, condition: Tried | None) -> Tried | None:
    assert step.spot is not None
    if depth == 1 and step.step in ("Eval", "Fail"):
        condition = rule.conditions.setdefault(step.spot, Tried(step.spot))
        condition.reached += step.step == "Eval"
        condition.failed += step.step == "Fail"
    elif depth == 1 and step.step == "Redo":
        condition = rule.conditions.get(step.spot, condition)
    elif condition is not None and step.step == "Fail" and step.spot != condition.spot:
        condition.inner_failed[step.spot] = None
    elif condition is not None and step.step == "Exit" and step.spot != condition.spot:
        condition.inner_held[step.spot] = None
    return condition
